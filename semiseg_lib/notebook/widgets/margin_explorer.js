// The margin explorer: what is drawn; arithmetic.js, margin_arithmetic.js, drawing.js and track.js
// go before it.

const MARKED_SHARES = [0, 0.1, 0.2, 0.3, 0.4, 0.5];
const FATE = {
  kept: { colour: [64, 80, 102], name: "kept either way" },
  added: { colour: [245, 241, 230], name: "added by its neighbours" },
  lost: { colour: [255, 146, 30], name: "lost through them" },
  dropped: { kind: "striped", name: "dropped either way" },
};
const ARROWS = { ArrowUp: [-1, 0], ArrowDown: [1, 0], ArrowLeft: [0, -1], ArrowRight: [0, 1] };

// Shares of the pixels that a test picks, and how many of them are right; void is left out.
function shareAndAccuracy({ label, truth }, isPicked) {
  let [known, picked, right] = [0, 0, 0];
  truth.forEach((id, i) => {
    if (id === VOID) return;
    known++;
    if (!isPicked(i)) return;
    picked++;
    right += id === label[i];
  });
  return { share: picked / known, accuracy: right / picked };
}

function markPixel(canvas, [height, width], row, column) {
  const context = canvas.getContext("2d");
  const [down, right] = [canvas.height / height, canvas.width / width];
  for (const [style, thick] of [["#ffffff", 7], ["#d9822b", 4]]) {
    context.strokeStyle = style;
    context.lineWidth = thick * Math.max(1, canvas.width / 512);
    context.strokeRect((column - 1) * right, (row - 1) * down, 3 * right, 3 * down);
  }
}

// The 3x3 window: the colour of the likeliest class and how likely it is.
function drawWindow(canvas, at, { cellOf, count, colours }) {
  const context = canvas.getContext("2d");
  const side = canvas.width / 3;
  context.clearRect(0, 0, canvas.width, canvas.height);
  context.font = `600 ${Math.round(side / 4)}px system-ui, sans-serif`;
  [context.textAlign, context.textBaseline] = ["center", "middle"];
  for (const [down, right] of [[0, 0], ...BESIDE, ...CORNERS]) {
    const cell = cellOf(at[0] + down, at[1] + right);
    if (!cell) continue;
    const [x, y] = [(1 + right) * side, (1 + down) * side];
    const [red, green, blue] = colours[cell.label];
    const heard = count === 8 || down === 0 || right === 0;
    context.globalAlpha = heard ? 1 : 0.25;
    context.fillStyle = `rgb(${colours[cell.label]})`;
    context.fillRect(x + 2, y + 2, side - 4, side - 4);
    context.globalAlpha = 1;
    const isLight = !heard || 0.3 * red + 0.6 * green + 0.1 * blue > 130;
    context.fillStyle = isLight ? "#000000" : "#ffffff";
    if (heard) context.fillText(cell.sure.toFixed(2), x + side / 2, y + side / 2);
  }
  context.strokeStyle = "#d9822b";
  context.lineWidth = side / 14;
  context.strokeRect(side, side, side, side);
}

