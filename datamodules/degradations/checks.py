"""Checks of the settings of degradations."""

from __future__ import annotations

from collections.abc import Sequence
from math import inf

from desra.errors import InputError

Range = tuple[float, float]


def check_range(name: str, limits: Range, least: float = -inf, most: float = inf) -> None:
    """Raise InputError unless ``least`` <= lower limit <= upper limit <= ``most``."""
    if len(limits) != 2 or not least <= limits[0] <= limits[1] <= most:
        raise InputError(
            f"degradation: {name}={list(limits)}: give two numbers, the lower one first, from "
            f"{least:g} to {most:g}"
        )


def check_probability(name: str, value: float) -> None:
    """Raise InputError unless 0 <= value <= 1."""
    if not 0 <= value <= 1:
        raise InputError(f"degradation: {name}={value}: give a probability from 0 to 1")


def check_weights(name: str, weights: Sequence[float], count: int) -> None:
    """Raise InputError unless there are ``count`` weights, none negative and not all 0."""
    if len(weights) != count or min(weights) < 0 or sum(weights) <= 0:
        raise InputError(
            f"degradation: {name}={list(weights)}: give {count} probabilities, not all of them 0"
        )


def check_sizes(name: str, sizes: Sequence[int], most: int) -> None:
    """Raise InputError unless there are odd sizes from 1 to ``most``."""
    if not sizes or any(size % 2 == 0 or not 1 <= size <= most for size in sizes):
        raise InputError(
            f"degradation: {name}={list(sizes)}: give odd numbers of pixels, up to {most}"
        )
