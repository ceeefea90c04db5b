// The alpha explorer: what is drawn; arithmetic.js and drawing.js go before it,
// live.js or standalone.js behind. It defines mount(root, payload, state).

const LOG_ALPHA = { min: -1.3, max: 1.7, step: 0.02 }; // powers of ten: 0.05 to 50
const CURVE_POINTS = 61;

async function paintPicture(canvas, picture, colours, scale, isCurrent) {
  const image = await loaded(picture.image);
  if (!isCurrent()) return;
  fill(canvas, image);
  const context = canvas.getContext("2d");
  for (const [x0, y0, x1, y1, label] of picture.boxes) {
    const corners = [x0 * scale, y0 * scale, (x1 - x0) * scale, (y1 - y0) * scale];
    for (const [width, colour] of [[8, "#1f2430"], [4.5, `rgb(${colours[label]})`]]) {
      context.lineWidth = width;
      context.strokeStyle = colour;
      context.strokeRect(...corners);
    }
  }
}

const shownAlpha = (alpha) => (alpha < 10 ? alpha.toFixed(2) : alpha.toFixed(0));

function makePanels(hasTruth, size, scale) {
  const panels = {
    picture: makePanel("unlabelled picture", "the unlabelled picture and its boxes", size, scale),
    truth: makePanel("truth", "the true label", size),
    confidence: makePanel("confidence max q", "the largest probability of q, white = 1", size),
    primary: makePanel("primary", "the primary's label", size),
    corrected: makePanel("corrected label q", "the corrected label", size),
    ancillary: makePanel("ancillary", "the ancillary's label", size),
  };
  if (!hasTruth) delete panels.truth;
  for (const [name, { panel }] of Object.entries(panels)) panel.className = `panel panel-${name}`;
  return panels;
}

// The share of q that is right along the slider, in a drawing as wide as the slider's track.
function makeCurve() {
  const [width, height, top, floor] = [640, 92, 20, 72];
  const line = element("path", { class: "curve" });
  const dot = element("circle", { class: "dot", r: 6 });
  const title = element("text", { x: 0, y: 12 }, "pixels of the corrected label that are right, along α");
  const range = element("text", { x: width, y: 12, "text-anchor": "end" });
  const svg = element("svg", { viewBox: `-8 0 ${width + 16} ${height}`, "aria-hidden": "true" });
  const acrossOf = (power) => (width * (power - LOG_ALPHA.min)) / (LOG_ALPHA.max - LOG_ALPHA.min);
  for (const power of [-1, 0, 1]) {
    const x = acrossOf(power);
    svg.append(element("line", { x1: x, x2: x, y1: top, y2: floor + 4 }),
      element("text", { x, y: height - 4, "text-anchor": "middle" }, String(10 ** power)));
  }
  svg.append(element("line", { x1: 0, x2: width, y1: floor, y2: floor }), line, dot, title, range);
  let upOf = () => floor;
  const draw = (points) => {
    const heights = points.map(({ right }) => right);
    const [low, high] = [Math.min(...heights), Math.max(...heights)];
    const span = Math.max(high - low, 0.02);
    upOf = (right) => floor - 5 - ((right - low) / span) * (floor - top - 12);
    line.setAttribute("d", points.map(({ power, right }, i) =>
      `${i ? "L" : "M"}${acrossOf(power).toFixed(1)},${upOf(right).toFixed(1)}`).join(""));
    range.textContent = `${percent(low)} to ${percent(high)}`;
  };
  const point = (power, right) => {
    dot.setAttribute("cx", acrossOf(power));
    dot.setAttribute("cy", upOf(right));
  };
  return { svg, draw, point };
}

function makeAlphaSlider() {
  const input = element("input", { type: "range", ...LOG_ALPHA, "aria-label": "alpha" });
  const readout = element("output", {});
  const ends = element("div", { class: "ends" },
    element("span", {}, "◂ primary (α → 0)"), readout, element("span", {}, "ancillary (α → ∞) ▸"));
  return { input, readout, ends };
}

