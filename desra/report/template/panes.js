// The panes of the viewer: pictures, wipe, outlines, and what is under the pointer.

const stage = {
  row: null, views: null, outlines: [], regions: [],
  mode: choices.get("mode", "single"), // single, wipe, side, all
  left: null, right: null, // names of layers; "right" is the one that single shows
  wipe: 0.5, flicker: false,
  lines: true, hidden: new Set(), pixels: "auto", // auto, always, never
  lit: null,
};
const parts = {}; // elements of the viewer, filled by buildViewer
const pictures = new Map(); // layer name → img of the present row

const layerNamed = (name) => stage.views?.layers.find((layer) => layer.name === name);
const layerPath = (row, layer) => pagePath(`images/${layer.folder}`, row, layer.type);

function picture(layer) {
  const kept = pictures.get(layer.name);
  if (kept && !kept.parentNode) return kept;
  // Decoded at once when shown: two views are told apart by switching, which must not flash.
  const image = make("img", {
    src: layerPath(stage.row, layer), alt: `${layer.name} of ${stage.row.key}`, draggable: "false", decoding: "sync",
    width: scene.width, height: scene.height,
    onerror: () => toast(`${layer.name}: ${decodeURIComponent(layerPath(stage.row, layer))} is missing`),
  });
  image.dataset.native = layer.width;
  if (!kept) pictures.set(layer.name, image);
  return image;
}

/** A picture at the size of the largest layer, with the thumbnail behind it while it loads. */
function sheet(layer) {
  const back = `url("${pagePath("thumbnails", stage.row, "jpg").replace(/["\\]/g, encodeURIComponent)}")`;
  const inner = make("div", { class: "sheet" }, picture(layer));
  inner.style.width = `${scene.width}px`;
  inner.style.height = `${scene.height}px`;
  if (!layer.values) inner.style.backgroundImage = back;
  return make("div", { class: "clip", "data-layer": layer.name }, inner);
}

function overlay() {
  const map = makeSvg("g", { class: "map" });
  for (const outline of stage.outlines) {
    const group = makeSvg("g", { "data-outline": outline.name });
    group.append(
      makeSvg("path", { d: outline.path, class: "tint", fill: outline.colour, "fill-opacity": outline.fill }),
      makeSvg("path", { d: outline.path, class: "casing" }),
      makeSvg("path", { d: outline.path, class: "stroke", stroke: outline.colour, "stroke-dasharray": outline.dash || "none" }));
    map.append(group);
  }
  map.append(makeSvg("path", { class: "lit" }));
  return makeSvg("svg", { class: "overlay", "aria-hidden": "true" }, map);
}

function chooser(side) {
  const select = make("select", {
    "aria-label": side === "left" ? "View on the left" : "View on the right",
    onchange: (event) => chooseView(event.target.value, side),
  }, ...stage.views.layers.map(({ name }) => make("option", { value: name, text: name })));
  select.value = stage[side];
  return make("div", { class: `tag ${side}` }, select);
}

function pane(layers, ...tags) {
  return make("div", { class: "pane" }, ...layers.map(sheet), overlay(),
    make("div", { class: "ghost", "aria-hidden": "true" }), ...tags);
}

/** Make the panes of the present mode anew. */
function buildPanes() {
  const { layers } = stage.views;
  const [left, right] = [layerNamed(stage.left), layerNamed(stage.right)];
  const held = [".handle", ".tag.left select", ".tag.right select"]
    .find((selector) => document.activeElement?.matches(selector));
  leavePointer();
  for (const image of pictures.values()) image.remove();
  const made = {
    single: () => [pane([right])],
    wipe: () => [pane([left, right], chooser("left"), chooser("right"), wipeHandle())],
    side: () => [pane([left], chooser("left")), pane([right], chooser("right"))],
    all: () => layers.map((layer) => pane([layer], make("div", { class: "tag left" }, make("button", {
      text: layer.name, title: "Show this view alone", onclick: () => { chooseView(layer.name, "right"); setMode("single"); },
    })))),
  }[stage.mode]();
  const shape = scene.width / scene.height;
  const room = parts.panes.clientWidth / Math.max(1, parts.panes.clientHeight);
  parts.panes.style.setProperty("--across", bestColumns(made.length, shape, room));
  parts.panes.className = `panes ${stage.mode}`;
  parts.panes.replaceChildren(...made);
  layers.forEach(picture); // the others load meanwhile, so that switching is instant
  parts.legend.hidden = !drawLegend();
  showOutlines();
  light(stage.lit);
  if (held) parts.panes.querySelector(held)?.focus();
  measurePanes();
}

