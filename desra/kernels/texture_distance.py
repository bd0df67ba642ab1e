"""Texture distance of 8-bit images in one pass, in float64 (DeSRA, ICML 2023, equation 7).

An image is cut into tiles whose intermediate values stay in the cache, and nothing but the distance
is written. Weights and window are constants of the compiled code, so that its inner loops are
straight lines of vector instructions: for a window of 11, some 70 multiply-adds a pixel and image.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from desra.kernels.compilation import CONTRACT, compiled, inlined
from desra.kernels.threads import run_parallel

Array = NDArray[Any]

TILE_ROWS = 32
TILE_COLUMNS = 256
BAND_ROWS = 128  # what a thread takes at a time


def texture_distances(
    mse_sr: Array,
    gan_sr: Array,
    half_window: Array,
    constant: float,
    epsilon: float,
    rougher: bool = False,
) -> Array:
    """The distance of each pair of a batch; see `desra.texture.texture_distance`.

    Args:
        mse_sr: ``(B, 3, H, W)`` uint8, of any strides.
        gan_sr: likewise.
        half_window: ``(r + 1,)`` weights of the window, from its centre outwards.
        constant: C of the formula.
        epsilon: ε of the formula.
        rougher: whether only texture that MSE-SR lacks counts.

    Returns:
        ``(B, H, W)`` float64, at most 1; exactly 1 in the rim of ``r`` pixels.
    """
    batch, _, height, width = mse_sr.shape
    radius = half_window.size - 1
    # NumPy's large arrays come in huge pages: a tenth of the page faults' time of torch.empty.
    distance = np.empty((batch, height, width))
    distance[:, :radius] = distance[:, height - radius :] = 1.0
    distance[:, :, :radius] = distance[:, :, width - radius :] = 1.0
    rows = height - 2 * radius
    share = -(-rows // torch.get_num_threads())
    step = min(BAND_ROWS, -(-share // TILE_ROWS) * TILE_ROWS)
    kernel = _band_kernel(tuple(half_window.tolist()), constant, epsilon, rougher)
    run_parallel(
        kernel,
        [
            (mse_sr[image], gan_sr[image], distance[image], top, min(top + step, rows))
            for image in range(batch)
            for top in range(0, rows, step)
        ],
    )
    return distance


def adjust_distances(distance: Array, labels: Array, weights: Array) -> Array:
    """``min(weights[labels] · distance, 1)`` of arrays of one shape, in one pass."""
    adjusted = np.empty(distance.shape)
    flat = (labels.reshape(-1), distance.reshape(-1), adjusted.reshape(-1))
    step = max(1, -(-distance.size // torch.get_num_threads()))
    starts = range(0, distance.size, step)
    run_parallel(_adjust, [(weights, *(a[i : i + step] for a in flat)) for i in starts])
    return adjusted


@compiled(CONTRACT)
def _adjust(weights: Array, labels: Array, distance: Array, adjusted: Array) -> None:
    for i in range(labels.size):
        adjusted[i] = min(weights[labels[i]] * distance[i], 1.0)


@lru_cache(maxsize=16)
def _band_kernel(
    half_window: tuple[float, ...], constant: float, epsilon: float, rougher: bool
) -> Callable[..., None]:
    """Code for one window: ``band(mse_sr, gan_sr, distance, first, last)`` computes valid rows."""
    weights = np.asarray(half_window)
    radius = len(half_window) - 1
    pitch = -(-(TILE_COLUMNS + 2 * radius) // 8) * 8  # whole vectors: no scalar rest

    @compiled(CONTRACT)
    def band(mse_sr: Array, gan_sr: Array, distance: Array, first: int, last: int) -> None:
        levels = np.zeros((TILE_ROWS + 2 * radius, pitch))
        squares = np.zeros((TILE_ROWS + 2 * radius, pitch))
        level_0, level_1 = np.zeros(pitch), np.zeros(pitch)
        square_0, square_1 = np.zeros(pitch), np.zeros(pitch)
        variances = np.zeros((6, TILE_ROWS, TILE_COLUMNS))
        width = mse_sr.shape[2] - 2 * radius
        for top in range(first, last, TILE_ROWS):
            rows = min(TILE_ROWS, last - top)
            for left in range(0, width, TILE_COLUMNS):
                columns = min(TILE_COLUMNS, width - left)
                for plane in range(6):
                    image = mse_sr[plane // 2] if plane % 2 == 0 else gan_sr[plane // 2]
                    for i in range(rows + 2 * radius):
                        _read(image[top + i], left, columns + 2 * radius, levels[i], squares[i])
                    # Two rows at a time share what they load; the row after an odd last one is
                    # computed from what is in the tile and never used.
                    for i in range(0, rows, 2):
                        _weigh_columns(levels, i + radius, weights, radius, level_0, level_1)
                        _weigh_columns(squares, i + radius, weights, radius, square_0, square_1)
                        variance = variances[plane, i : i + 2, :columns]
                        _variance(level_0, square_0, weights, radius, variance[0])
                        _variance(level_1, square_1, weights, radius, variance[1])
                if rougher:
                    _keep_rougher(variances, rows, columns)
                for i in range(rows):
                    out = distance[top + radius + i, left + radius : left + radius + columns]
                    _mean_distance(variances[:, i], constant, epsilon, out)

    return band


@inlined
def _read(pixels: Array, left: int, count: int, levels: Array, squares: Array) -> None:
    for j in range(count):
        level = np.float64(pixels[left + j])
        levels[j] = level
        squares[j] = level * level


@inlined
def _weigh_columns(
    source: Array, row: int, weights: Array, radius: int, above: Array, below: Array
) -> None:
    """Weighted sums along the columns, centred on ``row`` and on the row below it."""
    for j in range(above.size):
        a = weights[0] * source[row, j]
        b = weights[0] * source[row + 1, j]
        for k in range(1, radius + 1):
            a += weights[k] * (source[row - k, j] + source[row + k, j])
            b += weights[k] * (source[row + 1 - k, j] + source[row + 1 + k, j])
        above[j] = a
        below[j] = b


@inlined
def _variance(levels: Array, squares: Array, weights: Array, radius: int, variance: Array) -> None:
    """E[x²] − E[x]² along a row, from moments that are weighted along columns."""
    for j in range(variance.size):
        mean = weights[0] * levels[j + radius]
        mean_square = weights[0] * squares[j + radius]
        for k in range(1, radius + 1):
            mean += weights[k] * (levels[j + radius - k] + levels[j + radius + k])
            mean_square += weights[k] * (squares[j + radius - k] + squares[j + radius + k])
        variance[j] = mean_square - mean * mean


@inlined
def _keep_rougher(variances: Array, rows: int, columns: int) -> None:
    """Where MSE-SR has the more texture, give it that of GAN-SR: the channel is alike there."""
    for channel in range(3):
        for i in range(rows):
            for j in range(columns):
                variances[2 * channel, i, j] = min(
                    variances[2 * channel, i, j], variances[2 * channel + 1, i, j]
                )


@inlined
def _mean_distance(variances: Array, constant: float, epsilon: float, distance: Array) -> None:
    """Mean over three channels of the relative distance, with one division for all three."""
    m_0, g_0, m_1, g_1, m_2, g_2 = (
        variances[0], variances[1], variances[2], variances[3], variances[4], variances[5]
    )  # fmt: skip
    for j in range(distance.size):
        n_0 = 2.0 * np.sqrt((m_0[j] + epsilon) * (g_0[j] + epsilon)) + constant
        n_1 = 2.0 * np.sqrt((m_1[j] + epsilon) * (g_1[j] + epsilon)) + constant
        n_2 = 2.0 * np.sqrt((m_2[j] + epsilon) * (g_2[j] + epsilon)) + constant
        d_0 = m_0[j] + g_0[j] + constant
        d_1 = m_1[j] + g_1[j] + constant
        d_2 = m_2[j] + g_2[j] + constant
        numerator = n_0 * d_1 * d_2 + d_0 * (n_1 * d_2 + d_1 * n_2)
        distance[j] = min(numerator / (3.0 * d_0 * d_1 * d_2), 1.0)
