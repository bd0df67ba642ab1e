// The viewer: opening, going through the images, modes, keys; and the start of the page.

const viewer = byId("viewer");

function buildViewer() {
  const modes = make("div", { class: "segments", role: "radiogroup", "aria-label": "Mode" });
  Object.assign(parts, {
    body: byId("viewer-body"),
    title: make("h2", { id: "viewer-title" }),
    position: make("span", { class: "position" }),
    tabs: make("div", { class: "tabs", role: "group", "aria-label": "Views" }),
    panes: make("div", { class: "panes", "aria-label": "Pictures", role: "group" }),
    tooltip: make("div", { class: "tooltip", hidden: true, "aria-hidden": "true" }),
    minimap: make("div", { class: "minimap", hidden: true, "aria-hidden": "true" }, make("img", { alt: "" }), make("i")),
    legend: make("div", { class: "legend", hidden: true }),
    readout: make("span", { class: "readout", "aria-hidden": "true" }),
    zoom: make("output", { class: "zoom", "aria-label": "Zoom" }),
    message: make("p", { class: "message", role: "alert", hidden: true }),
    facts: make("dl", { class: "facts" }),
    outlineList: make("ul", { class: "outlines" }),
    regionTitle: make("div", { class: "title" }),
    regionList: make("ol", { class: "regions" }),
    regionMore: make("p", { class: "more" }),
    files: make("ul", { class: "files" }),
    outlineButton: tool("outline", "Outlines (m)", toggleLines, true),
    pixelButton: tool("pixels", "Pixels: when large (p)", nextPixels),
    panelButton: tool("panel", "Figures and regions (i)", togglePanel, true),
  });
  const bar = make("header", {},
    tool("back", "Back to all images (Esc)", () => viewer.close()),
    make("div", { class: "what" }, parts.title, parts.position),
    make("span", { class: "spring" }),
    parts.tabs, modes, make("span", { class: "divider" }),
    parts.outlineButton, parts.pixelButton,
    make("span", { class: "wide" }, tool("full", "Full screen (f)", toggleFullscreen)), parts.panelButton,
    make("span", { class: "divider" }),
    tool("previous", "Previous image (←)", () => step(-1)), tool("next", "Next image (→)", () => step(1)));
  const status = make("footer", {}, parts.readout, parts.legend, make("span", { class: "spring" }), ...zoomButtons());
  parts.panel = make("aside", { "aria-label": "Figures and regions" }, parts.facts, parts.outlineList,
    parts.regionTitle, parts.regionList, parts.regionMore, make("h3", { text: "Files" }), parts.files);
  parts.body.append(bar, make("div", { class: "middle" },
    make("div", { class: "area" }, parts.panes, parts.minimap, parts.message), parts.panel), status, parts.tooltip);
  selectMode = segments(modes, MODES, stage.mode, setMode);
  parts.body.classList.toggle("bare", !choices.get("panel", innerWidth > 900));
  parts.panelButton.setAttribute("aria-pressed", !parts.body.classList.contains("bare"));

  listenToPointers(parts.panes);
  parts.panes.addEventListener("pointermove", followPointer);
  parts.panes.addEventListener("pointerup", followPointer);
  parts.panes.addEventListener("pointerdown", leavePointer);
  parts.panes.addEventListener("pointerleave", (event) => { if (event.pointerType !== "touch") leavePointer(); });
  listenToMinimap();
  new ResizeObserver(() => { if (viewer.open) measurePanes(); }).observe(parts.panes);
  // On the window: where a focused control goes away with its view, the focus is in no dialog.
  addEventListener("keydown", (event) => { if (viewer.open && !byId("help").open) viewerKey(event); });
  addEventListener("keyup", (event) => { if (event.key === " " || event.key === "b") flicker(false); });
  addEventListener("blur", () => flicker(false));
  viewer.addEventListener("close", closed);
}

async function show(row) {
  if (!viewer.open) { viewer.showModal(); document.documentElement.classList.add("viewing"); }
  stage.row = row;
  const order = shownOrder();
  parts.title.replaceChildren(splitName(row.key));
  parts.position.textContent = `${whole.format(order.indexOf(row) + 1)} of ${whole.format(order.length)}`;
  document.title = `${row.key} – ${document.querySelector("h1").textContent}`;
  try {
    const [views, regions] = await Promise.all([load("views", row), load("regions", row)]);
    if (stage.row !== row || !viewer.open) return;
    fill(views, regions);
  } catch (error) {
    if (stage.row !== row) return;
    stage.views = null;
    parts.panes.replaceChildren();
    parts.message.textContent = error.message;
    parts.message.hidden = false;
    return;
  }
  preload(order[order.indexOf(row) + 1]);
  preload(order[order.indexOf(row) - 1]);
}

function fill(views, regions) {
  parts.message.hidden = true;
  pictures.clear();
  stage.views = views;
  stage.lit = null;
  [scene.width, scene.height] = [views.width, views.height];
  stage.outlines = regions.outlines.map((outline) => ({
    ...outline, count: outline.regions.length, path: outline.regions.map((region) => region[4]).join(""),
  }));
  stage.regions = stage.outlines.flatMap((outline) => outline.regions.map(
    ([number, area, box, classes, path, facts]) =>
      ({ id: `${outline.name} ${number}`, outline, number, area, box, classes, path, facts })));
  camera.fitted = true;
  keepViews();
  parts.minimap.firstChild.src = pagePath("thumbnails", stage.row, "jpg");
  fillPanel();
  fillTabs();
  buildPanes();
}

