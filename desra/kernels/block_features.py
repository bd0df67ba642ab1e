"""Colours, detail and textures of blocks of 4×4 pixels of two 8-bit images."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from desra.kernels.compilation import CONTRACT, compiled
from desra.kernels.threads import run_parallel, thread_shares

Array = NDArray[Any]

_RED, _GREEN, _BLUE = 0.299 / 255, 0.587 / 255, 0.114 / 255
_FLOOR = 1.0 / 255


def fill_blocks(mse_sr: Array, gan_sr: Array, features: Array, moments: Array) -> None:
    """Fill what is known of each block by itself; see `desra.artifact_net.block_features`.

    Args:
        mse_sr: ``(3, H, W)`` uint8, of any strides; outside, its last row and column go on.
        gan_sr: likewise.
        features: ``(27, h, w)`` float32, of any strides, of which 25 channels are filled: colours
            of both images less a half, eight times the brightness of GAN-SR's pixels around its
            mean, twice the roots of standard deviations plus a level, correlation.
        moments: ``(5, h, w)`` float32 to fill: mean brightness of both images, their variances and
            covariance within the block.
    """
    calls = [(mse_sr, gan_sr, features, moments, *share) for share in
             thread_shares(features.shape[1])]  # fmt: skip
    run_parallel(_fill, calls)


def fill_windows(moments: Array, features: Array, stability: float) -> None:
    """Fill the last two channels of features: what 3×3 blocks have in common.

    Args:
        moments: what `fill_blocks` filled; outside, its last rows and columns go on.
        features: ``(27, h, w)``, of which DeSRA's texture distance and SSIM's structure are filled.
        stability: constant of the texture distance; SSIM's is half of it.
    """
    calls = [(moments, features[-2:], np.float32(stability), *share) for share in
             thread_shares(moments.shape[1])]  # fmt: skip
    run_parallel(_fill_windows, calls)


@compiled(CONTRACT)
def _fill_windows(moments: Array, features: Array, c: float, first: int, last: int) -> None:
    height, width = moments.shape[1], moments.shape[2]
    two, ninth = np.float32(2), np.float32(1 / 9)
    sums = np.zeros((5, width + 2), np.float32)  # of three rows, with a column beside each end
    for i in range(first, last):
        sums[:] = 0
        for row in (max(i - 1, 0), i, min(i + 1, height - 1)):
            for j in range(width):
                x, y = moments[0, row, j], moments[1, row, j]
                sums[0, j + 1] += x
                sums[1, j + 1] += y
                sums[2, j + 1] += moments[2, row, j] + x * x
                sums[3, j + 1] += moments[3, row, j] + y * y
                sums[4, j + 1] += moments[4, row, j] + x * y
        sums[:, 0], sums[:, -1] = sums[:, 1], sums[:, -2]
        for j in range(width):
            x = (sums[0, j] + sums[0, j + 1] + sums[0, j + 2]) * ninth
            y = (sums[1, j] + sums[1, j + 1] + sums[1, j + 2]) * ninth
            xx = (sums[2, j] + sums[2, j + 1] + sums[2, j + 2]) * ninth - x * x
            yy = (sums[3, j] + sums[3, j + 1] + sums[3, j + 2]) * ninth - y * y
            xy = (sums[4, j] + sums[4, j + 1] + sums[4, j + 2]) * ninth - x * y
            xx, yy = max(xx, np.float32(0)), max(yy, np.float32(0))
            root = np.sqrt(xx * yy)
            features[0, i, j] = (two * root + c) / (xx + yy + c)
            features[1, i, j] = (xy + c / two) / (root + c / two)


@compiled(CONTRACT)
def _fill(
    mse_sr: Array, gan_sr: Array, features: Array, moments: Array, first: int, last: int
) -> None:
    height, width = mse_sr.shape[1], mse_sr.shape[2]
    x = np.empty(16, np.float32)
    y = np.empty(16, np.float32)
    sums = np.empty(6, np.float32)
    for i in range(first, last):
        for j in range(features.shape[2]):
            sums[:] = 0
            for a in range(4):
                row = min(4 * i + a, height - 1)
                for b in range(4):
                    column = min(4 * j + b, width - 1)
                    r, g, c = (
                        np.float32(mse_sr[0, row, column]),
                        np.float32(mse_sr[1, row, column]),
                        np.float32(mse_sr[2, row, column]),
                    )
                    sums[0] += r
                    sums[1] += g
                    sums[2] += c
                    x[4 * a + b] = (
                        np.float32(_RED) * r + np.float32(_GREEN) * g + np.float32(_BLUE) * c
                    )
                    r, g, c = (
                        np.float32(gan_sr[0, row, column]),
                        np.float32(gan_sr[1, row, column]),
                        np.float32(gan_sr[2, row, column]),
                    )
                    sums[3] += r
                    sums[4] += g
                    sums[5] += c
                    y[4 * a + b] = (
                        np.float32(_RED) * r + np.float32(_GREEN) * g + np.float32(_BLUE) * c
                    )
            for k in range(6):
                features[k, i, j] = sums[k] * np.float32(1 / (16 * 255)) - np.float32(0.5)
            mean_x, mean_y = np.float32(0), np.float32(0)
            for k in range(16):
                mean_x += x[k]
                mean_y += y[k]
            mean_x /= np.float32(16)
            mean_y /= np.float32(16)
            xx, yy, xy = np.float32(0), np.float32(0), np.float32(0)
            for k in range(16):
                u, v = x[k] - mean_x, y[k] - mean_y
                xx += u * u
                yy += v * v
                xy += u * v
                features[6 + k, i, j] = np.float32(8) * v
            xx, yy, xy = xx / np.float32(16), yy / np.float32(16), xy / np.float32(16)
            deviation_x, deviation_y = np.sqrt(xx), np.sqrt(yy)
            features[22, i, j] = np.float32(2) * np.sqrt(deviation_x + np.float32(_FLOOR))
            features[23, i, j] = np.float32(2) * np.sqrt(deviation_y + np.float32(_FLOOR))
            features[24, i, j] = xy / (deviation_x * deviation_y + np.float32(_FLOOR * _FLOOR))
            moments[0, i, j], moments[1, i, j] = mean_x, mean_y
            moments[2, i, j], moments[3, i, j], moments[4, i, j] = xx, yy, xy
