"""Risk control for detectors: settings that miss no more than a promised share of artifacts.

Of the labelled artifacts of images like those labelled here, at most a rate α is missed, with a
confidence 1 − δ over the draw of the labelled images. This is the high-probability form of
conformal risk control: risk-controlling prediction sets (Bates et al., J. ACM 2021) along the
thresholds, and "Learn then Test" (Angelopoulos et al., 2021) over several minimum areas.

Regions of one image are missed together, so the image is the unit. An image with m of its n
labelled regions missed loses Z = m − αn; the promise says E[Z] ≤ 0. Against the opposite
hypothesis one bets: for a stake η the product of 1 − ηZ over images has an expectation of at most 1
where the promise does not hold (Waudby-Smith and Ramdas, JRSS-B 2024). The mean over several stakes
keeps that and depends on no order; by Markov's inequality its inverse is a p-value, valid for any
number of images. With one region in every image the exact binomial tail is taken instead.

A stake must keep every factor positive, so the largest number of labelled regions in an image, N,
has to be known: the promise is of images with no more labelled regions than the most seen here.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from desra.errors import InputError

_STAKES = np.arange(1, 21) / 20 * 0.999
"""Shares of the largest stake; their mean is the bet."""


def promise_p_value(
    missed: NDArray[np.int64], labelled: NDArray[np.int64], rate: float
) -> NDArray[np.float64]:
    """Probability of counts at least this good where more than ``rate`` is missed in truth.

    Args:
        missed: ``(N, …)``, labelled regions of each image that are not found, for each setting.
        labelled: ``(N,)``, labelled regions of each image.
        rate: promised share of missed regions, in (0, 1).

    Returns:
        ``(…)`` p-values in (0, 1]; 1 where nothing is labelled.

    Raises:
        ValueError: more missed than labelled, or another shape.

    Example:
        >>> one_each = np.ones(22, np.int64)
        >>> round(float(promise_p_value(np.zeros(22, np.int64), one_each, 0.1)), 4)  # 0.9 ** 22
        0.0985
    """
    missed, labelled = np.asarray(missed), np.asarray(labelled)
    if missed.shape[:1] != labelled.shape or labelled.ndim != 1:
        raise ValueError(f"missed {missed.shape} and labelled {labelled.shape} do not match")
    across = labelled.reshape(-1, *[1] * (missed.ndim - 1))
    if (missed < 0).any() or (missed > across).any():
        raise ValueError("missed must lie between 0 and labelled")
    most = int(labelled.max(initial=0))
    if most == 0:
        return np.ones(missed.shape[1:])
    if most == 1:
        return np.asarray(stats.binom.cdf(missed.sum(0), labelled.sum(), rate))
    return np.minimum(1, np.exp(-_log_wealth(missed - rate * across, (1 - rate) * most)))


def _log_wealth(losses: NDArray[np.float64], largest: float) -> NDArray[np.float64]:
    """Logarithm of the mean over stakes of the product of 1 − ηZ over images."""
    logs = np.stack([np.log1p(-losses * (stake / largest)).sum(0) for stake in _STAKES])
    top = logs.max(0)
    return np.asarray(top + np.log(np.exp(logs - top).mean(0)))


def certified(
    missed: NDArray[np.int64], labelled: NDArray[np.int64], rate: float, confidence: float
) -> NDArray[np.bool_]:
    """Which settings keep the promise that at most ``rate`` is missed.

    Along the thresholds the hypotheses are tested in order, from the most sensitive to the least,
    until one cannot be rejected; that costs nothing. Over the minimum areas the allowed error
    1 − ``confidence`` is divided evenly (Bonferroni), so that any certified setting may be picked.

    Args:
        missed: ``(N, T, M)``: of each image the regions missed at each threshold, the most
            sensitive first, and at each minimum area.
        labelled: ``(N,)`` regions.
        rate: promised share of missed regions, in (0, 1).
        confidence: share of draws of the images in which the promise holds, in (0, 1).

    Returns:
        ``(T, M)``.

    Raises:
        InputError: a rate or a confidence out of its range.
    """
    check_promise(rate, confidence)
    areas = missed.shape[2]
    enough = promise_p_value(missed, labelled, rate) <= (1 - confidence) / areas
    return np.logical_and.accumulate(enough, axis=0)


def check_promise(rate: float, confidence: float) -> None:
    """Refuse what is no promise.

    Raises:
        InputError: a rate or a confidence out of its range.
    """
    for name, value in (("value", rate), ("confidence", confidence)):
        if not 0 < value < 1:
            raise InputError(f"{name}={value}: give a share between 0 and 1, as 0.1 or 0.9")


class Needed(NamedTuple):
    """How many labels a promise takes.

    Attributes:
        images: like those at hand: with as many labelled regions, and as many missed.
        regions: labelled, in these images.
    """

    images: int
    regions: int


def labels_needed(
    missed: NDArray[np.int64],
    labelled: NDArray[np.int64],
    rate: float,
    confidence: float,
    areas: int = 1,
) -> Needed | None:
    """How many images like these it takes until the promise can be made.

    Args:
        missed: ``(N,)``, at the most sensitive setting.
        labelled: ``(N,)`` regions.
        rate: promised share of missed regions.
        confidence: of the promise.
        areas: how many minimum areas are tried.

    Returns:
        None where no number is enough, since as many are missed as are promised or more, or
        nothing is labelled.

    Example:
        >>> labels_needed(np.zeros(4, np.int64), np.ones(4, np.int64), 0.1, 0.9)
        Needed(images=22, regions=22)
    """
    images, total, lost = len(labelled), int(labelled.sum()), int(missed.sum())
    if not total or lost >= rate * total:
        return None
    error, most = (1 - confidence) / areas, int(labelled.max())

    def enough(count: int) -> bool:
        if most == 1:
            regions = round(count * total / images)
            return bool(stats.binom.cdf(np.ceil(regions * lost / total), regions, rate) <= error)
        losses, largest = missed - rate * labelled, (1 - rate) * most
        logs = np.array([np.log1p(-losses * (s / largest)).sum() for s in _STAKES]) * count / images
        return bool(logs.max() + np.log(np.exp(logs - logs.max()).mean()) >= -np.log(error))

    high = 1
    while not enough(high):
        high *= 2
    low = high // 2
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if enough(middle) else (middle, high)
    return Needed(high, -(-high * total // images))


class Splits(NamedTuple):
    """What random halves of the labelled images say of a promise.

    Attributes:
        made: halves that were enough to make the promise.
        broken: share of all splits in which the other half missed more than promised.
        missed: mean share of missed regions of the other halves, where the promise was made.
    """

    made: int
    broken: float
    missed: float | None


def try_splits(
    counts: NDArray[np.int64],
    rate: float,
    confidence: float,
    splits: int = 500,
    seed: int = 0,
) -> Splits:
    """Make the promise on random halves of the images and see whether the others keep it.

    Args:
        counts: ``(N, T, M, 4)`` as in `desra.operating_points.Sweep`, the most sensitive threshold
            first: detected regions, hits, labelled regions, hits.
        rate: promised share of missed regions.
        confidence: of the promise.
        splits: how many.
        seed: of the splits.
    """
    labelled = counts[:, 0, 0, 2]
    missed = counts[..., 2] - counts[..., 3]
    random = np.random.default_rng(seed)
    made, broken, shares = 0, 0, []
    for _ in range(splits):
        order = random.permutation(len(counts))
        half, rest = order[: len(order) // 2], order[len(order) // 2 :]
        point = most_precise(
            certified(missed[half], labelled[half], rate, confidence), counts[half].sum(0)
        )
        total = int(labelled[rest].sum())
        if point is None or not total:
            continue
        share = float(missed[(rest, *point)].sum() / total)
        shares.append(share)
        made, broken = made + 1, broken + (share > rate)
    return Splits(made, broken / splits, float(np.mean(shares)) if shares else None)


def most_precise(allowed: NDArray[np.bool_], counts: NDArray[np.int64]) -> tuple[int, int] | None:
    """The allowed setting with the highest precision; the less sensitive one among equals.

    Args:
        allowed: ``(T, M)``.
        counts: ``(T, M, 4)`` over the set, as in `desra.operating_points.Sweep`.
    """
    if not allowed.any():
        return None
    precision = counts[..., 1] / np.maximum(counts[..., 0], 1)
    precision = np.where(allowed, precision, -1)
    ties = np.argwhere(precision == precision.max())
    t, m = ties[-1]
    return int(t), int(m)