/** How many panes beside each other make the pictures largest. */
function bestColumns(count, shape, room) {
  const size = (columns) => Math.min(room / columns / shape, 1 / Math.ceil(count / columns));
  return Array.from({ length: count }, (_, index) => index + 1)
    .reduce((best, columns) => (size(columns) > size(best) + 1e-9 ? columns : best), 1);
}

function measurePanes() {
  const bounds = parts.panes.firstElementChild?.getBoundingClientRect();
  if (!bounds || !stage.views) return;
  scene.paneWidth = bounds.width;
  scene.paneHeight = bounds.height;
  look(camera.fitted ? fitView() : {});
}

/** Put everything where the camera, the wipe and the switches say. */
function drawPanes() {
  const left = scene.paneWidth / 2 - camera.x * camera.scale;
  const top = scene.paneHeight / 2 - camera.y * camera.scale;
  for (const inner of parts.panes.querySelectorAll(".sheet")) {
    inner.style.transform = `translate(${left}px, ${top}px) scale(${camera.scale})`;
    const image = inner.firstElementChild;
    const magnified = camera.scale * devicePixelRatio * scene.width / image.dataset.native;
    const blocks = stage.pixels === "always" || (stage.pixels === "auto" && magnified >= 3);
    image.style.imageRendering = blocks ? "pixelated" : "auto";
  }
  for (const map of parts.panes.querySelectorAll(".map")) {
    map.setAttribute("transform", `translate(${left} ${top}) scale(${camera.scale})`);
    // Thin where the picture is small, or many regions would hide it.
    map.style.setProperty("--line", `${clamp(0.7 + camera.scale, 0.9, 1.75)}px`);
  }
  drawWipe();
  drawMinimap();
  parts.zoom.textContent = `${Math.round(camera.scale * devicePixelRatio * 100)} %`;
}

function wipeHandle() {
  const handle = make("div", {
    class: "handle", role: "slider", tabindex: 0, "aria-orientation": "horizontal",
    "aria-label": `Wipe between ${stage.left} and ${stage.right}`, "aria-valuemin": 0, "aria-valuemax": 100,
    onkeydown: (event) => {
      const step = event.shiftKey ? 0.1 : 0.02;
      const to = {
        ArrowLeft: stage.wipe - step, ArrowRight: stage.wipe + step,
        ArrowDown: stage.wipe - step, ArrowUp: stage.wipe + step, Home: 0, End: 1,
      }[event.key];
      if (to === undefined) return;
      event.preventDefault();
      event.stopPropagation();
      moveWipe(to);
    },
    onpointerdown: (event) => { event.preventDefault(); handle.focus(); handle.setPointerCapture(event.pointerId); },
    onpointermove: (event) => {
      if (!handle.hasPointerCapture(event.pointerId)) return;
      const bounds = handle.parentElement.getBoundingClientRect();
      moveWipe((event.clientX - bounds.left) / bounds.width);
    },
    ondblclick: () => moveWipe(0.5),
  }, make("span", { class: "grip" }, icon("grip")));
  return handle;
}

function moveWipe(position) {
  stage.wipe = clamp(position, 0, 1);
  drawWipe();
}

function drawWipe() {
  const handle = parts.panes.querySelector(".handle");
  if (!handle) return;
  const percent = stage.wipe * 100;
  const [under, over] = parts.panes.querySelectorAll(".clip");
  under.style.clipPath = `inset(0 ${100 - percent}% 0 0)`;
  over.style.clipPath = `inset(0 0 0 ${percent}%)`;
  handle.style.left = `${percent}%`;
  handle.setAttribute("aria-valuenow", Math.round(percent));
  handle.setAttribute("aria-valuetext", `${Math.round(percent)} % ${stage.left}`);
}

