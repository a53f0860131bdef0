"use strict";
const data = JSON.parse(document.getElementById("data").textContent);
const PAGE = 24;
const FIELDS = ["class", "strategy", "score", "min", "max", "order", "words"];
const byId = (id) => document.getElementById(id);
let shown = PAGE;

function element(name, properties = {}, ...children) {
  const made = Object.assign(document.createElement(name), properties);
  made.append(...children);
  return made;
}

function fill(id, values) {
  for (const [value, words] of values) byId(id).append(element("option", { value, textContent: words }));
}

/* The hash holds the filters: #class=car&strategy=imgsyn&score=labelled&min=0.5&max=1 */
function readHash() {
  const given = new URLSearchParams(location.hash.slice(1));
  if (![...given.keys()].some((key) => FIELDS.includes(key) || key === "real")) return;
  for (const id of FIELDS) byId(id).value = given.get(id) ?? (id === "score" ? data.scores[0] : "");
  byId("real").checked = given.get("real") !== "0";
}

function writeHash() {
  const given = new URLSearchParams();
  for (const id of FIELDS) if (byId(id).value && !(id === "score" && byId(id).selectedIndex === 0)) given.set(id, byId(id).value);
  if (!byId("real").checked) given.set("real", "0");
  history.replaceState(null, "", "#" + given);
}

function matches(sample) {
  const number = data.names.indexOf(byId("class").value);
  const score = sample.scores[byId("score").value];
  const bound = (id) => (byId(id).value === "" ? null : Number(byId(id).value));
  const words = byId("words").value.toLowerCase();
  return (number < 0 || sample.classes.includes(number))
    && (!byId("strategy").value || sample.strategy === byId("strategy").value)
    && (bound("min") === null || score >= bound("min"))
    && (bound("max") === null || score <= bound("max"))
    && (!words || sample.caption.toLowerCase().includes(words));
}

function found() {
  const kept = data.samples.filter(matches), order = byId("order").value, score = byId("score").value;
  const sign = order === "down" ? -1 : 1;
  const value = (sample) => sample.scores[score] ?? Infinity * sign;
  return order ? kept.sort((a, b) => sign * (value(a) - value(b))) : kept;
}

function load(uri) {
  return new Promise((done) => {
    const image = new Image();
    image.onload = () => done(image);
    image.src = uri;
  });
}

/* Red and green of an id picture hold 1 + the class, 0 where nothing is labelled; blue holds the part. */
function decode(image) {
  const canvas = element("canvas", { width: image.naturalWidth, height: image.naturalHeight });
  const context = canvas.getContext("2d", { willReadFrequently: true });
  context.drawImage(image, 0, 0);
  const pixels = context.getImageData(0, 0, canvas.width, canvas.height).data;
  const ids = { width: canvas.width, height: canvas.height, labels: new Int32Array(pixels.length / 4), parts: new Uint8Array(pixels.length / 4) };
  for (let i = 0; i < ids.labels.length; i++) {
    ids.labels[i] = pixels[4 * i] + 256 * pixels[4 * i + 1] - 1;
    ids.parts[i] = pixels[4 * i + 2];
  }
  return ids;
}

/* Paint the mask over what the canvas holds, whose sides are `scale` times those of the ids; share 1 hides the picture. */
function paint(canvas, ids, scale, share) {
  const context = canvas.getContext("2d"), width = canvas.width, picture = context.getImageData(0, 0, width, canvas.height);
  const at = (x, y) => Math.floor(y / scale) * ids.width + Math.floor(x / scale);
  const differ = (i, j) => ids.labels[i] !== ids.labels[j] || ids.parts[i] !== ids.parts[j];
  for (let y = 0; y < canvas.height; y++) {
    for (let x = 0; x < width; x++) {
      const i = at(x, y), border = (x + 1 < width && differ(i, at(x + 1, y))) || (y + 1 < canvas.height && differ(i, at(x, y + 1)));
      const color = border ? [255, 255, 255] : data.colors[ids.labels[i]] ?? data.ignored;
      const part = border ? 0.9 : ids.labels[i] < 0 && share < 1 ? 0 : share;
      for (let c = 0, k = 4 * (y * width + x); c < 3; c++, k++) picture.data[k] = part * color[c] + (1 - part) * picture.data[k];
    }
  }
  context.putImageData(picture, 0, 0);
}

