// The crop pair explorer: what is drawn; arithmetic.js, drawing.js and track.js go before it.

const MARKED_GAMMAS = [0, 0.25, 0.5, 0.75, 1];
const MINE = "#d9822b";
const POSITIVE = "#ffffff";
const ALONE = [38, 42, 54];
const MOVERS = [
  { name: "crop 1’s cell moves", colour: [160, 215, 255] },
  { name: "crop 2’s cell moves", colour: [255, 146, 30] },
  { name: "neither moves", kind: "striped" },
  { name: "in one crop at most", colour: ALONE },
];
const STEPS = { ArrowUp: [-1, 0], ArrowDown: [1, 0], ArrowLeft: [0, -1], ArrowRight: [0, 1] };

// Which crop's cell moves, 0 or 1; -1 for neither. Padding has confidence 0.
function moverOf({ confidence }, [first, second], threshold) {
  const [one, two] = [confidence[0][first], confidence[1][second]];
  if (one < two && two > threshold) return 0;
  return two < one && one > threshold ? 1 : -1;
}

// Over all pictures: cells of the overlap, those that move, and how many of their targets are right.
function countMoves(data, threshold) {
  const found = { cells: 0, moving: 0, known: 0, right: 0 };
  for (const one of data) {
    for (const shared of one.shared) {
      found.cells++;
      const mover = moverOf(one, shared, threshold);
      if (mover < 0) continue;
      found.moving++;
      const truth = one.truth[shared[2] * one.columns + shared[3]];
      if (truth === VOID) continue;
      found.known++;
      found.right += one.labels[1 - mover][shared[1 - mover]] === truth;
    }
  }
  return found;
}

// A rectangle of cells on a canvas that shows rows x columns of them.
function frame(canvas, [rows, columns], [row, column, height, width], colour, dash = []) {
  const context = canvas.getContext("2d");
  const [down, right] = [canvas.height / rows, canvas.width / columns];
  context.setLineDash(dash);
  for (const [style, thick] of [["#1b1e26", 9], [colour, 5]]) {
    context.strokeStyle = style;
    context.lineWidth = thick * Math.max(1, canvas.width / 512);
    context.strokeRect(column * right, row * down, width * right, height * down);
  }
  context.setLineDash([]);
}

