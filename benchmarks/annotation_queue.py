"""How many labels a threshold, or finetuning, needs: the annotator's queues beside a random one.

    python benchmarks/annotation_queue.py [--roots DIR …] [--seeds 500] [--tolerance 0.01]
    python benchmarks/annotation_queue.py --finetune RUNS [--seeds 2]

A simulated annotator gives each image of an artifact set its label in `GT-Mask`. For each seed two
thirds of the images, drawn at random, are the queue and the rest is held out. After each label the
threshold and minimum area with the best mean IoU on what is labelled are chosen and scored on what
is held out; as good as with all is an IoU that stays within the tolerance of that of the whole
queue from there on. The orders are those of `task.order`; without folders, of the shipped sample.

With ``--finetune`` the sample's generator is finetuned, as the page's button does it but shortly,
on the first 1, 3 and 6 of the 12 training images of each order and on all, with their labels as
masks, and judged on `samples/test` by the detector, the true images and GAN-SR outside. Runs that
are in ``RUNS`` already are not run again.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from statistics import fmean
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

sys.path.insert(0, str(Path(__file__).parents[1]))

from benchmarks.finetuning_runs import Bench, run
from desra.detectors import ArtifactDetector, Detector, SSIMDetector
from desra.files import find_images, link_or_copy
from desra.images import read_rgb
from desra.labelme import find_gt_masks, read_gt_mask
from desra.metrics import BORDER
from desra.operating_points import Sweep, as_thresholds, sweep_thresholds
from desra.rim import full_size
from desra.uncertainty import disagreement, near_threshold

ROOT = Path(__file__).parents[1]
CUTOFFS = [step / 40 for step in range(1, 40)]
MIN_AREAS = (0, 100, 300, 600, 1000, 2000)
LABELLED = (1, 3, 6)
SHORT = (
    *("iterations=100", "validate_every=100", "data.gt_crop=96", "data.batch_size=2"),
    *("data.mask_source=labelled", "data.val_list=null", f"data.val_root={ROOT}/samples/test"),
    *("callbacks.artifact_detection.mode=off", "callbacks.artifact_validation.choice=null"),
)
"""A finetuning of half a minute, whose last state counts: `samples/test` chooses nothing."""


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
    parser.add_argument("--finetune", type=Path, help="folder for the runs; none: thresholds")
    parser.add_argument("--seeds", type=int, help="500, or 2 of --finetune")
    parser.add_argument("--tolerance", type=float, default=0.01, help="of IoU")
    parser.add_argument("--min-area", type=int, default=600, help="of the masks that order")
    options = parser.parse_args()
    detectors: dict[str, Detector] = {
        "desra": ArtifactDetector(min_area=options.min_area),
        "ssim": SSIMDetector(min_area=options.min_area),
    }
    if options.finetune:
        _finetune(options.finetune.resolve(), detectors, options.seeds or 2, options.min_area)
        return
    measured = _measure(options.roots, detectors)
    print("| detector | order | labels needed | fewer, more than random | IoU after 1, 3, 6, all |")
    print("| --- | --- | --- | --- | --- |")
    for name, one in measured.items():
        found = _simulate(one, options.seeds or 500, options.tolerance)
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


def _finetune(output: Path, detectors: Mapping[str, Detector], seeds: int, min_area: float) -> None:
    """Train on the first images of each order, and print how good it made the generator."""
    root = ROOT / "samples/artifacts"
    held_out = set((ROOT / "samples/val.txt").read_text().split())
    keys = np.array(list(find_gt_masks(root / "GT-Mask")))
    training = np.flatnonzero([key not in held_out for key in keys])
    priorities = _measure([root], detectors)["desra"].priorities
    orders = {
        "random": [np.random.default_rng(seed).permutation(training) for seed in range(seeds)],
        **{
            name: [training[np.argsort(-priorities[name][training], kind="stable")]]
            for name in ("uncertain", "disagreement")
        },
    }
    bench = Bench(ROOT / "samples/test", min_area)
    everything = _figures(output, keys[training], bench)
    print(f"| order | {' | '.join(map(str, LABELLED))} | {len(training)} |")
    print("| --- " * (len(LABELLED) + 2) + "|")
    for name, drawn in orders.items():
        cells = [
            [_figures(output, keys[order[:count]], bench) for order in drawn] for count in LABELLED
        ]
        print(f"| {name} | {' | '.join(map(_cell, [*cells, [everything]]))} |", flush=True)


def _figures(output: Path, keys: Iterable[str], bench: Bench) -> Mapping[str, float]:
    """The last state of a run on some of the sample's images."""
    folder = output / "_".join(sorted(keys))
    for role in ("LR", "MSE-SR", "GAN-SR", "GT-Mask"):
        images = find_images(ROOT / "samples/artifacts" / role)
        for key in keys:
            link_or_copy(images[key][0], folder / "set" / role / images[key][0].name)
    found = run(folder / "run", [f"data.root={folder / 'set'}", *SHORT], bench)
    return list(found["states"].values())[-1]


def _cell(runs: Sequence[Mapping[str, float]]) -> str:
    """Share of the marked pixels that is gone, and PSNR to the truth inside and GAN-SR outside."""
    removed, inside, outside = (
        [figures[name] for figures in runs]
        for name in ("pixel_removal_rate", "truth/psnr_inside/finetuned", "psnr/outside")
    )
    shares = ", ".join(f"{share:.0%}" for share in removed)
    return f"{shares}; {fmean(inside):.1f}, {fmean(outside):.1f} dB"


if __name__ == "__main__":
    main()
