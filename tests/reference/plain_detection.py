"""Detection as anyone would write it down from the paper: float64, NumPy, OpenCV, SciPy, no tricks.

It shares no code with ``desra``: the benchmark is measured against it, and the tests compare with
it. Images are ``(H, W, 3)`` uint8; maps and masks have the size of the valid positions.
"""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray
from scipy import ndimage


def plain_distance(mse_sr: NDArray, gan_sr: NDArray, window_size: int = 11) -> NDArray:
    """Relative texture distance at the valid positions, ``(H − n + 1, W − n + 1)``."""
    constant, epsilon = (0.03 * 255) ** 2, 1e-8
    channels = []
    for channel in range(3):
        mse_variance = _variance(mse_sr[..., channel].astype(np.float64), window_size)
        gan_variance = _variance(gan_sr[..., channel].astype(np.float64), window_size)
        product = np.sqrt(mse_variance + epsilon) * np.sqrt(gan_variance + epsilon)
        channels.append((2 * product + constant) / (mse_variance + gan_variance + constant))
    return np.mean(channels, axis=0)


def _variance(plane: NDArray, window_size: int) -> NDArray:
    weights = cv2.getGaussianKernel(window_size, 1.5)
    rim = window_size // 2
    mean, mean_square = (
        cv2.sepFilter2D(values, -1, weights, weights)[rim:-rim, rim:-rim]
        for values in (plane, plane**2)
    )
    return mean_square - mean**2


def plain_adjust(distance: NDArray, labels: NDArray, intervals: dict[int, int]) -> NDArray:
    """Distance times 20 / (20 − n_k), clipped; labels are cropped to the valid positions."""
    weights = np.ones(distance.shape)
    for label, interval in intervals.items():
        weights[labels == label] = 20 / (20 - interval)
    return np.clip(distance * weights, 0, 1)


def plain_stages(
    adjusted: NDArray, threshold: float = 0.7, min_area: int = 4000
) -> dict[str, NDArray[np.bool_]]:
    """Thresholded, dilated, filled, and the final mask."""
    thresholded = (adjusted < threshold).astype(np.uint8)
    square = np.ones((5, 5), np.uint8)
    dilated = cv2.dilate(cv2.erode(thresholded, square), square, iterations=3)
    filled = ndimage.binary_fill_holes(dilated, np.ones((3, 3))).astype(np.uint8)
    _, regions, stats, _ = cv2.connectedComponentsWithStats(filled, connectivity=8)
    kept = stats[:, cv2.CC_STAT_AREA] > min_area
    kept[0] = False
    stages = {"thresholded": thresholded, "dilated": dilated, "filled": filled}
    return {name: stage.astype(bool) for name, stage in stages.items()} | {"mask": kept[regions]}


def plain_mask(
    adjusted: NDArray, threshold: float = 0.7, min_area: int = 4000
) -> NDArray[np.bool_]:
    """The final mask alone."""
    return plain_stages(adjusted, threshold, min_area)["mask"]
