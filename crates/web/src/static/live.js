// Keeps a page current: told by the stream that something happened, it loads the page again in the background and
// puts in what changed. What somebody is reading or typing in stays where it is.

const PAUSE = 1000;
const place = document.querySelector("[data-stream]");
const source = place?.dataset.stream;
// The one alert that the page is about, where it is about one.
const only = place?.dataset.streamOnly;
// What was last said of the stream: whoever puts something new on the page may bring an empty place for it.
let said = ["", false];
let stream = null;
let waiting = false;
let again = false;

function say(text, live) {
  said = [text, live];
  const state = document.querySelector("[data-live-state]");
  if (!state || state.textContent === text) return;
  state.textContent = text;
  state.classList.toggle("on", live);
}
document.addEventListener("watchpost:new", () => say(...said));

// Whether the user filled something in that would be lost.
function filled(part) {
  const changed = (field) => (field.matches("select")
    ? [...field.options].some((option) => option.selected !== option.defaultSelected) && field.selectedIndex > 0
    : field.value !== field.defaultValue);
  return [...part.querySelectorAll("input:not([type=hidden]), textarea, select")].some(changed);
}

function put(fresh) {
  for (const part of document.querySelectorAll("[data-live]")) {
    const name = part.dataset.live;
    const better = fresh.querySelector(`[data-live="${name}"]`);
    if (!better) continue;
    // Times are written anew by script, and so never the same.
    if (part.dataset.was === better.innerHTML) continue;
    if (part.contains(document.activeElement) && part !== document.activeElement) continue;
    if (filled(part)) continue;
    part.dataset.was = better.innerHTML;
    part.replaceChildren(...better.cloneNode(true).childNodes);
    part.dispatchEvent(new CustomEvent("watchpost:new", { bubbles: true }));
  }
}

async function refresh() {
  if (waiting) { again = true; return; }
  waiting = true;
  try {
    const answer = await fetch(window.location.href, { headers: { "X-Watchpost-Background": "1" } });
    if (answer.ok && !answer.redirected) {
      const fresh = new DOMParser().parseFromString(await answer.text(), "text/html");
      put(fresh);
      document.dispatchEvent(new CustomEvent("watchpost:page", { detail: fresh }));
    }
  } catch {
    // The stream says when the server is back.
  }
  setTimeout(() => {
    waiting = false;
    if (again) { again = false; refresh(); }
  }, PAUSE);
}

function told(event) {
  if (only && event.type !== "reset" && String(JSON.parse(event.data).alert?.id) !== only) return;
  refresh();
}

function listen() {
  if (stream || document.hidden) return;
  stream = new EventSource(source);
  stream.addEventListener("open", () => say("Live", true));
  stream.addEventListener("error", () => {
    say("Not live, trying again", false);
    if (stream.readyState === EventSource.CLOSED) {
      stream = null;
      setTimeout(listen, 15_000);
    }
  });
  for (const kind of ["alert", "change", "event", "counts", "reset"]) stream.addEventListener(kind, told);
}

if (source) {
  listen();
  // What raises no alert isn't told of, and is counted on some pages.
  if (place.dataset.every) setInterval(() => { if (!document.hidden) refresh(); }, place.dataset.every * 1000);
  // A browser has few connections to a server: pages that nobody sees give theirs back.
  document.addEventListener("visibilitychange", () => {
    if (document.hidden) {
      stream?.close();
      stream = null;
      say("Paused", false);
    } else {
      listen();
      refresh();
    }
  });
  window.addEventListener("pagehide", () => stream?.close());
}
