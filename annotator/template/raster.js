// Drawing into masks: strokes, polygons, fills, regions. Masks are Uint8Array of 0 and 1.

/** Half the width of each row of a brush: `round` is a disc, else a square of this diameter. */
function brushRows(size, round) {
  const half = (size - 1) / 2;
  const part = half % 1; // of an even brush, which is centred between pixels
  return Array.from({ length: size }, (_, row) => (
    round ? Math.floor(Math.sqrt((size / 2) ** 2 - (row - half) ** 2) - part) + part : half));
}

/** Set the pixels under a brush to a value along a line between two pixels. Returns their box. */
function stroke(mask, width, height, from, to, size, round, value) {
  const rows = brushRows(size, round);
  const half = (size - 1) / 2;
  const length = Math.hypot(to.x - from.x, to.y - from.y);
  const steps = Math.max(1, Math.ceil(length / Math.max(1, size / (round ? 12 : 32))));
  const box = { left: width, top: height, right: 0, bottom: 0 };
  for (let step = 0; step <= steps; step += 1) {
    const x = Math.round(from.x + (to.x - from.x) * step / steps - (half % 1)) + (half % 1);
    const y = Math.round(from.y + (to.y - from.y) * step / steps - (half % 1)) + (half % 1);
    const top = Math.max(0, y - half);
    const bottom = Math.min(height, y + half + 1);
    for (let row = top; row < bottom; row += 1) {
      const reach = rows[row - (y - half)];
      const left = Math.max(0, x - reach);
      const right = Math.min(width, x + reach + 1);
      if (left < right) {
        mask.fill(value, row * width + left, row * width + right);
        box.left = Math.min(box.left, left);
        box.right = Math.max(box.right, right);
      }
    }
    box.top = Math.min(box.top, top);
    box.bottom = Math.max(box.bottom, bottom);
  }
  return box.left < box.right && box.top < box.bottom ? box : null;
}

/** Set the pixels to a value whose centres are inside of a polygon (even-odd). Returns their box. */
function fillPolygon(mask, width, height, points, value) {
  const ys = points.map(({ y }) => y);
  const top = clamp(Math.floor(Math.min(...ys)), 0, height);
  const bottom = clamp(Math.ceil(Math.max(...ys)) + 1, 0, height);
  const box = { left: width, top, right: 0, bottom };
  for (let row = top; row < bottom; row += 1) {
    const centre = row + 0.5;
    const crossings = [];
    points.forEach((one, index) => {
      const other = points[(index + 1) % points.length];
      if ((one.y <= centre) !== (other.y <= centre)) {
        crossings.push(one.x + (centre - one.y) / (other.y - one.y) * (other.x - one.x));
      }
    });
    crossings.sort((one, other) => one - other);
    for (let at = 0; at + 1 < crossings.length; at += 2) {
      const left = clamp(Math.ceil(crossings[at] - 0.5), 0, width);
      const right = clamp(Math.ceil(crossings[at + 1] - 0.5), 0, width);
      if (left < right) {
        mask.fill(value, row * width + left, row * width + right);
        box.left = Math.min(box.left, left);
        box.right = Math.max(box.right, right);
      }
    }
  }
  return box.left < box.right && top < bottom ? box : null;
}

/** Set those pixels to 1 that are connected (8 ways) with a pixel over values of at least `least`. */
function flood(mask, width, height, values, start, least) {
  const box = { left: width, top: height, right: 0, bottom: 0 };
  const seen = new Uint8Array(width * height);
  const stack = [start.y * width + start.x];
  seen[stack[0]] = 1;
  while (stack.length) {
    const place = stack.pop();
    const [x, y] = [place % width, Math.floor(place / width)];
    mask[place] = 1;
    box.left = Math.min(box.left, x);
    box.right = Math.max(box.right, x + 1);
    box.top = Math.min(box.top, y);
    box.bottom = Math.max(box.bottom, y + 1);
    for (let row = Math.max(0, y - 1); row <= Math.min(height - 1, y + 1); row += 1) {
      for (let column = Math.max(0, x - 1); column <= Math.min(width - 1, x + 1); column += 1) {
        const other = row * width + column;
        if (!seen[other] && values[other] >= least) { seen[other] = 1; stack.push(other); }
      }
    }
  }
  return box;
}

