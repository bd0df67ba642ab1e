"""Labels of benchmark sets: regions from masks, boxes or heat maps, each with what viewers said."""

from __future__ import annotations

import gzip
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from desra.errors import InputError
from desra.labelme import read_gt_mask
from desra.region_scores import RegionScore, score_map
from desra.regions import label_regions
from desra.rim import full_size


@dataclass(frozen=True)
class LabelPart:
    """Where one or several artifacts of an image are.

    Attributes:
        path: mask image, LabelMe JSON, or heat map (``.npy``, ``.npy.gz``); None for a box.
        box: left, top, width, height in pixels.
        score: share of viewers who notice it; None where they were not asked.
        level: of a heat map, in [0, 1]: from it on there is an artifact.
        points: scores of the regions of a mask, each by one of its pixels.
    """

    path: Path | None = None
    box: tuple[int, int, int, int] | None = None
    score: float | None = None
    level: float = 0.5
    points: tuple[RegionScore, ...] = field(default=())


class Labels(NamedTuple):
    """The labels of one image.

    Attributes:
        mask: labelled artifacts, ``(H, W)`` bool.
        regions: ``(H, W)`` int32, the number of the artifact that has a score, 0 where none has.
        scores: of artifact 1, 2, …; shares of viewers in [0, 1].
    """

    mask: NDArray[np.bool_]
    regions: NDArray[np.int32]
    scores: list[float]

    def confirmed(self, level: float) -> NDArray[np.bool_]:
        """Artifacts whose score is at least ``level``, ``(H, W)`` bool."""
        passed = np.array([False, *(score >= level for score in self.scores)])
        return passed[self.regions]

    def inner(self, rim: int) -> Labels:
        """Without a rim of so many pixels at each side."""
        height, width = self.mask.shape
        inside = (slice(rim, height - rim), slice(rim, width - rim))
        return Labels(self.mask[inside], self.regions[inside], self.scores)


def read_labels(parts: Sequence[LabelPart], height: int, width: int) -> Labels:
    """The labels of an image.

    Where artifacts overlap, the pixels are those of the one with the highest score.

    Args:
        parts: of the image; none where nothing is wrong with it.
        height: of the image.
        width: likewise.

    Raises:
        InputError: a label that cannot be read, is of another size, or a score on no region.

    Example:
        >>> box = LabelPart(box=(1, 0, 2, 1), score=0.8)
        >>> read_labels([box], 1, 4).confirmed(0.5).tolist()
        [[False, True, True, False]]
    """
    mask = np.zeros((height, width), bool)
    artifacts: list[tuple[float, NDArray[np.bool_]]] = []
    for part in parts:
        own = _read_part(part, height, width)
        mask |= own
        if part.score is not None:
            artifacts.append((part.score, own))
        elif part.points:
            artifacts += _scored_regions(own, part.points)
    artifacts.sort(key=lambda artifact: artifact[0])
    regions = np.zeros((height, width), np.int32)
    for number, (_, own) in enumerate(artifacts, 1):
        regions[own] = number
    return Labels(mask, regions, [score for score, _ in artifacts])


def _scored_regions(
    mask: NDArray[np.bool_], points: Sequence[RegionScore]
) -> list[tuple[float, NDArray[np.bool_]]]:
    scores = score_map(mask, points)
    labels, count = (part.numpy() for part in label_regions(torch.from_numpy(mask.copy())))
    found = []
    for number in range(1, int(count) + 1):
        region = labels == number
        score = scores[region][0]
        if not np.isnan(score):
            found.append((float(score), region))
    return found


def _read_part(part: LabelPart, height: int, width: int) -> NDArray[np.bool_]:
    if part.box is not None:
        left, top, across, down = part.box
        mask = np.zeros((height, width), bool)
        mask[max(top, 0) : max(top + down, 0), max(left, 0) : max(left + across, 0)] = True
        return mask
    assert part.path is not None
    if part.path.name.endswith((".npy", ".npy.gz")):
        mask = read_heat_map(part.path) >= part.level
    else:
        mask = read_gt_mask(part.path)
    return full_size(mask, (height, width), name=f"{part.path}: a label")


def read_heat_map(path: Path) -> NDArray[np.float64]:
    """A map of NumPy's, gzipped or not, ``(H, W)`` or ``(H, W, 1)``, in [0, 1].

    Raises:
        InputError: damaged, of another shape or range, or one that would have to run code.
    """
    try:
        with gzip.open(path, "rb") if path.suffix == ".gz" else path.open("rb") as file:
            values = np.lib.format.read_array(file, allow_pickle=False)
    except (OSError, EOFError, ValueError) as error:
        raise InputError(f"{path}: damaged ({error}); fetch it again") from error
    if values.ndim == 3 and values.shape[2] == 1:
        values = values[..., 0]
    numbers = values.dtype.kind in "fiub"
    if values.ndim != 2 or not numbers or not (np.isfinite(values).all() and values.size):
        raise InputError(f"{path}: {values.shape} {values.dtype}; give a finite map (H, W)")
    if values.min() < 0 or values.max() > 1:
        raise InputError(f"{path}: from {values.min():g} to {values.max():g}; give one in [0, 1]")
    return values.astype(np.float64)
