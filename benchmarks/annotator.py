"""How quick the annotator's page is: the next image, brush strokes, a long queue.

    python benchmarks/annotator.py [--side 2048] [--images 10000] [--steps 20] [--different 24]

A real server, in a process of its own, and headless Chromium of 1400×900, driven by real keys and
mouse events; times are the page's own. Frames are counted by requestAnimationFrame; a key's time
ends with the paint of what it did (Event Timing, whose steps are 8 ms). There is no graphics card
in a headless browser: all painting is the processor's, too.
"""

from __future__ import annotations

import argparse
import os
import shutil
import sys
import tempfile
import time
from pathlib import Path
from statistics import median

import cv2
import numpy as np

# By file: other packages leave a package called tests in site-packages.
sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "annotator"))
sys.path.insert(0, str(Path(__file__).parents[1]))

from selenium.webdriver.common.actions.action_builder import ActionBuilder
from selenium.webdriver.common.actions.pointer_input import PointerInput
from selenium.webdriver.common.keys import Keys
from session import Browser, Server, browser

from desra.images import write_png

RECORD = """
window.keyTimes = []; window.tasks = [];
addEventListener('pointermove', () => { window.moves += 1; }, { capture: true });
addEventListener('keydown', (event) => {
  if (event.key !== 'Enter') return;
  const before = document.title, start = event.timeStamp;
  const look = () => {
    if (document.title === before) { requestAnimationFrame(look); return; }
    requestAnimationFrame(() => setTimeout(() => window.keyTimes.push(performance.now() - start)));
  };
  look();
}, { capture: true });
new PerformanceObserver((list) => {
  const keys = list.getEntries().filter((entry) => entry.name === 'keydown');
  window.tasks.push(...keys.map((entry) => entry.duration));
}).observe({ type: 'event', durationThreshold: 16 });
"""
FRAMES = """
window.frames_ = []; window.counting = true; window.moves = 0;
const step = (now) => {
  window.frames_.push(now);
  if (window.counting) requestAnimationFrame(step);
};
requestAnimationFrame(step);
"""
PICTURES = "[...document.querySelectorAll('.sheet img')].every(e => e.complete && e.naturalWidth)"