function nameAt(ids, canvas, event) {
  const box = canvas.getBoundingClientRect();
  const x = Math.min(ids.width - 1, Math.max(0, Math.floor(((event.clientX - box.left) / box.width) * ids.width)));
  const y = Math.min(ids.height - 1, Math.max(0, Math.floor(((event.clientY - box.top) / box.height) * ids.height)));
  const i = y * ids.width + x;
  const name = data.names[ids.labels[i]] ?? "not labelled";
  return data.parts && ids.parts[i] ? `${name} · ${ids.parts[i]}` : name;
}

function point(canvas, ids) {
  const tip = byId("tip");
  canvas.addEventListener("mousemove", (event) => {
    tip.textContent = nameAt(ids, canvas, event);
    tip.style.left = `${Math.min(event.clientX + 14, innerWidth - 160)}px`;
    tip.style.top = `${event.clientY + 16}px`;
    tip.hidden = false;
  });
  canvas.addEventListener("mouseleave", () => { tip.hidden = true; });
}

async function draw(row, picture) {
  const [image, coded] = await Promise.all([load(picture.image), load(picture.ids)]);
  const ids = decode(coded), scale = Math.max(1, Math.floor(256 / Math.max(ids.width, ids.height)));  // small masks keep thin borders
  [...row.querySelectorAll("canvas")].forEach((canvas, place) => {
    canvas.width = scale * ids.width;
    canvas.height = scale * ids.height;
    canvas.getContext("2d", { willReadFrequently: true }).drawImage(image, 0, 0, canvas.width, canvas.height);
    if (place) paint(canvas, ids, scale, [0, 0.55, 1][place]);
    point(canvas, ids);
  });
  row.dataset.drawn = "1";
}

function pictures(kind, picture) {
  const row = element("div", { className: `row ${kind}` }, element("span", { textContent: kind }),
    ...["image", "overlay", "mask"].map((what) => { const made = element("canvas"); made.setAttribute("aria-label", `${kind} ${what}`); return made; }));
  draw(row, picture);
  return row;
}

function chips(sample) {
  const wanted = byId("class").value;
  return element("div", { className: "chips" }, ...sample.classes.slice(0, 14).map((number, place) => {
    const dot = element("i");
    dot.style.background = `rgb(${data.colors[number].join()})`;
    const share = sample.shares[place];
    return element("span", { className: data.names[number] === wanted ? "wanted" : "" }, dot,
      `${data.names[number]} ${share < 0.001 ? "< 0.1" : (100 * share).toFixed(1)} %`);
  }));
}

function card(sample) {
  const made = element("article", { className: "card" });
  made.dataset.key = sample.key;
  const scores = Object.entries(sample.scores).map(([name, value]) => `${name} ${value}`).join(" · ");
  made.append(
    element("div", { className: "top" }, element("b", { textContent: sample.key }), element("span", { className: "badge", textContent: sample.strategy }),
      element("span", { textContent: `from ${sample.source} · ${sample.width} x ${sample.height} · seed ${sample.seed}` })),
    element("p", { className: "caption", textContent: sample.caption }), pictures("synthetic", sample));
  if (byId("real").checked && Object.hasOwn(data.reals, sample.source)) made.append(pictures("real", data.reals[sample.source]));
  made.append(chips(sample), element("div", { className: "scores", textContent: scores }));
  return made;
}

function show() {
  const kept = found();
  byId("cards").replaceChildren(...kept.slice(0, shown).map(card));
  byId("count").textContent = `${kept.length} of ${data.samples.length} samples`;
  byId("more").hidden = kept.length <= shown;
}

function changed() {
  shown = PAGE;
  writeHash();
  show();
}

fill("class", data.names.map((name, number) => [name, data.samples.filter((sample) => sample.classes.includes(number)).length])
  .filter(([, count]) => count).map(([name, count]) => [name, `${name} (${count})`]));
fill("strategy", [...new Set(data.samples.map((sample) => sample.strategy))].sort().map((name) => [name, name]));
fill("score", data.scores.map((name) => [name, name]));
byId("real-label").hidden = !Object.keys(data.reals).length;
byId("filters").addEventListener("input", changed);
byId("filters").addEventListener("submit", (event) => event.preventDefault());
byId("clear").addEventListener("click", () => { byId("filters").reset(); changed(); });
byId("more").addEventListener("click", () => { shown += PAGE; show(); });
for (const button of document.querySelectorAll("button[data-class]")) {
  button.addEventListener("click", () => { byId("class").value = button.dataset.class; changed(); byId("samples").scrollIntoView(); });
}
addEventListener("hashchange", () => { readHash(); shown = PAGE; show(); });
readHash();
show();
