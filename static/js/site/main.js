// @ts-check
/** What every page does: tell the server the browser's time zone, so that all times are in it. */
import { rememberTimeZone } from "./time-zone.js";

rememberTimeZone(document, Intl.DateTimeFormat().resolvedOptions().timeZone);
