// The panes of a viewer: pictures beside or over each other, the wipe, the map of what is in sight.
// A page that loads this says where its pictures are (`layerSource`, `layerTitle`, `backdrop`), what
// lies over them (`overlay`, `tagOf`), and is told when panes are made and moved (`panesBuilt`,
// `panesDrawn`, `leavePointer`).

const stage = {
  row: null, views: null,
  mode: choices.get("mode", "single"), // single, wipe, side, all
  left: null, right: null, // names of layers; "right" is the one that single shows
  wipe: 0.5, flicker: false,
  pixels: "auto", // auto, always, never
};
const parts = {}; // elements of the viewer, filled by buildViewer
const pictures = new Map(); // layer name → img of the present row

const layerNamed = (name) => stage.views?.layers.find((layer) => layer.name === name);

function newPicture(layer, title, { width, height } = scene) {
  // Decoded at once when shown: two views are told apart by switching, which must not flash.
  const image = make("img", {
    src: layerSource(layer), alt: title, draggable: "false", decoding: "sync", width, height,
    onerror: () => toast(`${layer.name}: ${decodeURIComponent(layerSource(layer))} is missing`),
  });
  image.dataset.native = layer.width;
  return image;
}

function picture(layer) {
  const kept = pictures.get(layer.name);
  if (kept && !kept.parentNode) return kept;
  const image = newPicture(layer, layerTitle(layer));
  if (!kept) pictures.set(layer.name, image);
  return image;
}

/** A picture at the size of the largest layer, with the thumbnail behind it while it loads. */
function sheet(layer) {
  const inner = make("div", { class: "sheet" }, picture(layer));
  inner.style.width = `${scene.width}px`;
  inner.style.height = `${scene.height}px`;
  const back = layer.values ? null : backdrop();
  if (back) inner.style.backgroundImage = `url("${back.replace(/["\\]/g, encodeURIComponent)}")`;
  return make("div", { class: "clip", "data-layer": layer.name }, inner);
}

function pane(layers, ...tags) {
  return make("div", { class: "pane" }, ...layers.map(sheet), overlay(),
    make("div", { class: "ghost", "aria-hidden": "true" }), ...tags.filter(Boolean));
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
    wipe: () => [pane([left, right], tagOf("left"), tagOf("right"), wipeHandle())],
    side: () => [pane([left], tagOf("left")), pane([right], tagOf("right"))],
    all: () => layers.map((layer) => pane([layer], tagOf("left", layer))),
  }[stage.mode]();
  const shape = scene.width / scene.height;
  const room = parts.panes.clientWidth / Math.max(1, parts.panes.clientHeight);
  parts.panes.style.setProperty("--across", bestColumns(made.length, shape, room));
  parts.panes.className = `panes ${stage.mode}`;
  parts.panes.replaceChildren(...made);
  layers.forEach(picture); // the others load meanwhile, so that switching is instant
  panesBuilt();
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
  panesDrawn(left, top);
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
