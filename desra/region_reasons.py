"""Reasons of detected regions: distance, threshold, and which of the two images is the rougher."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray


def rougher_pixels(
    mse_sr: NDArray[np.uint8], gan_sr: NDArray[np.uint8], window_size: int = 11
) -> NDArray[np.bool_]:
    """Where GAN-SR has more texture than MSE-SR: the larger variance of brightness around a pixel.

    Args:
        mse_sr: ``(H, W, 3)``.
        gan_sr: likewise.
        window_size: side in pixels of the square around a pixel.

    Returns:
        ``(H, W)``.

    Example:
        >>> flat = np.full((20, 30, 3), 128, np.uint8)
        >>> noisy = np.random.default_rng(0).integers(0, 256, flat.shape, dtype=np.uint8)
        >>> rougher_pixels(flat, noisy).all(), rougher_pixels(noisy, flat).any()
        (np.True_, np.False_)
    """
    mse_variance, gan_variance = (_variance(image, window_size) for image in (mse_sr, gan_sr))
    return np.asarray(gan_variance > mse_variance)


def _variance(image: NDArray[np.uint8], window_size: int) -> NDArray[np.float64]:
    levels = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)
    size = (window_size, window_size)
    mean = cv2.blur(levels.astype(np.float64), size, borderType=cv2.BORDER_REFLECT)
    square = cv2.sqrBoxFilter(levels, cv2.CV_64F, size, borderType=cv2.BORDER_REFLECT)
    return np.asarray(square - mean**2)


def region_reasons(
    numbers: NDArray[np.int32],
    distance: NDArray[np.float64],
    adjusted: NDArray[np.float64],
    cutoff: float,
    threshold: float,
    rougher: NDArray[np.bool_] | None = None,
    direction: str | None = None,
) -> dict[int, dict[str, Any]]:
    """Why each region was marked, as the page shows it.

    A region is larger than the pixels below the threshold that it came from (they are eroded and
    dilated, and holes are filled), so it is said how many of its pixels are below.

    Args:
        numbers: ``(H, W)`` regions by number, 0 elsewhere.
        distance: ``(H, W)`` in [0, 1], low where an artifact is likely.
        adjusted: the same after the semantic adjustment, or ``distance`` itself without one.
        cutoff: a pixel of a lower adjusted distance is a candidate.
        threshold: the same in the units of the detector's publication.
        rougher: where GAN-SR has the more texture; None where the detector compares no textures.
        direction: the detector's setting, which differences count.

    Returns:
        of each number ``distance`` and, with an adjustment, ``adjusted``: means over the region;
        and ``why``, a line for people.

    Example:
        >>> numbers = np.array([[1, 1, 0, 2]], np.int32)
        >>> distance = np.array([[0.2, 0.4, 1.0, 0.6]])
        >>> reasons = region_reasons(numbers, distance, distance, 0.4, 0.4, numbers == 1, "both")
        >>> reasons[1]["why"]
        'below the threshold 0.4 in 50 %, GAN-SR the rougher in 100 % of it (direction: both)'
        >>> reasons[1]["distance"], reasons[2]["distance"]
        (0.3, 0.6)
    """
    area = np.bincount(numbers.ravel())

    def means(values: NDArray) -> NDArray[np.float64]:
        return np.bincount(numbers.ravel(), values.ravel()) / np.maximum(area, 1)

    of_distance, below = means(distance), means(adjusted < cutoff)
    of_adjusted = None if adjusted is distance else means(adjusted)
    of_rougher = None if rougher is None else means(rougher)
    limit = f"below the threshold {threshold:.4g}"
    if cutoff != threshold:  # of a score, which is high at artifacts
        limit = f"above the threshold {threshold:.4g} (a distance below {cutoff:.4g})"
    reasons = {}
    for number in map(int, np.flatnonzero(area[1:]) + 1):
        facts: dict[str, Any] = {"distance": round(float(of_distance[number]), 4)}
        if of_adjusted is not None:
            facts["adjusted"] = round(float(of_adjusted[number]), 4)
        why = f"{limit} in {_percent(below[number])}"
        if of_rougher is not None:
            why += f", GAN-SR the rougher in {_percent(of_rougher[number])}"
        facts["why"] = f"{why} of it" + (f" (direction: {direction})" if direction else "")
        reasons[number] = facts
    return reasons


def _percent(share: float) -> str:
    return f"{100 * share:.0f} %"
