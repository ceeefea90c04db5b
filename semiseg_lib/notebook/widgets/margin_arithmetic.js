// S4MC's arithmetic as pure functions; arithmetic.js goes before it. Maps are (C, H, W), flat.

function softmaxed(logits, numClasses) {
  const count = logits.length / numClasses;
  const result = new Float32Array(logits.length);
  for (let i = 0; i < count; i++) {
    let [highest, total] = [-Infinity, 0];
    for (let c = 0; c < numClasses; c++) highest = Math.max(highest, logits[c * count + i]);
    for (let c = 0; c < numClasses; c++) {
      result[c * count + i] = Math.exp(logits[c * count + i] - highest);
      total += result[c * count + i];
    }
    for (let c = 0; c < numClasses; c++) result[c * count + i] /= total;
  }
  return result;
}

const BESIDE = [[-1, 0], [0, -1], [0, 1], [1, 0]];
const CORNERS = [[-1, -1], [-1, 1], [1, -1], [1, 1]];

// For each class the largest probability of a neighbour; 0 outside the image.
function strongestNeighbours(maps, [height, width], count) {
  const steps = count === 8 ? [...BESIDE, ...CORNERS] : BESIDE;
  const result = new Float32Array(maps.length);
  for (let at = 0; at < maps.length; at++) {
    const [row, column] = [Math.floor(at / width) % height, at % width];
    for (const [down, right] of steps) {
      const [y, x] = [row + down, column + right];
      if (y < 0 || y >= height || x < 0 || x >= width) continue;
      result[at] = Math.max(result[at], maps[at + down * width + right]);
    }
  }
  return result;
}

// p + beta [n - max(p n, p E)], with E of the class.
function refined(maps, believed, expected, beta) {
  const count = maps.length / expected.length;
  return maps.map((p, at) => {
    const n = believed[at];
    return p + beta * (n - p * Math.max(n, expected[Math.floor(at / count)]));
  });
}

// Largest minus second largest of the classes, (H, W).
function marginsOf(maps, numClasses) {
  const count = maps.length / numClasses;
  const result = new Float32Array(count);
  for (let i = 0; i < count; i++) {
    let [first, second] = [-Infinity, -Infinity];
    for (let c = 0; c < numClasses; c++) {
      const value = maps[c * count + i];
      if (value > first) [first, second] = [value, first];
      else if (value > second) second = value;
    }
    result[i] = first - second;
  }
  return result;
}

function mostLikely(maps, numClasses) {
  const count = maps.length / numClasses;
  return Uint8Array.from({ length: count }, (_, i) => {
    let best = 0;
    for (let c = 1; c < numClasses; c++) if (maps[c * count + i] > maps[best * count + i]) best = c;
    return best;
  });
}

// What a margin must exceed so that this share of the sorted ones is dropped.
function leastOf(ordered, share) {
  const rank = Math.round(share * ordered.length);
  return rank > 0 ? ordered[rank - 1] : -Infinity;
}
