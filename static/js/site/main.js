// @ts-check
/** What every page does: tell the server the browser's time zone, so that all times are in it; keep a class's key. */
import { rememberTimeZone } from "./time-zone.js";

rememberTimeZone(document, Intl.DateTimeFormat().resolvedOptions().timeZone);

// Who opens an encrypted class's link has to sign in first. Browsers carry the fragment over redirects, and send it to
// no server; through a form it goes by the form's address.
if (location.hash.startsWith("#key=")) {
  for (const form of /** @type {NodeListOf<HTMLFormElement>} */ (document.querySelectorAll("form[method=post]"))) form.action += location.hash;
}
