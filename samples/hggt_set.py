"""A miniature of human-guided ground truth: photos, enhanced versions, simulated annotators.

python -m samples.hggt_set WORK_DIR [--output-dir samples/hggt] [--sets-only]

See README.md beside this file.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from functools import partial
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from desra.errors import InputError
from desra.files import find_images
from desra.hggt_labels import ORIGINAL, Label, Tagging, write_tagging
from desra.images import read_rgb, write_png
from models.generators import ELAN, RCAN, write_generator
from samples.artifact_set import write_webp
from samples.make import run_command
from samples.photos import PHOTOS, collect_photos

Image = NDArray[np.uint8]

CROP = 80
"""Side of a set's pictures in pixels."""
CROPS: Mapping[str, int] = {
    "astronaut": 2,
    "brick": 1,
    "camera": 1,
    "chelsea": 1,
    "flower": 2,
    "rocket": 1,
    "coffee": 2,
    "china": 2,
    "grace_hopper": 2,
}
"""Sets of a photo; those of the photos of side ``test`` are held out."""
BLUR, NOISE = 0.8, 3.0
"""σ in pixels and in levels of what a simulated camera does to the halved photo: the original."""
QUALITY = 90
"""Of the WebP files."""


class Version(NamedTuple):
    """What makes one version.

    Attributes:
        network: untrained.
        blur: range of σ that it learns to undo, in pixels.
        gaussian: likewise of noise, in levels.
        poisson: likewise, as scale.
        learning_rate: Adam's.
    """

    network: Callable[[], RCAN | ELAN]
    blur: tuple[float, float]
    gaussian: tuple[float, float]
    poisson: tuple[float, float]
    learning_rate: float = 1e-3


_RCAN = partial(RCAN, features=16, groups=1, blocks=3, squeeze=4)
_ELAN = partial(ELAN, features=15, blocks=2)
VERSIONS: Mapping[str, Version] = {
    "RCAN_01": Version(_RCAN, (0.6, 1.0), (0.5, 6.5), (0.05, 0.45)),
    "RCAN_02": Version(_RCAN, (0.1, 0.5), (16.0, 28.0), (0.45, 0.9)),
    "ELAN_03": Version(_ELAN, (0.5, 0.9), (0.5, 6.5), (0.05, 0.45)),
    "ELAN_04": Version(_ELAN, (2.2, 3.0), (0.1, 1.0), (0.05, 0.1), 5e-3),
}
"""Two against what the camera does, one against far more noise, one against far more blur."""

ANNOTATORS: Mapping[str, float] = {"A": 0.0, "B": 0.2, "C": -0.2}
"""Each one's bias in dB."""
UNSURE = 0.3
"""σ in dB of what an annotator adds to each picture's gain."""
LEAST = 0.4
"""Gain in dB from which a version is better, and loss from which it is worse."""


def judge(gain: float) -> Label:
    """The rule of the simulated annotators, who know the true photo.

    Args:
        gain: how many dB of PSNR the version is nearer to the truth than the original, as an
            annotator sees it.

    >>> judge(1.0), judge(0.1), judge(-1.0)
    ('Positive', 'Similar', 'Negative')
    """
    if abs(gain) < LEAST:
        return "Similar"
    return "Positive" if gain > 0 else "Negative"


def near_identity(network: RCAN | ELAN) -> RCAN | ELAN:
    """The network, made to return its input: few iterations are then enough to enhance it."""
    first, last, weight = (
        (network.conv_first, network.conv_last, 1.0)
        if isinstance(network, RCAN)
        else (network.head[0], network.tail[0], 0.5)  # its trunk adds its input to itself
    )
    branches = ("conv_after_body.", "conv1.shift_conv.conv1x1.", "project_out.")
    with torch.no_grad():
        for name, parameter in network.named_parameters():
            if any(branch in name for branch in branches):
                parameter.zero_()
        for layer, value in ((first, 1.0), (last, weight)):
            assert isinstance(layer, nn.Conv2d)
            assert layer.bias is not None
            layer.bias.zero_()
            layer.weight[:3].zero_()
            layer.weight[:, :3].zero_()
            layer.weight[range(3), range(3), 1, 1] = value
        last.weight[:, 3:].zero_()
    return network


def train_networks(photos: Path, work: Path) -> list[Path]:
    """Train the four networks; their weights.

    Raises:
        InputError: a training failed.
    """
    found = []
    for name, version in VERSIONS.items():
        torch.manual_seed(0)
        write_generator(work / f"{name}_start.pth", near_identity(version.network()))
        run_command(
            "train.py",
            f"experiment=hggt_enhance_{name.replace('_', '').lower()}",
            f"data.root={photos}",
            *("data.hr_crop=64", "data.gt_crop=48", "data.batch_size=4", "data.pool_size=32"),
            *("data.group_size=4", "data.epoch_steps=100"),
            *("generator@model.generator=auto", f"generator_weights={work}/{name}_start.pth"),
            *("perceptual=l1", "model.low_frequency=null", "model.adversarial=null"),
            *("model.discriminator=null", "model.milestones=[300]"),
            f"model.learning_rate={version.learning_rate}",
            f"data.degradation.round.blur.sigma={_listed(version.blur)}",
            "data.degradation.round.blur.sizes=[7,9]",
            f"data.degradation.round.gaussian={_listed(version.gaussian)}",
            f"data.degradation.round.poisson={_listed(version.poisson)}",
            "data.degradation.round.resize.probabilities=[0,0,1]",
            *("iterations=400", "validate_every=400", "trainer=cpu", f"output_dir={work}/{name}"),
        )
        found.append(work / name / "weights" / f"{name}.pth")
    return found


