"""Uncertainty of a detector about an image, by which a person's work is ordered."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray


def near_threshold(adjusted: NDArray[np.float64], cutoff: float, band: float = 0.1) -> float:
    """Mass of the distance near the cutoff: the mean over pixels of ``1 − |D′ − cutoff| / band``.

    A pixel that a small change of the threshold would turn over counts almost 1, one that is
    ``band`` or more away from it nothing.

    Args:
        adjusted: ``(H, W)`` in [0, 1], what the detector holds against its cutoff.
        cutoff: below it a pixel is a candidate.
        band: how far from it the mass reaches.

    Returns:
        in [0, 1].

    Example:
        >>> round(near_threshold(np.array([[0.7, 0.75, 0.2, 0.9]]), 0.7), 3)
        0.375
    """
    return float(np.clip(1 - np.abs(adjusted - cutoff) / band, 0, None).mean())


def disagreement(masks: Sequence[NDArray[np.bool_]]) -> float:
    """How far detectors are apart: one minus intersection over union of all their masks.

    Args:
        masks: ``(H, W)`` bool of one image, a detector each.

    Returns:
        in [0, 1]; 0 where none of them found a pixel.

    Example:
        >>> float(disagreement([np.array([[True, True]]), np.array([[True, False]])]))
        0.5
    """
    union = np.logical_or.reduce(masks)
    total = np.count_nonzero(union)
    return 1 - np.count_nonzero(np.logical_and.reduce(masks)) / total if total else 0.0
