"""Precision, recall and IoU at every threshold and minimum area, from one distance an image.

A threshold needs its own morphology; a minimum area does not. Between the regions found with
``min_area=0`` and those of a larger minimum lies only a comparison with their areas, so of each
image and threshold these few numbers are kept, from which any minimum area is counted exactly:

- of a detected region its area and how many of its pixels are labelled;
- of a labelled region the area that its detection hangs on. Sort the detected regions that touch
  it by area, the largest first: the one with which at least ``min_share`` of the labelled region is
  covered. The labelled region counts as found for every minimum below that region's area.
"""

from __future__ import annotations

import copy
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from desra.detector import Detector
from desra.errors import InputError
from desra.metrics import MIN_SHARE
from desra.regions import label_regions
from desra.rim import inside

Target = Literal["precision", "recall", "f1"]


class Regions(NamedTuple):
    """What is kept of one image at one threshold; lists, as they go to a record in JSON.

    Attributes:
        areas: pixels of each detected region, with ``min_area=0``.
        overlaps: those of them that are labelled.
        decisive: for each labelled region the area that its detection hangs on, 0 where it is
            not found at all.
        labelled_pixels: of the image.
    """

    areas: list[int]
    overlaps: list[int]
    decisive: list[int]
    labelled_pixels: int


def compare_regions(mask: Tensor, gt_mask: Tensor, min_share: float = MIN_SHARE) -> Regions:
    """Compare the regions of a mask that was detected with ``min_area=0`` with labelled ones.

    Args:
        mask: detected, bool ``(H, W)``.
        gt_mask: labelled, of the same shape and device.
        min_share: share of a region's pixels that the other mask must cover.

    Example:
        >>> mask = torch.tensor([[True, True, False, True]])
        >>> compare_regions(mask, torch.tensor([[True, False, False, False]]))
        Regions(areas=[2, 1], overlaps=[1, 0], decisive=[2], labelled_pixels=1)
    """
    detected, count = (part.cpu().numpy() for part in label_regions(mask))
    labelled, gt_count = (part.cpu().numpy() for part in label_regions(gt_mask))
    columns = int(count) + 1
    # Row and column 0 are the background of either mask.
    joint = np.bincount(
        (labelled.astype(np.int64) * columns + detected).ravel(),
        minlength=(int(gt_count) + 1) * columns,
    ).reshape(-1, columns)
    areas, overlaps = joint.sum(0)[1:], joint[1:].sum(0)[1:]
    decisive = _decisive_areas(joint[1:, 1:], joint.sum(1)[1:], areas, min_share)
    labelled_pixels = int(joint[1:].sum())
    return Regions(areas.tolist(), overlaps.tolist(), decisive.tolist(), labelled_pixels)


def _decisive_areas(
    joint: NDArray[np.int64],
    gt_areas: NDArray[np.int64],
    areas: NDArray[np.int64],
    min_share: float,
) -> NDArray[np.int64]:
    order = np.argsort(-areas, kind="stable")
    covered = joint[:, order].cumsum(1) / gt_areas[:, None] >= min_share
    sorted_areas = np.append(areas[order], 0)
    reached = np.where(covered.any(1), covered.argmax(1) if len(areas) else 0, len(areas))
    return sorted_areas[reached]


def sweep_thresholds(
    detector: Detector,
    distance: Tensor,
    labels: Tensor | None,
    gt_mask: Tensor,
    thresholds: Sequence[float],
    border: int,
    min_share: float = MIN_SHARE,
) -> list[Regions]:
    """Compare one image's regions with the labels at each threshold.

    Args:
        detector: makes the masks; its own threshold and minimum area are of no account.
        distance: what its `distance` gave for one image.
        labels: semantic classes, uint8 ``(1, 1, H, W)``, or None.
        gt_mask: labelled artifacts, bool ``(H, W)``.
        thresholds: in the detector's units.
        border: width of what is left out at each side of the image.
        min_share: see `compare_regions`.
    """
    trial = copy.copy(detector)
    trial.min_area = 0
    found = []
    for threshold in thresholds:
        trial.threshold = threshold
        mask = trial.from_distance(distance, labels).mask[0, 0]
        planes = (inside(mask, border), inside(gt_mask, border))
        found.append(compare_regions(*planes, min_share))
    return found


