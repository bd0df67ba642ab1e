// Masks as runs, as annotator/runs.py writes them; masks are Uint8Array of 0 and 1 in raster order.

/** Runs of a mask of `length` pixels, which is 0 but in rows `top` to `bottom` of `width`. */
function encodeRuns(mask, width, [top, bottom] = [0, mask.length / width]) {
  const bytes = [];
  const put = (count) => {
    let rest = count;
    while (rest > 0x7f) { bytes.push((rest & 0x7f) | 0x80); rest >>>= 7; }
    bytes.push(rest);
  };
  let value = 0;
  let start = 0;
  const end = bottom * width;
  for (let at = top * width; at < end; at += 1) {
    if (mask[at] !== value) { put(at - start); start = at; value ^= 1; }
  }
  if (value === 1 && end < mask.length) { put(end - start); start = end; }
  put(mask.length - start);
  return Uint8Array.from(bytes);
}

function decodeRuns(bytes, length) {
  const mask = new Uint8Array(length);
  turnOver(mask, bytes);
  return mask;
}

/** Turn over the pixels of runs in a mask. Returns the box that they are in, or null. */
function turnOver(mask, bytes, width = 1) {
  let at = 0;
  let value = 0;
  let [first, last, left, right] = [-1, -1, Infinity, -1];
  for (let index = 0; index < bytes.length;) {
    let count = 0;
    let shift = 0;
    for (;;) {
      const byte = bytes[index];
      index += 1;
      count += (byte & 0x7f) * 2 ** shift;
      if (byte < 0x80) break;
      shift += 7;
    }
    if (value === 1 && count > 0) {
      if (first < 0) first = at;
      last = at + count - 1;
      const column = at % width;
      if (column + count > width) { left = 0; right = width; } else {
        left = Math.min(left, column);
        right = Math.max(right, column + count);
      }
      for (let pixel = at; pixel < at + count; pixel += 1) mask[pixel] ^= 1;
    }
    at += count;
    value ^= 1;
  }
  if (first < 0) return null;
  const top = Math.floor(first / width);
  return { left, top, right, bottom: Math.floor(last / width) + 1 };
}
