// What every widget draws with: elements, panels, choosers, legends, tables of bars, hatching.
// A plain script: arithmetic.js goes before it, a widget's own script behind.

const SVG_TAGS = ["svg", "path", "line", "circle", "text"];

function element(tag, attributes = {}, ...children) {
  const node = SVG_TAGS.includes(tag)
    ? document.createElementNS("http://www.w3.org/2000/svg", tag)
    : document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) node.setAttribute(name, value);
  node.append(...children);
  return node;
}

const inPercent = (share) => (Number.isFinite(share) ? (100 * share).toFixed(1) : "–");
const percent = (share) => `${inPercent(share)}${Number.isFinite(share) ? "\u00a0%" : ""}`;
const clamp = (value, low, high) => Math.min(Math.max(value, low), high);

/** The place of the value in a list that is nearest to one that is wanted. */
function nearest(list, wanted) {
  const distances = list.map((value) => Math.abs(value - wanted));
  return distances.indexOf(Math.min(...distances));
}

function dress(root, name, payload) {
  root.classList.add("static-widget", name);
  root.setAttribute("role", "group");
  root.setAttribute("aria-label", payload.label);
}

function makePanel(title, description, [height, width], scale = 1) {
  const canvas = element("canvas", {
    width: width * scale, height: height * scale, role: "img", "aria-label": description,
  });
  canvas.style.aspectRatio = `${width} / ${height}`;
  if (scale > 1 || width >= 256) canvas.style.imageRendering = "auto"; // fine lines stay whole
  const reading = element("div", { class: "reading" }, "\u00a0");
  const heading = element("div", { class: "title" }, title);
  const panel = element("div", { class: "panel" }, canvas, heading, reading);
  return { panel, canvas, reading, heading };
}

// Canvas pixels for each picture pixel: enough for fine lines on a coarse picture.
const scaleOf = ([, width]) => Math.max(1, Math.round(512 / width));

function paint(canvas, colourOf) {
  const context = canvas.getContext("2d");
  const pixels = context.createImageData(canvas.width, canvas.height);
  for (let i = 0; i < canvas.width * canvas.height; i++) {
    const [red, green, blue, opacity = 255] = colourOf(i);
    pixels.data.set([red, green, blue, opacity], 4 * i);
  }
  context.putImageData(pixels, 0, 0);
}

// One colour per picture pixel, as a canvas of the picture's own size.
function painted([height, width], colourOf) {
  const small = element("canvas", { width, height });
  paint(small, colourOf);
  return small;
}

function fill(canvas, source) {
  const context = canvas.getContext("2d");
  context.imageSmoothingEnabled = false;
  context.drawImage(source, 0, 0, canvas.width, canvas.height);
}

// Grey stripes over the pixels that are left out: no class has such a colour, nor stripes.
function hatch(canvas, size, isLeftOut) {
  const layer = element("canvas", { width: canvas.width, height: canvas.height });
  fill(layer, painted(size, (i) => [0, 0, 0, isLeftOut(i) ? 255 : 0]));
  const context = layer.getContext("2d");
  context.globalCompositeOperation = "source-in";
  context.fillStyle = context.createPattern(stripes(), "repeat");
  context.fillRect(0, 0, layer.width, layer.height);
  canvas.getContext("2d").drawImage(layer, 0, 0);
}

function stripes(side = 20) {
  const tile = element("canvas", { width: side, height: side });
  const context = tile.getContext("2d");
  context.fillStyle = "#9aa0a8";
  context.fillRect(0, 0, side, side);
  context.strokeStyle = "#d9dce0";
  context.lineWidth = side / 4;
  for (const shift of [-side, 0, side]) {
    context.moveTo(shift - side / 2, 1.5 * side);
    context.lineTo(shift + 1.5 * side, -side / 2);
  }
  context.stroke();
  return tile;
}

// State of a pixel: distinguishable by lightness alone, too.
const RIGHT = [64, 80, 102];
const WRONG = [255, 146, 30];

function fillErrors(canvas, size, label, truth, voidColour) {
  const outcome = (i) => (label[i] === truth[i] ? RIGHT : WRONG);
  fill(canvas, painted(size, (i) => (truth[i] === VOID ? voidColour : outcome(i))));
}

async function loaded(address) {
  const image = new Image();
  image.src = address;
  await image.decode();
  return image;
}

function makeBar(kind, label, buttons, choose) {
  buttons.forEach((button, index) => button.addEventListener("click", () => choose(index)));
  const bar = element("div", { class: kind, role: "toolbar", "aria-label": label }, ...buttons);
  const mark = (chosen) => buttons.forEach((button, index) => {
    button.setAttribute("aria-pressed", String(index === chosen));
  });
  return { bar, mark };
}

function makeChooser(images, noun, choose) {
  const buttons = images.map((image, index) => {
    const name = `${noun} ${index + 1}`;
    const button = element("button", { type: "button", "aria-label": name, title: name });
    button.style.backgroundImage = `url("${image}")`;
    return button;
  });
  return makeBar("chooser", noun, buttons, choose);
}

// A slider over the places of a list; what a place means is written beside it.
function makeSlider(label, count, choose) {
  const input = element("input", {
    type: "range", min: 0, max: count - 1, step: 1, "aria-label": label,
  });
  const readout = element("output", {});
  input.disabled = count < 2;
  input.addEventListener("input", () => choose(Number(input.value)));
  const show = (index, text) => {
    input.value = index;
    readout.textContent = text;
    input.setAttribute("aria-valuetext", text);
  };
  return { input, readout, show };
}

// entries: { name, colour } or { name, kind }, where kind is a class of the style sheet.
function makeLegend(entries, label = "colours of the classes") {
  const legend = element("ul", { class: "legend", "aria-label": label });
  for (const { name, colour, kind } of entries) {
    const swatch = element("i", kind ? { class: kind } : {});
    if (colour) swatch.style.background = `rgb(${colour})`;
    legend.append(element("li", {}, swatch, name));
  }
  return legend;
}

const classEntries = ({ classes, colours, voidColour }) => [...classes, "void"].map(
  (name, index) => ({ name, colour: colours[index] ?? voidColour }));

// A table of shares in percent, with a bar in every cell; rows: { name, colour, kind }.
function makeScores(corner, headings, rows) {
  const cells = rows.map(() => headings.map(() => {
    const bar = element("b", {});
    const number = element("span", {});
    const cell = element("td", {}, element("div", {}, element("i", {}, bar), number));
    return { bar, number, cell };
  }));
  const lines = rows.map(({ name, colour, kind = "" }, row) => {
    const head = element("th", { scope: "row" }, name);
    if (colour) head.style.setProperty("--swatch", `rgb(${colour})`);
    const look = colour ? "coloured" : kind;
    return element("tr", { class: look }, head, ...cells[row].map(({ cell }) => cell));
  });
  const top = [corner, ...headings.map((text) => `${text}, %`)]
    .map((text) => element("th", { scope: "col" }, text));
  const table = element("table", { class: rows.length > 9 ? "scores dense" : "scores" },
    element("thead", {}, element("tr", {}, ...top)), element("tbody", {}, ...lines));
  const show = (row, column, share) => {
    const { bar, number } = cells[row][column];
    bar.style.width = `${100 * clamp(share || 0, 0, 1)}%`;
    number.textContent = inPercent(share);
  };
  const mark = (chosen) => lines.forEach((line, row) => {
    line.classList.toggle("chosen", row === chosen);
    if (row === chosen) line.setAttribute("aria-current", "true");
    else line.removeAttribute("aria-current");
  });
  return { table, show, mark };
}
