"""False alarms without a segmenter, and what holds them back: on labelled images, and on photos.

    python -m benchmarks.false_alarms --intervals CAL/intervals.csv --real REAL [--labelled SET …]

``CAL`` is what ``task=calibrate segmenter=texture`` leaves, made on other images; ``REAL`` an
artifact set without labels (what ``detect.py`` leaves), of which the share of marked pixels is
given. Precision, recall and F1 are those of regions, IoU that of pixels. ``per image`` takes the
interval that 85 % of an image's own pixels reach for that of one class, by equation 8.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from datamodules.artifact_folders import ArtifactTuple, find_artifact_set
from desra.detectors import ArtifactDetector, Detector, Ensemble, SSIMDetector
from desra.errors import InputError
from desra.images import read_rgb
from desra.metrics.detection import OverlapScores, overlap_counts
from desra.rim import inside, read_mask_of
from desra.segmenters import Segmenter, TextureSegmenter
from desra.semantics import INTERVALS

SAMPLES = Path(__file__).resolve().parents[1] / "samples"
PERCENTILE = 0.85

Finder = Callable[[Tensor, Tensor], Tensor]


def finder(detector: Detector, segmenter: Segmenter | None = None) -> Finder:
    """Masks of a detector, with the labels of a segmenter if there is one."""

    def find(mse_sr: Tensor, gan_sr: Tensor) -> Tensor:
        labels = None if segmenter is None else segmenter(gan_sr, ["image"])
        return detector(mse_sr, gan_sr, labels).mask

    return find


def per_image(min_area: float) -> Finder:
    """Masks of the texture distance, each image held to what is usual in itself."""
    detector = ArtifactDetector(min_area=min_area)

    def find(mse_sr: Tensor, gan_sr: Tensor) -> Tensor:
        distance = detector.distance(mse_sr, gan_sr)
        usual = float(distance.flatten().quantile(1 - PERCENTILE))
        interval = min(int((1 - usual) * INTERVALS), INTERVALS - 1)
        share = 1 - interval / INTERVALS  # A · D < threshold, and A is the inverse of this
        return ArtifactDetector(share * detector.threshold, min_area)(mse_sr, gan_sr).mask

    return find


def finders(intervals: Path, min_area: float) -> dict[str, Finder]:
    """What is compared, by name."""
    area, texture = {"min_area": min_area}, TextureSegmenter()

    def desra(**settings: object) -> ArtifactDetector:
        return ArtifactDetector(**area, **settings)  # type: ignore[arg-type]

    def both(vote: str, **settings: object) -> Ensemble:
        members = {"desra": desra(**settings), "ssim": SSIMDetector(threshold=0.7, **area)}
        return Ensemble(members, vote, **area)  # type: ignore[arg-type]

    return {
        "`desra`": finder(desra()),
        "threshold 0.5": finder(desra(threshold=0.5)),
        "threshold 0.8": finder(desra(threshold=0.8)),
        "per image": per_image(min_area),
        "direction `rougher`": finder(desra(direction="rougher")),
        "`segmenter=texture`": finder(desra(intervals=intervals), texture),
        "… and threshold 0.8": finder(desra(intervals=intervals, threshold=0.8), texture),
        "… and `rougher`": finder(desra(intervals=intervals, direction="rougher"), texture),
        "`ensemble` with ssim (0.7), intersection": finder(both("intersection")),
        "`ensemble` with ssim (0.7), mean": finder(both("mean")),
        "… and `segmenter=texture`": finder(both("mean", intervals=intervals), texture),
    }


def labelled_scores(find: Finder, images: Sequence[ArtifactTuple]) -> dict[str, float]:
    """Scores against the labels."""
    scores = OverlapScores()
    for item in images:
        pair = _pair(item)
        path = item.paths["gt_mask"]
        gt_mask = read_mask_of(path, item.sr_size, 5, item.paths["gan_sr"])
        truth = torch.from_numpy(np.ascontiguousarray(gt_mask))[None, None]
        scores.update(overlap_counts(inside(find(*pair), 5), inside(truth, 5)))
    return {name: float(value) for name, value in scores.compute().items()}


def _pair(item: ArtifactTuple) -> list[Tensor]:
    pixels = [read_rgb(item.paths[role]).copy() for role in ("mse_sr", "gan_sr")]
    return [torch.from_numpy(image)[None].permute(0, 3, 1, 2) for image in pixels]


def main(arguments: Sequence[str] | None = None) -> int:
    """Print the table; 0 all well, 2 images that cannot be used."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--intervals", type=Path, required=True, help="of task=calibrate")
    parser.add_argument("--real", type=Path, required=True, help="an artifact set without labels")
    parser.add_argument("--labelled", type=Path, nargs="+", help="default: the sample's two sets")
    parser.add_argument("--min-area", type=float, default=600)
    given = parser.parse_args(arguments)
    try:
        found = finders(given.intervals, given.min_area)
        roots = given.labelled or [SAMPLES / "artifacts", SAMPLES / "test"]
        labelled = [item for root in roots for item in find_artifact_set(root).tuples]
        real = find_artifact_set(given.real).tuples
        heads = ("", "IoU", "precision", "recall", "F1", "marked of the photos")
        print(f"| {' | '.join(heads)} |", f"|{' --- |' * len(heads)}", sep="\n")
        for name, find in found.items():
            scores = labelled_scores(find, labelled)
            shares = [float(find(*_pair(item)).float().mean()) for item in real]
            cells = [scores[key] for key in ("iou", "precision", "recall", "f1")]
            cells.append(sum(shares) / len(shares))
            print(f"| {name} | {' | '.join(f'{100 * cell:.1f} %' for cell in cells)} |", flush=True)
    except InputError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