def main() -> None:
    """Measure, and print one line a figure."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--side", type=int, default=2048, help="of the images, pixels")
    parser.add_argument("--images", type=int, default=10000, help="in the queue")
    parser.add_argument("--different", type=int, default=24, help="of them, the others are copies")
    parser.add_argument("--steps", type=int, default=20, help="from image to image")
    parser.add_argument("--pause", type=float, default=1.5, help="seconds at each image")
    parser.add_argument("--order", default="name", help="task.order; uncertain is measured beside")
    parser.add_argument("--set", type=Path, help="where the images are, or are made and kept")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        root = options.set or Path(folder) / "set"
        if not root.exists():
            _make_set(root, options.side, options.images, options.different)
        shutil.rmtree(root / "annotations", ignore_errors=True)
        shutil.rmtree(root / "GT-Mask", ignore_errors=True)
        start = time.perf_counter()
        server = Server(root, f"task.order={options.order}").start()
        print(f"server: answers after {time.perf_counter() - start:.1f} s")
        try:
            with browser(Path(folder) / "profile") as page:
                _open(page, server)
                _next_images(page, options.steps, options.pause)
                _strokes(page, options.side)
                _queue(page, options.images)
        finally:
            server.kill()


def _make_set(root: Path, side: int, count: int, different: int) -> Path:
    """An artifact set with photo-like noise of all scales; copies are the same file once more."""
    random = np.random.default_rng(0)
    made: list[dict[str, Path]] = []
    for index in range(count):
        key = f"{index // 1000:02d}/{index:05d}"
        paths = {
            folder: root / folder / f"{key}.png"
            for folder in ("LR", "MSE-SR", "GAN-SR", "DeSRA-Mask")
        }
        for path in paths.values():
            path.parent.mkdir(parents=True, exist_ok=True)
        if index >= different:
            for folder, path in paths.items():
                os.link(made[index % different][folder], path)
            continue
        photo = np.zeros((side, side, 3), np.float32)
        for scale in (4, 16, 64, 256):
            noise = random.normal(0, 12 * scale**0.25, (side // scale + 1, side // scale + 1, 3))
            photo += cv2.resize(
                noise.astype(np.float32), (side, side), interpolation=cv2.INTER_CUBIC
            )
        mse = (photo + 128).clip(0, 255).astype(np.uint8)
        blobs = cv2.resize(
            random.normal(0, 1, (side // 96, side // 96)),
            (side, side),
            interpolation=cv2.INTER_CUBIC,
        )
        mask = blobs > 1.2
        gan = (mse + mask[..., None] * random.normal(0, 25, (side, side, 1))).clip(0, 255)
        small = cv2.resize(mse, None, fx=0.25, fy=0.25, interpolation=cv2.INTER_AREA)
        pixels = {"LR": small, "MSE-SR": mse, "GAN-SR": gan.astype(np.uint8), "DeSRA-Mask": mask}
        for name, path in paths.items():
            write_png(path, pixels[name])
        made.append(paths)
    return root


def _open(page: Browser, server: Server) -> None:
    page.open(server.url)
    start = time.perf_counter()
    page.enter("anna")
    page.wait("document.title.includes('–')")
    page.wait(PICTURES)
    print(f"first image: {1000 * (time.perf_counter() - start):.0f} ms after the name")
    page.run(RECORD)


def _next_images(page: Browser, steps: int, pause: float) -> None:
    for _ in range(steps):
        time.sleep(pause)
        page.keys(Keys.ENTER)
    time.sleep(pause)
    page.saved()
    times, tasks = page.run("return [window.keyTimes, window.tasks]")
    assert len(times) == steps
    within = sum(time <= 100 for time in times)
    print(f"next image: {_spread(times)} after the key, {within} of {steps} within 100 ms")
    print(f"  to the paint (Event Timing): {_spread(tasks)}" if tasks else "  all below 16 ms")
    print("  " + " ".join(f"{time:.0f}" for time in times))


def _strokes(page: Browser, side: int) -> None:
    """Strokes in all views, at fit and at 1:1, with a small and a large brush."""
    page.keys("b")
    for zoom, name in (("0", "fit"), ("z", "1:1")):
        for size in (24, 200):
            for mode, views in (("v", "one view"), ("s", "side by side")):
                page.run(
                    "document.activeElement?.blur();"
                    "const s = document.querySelector('.brush input');"
                    "s.value = arguments[0]; s.dispatchEvent(new Event('input'))",
                    size,
                )
                _mode(page, mode)
                page.keys(zoom)
                time.sleep(1)
                page.run(FRAMES)
                _stroke(page)
                times, moves = page.run(
                    "window.counting = false; return [window.frames_, window.moves]"
                )
                page.saved()
                _say_frames(f"brush of {size} px, {name}, {views} ({moves} moves)", times)


def _mode(page: Browser, key: str) -> None:
    title = {"v": "One view", "s": "Side by side"}[key]
    page.run(
        "[...document.querySelectorAll('[role=radio]')]"
        ".find(e => e.title.startsWith(arguments[0])).click()",
        title,
    )


def _stroke(page: Browser, seconds: float = 3.0, hertz: int = 125) -> None:
    """A curve through the first pane, a mouse event every 8 ms."""
    box = page.run(
        "const b = document.querySelector('.pane').getBoundingClientRect();"
        "return [b.left, b.top, b.width, b.height]"
    )
    count = int(seconds * hertz)
    turn = np.linspace(0, 4 * np.pi, count)
    xs = box[0] + box[2] * (0.5 + 0.4 * np.sin(turn))
    ys = box[1] + box[3] * (0.5 + 0.4 * np.sin(1.5 * turn))
    mouse = PointerInput("mouse", "mouse")
    chain = ActionBuilder(page.chrome, mouse=mouse, duration=1000 // hertz)
    chain.pointer_action.move_to_location(int(xs[0]), int(ys[0]))
    chain.pointer_action.pointer_down()
    for x, y in zip(xs, ys, strict=True):
        chain.pointer_action.move_to_location(int(x), int(y))
    chain.pointer_action.pointer_up()
    chain.perform()


def _queue(page: Browser, count: int) -> None:
    start = time.perf_counter()
    page.keys("q")
    page.wait("document.querySelectorAll('.queue .lines button').length > 5")
    print(f"queue of {count}: open {1000 * (time.perf_counter() - start):.0f} ms after the key")
    times = page.run(
        "const list = document.querySelector('.queue .scroll');"
        "const search = document.querySelector('.queue input'); const took = [];"
        "for (const text of ['0', '00', '001', '']) {"
        "  search.value = text; const start = performance.now();"
        "  search.dispatchEvent(new Event('input'));"
        "  list.clientHeight; took.push(performance.now() - start); }"
        "return took"
    )
    print(f"  search: {max(times):.1f} ms a letter at most")
    page.run(
        FRAMES + "const list = document.querySelector('.queue .scroll'); let at = 0;"
        "const roll = () => { at += 137; list.scrollTop = at;"
        "  if (window.counting) requestAnimationFrame(roll); }; roll();"
    )
    time.sleep(2)
    _say_frames("  scrolling", page.run("window.counting = false; return window.frames_"))
    page.keys(Keys.ESCAPE)


def _say_frames(name: str, times: list[float]) -> None:
    gaps = np.diff(times)
    rate = 1000 / gaps.mean()
    late = float((gaps > 1.5 * 1000 / 60).mean())
    print(
        f"{name}: {rate:.0f} frames/s, 99 % within {np.quantile(gaps, 0.99):.0f} ms, "
        f"longest {gaps.max():.0f} ms, {100 * late:.1f} % late"
    )


def _spread(values: list[float]) -> str:
    return f"median {median(values):.0f} ms, largest {max(values):.0f} ms"


if __name__ == "__main__":
    main()
