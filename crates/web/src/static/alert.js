// An alert's page by keyboard.

const form = (action) => document.querySelector(`form:has(> input[name=action][value=${action}])`);
const KEYS = {
  a: () => form("ack")?.requestSubmit(),
  r: () => (form("resolve") ?? form("reopen"))?.querySelector("select, button").focus(),
  n: () => form("notes")?.querySelector("textarea").focus(),
  u: () => document.querySelector("[data-back]").click(),
};

document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey || event.defaultPrevented) return;
  if (event.target.closest("input, select, textarea")) {
    if (event.key === "Escape") event.target.blur();
    return;
  }
  if (!Object.hasOwn(KEYS, event.key)) return;
  event.preventDefault();
  KEYS[event.key]();
});
