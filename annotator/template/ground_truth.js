// Labelling versions beside the original: the page, its keys, and the start.

const workPath = ({ id, repeat }) => `sets/${id}/${repeat}`;
const layerSource = (layer) => `api/${layer.url}`;
const layerTitle = (layer) => (layer.name === "Original" ? "The original" : `Version ${layer.name}`);
const backdrop = () => null;
const overlay = () => make("div", { class: "over frame", "aria-hidden": "true" });
function leavePointer() { /* nothing follows the pointer */ }
function panesDrawn() { /* nothing is drawn over the pictures */ }

const NAMES = ["Positive", "Similar", "Negative"];
let chosen = 1; // the place of the version that keys label
let original = false; // whether the original is seen in all panes

/** Over each picture its letter, and what was said of it. */
function tagOf(_, layer) {
  const place = work.layers.indexOf(layer);
  if (place === 0) return make("div", { class: "tag left" }, make("span", { class: "letter origin", text: "Original" }));
  return make("div", { class: "tag left" },
    make("button", { class: "letter", text: layer.name, "data-place": place, onclick: () => choose(place) }),
    make("span", { class: "labels", role: "radiogroup", "aria-label": `Label of version ${layer.name}` }, ...NAMES.map((name, index) => make("button", {
      role: "radio", "data-label": name, "aria-checked": false, text: name, title: `${name} (${index + 1})`,
      onclick: () => { choose(place); label(name); },
    }))));
}

function panesBuilt() {
  [...parts.panes.children].forEach((pane, place) => {
    pane.dataset.place = place;
    pane.classList.toggle("chosen", place === chosen);
    const said = work.labels[place - 1];
    pane.dataset.said = said ?? "";
    for (const button of pane.querySelectorAll("[data-label]")) button.setAttribute("aria-checked", button.dataset.label === said);
  });
  const left = work.labels.filter((said) => !said).length;
  parts.done.disabled = left > 0;
  parts.left.textContent = left ? `${left} to label` : "All labelled";
  parts.undo.disabled = !work.undo;
  parts.redo.disabled = !work.redo;
}

function choose(place) {
  chosen = clamp(place, 1, work.layers.length - 1);
  panesBuilt();
}

function label(name) {
  if (!work) return;
  work.said.push([chosen, work.labels[chosen - 1]]);
  work.labels[chosen - 1] = name;
  work.version += 1;
  work.undo += 1;
  work.redo = 0;
  save(work, `${workPath(work)}/label`, { version: work.version, view: work.view, place: chosen, label: name });
  const next = work.labels.findIndex((said) => !said) + 1;
  choose(next > 0 ? next : chosen);
}

function turn(direction) {
  if (!work?.[direction]) { toast(`Nothing to ${direction}`); return; }
  work.version += 1;
  work[direction] -= 1;
  work[direction === "undo" ? "redo" : "undo"] += 1;
  save(work, `${workPath(work)}/${direction}`, { version: work.version });
  if (direction === "undo" && work.said.length) {
    const [place, before] = work.said.pop();
    work.labels[place - 1] = before;
    choose(place);
  } else openItem(work);
}

async function finish(status) {
  if (!work) return;
  if (status === "done" && work.labels.some((said) => !said)) {
    choose(work.labels.findIndex((said) => !said) + 1);
    toast("Not all versions have a label");
    return;
  }
  work.version += 1;
  save(work, `${workPath(work)}/end/${status}`, { version: work.version });
  session.count += status === "done" ? 1 : 0;
  parts.count.textContent = whole.format(session.count);
  await next();
}

async function prepare(payload) {
  if (!payload) return null;
  const target = { ...payload, said: [] };
  target.pictures = new Map(payload.layers.map((layer) => [layer.name, newPicture(layer, layerTitle(layer), payload)]));
  await Promise.all([...target.pictures.values()].map((image) => image.decode().catch(() => {})));
  return target;
}

function show(target) {
  enterWork(target);
  original = false;
  parts.body.classList.toggle("empty", !work);
  parts.message.hidden = Boolean(work);
  if (!work) {
    stage.views = null;
    parts.panes.replaceChildren();
    parts.left.textContent = "";
    parts.message.textContent = "Nothing is left in the queue. Thank you.";
    return;
  }
  stage.row = { key: work.key };
  stage.views = { layers: work.layers };
  stage.mode = "all";
  [scene.width, scene.height] = [work.width, work.height];
  pictures.clear();
  for (const [name, image] of work.pictures) pictures.set(name, image);
  const open = work.labels.findIndex((said) => !said) + 1;
  chosen = open || 1;
  camera.fitted = true;
  buildPanes();
  parts.minimap.firstChild.src = layerSource(work.layers[0]);
  secondsSince();
}

/** The original in the place of every version, while a key is held. */
function blink(on) {
  if (!work || original === on) return;
  original = on;
  const source = layerSource(work.layers[0]);
  [...parts.panes.children].forEach((pane, place) => {
    pane.querySelector("img").src = on ? source : layerSource(work.layers[place]);
    pane.classList.toggle("original", on);
  });
}

