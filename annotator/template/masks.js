// Labelling masks: the page, going through the queue, keys; and the start.

const workPath = ({ id }) => `items/${id}`;
const layerSource = (layer) => `api/${layer.url}`;
const layerTitle = (layer) => `${layer.name} of ${stage.row.key}`;
const backdrop = () => null;
const tagOf = (place, layer) => (layer ? aloneButton(layer) : chooser(place));
function leavePointer() { if (parts.readout) parts.readout.textContent = ""; }

/** Make ready what the server says of an image: the mask, its regions, decoded pictures. */
async function prepare(payload) {
  if (!payload) return null;
  const { width, height } = payload;
  const base = decodeRuns(fromText(payload.base), width * height);
  await breath();
  const mask = base.slice();
  const target = { ...payload, base, mask, done: [], undone: [] };
  for (const action of payload.actions) {
    const known = { tool: action.tool, detail: action.detail, runs: action.runs && fromText(action.runs) };
    if (action.state === "done") {
      target.done.push(known);
      if (known.runs) turnOver(mask, known.runs);
    } else target.undone.unshift(known);
  }
  await breath();
  target.before = { mask: mask.slice(), copy: new Uint8Array(width * height) };
  target.regions = lookAtRegions(target);
  await inkOf(target);
  target.pictures = new Map(payload.layers.map((layer) => [layer.name, newPicture(layer, `${layer.name} of ${payload.key}`, payload)]));
  await Promise.all([...target.pictures.values()].map((image) => image.decode().catch(() => {})));
  if (wantsHeat()) heatOf(target);
  return target;
}

const wantsHeat = () => ink.hot || drawing.tool === "fill";
let heatTimer = 0;

/** The distance of an image, once it is there; what the fill and the heat map need. */
function heatOf(target) {
  target.heat ??= (async () => {
    const image = new Image();
    image.src = `api/${target.distance}`;
    try {
      await image.decode();
    } catch {
      target.heat = null; // asked for again when it is needed
      if (target === work) toast("The distance of this image cannot be had");
      return;
    }
    const { values, canvas } = await readHeat(image);
    Object.assign(target, { values, heatCanvas: canvas });
    if (target === work) drawInk(null);
  })();
  return target.heat;
}

function show(target) {
  enterWork(target);
  parts.body.classList.toggle("empty", !work);
  if (!work) { finished(); return; }
  parts.message.hidden = true;
  stage.row = { key: work.key };
  stage.views = { layers: work.layers };
  [scene.width, scene.height] = [work.width, work.height];
  selectedRegion = null;
  Object.assign(drawing, { points: [], at: null, cursor: null, down: false, from: null });
  pictures.clear();
  for (const [name, image] of work.pictures) pictures.set(name, image);
  camera.fitted = true;
  keepViews();
  parts.title.replaceChildren(...titleOf(work.key));
  document.title = `${work.key} – Masks`;
  history.replaceState(null, "", `#${encodeURIComponent(work.key)}`);
  parts.minimap.firstChild.src = layerSource(work.layers.at(-1));
  fillTabs();
  buildPanes();
  listRegions();
  showHistory();
  secondsSince();
  // The read-out has it, too, once somebody stays here: computing it slows down all else.
  clearTimeout(heatTimer);
  heatTimer = setTimeout(() => { if (target === work) heatOf(target); }, wantsHeat() ? 0 : 3000);
}

function titleOf(key) {
  const cut = key.lastIndexOf("/") + 1;
  return [make("span", { class: "name" }, make("i", { text: key.slice(0, cut) }), make("b", { text: key.slice(cut) }))];
}

function finished() {
  stage.views = null;
  parts.panes.replaceChildren();
  parts.title.textContent = "Masks";
  parts.message.textContent = "Nothing is left in the queue. Press q for all images.";
  parts.message.hidden = false;
  parts.regionList.replaceChildren();
  parts.regionTitle.textContent = parts.regionMore.textContent = "";
}

function showHistory() {
  parts.undo.disabled = !work?.done.length;
  parts.redo.disabled = !work?.undone.length;
  const text = { open: "", done: "done", skipped: "skipped" }[work?.status] ?? "";
  parts.position.textContent = [text, work ? { detected: "from what was detected", labelled: "from labels", empty: "from nothing" }[work.source] : ""].filter(Boolean).join(" · ");
}

