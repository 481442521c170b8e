// The queue by keyboard, and without leaving the page.

const content = document.querySelector("main");
const rows = () => [...document.querySelectorAll(".alert-row:not(.gone)")];
const queue = () => document.querySelector("form#queue");
const boxes = () => [...document.querySelectorAll(".alert-row input[name=ids]")];
const chosen = () => boxes().filter((box) => box.checked);
const link = (row) => row?.querySelector(".what a");
const box = (row) => row?.querySelector("input[name=ids]");

function here() {
  const focused = document.activeElement?.closest(".alert-row");
  return focused ?? document.querySelector(".alert-row.at");
}

// The row that a key chose by itself, because its user chose none: only until the menu that it opened is closed, or
// another row is gone to. What is acted upon is what is highlighted.
let implied = null;
// The list as it is by now, while an older one is shown.
let waiting = null;

function forget() {
  for (const menu of queue()?.querySelectorAll("details.menu[open]") ?? []) menu.open = false;
  for (const menu of document.querySelectorAll(".group details.menu[open]")) menu.open = false;
  if (!implied) return;
  implied.checked = false;
  implied = null;
  count();
}

function to(row) {
  if (!row) return;
  forget();
  for (const other of document.querySelectorAll(".alert-row.at")) other.classList.remove("at");
  row.classList.add("at");
  link(row).focus({ preventScroll: true });
  row.scrollIntoView({ block: "nearest" });
}

function move(by) {
  const all = rows();
  const now = all.indexOf(here());
  to(all[now < 0 ? 0 : Math.min(Math.max(now + by, 0), all.length - 1)]);
}

function count() {
  const bar = document.querySelector("[data-chosen]");
  if (!bar) return;
  const [n, all] = [chosen().length, boxes().length];
  bar.textContent = n === 0 ? "" : `${n} selected`;
  const every = document.querySelector("[data-choose-all]");
  every.checked = n > 0 && n === all;
  every.indeterminate = n > 0 && n < all;
  queue().classList.toggle("some", n > 0);
}

// What the server refused is said above the list; what was chosen and filled in stays.
function refuse(page) {
  document.querySelector("[data-refused]")?.remove();
  const problem = document.createElement("div");
  problem.className = "problem";
  problem.setAttribute("role", "alert");
  problem.dataset.refused = "";
  const told = page.querySelectorAll("main .card > p:not(.hint, .row), main .card > ul");
  problem.append(...[...told].map((part) => document.adoptNode(part)));
  if (told.length === 0) problem.textContent = "The server could not do this. Try again in a moment.";
  content.prepend(problem);
  problem.scrollIntoView({ block: "nearest" });
}

// Does what a button of the queue does, and shows the page that answers without leaving this one.
async function send(form, button) {
  const body = new URLSearchParams(new FormData(form, button));
  const answer = await fetch(form.getAttribute("action"), { method: "POST", body });
  const ours = new URL(answer.url);
  const page = new DOMParser().parseFromString(await answer.text(), "text/html");
  if (!answer.ok && !answer.redirected) {
    refuse(page);
    return;
  }
  if (ours.pathname !== window.location.pathname || !answer.ok) {
    window.location.assign(answer.url);
    return;
  }
  // The pace goes on: at the same row while it is there, or at the one that took its place.
  const [id, at] = [here()?.dataset.id, rows().indexOf(here())];
  show(page);
  const all = rows();
  to(all.find((row) => row.dataset.id === id) ?? all[Math.min(Math.max(at, 0), all.length - 1)]);
}

function show(page) {
  // What was waiting is older than what is shown now.
  implied = waiting = null;
  content.replaceChildren(...page.querySelector("main").childNodes);
  document.title = page.title;
  content.dispatchEvent(new CustomEvent("watchpost:new", { bubbles: true }));
  count();
}

function press(action) {
  const row = here();
  if (row?.matches(".group")) {
    forget();
    const menu = row.querySelector(`details[data-menu=${action}]`);
    if (!menu) return;
    menu.open = true;
    menu.querySelector("select, button").focus();
    return;
  }
  const form = queue();
  if (!form) return;
  if (chosen().length === 0) {
    if (!box(row)) return;
    implied = box(row);
    implied.checked = true;
    count();
  }
  const menu = form.querySelector(`details[data-menu=${action}]`);
  if (menu) {
    for (const other of form.querySelectorAll("details.menu[open]")) other.open = other === menu;
    menu.open = true;
    menu.querySelector("select, button, input").focus();
  } else {
    form.requestSubmit(form.querySelector(`.bulk button[value=${action}]`));
  }
}

