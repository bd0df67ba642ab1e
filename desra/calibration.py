"""Calibration of the texture intervals of classes, for any pair of models.

The constants of the DeSRA release (Xie et al., ICML 2023, equation 8) belong to its models and its
training images; only the table was released. The rule is: split [0, 1] into 20 intervals and find,
for each semantic class, the interval by which 85 % of the class's pixels have their texture
distance D, going down from D = 1. A_k = 20 / (20 − n_k) then moves the lower ends of what is usual
for the classes to one place, and one threshold serves all.

What is kept of the images is a histogram for each class: memory does not grow with them, and as
the counts are integers, any split among batches and ranks gives the same table.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torchmetrics import Metric

from desra.errors import InputError
from desra.files import write_table
from desra.semantics import INTERVALS, MOST_INTERVALS, TextureInterval

LABELS = 256
"""Values that a label can have."""

FINEST = 1000
"""Bins of a histogram at least: D is known to a thousandth."""

PERCENTILE = 85.0
MIN_PIXELS = 20_000
"""Neighbouring distances share most of their window of 11×11 pixels: these are some 200 looks."""

TABLE_COLUMNS = (
    "index",
    "name",
    "interval",
    "intervals",
    "distance",
    "pixels",
    "images",
    "fallback",
)


@dataclass(frozen=True)
class ClassInterval(TextureInterval):
    """A row of the table with what it rests on.

    Attributes:
        distance: the D that the asked percentage of the class's pixels has or exceeds, to the width
            of a bin; None where the class was not seen.
        pixels: of the class.
        images: that show the class.
        fallback: whether there were too few pixels, so that ``interval`` is that of all pixels.
    """

    distance: float | None = None
    pixels: int = 0
    images: int = 0
    fallback: bool = False


def bins_for(intervals: int) -> int:
    """Bins of a histogram of which each interval gets the same number; at least `FINEST`.

    Example:
        >>> bins_for(20), bins_for(7)
        (1000, 1001)
    """
    return intervals * math.ceil(FINEST / intervals)


def check_rule(percentile: float, intervals: int, min_pixels: int) -> None:
    """Refuse settings of the rule that have no meaning.

    Raises:
        InputError: names the setting.
    """
    if not 0 < percentile <= 100:
        raise InputError(f"percentile={percentile}: give a percentage above 0 and at most 100")
    if not 1 <= intervals <= MOST_INTERVALS:
        raise InputError(f"intervals={intervals}: give an integer from 1 to {MOST_INTERVALS}")
    if min_pixels < 1:
        raise InputError(f"min_pixels={min_pixels}: give a number of pixels, at least 1")


def distance_histogram(distance: Tensor, labels: Tensor, bins: int) -> Tensor:
    """Count the pixels of each class and distance.

    Args:
        distance: float64 in [0, 1], any shape; the detector's rim must be cut off.
        labels: uint8 classes, of the same shape and device.
        bins: of equal width; bin ``i`` holds ``i / bins <= D < (i + 1) / bins``, the last also 1.

    Returns:
        int64 ``(256, bins)`` on the device of ``distance``.

    Raises:
        InputError: labels of another size or type.

    Example:
        >>> counts = distance_histogram(
        ...     torch.tensor([0.1, 0.99, 1.0]), torch.tensor([7, 7, 7], dtype=torch.uint8), 10
        ... )
        >>> counts[7].tolist()
        [0, 1, 0, 0, 0, 0, 0, 0, 0, 2]
    """
    if labels.shape != distance.shape or labels.dtype != torch.uint8:
        raise InputError(
            f"label map of shape {tuple(labels.shape)} and type {labels.dtype} for distances of "
            f"shape {tuple(distance.shape)}; give one uint8 class for each pixel of GAN-SR"
        )
    place = (distance * bins).long().clamp_(0, bins - 1).add_(labels.long(), alpha=bins)
    return torch.bincount(place.flatten(), minlength=LABELS * bins).view(LABELS, bins)


class TextureDistribution(Metric):
    """The distribution of D of each class over all images, as a histogram.

    ``compute`` gives the counts, int64 ``(256, bins)``.

    Args:
        bins: see `bins_for`.
        kwargs: of `torchmetrics.Metric`.

    Attributes:
        counts: int64 ``(256, bins)``.
        images: how many images show each class, int64 ``(256,)``.
        all_images: how many there are, int64 scalar.

    Example:
        >>> distribution = TextureDistribution(bins=1000)
        >>> distance = torch.full((2, 1, 8, 8), 0.72, dtype=torch.float64)
        >>> distribution.update(distance, torch.full((2, 1, 8, 8), 4, dtype=torch.uint8))
        >>> int(distribution.compute()[4, 720]), int(distribution.images[4])
        (128, 2)
    """

    is_differentiable = False
    full_state_update = False
    counts: Tensor
    images: Tensor
    all_images: Tensor

    def __init__(self, bins: int, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.bins = bins
        self.add_state("counts", torch.zeros(LABELS, bins, dtype=torch.int64), "sum")
        self.add_state("images", torch.zeros(LABELS, dtype=torch.int64), "sum")
        self.add_state("all_images", torch.zeros((), dtype=torch.int64), "sum")

    def update(self, distance: Tensor, labels: Tensor) -> None:
        """Add a batch.

        Args:
            distance: float64 ``(B, 1, H, W)`` in [0, 1] without the rim.
            labels: uint8 ``(B, 1, H, W)``.

        Raises:
            InputError: labels of another size or type.
        """
        for one, its_labels in zip(distance, labels, strict=True):
            self.add(distance_histogram(one, its_labels, self.bins))

    def add(self, counts: Tensor) -> None:
        """Add the counts of one image, as `distance_histogram` gives them."""
        self.counts += counts.to(self.counts.device)
        self.images += (counts.sum(1) > 0).to(self.images.device)
        self.all_images += 1

    def compute(self) -> Tensor:
        """The counts."""
        return self.counts


@dataclass(frozen=True)
class Calibration:
    """What a distribution gives.

    Attributes:
        overall: of all pixels, those without a class too; its ``index`` is −1.
        classes: one row a class, by index.
    """

    overall: ClassInterval
    classes: tuple[ClassInterval, ...]

    def write(self, path: str | Path) -> None:
        """Write the table that ``detector.intervals`` reads, CSV."""
        rows = [
            {name: getattr(row, name) for name in TABLE_COLUMNS} | {"fallback": int(row.fallback)}
            for row in self.classes
        ]
        write_table(path, rows, TABLE_COLUMNS)


def calibrate(
    distribution: TextureDistribution,
    classes: Sequence[str],
    percentile: float = PERCENTILE,
    intervals: int = INTERVALS,
    min_pixels: int = MIN_PIXELS,
) -> Calibration:
    """Find the texture interval of each class.

    n_k is the lowest-numbered interval, counted from D = 1 downwards, such that it and those above
    it hold at least ``percentile`` % of the class's pixels.

    Args:
        distribution: of D; its bins must be a multiple of ``intervals``.
        classes: names by label.
        percentile: of the class's pixels, above 0, at most 100.
        intervals: number N of intervals that [0, 1] is split into.
        min_pixels: a class of fewer gets the interval of all pixels.

    Raises:
        InputError: a setting out of its range, or no pixel at all.

    Example:
        >>> distribution = TextureDistribution(bins=1000)
        >>> distance = torch.full((1, 1, 8, 8), 0.72, dtype=torch.float64)
        >>> distribution.update(distance, torch.zeros(1, 1, 8, 8, dtype=torch.uint8))
        >>> calibrate(distribution, ["wall"], min_pixels=1).classes[0].interval  # of [0.70, 0.75]
        5
    """
    check_rule(percentile, intervals, min_pixels)
    if distribution.bins % intervals:
        raise ValueError(f"{distribution.bins} bins cannot be shared by {intervals} intervals")
    counts = distribution.counts.cpu()
    images = distribution.images.tolist()
    everything = counts.sum(0)
    if not everything.any():
        raise InputError("no pixel to calibrate on; give images that can be read")
    interval, distance = _reach(everything, percentile, intervals)
    pixels = int(everything.sum())
    seen = int(distribution.all_images)
    overall = ClassInterval(-1, "all pixels", interval, intervals, distance, pixels, seen)
    rows = []
    for index, name in enumerate(classes):
        pixels = int(counts[index].sum())
        own, reached = _reach(counts[index], percentile, intervals) if pixels else (0, None)
        few = pixels < min_pixels
        own = overall.interval if few else own
        rows.append(ClassInterval(index, name, own, intervals, reached, pixels, images[index], few))
    return Calibration(overall, tuple(rows))


def _reach(histogram: Tensor, percentile: float, intervals: int) -> tuple[int, float]:
    """The interval, and the lower end of the bin, by which enough pixels are counted."""
    pixels = int(histogram.sum())
    # In integers: 0.85 · 20 in floats may be a little more than 17, and would then ask for 18.
    needed = math.ceil(Fraction(str(percentile)) * pixels / 100)
    from_above = histogram.flip(0).cumsum(0)
    steps = int(torch.searchsorted(from_above, needed))
    bins = len(histogram)
    return steps * intervals // bins, (bins - 1 - steps) / bins


def interval_counts(histogram: Tensor, intervals: int) -> Tensor:
    """Counts ``(…, intervals)`` of a histogram ``(…, bins)``, from D = 0 upwards."""
    return histogram.unflatten(-1, (intervals, -1)).sum(-1)
