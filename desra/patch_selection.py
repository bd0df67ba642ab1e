"""Patches of photos that are worth showing to people, as HGGT selects them (CVPR 2023)."""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from desra.errors import InputError

Pixels = NDArray[np.uint8]


@dataclass(frozen=True)
class PatchRule:
    """Where patches lie and which of them are kept; defaults as released.

    Attributes:
        crop: side of a patch in pixels.
        step: from one row or column of positions to the next; less than ``crop``: they overlap.
        jitter: largest shift of each position, on each axis.
        least_deviation: of grey, on the scale 0–255, that some version must have.
        least_laplacian: variance of the Laplacian that the same version must have.
        difference: how the distance of a version from the original is measured: ``"mean"`` is the
            release's absolute value of the mean difference, in which what is brighter and what is
            darker cancel; ``"absolute"`` is the mean absolute difference.
        least_difference: patches whose largest distance is smaller are left out. The release keeps
            all and leaves to people to throw out sets with hardly any enhancement.

    Raises:
        InputError: a setting out of its range.
    """

    crop: int = 512
    step: int = 288
    jitter: int = 16
    least_deviation: float = 30.0
    least_laplacian: float = 30.0
    difference: Literal["mean", "absolute"] = "mean"
    least_difference: float = 0.0

    def __post_init__(self) -> None:
        for name, least in (("crop", 3), ("step", 1), ("jitter", 0)):
            if getattr(self, name) < least:
                raise InputError(f"{name}={getattr(self, name)}: give at least {least}")
        for name in ("least_deviation", "least_laplacian", "least_difference"):
            if getattr(self, name) < 0:
                raise InputError(f"{name}={getattr(self, name)}: give at least 0")
        if self.difference not in ("mean", "absolute"):
            raise InputError(f"difference={self.difference}: give mean or absolute")

    @property
    def settings(self) -> dict[str, Any]:
        """JSON-able."""
        return asdict(self)

    def positions(self, height: int, width: int, seed: str) -> Iterator[tuple[int, int]]:
        """Row and column of each patch that lies in an image, in the order of the release.

        Args:
            height: of the image.
            width: of the image.
            seed: of the offset of rows and columns and of every position's shift.

        Example:
            >>> places = list(PatchRule().positions(600, 900, "0/photo"))
            >>> all(0 <= row <= 600 - 512 and 0 <= column <= 900 - 512 for row, column in places)
            True
        """
        draws = random.Random(seed)
        rows = range(draws.randint(0, largest_offset(height)), height, self.step)
        columns = range(draws.randint(0, largest_offset(width)), width, self.step)
        for row in rows:
            for column in columns:
                shifts = [draws.randint(-self.jitter, self.jitter) for _ in range(2)]
                top, left = max(row + shifts[0], 0), max(column + shifts[1], 0)
                if top + self.crop <= height and left + self.crop <= width:
                    yield top, left

    def is_textured(self, patch: Pixels) -> bool:
        """Whether an ``(H, W, 3)`` RGB patch has enough contrast and detail.

        Grey as Pillow makes it; the Laplacian is that of four neighbours, and its negative values
        count as 0, as in the release.
        """
        grey = np.array(Image.fromarray(patch).convert("L"))
        if grey.std(dtype=np.float64) < self.least_deviation:
            return False
        return bool(cv2.Laplacian(grey, cv2.CV_8U).var() >= self.least_laplacian)

    def distance(self, original: Pixels, version: Pixels) -> float:
        """Between two patches, on the scale 0–255; see ``difference``.

        >>> stripes = np.zeros((4, 4, 3), np.uint8)
        >>> stripes[::2] = 10
        >>> flipped = stripes[::-1]
        >>> PatchRule().distance(stripes, flipped)
        0.0
        >>> PatchRule(difference="absolute").distance(stripes, flipped)
        10.0
        """
        difference = original.astype(np.float32) - version.astype(np.float32)
        if self.difference == "absolute":
            np.abs(difference, out=difference)
        return float(abs(difference.mean()))

    def select(
        self, original: Pixels, versions: Mapping[str, Pixels], seed: str
    ) -> list[tuple[int, int, float]]:
        """Patches of one set, the most enhanced first, ties by the later position.

        A patch is kept if any of the pictures `is_textured` there.

        Args:
            original: ``(H, W, 3)`` RGB.
            versions: name to the enhanced picture, of the same size.
            seed: see `positions`.

        Returns:
            row, column, and the largest `distance` of a version.
        """
        found: list[tuple[float, int, int, int]] = []
        height, width, _ = original.shape
        for top, left in self.positions(height, width, seed):
            window = slice(top, top + self.crop), slice(left, left + self.crop)
            patches = [np.ascontiguousarray(each[window]) for each in versions.values()]
            source = np.ascontiguousarray(original[window])
            if not any(self.is_textured(patch) for patch in (source, *patches)):
                continue
            farthest = max(self.distance(source, patch) for patch in patches)
            if farthest >= self.least_difference:
                found.append((farthest, len(found), top, left))
        return [(top, left, farthest) for farthest, _, top, left in sorted(found, reverse=True)]


def largest_offset(side: int) -> int:
    """Up to which pixel the first row or column may begin, by the length of that side.

    >>> [largest_offset(side) for side in (1199, 1200, 2400)]
    [32, 64, 128]
    """
    return 128 if side >= 2400 else 64 if side >= 1200 else 32
