"""Cost of each detector per megapixel, relative to DeSRA's.

    python benchmarks/detectors.py [--threads 2] [--side 1024] [--detectors desra ldl ssim niqe]

Each detector makes a mask of the same made pair, in turn; times are medians. LPIPS and DISTS need
their backbones' weights, which are fetched on first use. A detector that cannot
be had is named and left out. The GPU is measured where there is one.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from statistics import median

import torch
from rich.console import Console
from rich.table import Table

sys.path.insert(0, str(Path(__file__).parents[1]))

from benchmarks.detection import _make_pair, _tensor
from desra.detectors import (
    ArtifactDetector,
    Detector,
    DISTSDetector,
    Ensemble,
    LDLDetector,
    LearnedDetector,
    LPIPSDetector,
    NIQEDetector,
    SSIMDetector,
)
from desra.errors import InputError

DETECTORS: Mapping[str, Callable[[], Detector]] = {
    "desra": ArtifactDetector,
    "desra, rougher": lambda: ArtifactDetector(direction="rougher"),
    "ldl": LDLDetector,
    "learned": LearnedDetector,
    "ssim": SSIMDetector,
    "niqe": NIQEDetector,
    "lpips": LPIPSDetector,
    "dists": DISTSDetector,
    "ensemble": lambda: Ensemble({"desra": ArtifactDetector(), "ssim": SSIMDetector()}),
}


def main() -> None:
    """Measure the chosen detectors and print a table of each device."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--side", type=int, default=1024, help="pixels a side of the pair")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--threads", type=int, help="default: as PyTorch has them")
    parser.add_argument("--detectors", nargs="+", choices=DETECTORS, default=list(DETECTORS))
    arguments = parser.parse_args()
    if arguments.threads:
        torch.set_num_threads(arguments.threads)
    console = Console()
    pair = [_tensor(image) for image in _make_pair(arguments.side)]
    for device in ["cpu", *(["cuda"] if torch.cuda.is_available() else [])]:
        on_device = [image.to(device) for image in pair]
        seconds = {}
        for name in arguments.detectors:
            try:
                detector = DETECTORS[name]().to(device)
                detector.prepare()
            except InputError as error:
                console.print(f"{name} is left out: {error}")
                continue
            seconds[name] = _measure(detector, on_device, arguments.repeats)
        megapixels = arguments.side**2 / 1e6
        console.print(_table(seconds, megapixels, f"{device}, {torch.get_num_threads()} threads"))


def _measure(detector: Detector, pair: list[torch.Tensor], repeats: int) -> float:
    """Median seconds of a detection."""
    times = []
    for _ in range(repeats + 1):  # the first one compiles
        start = time.perf_counter()
        detector(*pair).mask.any().item()  # waits for the device
        times.append(time.perf_counter() - start)
    return median(times[1:])


def _table(seconds: Mapping[str, float], megapixels: float, title: str) -> Table:
    table = Table("", "ms per megapixel", "relative to desra", title=title, title_justify="left")
    for name, value in seconds.items():
        relative = f"{value / seconds['desra']:.1f}x" if "desra" in seconds else ""
        table.add_row(name, f"{1e3 * value / megapixels:.1f}", relative)
    return table


if __name__ == "__main__":
    main()
