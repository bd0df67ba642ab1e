"""Time and memory of detection beside a plain float64 NumPy/OpenCV/SciPy implementation.

    python benchmarks/detection.py [--threads 2] [--mse MSE_SR.png --gan GAN_SR.png]

Both sides get the same 8-bit images, in turn, and must give the same mask in every pixel; ratios
are of medians. Without images a pair is made: a photo-like picture of noise of all scales, and the
same with fine texture added all over and coarse texture in blobs. Other sizes are made of the
pair by mirroring it at its edges. The GPU is measured where there is one.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table

sys.path.insert(0, str(Path(__file__).parents[1]))

from desra.detectors import ArtifactDetector
from desra.images import read_rgb
from desra.semantics import texture_intervals
from tests.reference.plain_detection import plain_adjust, plain_distance, plain_mask

Pair = tuple[NDArray, NDArray]

PARTS = ("ratio", "labels", "scale", "memory", "gpu")


def main() -> None:
    """Measure the chosen parts and print a table of each."""
    arguments = _arguments()
    if arguments.threads:
        torch.set_num_threads(arguments.threads)
        cv2.setNumThreads(arguments.threads)
    if arguments.memory_of:
        print(json.dumps(_detect_once(arguments)))
        return
    console = Console()
    console.print(f"{torch.get_num_threads()} threads, torch {torch.__version__}")
    measure = {
        "ratio": lambda: _ratio(arguments, labelled=False),
        "labels": lambda: _ratio(arguments, labelled=True),
        "scale": lambda: _scale(arguments),
        "memory": lambda: _memory(arguments),
        "gpu": lambda: _gpu(arguments),
    }
    for part in arguments.parts:
        if part == "gpu" and not torch.cuda.is_available():
            console.print("no GPU here; the part 'gpu' is left out")
            continue
        console.print(measure[part]())


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--mse", type=Path, help="an MSE-SR image")
    parser.add_argument("--gan", type=Path, help="its GAN-SR image")
    parser.add_argument("--size", type=int, default=2048, help="side of the compared pair")
    parser.add_argument("--repeats", type=int, default=9)
    parser.add_argument("--threads", type=int, help="default: as PyTorch has them")
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=PARTS)
    parser.add_argument("--memory-of", type=int, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if bool(arguments.mse) != bool(arguments.gan):
        parser.error("--mse and --gan belong together")
    return arguments


def _pair(arguments: argparse.Namespace, side: int) -> Pair:
    """The pair at ``side × side`` pixels, ``(H, W, 3)`` uint8."""
    if arguments.mse:
        images = read_rgb(arguments.mse), read_rgb(arguments.gan)
    else:
        images = _make_pair(min(side, 2048))
    return _mirrored(images[0], side), _mirrored(images[1], side)


def _mirrored(image: NDArray, side: int) -> NDArray:
    height, width = image.shape[:2]
    rows, columns = (np.arange(side) % (2 * length) for length in (height, width))
    rows, columns = (
        np.minimum(rows, 2 * height - 1 - rows),
        np.minimum(columns, 2 * width - 1 - columns),
    )
    return image[rows[:, None], columns[None, :]]


def _make_pair(side: int) -> Pair:
    rng = np.random.default_rng(0)
    photo = np.full((side, side, 3), 128.0, np.float32)
    cells = 4
    while cells < side:  # each octave finer and weaker, as in photographs
        octave = rng.standard_normal((cells, cells, 3)).astype(np.float32)
        photo += cv2.resize(octave, (side, side), interpolation=cv2.INTER_CUBIC) * (80 / cells**0.5)
        cells *= 2
    blobs = cv2.GaussianBlur(rng.standard_normal((side, side)).astype(np.float32), (0, 0), 24)
    strength = 2 + 25 * (blobs > 1.8 * blobs.std())[..., None]
    texture = cv2.GaussianBlur(rng.standard_normal(photo.shape).astype(np.float32), (0, 0), 0.8)
    gan_sr = photo + strength * texture / texture.std()
    return tuple(x.round().clip(0, 255).astype(np.uint8) for x in (photo, gan_sr))  # type: ignore[return-value]


def _tensor(image: NDArray) -> torch.Tensor:
    """As detection gets it from a file: ``(1, 3, H, W)`` uint8, a view of the decoded pixels."""
    return torch.from_numpy(image).permute(2, 0, 1)[None]


def _labels(side: int) -> NDArray[np.uint8]:
    classes = np.random.default_rng(1).integers(0, 150, (12, 12)).astype(np.uint8)
    return np.repeat(np.repeat(classes, -(-side // 12), 0), -(-side // 12), 1)[:side, :side]


def _timed(call: Callable[[], Any]) -> tuple[float, Any]:
    start = time.perf_counter()
    result = call()
    return time.perf_counter() - start, result


def _ratio(arguments: argparse.Namespace, labelled: bool) -> Table:
    """Ours and plain in turn on one pair, stage by stage."""
    side = arguments.size
    mse_sr, gan_sr = _pair(arguments, side)
    labels = _labels(side) if labelled else None
    intervals = {row.index: row.interval for row in texture_intervals()} if labelled else {}
    detector, pair = ArtifactDetector(), (_tensor(mse_sr), _tensor(gan_sr))
    label_map = torch.from_numpy(labels)[None, None] if labels is not None else None
    detector(*pair, label_map)  # compiles
    times: dict[str, list[float]] = {}

    def record(name: str, call: Callable[[], Any]) -> Any:
        seconds, result = _timed(call)
        times.setdefault(name, []).append(seconds)
        return result

    for _ in range(arguments.repeats):
        distance = record("ours: distance", lambda: detector.distance(*pair))
        found = record("ours: the rest", partial(detector.from_distance, distance, label_map))
        plain = record("plain: distance", lambda: plain_distance(mse_sr, gan_sr))
        mask = record("plain: the rest", partial(_plain_rest, plain, labels, intervals))
        record("reading the bytes", lambda: (mse_sr.max(), gan_sr.max()))
        if not np.array_equal(found.mask[0, 0, 5:-5, 5:-5].numpy(), mask):
            raise SystemExit("the masks differ")
    ours, theirs = (
        median(map(sum, zip(times[f"{who}: distance"], times[f"{who}: the rest"], strict=True)))
        for who in ("ours", "plain")
    )
    title = f"{side}x{side}{' with labels' if labelled else ''}, {mask.mean():.1%} artifacts"
    table = Table("", "median ms", "least", "most", title=title, title_justify="left")
    for name, values in times.items():
        table.add_row(name, *(f"{1e3 * f(values):.1f}" for f in (median, min, max)))
    table.add_row("ours", f"{1e3 * ours:.1f}")
    table.add_row("plain", f"{1e3 * theirs:.1f}")
    table.add_row("plain / ours", f"{theirs / ours:.1f}x", end_section=True)
    table.add_row("ours / reading the bytes", f"{ours / median(times['reading the bytes']):.1f}x")
    return table


def _plain_rest(distance: NDArray, labels: NDArray | None, intervals: dict[int, int]) -> NDArray:
    if labels is not None:
        distance = plain_adjust(distance, labels[5:-5, 5:-5], intervals)
    return plain_mask(distance)


def _scale(arguments: argparse.Namespace) -> Table:
    """Cost per megapixel, from small to large."""
    detector = ArtifactDetector()
    table = Table("megapixels", "median ms", "ms per megapixel", title="cost", title_justify="left")
    for side in (512, 1024, 2048, 4096, 8192):
        pair = tuple(map(_tensor, _pair(arguments, side)))
        detector(*pair)
        repeats = max(3, arguments.repeats * 2048 // max(side, 2048))
        seconds = median(_timed(partial(detector, *pair))[0] for _ in range(repeats))
        megapixels = side**2 / 2**20
        table.add_row(
            f"{megapixels:g}", f"{1e3 * seconds:.1f}", f"{1e3 * seconds / megapixels:.2f}"
        )
    return table


def _memory(arguments: argparse.Namespace) -> Table:
    """Peak of a process that detects in one 8192×8192 pair."""
    command = [sys.executable, __file__, "--memory-of", "8192"]
    if arguments.threads:
        command += ["--threads", str(arguments.threads)]
    output = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    table = Table("", "GiB", title="resident memory of an 8192x8192 pair", title_justify="left")
    for name, value in json.loads(output).items():
        table.add_row(name, f"{value:.2f}")
    return table


def _detect_once(arguments: argparse.Namespace) -> dict[str, float]:
    detector = ArtifactDetector()
    small = [_tensor(image) for image in _make_pair(64)]
    detector(*small)  # compiles
    before = _peak()
    pair = [_tensor(image) for image in _pair(arguments, arguments.memory_of)]
    images = _peak()
    detector(*pair)
    return {"program": before, "with both images": images, "peak of detection": _peak()}


def _peak() -> float:
    """Largest resident set so far in GiB; Linux counts it in KiB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20


