// Where the panes look: one camera for all of them, so that zoom and pan are always in step.

const camera = { scale: 1, x: 0, y: 0, fitted: true }; // screen pixels a pixel; centre in pixels
const scene = { width: 1, height: 1, paneWidth: 1, paneHeight: 1 };
const LARGEST_SCALE = 64;
let flight = 0;

const fitScale = () => Math.min(scene.paneWidth / scene.width, scene.paneHeight / scene.height) || 1;
const fitView = () => ({ scale: fitScale(), x: scene.width / 2, y: scene.height / 2, fitted: true });

/** Set the camera, within the picture and the limits of zoom, and draw. */
function look({ scale = camera.scale, x = camera.x, y = camera.y, fitted = false }) {
  camera.scale = clamp(scale, Math.min(fitScale(), 1), LARGEST_SCALE);
  camera.x = clamp(x, 0, scene.width);
  camera.y = clamp(y, 0, scene.height);
  camera.fitted = fitted;
  drawPanes();
}

/** Move there smoothly, at once for those who asked their system for less motion. */
function fly(target, milliseconds = 200) {
  cancelAnimationFrame(flight);
  const from = { ...camera };
  const to = { ...from, fitted: false, ...target };
  if (calm.matches || document.hidden) return look(to);
  const start = performance.now();
  const step = (now) => {
    const time = clamp((now - start) / milliseconds, 0, 1);
    const ease = 1 - (1 - time) ** 3;
    if (time === 1) return look(to);
    const scale = from.scale * (to.scale / from.scale) ** ease;
    // With the zoom geometric, the centre has to follow 1/scale for the flight to be straight.
    const share = from.scale === to.scale ? ease : (1 / scale - 1 / from.scale) / (1 / to.scale - 1 / from.scale);
    look({ scale, x: from.x + (to.x - from.x) * share, y: from.y + (to.y - from.y) * share });
    flight = requestAnimationFrame(step);
  };
  flight = requestAnimationFrame(step);
}

/** The camera after a zoom that keeps a point of the pane (from its centre) on its pixel. */
function zoomed(factor, fromX = 0, fromY = 0) {
  const scale = clamp(camera.scale * factor, Math.min(fitScale(), 1), LARGEST_SCALE);
  const shift = 1 / camera.scale - 1 / scale;
  return { scale, x: camera.x + fromX * shift, y: camera.y + fromY * shift };
}

const panned = (right, down) => ({ x: camera.x + right / camera.scale, y: camera.y + down / camera.scale });

function boxView([left, top, width, height]) {
  const room = 0.45 * Math.min(scene.paneWidth / width, scene.paneHeight / height);
  return { scale: clamp(room, Math.min(fitScale() * 1.5, 8), 8), x: left + width / 2, y: top + height / 2 };
}

/** Place in the picture under a pointer event over a pane. */
function placeUnder(event, pane) {
  const bounds = pane.getBoundingClientRect();
  return {
    x: camera.x + (event.clientX - bounds.left - bounds.width / 2) / camera.scale,
    y: camera.y + (event.clientY - bounds.top - bounds.height / 2) / camera.scale,
  };
}

/** The pane under a pointer event, also while another element has captured the pointer. */
function paneUnder(event) {
  return event.target.closest?.(".pane") ?? document.elementFromPoint(event.clientX, event.clientY)?.closest(".pane") ?? null;
}

/** Wheel, drag (also with the middle button), pinch and double click over the panes. */
function listenToPointers(area) {
  const pointers = new Map();
  const fromCentre = (x, y, pane) => {
    const bounds = pane.getBoundingClientRect();
    return [x - bounds.left - bounds.width / 2, y - bounds.top - bounds.height / 2];
  };
  area.addEventListener("wheel", (event) => {
    const pane = paneUnder(event);
    if (!pane) return;
    event.preventDefault();
    cancelAnimationFrame(flight);
    const lines = event.deltaMode === 1 ? 33 : event.deltaMode === 2 ? 400 : 1;
    // A pinch on a touchpad arrives as a wheel with the control key and small steps.
    const strength = event.ctrlKey ? 0.01 : 0.0018;
    look(zoomed(Math.exp(-event.deltaY * lines * strength), ...fromCentre(event.clientX, event.clientY, pane)));
  }, { passive: false });
  area.addEventListener("pointerdown", (event) => {
    const pane = paneUnder(event);
    if (!pane || event.button > 1 || event.target.closest("button, select, a, [role=slider]")) return;
    cancelAnimationFrame(flight);
    area.setPointerCapture(event.pointerId);
    pointers.set(event.pointerId, { x: event.clientX, y: event.clientY, pane });
    area.classList.add("dragging");
  });
  area.addEventListener("pointermove", (event) => {
    const old = pointers.get(event.pointerId);
    if (!old) return;
    const now = { ...old, x: event.clientX, y: event.clientY };
    if (pointers.size === 1) {
      look(panned(old.x - now.x, old.y - now.y));
    } else if (pointers.size === 2) {
      const [other] = [...pointers].filter(([id]) => id !== event.pointerId).map(([, pointer]) => pointer);
      const spread = (pointer) => Math.hypot(pointer.x - other.x, pointer.y - other.y) || 1;
      const middle = fromCentre((now.x + other.x) / 2, (now.y + other.y) / 2, old.pane);
      // Both fingers stay on their pixels: the middle moves along, then the zoom is around it.
      look(panned((old.x - now.x) / 2, (old.y - now.y) / 2));
      look(zoomed(spread(now) / spread(old), ...middle));
    }
    pointers.set(event.pointerId, now);
  });
  const release = (event) => {
    pointers.delete(event.pointerId);
    if (!pointers.size) area.classList.remove("dragging");
  };
  area.addEventListener("pointerup", release);
  area.addEventListener("pointercancel", release);
  area.addEventListener("dblclick", (event) => {
    const pane = paneUnder(event);
    if (!pane || event.target.closest("button, select, a, [role=slider]")) return;
    if (!camera.fitted) fly(fitView());
    else fly(zoomed(Math.max(1, fitScale() * 3) / camera.scale, ...fromCentre(event.clientX, event.clientY, pane)));
  });
}
