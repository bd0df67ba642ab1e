// The tools: brush, eraser, polygon, fill; by pointer, and by a cursor that the arrow keys move.

const TOOLS = [
  { value: "hand", title: "Move the picture (v)", icon: "hand", key: "v" },
  { value: "brush", title: "Brush (b)", icon: "brush", key: "b" },
  { value: "eraser", title: "Eraser (e)", icon: "eraser", key: "e" },
  { value: "polygon", title: "Polygon, adds (g)", icon: "polygon", key: "g" },
  { value: "cut", title: "Polygon, takes away (G)", icon: "cut", key: "G" },
  { value: "fill", title: "Fill where the distance is as here (k)", icon: "fill", key: "k" },
];
Object.assign(ICONS, {
  hand: "M5 8V4.2a1 1 0 0 1 2 0V3a1 1 0 0 1 2 0v1a1 1 0 0 1 2 0v1.200a1 1 0 0 1 2 0V10c0 2.200-1.500 3.500-4 3.500S5.500 12 3.200 9.200c-.7-1 .7-1.900 1.800-.7z",
  brush: "M13.500 2.500 7 9M7 9c-1.500 0-2.300.9-2.400 2.200-.1 1-.8 1.600-1.800 1.800 2.800 1 6 .2 6-2.200C8.800 9.600 8 9 7 9z",
  eraser: "M9.500 3 13 6.500 7.500 12h-3L2.500 10zM5.500 7 9 10.500M7.500 12.500H14",
  polygon: "M3 6.500 8 2.500l5 4-2 6.500H5z",
  cut: "M3 6.500 8 2.500l5 4-2 6.500H5zM5.700 8h4.600",
  fill: "M7.500 2.500 13 8l-5 5-5-5 4.500-4.500M13.500 10.500c.8 1.200.8 2-.2 2s-1-.8 0-2z",
});

const drawing = {
  tool: "brush", size: choices.get("brush", 24), round: choices.get("round", true), tolerance: 20,
  before: null, box: null, from: null, // of a stroke
  points: [], at: null, // of a polygon
  cursor: null, down: false, // what the arrow keys move, and whether it draws
};
let selectTool = () => {};

function chooseTool(name) {
  dropPolygon();
  liftCursor();
  drawing.tool = name;
  selectTool(name, true);
  parts.panes.dataset.tool = name;
  showNib();
  if (name === "fill" && work) heatOf(work);
}

function sizeBrush(size) {
  drawing.size = clamp(Math.round(size), 1, 400);
  choices.set("brush", drawing.size);
  parts.size.value = drawing.size;
  parts.sizeText.textContent = `${drawing.size} px`;
  showNib();
}

function shapeBrush(round) {
  drawing.round = round;
  choices.set("round", round);
  parts.roundButton.setAttribute("aria-pressed", !round);
  toast(round ? "Round brush" : "Square brush");
  showNib();
}

function setTolerance(value) {
  drawing.tolerance = clamp(value, 0, 255);
  toast(`Fill: distances within ${(drawing.tolerance / 255).toFixed(2)}`);
}

const pixelOf = ({ x, y }) => ({ x: Math.floor(x), y: Math.floor(y) });
const isInside = ({ x, y }) => x >= 0 && y >= 0 && x < work.width && y < work.height;

/** Note what a tool has done since `before` was kept, tell the server, and look at the regions. */
function commit(tool, box, detail = {}) {
  const changed = work.before.copy; // scratch: pixels turned over
  const { mask, before, width } = work;
  let any = false;
  if (box) {
    for (let row = box.top; row < box.bottom; row += 1) {
      for (let at = row * width + box.left; at < row * width + box.right; at += 1) {
        changed[at] = mask[at] ^ before.mask[at];
        if (changed[at]) { any = true; before.mask[at] = mask[at]; }
      }
    }
  }
  const runs = any ? encodeRuns(changed, width, [box.top, box.bottom]) : null;
  if (box) {
    for (let row = box.top; row < box.bottom; row += 1) {
      changed.fill(0, row * width + box.left, row * width + box.right);
    }
  }
  if (!any && tool !== "accept" && tool !== "reject") return;
  note({ tool, detail, runs });
}

function note(action) {
  work.done.push(action);
  work.undone.length = 0;
  work.version += 1;
  save(work, `items/${work.id}/actions`, {
    version: work.version, tool: action.tool, detail: action.detail, runs: action.runs && toText(action.runs),
  });
  maskChanged();
}

