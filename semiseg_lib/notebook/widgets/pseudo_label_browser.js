// The pseudo-label browser: what is drawn; arithmetic.js and drawing.js go before it.

async function mount(root, payload, state) {
  const { colours, voidColour, size, rounds, meanIoU, kept, pictures } = payload;
  const scale = scaleOf(size);
  const panels = {
    picture: makePanel("picture", "the chosen picture", size, scale),
    truth: makePanel("truth", "the true label", size, scale),
    label: makePanel("pseudo-label", "this round's label, striped where none is kept", size, scale),
    errors: makePanel("right or wrong", "where the label is wrong, orange", size, scale),
  };
  const chooser = makeChooser(pictures.map(({ image }) => image), "picture",
    (index) => state.set("picture", index));
  const { input, readout, show } = makeSlider("round", rounds.length,
    (index) => state.set("round", index));
  const scores = makeScores("round", ["mIoU", "kept"], rounds.map((name) => ({ name })));
  dress(root, "pseudo-label-browser", payload);
  root.append(
    chooser.bar,
    element("div", { class: "columns" },
      element("div", { class: "panels" }, ...Object.values(panels).map(({ panel }) => panel)),
      element("div", {}, scores.table, element("div", { class: "controls" },
        input, element("div", { class: "readout" }, readout)),
      makeLegend([{ name: "no label kept", kind: "striped" }, { name: "right", colour: RIGHT },
        { name: "wrong", colour: WRONG }], "what became of a pixel"))),
    makeLegend(classEntries(payload)),
  );

  const data = await Promise.all(pictures.map(async ({ image, labels, truth }) => ({
    image: await loaded(image), truth: await unpack(truth),
    labels: await Promise.all(labels.map(unpack)),
  })));

  const chosen = () => clamp(state.get("picture"), 0, pictures.length - 1);
  const coloursOf = (ids) => (i) => colours[ids[i]] ?? voidColour;

  function showPicture() {
    const { image, truth } = data[chosen()];
    chooser.mark(chosen());
    fill(panels.picture.canvas, image);
    fill(panels.truth.canvas, painted(size, coloursOf(truth)));
    panels.picture.reading.textContent = `${chosen() + 1} of ${pictures.length}`;
    panels.truth.reading.textContent = "measuring only";
    rounds.forEach((_, round) => {
      scores.show(round, 0, meanIoU[chosen()][round] ?? NaN);
      scores.show(round, 1, kept[chosen()][round] ?? NaN);
    });
    showRound();
  }

  function showRound() {
    const round = clamp(state.get("round"), 0, rounds.length - 1);
    const { labels, truth } = data[chosen()];
    const label = labels[round];
    fill(panels.label.canvas, painted(size, coloursOf(label)));
    fillErrors(panels.errors.canvas, size, label, truth, voidColour);
    for (const { canvas } of [panels.label, panels.errors]) {
      hatch(canvas, size, (i) => label[i] === VOID);
    }
    const [score, share] = [meanIoU, kept].map((all) => percent(all[chosen()][round] ?? NaN));
    panels.label.heading.textContent = rounds[round];
    panels.label.reading.textContent = `${share} kept`;
    panels.errors.reading.textContent = `mIoU ${score}`;
    scores.mark(round);
    show(round, `${rounds[round]}: mIoU ${score}, ${share} kept`);
  }

  state.onChange("round", showRound);
  state.onChange("picture", showPicture);
  showPicture();
}