async function mount(root, payload, state) {
  const { classes, colours, voidColour, size, head, shares, betas, expectation } = payload;
  const [numClasses, [height, width], scale] = [classes.length, size, scaleOf(size)];
  const panels = {
    picture: makePanel("picture", "the picture; click, or move the pixel with arrow keys", size,
      scale),
    kept: makePanel("kept prediction", "the predicted label, striped where dropped", size, scale),
    fate: makePanel("added and lost", "pixels that neighbours add or take", size, scale),
    window: makePanel("3 × 3 window", "the pixel and its neighbours: how likely is the class",
      [3, 3], 170),
  };
  const chooser = makeChooser(payload.pictures.map(({ image }) => image), "picture",
    (index) => state.set("picture", index));
  const counts = [4, 8];
  const button = (text) => element("button", { type: "button" }, text);
  const countBar = makeBar("kinds", "neighbours", counts.map((n) => button(`${n} neighbours`)),
    (index) => state.set("neighbours", counts[index]));
  const betaBar = makeBar("kinds", "beta", betas.map((beta) => button(`β = ${+beta.toFixed(2)}`)),
    (index) => state.set("beta", betas[index]));
  const rows = classes.map((name, c) => ({ name, colour: colours[c] }));
  const scores = makeScores("this pixel", ["own", "neighbour", "refined"],
    [...rows, { name: "margin", kind: "total" }]);
  const { input, readout, show } = makeSlider("dropped share", shares.length,
    (index) => state.set("dropped", shares[index]));
  const track = makeTrack(
    [{ kind: "line", look: "first" }, { kind: "line", look: "second" }], shares.length,
    shares.flatMap((value, index) =>
      (MARKED_SHARES.includes(value) ? [{ index, text: percent(value) }] : [])));
  dress(root, "margin-explorer", payload);
  root.append(
    chooser.bar,
    element("div", { class: "bars" }, countBar.bar, betaBar.bar),
    element("div", { class: "columns" },
      element("div", { class: "panels" }, ...Object.values(panels).map(({ panel }) => panel)),
      element("div", {}, scores.table,
        makeLegend(Object.values(FATE), "what became of a pixel"))),
    element("div", { class: "controls" },
      makeLegend([{ name: "kept, all pictures", kind: "stroke first" },
        { name: "right, of the kept", kind: "stroke second" }], "lines of the chart"),
      trackRow(track, input), element("div", { class: "readout" }, readout)),
  );

  const data = await Promise.all(payload.pictures.map(async ({ image, logits, truth }) => {
    const large = upsample(decodeLogits(logits), numClasses, head, size);
    const own = softmaxed(large, numClasses);
    return { image: await loaded(image), truth: await unpack(truth), own,
      label: mostLikely(own, numClasses), plain: marginsOf(own, numClasses) };
  }));
  const ordered = Float32Array.from(data.flatMap(({ plain }) => [...plain])).sort();

  const chosen = () => data[clamp(state.get("picture"), 0, data.length - 1)];
  const place = () => [clamp(state.get("row"), 0, height - 1),
    clamp(state.get("column"), 0, width - 1)];
  const coloursOf = (ids) => (i) => colours[ids[i]] ?? voidColour;

  function refineAll() {
    const [count, beta] = [state.get("neighbours"), betas[nearest(betas, state.get("beta"))]];
    countBar.mark(counts.indexOf(count));
    betaBar.mark(nearest(betas, beta));
    for (const one of data) {
      one.believed = strongestNeighbours(one.own, size, count);
      one.refined = refined(one.own, one.believed, expectation, beta);
      one.margins = marginsOf(one.refined, numClasses);
    }
    const all = shares.map((share) => {
      const least = leastOf(ordered, share);
      const sums = data.map((one) => shareAndAccuracy(one, (i) => one.margins[i] > least));
      const total = (pick) => sums.reduce((sum, one) => sum + pick(one), 0);
      const kept = total(({ share: part }) => part) / data.length;
      const right = total(({ share: part, accuracy }) => (part ? part * accuracy : 0));
      return { kept, accuracy: right / (kept * data.length) };
    });
    const curves = [all.map(({ kept }) => kept), all.map(({ accuracy }) => accuracy)];
    track.draw(curves, roundRange(curves));
    showPicture();
  }

  function showPicture() {
    chooser.mark(data.indexOf(chosen()));
    panels.picture.reading.textContent = `${data.indexOf(chosen()) + 1} of ${data.length}`;
    showDropped();
  }

  function showDropped() {
    const t = nearest(shares, state.get("dropped"));
    const least = leastOf(ordered, shares[t]);
    const one = chosen();
    const fateOf = (i) => (one.margins[i] > least
      ? (one.plain[i] > least ? "kept" : "added") : (one.plain[i] > least ? "lost" : "dropped"));
    const isDropped = (i) => one.margins[i] <= least;
    fill(panels.kept.canvas, painted(size, coloursOf(one.label)));
    hatch(panels.kept.canvas, size, isDropped);
    fill(panels.fate.canvas, painted(size, (i) => FATE[fateOf(i)].colour ?? voidColour));
    hatch(panels.fate.canvas, size, (i) => fateOf(i) === "dropped");
    const [kept, added, lost] = [(i) => !isDropped(i), (i) => fateOf(i) === "added",
      (i) => fateOf(i) === "lost"].map((test) => shareAndAccuracy(one, test));
    panels.kept.reading.textContent = `${percent(kept.accuracy)} right`;
    panels.fate.reading.textContent = `+ ${percent(added.share)}, − ${percent(lost.share)}`;
    track.point(t);
    const [row, column] = place();
    const i = row * width + column;
    const bound = Number.isFinite(least) ? `margins above ${least.toFixed(3)}` : "every margin";
    show(t, `${percent(shares[t])} to drop: keep ${bound}; this pixel is ` +
      `${fateOf(i)}`);
    showPixel();
  }

  function showPixel() {
    const [one, [row, column]] = [chosen(), place()];
    const i = row * width + column;
    fill(panels.picture.canvas, one.image);
    markPixel(panels.picture.canvas, size, row, column);
    const inside = (y, x) => y >= 0 && y < height && x >= 0 && x < width;
    const cellOf = (y, x) => inside(y, x) && {
      label: one.label[y * width + x],
      sure: one.own[one.label[y * width + x] * height * width + y * width + x],
    };
    drawWindow(panels.window.canvas, [row, column],
      { cellOf, count: state.get("neighbours"), colours });
    panels.window.reading.textContent = `row ${row}, column ${column}`;
    classes.forEach((_, c) => [one.own, one.believed, one.refined].forEach((maps, k) => {
      scores.show(c, k, maps[c * height * width + i]);
    }));
    scores.show(numClasses, 0, one.plain[i]);
    scores.show(numClasses, 1, NaN);
    scores.show(numClasses, 2, one.margins[i]);
    scores.mark(one.label[i]);
  }

  function go(row, column) {
    state.set("row", clamp(row, 0, height - 1));
    state.set("column", clamp(column, 0, width - 1));
  }

  for (const name of ["picture", "kept", "fate"]) {
    const { canvas } = panels[name];
    canvas.setAttribute("tabindex", "0");
    canvas.addEventListener("click", (event) => {
      const { left, top, width: w, height: h } = canvas.getBoundingClientRect();
      go(Math.floor(((event.clientY - top) / h) * height),
        Math.floor(((event.clientX - left) / w) * width));
    });
    canvas.addEventListener("keydown", (event) => {
      if (!(event.key in ARROWS)) return;
      event.preventDefault();
      const [[row, column], [down, right]] = [place(), ARROWS[event.key]];
      go(row + down, column + right);
    });
  }
  state.onChange("dropped", showDropped);
  state.onChange("row", showDropped);
  state.onChange("column", showDropped);
  state.onChange("picture", showPicture);
  state.onChange("neighbours", refineAll);
  state.onChange("beta", refineAll);
  refineAll();
}
