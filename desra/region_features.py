"""Features of artifact regions: how strong and fine, which way and what colour their texture is."""

from __future__ import annotations

from typing import NamedTuple

import cv2
import numpy as np
import torch
from numpy.typing import NDArray

from desra.regions import label_regions

FEATURES = (
    "log_area",
    "contrast",
    "strength",
    "fineness",
    "directedness",
    "direction_cos",
    "direction_sin",
    "colour",
    "brightness",
)
"""Names, in the order of the vectors; see `region_features`."""


class RegionFeatures(NamedTuple):
    """One 8-connected region.

    Attributes:
        x: column of its first pixel in raster order.
        y: row of that pixel.
        area: pixels.
        values: of `FEATURES`.
    """

    x: int
    y: int
    area: int
    values: list[float]


def region_features(
    mse_sr: NDArray[np.uint8], gan_sr: NDArray[np.uint8], mask: NDArray[np.bool_]
) -> list[RegionFeatures]:
    """Features of the regions of a mask, in raster order.

    d is GAN-SR − MSE-SR, without its mean over 15×15 pixels: the texture that one image has and
    the other lacks.

    - ``log_area``: natural logarithm of the pixels.
    - ``contrast``: logarithm of the ratio of standard deviations of GAN-SR and MSE-SR.
    - ``strength``: logarithm of d's standard deviation in levels.
    - ``fineness``: logarithm of the root of the ratio of the gradient's to d's energy: of a wave of
      period p that is ln(2π/p).
    - ``directedness``: coherence of d's structure tensor, 0 (no direction) to 1 (parallel waves).
    - ``direction_cos``, ``direction_sin``: of twice the angle of its gradients, times the former.
    - ``colour``: share of the difference's energy that is chroma, 0 to 1.
    - ``brightness``: mean difference of brightness, in parts of 32 levels.

    Args:
        mse_sr: ``(H, W, 3)``.
        gan_sr: likewise.
        mask: ``(H, W)``.

    Example:
        >>> smooth = np.full((32, 32, 3), 128, np.uint8)
        >>> wave = (20 * np.sin(2 * np.pi * np.arange(32) / 8)).astype(int)
        >>> region = region_features(
        ...     smooth, (smooth + wave[None, :, None]).astype(np.uint8), np.ones((32, 32), bool)
        ... )[0]
        >>> values = dict(zip(FEATURES, region.values))
        >>> region.area, values["directedness"] > 0.9, values["direction_cos"] > 0.9
        (1024, True, True)
    """
    labels, count = (part.numpy() for part in label_regions(torch.from_numpy(mask.copy())))
    regions = int(count)
    if not regions:
        return []
    planes = [cv2.cvtColor(image, cv2.COLOR_RGB2YCrCb).astype(np.float64)
              for image in (mse_sr, gan_sr)]  # fmt: skip
    difference = planes[1] - planes[0]
    smooth = cv2.blur(difference, (15, 15), borderType=cv2.BORDER_REFLECT)
    detail = difference - smooth
    luma = detail[..., 0]
    across = np.gradient(luma, axis=1)
    down = np.gradient(luma, axis=0)

    def mean(values: NDArray) -> NDArray[np.float64]:
        return np.bincount(labels.ravel(), values.ravel(), regions + 1)[1:] / area

    area = np.bincount(labels.ravel(), minlength=regions + 1)[1:]
    deviations = [
        np.sqrt(np.maximum(mean(plane[..., 0] ** 2) - mean(plane[..., 0]) ** 2, 0))
        for plane in planes
    ]
    energy = mean(luma**2)
    xx, yy, xy = mean(across**2), mean(down**2), mean(across * down)
    gradient = xx + yy
    floor = 0.25  # of squared levels: half a level is nothing
    directed = np.hypot(xx - yy, 2 * xy) / (gradient + floor)
    chroma = mean((detail[..., 1:] ** 2).sum(-1)) + mean(smooth[..., 1] ** 2 + smooth[..., 2] ** 2)
    columns = [
        np.log(area),
        np.log((deviations[1] + 1) / (deviations[0] + 1)),
        np.log(np.sqrt(energy) + 0.5),
        np.log(np.sqrt((gradient + floor / 4) / (energy + floor))),
        directed,
        (xx - yy) / (gradient + floor),
        2 * xy / (gradient + floor),
        chroma / (chroma + energy + mean(smooth[..., 0] ** 2) + floor),
        mean(difference[..., 0]) / 32,
    ]
    _, first = np.unique(np.append(0, labels.ravel()), return_index=True)
    y, x = np.unravel_index(first[1:] - 1, labels.shape)
    table = np.stack(columns, 1)
    return [
        RegionFeatures(int(x[n]), int(y[n]), int(area[n]), [float(v) for v in table[n]])
        for n in range(regions)
    ]
