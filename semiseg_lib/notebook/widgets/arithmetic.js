// The widgets' arithmetic as pure functions: decoding, enlarging, correcting, scoring.
// A plain script: a widget's own script follows it.

const VOID = 255;

function bytesOf(base64) {
  return Uint8Array.from(atob(base64), (letter) => letter.charCodeAt(0));
}

// Deflated bytes (zlib) in base64 -> the bytes.
async function unpack(base64) {
  const packed = new Blob([bytesOf(base64)]).stream();
  const stream = packed.pipeThrough(new DecompressionStream("deflate"));
  return new Uint8Array(await new Response(stream).arrayBuffer());
}

// value = -scale * byte; the largest logit of every pixel is 0.
function decodeLogits({ scale, data }) {
  return Float32Array.from(bytesOf(data), (level) => -scale * level);
}

// (id, length) pairs of little-endian uint16 -> one id per pixel.
function decodeRuns(base64, count) {
  const pairs = new DataView(bytesOf(base64).buffer);
  const ids = new Uint8Array(count);
  for (let offset = 0, at = 0; offset < pairs.byteLength; offset += 4) {
    const length = pairs.getUint16(offset + 2, true);
    ids.fill(pairs.getUint16(offset, true), at, at + length);
    at += length;
  }
  return ids;
}

// For every target pixel its two source pixels and the weight of the second; pixel centres lie at
// i + 0.5 (align_corners=False), and the border is repeated.
function taps(source, target) {
  return Array.from({ length: target }, (_, i) => {
    const place = Math.max(((i + 0.5) * source) / target - 0.5, 0);
    const low = Math.floor(place);
    return { low, high: Math.min(low + 1, source - 1), weight: place - low };
  });
}

// (C, h, w) -> (C, H, W), bilinear.
function upsample(values, numClasses, [h, w], [height, width]) {
  const rows = taps(h, height);
  const columns = taps(w, width);
  const result = new Float32Array(numClasses * height * width);
  let at = 0;
  for (let c = 0; c < numClasses; c++) {
    for (const row of rows) {
      const upper = (c * h + row.low) * w;
      const lower = (c * h + row.high) * w;
      for (const { low, high, weight } of columns) {
        const above = values[upper + low] * (1 - weight) + values[upper + high] * weight;
        const below = values[lower + low] * (1 - weight) + values[lower + high] * weight;
        result[at++] = above * (1 - row.weight) + below * row.weight;
      }
    }
  }
  return result;
}

// argmax and max of q = softmax((l + alpha * l_anc) / (1 + alpha)) for (C, H, W) logits.
function correct(primary, ancillary, alpha, numClasses) {
  const count = primary.length / numClasses;
  const weight = alpha === Infinity ? 1 : alpha / (1 + alpha);
  const labels = new Uint8Array(count);
  const confidence = new Float32Array(count);
  const mixed = new Float64Array(numClasses);
  for (let i = 0; i < count; i++) {
    let best = 0;
    for (let c = 0; c < numClasses; c++) {
      const at = c * count + i;
      mixed[c] = (1 - weight) * primary[at] + weight * ancillary[at];
      if (mixed[c] > mixed[best]) best = c;
    }
    let total = 0;
    for (let c = 0; c < numClasses; c++) total += Math.exp(mixed[c] - mixed[best]);
    labels[i] = best;
    confidence[i] = 1 / total;
  }
  return { labels, confidence };
}

// The share of the pixels that are labelled right; void is left out.
function shareRight(labels, truth) {
  let [right, counted] = [0, 0];
  for (let i = 0; i < truth.length; i++) {
    if (truth[i] === VOID) continue;
    counted++;
    if (labels[i] === truth[i]) right++;
  }
  return right / counted;
}
