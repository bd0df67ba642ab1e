// The mask over the pictures: tint and outline of its pixels, heat, the brush, points of a polygon.

const INK = [255, 46, 116];
const ink = { shown: true, hot: false, strength: 0.32 };
const STRIP = 2 ** 19; // pixels that are made ready at once: a few ms, so that no frame is late

function overlay() {
  return make("div", { class: "over", "aria-hidden": "true" }, make("canvas", { class: "overlay" }),
    make("div", { class: "nib", hidden: true }));
}

/** Colour the pixels of a box anew from the mask of an image. Returns what was drawn. */
function colourInk(target, box) {
  const { mask, width, height } = target;
  const context = target.ink.getContext("2d");
  const left = Math.max(0, box.left - 1);
  const top = Math.max(0, box.top - 1);
  const right = Math.min(width, box.right + 1);
  const bottom = Math.min(height, box.bottom + 1);
  const image = context.createImageData(right - left, bottom - top);
  const pixels = new Uint32Array(image.data.buffer);
  const colour = (INK[2] << 16) | (INK[1] << 8) | INK[0]; // little endian, as all that run browsers
  const inside = ((Math.round(255 * ink.strength) << 24) | colour) >>> 0;
  const edge = ((235 << 24) | colour) >>> 0;
  let at = 0;
  for (let row = top; row < bottom; row += 1) {
    const base = row * width;
    for (let column = left; column < right; column += 1, at += 1) {
      const place = base + column;
      if (mask[place] === 0) continue;
      const border = column === 0 || column === width - 1 || row === 0 || row === height - 1
        || mask[place - 1] === 0 || mask[place + 1] === 0 || mask[place - width] === 0 || mask[place + width] === 0;
      pixels[at] = border ? edge : inside;
    }
  }
  context.putImageData(image, left, top);
  return { left, top, right, bottom };
}

/** The ink of an image that is made ready: a canvas of its own, so that it is shown at once. */
async function inkOf(target) {
  target.ink = make("canvas", { width: target.width, height: target.height });
  for (const [top, bottom] of strips(target)) {
    colourInk(target, { left: 0, top, right: target.width, bottom });
    await breath();
  }
}

function strips({ width, height }) {
  const rows = Math.max(1, Math.floor(STRIP / width));
  return Array.from({ length: Math.ceil(height / rows) }, (_, index) => [index * rows, Math.min(height, (index + 1) * rows)]);
}

const wholeBox = () => ({ left: 0, top: 0, right: work.width, bottom: work.height });

/** Take the mask as it is now; draw what has changed. */
function redraw(box) {
  if (box) drawInk(colourInk(work, box));
}

function drawInk(box) {
  for (const canvas of parts.panes.querySelectorAll("canvas.overlay")) drawOver(canvas, box);
}

/** Draw over one pane, all or what is in a box of the picture. */
function drawOver(canvas, box) {
  const ratio = devicePixelRatio;
  const [wide, high] = [Math.round(scene.paneWidth * ratio), Math.round(scene.paneHeight * ratio)];
  if (canvas.width !== wide || canvas.height !== high) { canvas.width = wide; canvas.height = high; }
  const context = canvas.getContext("2d");
  const scale = camera.scale * ratio;
  const left = (scene.paneWidth / 2 - camera.x * camera.scale) * ratio;
  const top = (scene.paneHeight / 2 - camera.y * camera.scale) * ratio;
  // What is in sight, and of that what has changed; a screen pixel more, for smoothing reaches out.
  const more = Math.ceil(2 / scale);
  const x0 = Math.max(0, Math.floor(-left / scale), (box?.left ?? 0) - more);
  const y0 = Math.max(0, Math.floor(-top / scale), (box?.top ?? 0) - more);
  const x1 = Math.min(work.width, Math.ceil((wide - left) / scale), (box?.right ?? Infinity) + more);
  const y1 = Math.min(work.height, Math.ceil((high - top) / scale), (box?.bottom ?? Infinity) + more);
  context.setTransform(1, 0, 0, 1, 0, 0);
  if (!box) context.clearRect(0, 0, wide, high);
  if (x0 >= x1 || y0 >= y1) return;
  context.save();
  context.setTransform(scale, 0, 0, scale, left, top);
  context.imageSmoothingEnabled = scale < 1;
  if (box) {
    context.beginPath();
    context.rect(x0, y0, x1 - x0, y1 - y0);
    context.clip();
    context.clearRect(x0, y0, x1 - x0, y1 - y0);
  }
  const small = canvas.closest(".pane").querySelector(".clip").dataset.layer === "LR";
  if (ink.hot && work.heatCanvas && !small) {
    context.globalAlpha = 0.72;
    context.drawImage(work.heatCanvas, x0, y0, x1 - x0, y1 - y0, x0, y0, x1 - x0, y1 - y0);
    context.globalAlpha = 1;
  }
  if (ink.shown) context.drawImage(work.ink, x0, y0, x1 - x0, y1 - y0, x0, y0, x1 - x0, y1 - y0);
  if (!box || selectedRegion) outlineRegion(context, scale);
  outlinePolygon(context, scale);
  context.restore();
}