async function finish(status) {
  if (!work) return;
  if (drawing.points.length) { closePolygon(); return; }
  liftCursor();
  if (drawing.from) endStroke();
  work.version += 1;
  work.status = status;
  save(work, `items/${work.id}/finish`, { version: work.version, status });
  session.count += status === "done" ? 1 : 0;
  parts.done.textContent = whole.format(session.count);
  await next();
}

const whilePolygon = (act, other) => () => (drawing.points.length ? act() : other());
const KEYS = {
  Enter: () => finish("done"), PageDown: () => finish("skipped"), PageUp: back,
  y: () => decide(selectedRegion, "accept"), n: () => decide(selectedRegion, "reject"),
  Y: () => decideAll("accept"), N: () => decideAll("reject"),
  r: () => stepRegion(1), R: () => stepRegion(-1), u: () => voteNext(selectedRegion), c: askKind,
  "[": () => sizeBrush(drawing.size - Math.max(1, Math.round(drawing.size / 8))),
  "]": () => sizeBrush(drawing.size + Math.max(1, Math.round(drawing.size / 8))),
  j: () => shapeBrush(!drawing.round), d: pressCursor, h: toggleHeat, m: toggleInk, l: fillAllHoles,
  Backspace: whilePolygon(() => { drawing.points.pop(); drawInk(null); }, () => {}), Delete: clearMask,
  Escape: () => { dropPolygon(); if (selectedRegion) selectRegion(null); },
  "<": () => setTolerance(drawing.tolerance - 4), ">": () => setTolerance(drawing.tolerance + 4),
  "+": () => fly(zoomed(1.5)), "=": () => fly(zoomed(1.5)), "-": () => fly(zoomed(1 / 1.5)),
  0: () => fly(fitView()), z: () => fly({ scale: 1 / devicePixelRatio }), p: nextPixels, i: togglePanel, f: toggleFullscreen,
  ",": () => moveWipe(stage.wipe - 0.05), ".": () => moveWipe(stage.wipe + 0.05),
  x: () => { [stage.left, stage.right] = [stage.right, stage.left]; markTabs(); buildPanes(); },
  " ": () => flicker(true), q: openQueue,
};
for (const { value, key } of MODES) if (key !== "v") KEYS[key] = () => setMode(stage.mode === value ? "single" : value);
for (const { value, key } of TOOLS) KEYS[key] = () => chooseTool(value);

const HELP = [
  ["Enter", "done, next image"], ["PgDn PgUp", "skip; back to the image before"], ["q", "all images"],
  ["y n", "accept, reject the region"], ["Y N", "accept, reject all that are open"], ["r R", "next, previous region"],
  ["u", "do you notice it?"], ["c", "kind of artifact"],
  ["b e", "brush, eraser"], ["wheel [ ]", "size of the brush"], ["j", "round or square"],
  ["g G", "polygon that adds, takes away; Enter or double click closes it"], ["k", "fill where the distance is as here"],
  ["< >", "how far a fill reaches (wheel)"], ["l", "fill holes"], ["Delete", "clear the mask"],
  ["Ctrl+Z Ctrl+Y", "undo, redo"], ["arrows, Alt + arrows", "move the cursor by 1, by more"], ["d", "brush down or up, corner, fill at the cursor"],
  ["v", "move the picture by dragging"], ["Shift + drag, arrows", "move the picture with any tool"],
  ["h", "heat map of the distance"], ["m", "the mask"], ["1 – 9", "choose the view; with Shift the one on the left"],
  ["w s a", "wipe, side by side, all views"], [", .", "move the wipe"], ["x", "exchange left and right"], ["Space", "blink to the other view while held"],
  ["+ − 0 z", "zoom in, out, fit, one to one"], ["Ctrl + wheel, pinch", "zoom where the pointer is"],
  ["p", "pixels or smoothed"], ["i", "regions"], ["f", "full screen"], ["t", "dark or light"],
];

