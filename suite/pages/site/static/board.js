// The board: sorts, filters, searches, compares two pinned models, hands out what is shown. The address holds the view.
"use strict";
const about = JSON.parse(document.getElementById("about").textContent);
const form = document.getElementById("filters"), told = document.getElementById("told");
const boards = [...document.querySelectorAll("section.board")];
const tables = boards.flatMap(board => [...board.querySelectorAll("table")]);
const filters = ["dataset", "budget", "supervision", "family", "q"];
const loaded = new Map();
// So many rows of a table are laid out until all are asked for, in the page as well: a thousand models open at once.
const LIMIT = 200;
let sort = null, pins = [], all = false;

// Columns of tasks that are not official are marked once, so that one class hides them.
for (const table of tables) {
  const other = [...table.tHead.rows[0].cells].flatMap((th, i) => th.classList.contains("other") ? [i] : []);
  for (const row of table.tBodies[0].rows) for (const i of other) row.cells[i].classList.add("other");
}

function read() {
  const state = new URLSearchParams(location.hash.slice(1));
  for (const name of filters) form.elements[name].value = state.get(name) ?? "";
  form.elements.official.checked = state.get("official") !== "0";
  const [column, worst] = (state.get("sort") ?? "").split(",");
  sort = column ? {column, worst: worst === "worst"} : null;
  pins = state.getAll("pin").slice(0, 2);
  all = state.get("all") === "1";
  apply();
}

function write() {
  const state = new URLSearchParams();
  for (const name of filters) if (form.elements[name].value) state.set(name, form.elements[name].value);
  if (!form.elements.official.checked) state.set("official", "0");
  if (sort) state.set("sort", sort.column + (sort.worst ? ",worst" : ""));
  for (const pin of pins) state.append("pin", pin);
  if (all) state.set("all", "1");
  const text = state.toString();
  history.replaceState(null, "", text ? "#" + text : "#");
  apply();
}

function apply() {
  const wanted = Object.fromEntries(filters.map(name => [name, form.elements[name].value]));
  const query = wanted.q.trim().toLowerCase();
  document.body.classList.toggle("official", form.elements.official.checked);
  let fitting = 0, shown = 0;
  for (const board of boards) {
    let any = false;
    const here = (!wanted.dataset || board.dataset.dataset === wanted.dataset) && (!wanted.budget || board.dataset.budget === wanted.budget);
    for (const table of board.querySelectorAll("table")) {
      const fits = here && (!wanted.supervision || table.dataset.supervision === wanted.supervision);
      let rows = 0;
      order(table);
      for (const row of table.tBodies[0].rows) {
        row.fits = fits && (!wanted.family || row.dataset.f === wanted.family) && (!query || row.dataset.m.toLowerCase().includes(query));
        rows += row.fits;
        const hidden = !row.fits || !all && rows > LIMIT;
        if (row.hidden !== hidden) row.hidden = hidden;
        shown += !hidden;
      }
      table.parentElement.hidden = !rows;
      any ||= rows > 0;
      fitting += rows;
    }
    board.hidden = !any;
  }
  const rows = fitting === 1 ? " row" : " rows";
  told.textContent = !fitting ? "Nothing fits these filters." : shown < fitting ? "The first " + shown + " of " + fitting + rows : fitting + rows;
  document.getElementById("all").hidden = shown === fitting;
  mark();
  compare();
}

function order(table) {
  const heads = [...table.tHead.rows[0].cells], i = sort ? heads.findIndex(th => th.dataset.c === sort.column) : -1;
  for (const th of heads) th.removeAttribute("aria-sort");
  const body = table.tBodies[0];
  table.first ??= [...body.rows];
  let rows = table.first;
  if (i >= 0) {
    const lower = heads[i].dataset.d !== "higher", up = lower !== sort.worst;
    heads[i].setAttribute("aria-sort", up ? "ascending" : "descending");
    const keyed = rows.map(row => [sort.column === "name" ? row.dataset.m : row.cells[i].dataset.v, row]);
    const number = sort.column !== "name", sign = up ? 1 : -1;
    keyed.sort(([a], [b]) => (a === undefined) - (b === undefined) || sign * (number ? a - b : a.localeCompare(b)) || 0);
    rows = keyed.map(([, row]) => row);
  }
  if (rows.some((row, j) => body.rows[j] !== row)) body.append(...rows);
}

