"use strict";
(() => {
const all = (selector, root = document) => [...root.querySelectorAll(selector)];
const read = id => JSON.parse(document.getElementById(id).textContent);
const off = new Set();

/* The legend switches an activation in every figure and every table at once. */
function apply() {
  for (const node of all("[data-key]")) if (node.tagName !== "BUTTON") node.classList.toggle("off", off.has(node.dataset.key));
  for (const button of all("button.key")) button.setAttribute("aria-pressed", String(!off.has(button.dataset.key)));
}
for (const button of all("button.key")) button.addEventListener("click", () => {
  const key = button.dataset.key;
  off.has(key) ? off.delete(key) : off.add(key);
  apply();
});
for (const button of all("button.every")) button.addEventListener("click", () => { off.clear(); apply(); });

document.getElementById("theme")?.addEventListener("click", () => {
  const root = document.documentElement;
  const dark = root.dataset.theme ? root.dataset.theme === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
  root.dataset.theme = dark ? "light" : "dark";
});

/* Tables: sorted by a header, filtered by a text, columns shown and hidden. */
const value = (row, column) => {
  const cell = row.cells[column], number = cell.dataset.v;
  return number === undefined ? cell.textContent.trim() : Number(number);
};
function compare(a, b) {
  const empty = [a === "", b === ""];
  if (empty[0] || empty[1]) return empty[0] - empty[1] || 0;
  const numbers = [typeof a === "number", typeof b === "number"];
  if (numbers[0] && numbers[1]) return a - b;
  return numbers[0] !== numbers[1] ? numbers[1] - numbers[0] : String(a).localeCompare(String(b), undefined, {numeric: true});
}
function sort(header) {
  const table = header.closest("table"), column = header.cellIndex, body = table.tBodies[0];
  const falling = header.getAttribute("aria-sort") === "ascending";
  for (const other of table.tHead.rows[0].cells) other.setAttribute("aria-sort", "none");
  header.setAttribute("aria-sort", falling ? "descending" : "ascending");
  const rows = [...body.rows].map((row, place) => [value(row, column), place, row]);
  rows.sort((a, b) => {
    if (a[0] === "" || b[0] === "") return compare(a[0], b[0]) || a[1] - b[1];
    return (falling ? -1 : 1) * compare(a[0], b[0]) || a[1] - b[1];
  });
  body.append(...rows.map(row => row[2]));
  table.closest("section").querySelector("[role=status]").textContent = `sorted by ${header.textContent.trim()}, ${falling ? "falling" : "rising"}`;
}
document.addEventListener("click", event => {
  const header = event.target.closest("thead th button")?.closest("th");
  if (header) sort(header);
});
for (const input of all("input[type=search]")) input.addEventListener("input", () => {
  const words = input.value.toLowerCase().split(/\s+/).filter(Boolean), table = document.getElementById(input.dataset.table);
  let shown = 0;
  for (const row of table.tBodies[0].rows) {
    const text = row.textContent.toLowerCase(), fits = words.every(word => text.includes(word));
    row.classList.toggle("filtered", !fits);
    shown += fits;
  }
  table.closest("section").querySelector("[role=status]").textContent = `${shown} rows shown`;
});
const places = (table, name) => [...table.tHead.rows[0].cells].findIndex(cell => cell.dataset.name === name);
function show(table, name, shown) {
  const place = places(table, name);
  for (const row of table.rows) row.cells[place].hidden = !shown;
}
function add(table, key) {
  const rows = read(table.dataset.rows), header = document.createElement("th"), button = document.createElement("button");
  header.dataset.name = key; header.scope = "col"; header.setAttribute("aria-sort", "none");
  button.type = "button"; button.textContent = key; header.append(button);
  table.tHead.rows[0].append(header);
  for (const row of table.tBodies[0].rows) {
    const cell = row.insertCell(), content = rows[Number(row.dataset.i)][key];
    cell.textContent = content === null || content === undefined ? "" : typeof content === "object" ? JSON.stringify(content) : String(content);
    if (typeof content === "number") { cell.dataset.v = content; cell.className = "r"; }
  }
}
for (const box of all(".columns input")) box.addEventListener("change", () => {
  const table = document.getElementById(box.dataset.table), name = box.value;
  if (box.checked && places(table, name) < 0) add(table, name); else show(table, name, box.checked);
});

/* Figures: the nearest point is named; arrow keys go from point to point; the numbers as a table. */
const points = document.getElementById("points") ? read("points") : {};
const text = number => number === null || number === undefined ? "–" : Number(number).toLocaleString("en", {maximumSignificantDigits: 4});
function words(panel, series, point) {
  const [, , x, y, low, high, name] = point, category = panel.c && panel.c[y];
  const head = [category || series.l || series.k, name && name !== category ? name : ""].filter(Boolean).join(", ");
  const label = series.k && !head.includes(series.k) ? `${series.k}: ${head}` : head;
  const interval = low === undefined || low === null ? "" : ` [${text(low)}, ${text(high)}]`;
  return category ? `${label}\n${panel.x}: ${text(x)}${interval}` : `${label}\n${panel.x}: ${text(x)}\n${panel.y}: ${text(y)}${interval}`;
}
for (const box of all(".panel")) {
  const panel = points[box.dataset.panel], svg = box.querySelector("svg"), tip = box.querySelector(".tip");
  const size = svg.viewBox.baseVal;
  let ring = null, at = [0, -1];
  const visible = () => panel.s.filter(series => series.p.length && !off.has(series.k));
  const name = (series, point) => {
    tip.textContent = words(panel, series, point);
    const scale = svg.clientWidth / size.width, x = point[0] * scale, y = point[1] * scale;
    ring ??= box.appendChild(Object.assign(document.createElement("div"), {className: "ring"}));
    ring.style.left = x + "px"; ring.style.top = y + "px"; ring.hidden = false;
    const left = Math.max(0, Math.min(x + 12, box.clientWidth - tip.offsetWidth));
    tip.style.left = left + "px";
    tip.style.top = (y > tip.offsetHeight + 14 ? y - tip.offsetHeight - 10 : y + 14) + "px";
  };
  const clear = () => { tip.textContent = ""; if (ring) ring.hidden = true; };
  const near = event => {
    const frame = svg.getBoundingClientRect(), scale = size.width / frame.width;
    const x = (event.clientX - frame.left) * scale, y = (event.clientY - frame.top) * scale;
    let best = null, least = 24 * 24;
    for (const series of visible()) for (const point of series.p) {
      const distance = (point[0] - x) ** 2 + (point[1] - y) ** 2;
      if (distance < least) { least = distance; best = [series, point]; }
    }
    best ? name(...best) : clear();
  };
  box.addEventListener("pointermove", near);
  box.addEventListener("pointerdown", near);
  box.addEventListener("pointerleave", clear);
  box.addEventListener("blur", clear);
  box.addEventListener("keydown", event => {
    const lines = visible(), step = {ArrowRight: [0, 1], ArrowLeft: [0, -1], ArrowDown: [1, 0], ArrowUp: [-1, 0]}[event.key];
    if (event.key === "Escape") return clear();
    if (!step || !lines.length) return;
    event.preventDefault();
    at[0] = (at[0] + step[0] + lines.length) % lines.length;
    const line = lines[at[0]];
    at[1] = step[1] ? (at[1] + step[1] + line.p.length) % line.p.length : Math.max(0, Math.min(at[1], line.p.length - 1));
    name(line, line.p[at[1]]);
  });
}
for (const details of all("details.numbers")) details.addEventListener("toggle", () => {
  if (details.querySelector("table")) return;
  const scroll = document.createElement("div"), table = document.createElement("table");
  scroll.className = "scroll"; scroll.tabIndex = 0; scroll.setAttribute("role", "region");
  scroll.setAttribute("aria-label", "Numbers of this figure");
  const line = (cells, tag) => {
    const row = document.createElement("tr");
    for (const content of cells) { const cell = document.createElement(tag); cell.textContent = content; if (tag === "th") cell.scope = "col"; row.append(cell); }
    return row;
  };
  table.createTHead().append(line(["panel", "series", "x", "y", "low", "high"], "th"));
  const body = table.createTBody();
  for (const box of all(".panel", details.closest("figure"))) {
    const panel = points[box.dataset.panel];
    for (const series of panel.s) for (const [, , x, y, low, high, name] of series.p)
      body.append(line([panel.t, [series.k, series.l !== series.k ? series.l : "", name || ""].filter(Boolean).join(", "), text(x),
        panel.c ? panel.c[y] : text(y), text(low), text(high)], "td"));
  }
  scroll.append(table); details.append(scroll);
});

/* The raw data: unpacked where the browser can, else as it is. */
for (const link of all("a.data")) link.addEventListener("click", async event => {
  if (typeof DecompressionStream === "undefined") return;
  event.preventDefault();
  const bytes = Uint8Array.from(atob(link.href.split(",")[1]), letter => letter.charCodeAt(0));
  const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"));
  const url = URL.createObjectURL(await new Response(stream).blob());
  const target = Object.assign(document.createElement("a"), {href: url, download: link.download.replace(/\.gz$/, "")});
  target.click();
  setTimeout(() => URL.revokeObjectURL(url), 10000);
});
addEventListener("beforeprint", () => { for (const details of all("details.printed")) details.open = true; });
})();