function key(event) {
  if (document.querySelector("dialog[open]") || event.target.closest?.("input:not([type=range]), select")) return;
  const command = event.ctrlKey || event.metaKey;
  if (command && !event.altKey) {
    const turned = { z: event.shiftKey ? "redo" : "undo", Z: "redo", y: "redo" }[event.key];
    if (turned && work) { event.preventDefault(); turn(turned); }
    return;
  }
  if (event.key === "?") { byId("help").showModal(); return; }
  if (event.key === "t") { toggleTheme(); return; }
  if (event.key === "q") { event.preventDefault(); openQueue(); return; }
  if ((event.key === " " || event.key === "Enter") && event.target.closest?.("button, a")) return;
  if (!work && event.key !== "PageUp") return;
  const digit = /^Digit([1-9])$/.exec(event.code);
  let act = event.altKey ? undefined : KEYS[event.key];
  if (digit) act = () => chooseView(work.layers[digit[1] - 1]?.name, event.shiftKey ? "left" : "right");
  if (STEPS[event.key] && !event.target.closest?.("[role=radiogroup], [role=slider], input")) {
    const [right, down] = STEPS[event.key];
    act = event.shiftKey || drawing.tool === "hand"
      ? () => fly(panned(right * scene.paneWidth / 4, down * scene.paneHeight / 4)) : () => moveCursor(event.key, event.altKey);
  }
  if (!act) return;
  event.preventDefault();
  act();
}

function toggleHeat() {
  ink.hot = !ink.hot;
  parts.heatButton.setAttribute("aria-pressed", ink.hot);
  parts.legend.hidden = !ink.hot;
  if (ink.hot) heatOf(work);
  drawInk(null);
}
function toggleInk() {
  ink.shown = !ink.shown;
  parts.inkButton.setAttribute("aria-pressed", ink.shown);
  drawInk(null);
}
function fillAllHoles() {
  fillHoles(work.mask, work.width, work.height);
  redraw(wholeBox());
  commit("holes", wholeBox());
}
function clearMask() {
  work.mask.fill(0);
  redraw(wholeBox());
  commit("clear", wholeBox());
}
function togglePanel() {
  const bare = parts.body.classList.toggle("bare");
  parts.panelButton.setAttribute("aria-pressed", !bare);
  choices.set("panel", !bare);
  measurePanes();
}
function toggleFullscreen() {
  if (document.fullscreenElement) document.exitFullscreen();
  else document.documentElement.requestFullscreen?.();
}