const across = () => Number(parts.panes.style.getPropertyValue("--across")) || 1;
const KEYS = {
  1: () => label("Positive"), 2: () => label("Similar"), 3: () => label("Negative"),
  p: () => label("Positive"), s: () => label("Similar"), n: () => label("Negative"),
  Enter: () => finish("done"), PageDown: () => finish("skipped"), PageUp: back,
  ArrowRight: () => choose(chosen + 1), ArrowLeft: () => choose(chosen - 1),
  ArrowDown: () => choose(chosen + across()), ArrowUp: () => choose(chosen - across()),
  " ": () => blink(true),
  "+": () => fly(zoomed(1.5)), "=": () => fly(zoomed(1.5)), "-": () => fly(zoomed(1 / 1.5)),
  0: () => fly(fitView()), z: () => fly({ scale: 1 / devicePixelRatio }), x: nextPixels,
};
const PANS = { ArrowRight: [1, 0], ArrowLeft: [-1, 0], ArrowDown: [0, 1], ArrowUp: [0, -1] };
const HELP = [
  ["1 2 3", "Positive, Similar, Negative (or p s n); the next version follows"], ["arrows", "choose a version"],
  ["Enter", "done, next set"], ["PgDn PgUp", "skip; back to the set before"], ["Space", "the original in all places, while held"],
  ["Ctrl+Z Ctrl+Y", "undo, redo"], ["+ − 0 z", "zoom in, out, fit, one to one"], ["Shift + arrows, drag", "move all pictures"],
  ["wheel, pinch", "zoom where the pointer is"], ["x", "pixels or smoothed"], ["t", "dark or light"],
];

function key(event) {
  if (document.querySelector("dialog[open]")) return;
  if ((event.ctrlKey || event.metaKey) && !event.altKey) {
    const turned = { z: event.shiftKey ? "redo" : "undo", Z: "redo", y: "redo" }[event.key];
    if (turned && work) { event.preventDefault(); turn(turned); }
    return;
  }
  if (event.key === "?") { byId("help").showModal(); return; }
  if (event.key === "t") { toggleTheme(); return; }
  if ((event.key === " " || event.key === "Enter") && event.target.closest?.("button")) return;
  if (!work && event.key !== "PageUp") return;
  let act = KEYS[event.key];
  if (event.shiftKey && PANS[event.key]) {
    const [right, down] = PANS[event.key];
    act = () => fly(panned(right * scene.paneWidth / 4, down * scene.paneHeight / 4));
  }
  if (!act) return;
  event.preventDefault();
  act();
}

function build() {
  Object.assign(ICONS, {
    undo: "M3 6.500h6.500a3.500 3.500 0 0 1 0 7H6M6 3 2.500 6.500 6 10", redo: "M13 6.500H6.500a3.500 3.500 0 0 0 0 7H10M10 3l3.500 3.500L10 10",
  });
  Object.assign(parts, {
    body: byId("viewer-body"),
    panes: make("div", { class: "panes", "aria-label": "Pictures", role: "group" }),
    minimap: make("div", { class: "minimap", hidden: true, "aria-hidden": "true" }, make("img", { alt: "" }), make("i")),
    message: make("p", { class: "message", role: "status", hidden: true }),
    zoom: make("output", { class: "zoom", "aria-label": "Zoom" }),
    saved: make("span", { class: "saved", role: "status", text: "Saved" }),
    left: make("span", { class: "position", role: "status" }), count: make("b", { text: "0" }),
    undo: tool("undo", "Undo (Ctrl+Z)", () => turn("undo")), redo: tool("redo", "Redo (Ctrl+Y)", () => turn("redo")),
    pixelButton: tool("pixels", "Pixels: when large (x)", nextPixels),
    done: make("button", { class: "primary", onclick: () => finish("done") }, "Done, next ", make("kbd", { text: "Enter" })),
  });
  byId("bar").append(make("div", { class: "what" }, make("h1", { text: "Is it better than the original?" }), parts.left), make("span", { class: "spring" }),
    parts.undo, parts.redo, parts.pixelButton, make("span", { class: "divider" }),
    make("div", { class: "ends inline" }, make("button", { onclick: back }, "Back"), make("button", { onclick: () => finish("skipped") }, "Skip"), parts.done));
  byId("middle").classList.add("alone");
  byId("middle").append(make("div", { class: "area" }, parts.panes, parts.minimap, parts.message));
  byId("status").append(make("span", {}, parts.count, " done now"), make("span", { class: "spring" }), parts.saved, make("span", { class: "divider" }), make("span", { class: "who", text: session.name }), ...zoomButtons());
  listenToPointers(parts.panes);
  listenToMinimap();
  parts.panes.addEventListener("click", (event) => {
    const pane = event.target.closest(".pane");
    if (pane && work && pane.dataset.place !== "0" && !event.target.closest("button")) choose(Number(pane.dataset.place));
  });
  new ResizeObserver(() => measurePanes()).observe(parts.panes);
  addEventListener("keydown", key);
  addEventListener("keyup", (event) => { if (event.key === " ") blink(false); });
  addEventListener("blur", () => blink(false));
  buildHelp(HELP);
}

async function start() {
  await enter();
  session.count = 0;
  build();
  await next();
}
start().catch((error) => toast(error.message));