def _listed(values: tuple[float, float]) -> str:
    return "[" + ",".join(map(str, values)) + "]"


def halve(photos: Path, output_dir: Path) -> None:
    """Write all photos in half their size, in which they are sharp and free of JPEG's blocks."""
    for key, (path, *_) in find_images(photos).items():
        pixels = read_rgb(path)
        size = pixels.shape[1] // 2, pixels.shape[0] // 2
        small = cv2.resize(pixels, size, interpolation=cv2.INTER_AREA)
        write_png(output_dir / f"{key}.png", small)


def write_crops(halved: Path, work: Path, seed: int = 0, candidates: int = 24) -> None:
    """Write the truth and the original of the sharpest of seeded crops, ``train`` and ``test``.

    Keys are the photo's name, the row and the column, as `prepare.py task=select` names patches.
    """
    for number, photo in enumerate(PHOTOS):
        pixels = read_rgb(halved / photo.side / f"{photo.name}.png")
        random = np.random.default_rng([seed, number])
        ends = pixels.shape[0] - CROP + 1, pixels.shape[1] - CROP + 1
        corners = [(int(random.integers(ends[0])), int(random.integers(ends[1])))
                   for _ in range(candidates)]  # fmt: skip
        kept: list[tuple[int, int]] = []
        for corner in sorted(corners, key=lambda corner: -_detail(_cut(pixels, corner))):
            apart = all(np.abs(np.subtract(corner, other)).max() >= CROP for other in kept)
            if apart and len(kept) < CROPS.get(photo.name, 0):
                kept.append(corner)
        for top, left in kept:
            truth, key = _cut(pixels, (top, left)), f"{photo.name}-{top}-{left}.png"
            seen = cv2.GaussianBlur(truth.astype(np.float32), (0, 0), BLUR)
            seen += random.normal(0, NOISE, seen.shape).astype(np.float32)
            side = "test" if photo.side == "test" else "train"
            write_png(work / side / "truth" / key, truth)
            write_png(work / side / "seen" / key, seen.round().clip(0, 255).astype(np.uint8))


def _cut(pixels: Image, corner: tuple[int, int]) -> Image:
    top, left = corner
    return np.ascontiguousarray(pixels[top : top + CROP, left : left + CROP])


def _detail(pixels: Image) -> float:
    grey = cv2.cvtColor(pixels, cv2.COLOR_RGB2GRAY)
    return float(np.abs(cv2.Laplacian(grey, cv2.CV_32F)).mean())


def annotate(images: Path, truth: Path, labels: Path, seed: int) -> None:
    """Write the labels of the simulated annotators for all sets under ``images``."""
    random = np.random.default_rng(seed)
    clock = datetime(2026, 1, 5, 9, 0, 0)
    for key in find_images(images / ORIGINAL):
        true = read_rgb(truth / f"{key}.png")
        original = cv2.PSNR(true, read_rgb(images / ORIGINAL / f"{key}.webp"))
        names = {version: f"{key}_{version}.webp" for version in ("01", "02", "03", "04")}
        gains = {
            version: cv2.PSNR(true, read_rgb(images / version / name)) - original
            for version, name in names.items()
        }
        for annotator, bias in ANNOTATORS.items():
            seen = {v: judge(gain + bias + random.normal(0, UNSURE)) for v, gain in gains.items()}
            seconds = int(random.integers(6, 25))
            shown = tuple(random.permutation(list(gains)).tolist())
            end = clock + timedelta(seconds=seconds)
            files = {ORIGINAL: f"{key}.webp", **names}
            said = Tagging(seen, files, clock, end, seconds, shown)
            write_tagging(labels / annotator / f"{key}.json", said)
            clock = end


def make_sets(weights: list[Path], work: Path, output_dir: Path) -> None:
    """Enhance the crops, label them, and ship them.

    Raises:
        InputError: a command failed.
    """
    for seed, side in enumerate(("train", "test")):
        run_command(
            "prepare.py",
            *("task=enhance", f"input={work}/{side}/seen", "tile=0", "precision=fp32"),
            f"weights=[{','.join(map(str, weights))}]",
            f"output_dir={work}/{side}/enhanced",
        )
        images = output_dir / side / "images"
        for key, (path, *_) in find_images(work / side / "enhanced").items():
            write_webp(images / f"{key}.webp", read_rgb(path), QUALITY)
        annotate(images, work / side / "truth", output_dir / side / "labels", seed)


def main() -> int:
    """Read the command line; 0 done, 2 a command failed."""
    parser = argparse.ArgumentParser(prog="python -m samples.hggt_set", description=__doc__)
    parser.add_argument("work", type=Path, help="gets photos, runs and networks")
    parser.add_argument("--output-dir", type=Path, default=Path(__file__).parent / "hggt")
    parser.add_argument("--sets-only", action="store_true", help="with the networks in WORK_DIR")
    given = parser.parse_args()
    work, output_dir = given.work.resolve(), given.output_dir.resolve()
    weights = [work / name / "weights" / f"{name}.pth" for name in VERSIONS]
    try:
        collect_photos(work / "photos")
        halve(work / "photos", work / "halved")
        write_crops(work / "halved", work)
        if not given.sets_only:
            weights = train_networks(work / "halved" / "train", work)
        make_sets(weights, work, output_dir)
    except InputError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