async function preload(row) {
  if (!row) return;
  try {
    const [views] = await Promise.all([load("views", row), load("regions", row)]);
    for (const layer of views.layers.filter(({ name }) => name === stage.left || name === stage.right)) {
      new Image().src = layerPath(row, layer);
    }
  } catch { /* said when the image is opened */ }
}

function toggleLines() {
  stage.lines = !stage.lines;
  showOutlines();
}

function togglePanel() {
  const bare = parts.body.classList.toggle("bare");
  parts.panelButton.setAttribute("aria-pressed", !bare);
  choices.set("panel", !bare);
}

function toggleFullscreen() {
  if (document.fullscreenElement) document.exitFullscreen();
  else parts.body.requestFullscreen?.();
}

function nextRegion(direction) {
  if (!stage.regions.length) return;
  const at = stage.regions.indexOf(stage.lit ?? stage.visited);
  const start = at < 0 && direction < 0 ? 0 : at;
  const region = stage.regions[(start + direction + stage.regions.length) % stage.regions.length];
  stage.visited = region;
  fly(boxView(region.box), 320);
  light(region);
  parts.regionList.querySelector(".lit")?.scrollIntoView({ block: "nearest" });
}

const shownOrder = () => {
  const order = view.shown.filter((row) => !row.error);
  return order.includes(stage.row) ? order : good;
};

function step(by) {
  const order = shownOrder();
  const row = order[order.indexOf(stage.row) + by];
  if (row) location.replace(`#${row.url}`);
  else toast(by > 0 ? "That was the last image" : "This is the first image");
}

const KEYS = {
  ArrowRight: () => step(1), ArrowLeft: () => step(-1),
  "+": () => fly(zoomed(1.5)), "=": () => fly(zoomed(1.5)), "-": () => fly(zoomed(1 / 1.5)),
  0: () => fly(fitView()), z: () => fly({ scale: 1 / devicePixelRatio }),
  m: toggleLines, p: nextPixels, i: togglePanel, f: toggleFullscreen,
  r: () => nextRegion(1), R: () => nextRegion(-1),
  ",": () => moveWipe(stage.wipe - 0.05), ".": () => moveWipe(stage.wipe + 0.05),
  x: () => { [stage.left, stage.right] = [stage.right, stage.left]; markTabs(); buildPanes(); },
  " ": () => flicker(true), b: () => flicker(true),
};
for (const { value, key } of MODES) KEYS[key] = () => setMode(stage.mode === value ? "single" : value);
const PANS = { ArrowRight: [1, 0], ArrowLeft: [-1, 0], ArrowDown: [0, 1], ArrowUp: [0, -1] };

function viewerKey(event) {
  if (event.ctrlKey || event.metaKey || event.altKey || event.target.closest("select, input")) return;
  if (event.key === " " && event.target.closest("button, a")) return;
  const digit = /^Digit([1-9])$/.exec(event.code);
  let act = KEYS[event.key];
  if (digit) act = () => chooseView(stage.views.layers[digit[1] - 1]?.name, event.shiftKey ? "left" : "right");
  if (event.shiftKey && PANS[event.key]) {
    const [right, down] = PANS[event.key];
    act = () => fly(panned(right * scene.paneWidth / 4, down * scene.paneHeight / 4));
  }
  if (!act || (!stage.views && !event.key.startsWith("Arrow"))) return;
  event.preventDefault();
  act();
}

function closed() {
  document.documentElement.classList.remove("viewing");
  document.title = document.querySelector("h1").textContent;
  leavePointer();
  const row = stage.row;
  stage.row = null;
  stage.flicker = false;
  if (location.hash) history.pushState(null, "", location.pathname + location.search);
  focusItem(view.shown.indexOf(row));
}

/** The address says what is open: pages can be linked, and the browser's way back works. */
function followAddress() {
  const part = location.hash.slice(1);
  if (!part) { if (viewer.open) viewer.close(); return; }
  let name = part;
  try { name = decodeURIComponent(part); } catch { /* not UTF-8: a row's own URL */ }
  const row = rowOfKey.get(name) ?? rows.find(({ url }) => url === part);
  if (row && !row.error) show(row);
  else toast(row ? row.error : `No image is named ${name}`);
}

const HELP = [
  ["← →", "previous and next image"], ["1 – 9", "choose the view; with Shift the one on the left"],
  ["w", "wipe between two views"], [", .", "move the wipe"], ["s", "side by side"], ["a", "all views"],
  ["x", "exchange left and right"], ["Space b", "blink to the other view while held"],
  ["+ − 0 z", "zoom in, out, fit, one to one"], ["Shift + arrows", "move the picture"],
  ["r R", "next and previous region"], ["m", "outlines"], ["p", "pixels or smoothed"], ["i", "figures and regions"],
  ["f", "full screen"], ["Esc", "back to all images"], ["/", "search"], ["t", "dark or light"],
  ["wheel, pinch", "zoom where the pointer is"], ["drag", "move"], ["double click", "fit or enlarge"],
];

addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey || event.target.closest?.("input:not([type=range]), select")) return;
  if (event.key === "?" && !byId("help").open) byId("help").showModal();
  else if (event.key === "t") toggleTheme();
  else if (event.key === "/" && !viewer.open) { event.preventDefault(); byId("search").select(); }
});

fillHeader();
fillToolbar();
startList();
buildViewer();
buildHelp(HELP);
document.querySelector(".skip").addEventListener("click", (event) => { event.preventDefault(); focusItem(0); });
addEventListener("hashchange", followAddress);
refresh();
followAddress();
