"""How many labels a detector's threshold needs: the annotator's queues beside a random one.

    python benchmarks/annotation_queue.py [--roots DIR …] [--seeds 500] [--tolerance 0.01]

A simulated annotator gives each image of an artifact set its label in `GT-Mask`. For each seed two
thirds of the images, drawn at random, are the queue and the rest is held out. After each label the
threshold and minimum area with the best mean IoU on what is labelled are chosen and scored on what
is held out; as good as with all is an IoU that stays within the tolerance of that of the whole
queue from there on. The orders are those of `task.order`; without folders, of the shipped sample.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

sys.path.insert(0, str(Path(__file__).parents[1]))

from desra.detectors import ArtifactDetector, Detector, SSIMDetector
from desra.files import find_images
from desra.images import read_rgb
from desra.labelme import find_gt_masks, read_gt_mask
from desra.metrics import BORDER
from desra.operating_points import Sweep, as_thresholds, sweep_thresholds
from desra.rim import full_size
from desra.uncertainty import disagreement, near_threshold

ROOT = Path(__file__).parents[1]
CUTOFFS = [step / 40 for step in range(1, 40)]
MIN_AREAS = (0, 100, 300, 600, 1000, 2000)


class Measured(NamedTuple):
    """What is known of the images for one detector.

    Attributes:
        ious: ``(images, settings)``; NaN where nothing is detected and nothing labelled.
        priorities: order to ``(images,)``, the largest first.
    """

    ious: NDArray[np.float64]
    priorities: Mapping[str, NDArray[np.float64]]


def main() -> None:
    """Measure, and print a table in Markdown."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    sample = [ROOT / "samples/artifacts", ROOT / "samples/test"]
    parser.add_argument("--roots", type=Path, nargs="+", default=sample)
    parser.add_argument("--seeds", type=int, default=500)
    parser.add_argument("--tolerance", type=float, default=0.01, help="of IoU")
    parser.add_argument("--min-area", type=int, default=600, help="of the masks that order")
    options = parser.parse_args()
    detectors: dict[str, Detector] = {
        "desra": ArtifactDetector(min_area=options.min_area),
        "ssim": SSIMDetector(min_area=options.min_area),
    }
    measured = _measure(options.roots, detectors)
    print("| detector | order | labels needed | fewer, more than random | IoU after 1, 3, 6, all |")
    print("| --- | --- | --- | --- | --- |")
    for name, one in measured.items():
        found = _simulate(one, options.seeds, options.tolerance)
        random, _ = found["random"]
        for order, (needed, scores) in found.items():
            low, middle, high = np.quantile(needed, (0.05, 0.5, 0.95))
            beside = f"{np.mean(needed < random):.0%}, {np.mean(needed > random):.0%}"
            after = [f"{scores[:, n].mean():.3f} ± {scores[:, n].std():.3f}" for n in (0, 2, 5, -1)]
            print(
                f"| {name} | {order} | {needed.mean():.1f} ± {needed.std():.1f}, median "
                f"{middle:.0f} ({low:.0f}–{high:.0f}) of {scores.shape[1]} | "
                f"{'–' if order == 'random' else beside} | {', '.join(after)} |"
            )


def _measure(roots: list[Path], detectors: Mapping[str, Detector]) -> dict[str, Measured]:
    sweeps = {
        name: Sweep(as_thresholds(detector, CUTOFFS), MIN_AREAS)
        for name, detector in detectors.items()
    }
    near: dict[str, list[float]] = {name: [] for name in detectors}
    share: dict[str, list[float]] = {name: [] for name in detectors}
    apart: list[float] = []
    for root in roots:
        folders = [find_images(root / name) for name in ("MSE-SR", "GAN-SR")]
        for key, labels in find_gt_masks(root / "GT-Mask").items():
            pair = [
                torch.from_numpy(read_rgb(folder[key][0]).copy()).permute(2, 0, 1)[None]
                for folder in folders
            ]
            size = pair[0].shape[2], pair[0].shape[3]
            gt_mask = torch.from_numpy(full_size(read_gt_mask(labels[0]), size, BORDER, key).copy())
            masks = []
            for name, detector in detectors.items():
                distance = detector.distance(*pair)
                sweep = sweeps[name]
                sweep.add(
                    sweep_thresholds(detector, distance, None, gt_mask, sweep.thresholds, BORDER)
                )
                found = detector.from_distance(distance, None)
                masks.append(found.mask[0, 0].numpy())
                near[name].append(near_threshold(found.adjusted[0, 0].numpy(), detector.cutoff))
                share[name].append(float(masks[-1].mean()))
            apart.append(disagreement(masks))
    return {
        name: Measured(
            sweep.ious.reshape(len(apart), -1),
            {
                "uncertain": np.array(near[name]),
                "disagreement": np.array(apart),
                "share": np.array(share[name]),
            },
        )
        for name, sweep in sweeps.items()
    }


def _simulate(
    measured: Measured, seeds: int, tolerance: float
) -> dict[str, tuple[NDArray[np.int64], NDArray[np.float64]]]:
    """By order: labels needed ``(seeds,)``, held-out IoU after each label ``(seeds, n)``."""
    count = len(measured.ious)
    size = round(2 * count / 3)
    needed: dict[str, list[int]] = {}
    scores: dict[str, list[NDArray[np.float64]]] = {}
    for seed in range(seeds):
        drawn = np.random.default_rng(seed).permutation(count)
        queue, held_out = drawn[:size], drawn[size:]
        orders = {"random": queue}
        for name, priority in measured.priorities.items():
            orders[name] = queue[np.argsort(-priority[queue], kind="stable")]
        for name, order in orders.items():
            curve = _curve(measured.ious, order, held_out)
            short = np.flatnonzero(curve < curve[-1] - tolerance)
            needed.setdefault(name, []).append(int(short[-1]) + 2 if len(short) else 1)
            scores.setdefault(name, []).append(curve)
    return {name: (np.array(needed[name]), np.stack(scores[name])) for name in needed}


def _curve(
    ious: NDArray[np.float64], order: NDArray[np.int64], held_out: NDArray[np.int64]
) -> NDArray[np.float64]:
    """Held-out mean IoU of the setting chosen on the first 1, 2, … images of an order."""
    known = ~np.isnan(ious[order])
    sums = np.cumsum(np.where(known, ious[order], 0), 0)
    means = sums / np.maximum(np.cumsum(known, 0), 1)
    best = means >= means.max(1, keepdims=True) - 1e-12
    # Of equally good settings that in the middle.
    chosen = [int(np.flatnonzero(row)[row.sum() // 2]) for row in best]
    there = ~np.isnan(ious[held_out])
    score = np.where(there, ious[held_out], 0).sum(0) / np.maximum(there.sum(0), 1)
    return score[chosen]


if __name__ == "__main__":
    main()