function turn(direction) {
  if (drawing.points.length) return dropPolygon();
  const [from, to] = direction === "undo" ? [work.done, work.undone] : [work.undone, work.done];
  const action = from.pop();
  if (!action) return toast(`Nothing to ${direction}`);
  to.push(action);
  if (action.runs) {
    turnOver(work.before.mask, action.runs, work.width);
    redraw(turnOver(work.mask, action.runs, work.width));
  }
  work.version += 1;
  save(work, `items/${work.id}/${direction}`, { version: work.version });
  maskChanged();
  return undefined;
}

// --- by pointer

function beginStroke(place) {
  drawing.box = null;
  drawing.from = pixelOf(place);
  goOn(place);
}
function goOn(place) {
  const to = pixelOf(place);
  const box = stroke(work.mask, work.width, work.height, drawing.from, to, drawing.size, drawing.round, drawing.tool === "brush" ? 1 : 0);
  drawing.box = joined(drawing.box, box);
  drawing.from = to;
  redraw(box);
}
function endStroke() {
  const { box } = drawing;
  drawing.from = drawing.box = null;
  commit(drawing.tool, box, { size: drawing.size, round: drawing.round });
}

function addPoint(place) {
  drawing.points.push(place);
  drawInk(null);
}
function closePolygon() {
  const { points, tool } = drawing;
  drawing.points = [];
  drawing.at = null;
  if (points.length > 2) {
    const box = fillPolygon(work.mask, work.width, work.height, points, tool === "cut" ? 0 : 1);
    redraw(box);
    commit(tool, box, { points: points.map(({ x, y }) => [x, y]) });
  }
  drawInk(null);
}
function dropPolygon() {
  if (!drawing.points.length) return;
  drawing.points = [];
  drawing.at = null;
  drawInk(null);
}

async function fillHere(place) {
  const start = pixelOf(place);
  if (!isInside(start)) return;
  const own = work;
  if (!own.values) { toast("The distance is being computed"); await heatOf(own); }
  if (own !== work || !own.values) return;
  const value = own.values[start.y * own.width + start.x];
  const least = Math.max(0, value - drawing.tolerance);
  const box = flood(own.mask, own.width, own.height, own.values, start, least);
  redraw(box);
  commit("fill", box, { ...start, least: least / 255 });
}

function listenToTools(area) {
  const held = (event) => drawing.tool !== "hand" && event.button === 0 && !event.shiftKey;
  const claim = (event) => { event.stopImmediatePropagation(); event.preventDefault(); };
  area.addEventListener("pointerdown", (event) => {
    const over = paneUnder(event);
    if (!work || !over || !held(event) || event.target.closest("button, select, a, [role=slider]")) return;
    claim(event);
    const place = placeUnder(event, over);
    if (drawing.tool === "brush" || drawing.tool === "eraser") {
      area.setPointerCapture(event.pointerId);
      drawing.pane = over;
      beginStroke(place);
    } else if (drawing.tool === "fill") {
      fillHere(place);
    } else if (event.detail < 2) {
      addPoint(place);
    }
  }, { capture: true });
  area.addEventListener("pointermove", (event) => {
    followNib(event);
    if (drawing.from && !drawing.down) {
      claim(event);
      // All places that the pointer was at, not just one a frame.
      const all = event.getCoalescedEvents?.() ?? [];
      for (const one of all.length ? all : [event]) goOn(placeUnder(one, drawing.pane));
    } else if (drawing.points.length) {
      const over = paneUnder(event);
      if (over) { drawing.at = placeUnder(event, over); drawInk(null); }
    }
  }, { capture: true });
  const end = (event) => {
    if (!drawing.from || drawing.down) return;
    claim(event);
    endStroke();
  };
  area.addEventListener("pointerup", end, { capture: true });
  area.addEventListener("pointercancel", end, { capture: true });
  area.addEventListener("pointerleave", () => { if (!drawing.cursor) hideNib(); });
  area.addEventListener("dblclick", (event) => {
    if (drawing.tool === "hand") return;
    claim(event);
    closePolygon();
  }, { capture: true });
  area.addEventListener("contextmenu", (event) => { if (drawing.points.length) { claim(event); closePolygon(); } });
  area.addEventListener("wheel", (event) => {
    if (drawing.tool === "hand" || event.ctrlKey || event.shiftKey || !paneUnder(event)) return;
    claim(event);
    const up = event.deltaY < 0 ? 1 : -1;
    if (drawing.tool === "fill") setTolerance(drawing.tolerance + 4 * up);
    else if (drawing.tool === "brush" || drawing.tool === "eraser") {
      sizeBrush(drawing.size + up * Math.max(1, Math.round(drawing.size / 8)));
    } else look(zoomed(1.15 ** up));
  }, { capture: true, passive: false });
}

