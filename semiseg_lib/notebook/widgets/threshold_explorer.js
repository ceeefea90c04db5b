// The threshold explorer: what is drawn; arithmetic.js, drawing.js and track.js go before it.

const MARKED_THRESHOLDS = [0, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95];

function sharesOf(total, right, classes) {
  const sum = (rows) => rows[0].map((_, t) => rows.reduce((all, row) => all + row[t], 0));
  const rows = [...classes.map((_, c) => [total[c], right[c]]), [sum(total), sum(right)]];
  return rows.map(([called, hits]) => ({
    kept: called.map((pixels) => pixels / called[0]), // NaN where a class is never predicted
    accuracy: hits.map((pixels, t) => pixels / called[t]),
  }));
}

// Shares of one picture without its void pixels; level: the slider's last place that keeps a pixel.
function pictureShares({ label, level, truth }, place) {
  let [known, kept, right] = [0, 0, 0];
  truth.forEach((id, i) => {
    if (id === VOID) return;
    known++;
    if (level[i] < place) return;
    kept++;
    right += id === label[i];
  });
  return { kept: kept / known, accuracy: right / kept };
}

async function mount(root, payload, state) {
  const { classes, colours, voidColour, size, thresholds, total, right, pictures } = payload;
  const [scale, last] = [scaleOf(size), thresholds.length - 1];
  const panels = {
    picture: makePanel("picture", "the chosen picture", size, scale),
    truth: makePanel("truth", "the true label", size, scale),
    kept: makePanel("kept prediction", "the predicted label, striped where dropped", size, scale),
    errors: makePanel("right or wrong", "the wrong ones of the kept pixels, orange", size, scale),
  };
  const chooser = makeChooser(pictures.map(({ image }) => image), "picture",
    (index) => state.set("picture", index));
  const rows = classes.map((name, c) => ({ name, colour: colours[c] }));
  const scores = makeScores("predicted", ["kept", "accuracy"],
    [...rows, { name: "all classes", kind: "total" }]);
  const { input, readout, show } = makeSlider("confidence threshold", thresholds.length,
    (index) => state.set("threshold", thresholds[index]));
  const track = makeTrack(
    [{ kind: "line", look: "first" }, { kind: "line", look: "second" }], thresholds.length,
    thresholds.flatMap((value, index) =>
      (MARKED_THRESHOLDS.includes(value) ? [{ index, text: String(value) }] : [])));
  dress(root, "threshold-explorer", payload);
  root.append(
    chooser.bar,
    element("div", { class: "columns" },
      element("div", { class: "panels" }, ...Object.values(panels).map(({ panel }) => panel)),
      element("div", {}, scores.table, makeLegend([{ name: "dropped", kind: "striped" },
        { name: "kept and right", colour: RIGHT }, { name: "kept and wrong", colour: WRONG },
        { name: "void", colour: voidColour }], "what became of a pixel"))),
    element("div", { class: "controls" },
      makeLegend([{ name: "kept, all classes", kind: "stroke first" },
        { name: "accuracy of the kept", kind: "stroke second" }], "lines of the chart"),
      trackRow(track, input), element("div", { class: "readout" }, readout)),
  );

  const shares = sharesOf(total, right, classes);
  const overall = shares[classes.length];
  track.draw([overall.kept, overall.accuracy], roundRange([overall.kept, overall.accuracy]));
  const data = await Promise.all(pictures.map(async ({ image, label, level, truth }) => ({
    image: await loaded(image),
    label: await unpack(label), level: await unpack(level), truth: await unpack(truth),
  })));

  const place = () => nearest(thresholds, state.get("threshold"));
  const chosen = () => clamp(state.get("picture"), 0, pictures.length - 1);
  const coloursOf = (ids) => (i) => colours[ids[i]] ?? voidColour;

  function showPicture() {
    const { image, truth } = data[chosen()];
    chooser.mark(chosen());
    fill(panels.picture.canvas, image);
    fill(panels.truth.canvas, painted(size, coloursOf(truth)));
    panels.picture.reading.textContent = `${chosen() + 1} of ${pictures.length}`;
    panels.truth.reading.textContent = "measuring only";
    showThreshold();
  }

  function showThreshold() {
    const t = clamp(place(), 0, last);
    const { label, level, truth } = data[chosen()];
    const isDropped = (i) => level[i] < t;
    fill(panels.kept.canvas, painted(size, coloursOf(label)));
    fillErrors(panels.errors.canvas, size, label, truth, voidColour);
    for (const { canvas } of [panels.kept, panels.errors]) hatch(canvas, size, isDropped);
    const mine = pictureShares(data[chosen()], t);
    panels.kept.reading.textContent = `${percent(mine.kept)} kept`;
    panels.errors.reading.textContent = `${percent(mine.accuracy)} right`;
    shares.forEach(({ kept, accuracy }, row) => {
      scores.show(row, 0, kept[t]);
      scores.show(row, 1, accuracy[t]);
    });
    track.point(t);
    show(t, `threshold ${thresholds[t]}: ${percent(overall.kept[t])} of all pixels kept, ` +
      `${percent(overall.accuracy[t])} of them right`);
  }

  state.onChange("threshold", showThreshold);
  state.onChange("picture", showPicture);
  showPicture();
}