/**
 * The 8-connected regions of pixels of a value, in raster order: area, box, and runs of
 * (row, first column, column after the last one).
 */
function findRegions(mask, width, height, value = 1) {
  const parent = [];
  const root = (run) => { let at = run; while (parent[at] !== at) at = parent[at] = parent[parent[at]]; return at; };
  const runs = []; // row, start, stop
  let above = [0, 0]; // runs of the row above
  for (let row = 0; row < height; row += 1) {
    const first = parent.length;
    const end = (row + 1) * width;
    let candidate = above[0];
    for (let at = row * width; at < end;) {
      const from = mask.indexOf(value, at);
      if (from < 0 || from >= end) break;
      let to = from + 1;
      while (to < end && mask[to] === value) to += 1;
      const [start, stop] = [from - row * width, to - row * width];
      const run = parent.length;
      parent.push(run);
      runs.push(row, start, stop);
      while (candidate < above[1] && runs[3 * candidate + 2] < start) candidate += 1;
      for (let other = candidate; other < above[1] && runs[3 * other + 1] <= stop; other += 1) {
        const [one, two] = [root(other), root(run)];
        if (one < two) parent[two] = one; else parent[one] = two;
      }
      at = to;
    }
    above = [first, parent.length];
    // Searching on from here would find the same far pixel once for every empty row.
    if (first === parent.length) {
      const next = mask.indexOf(value, end);
      if (next < 0) break;
      const skipped = Math.floor(next / width) - 1;
      if (skipped > row) { row = skipped; above = [parent.length, parent.length]; }
    }
  }
  const regions = new Map();
  for (let run = 0; run < parent.length; run += 1) {
    const own = root(run);
    const [row, start, stop] = [runs[3 * run], runs[3 * run + 1], runs[3 * run + 2]];
    let region = regions.get(own);
    if (!region) {
      region = { area: 0, left: start, top: row, right: stop, bottom: row + 1, x: start, y: row, runs: [] };
      regions.set(own, region);
    }
    region.area += stop - start;
    region.left = Math.min(region.left, start);
    region.right = Math.max(region.right, stop);
    region.bottom = row + 1;
    region.runs.push(row, start, stop);
  }
  return [...regions.values()];
}

function paintRegion(mask, width, region, value) {
  for (let at = 0; at < region.runs.length; at += 3) {
    mask.fill(value, region.runs[at] * width + region.runs[at + 1], region.runs[at] * width + region.runs[at + 2]);
  }
}

function inRegion(region, x, y) {
  if (x < region.left || x >= region.right || y < region.top || y >= region.bottom) return false;
  for (let at = 0; at < region.runs.length; at += 3) {
    if (region.runs[at] === y && x >= region.runs[at + 1] && x < region.runs[at + 2]) return true;
  }
  return false;
}

/** How many pixels of a region a mask has. */
function countIn(mask, width, region) {
  let count = 0;
  for (let at = 0; at < region.runs.length; at += 3) {
    const base = region.runs[at] * width;
    for (let pixel = base + region.runs[at + 1]; pixel < base + region.runs[at + 2]; pixel += 1) count += mask[pixel];
  }
  return count;
}

/** Fill the holes of a mask: regions of background that do not touch the border. */
function fillHoles(mask, width, height) {
  for (const region of findRegions(mask, width, height, 0)) {
    const inside = region.left > 0 && region.top > 0 && region.right < width && region.bottom < height;
    if (inside) paintRegion(mask, width, region, 1);
  }
}

/** The smallest box of two, either of which may be null. */
function joined(one, other) {
  if (!one || !other) return one ?? other;
  return {
    left: Math.min(one.left, other.left), top: Math.min(one.top, other.top),
    right: Math.max(one.right, other.right), bottom: Math.max(one.bottom, other.bottom),
  };
}
