// @ts-check
/**
 * What the page starts with, and its socket. A script of its own, which needs few others: over a slow line the socket is
 * open by the time that all the rest has come.
 */
import { socketAddress } from "../environment.js";
import { RoomConnection } from "../socket.js";

/** @type {import('../types.js').Boot} */
export const boot = JSON.parse(document.getElementById("boot")?.textContent ?? "{}");

export const connection = new RoomConnection({ url: socketAddress(boot, location) });
connection.prepare();