const help = () => document.querySelector("dialog#keys");
const KEYS = {
  j: () => move(1), ArrowDown: () => move(1), k: () => move(-1), ArrowUp: () => move(-1),
  x: () => { forget(); const one = box(here()); if (one) { one.checked = !one.checked; count(); } },
  X: () => { forget(); const every = chosen().length < boxes().length; boxes().forEach((one) => { one.checked = every; }); count(); },
  a: () => press("ack"), r: () => press("resolve"), s: () => press("snooze"), t: () => press("tags"), g: () => press("assign"),
  u: () => document.querySelector("form.undo button")?.click(),
  o: () => link(here())?.click(),
  n: () => document.querySelector("[data-show-new]")?.click(),
  "/": () => document.querySelector("input[type=search]").focus(),
  "?": () => help().showModal(),
};

document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey || event.defaultPrevented) return;
  const typing = event.target.closest("input:not([type=checkbox]), select, textarea, dialog[open]");
  const menu = event.target.closest("#queue details.menu, .group details.menu");
  if (event.key === "Enter" && !event.isComposing && menu && event.target.matches("input, select")) {
    // Enter in a field of a menu does what that menu says.
    event.preventDefault();
    const button = menu.querySelector("button[name=action]");
    button.form.requestSubmit(button);
    return;
  }
  if (event.key === "Escape") {
    if (event.target.matches("input[type=search]")) { move(0); return; }
    // Back to the row that the menu was opened for.
    if (menu) { to(here()); return; }
    if (!typing) { boxes().forEach((one) => { one.checked = false; }); count(); }
    return;
  }
  if (typing || !Object.hasOwn(KEYS, event.key)) return;
  if (event.key.startsWith("Arrow") && event.target.closest("details[open]")) return;
  event.preventDefault();
  KEYS[event.key]();
});

content.addEventListener("change", (event) => {
  if (event.target === implied) implied = null;
  if (event.target.matches("[data-choose-all]")) boxes().forEach((one) => { one.checked = event.target.checked; });
  count();
});
content.addEventListener("submit", (event) => {
  const form = event.target;
  if (!form.matches("form#queue, form.undo, .group form")) return;
  const button = event.submitter;
  if ("plain" in form.dataset) return;
  const all = form.querySelector("input[name=all]");
  if (all?.checked && button?.name !== "one" && !window.confirm(`${button.textContent.trim()}: ${all.dataset.count} alerts?`)) {
    event.preventDefault();
    forget();
    return;
  }
  event.preventDefault();
  send(form, button).catch(() => { form.dataset.plain = ""; form.requestSubmit(button); });
});
// Menus are closed in many ways; none of them leaves a row chosen that nobody chose.
content.addEventListener("toggle", (event) => {
  if (implied && event.target.matches("#queue details.menu") && !queue().querySelector("details.menu[open]")) forget();
}, true);
content.addEventListener("focusin", (event) => {
  const row = event.target.closest(".alert-row");
  if (!row || row.classList.contains("at")) return;
  forget();
  for (const other of document.querySelectorAll(".alert-row.at")) other.classList.remove("at");
  row.classList.add("at");
});
content.addEventListener("click", (event) => {
  if (event.target.closest("[data-keys]")) help().showModal();
  if (event.target.closest("[data-show-new]") && waiting) { show(waiting); move(0); }
});

// A row that somebody else changed, in the place of how it was: chosen and focused as before.
function put(row, better) {
  const parts = (one) => [...one.querySelectorAll("a, input, button")];
  const focused = parts(row).indexOf(document.activeElement);
  if (box(better)) box(better).checked = box(row).checked;
  if (implied && implied === box(row)) implied = box(better);
  better.classList.toggle("at", row.classList.contains("at"));
  row.replaceWith(better);
  if (focused >= 0) (parts(better)[focused] ?? link(better)).focus({ preventScroll: true });
  better.dispatchEvent(new CustomEvent("watchpost:new", { bubbles: true }));
}

// What came in the meantime is announced; nothing moves under the eyes of whoever reads.
document.addEventListener("watchpost:page", (event) => {
  const page = event.detail;
  const fresh = new Map([...page.querySelectorAll(".alert-row")].map((row) => [row.dataset.id, row]));
  const known = new Map([...document.querySelectorAll(".alert-row")].map((row) => [row.dataset.id, row]));
  if (known.size === 0 && fresh.size > 0) { show(page); return; }
  for (const [id, row] of known) {
    const better = fresh.get(id);
    if (!better) row.classList.add("gone");
    else if (better.dataset.version !== row.dataset.version && !row.querySelector("details[open]")) put(row, better.cloneNode(true));
  }
  const unseen = [...fresh.keys()].filter((id) => !known.has(id)).length;
  const news = document.querySelector("[data-news]");
  const changed = unseen > 0 || document.querySelector(".alert-row.gone") !== null;
  waiting = changed ? page : null;
  if (!news) return;
  news.hidden = !changed;
  const text = unseen > 0 ? `${unseen === 1 ? "One new alert" : `${unseen} new alerts`}` : "The list has changed";
  if (news.querySelector("[data-news-text]").textContent !== text) news.querySelector("[data-news-text]").textContent = text;
  document.title = unseen > 0 ? `(${unseen}) ${page.title}` : page.title;
});
count();
