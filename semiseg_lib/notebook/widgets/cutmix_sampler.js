// The CutMix sampler: what is drawn; arithmetic.js, drawing.js and track.js go before it.

const PASTED = [0xf5, 0xf1, 0xe6];
const BASE = [0x26, 0x2a, 0x36];

// The pasted picture where the mask is 1, the base elsewhere. Nothing is read back from a canvas:
// some browsers answer such questions with noise.
function mix(canvas, size, base, pasted, isPasted) {
  const layer = element("canvas", { width: canvas.width, height: canvas.height });
  fill(layer, painted(size, (i) => [0, 0, 0, isPasted(i) ? 255 : 0]));
  layer.getContext("2d").globalCompositeOperation = "source-in";
  fill(layer, pasted);
  fill(canvas, base);
  canvas.getContext("2d").drawImage(layer, 0, 0);
}

async function mount(root, payload, state) {
  const { size, kinds, draws, masks, pasted, pictures } = payload;
  const [scale, area] = [scaleOf(size), size[0] * size[1]];
  const panels = {
    base: makePanel("base picture", "the picture that is pasted into", size, scale),
    pasted: makePanel("pasted picture", "the picture that pieces are taken from", size, scale),
    mask: makePanel("mask", "light where the pasted picture goes", size, scale),
    mixed: makePanel("mixed picture", "the base picture with the pasted pieces", size, scale),
  };
  const chooser = makeChooser(pictures.map(({ image }) => image), "base picture",
    (index) => state.set("picture", index));
  const buttons = kinds.map((name) => element("button", { type: "button" }, name));
  const kindBar = makeBar("kinds", "kind of mask", buttons,
    (index) => state.set("kind", kinds[index]));
  const { input, readout, show } = makeSlider("draw", draws, (index) => state.set("draw", index));
  const scores = makeScores("pasted share", ["this draw", "mean"],
    kinds.map((name) => ({ name })));
  const ticks = [...new Set([0, Math.floor((draws - 1) / 2), draws - 1])];
  const track = makeTrack([{ kind: "dots", look: "dots" }, { kind: "line", look: "mean" }], draws,
    ticks.map((index) => ({ index, text: String(index + 1) })));
  dress(root, "cutmix-sampler", payload);
  root.append(
    chooser.bar,
    element("div", { class: "columns" },
      element("div", { class: "panels" }, ...Object.values(panels).map(({ panel }) => panel)),
      element("div", {}, kindBar.bar, scores.table)),
    element("div", { class: "controls" },
      makeLegend([{ name: "pasted share of each draw", kind: "dots" },
        { name: "mean", kind: "stroke mean" }], "signs of the chart"),
      trackRow(track, input), element("div", { class: "readout" }, readout)),
  );

  const shares = pasted.map((counts) => counts.map((pixels) => pixels / area));
  const means = shares.map((list) => list.reduce((a, b) => a + b, 0) / draws);
  const range = roundRange(shares);
  const [images, drawn] = await Promise.all([
    Promise.all(pictures.map(({ image }) => loaded(image))), Promise.all(masks.map(unpack)),
  ]);

  const kind = () => Math.max(kinds.indexOf(state.get("kind")), 0);
  const chosen = () => clamp(state.get("picture"), 0, pictures.length - 1);

  function showPicture() {
    chooser.mark(chosen());
    const other = (chosen() + 1) % pictures.length;
    fill(panels.base.canvas, images[chosen()]);
    fill(panels.pasted.canvas, images[other]);
    panels.base.reading.textContent = `${chosen() + 1} of ${pictures.length}`;
    panels.pasted.reading.textContent = `${other + 1} of ${pictures.length}`;
    showDraw();
  }

  function showKind() {
    kindBar.mark(kind());
    scores.mark(kind());
    track.draw([shares[kind()], new Array(draws).fill(means[kind()])], range);
    showDraw();
  }

  function showDraw() {
    const draw = clamp(state.get("draw"), 0, draws - 1);
    const mask = drawn[kind()].subarray(draw * area, (draw + 1) * area);
    const isPasted = (i) => mask[i] === 1;
    fill(panels.mask.canvas, painted(size, (i) => (isPasted(i) ? PASTED : BASE)));
    const other = images[(chosen() + 1) % images.length];
    mix(panels.mixed.canvas, size, images[chosen()], other, isPasted);
    const share = percent(shares[kind()][draw]);
    panels.mask.reading.textContent = kinds[kind()];
    panels.mixed.reading.textContent = `${share} pasted`;
    kinds.forEach((_, row) => {
      scores.show(row, 0, shares[row][draw]);
      scores.show(row, 1, means[row]);
    });
    track.point(draw);
    const mean = percent(means[kind()]);
    show(draw, `draw ${draw + 1} of ${draws}: ${share} pasted, ${mean} on average`);
  }

  state.onChange("draw", showDraw);
  state.onChange("kind", showKind);
  state.onChange("picture", showPicture);
  showKind();
  showPicture();
}