function mark() {
  for (const button of document.querySelectorAll("button.pin")) {
    const pinned = String(pins.includes(button.closest("tr").dataset.m));
    if (button.getAttribute("aria-pressed") !== pinned) button.setAttribute("aria-pressed", pinned);
  }
}

// ---- two models

window.sitePairs = pairs => {
  for (const name of ["paired", "separated", "ranked"]) pairs[name] = Uint8Array.from(atob(pairs[name]), c => c.charCodeAt(0));
  pairs.half = new Float32Array(Uint8Array.from(atob(pairs.half), c => c.charCodeAt(0)).buffer);
  loaded.set(pairs.id, pairs);
};

function load(id) {
  return new Promise((done, failed) => {
    if (loaded.has(id)) return done(loaded.get(id));
    const script = document.createElement("script");
    script.src = "data/pairs-" + id + ".js";
    script.onload = () => done(loaded.get(id));
    script.onerror = () => failed(new Error("cannot read " + script.src));
    document.head.append(script);
  });
}

const cut = (x, decimals) => x.toFixed(decimals).replace(/^-(0(\.0+)?)$/, "$1");

async function compare() {
  const box = document.getElementById("compare"), into = document.getElementById("comparison"), [a, b] = pins;
  box.hidden = !pins.length;
  if (!pins.length) return;
  if (pins.length === 1) return void into.replaceChildren(text("p", a + ": pin another model to compare it with."));
  const parts = [];
  for (const section of about) {
    const board = boards[section.number];
    const [x, y] = [a, b].map(name => [...board.querySelectorAll("tbody tr")].find(row => row.dataset.m === name));
    if (x && y) parts.push(await compared(section, x, y));
  }
  if (pins[0] !== a || pins[1] !== b) return;
  const note = "Difference: " + a + " − " + b + ", with the 95 % interval of this one pair, images paired where their values are kept. " +
    "The ranks hold for all pairs of a column at once, and so ask for more.";
  into.replaceChildren(...(parts.length ? parts : [text("p", "No section has both.")]), text("p", note, "note"));
}

async function compared(section, x, y) {
  const table = document.createElement("table"), [a, b] = [x.dataset.m, y.dataset.m];
  table.className = "compared";
  table.append(text("caption", section.title));
  const head = table.createTHead().insertRow();
  for (const name of ["task", a, b, "difference", "interval", "better", "ranks"]) head.append(headed(name, "col"));
  const body = table.createTBody();
  for (const column of section.columns) {
    const [i, j] = [cellOf(x, column), cellOf(y, column)];
    if (i.dataset.v === undefined && j.dataset.v === undefined) continue;
    const row = body.insertRow();
    row.append(headed(column.heading + ": " + column.metric, "row"));
    for (const text of await line(section, column, x, y, i, j)) row.insertCell().textContent = text;
  }
  const box = document.createElement("div");
  box.className = "scroll";
  box.append(table);
  return box;
}

