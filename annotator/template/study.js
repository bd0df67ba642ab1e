// A study: one pair after the other; with keys, a mouse, or fingers.

const workPath = ({ id }) => `pairs/${id}`;
const layerSource = (layer) => `api/${layer.url}`;
const layerTitle = (layer) => `Picture ${layer.name}`;
const backdrop = () => null;
const overlay = () => make("div", { class: "over", "aria-hidden": "true" });
const tagOf = (place) => make("div", { class: "tag left" }, make("span", { class: "letter", text: place === "left" ? "1" : "2" }));
function leavePointer() { /* nothing follows the pointer */ }
function panesBuilt() { /* nothing is drawn over the pictures */ }
function panesDrawn() { /* nothing is drawn over the pictures */ }

const SHORTEST = 300; // ms: a second tap on the same place is no answer to the next pair
let shownAt = 0;

async function choose(choice) {
  if (!work || performance.now() - shownAt < SHORTEST) return;
  if (choice === "tie" && !session.tie) return;
  shownAt = performance.now();
  work.version += 1;
  save(work, `${workPath(work)}/answer`, { version: work.version, view: work.view, choice });
  await next();
}

async function prepare(payload) {
  if (!payload) return null;
  const target = { ...payload };
  target.pictures = new Map(payload.layers.map((layer) => [layer.name, newPicture(layer, layerTitle(layer), payload)]));
  await Promise.all([...target.pictures.values()].map((image) => image.decode().catch(() => {})));
  return target;
}

function show(target) {
  enterWork(target);
  parts.body.classList.toggle("empty", !work);
  parts.message.hidden = Boolean(work);
  for (const button of parts.choices.querySelectorAll("button")) button.disabled = !work;
  if (!work) {
    stage.views = null;
    parts.panes.replaceChildren();
    parts.question.textContent = "Thank you.";
    parts.message.textContent = "That was all. Your answers are saved; you can close this page.";
    parts.progress.value = parts.progress.max;
    parts.position.textContent = "";
    return;
  }
  stage.row = { key: "pair" };
  stage.views = { layers: work.layers };
  stage.mode = "side";
  [stage.left, stage.right] = ["1", "2"];
  [scene.width, scene.height] = [work.width, work.height];
  pictures.clear();
  for (const [name, image] of work.pictures) pictures.set(name, image);
  parts.question.textContent = work.question;
  parts.progress.value = work.number;
  parts.position.textContent = `${whole.format(Math.min(work.number + 1, session.trials))} of ${whole.format(session.trials)}`;
  camera.fitted = true;
  buildPanes();
  secondsSince();
  shownAt = performance.now();
}

const KEYS = {
  1: () => choose("left"), 2: () => choose("right"), ArrowLeft: () => choose("left"), ArrowRight: () => choose("right"),
  ArrowDown: () => choose("tie"), 0: () => choose("tie"), Backspace: back, PageUp: back,
  "+": () => fly(zoomed(1.5)), "=": () => fly(zoomed(1.5)), "-": () => fly(zoomed(1 / 1.5)), f: () => fly(fitView()),
};
const PANS = { ArrowRight: [1, 0], ArrowLeft: [-1, 0], ArrowDown: [0, 1], ArrowUp: [0, -1] };
function key(event) {
  if (document.querySelector("dialog[open]") || event.ctrlKey || event.metaKey || event.altKey) return;
  if (event.key === "?") { byId("help").showModal(); return; }
  if (event.key === "t") { toggleTheme(); return; }
  if (!work && event.key !== "Backspace" && event.key !== "PageUp") return;
  let act = KEYS[event.key];
  if (event.shiftKey && PANS[event.key]) {
    const [right, down] = PANS[event.key];
    act = () => fly(panned(right * scene.paneWidth / 4, down * scene.paneHeight / 4));
  }
  if (!act || event.repeat) return;
  event.preventDefault();
  act();
}

function build() {
  Object.assign(parts, {
    body: byId("viewer-body"),
    panes: make("div", { class: "panes", "aria-label": "Two pictures", role: "group" }),
    minimap: make("div", { class: "minimap", hidden: true, "aria-hidden": "true" }, make("img", { alt: "" }), make("i")),
    message: make("p", { class: "message", role: "status", hidden: true }),
    zoom: make("output", { class: "zoom", "aria-label": "Zoom" }),
    saved: make("span", { class: "saved", role: "status", text: "Saved" }),
    question: make("h1", { role: "status" }), position: make("span", { class: "position" }),
    progress: make("progress", { max: session.trials, value: 0, "aria-label": "Progress" }),
    choices: make("div", { class: "choices" },
      make("button", { class: "primary", "data-choice": "left", onclick: () => choose("left") }, "1"),
      session.tie ? make("button", { "data-choice": "tie", onclick: () => choose("tie") }, "No difference") : null,
      make("button", { class: "primary", "data-choice": "right", onclick: () => choose("right") }, "2")),
  });
  parts.body.classList.add("study");
  byId("bar").append(parts.question, make("span", { class: "spring" }), parts.position, parts.progress);
  byId("middle").classList.add("alone");
  byId("middle").append(make("div", { class: "area" }, parts.panes, parts.minimap, parts.message));
  byId("status").append(
    make("div", { class: "corner" }, make("button", { onclick: back, text: "Back" }), parts.saved), parts.choices,
    make("div", { class: "corner zooms" }, ...zoomButtons()));
  listenToPointers(parts.panes);
  new ResizeObserver(() => { if (stage.views) buildPanes(); }).observe(parts.panes);
  addEventListener("keydown", key);
  buildHelp([["1 ←", "the first picture"], ["2 →", "the second picture"], ...(session.tie ? [["0 ↓", "no difference"]] : []), ["Backspace", "back to the pair before"],
    ["+ − f", "zoom in, out, fit"], ["Shift + arrows, drag", "move both pictures"], ["wheel, pinch", "zoom where the pointer is"], ["t", "dark or light"]]);
}

/** What participants read first. */
function introduce() {
  if (!session.instructions) return Promise.resolve();
  const dialog = byId("enter");
  return new Promise((resolve) => {
    dialog.replaceChildren(make("h2", { id: "enter-title", text: "Before you begin" }), make("p", { text: session.instructions }),
      make("p", { text: `${plural(session.trials, "pair")}. Pinch, scroll or drag to look closer; both pictures move together.` }),
      make("form", { method: "dialog" }, make("button", { autofocus: true, text: "Begin" })));
    dialog.addEventListener("close", resolve, { once: true });
    dialog.showModal();
  });
}

async function start() {
  await enter();
  build();
  await introduce();
  await next();
}
start().catch((error) => toast(error.message));
