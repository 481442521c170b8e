// Comfort only: every page works without this file.

const zone = document.documentElement.dataset.zone;
const local = zone === "browser";
const full = new Intl.DateTimeFormat("sv-SE", {
  year: "numeric", month: "2-digit", day: "2-digit", hour: "2-digit", minute: "2-digit", second: "2-digit",
  timeZone: local ? undefined : "UTC",
});
const short = new Intl.DateTimeFormat("en-GB", {
  month: "short", day: "numeric", hour: "2-digit", minute: "2-digit", timeZone: local ? undefined : "UTC",
});
const steps = [[60, "second", 1], [3600, "minute", 60], [86400, "hour", 3600], [Infinity, "day", 86400]];
const relative = new Intl.RelativeTimeFormat("en", { numeric: "auto" });

function ago(when) {
  const seconds = (when - Date.now()) / 1000;
  const [, unit, size] = steps.find(([limit]) => Math.abs(seconds) < limit);
  return relative.format(Math.round(seconds / size), unit);
}

function clocks(root) {
  for (const time of root.querySelectorAll("time[datetime]")) {
    const when = Date.parse(time.dateTime);
    if (Number.isNaN(when)) continue;
    const text = "ago" in time.dataset ? ago(when) : ("short" in time.dataset ? short : full).format(when);
    if (time.textContent !== text) time.textContent = text;
    time.title = "ago" in time.dataset ? full.format(when) : ago(when);
  }
}

function said(element, text) {
  const before = element.textContent;
  element.textContent = text;
  setTimeout(() => { element.textContent = before; }, 1500);
}

function copying(root) {
  if (!navigator.clipboard) return;
  for (const block of root.querySelectorAll("[data-copy]:not([data-copies])")) {
    block.dataset.copies = "";
    const button = document.createElement("button");
    button.type = "button";
    button.textContent = "Copy";
    button.className = "quiet small";
    button.setAttribute("aria-live", "polite");
    button.addEventListener("click", async () => {
      await navigator.clipboard.writeText(block.textContent);
      said(button, "Copied");
    });
    block.after(button);
  }
  for (const button of root.querySelectorAll("button[data-copy-text]")) {
    button.hidden = false;
  }
}

function forms(root) {
  for (const form of root.querySelectorAll("form[data-submit-on-change]:not([data-dressed])")) {
    form.dataset.dressed = "";
    for (const field of form.querySelectorAll("select")) {
      field.addEventListener("change", () => form.requestSubmit());
    }
  }
  // Empty fields would only make the address long.
  for (const form of root.querySelectorAll("form[method=get]:not([data-lean])")) {
    form.dataset.lean = "";
    form.addEventListener("formdata", (event) => {
      for (const [name, value] of [...event.formData]) {
        if (value === "") event.formData.delete(name);
      }
    });
  }
}

// A stretch of time is picked by drawing over the bars.
function picking(root) {
  for (const chart of root.querySelectorAll("figure[data-pick]:not(.picking)")) {
    const svg = chart.querySelector("svg");
    const bars = [...svg.querySelectorAll("a")];
    if (bars.length === 0) continue;
    chart.classList.add("picking");
    const at = (event) => {
      const box = svg.getBoundingClientRect();
      const n = Math.floor(((event.clientX - box.left) / box.width) * bars.length);
      return Math.min(Math.max(n, 0), bars.length - 1);
    };
    let from = null;
    let drawn = null;
    let picked = false;
    const draw = (to) => {
      const [first, last] = [Math.min(from, to), Math.max(from, to)];
      drawn ??= svg.appendChild(document.createElementNS("http://www.w3.org/2000/svg", "rect"));
      drawn.setAttribute("class", "picked");
      drawn.setAttribute("x", first * 10);
      drawn.setAttribute("y", 0);
      drawn.setAttribute("width", (last - first + 1) * 10);
      drawn.setAttribute("height", "100%");
      return [first, last];
    };
    svg.addEventListener("dragstart", (event) => event.preventDefault());
    svg.addEventListener("pointerdown", (event) => {
      if (event.button !== 0 || event.pointerType === "touch") return;
      [from, picked] = [at(event), false];
    });
    window.addEventListener("pointermove", (event) => {
      if (from === null) return;
      picked ||= at(event) !== from;
      if (picked) draw(at(event));
    });
    window.addEventListener("pointerup", (event) => {
      if (from === null) return;
      const [first, last] = draw(at(event));
      const [since, until] = [bars[first].dataset.since, bars[last].dataset.until];
      from = null;
      if (picked) window.location.assign(chart.dataset.pick.replace("SINCE", since).replace("UNTIL", until));
      else { drawn.remove(); drawn = null; }
    });
    svg.addEventListener("click", (event) => { if (picked) event.preventDefault(); });
    window.addEventListener("keydown", (event) => {
      if (event.key === "Escape" && from !== null) { from = null; drawn?.remove(); drawn = null; }
    });
  }
}

function dress(root) {
  clocks(root);
  copying(root);
  forms(root);
  picking(root);
  for (const element of root.querySelectorAll("[data-with-script]")) element.hidden = false;
}

document.addEventListener("click", async (event) => {
  const confirmed = event.target.closest("button[data-confirm]");
  if (confirmed && !window.confirm(confirmed.dataset.confirm)) event.preventDefault();
  const copied = event.target.closest("button[data-copy-text]");
  if (copied) {
    await navigator.clipboard.writeText(copied.dataset.copyText);
    said(copied, "Copied");
  }
  // A menu closes when something else is pressed.
  for (const menu of document.querySelectorAll("details.menu[open]")) {
    if (!menu.contains(event.target)) menu.open = false;
  }
});
document.addEventListener("keydown", (event) => {
  if (event.key !== "Escape") return;
  const menu = document.activeElement?.closest("details.menu[open]");
  if (menu) {
    menu.open = false;
    menu.querySelector("summary").focus();
    event.stopPropagation();
  }
});
// Other scripts say when they put something new on the page.
document.addEventListener("watchpost:new", (event) => dress(event.target));

if (local) {
  for (const place of document.querySelectorAll("[data-zone-said]")) {
    place.textContent = `times are ${Intl.DateTimeFormat().resolvedOptions().timeZone}`;
  }
}
dress(document);
setInterval(() => clocks(document), 30_000);
