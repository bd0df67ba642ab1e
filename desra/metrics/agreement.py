"""Agreement of annotators beyond chance: Fleiss' and Cohen's kappa, and each one's bias."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

MISSING = -1
"""In a table of ratings: this annotator did not rate this item."""


def rating_counts(ratings: NDArray[np.integer], categories: int) -> NDArray[np.int64]:
    """How often each item was put into each category.

    Args:
        ratings: ``(items, annotators)`` categories from 0, or `MISSING`.
        categories: how many there are.

    Returns:
        ``(items, categories)``.

    Raises:
        ValueError: a rating that is neither.
    """
    if ratings.size and not (ratings.min() >= MISSING and ratings.max() < categories):
        raise ValueError(f"ratings must be from 0 to {categories - 1}, or {MISSING}")
    return (ratings[..., None] == np.arange(categories)).sum(axis=1)


def fleiss_kappa(counts: NDArray[np.integer]) -> float:
    """Fleiss' kappa (Fleiss, "Measuring nominal scale agreement among many raters", 1971).

    Where items have different numbers of ratings, an item's agreement is that of its own pairs of
    ratings, items weigh equally, and chance comes from all ratings; items with fewer than two
    ratings are left out. With equal numbers that is the published formula.

    Args:
        counts: ``(items, categories)``, of `rating_counts`.

    Returns:
        1 for perfect agreement, 0 for that of chance; NaN where it is undefined: no item with two
        ratings, or only one category in use.

    Example:
        >>> fleiss_kappa(np.array([[3, 0], [0, 3]]))
        1.0
    """
    counts = np.asarray(counts, np.float64)
    counts = counts[counts.sum(1) > 1]
    ratings = counts.sum(1)
    if not len(counts):
        return math.nan
    observed = ((counts**2).sum(1) - ratings) / (ratings * (ratings - 1))
    expected = ((counts.sum(0) / ratings.sum()) ** 2).sum()
    return float((observed.mean() - expected) / (1 - expected)) if expected < 1 else math.nan


def cohen_kappa(first: NDArray[np.integer], second: NDArray[np.integer], categories: int) -> float:
    """Cohen's kappa of two annotators, on the items that both rated (Cohen 1960).

    Args:
        first: ``(items,)`` categories from 0, or `MISSING`.
        second: likewise.
        categories: how many there are.

    Returns:
        as `fleiss_kappa`; NaN where no item has both, or both use one and the same category.

    Example:
        >>> cohen_kappa(np.array([0, 0, 1, 1]), np.array([0, 0, 1, 0]), 2)
        0.5
    """
    both = (first != MISSING) & (second != MISSING)
    first, second = first[both], second[both]
    if not len(first):
        return math.nan
    table = np.zeros((categories, categories))
    np.add.at(table, (first, second), 1 / len(first))
    observed, expected = np.trace(table), table.sum(1) @ table.sum(0)
    return float((observed - expected) / (1 - expected)) if expected < 1 else math.nan


def pairwise_kappa(ratings: NDArray[np.integer], categories: int) -> NDArray[np.float64]:
    """`cohen_kappa` of each two annotators.

    Args:
        ratings: ``(items, annotators)`` categories from 0, or `MISSING`.
        categories: how many there are.

    Returns:
        ``(annotators, annotators)``, symmetric, NaN on the diagonal.
    """
    count = ratings.shape[1]
    kappas = np.full((count, count), math.nan)
    for one in range(count):
        for other in range(one):
            kappa = cohen_kappa(ratings[:, one], ratings[:, other], categories)
            kappas[one, other] = kappas[other, one] = kappa
    return kappas


def observed_agreement(ratings: NDArray[np.integer], categories: int) -> float:
    """Share of pairs of ratings of one item that are equal, items weighing equally; NaN: none."""
    counts = rating_counts(ratings, categories).astype(np.float64)
    counts = counts[counts.sum(1) > 1]
    total = counts.sum(1)
    if not len(counts):
        return math.nan
    return float((((counts**2).sum(1) - total) / (total * (total - 1))).mean())


def annotator_bias(
    ratings: NDArray[np.integer], values: NDArray[np.floating]
) -> NDArray[np.float64]:
    """How much higher each annotator rates than the others rate the same items.

    Args:
        ratings: ``(items, annotators)`` categories from 0, or `MISSING`.
        values: what each category counts, such as +1, 0, -1.

    Returns:
        ``(annotators,)`` mean of own value minus the others' mean, over the items that another one
        rated, too; NaN where there is none.

    Example:
        >>> annotator_bias(np.array([[0, 1, 1], [1, 1, 1]]), np.array([1.0, 0.0])).tolist()
        [0.5, -0.25, -0.25]
    """
    there = ratings != MISSING
    own = np.where(there, np.asarray(values, np.float64)[np.where(there, ratings, 0)], 0.0)
    others = there.sum(1, keepdims=True) - there
    shared = there & (others > 0)
    mean_of_others = (own.sum(1, keepdims=True) - own) / np.maximum(others, 1)
    difference = np.where(shared, own - mean_of_others, 0.0).sum(0)
    count = shared.sum(0)
    return np.where(count > 0, difference / np.maximum(count, 1), math.nan)
