// The error map explorer: what is drawn; arithmetic.js, drawing.js and track.js go before it.

const MARKED_PROBABILITIES = [0, 0.2, 0.4, 0.5, 0.6, 0.8];
const FOUND = [160, 215, 255];
const FATES = [
  { name: "kept and right", colour: RIGHT }, { name: "kept and wrong: missed", colour: WRONG },
  { name: "dropped and wrong: found", colour: FOUND },
  { name: "dropped, though right", kind: "striped" },
];

// Pixels without the void ones: all, those that are right, those that are kept, those that are both.
function countPixels({ label, level, truth }, place) {
  const found = { all: 0, right: 0, kept: 0, keptRight: 0 };
  truth.forEach((id, i) => {
    if (id === VOID) return;
    const [isRight, isKept] = [id === label[i], level[i] >= place];
    found.all++;
    found.right += isRight;
    found.kept += isKept;
    found.keptRight += isRight && isKept;
  });
  return found;
}

// [share kept, accuracy of the kept, errors among the dropped, errors found]; NaN for 0 of 0.
function sharesOf({ all, right, kept, keptRight }) {
  const [errors, missed] = [all - right, kept - keptRight];
  return [kept / all, keptRight / kept, (errors - missed) / (all - kept),
    (errors - missed) / errors];
}

async function mount(root, payload, state) {
  const { colours, voidColour, mapColours, size, thresholds, kept, right, pictures } = payload;
  const scale = scaleOf(size);
  const panels = {
    picture: makePanel("picture", "the chosen picture", size, scale),
    label: makePanel("prediction", "the predicted label", size, scale),
    wrong: makePanel("right or wrong", "where the prediction is wrong, orange", size, scale),
    map: makePanel("error map", "the chance of an error, dark 0, yellow 1", size, scale),
    kept: makePanel("kept labels", "the predicted label, striped where dropped", size, scale),
    fate: makePanel("errors found", "which errors are dropped, which ones kept", size, scale),
  };
  const chooser = makeChooser(pictures.map(({ image }) => image), "picture",
    (index) => state.set("picture", index));
  const rows = ["labels kept", "right, of the kept", "wrong, of the dropped",
    "dropped, of the wrong"];
  const scores = makeScores("share", ["this picture", "all pictures"],
    rows.map((name) => ({ name })));
  const { input, readout, show } = makeSlider("least probability of being right",
    thresholds.length, (index) => state.set("threshold", thresholds[index]));
  const track = makeTrack(
    [{ kind: "line", look: "first" }, { kind: "line", look: "second" },
      { kind: "line", look: "mean" }], thresholds.length,
    thresholds.flatMap((value, index) =>
      (MARKED_PROBABILITIES.includes(value) ? [{ index, text: String(value) }] : [])));
  dress(root, "error-map-explorer", payload);
  root.append(
    chooser.bar,
    element("div", { class: "panels" }, ...Object.values(panels).map(({ panel }) => panel)),
    makeLegend([...FATES, { name: "void", colour: voidColour }], "what became of a pixel"),
    scores.table,
    element("div", { class: "controls" },
      makeLegend([{ name: "labels kept", kind: "stroke first" },
        { name: "right, of the kept", kind: "stroke second" },
        { name: "dropped, of the wrong", kind: "stroke mean" }], "lines of the chart"),
      trackRow(track, input), element("div", { class: "readout" }, readout)),
  );

  const overall = thresholds.map((_, t) => sharesOf(
    { all: kept[0], right: right[0], kept: kept[t], keptRight: right[t] }));
  const curves = [0, 1, 3].map((row) => overall.map((shares) => shares[row]));
  track.draw(curves, roundRange(curves));
  const data = await Promise.all(pictures.map(async ({ image, label, level, truth }) => ({
    image: await loaded(image),
    label: await unpack(label), level: await unpack(level), truth: await unpack(truth),
  })));

  const place = () => nearest(thresholds, state.get("threshold"));
  const chosen = () => clamp(state.get("picture"), 0, pictures.length - 1);

  function showPicture() {
    const { image, label, level, truth } = data[chosen()];
    chooser.mark(chosen());
    fill(panels.picture.canvas, image);
    fill(panels.label.canvas, painted(size, (i) => colours[label[i]] ?? voidColour));
    fillErrors(panels.wrong.canvas, size, label, truth, voidColour);
    fill(panels.map.canvas, painted(size, (i) => mapColours[level[i]]));
    const { all, right: hits } = countPixels(data[chosen()], 0);
    panels.picture.reading.textContent = `${chosen() + 1} of ${pictures.length}`;
    panels.wrong.reading.textContent = `${percent(hits / all)} right`;
    panels.map.reading.textContent = "dark 0, yellow 1";
    showThreshold();
  }

  function showThreshold() {
    const t = place();
    const { label, level, truth } = data[chosen()];
    const isDropped = (i) => level[i] < t;
    const isRight = (i) => label[i] === truth[i];
    fill(panels.kept.canvas, painted(size, (i) => colours[label[i]] ?? voidColour));
    hatch(panels.kept.canvas, size, isDropped);
    const fateOf = (i) => (isRight(i) ? RIGHT : isDropped(i) ? FOUND : WRONG);
    fill(panels.fate.canvas, painted(size, (i) => (truth[i] === VOID ? voidColour : fateOf(i))));
    hatch(panels.fate.canvas, size, (i) => isDropped(i) && isRight(i));
    const mine = sharesOf(countPixels(data[chosen()], t));
    mine.forEach((share, row) => {
      scores.show(row, 0, share);
      scores.show(row, 1, overall[t][row]);
    });
    panels.kept.reading.textContent = `${percent(mine[0])} kept`;
    panels.fate.reading.textContent = `${percent(mine[3])} of the wrong`;
    track.point(t);
    show(t, `kept from ${thresholds[t]} on: ${percent(overall[t][0])} of all pixels, ` +
      `${percent(overall[t][1])} of them right`);
  }

  state.onChange("threshold", showThreshold);
  state.onChange("picture", showPicture);
  showPicture();
}