function drawMinimap() {
  const shown = camera.scale > fitScale() * 1.02;
  parts.minimap.hidden = !shown;
  if (!shown) return;
  const part = (size, room, centre) => {
    const visible = Math.min(1, room / camera.scale / size);
    return [clamp(centre / size - visible / 2, 0, 1 - visible) * 100, visible * 100];
  };
  const [left, width] = part(scene.width, scene.paneWidth, camera.x);
  const [top, height] = part(scene.height, scene.paneHeight, camera.y);
  Object.assign(parts.minimap.lastChild.style, {
    left: `${left}%`, top: `${top}%`, width: `${width}%`, height: `${height}%`,
  });
}

/** The colour scale of the heat maps in sight; whether there is one. */
function drawLegend() {
  const names = { single: [stage.right], wipe: [stage.left, stage.right], side: [stage.left, stage.right] }[stage.mode];
  const layer = stage.views.layers.find(({ name, values }) => values && (!names || names.includes(name)));
  if (!layer) return false;
  const { start, end, mark, mark_title: title } = page.scales[layer.name] ?? { start: 0, end: 1, mark: null };
  const tick = mark === null ? null : make("i");
  if (tick) tick.style.left = `${(mark - start) / (end - start) * 100}%`;
  parts.legend.replaceChildren(make("span", { text: layer.name }), make("span", { text: small.format(start) }),
    make("span", { class: "ramp" }, tick), make("span", { text: small.format(end) }),
    tick && make("span", { class: "mark", text: `${title} ${small.format(mark)}` }) || "");
  return true;
}

function showOutlines() {
  for (const group of parts.panes.querySelectorAll("[data-outline]")) {
    group.style.display = stage.lines && !stage.hidden.has(group.dataset.outline) ? "" : "none";
  }
  parts.outlineButton.setAttribute("aria-pressed", stage.lines);
  parts.outlineButton.disabled = !stage.outlines.length;
}

/** Fill one region, in the panes and in the list. */
function light(region) {
  stage.lit = region;
  for (const path of parts.panes.querySelectorAll(".lit")) {
    path.setAttribute("d", region?.path ?? "");
    path.setAttribute("fill", region?.outline.colour ?? "none");
  }
  for (const item of parts.regionList.children) {
    item.classList.toggle("lit", region !== null && item.dataset.region === region.id);
  }
}

const ruler = document.createElement("canvas").getContext("2d");
/** The region at a place: the smallest of those in sight that hold it. */
function regionAt({ x, y }) {
  if (!stage.lines) return null;
  const holding = stage.regions.filter((region) => {
    const [left, top, width, height] = region.box;
    if (stage.hidden.has(region.outline.name) || x < left || y < top || x > left + width || y > top + height) return false;
    region.shape ??= new Path2D(region.path);
    return ruler.isPointInPath(region.shape, x, y, "evenodd");
  });
  return holding.reduce((least, region) => (least && least.area <= region.area ? least : region), null);
}

function labelAt({ x, y }) {
  const grid = stage.views.labels;
  if (!grid) return null;
  if (!grid.cells) {
    const cells = [];
    for (let at = 0; at < grid.runs.length; at += 2) {
      for (let left = grid.runs[at + 1]; left > 0; left -= 1) cells.push(grid.runs[at]);
    }
    grid.cells = cells;
  }
  return grid.cells[Math.floor(y / grid.step) * grid.width + Math.floor(x / grid.step)] ?? null;
}

function valueAt({ x, y }, layer) {
  const { width, cells } = layer.values;
  layer.bytes ??= atob(cells);
  const height = layer.bytes.length / width;
  const byte = layer.bytes.charCodeAt(
    Math.floor(y / scene.height * height) * width + Math.floor(x / scene.width * width));
  const { start, end } = page.scales[layer.name] ?? { start: 0, end: 1 };
  return start + byte / 255 * (end - start);
}