// --- what the brush will touch, in every pane

const nib = { x: 0, y: 0, shown: false };
function followNib(event) {
  const over = paneUnder(event);
  if (!over || !work) return hideNib();
  const place = placeUnder(event, drawing.from ? drawing.pane : over);
  drawing.cursor = null;
  Object.assign(nib, pixelOf(place), { shown: drawing.tool !== "hand" });
  parts.readout.textContent = readoutAt(nib);
  showNib();
  return undefined;
}
function hideNib() {
  nib.shown = false;
  parts.readout.textContent = "";
  showNib();
}
function readoutAt(pixel) {
  if (!isInside(pixel)) return "";
  const value = work.values ? `   1 − D′ ${(work.values[pixel.y * work.width + pixel.x] / 255).toFixed(2)}` : "";
  return `x ${pixel.x}  y ${pixel.y}${value}`;
}
function showNib() {
  const brush = drawing.tool === "brush" || drawing.tool === "eraser";
  const size = brush ? drawing.size : 1;
  const offset = -Math.ceil((size - 1) / 2) + (size % 2 ? 0 : 1);
  const left = scene.paneWidth / 2 + (nib.x + offset - camera.x) * camera.scale;
  const top = scene.paneHeight / 2 + (nib.y + offset - camera.y) * camera.scale;
  for (const element of parts.panes.querySelectorAll(".nib")) {
    element.hidden = !nib.shown;
    element.className = `nib ${brush ? "" : "cross"} ${brush && drawing.round ? "round" : ""} ${drawing.down ? "down" : ""}`;
    element.style.transform = `translate(${left}px, ${top}px)`;
    element.style.width = element.style.height = `${Math.max(1, size * camera.scale)}px`;
  }
}

// --- by keys

const STEPS = { ArrowRight: [1, 0], ArrowLeft: [-1, 0], ArrowDown: [0, 1], ArrowUp: [0, -1] };
function moveCursor(key, far) {
  const [right, down] = STEPS[key];
  const distance = far ? Math.max(10, Math.round(drawing.size / 2)) : 1;
  drawing.cursor ??= { x: Math.floor(camera.x), y: Math.floor(camera.y) };
  drawing.cursor.x = clamp(drawing.cursor.x + right * distance, 0, work.width - 1);
  drawing.cursor.y = clamp(drawing.cursor.y + down * distance, 0, work.height - 1);
  Object.assign(nib, drawing.cursor, { shown: true });
  parts.readout.textContent = readoutAt(nib);
  const place = { x: nib.x + 0.5, y: nib.y + 0.5 };
  if (drawing.down) goOn(place);
  if (drawing.points.length) { drawing.at = place; drawInk(null); }
  const [wide, high] = [scene.paneWidth / camera.scale / 2, scene.paneHeight / camera.scale / 2];
  if (Math.abs(nib.x - camera.x) > wide || Math.abs(nib.y - camera.y) > high) look({ x: nib.x, y: nib.y });
  showNib();
}

/** Put the brush down or lift it, set a corner, fill: at the cursor of the keys. */
function pressCursor() {
  drawing.cursor ??= { x: Math.floor(camera.x), y: Math.floor(camera.y) };
  Object.assign(nib, drawing.cursor, { shown: true });
  const place = { x: nib.x + 0.5, y: nib.y + 0.5 };
  if (drawing.tool === "fill") fillHere(place);
  else if (drawing.tool === "polygon" || drawing.tool === "cut") addPoint(place);
  else if (drawing.down) liftCursor();
  else if (drawing.tool !== "hand") {
    drawing.down = true;
    beginStroke(place);
    toast("The brush is down: arrows draw, d lifts it");
  }
  showNib();
}
function liftCursor() {
  if (!drawing.down) return;
  drawing.down = false;
  endStroke();
}
