// The image browser: the hardest images of two models, where they differ, and one image through every model.
"use strict";
const about = JSON.parse(document.getElementById("about").textContent);
const form = document.getElementById("choices"), loaded = new Map(), SHOWN = 12, SCALE = 2;
const get = id => document.getElementById(id);

window.siteImages = data => {
  const bytes = Uint8Array.from(atob(data.values), c => c.charCodeAt(0)), all = new Float32Array(bytes.buffer);
  data.count = all.length / data.models.length;
  // as many decimals for all as leave the largest value four digits: values below each other can then be compared
  data.decimals = Math.max(0, 3 - Math.floor(Math.log10(all.reduce((most, value) => Math.max(most, Math.abs(value)), 1e-9))));
  data.of = new Map(data.models.map((name, i) => [name, all.subarray(i * data.count, (i + 1) * data.count)]));
  loaded.set(data.id, data);
};

function load(id) {
  return new Promise((done, failed) => {
    if (loaded.has(id)) return done(loaded.get(id));
    const script = document.createElement("script");
    script.src = "data/images-" + id + ".js";
    script.onload = () => done(loaded.get(id));
    script.onerror = () => failed(new Error("cannot read " + script.src));
    document.head.append(script);
  });
}

async function show() {
  const state = new URLSearchParams(location.hash.slice(1));
  const column = about.find(c => c.id === state.get("column")) ?? about[0], data = await load(column.id);
  const a = data.of.has(state.get("a")) ? state.get("a") : data.models[0];
  const b = data.of.has(state.get("b")) ? state.get("b") : data.models.find(name => name !== a) ?? a;
  form.elements.column.value = column.id;
  for (const [name, chosen] of [["a", a], ["b", b]]) {
    form.elements[name].replaceChildren(...data.models.map(model => new Option(model, model, false, model === chosen)));
  }
  const bad = column.direction === "lower" ? 1 : -1, [x, y] = [data.of.get(a), data.of.get(b)];
  const indices = [...x.keys()], by = score => indices.slice().sort((i, j) => score(j) - score(i)).slice(0, SHOWN);
  const hard = by(i => bad * x[i]), image = state.get("image") === null ? hard[0] : Math.floor(state.get("image") / data.step);
  const chosen = Math.min(Math.max(image || 0, 0), data.count - 1);
  form.elements.image.max = (data.count - 1) * data.step;
  form.elements.image.step = data.step;
  form.elements.image.value = chosen * data.step;
  get("name-a").textContent = a;
  get("name-b").textContent = b;
  get("better-a").textContent = "Better in " + a;
  get("better-b").textContent = "Better in " + b;
  fill("hard-a", hard, i => number(x[i], data), column, data);
  fill("hard-b", by(i => bad * y[i]), i => number(y[i], data), column, data);
  fill("for-a", by(i => bad * (y[i] - x[i])), i => number(x[i], data) + " / " + number(y[i], data), column, data);
  fill("for-b", by(i => bad * (x[i] - y[i])), i => number(x[i], data) + " / " + number(y[i], data), column, data);
  everyone(chosen, bad, column, data);
  get("told").textContent = data.count + " test images" + (data.step > 1 ? " of " + data.images + " (evenly spaced)" : "") +
    ", the mean over seeds of each" + (column.sprite ? "" : "; the images themselves do not lie here, so that each has its number alone") + ".";
  get("browser").hidden = form.hidden = false;
}

const number = (value, data) => value.toFixed(data.decimals);

function thumb(i, column, data, scale) {
  const at = column.sprite, element = document.createElement("span"), index = i * data.step;
  if (!at) return element;
  const [h, w] = [at.height * scale, at.width * scale];
  element.className = "thumb";
  element.style.cssText = `width:${w}px;height:${h}px;background-image:url(${at.file});background-size:${w * at.across}px ${h * at.down}px;` +
    `background-position:${-w * (index % at.across)}px ${-h * Math.floor(index / at.across)}px`;
  return element;
}

function fill(id, indices, say, column, data) {
  get(id).replaceChildren(...indices.map(i => {
    const item = document.createElement("li"), button = document.createElement("button");
    button.type = "button";
    button.dataset.image = i * data.step;
    button.append(thumb(i, column, data, SCALE), "#" + i * data.step, document.createElement("br"), say(i));
    item.append(button);
    return item;
  }));
}

function everyone(i, bad, column, data) {
  const scores = data.models.map(name => [name, data.of.get(name)[i]]).sort((a, b) => bad * (a[1] - b[1]));
  const low = Math.min(0, ...scores.map(s => s[1])), high = Math.max(...scores.map(s => s[1]), low + 1e-9);
  get("one").textContent = "Image " + i * data.step + ", every model";
  get("unit").textContent = column.unit || "score";
  get("picture").replaceChildren(thumb(i, column, data, 4));
  get("everyone").replaceChildren(...scores.map(([name, score]) => {
    const row = document.createElement("tr"), head = document.createElement("th"), cell = document.createElement("td");
    const track = document.createElement("span"), bar = document.createElement("i");
    head.scope = "row";
    head.textContent = name;
    track.className = "track";
    bar.style.width = 100 * (score - low) / (high - low) + "%";
    track.append(bar);
    cell.append(number(score, data), track);
    row.append(head, cell);
    return row;
  }));
}

function write(image) {
  const state = new URLSearchParams();
  for (const name of ["column", "a", "b"]) state.set(name, form.elements[name].value);
  if (image !== undefined) state.set("image", image);
  history.replaceState(null, "", "#" + state);
  show();
}

if (form) {
  form.addEventListener("change", event => write(event.target.name === "image" ? form.elements.image.value : undefined));
  form.addEventListener("submit", event => event.preventDefault());
  document.addEventListener("click", event => {
    const button = event.target.closest("button[data-image]");
    if (button) write(button.dataset.image);
  });
  addEventListener("hashchange", show);
  show();
}
