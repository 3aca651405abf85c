// @ts-check
/** What kind of browser this is, as far as the class must know. */

/** Private windows may forbid storage: then choices last as long as the page. @returns {Pick<Storage, 'getItem' | 'setItem'>} */
export function safeStorage() {
  try {
    localStorage.getItem("lectern");
    return localStorage;
  } catch {
    /** @type {Map<string, string>} */
    const kept = new Map();
    return { getItem: (key) => kept.get(key) ?? null, setItem: (key, value) => void kept.set(key, value) };
  }
}

/** What a reload keeps and a closed tab forgets. @returns {Pick<Storage, 'getItem' | 'setItem'>} */
export function storageOfTab() {
  try {
    sessionStorage.getItem("lectern");
    return sessionStorage;
  } catch {
    return { getItem: () => null, setItem: () => {} };
  }
}

/** A phone's battery and uplink carry less. */
export const isPhone = () => matchMedia("(pointer: coarse) and (max-width: 800px)").matches;

/** A word about the browser, for support. @returns {string} */
export function describeDevice() {
  const browser = /Firefox\/\d+|Edg\/\d+|OPR\/\d+|Chrome\/\d+|Version\/\d+.*Safari/.exec(navigator.userAgent)?.[0] ?? "";
  return [browser, navigator.platform, isPhone() ? "phone" : ""].filter(Boolean).join(", ").slice(0, 300);
}

/**
 * @param {{socket_url: string, token: string | null}} boot
 * @param {Location} location
 */
export function socketAddress(boot, location) {
  const url = new URL(boot.socket_url, location.href);
  url.protocol = location.protocol === "https:" ? "wss:" : "ws:";
  if (boot.token) url.searchParams.set("token", boot.token);
  return url.href;
}
