"""Whether one of two things is worse on the same images: the paired bootstrap.

Images are drawn with replacement, each with its two values, so that what an image itself brings
cancels (Efron and Tibshirani, *An Introduction to the Bootstrap*, 1993, chapters 12 and 16). The
differences of artifact shares are skewed and mostly zero; the bootstrap-t interval, which divides
each resampled mean by its own standard error, keeps its level there, where plain percentiles of 25
images do not.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

RESAMPLES = 4000


class Bound(NamedTuple):
    """A mean difference, and how low it may well be.

    Attributes:
        mean: of the differences.
        lower: one-sided lower confidence bound of the mean.
        images: how many differences there were.
    """

    mean: float
    lower: float
    images: int


def lower_bound(
    differences: Sequence[float] | NDArray[np.float64],
    level: float = 0.95,
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> Bound:
    """The one-sided bootstrap-t confidence bound of a mean of paired differences.

    It is also never above the bound of Student's t, since a handful of resampled images cannot say
    how heavy the tail is that they were not drawn from.

    Args:
        differences: new minus old, one an image.
        level: confidence, 0.5 to 1.
        resamples: bootstrap samples.
        seed: of the resampling.

    Raises:
        ValueError: no differences, or a level out of its range.

    Example:
        >>> lower_bound([0.0] * 20)
        Bound(mean=0.0, lower=0.0, images=20)
        >>> lower_bound([0.02, 0.03, 0.01, 0.02] * 5).lower > 0
        True
    """
    values = np.asarray(differences, np.float64)
    count = len(values)
    if not count or not 0.5 <= level < 1:
        raise ValueError(f"{count} differences at level {level}")
    mean = float(values.mean())
    if count == 1:
        return Bound(mean, float("-inf"), 1)
    error = values.std(ddof=1) / np.sqrt(count)
    if error == 0:  # the same everywhere
        return Bound(mean, mean, count)
    rng = np.random.default_rng(seed)
    drawn = values[rng.integers(0, count, (resamples, count))]
    errors = drawn.std(axis=1, ddof=1) / np.sqrt(count)
    distances = drawn.mean(axis=1) - mean
    with np.errstate(divide="ignore", invalid="ignore"):
        ratios = distances / errors  # infinite for a sample without spread, NaN if it has the mean
    ratios[np.isnan(ratios)] = 0
    from scipy.stats import t

    widest = max(np.quantile(ratios, level, method="higher"), t.ppf(level, count - 1))
    return Bound(mean, float(mean - widest * error), count)
