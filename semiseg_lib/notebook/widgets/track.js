// A chart as wide as the slider's track: one value per position of the slider, so that the thumb points
// at the position that is shown. drawing.js goes before it.

const TRACK = { width: 680, height: 132, top: 10, floor: 104, margin: 10 };

const strokes = {
  line: (points) => points.map(([x, y], i) => `${i ? "L" : "M"}${x},${y}`).join(""),
  dots: (points) => points.map(([x, y]) => `M${x},${y}h0`).join(""),
};

// series: { name, kind: "line" | "dots", look: a class of the sheet }; ticks: { index, text }.
function makeTrack(series, count, ticks) {
  const { width, height, top, floor, margin } = TRACK;
  const across = (index) => (count > 1 ? (width * index) / (count - 1) : width / 2);
  const svg = element("svg", {
    viewBox: `${-margin} 0 ${width + 2 * margin} ${height}`, "aria-hidden": "true",
  });
  for (const y of [top, floor]) svg.append(element("line", { x1: 0, x2: width, y1: y, y2: y }));
  for (const { index, text } of ticks) {
    const x = across(index);
    svg.append(element("line", { x1: x, x2: x, y1: floor, y2: floor + 6 }),
      element("text", { x, y: height - 6, "text-anchor": "middle" }, text));
  }
  const parts = series.map(({ look }) => ({
    path: element("path", { class: `curve ${look}` }),
    dot: element("circle", { class: `dot ${look}`, r: 7 }),
  }));
  svg.append(...parts.map(({ path }) => path), ...parts.map(({ dot }) => dot));
  const ends = [top, floor].map((y) => element("text", { x: -16, y: y + 5, "text-anchor": "end" }));
  svg.append(...ends);

  let shown = [];
  let up = () => floor;
  // values: one list per series, null or NaN for missing values.
  const draw = (values, [low, high]) => {
    shown = values;
    up = (share) => floor - ((share - low) / (high - low)) * (floor - top);
    values.forEach((list, number) => {
      const points = list.map((share, index) => [across(index), up(share), share])
        .filter(([, , share]) => Number.isFinite(share))
        .map(([x, y]) => [x.toFixed(1), y.toFixed(1)]);
      parts[number].path.setAttribute("d", strokes[series[number].kind](points));
    });
    ends[0].textContent = `${Math.round(100 * high)}\u00a0%`;
    ends[1].textContent = `${Math.round(100 * low)}\u00a0%`;
  };
  const point = (index) => parts.forEach(({ dot }, number) => {
    const share = shown[number][index];
    dot.setAttribute("visibility", Number.isFinite(share) ? "visible" : "hidden");
    if (!Number.isFinite(share)) return;
    dot.setAttribute("cx", across(index));
    dot.setAttribute("cy", up(share));
  });
  return { svg, draw, point };
}

// The chart and the slider under it, in line.
function trackRow({ svg }, input) {
  return element("div", { class: "track" }, svg, input);
}

// Whole tens of percent around all values, at least ten apart.
function roundRange(values) {
  const known = values.flat().filter(Number.isFinite);
  if (!known.length) return [0, 1];
  const low = Math.floor(10 * Math.min(...known, 1) + 1e-9) / 10;
  const high = Math.ceil(10 * Math.max(...known, 0) - 1e-9) / 10;
  return low < high ? [low, high] : [Math.max(0, low - 0.1), Math.max(0.1, high)];
}