def _gpu(arguments: argparse.Namespace) -> Table:
    """A batch of 16 at 1024×1024 on the GPU, beside plain on the CPU."""
    whole = _pair(arguments, 4096)
    tiles = [slice(i * 1024, (i + 1) * 1024) for i in range(4)]
    pairs = [(whole[0][y, x], whole[1][y, x]) for y in tiles for x in tiles]
    batch = [torch.cat([_tensor(pair[i]) for pair in pairs]).cuda() for i in range(2)]
    detector = ArtifactDetector()

    def detect() -> torch.Tensor:
        mask = detector(*batch).mask
        torch.cuda.synchronize()
        return mask

    detect()
    ours, plain = [], []
    for _ in range(arguments.repeats):
        seconds, found = _timed(detect)
        ours.append(seconds)
        seconds, masks = _timed(lambda: [plain_mask(plain_distance(a, b)) for a, b in pairs])
        plain.append(seconds)
        if not np.array_equal(found[:, 0, 5:-5, 5:-5].cpu().numpy(), np.stack(masks)):
            raise SystemExit("the masks differ")
    name = torch.cuda.get_device_name()
    table = Table("", "median ms", title=f"16 of 1024x1024 on {name}", title_justify="left")
    table.add_row("ours", f"{1e3 * median(ours):.2f}")
    table.add_row("plain, on the CPU", f"{1e3 * median(plain):.0f}")
    table.add_row("plain / ours", f"{median(plain) / median(ours):.0f}x")
    return table


if __name__ == "__main__":
    main()
