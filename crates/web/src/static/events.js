// Events open where they are in the list, and what comes in is announced.

function close(link, detail) {
  detail.remove();
  link.setAttribute("aria-expanded", "false");
}

async function open(link) {
  const row = link.closest(".event-row");
  const shown = row.querySelector(".detail");
  if (shown) { close(link, shown); return; }
  if (link.getAttribute("aria-busy") === "true") return;
  link.setAttribute("aria-busy", "true");
  try {
    const answer = await fetch(link.href);
    if (!answer.ok || answer.redirected) throw new Error(`answered with ${answer.status}`);
    const page = new DOMParser().parseFromString(await answer.text(), "text/html");
    const found = page.querySelector("[data-detail]");
    if (!found) throw new Error("no detail on the page");
    const detail = document.createElement("div");
    detail.className = "detail";
    detail.append(...found.childNodes);
    const own = document.createElement("p");
    own.className = "own";
    const to = own.appendChild(document.createElement("a"));
    to.href = link.href;
    to.textContent = "Own page, with what happened around it";
    detail.append(own);
    row.append(detail);
    link.setAttribute("aria-expanded", "true");
    detail.dispatchEvent(new CustomEvent("watchpost:new", { bubbles: true }));
  } catch {
    // Whatever is in the way, its own page says so.
    window.location.assign(link.href);
  } finally {
    link.removeAttribute("aria-busy");
  }
}

const rows = () => [...document.querySelectorAll(".event-row > .open")];
for (const link of rows()) link.setAttribute("aria-expanded", "false");

document.addEventListener("click", (event) => {
  const link = event.target.closest(".event-row > .open");
  if (link && event.button === 0 && !event.ctrlKey && !event.metaKey && !event.shiftKey && !event.altKey) {
    event.preventDefault();
    open(link);
  }
  if (event.target.closest("[data-show-new]")) window.location.reload();
});

// A chart that the page didn't wait for.
async function whole(place) {
  const answer = await fetch(place.dataset.more);
  if (!answer.ok || answer.redirected) return;
  const fresh = new DOMParser().parseFromString(await answer.text(), "text/html").querySelector("[data-chart]");
  if (!fresh) return;
  place.replaceWith(fresh);
  fresh.dispatchEvent(new CustomEvent("watchpost:new", { bubbles: true }));
}

for (const place of document.querySelectorAll("[data-chart][data-more]")) {
  whole(place).catch(() => { /* What was counted stays there. */ });
}

function step(by) {
  const all = rows();
  const at = all.findIndex((link) => link.closest(".event-row").contains(document.activeElement));
  const to = all[at < 0 ? 0 : Math.min(Math.max(at + by, 0), all.length - 1)];
  to?.focus();
}

document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey || event.defaultPrevented) return;
  if (event.target.closest("input, select, textarea")) return;
  if (event.key === "Escape") {
    const row = event.target.closest(".event-row");
    const detail = row?.querySelector(".detail");
    if (detail) { close(row.querySelector(".open"), detail); row.querySelector(".open").focus(); }
    return;
  }
  const keys = { j: () => step(1), k: () => step(-1), "/": () => document.querySelector("#search")?.focus() };
  if (!Object.hasOwn(keys, event.key)) return;
  event.preventDefault();
  keys[event.key]();
});

// What comes in is counted, not shown: nothing moves under the eyes of whoever reads.
const ENOUGH = 100;
const news = document.querySelector("[data-incoming]");
let stream = null;
let came = 0;

function listen() {
  if (stream || document.hidden || came >= ENOUGH) return;
  stream = new EventSource(news.dataset.incoming);
  stream.addEventListener("event", () => {
    came += 1;
    const many = came >= ENOUGH ? `${ENOUGH} and more new events` : `${came} new events`;
    news.querySelector("[data-news-text]").textContent = came === 1 ? "One new event" : many;
    news.hidden = false;
    if (came >= ENOUGH) silence();
  });
  stream.addEventListener("error", () => {
    if (stream?.readyState !== EventSource.CLOSED) return;
    stream = null;
    setTimeout(listen, 15_000);
  });
}

function silence() {
  stream?.close();
  stream = null;
}

if (news) {
  listen();
  document.addEventListener("visibilitychange", () => (document.hidden ? silence() : listen()));
  window.addEventListener("pagehide", silence);
}
