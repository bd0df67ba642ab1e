"""Metrics of a detector on the artifacts that viewers notice.

Scores are shares of viewers in [0, 1], spread over the regions they belong to (see
`desra.region_scores.score_map`).
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import stats
from torch import Tensor
from torchmetrics import Metric
from torchmetrics.utilities.data import dim_zero_cat

from desra.metrics.detection import MIN_SHARE, ArtifactMetrics

PROMINENCE = 0.5
"""Noticed by most viewers from this score on."""

RESAMPLES = 1000


class ProminentArtifactMetrics(ArtifactMetrics):
    """`ArtifactMetrics` with only the prominent ones of the labelled regions.

    What is detected on other labelled regions counts as it does where nothing is labelled: it
    lowers precision and IoU.

    Args:
        prominence: a region is prominent if its score is at least this.
        min_share: see `ArtifactMetrics`.
        kwargs: of `torchmetrics.Metric`.

    Example:
        >>> mask = torch.ones(1, 1, 1, 4, dtype=torch.bool)
        >>> scores = torch.tensor([[[[0.9, 0.9, float("nan"), 0.2]]]])
        >>> metrics = ProminentArtifactMetrics()
        >>> metrics.update(mask, scores)
        >>> float(metrics.compute()["iou"]), int(metrics.labelled)
        (0.5, 1)
    """

    def __init__(
        self, prominence: float = PROMINENCE, min_share: float = MIN_SHARE, **kwargs: Any
    ) -> None:
        super().__init__(min_share, **kwargs)
        self.prominence = prominence

    def update(self, mask: Tensor, scores: Tensor) -> None:  # type: ignore[override]
        """Add a batch.

        Args:
            mask: detected artifacts, bool ``(B, 1, H, W)``.
            scores: float ``(B, 1, H, W)``; NaN where nothing is labelled, or without a score.
        """
        super().update(mask, scores >= self.prominence)


class ProminenceCorrelation(Metric):
    """Rank correlation of a detector's mean response on labelled regions with their scores.

    ``compute`` gives ``spearman`` and ``kendall`` (tau-b), each with ``_low`` and ``_high``, the
    ends of a 95 % bootstrap interval, and the number of ``regions``; float64 scalars, NaN where
    undefined. Images are drawn with replacement, as regions of one image are no independent ones.

    Args:
        resamples: draws of the bootstrap.
        seed: of the draws.
        kwargs: of `torchmetrics.Metric`.

    Example:
        >>> correlation = ProminenceCorrelation(resamples=10)
        >>> response, score = torch.tensor([0.1, 0.4, 0.2]), torch.tensor([0.3, 0.9, 0.5])
        >>> correlation.update(torch.tensor([0, 1, 2]), response, score)
        >>> round(float(correlation.compute()["spearman"]), 6)
        1.0
    """

    is_differentiable = False
    full_state_update = False
    image: list[Tensor]
    response: list[Tensor]
    score: list[Tensor]

    def __init__(self, resamples: int = RESAMPLES, seed: int = 0, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.resamples, self.seed = resamples, seed
        for name in ("image", "response", "score"):
            self.add_state(name, [], dist_reduce_fx="cat")

    def update(self, image: Tensor, response: Tensor, score: Tensor) -> None:
        """Add regions; ``(N,)`` each.

        Args:
            image: a number of the region's image that no other image has, on any rank.
            response: mean of the detector's map over the region, high where it sees an artifact.
            score: share of viewers who notice the region.
        """
        self.image.append(image.long())
        self.response.append(response.double())
        self.score.append(score.double())

    def compute(self) -> dict[str, Tensor]:
        """See the class."""
        if not self.image:
            image, response, score = np.zeros(0), np.zeros(0), np.zeros(0)
        else:
            image, response, score = (
                dim_zero_cat(part).cpu().numpy() for part in (self.image, self.response, self.score)
            )
        draws = list(_resamples(image, self.resamples, self.seed))
        values = {"regions": float(len(image))}
        for name, correlate in (("spearman", _spearman), ("kendall", _kendall)):
            values[name] = correlate(response, score)
            values |= _interval(name, correlate, response, score, draws)
        return {name: torch.tensor(value, dtype=torch.float64) for name, value in values.items()}


Correlate = Callable[[NDArray, NDArray], float]


def _spearman(response: NDArray, score: NDArray) -> float:
    return _statistic(stats.spearmanr, response, score)


def _kendall(response: NDArray, score: NDArray) -> float:
    return _statistic(stats.kendalltau, response, score)


def _statistic(test: Callable[..., Any], response: NDArray, score: NDArray) -> float:
    """NaN for fewer than two regions, and where all are alike."""
    if len(response) < 2:
        return float("nan")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", stats.ConstantInputWarning)
        return float(test(response, score).statistic)


def _resamples(image: NDArray, count: int, seed: int) -> list[NDArray]:
    """Indices of the regions of images drawn with replacement."""
    names = np.unique(image)
    members = [np.flatnonzero(image == name) for name in names]
    if not members:
        return []
    draws = np.random.default_rng(seed).integers(0, len(names), (count, len(names)))
    return [np.concatenate([members[number] for number in draw]) for draw in draws]


def _interval(
    name: str, correlate: Correlate, response: NDArray, score: NDArray, draws: list[NDArray]
) -> dict[str, float]:
    """Percentile interval; NaN where the correlation is undefined in half of the draws or more."""
    values = np.array([correlate(response[draw], score[draw]) for draw in draws])
    known = values[~np.isnan(values)]
    if 2 * len(known) <= len(values):
        return {f"{name}_low": float("nan"), f"{name}_high": float("nan")}
    low, high = np.percentile(known, [2.5, 97.5])
    return {f"{name}_low": float(low), f"{name}_high": float(high)}