@dataclass(frozen=True)
class OperatingPoint:
    """Scores over a set of images at one threshold and minimum area; None where undefined (0/0).

    Attributes:
        threshold: in the detector's units.
        min_area: pixels.
        precision: share of detected regions that are labelled.
        recall: share of labelled regions that are detected.
        f1: their harmonic mean.
        iou: mean over images in which something is detected or labelled.
        detected: regions.
        detected_hits: those of them that are labelled.
        labelled: regions.
        labelled_hits: those of them that are detected.
    """

    threshold: float
    min_area: int
    precision: float | None
    recall: float | None
    f1: float | None
    iou: float | None
    detected: int
    detected_hits: int
    labelled: int
    labelled_hits: int


POINT_COLUMNS = tuple(OperatingPoint.__dataclass_fields__)


class Sweep:
    """Counts of each image at each threshold and minimum area.

    Args:
        thresholds: as they were swept, T of them.
        min_areas: M of them.
        min_share: share of a detected region's pixels that must be labelled.

    Attributes:
        counts: int64 ``(images, T, M, 4)``: detected regions, hits, labelled regions, hits.
        ious: float64 ``(images, T, M)``; NaN where nothing is detected and nothing labelled.
    """

    def __init__(
        self,
        thresholds: Sequence[float],
        min_areas: Sequence[int],
        min_share: float = MIN_SHARE,
    ) -> None:
        self.thresholds, self.min_areas = list(thresholds), list(min_areas)
        self.min_share = min_share
        self._counts: list[NDArray[np.int64]] = []
        self._ious: list[NDArray[np.float64]] = []

    def add(self, regions: Iterable[Regions]) -> None:
        """Add one image: what `sweep_thresholds` gave."""
        counts, ious = zip(*(self._at_areas(one) for one in regions), strict=True)
        self._counts.append(np.stack(counts))
        self._ious.append(np.stack(ious))

    def _at_areas(self, regions: Regions) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
        least = np.array(self.min_areas)[:, None]
        areas, overlaps, decisive = (np.array(part, np.int64) for part in regions[:3])
        kept = areas > least
        hit = overlaps / np.maximum(areas, 1) >= self.min_share
        labelled = np.full(len(least), len(decisive))
        counts = [kept.sum(1), (kept & hit).sum(1), labelled, (decisive > least).sum(1)]
        overlap = (kept * overlaps).sum(1)
        union = (kept * areas).sum(1) + regions.labelled_pixels - overlap
        iou = np.divide(overlap, union, out=np.full(len(least), np.nan), where=union > 0)
        return np.stack(counts, 1), iou

    @property
    def counts(self) -> NDArray[np.int64]:
        """See the class."""
        shape = (0, len(self.thresholds), len(self.min_areas), 4)
        return np.stack(self._counts) if self._counts else np.zeros(shape, np.int64)

    @property
    def ious(self) -> NDArray[np.float64]:
        """See the class."""
        shape = (0, len(self.thresholds), len(self.min_areas))
        return np.stack(self._ious) if self._ious else np.zeros(shape)

    def points(self, images: NDArray | slice = slice(None)) -> list[OperatingPoint]:
        """Scores at every threshold and minimum area, over all images or some of them."""
        counts, ious = self.counts[images].sum(0), self.ious[images]
        known = ~np.isnan(ious)
        mean = np.where(known, ious, 0).sum(0) / np.maximum(known.sum(0), 1)
        return [
            _point(threshold, area, counts[t, m], mean[t, m] if known[:, t, m].any() else None)
            for t, threshold in enumerate(self.thresholds)
            for m, area in enumerate(self.min_areas)
        ]


def _point(
    threshold: float, min_area: int, counts: NDArray[np.int64], iou: float | None
) -> OperatingPoint:
    detected, detected_hits, labelled, labelled_hits = (int(count) for count in counts)
    precision = detected_hits / detected if detected else None
    recall = labelled_hits / labelled if labelled else None
    iou = None if iou is None else float(iou)
    tally = (detected, detected_hits, labelled, labelled_hits)
    return OperatingPoint(
        threshold, min_area, precision, recall, _f1(precision, recall), iou, *tally
    )