function mount(root, payload, state) {
  const { classes, colours, voidColour, size, headSize, pictures } = payload;
  const count = classes.length;
  const scale = scaleOf(size);
  const hasTruth = pictures[0].truth !== null;
  const panels = makePanels(hasTruth, size, scale);
  const { input, readout, ends } = makeAlphaSlider();
  const curve = makeCurve();
  const images = pictures.map(({ image }) => image);
  const chooser = makeChooser(images, "unlabelled picture", (index) => state.set("picture", index));
  const grid = element("div", { class: "panels" });
  grid.append(...Object.values(panels).map(({ panel }) => panel));
  const legend = makeLegend(classEntries(payload));
  const controls = element("div", { class: "controls" }, input, ends);
  if (hasTruth) controls.prepend(curve.svg);
  dress(root, "alpha-explorer", payload);
  root.append(chooser.bar, grid, controls, legend);

  let current = {};
  const rightOf = (labels) => (hasTruth ? shareRight(labels, current.truth) : null);
  const colourOf = (ids) => (i) => colours[ids[i]] ?? voidColour;

  function showLabels(panel, labels) {
    paint(panel.canvas, colourOf(labels));
    const right = rightOf(labels);
    if (hasTruth) panel.reading.textContent = `${percent(right)} right`;
    return right;
  }

  function showPicture() {
    const index = Math.min(Math.max(state.get("picture"), 0), pictures.length - 1);
    const chosen = pictures[index];
    const large = (logits) => upsample(decodeLogits(logits), count, headSize, size);
    current = { primary: large(chosen.primary), ancillary: large(chosen.ancillary) };
    current.truth = hasTruth && decodeRuns(chosen.truth, size[0] * size[1]);
    const mine = current;
    paintPicture(panels.picture.canvas, chosen, colours, scale, () => mine === current);
    panels.picture.reading.textContent = `${index + 1} of ${pictures.length}, with its boxes`;
    chooser.mark(index);
    const corrected = (alpha) => correct(current.primary, current.ancillary, alpha, count).labels;
    showLabels(panels.primary, corrected(0));
    showLabels(panels.ancillary, corrected(Infinity));
    if (hasTruth) {
      paint(panels.truth.canvas, colourOf(current.truth));
      panels.truth.reading.textContent = "for measuring only";
      curve.draw(Array.from({ length: CURVE_POINTS }, (_, i) => {
        const share = i / (CURVE_POINTS - 1);
        const power = LOG_ALPHA.min + share * (LOG_ALPHA.max - LOG_ALPHA.min);
        return { power, right: rightOf(corrected(10 ** power)) };
      }));
    }
    showAlpha();
  }

  function showAlpha() {
    const alpha = state.get("alpha");
    const power = Math.log10(alpha);
    const { labels, confidence } = correct(current.primary, current.ancillary, alpha, count);
    const right = showLabels(panels.corrected, labels);
    paint(panels.confidence.canvas, (i) => new Array(3).fill(255 * confidence[i]));
    const mean = confidence.reduce((a, b) => a + b, 0) / confidence.length;
    panels.confidence.reading.textContent = `mean ${mean.toFixed(2)}`;
    if (hasTruth) curve.point(clamp(power, LOG_ALPHA.min, LOG_ALPHA.max), right);
    const weight = alpha / (1 + alpha);
    readout.textContent = `α = ${shownAlpha(alpha)}   weight α/(1+α) = ${weight.toFixed(2)}`;
    input.value = power;
    input.setAttribute("aria-valuetext",
      `alpha ${shownAlpha(alpha)}, weight of the ancillary ${weight.toFixed(2)}`);
  }

  input.addEventListener("input", () => {
    // The ends of the track are the ends of the range, 0.05 and 50.
    state.set("alpha", clamp(10 ** Number(input.value), 0.05, 50));
  });
  state.onChange("alpha", showAlpha);
  state.onChange("picture", showPicture);
  showPicture();
}