function build() {
  Object.assign(ICONS, {
    undo: "M3 6.500h6.500a3.500 3.500 0 0 1 0 7H6M6 3 2.500 6.500 6 10", redo: "M13 6.500H6.500a3.500 3.500 0 0 0 0 7H10M10 3l3.500 3.500L10 10",
    heat: "M8 2c1 2.500 3.500 3.500 3.500 7a3.500 3.500 0 0 1-7 0c0-1.500.6-2.500 1.500-3.300.2 1.300.8 1.800 1.300 2C7.300 5.500 7 3.500 8 2z",
    square: "M3.500 3.500h9v9h-9z", list: "M5.500 4H14M5.500 8H14M5.500 12H14M2.500 4v.01M2.500 8v.01M2.500 12v.01",
  });
  const modes = make("div", { class: "segments", role: "radiogroup", "aria-label": "Mode" });
  const tools = make("div", { class: "segments tools", role: "radiogroup", "aria-label": "Tool" });
  Object.assign(parts, {
    body: byId("viewer-body"),
    title: make("h1", { id: "viewer-title" }), position: make("span", { class: "position" }),
    tabs: make("div", { class: "tabs", role: "group", "aria-label": "Views" }),
    panes: make("div", { class: "panes", "aria-label": "Pictures", role: "group" }),
    minimap: make("div", { class: "minimap", hidden: true, "aria-hidden": "true" }, make("img", { alt: "" }), make("i")),
    message: make("p", { class: "message", role: "status", hidden: true }),
    readout: make("span", { class: "readout", "aria-hidden": "true" }),
    zoom: make("output", { class: "zoom", "aria-label": "Zoom" }),
    saved: make("span", { class: "saved", role: "status", text: "Saved" }),
    training: make("p", { class: "training", role: "status" }),
    done: make("b", { text: "0" }), share: make("b", { text: "" }),
    size: make("input", { type: "range", min: 1, max: 400, value: drawing.size, "aria-label": "Size of the brush", oninput: (event) => sizeBrush(Number(event.target.value)) }),
    sizeText: make("output", { text: `${drawing.size} px` }),
    roundButton: tool("square", "Square brush (j)", () => shapeBrush(!drawing.round), !drawing.round),
    undo: tool("undo", "Undo (Ctrl+Z)", () => turn("undo")), redo: tool("redo", "Redo (Ctrl+Y)", () => turn("redo")),
    heatButton: tool("heat", "Heat map of the distance (h)", toggleHeat, false),
    inkButton: tool("outline", "The mask (m)", toggleInk, true),
    pixelButton: tool("pixels", "Pixels: when large (p)", nextPixels),
    panelButton: tool("panel", "Regions (i)", togglePanel, true),
    regionTitle: make("h2", {}), regionList: make("ol", { class: "regions" }), regionMore: make("p", { class: "more", role: "status" }),
    legend: make("div", { class: "legend", hidden: true }, make("span", { text: "1 − D′" }), make("span", { text: "0" }), make("span", { class: "ramp" }, make("i")), make("span", { text: "1" })),
  });
  parts.legend.querySelector("i").style.left = `${session.cutoff * 100}%`;
  byId("bar").append(
    tool("list", "All images (q)", openQueue), make("div", { class: "what" }, parts.title, parts.position), make("span", { class: "spring" }),
    parts.tabs, modes, make("span", { class: "divider" }), tools,
    make("label", { class: "field brush" }, make("span", { class: "sr", text: "Brush" }), parts.size, parts.sizeText), parts.roundButton,
    make("span", { class: "divider" }), parts.undo, parts.redo, make("span", { class: "divider" }),
    parts.heatButton, parts.inkButton, parts.pixelButton, parts.panelButton);
  parts.panel = make("aside", { "aria-label": "Regions" },
    make("dl", { class: "facts" }, make("div", {}, make("dt", { text: "marked" }), make("dd", {}, parts.share)), make("div", {}, make("dt", { text: "done by you now" }), make("dd", {}, parts.done))),
    make("div", { class: "title" }, parts.regionTitle), parts.regionMore, parts.regionList,
    make("datalist", { id: "kinds" }, ...session.kinds.map((kind) => make("option", { value: kind }))),
    make("div", { class: "ends" },
      make("button", { class: "primary", onclick: () => finish("done") }, "Done, next ", make("kbd", { text: "Enter" })),
      make("button", { onclick: () => finish("skipped") }, "Skip ", make("kbd", { text: "PgDn" })),
      make("button", { onclick: back }, "Back ", make("kbd", { text: "PgUp" })),
      session.manages ? make("button", { class: "finetune", onclick: finetune, text: "Finetune on what is labelled" }) : null,
      parts.training));
  byId("middle").append(make("div", { class: "area" }, parts.panes, parts.minimap, parts.message), parts.panel);
  byId("status").append(parts.readout, parts.legend, make("span", { class: "spring" }), parts.saved, make("span", { class: "divider" }), make("span", { class: "who", text: session.name }), ...zoomButtons());
  selectMode = segments(modes, MODES.map((mode) => (mode.value === "single" ? { ...mode, title: "One view" } : mode)), stage.mode, setMode);
  selectTool = segments(tools, TOOLS, drawing.tool, chooseTool);
  parts.panes.dataset.tool = drawing.tool;
  parts.body.classList.toggle("bare", !choices.get("panel", innerWidth > 900));
  parts.panelButton.setAttribute("aria-pressed", !parts.body.classList.contains("bare"));
  listenToTools(parts.panes);
  listenToPointers(parts.panes);
  listenToMinimap();
  new ResizeObserver(() => measurePanes()).observe(parts.panes);
  addEventListener("keydown", key);
  addEventListener("keyup", (event) => { if (event.key === " ") flicker(false); });
  addEventListener("blur", () => flicker(false));
  buildHelp(HELP);
}

/** Start a run of train.py on what is labelled, and say how it goes. */
async function finetune() {
  await allSaved();
  try { await ask("finetune", {}); } catch (error) { toast(error.message); }
  followTraining();
}

let trainingTimer = 0;
async function followTraining() {
  clearTimeout(trainingTimer);
  const { state, line, page: address } = await ask("finetune");
  const text = { idle: "", running: line ? "Finetuning: " : "Finetuning begins …", failed: "Finetuning failed: ", done: "" }[state];
  parts.training.dataset.state = state;
  parts.training.replaceChildren(state === "done"
    ? make("a", { href: address, target: "_blank", text: "Finetuned: open the page of the run" }) : `${text}${line ?? ""}`);
  if (state === "running") trainingTimer = setTimeout(() => followTraining().catch(() => {}), 2000);
}

async function start() {
  await enter();
  session.count = 0;
  build();
  if (session.manages) followTraining().catch(() => {});
  const wanted = decodeURIComponent(location.hash.slice(1));
  if (wanted) {
    const found = (await ask("items")).find(([, name]) => name === wanted);
    if (found) await openItem({ id: found[0] });
  }
  if (!work) await next();
}
start().catch((error) => toast(error.message));
