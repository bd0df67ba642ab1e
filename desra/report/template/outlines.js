// What the report draws over its pictures: outlines, the region under the pointer, the legend.

Object.assign(stage, { outlines: [], regions: [], lines: true, hidden: new Set(), lit: null });

const layerPath = (row, layer) => pagePath(`images/${layer.folder}`, row, layer.type);
const layerSource = (layer) => layerPath(stage.row, layer);
const layerTitle = (layer) => `${layer.name} of ${stage.row.key}`;
const backdrop = () => pagePath("thumbnails", stage.row, "jpg");
const tagOf = (place, layer) => (layer ? aloneButton(layer) : chooser(place));

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

/** What has to be told or drawn anew when the panes are. */
function panesBuilt() {
  parts.legend.hidden = !drawLegend();
  showOutlines();
  light(stage.lit);
}

function panesDrawn(left, top) {
  for (const map of parts.panes.querySelectorAll(".map")) {
    map.setAttribute("transform", `translate(${left} ${top}) scale(${camera.scale})`);
    // Thin where the picture is small, or many regions would hide it.
    map.style.setProperty("--line", `${clamp(0.7 + camera.scale, 0.9, 1.75)}px`);
  }
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
