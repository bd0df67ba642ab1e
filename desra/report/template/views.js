// Which views are seen and how: tabs, modes, the two of a wipe, zoom, the page of keys.

const MODES = [
  { value: "single", title: "One view", icon: "single", key: "v" },
  { value: "wipe", title: "Wipe between two views (w)", icon: "wipe", key: "w" },
  { value: "side", title: "Side by side (s)", icon: "side", key: "s" },
  { value: "all", title: "All views (a)", icon: "all", key: "a" },
];
let selectMode = () => {};

function tool(name, title, onclick, pressed) {
  return make("button", { class: "icon", title, "aria-label": title, "aria-pressed": pressed, onclick }, icon(name));
}

/** Names of the two views to begin with: what the thumbnails show, and the view before it. */
function keepViews() {
  const { layers } = stage.views;
  const pictures = layers.filter((layer) => !layer.values);
  if (!layerNamed(stage.right)) stage.right = (pictures.at(-1) ?? layers[0]).name;
  if (!layerNamed(stage.left)) stage.left = (pictures.at(-2) ?? layers.at(-1)).name;
}

function chooser(side) {
  const select = make("select", {
    "aria-label": side === "left" ? "View on the left" : "View on the right",
    onchange: (event) => chooseView(event.target.value, side),
  }, ...stage.views.layers.map(({ name }) => make("option", { value: name, text: name })));
  select.value = stage[side];
  return make("div", { class: `tag ${side}` }, select);
}

/** A view's name over it where all are shown: a way to see it alone. */
const aloneButton = (layer) => make("div", { class: "tag left" }, make("button", {
  text: layer.name, title: "Show this view alone", onclick: () => { chooseView(layer.name, "right"); setMode("single"); },
}));

function fillTabs() {
  parts.tabs.replaceChildren(...stage.views.layers.map(({ name }, index) => make("button", {
    "data-view": name, title: index < 9 ? `${name} (${index + 1})` : name,
    onclick: (event) => chooseView(name, event.shiftKey ? "left" : "right"),
  }, make("kbd", { text: index + 1 }), make("span", { text: name }))));
  markTabs();
}

function markTabs() {
  const two = stage.mode === "wipe" || stage.mode === "side";
  for (const tab of parts.tabs.children) {
    const { view: name } = tab.dataset;
    const shown = stage.mode === "all" || name === stage.right || (two && name === stage.left);
    tab.setAttribute("aria-pressed", shown);
    if (shown && stage.mode !== "all") tab.scrollIntoView({ block: "nearest", inline: "nearest" });
    tab.dataset.place = two ? [name === stage.left && "left", name === stage.right && "right"].filter(Boolean).join(" ") : "";
  }
}

function chooseView(name, side) {
  if (!layerNamed(name)) return;
  const other = side === "left" ? "right" : "left";
  // The view that was there stays at hand: it is what Space flickers to, and what wipe compares with.
  if (stage[other] === name || (stage.mode === "single" && stage.right !== name)) stage[other] = stage[side];
  stage[side] = name;
  if (stage.mode === "all") { stage.mode = "single"; selectMode("single", true); }
  markTabs();
  buildPanes();
}

function setMode(mode) {
  stage.mode = mode;
  choices.set("mode", mode);
  selectMode(mode, true);
  if (!stage.views) return;
  markTabs();
  buildPanes();
}

function flicker(on) {
  if (stage.mode !== "single" || stage.flicker === on || !stage.views) return;
  stage.flicker = on;
  [stage.left, stage.right] = [stage.right, stage.left];
  markTabs();
  buildPanes();
}

function nextPixels() {
  stage.pixels = { auto: "always", always: "never", never: "auto" }[stage.pixels];
  const text = `Pixels: ${{ auto: "when large", always: "always", never: "smoothed" }[stage.pixels]}`;
  parts.pixelButton.title = `${text} (p)`;
  parts.pixelButton.setAttribute("aria-label", text);
  toast(text);
  if (stage.views) drawPanes();
}

/** Dragging in the small map moves the pictures. */
function listenToMinimap() {
  const travel = (event) => {
    if (event.buttons !== 1) return;
    const bounds = parts.minimap.getBoundingClientRect();
    look({ x: (event.clientX - bounds.left) / bounds.width * scene.width, y: (event.clientY - bounds.top) / bounds.height * scene.height });
  };
  parts.minimap.addEventListener("pointerdown", (event) => { parts.minimap.setPointerCapture(event.pointerId); travel(event); });
  parts.minimap.addEventListener("pointermove", travel);
}

const zoomButtons = () => [
  make("button", { text: "−", "aria-label": "Zoom out", onclick: () => fly(zoomed(1 / 1.5)) }), parts.zoom,
  make("button", { text: "+", "aria-label": "Zoom in", onclick: () => fly(zoomed(1.5)) }),
  make("button", { text: "Fit", title: "Fit (0)", onclick: () => fly(fitView()) }),
  make("button", { text: "1:1", title: "One pixel a pixel (z)", onclick: () => fly({ scale: 1 / devicePixelRatio }) }),
];

/** The page of keys: pairs of keys and what they do. */
function buildHelp(entries) {
  const help = byId("help");
  help.append(make("h2", { id: "help-title", text: "Keys and gestures" }),
    make("dl", {}, ...entries.map(([keys, text]) => make("div", {}, make("dt", {}, make("kbd", { text: keys })), make("dd", { text })))),
    make("form", { method: "dialog" }, make("button", { text: "Close" })));
  help.addEventListener("click", (event) => { if (event.target === help) help.close(); });
  byId("help-button").append(icon("help"));
  byId("help-button").addEventListener("click", () => help.showModal());
}
