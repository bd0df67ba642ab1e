"""Probability that a viewer notices an artifact: a monotone, calibrated model of a few votes.

A logistic regression whose inputs are ramps between quantiles of each feature (linear I-splines,
Ramsay, 1988). The ramps of features that can only help to notice (area, contrast, strength, a
detector's response) have weights of at least 0, so that the probability never falls as they grow;
of the others weights are free. Weights are held small by a ridge that cross-validation chooses. Fit
by maximum likelihood to shares of viewers, the probabilities are calibrated where it is right.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy import optimize, special, stats

from desra.errors import InputError
from desra.files import read_json, write_text

RIDGES = (0.01, 0.03, 0.1, 0.3, 1.0, 3.0)
KNOTS = 5
FEWEST = 20
"""Scored regions that a model needs."""


@dataclass
class ProminenceModel:
    """P(noticed) of artifact regions.

    Attributes:
        features: names of the inputs.
        monotone: ``(F,)`` bool, whose growth never lowers the probability.
        knots: ``(F, KNOTS)`` ascending, in the features' units.
        weights: ``(F, KNOTS − 1)``, of the ramps between neighbouring knots.
        intercept: log odds below all first knots.
    """

    features: list[str]
    monotone: NDArray[np.bool_]
    knots: NDArray[np.float64]
    weights: NDArray[np.float64]
    intercept: float

    def probability(self, values: NDArray[np.float64]) -> NDArray[np.float64]:
        """P(noticed) of regions with these features.

        Args:
            values: ``(N, F)``.
        """
        ramps = _ramps(values, self.knots)
        return np.asarray(special.expit(self.intercept + ramps @ self.weights.ravel()))

    def save(self, path: str | Path) -> None:
        """Write as JSON."""
        record = {
            "features": self.features,
            "monotone": self.monotone.tolist(),
            "knots": self.knots.tolist(),
            "weights": self.weights.tolist(),
            "intercept": self.intercept,
        }
        write_text(path, json.dumps(record, indent=2) + "\n")

    @classmethod
    def read(cls, path: str | Path) -> ProminenceModel:
        """Read what `save` wrote.

        Raises:
            InputError: unreadable, or not a model.
        """
        record = read_json(path, "give prominence.json of task=fit_prominence")
        try:
            knots, weights = (np.array(record[name], float) for name in ("knots", "weights"))
            features = [str(name) for name in record["features"]]
            monotone = np.array(record["monotone"], bool)
            intercept = float(record["intercept"])
            if knots.shape != (len(features), KNOTS) or weights.shape != (len(features), KNOTS - 1):
                raise ValueError("knots and weights do not fit the features")
        except (ValueError, KeyError, TypeError, IndexError) as error:
            raise InputError(
                f"{path}: not a model of prominence ({error}); give prominence.json of "
                "task=fit_prominence"
            ) from error
        return cls(features, monotone, knots, weights, intercept)


def fit_prominence(
    values: NDArray[np.float64],
    scores: NDArray[np.float64],
    features: Sequence[str],
    monotone: Sequence[bool],
    ridge: float,
) -> ProminenceModel:
    """Fit the model to regions.

    Args:
        values: ``(N, F)`` features.
        scores: ``(N,)`` shares of viewers who notice each, in [0, 1].
        features: names of the features.
        monotone: of which growth never lowers the probability.
        ridge: penalty on squared weights, of one region's likelihood.

    Raises:
        InputError: fewer than `FEWEST` regions, or a feature that is not finite.
    """
    if len(scores) < FEWEST:
        raise InputError(
            f"{len(scores)} labelled regions with scores; a model needs at least {FEWEST}"
        )
    if not np.isfinite(values).all():
        raise InputError("a feature is not finite; leave that detector out")
    knots = np.quantile(values, np.linspace(0, 1, KNOTS), axis=0).T
    ramps = _ramps(values, knots)
    penalty = np.r_[0.0, np.full(ramps.shape[1], ridge)]
    design = np.column_stack([np.ones(len(ramps)), ramps])

    def loss(weights: NDArray[np.float64]) -> tuple[float, NDArray[np.float64]]:
        odds = design @ weights
        value = np.logaddexp(0, odds).sum() - scores @ odds + 0.5 * (penalty * weights**2).sum()
        return float(value), design.T @ (special.expit(odds) - scores) + penalty * weights

    free: list[tuple[float | None, float | None]] = [(None, None)]
    bounds = free + [(0.0, None) if grows else (None, None) for grows in monotone
                     for _ in range(KNOTS - 1)]  # fmt: skip
    start = np.zeros(design.shape[1])
    found = optimize.minimize(loss, start, jac=True, bounds=bounds, method="L-BFGS-B")
    weights = found.x[1:].reshape(len(knots), KNOTS - 1)
    return ProminenceModel(
        list(features), np.array(monotone, bool), knots, weights, float(found.x[0])
    )


def _ramps(values: NDArray[np.float64], knots: NDArray[np.float64]) -> NDArray[np.float64]:
    """``(N, F · (KNOTS − 1))``: how far each value is between neighbouring knots, 0 to 1."""
    low, high = knots[:, :-1], knots[:, 1:]
    width = np.maximum(high - low, 1e-9)
    return np.clip((values[:, :, None] - low) / width, 0, 1).reshape(len(values), -1)


@dataclass
class Validation:
    """What a model does on regions that it was not fitted to.

    Attributes:
        ridge: that cross-validation chose.
        probability: ``(N,)`` of each region, by a model of other images.
        spearman: rank correlation of these with the scores.
        calibration_error: see `calibration_error`.
    """

    ridge: float
    probability: NDArray[np.float64]
    spearman: float
    calibration_error: float


def cross_validate(
    values: NDArray[np.float64],
    scores: NDArray[np.float64],
    images: NDArray[np.int64],
    features: Sequence[str],
    monotone: Sequence[bool],
    folds: int = 5,
    seed: int = 0,
) -> Validation:
    """Predict each region by a model that has not seen its image; the ridge of the highest
    likelihood is taken.

    Args:
        values: see `fit_prominence`, as the others.
        scores: ``(N,)``.
        images: ``(N,)`` number of each region's image.
        features: names.
        monotone: of which growth never lowers the probability.
        folds: parts of the images.
        seed: of the parts.

    Raises:
        InputError: fewer images than folds, or too few regions.
    """
    names = np.unique(images)
    if len(names) < folds:
        raise InputError(f"{len(names)} images with scores; cross-validation needs {folds}")
    shuffled = np.random.default_rng(seed).permutation(names)
    part_of = {image: place for place, image in enumerate(shuffled)}
    fold = np.array([part_of[image] % folds for image in images])
    best: tuple[float, float, NDArray[np.float64]] | None = None
    for ridge in RIDGES:
        predicted = np.empty(len(scores))
        for part in range(folds):
            rest, own = fold != part, fold == part
            model = fit_prominence(values[rest], scores[rest], features, monotone, ridge)
            predicted[own] = model.probability(values[own])
        safe = predicted.clip(1e-6, 1 - 1e-6)
        likelihood = float((scores * np.log(safe) + (1 - scores) * np.log(1 - safe)).mean())
        if best is None or likelihood > best[0]:
            best = likelihood, ridge, predicted
    assert best is not None
    _, ridge, predicted = best
    return Validation(
        ridge, predicted, rank_correlation(predicted, scores), calibration_error(predicted, scores)
    )


def rank_correlation(response: NDArray[np.float64], scores: NDArray[np.float64]) -> float:
    """Spearman's; NaN where all are alike."""
    if len(scores) < 2 or np.ptp(response) == 0 or np.ptp(scores) == 0:
        return float("nan")
    return float(stats.spearmanr(response, scores).statistic)


def calibration_error(
    probability: NDArray[np.float64], scores: NDArray[np.float64], bins: int = 10
) -> float:
    """Expected calibration error: in bins of equally many regions, sorted by probability, the mean
    absolute difference of mean probability and mean score (Naeini et al., AAAI 2015).

    Example:
        >>> calibration_error(np.array([0.25, 0.75]), np.array([0.25, 0.25]), bins=2)
        0.25
    """
    order = np.argsort(probability, kind="stable")
    parts = [part for part in np.array_split(order, bins) if len(part)]
    gaps = [abs(probability[part].mean() - scores[part].mean()) * len(part) for part in parts]
    return float(sum(gaps) / len(order))