function outlineRegion(context, scale) {
  if (!selectedRegion || !ink.shown) return;
  const { left, top, right, bottom } = selectedRegion;
  const room = 4 / scale;
  context.lineWidth = 3 / scale;
  context.strokeStyle = "rgb(0 0 0 / .55)";
  context.strokeRect(left - room, top - room, right - left + 2 * room, bottom - top + 2 * room);
  context.lineWidth = 1.25 / scale;
  context.strokeStyle = "#fff";
  context.setLineDash([6 / scale, 4 / scale]);
  context.strokeRect(left - room, top - room, right - left + 2 * room, bottom - top + 2 * room);
  context.setLineDash([]);
}

function outlinePolygon(context, scale) {
  const points = drawing.points.concat(drawing.points.length && drawing.at ? [drawing.at] : []);
  if (!points.length) return;
  context.beginPath();
  points.forEach(({ x, y }, index) => (index ? context.lineTo(x, y) : context.moveTo(x, y)));
  for (const [colour, thick] of [["rgb(0 0 0 / .6)", 3], ["#fff", 1.25]]) {
    context.strokeStyle = colour;
    context.lineWidth = thick / scale;
    context.stroke();
  }
  for (const { x, y } of drawing.points) {
    context.fillStyle = "#fff";
    context.fillRect(x - 3 / scale, y - 3 / scale, 6 / scale, 6 / scale);
  }
}

function panesBuilt() { /* drawn when they are measured */ }

function panesDrawn() {
  if (!work) return;
  drawInk(null);
  showNib();
}

/** The heat of an image: a grey PNG of 1 − D′ → its values, and a picture in the heat's colours. */
async function readHeat(image) {
  const [width, height] = [image.naturalWidth, image.naturalHeight];
  const canvas = make("canvas", { width, height });
  const context = canvas.getContext("2d", { willReadFrequently: true });
  context.drawImage(image, 0, 0);
  const values = new Uint8Array(width * height);
  const colours = heatColours();
  for (const [top, bottom] of strips({ width, height })) {
    const data = context.getImageData(0, top, width, bottom - top);
    const pixels = new Uint32Array(data.data.buffer);
    for (let at = 0, place = top * width; at < pixels.length; at += 1, place += 1) {
      values[place] = pixels[at] & 0xff;
      pixels[at] = colours[values[place]];
    }
    context.putImageData(data, 0, top);
    await breath();
  }
  return { values, canvas };
}

/** 256 colours along the page's gradient, which the style sheet has. */
function heatColours() {
  heatColours.table ??= (() => {
    const stops = getComputedStyle(document.documentElement).getPropertyValue("--heat").match(/#[0-9a-f]{6}/g)
      .map((text) => [1, 3, 5].map((at) => parseInt(text.slice(at, at + 2), 16)));
    return Uint32Array.from({ length: 256 }, (_, value) => {
      const place = value / 255 * (stops.length - 1);
      const index = Math.min(Math.floor(place), stops.length - 2);
      const [red, green, blue] = [0, 1, 2].map((channel) => Math.round(
        stops[index][channel] + (stops[index + 1][channel] - stops[index][channel]) * (place - index)));
      return ((255 << 24) | (blue << 16) | (green << 8) | red) >>> 0;
    });
  })();
  return heatColours.table;
}
