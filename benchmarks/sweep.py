"""What a sweep of ten thresholds costs beside one run, and how soon ``--help`` answers.

    python benchmarks/sweep.py [--images 12] [--side 1024] [--repeats 3] [--mse-root DIR …]

Whole processes as a user starts them, in turn, each into a new folder; ratio of medians. Without
folders, pairs are made: photo-like noise of all scales, and the same with coarse texture in blobs.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import median

import cv2
import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1]))

from desra.images import write_png

ROOT = Path(__file__).parents[1]
THRESHOLDS = "0.5,0.55,0.6,0.65,0.7,0.75,0.8,0.85,0.9,0.95"


def main() -> None:
    """Measure and print one line a metric."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--images", type=int, default=12)
    parser.add_argument("--side", type=int, default=1024)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--mse-root", type=Path)
    parser.add_argument("--gan-root", type=Path)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        roots = options.mse_root, options.gan_root
        if None in roots:
            roots = _make_pairs(Path(folder), options.images, options.side)
        _measure(Path(folder), [f"mse_root={roots[0]}", f"gan_root={roots[1]}"], options.repeats)


def _measure(folder: Path, roots: list[str], repeats: int) -> None:
    commands = {
        "help": ["--help"],
        "one run": [*roots, "detector.threshold=0.7"],
        "ten thresholds": ["-m", *roots, f"detector.threshold={THRESHOLDS}"],
    }
    seconds: dict[str, list[float]] = {name: [] for name in commands}
    for turn in range(repeats + 1):
        for name, arguments in commands.items():
            output = [] if name == "help" else [f"output_dir={folder / name / str(turn)}"]
            start = time.perf_counter()
            subprocess.run(
                [sys.executable, ROOT / "detect.py", *arguments, *output],
                check=True,
                capture_output=True,
            )
            if turn > 0:  # the first one compiles and fills caches
                seconds[name].append(time.perf_counter() - start)
    for name, values in seconds.items():
        print(f"{name:>15}: {median(values):6.2f} s  ({min(values):.2f} to {max(values):.2f})")
    ratio = median(seconds["ten thresholds"]) / median(seconds["one run"])
    print(f"{'ratio':>15}: {ratio:6.2f}  ten thresholds / one run")


def _make_pairs(folder: Path, count: int, side: int) -> tuple[Path, Path]:
    rng = np.random.default_rng(0)
    for index in range(count):
        mse_sr = np.full((side, side, 3), 128, np.float32)
        for cell in (4, 16, 64, 256):
            coarse = rng.normal(0, 24, (side // cell + 1, side // cell + 1, 3)).astype(np.float32)
            mse_sr += cv2.resize(coarse, (side, side), interpolation=cv2.INTER_CUBIC)
        blobs = cv2.resize(rng.uniform(0, 1, (9, 9)).astype(np.float32), (side, side)) > 0.75
        texture = cv2.GaussianBlur(rng.normal(0, 60, (side, side)).astype(np.float32), (0, 0), 1)
        for name, image in {
            "MSE-SR": mse_sr,
            "GAN-SR": mse_sr + (texture * blobs)[..., None],
        }.items():
            write_png(folder / name / f"{index:03d}.png", image.clip(0, 255).astype("uint8"))
    return folder / "MSE-SR", folder / "GAN-SR"


if __name__ == "__main__":
    main()