def _f1(precision: float | None, recall: float | None) -> float | None:
    """As `desra.metrics.harmonic_mean`, with None for NaN."""
    if precision is None and recall is None:
        return None
    product, total = (precision or 0) * (recall or 0), (precision or 0) + (recall or 0)
    return 2 * product / total if total else 0.0


@dataclass(frozen=True)
class Choice:
    """The operating point chosen, and whether it has what was asked for.

    Attributes:
        point: the best that reaches the target; where none does, the one that comes nearest.
        reached: whether it does.
    """

    point: OperatingPoint
    reached: bool


def choose(points: Sequence[OperatingPoint], target: Target, value: float | None) -> Choice:
    """Choose among operating points.

    With ``target="precision"`` the one of the highest recall whose precision is at least
    ``value``; with ``"recall"`` the other way round; with ``"f1"`` that of the highest F1. Among
    equals the higher F1, then IoU, then the smaller minimum area decides.

    Raises:
        InputError: no point has a score at all, because nothing is labelled.
    """
    scored = [point for point in points if getattr(point, target) is not None]
    if not scored:
        raise InputError(f"{target} is undefined everywhere; give images with labelled artifacts")
    other = {"precision": "recall", "recall": "precision", "f1": "iou"}[target]

    def rank(point: OperatingPoint, first: str) -> tuple[float, ...]:
        names = (first, other if first == target else target, "f1", "iou")
        return (*(getattr(point, name) or 0.0 for name in names), -point.min_area)

    if target == "f1" or value is None:
        return Choice(max(scored, key=lambda point: rank(point, target)), True)
    enough = [point for point in scored if getattr(point, target) >= value]
    if enough:
        return Choice(max(enough, key=lambda point: rank(point, other)), True)
    return Choice(max(scored, key=lambda point: rank(point, target)), False)


def held_out_counts(sweep: Sweep, target: Target, value: float | None) -> dict[str, Any] | None:
    """Choose on each half of the images, and count on the other: what to expect on new images.

    Halves are every other image, in the order in which they were added.

    Returns:
        ``precision`` and ``recall`` of the pooled counts (None where undefined); None where a half
        has nothing to choose by.
    """
    total = np.zeros(4, np.int64)
    for half in (0, 1):
        try:
            chosen = choose(sweep.points(slice(half, None, 2)), target, value).point
        except InputError:
            return None
        t, m = sweep.thresholds.index(chosen.threshold), sweep.min_areas.index(chosen.min_area)
        total += sweep.counts[1 - half :: 2, t, m].sum(0)
    point = _point(0, 0, total, None)
    return {"precision": point.precision, "recall": point.recall}


def bootstrap_scores(
    sweep: Sweep, point: OperatingPoint, resamples: int = 2000, seed: int = 0
) -> dict[str, tuple[float, float] | None]:
    """95 % intervals of precision and recall at a point, over images drawn with replacement.

    It says how sure the scores are of this point, not of the choice among many; for that see
    `held_out_counts`.

    Returns:
        lower and upper end by name; None where a score is undefined in most draws.
    """
    t, m = sweep.thresholds.index(point.threshold), sweep.min_areas.index(point.min_area)
    counts = sweep.counts[:, t, m]
    draws = np.random.default_rng(seed).integers(0, len(counts), (resamples, len(counts)))
    sums = counts[draws].sum(1)
    intervals: dict[str, tuple[float, float] | None] = {}
    for name, whole in (("precision", 0), ("recall", 2)):
        defined = sums[:, whole] > 0
        shares = sums[defined, whole + 1] / sums[defined, whole]
        enough = defined.mean() > 0.5
        ends = np.percentile(shares, [2.5, 97.5]).tolist() if enough else None
        intervals[name] = tuple(ends) if ends else None
    return intervals


def regions_from_record(record: Mapping[str, Any]) -> Regions:
    """`Regions` from the mapping that its ``_asdict`` gave."""
    return Regions(**{name: record[name] for name in Regions._fields})


def as_thresholds(detector: Detector, cutoffs: Iterable[float]) -> list[float]:
    """Cutoffs of the distance in the detector's units."""
    return [round(float(detector.threshold_at(cutoff)), 12) for cutoff in cutoffs]


def plane(mask: NDArray[np.bool_], device: torch.device) -> Tensor:
    """A mask ``(H, W)`` on a device; views are copied."""
    return torch.from_numpy(np.ascontiguousarray(mask)).to(device)
