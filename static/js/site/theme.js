// @ts-check
/** Light or dark: the system's choice, or the one made here, which is remembered. Runs before anything is painted. */
(() => {
  "use strict";
  const KEY = "lectern-theme";
  const system = matchMedia("(prefers-color-scheme: dark)");

  /** @returns {"light" | "dark" | "auto"} */
  function chosen() {
    try {
      const value = localStorage.getItem(KEY);
      return value === "light" || value === "dark" ? value : "auto";
    } catch {
      return "auto"; // storage is forbidden: follow the system
    }
  }

  /** @param {string} choice */
  function show(choice) {
    const dark = choice === "dark" || (choice === "auto" && system.matches);
    document.documentElement.setAttribute("data-bs-theme", dark ? "dark" : "light");
    for (const button of document.querySelectorAll("#theme-menu [data-theme]"))
      button.setAttribute("aria-pressed", String(button.getAttribute("data-theme") === choice));
  }

  show(chosen());
  system.addEventListener("change", () => show(chosen()));
  addEventListener("storage", () => show(chosen())); // chosen in another tab
  document.addEventListener("DOMContentLoaded", () => {
    show(chosen());
    document.getElementById("theme-menu")?.addEventListener("click", (event) => {
      const button = event.target instanceof Element ? event.target.closest("[data-theme]") : null;
      if (!button) return;
      const choice = button.getAttribute("data-theme") ?? "auto";
      show(choice);
      try {
        localStorage.setItem(KEY, choice);
      } catch {
        // Not remembered, but shown.
      }
    });
  });
})();