async function mount(root, payload, state) {
  const { classes, colours, voidColour, size, cropSize, stride, thresholds } = payload;
  const [whole, grid] = [size, cropSize].map((sides) => sides.map((side) => side / stride));
  const pickable = "; click a cell, or move it with arrow keys";
  const panels = {
    picture: makePanel("both crops", "the picture with both crops", size, scaleOf(size)),
    views: [0, 1].map((k) => makePanel(`crop ${k + 1}`,
      `what crop ${k + 1} shows${pickable}`, cropSize, scaleOf(cropSize))),
    moves: makePanel("who moves", "which cells of the overlap move", size, scaleOf(size)),
    labels: [0, 1].map((k) => makePanel(`labels in crop ${k + 1}`,
      `the label of each cell of crop ${k + 1}, striped where it is no negative${pickable}`,
      cropSize, scaleOf(cropSize))),
  };
  const chooser = makeChooser(payload.pictures.map(({ image }) => image), "picture",
    (index) => state.set("picture", index));
  const gamma = makeSlider("confidence threshold", thresholds.length,
    (index) => state.set("threshold", thresholds[index]));
  const cells = makeSlider("cell of the overlap", 2, (index) => state.set("cell", index));
  const track = makeTrack(
    [{ kind: "line", look: "first" }, { kind: "line", look: "second" }], thresholds.length,
    thresholds.flatMap((value, index) =>
      (MARKED_GAMMAS.includes(value) ? [{ index, text: String(value) }] : [])));
  dress(root, "crop-pair-explorer", payload);
  const shown = [panels.picture, ...panels.views, panels.moves, ...panels.labels];
  root.append(
    chooser.bar,
    element("div", { class: "panels" }, ...shown.map(({ panel }) => panel)),
    makeLegend(MOVERS, "who moves"),
    makeLegend([...classEntries(payload), { name: "no negative: the same label", kind: "striped" }]),
    element("div", { class: "picking" }, "cell", cells.input),
    element("div", { class: "readout" }, cells.readout),
    element("div", { class: "controls" },
      makeLegend([{ name: "cells that move, all pictures", kind: "stroke first" },
        { name: "right, of what they move towards", kind: "stroke second" }],
      "lines of the chart"),
      trackRow(track, gamma.input), element("div", { class: "readout" }, gamma.readout)),
  );

  const data = await Promise.all(payload.pictures.map(async (one) => ({
    ...one, columns: whole[1], image: await loaded(one.image), truth: await unpack(one.truth),
    views: await Promise.all(one.views.map(loaded)),
    labels: await Promise.all(one.labels.map(unpack)),
  })));
  const all = thresholds.map((threshold) => countMoves(data, threshold));
  const curves = [all.map(({ moving, cells: total }) => moving / total),
    all.map(({ right, known }) => right / known)];
  track.draw(curves, roundRange(curves));

  const chosen = () => data[clamp(state.get("picture"), 0, data.length - 1)];
  const number = () => clamp(state.get("cell"), 0, chosen().shared.length - 1);
  const place = () => nearest(thresholds, state.get("threshold"));
  const told = (one, k, cell) => `${classes[one.labels[k][cell]] ?? "padding"}, `
    + percent(one.confidence[k][cell]);

  function showPicture() {
    const one = chosen();
    chooser.mark(data.indexOf(one));
    cells.input.max = one.shared.length - 1;
    cells.input.disabled = one.shared.length < 2;
    showAll();
  }

  function showAll() {
    const [one, threshold, picked] = [chosen(), thresholds[place()], state.get("crop") ? 1 : 0];
    const shared = one.shared[number()];
    const mover = moverOf(one, shared, threshold);
    const isFiltered = (k, cell) => one.labels[k][cell] === one.labels[picked][shared[picked]]
      || one.labels[k][cell] === VOID;
    fill(panels.picture.canvas, one.image);
    [0, 1].forEach((k) => {
      const [top, left] = one.corners[k].map((corner) => corner / stride);
      frame(panels.picture.canvas, whole, [top, left, ...grid], k ? POSITIVE : MINE,
        k ? [24, 14] : []);
      fill(panels.views[k].canvas, one.views[k]);
      fill(panels.labels[k].canvas, painted(grid, (i) => colours[one.labels[k][i]] ?? voidColour));
      const at = [Math.floor(shared[k] / grid[1]), shared[k] % grid[1], 1, 1];
      hatch(panels.labels[k].canvas, grid, (i) => i !== shared[k] && isFiltered(k, i));
      for (const { canvas } of [panels.views[k], panels.labels[k]]) {
        frame(canvas, grid, at, k === picked ? MINE : POSITIVE);
      }
      panels.views[k].reading.textContent = one.flipped[k] ? "mirrored" : "as it is";
      panels.labels[k].reading.textContent = told(one, k, shared[k]);
    });
    frame(panels.picture.canvas, whole, [shared[2], shared[3], 1, 1], MINE);
    panels.picture.reading.textContent = `row ${shared[2]}, column ${shared[3]}`;
    showMoves(one, threshold);
    frame(panels.moves.canvas, whole, [shared[2], shared[3], 1, 1], POSITIVE);
    const total = [0, 1].map((k) => one.labels[k].reduce(
      (sum, _, i) => sum + !isFiltered(k, i), 0));
    const verdict = mover < 0 ? "neither moves"
      : `crop ${mover + 1}’s cell moves towards crop ${2 - mover}’s`;
    cells.show(number(), `${verdict}; negatives of crop ${picked + 1}’s: `
      + `${total[0] + total[1]} of ${2 * grid[0] * grid[1]} cells`);
    track.point(place());
    gamma.show(place(), `γ = ${threshold}: ${percent(curves[0][place()])} of the common cells move, `
      + `${percent(curves[1][place()])} of their targets are right`);
  }

  function showMoves(one, threshold) {
    const movers = new Map(one.shared.map((shared) => [
      shared[2] * whole[1] + shared[3], moverOf(one, shared, threshold)]));
    fill(panels.moves.canvas,
      painted(whole, (i) => (movers.get(i) >= 0 ? MOVERS[movers.get(i)].colour : ALONE)));
    hatch(panels.moves.canvas, whole, (i) => movers.get(i) === -1);
    const moving = one.shared.filter((shared) => moverOf(one, shared, threshold) >= 0).length;
    panels.moves.reading.textContent = `${moving} of ${one.shared.length} cells`;
  }

  // Pick the cell of a crop, if the other crop shows it, too.
  function pick(k, row, column) {
    if (row < 0 || column < 0 || row >= grid[0] || column >= grid[1]) return;
    const index = chosen().shared.findIndex((shared) => shared[k] === row * grid[1] + column);
    if (index < 0) return;
    state.set("crop", k);
    state.set("cell", index);
  }

  for (const k of [0, 1]) {
    for (const { canvas } of [panels.views[k], panels.labels[k]]) {
      canvas.setAttribute("tabindex", "0");
      canvas.addEventListener("click", (event) => {
        const { left, top, width, height } = canvas.getBoundingClientRect();
        pick(k, Math.floor(((event.clientY - top) / height) * grid[0]),
          Math.floor(((event.clientX - left) / width) * grid[1]));
      });
      canvas.addEventListener("keydown", (event) => {
        if (!(event.key in STEPS)) return;
        event.preventDefault();
        const at = chosen().shared[number()][k];
        const [down, right] = STEPS[event.key];
        pick(k, Math.floor(at / grid[1]) + down, (at % grid[1]) + right);
      });
    }
  }
  ["threshold", "crop", "cell"].forEach((name) => state.onChange(name, showAll));
  state.onChange("picture", showPicture);
  showPicture();
}
