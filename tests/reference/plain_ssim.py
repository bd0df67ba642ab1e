"""SSIM of whole windows, by its definition."""

import torch
from torch import Tensor
from torch.nn import functional as F


def valid_ssim(image: Tensor, reference: Tensor) -> Tensor:
    """SSIM of ``(1, C, H, W)`` float64 planes on 0–255 by its definition, to compare with."""
    axis = torch.arange(11, dtype=torch.float64) - 5
    taps = torch.exp(-(axis**2) / (2 * 1.5**2))
    window = torch.outer(taps, taps) / taps.sum() ** 2
    kernel = window.expand(image.shape[1], 1, 11, 11)

    def mean(planes: Tensor) -> Tensor:
        return F.conv2d(planes, kernel, groups=image.shape[1])

    x, y = mean(image), mean(reference)
    xx, yy = mean(image**2) - x**2, mean(reference**2) - y**2
    xy = mean(image * reference) - x * y
    first, second = (0.01 * 255) ** 2, (0.03 * 255) ** 2
    return (
        (2 * x * y + first) * (2 * xy + second) / ((x**2 + y**2 + first) * (xx + yy + second))
    ).mean()