async function line(section, column, x, y, i, j) {
  if (i.dataset.v === undefined || j.dataset.v === undefined) {
    return [i, j].map(cell => cell.dataset.v === undefined ? cell.textContent.trim() : (+cell.dataset.v).toPrecision(4)).concat("", "", "", "");
  }
  const pairs = await load(section.number + "-" + column.id), n = pairs.models;
  const [p, q] = [+x.dataset.i, +y.dataset.i].sort((a, b) => a - b), k = p * n - p * (p + 1) / 2 + q - p - 1;
  const bit = bits => bits[k >> 3] >> (7 - k % 8) & 1;
  const half = pairs.half[k], d = i.dataset.v - j.dataset.v, lower = column.direction === "lower";
  const decimals = half > 0 ? Math.min(Math.max(0, 1 - Math.floor(Math.log10(half))), 8) : 3;
  const values = [+i.dataset.v, +j.dataset.v, d].map(value => cut(value, decimals));
  if (Number.isNaN(half)) return [...values, "unknown", "", ""];
  const better = !column.direction ? "" : Math.abs(d) <= half ? "neither" : (d < 0) === lower ? x.dataset.m : y.dataset.m;
  const verdict = !bit(pairs.ranked) ? "" : bit(pairs.separated) ? "separated" : "tied";
  const interval = cut(d - half, decimals) + "\u00a0to\u00a0" + cut(d + half, decimals) + (bit(pairs.paired) ? "" : " (not paired)");
  return [...values, interval, better, verdict];
}

const cellOf = (row, column) => row.cells[[...row.closest("table").tHead.rows[0].cells].findIndex(th => th.dataset.c === column.id)];

function text(tag, content, kind) {
  const element = document.createElement(tag);
  element.textContent = content;
  if (kind) element.className = kind;
  return element;
}

function headed(content, scope) {
  const th = text("th", content);
  th.scope = scope;
  return th;
}

// ---- what is shown, as data

function shownRows() {
  const found = [];
  for (const section of about) {
    const board = boards[section.number];
    for (const table of board.querySelectorAll("table")) for (const row of table.tBodies[0].rows) {
      if (!row.fits) continue;
      for (const column of section.columns) {
        const cell = cellOf(row, column);
        if (cell.classList.contains("other") && form.elements.official.checked) continue;
        const known = cell.dataset.v !== undefined;
        found.push({section: section.title, model: row.dataset.m, family: row.dataset.f, supervision: table.dataset.supervision,
          task: column.task, metric: column.metric, unit: column.unit, direction: column.direction,
          value: known ? +cell.dataset.v : null, half: cell.dataset.h === undefined ? null : +cell.dataset.h,
          rank: cell.dataset.r ?? "", reason: known ? "" : cell.textContent.trim()});
      }
    }
  }
  return found;
}

function csv(rows) {
  const names = ["section", "model", "family", "supervision", "task", "metric", "unit", "direction", "value", "half", "rank", "reason"];
  const quoted = value => /[",\n\r]/.test(value) ? '"' + String(value).replaceAll('"', '""') + '"' : String(value ?? "");
  return [names.join(","), ...rows.map(row => names.map(name => quoted(row[name])).join(","))].join("\n") + "\n";
}

function hand(name, type, content) {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(new Blob([content], {type}));
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 1000);
}

document.getElementById("csv").onclick = () => hand("board.csv", "text/csv", csv(shownRows()));
document.getElementById("json").onclick = () => hand("board.json", "application/json", JSON.stringify(shownRows(), null, 1));

document.getElementById("all").onclick = () => { all = true; write(); };
form.addEventListener("input", write);
form.addEventListener("submit", event => event.preventDefault());
form.addEventListener("reset", () => { sort = null; pins = []; all = false; setTimeout(write); });
document.addEventListener("click", event => {
  const head = event.target.closest("thead th[data-c] button"), pin = event.target.closest("button.pin");
  if (head) {
    const column = head.closest("th").dataset.c;
    sort = {column, worst: sort?.column === column && !sort.worst};
    write();
  } else if (pin) {
    const model = pin.closest("tr").dataset.m;
    pins = pins.includes(model) ? pins.filter(name => name !== model) : [...pins, model].slice(-2);
    write();
  }
});
addEventListener("hashchange", read);
form.hidden = false;
for (const button of document.querySelectorAll("button.pin")) button.hidden = false;
read();
