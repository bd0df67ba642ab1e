"""Artifacts by the true image: where GAN-SR's edges are not the photo's though MSE-SR's are nearer.

The measure is the dissimilarity of oriented edge energies, as of histograms of gradients (Dalal
and Triggs, CVPR 2005): in windows of 11 pixels the sum of absolute derivatives in four directions
at two scales, compared by Bray and Curtis's dissimilarity, Σ|a − b| / Σ(a + b). Unlike DeSRA's
distance it knows the true image, and it tells directions and scales apart.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from desra.morphology import dilate, erode

WINDOW = 11
APART, NEARER = 0.4, 0.15
"""GAN-SR is wrong where its dissimilarity is above the first, and MSE-SR's lower by the second."""
_QUIET = 6.0 / 255
"""Energy that both may have without being told apart."""


def true_labels(hr: Tensor, mse_sr: Tensor, gan_sr: Tensor) -> Tensor:
    """Where GAN-SR departs from the photo and MSE-SR does so less.

    Args:
        hr: ``(B, 3, H, W)`` float in [0, 1].
        mse_sr: likewise.
        gan_sr: likewise.

    Returns:
        ``(B, 1, H, W)`` bool, without what is narrower than 5 pixels.
    """
    truth, mse, gan = (edge_energy(images) for images in (hr, mse_sr, gan_sr))
    apart = dissimilarity(truth, gan)
    wrong = (apart > APART) & (apart - dissimilarity(truth, mse) > NEARER)
    return dilate(erode(wrong, 5), 5)


def edge_energy(images: Tensor) -> Tensor:
    """Energies ``(B, 8, H, W)`` in four directions at two scales, of the brightness."""
    luma = images.mean(1, keepdim=True)
    coarse = F.interpolate(
        F.avg_pool2d(luma, 2, ceil_mode=True), luma.shape[-2:], mode="bilinear", align_corners=False
    )
    energies = torch.cat([_derivatives(plane) for plane in (luma, coarse)], 1)
    return F.avg_pool2d(energies, WINDOW, 1, WINDOW // 2, count_include_pad=False)


def _derivatives(plane: Tensor) -> Tensor:
    padded = F.pad(plane, (1, 1, 1, 1), mode="replicate")
    centre = padded[..., 1:-1, 1:-1]
    ends = (padded[..., 1:-1, 2:], padded[..., 2:, 1:-1], padded[..., 2:, 2:], padded[..., 2:, :-2])
    return torch.cat([(end - centre).abs() for end in ends], 1)


def dissimilarity(first: Tensor, second: Tensor) -> Tensor:
    """Bray and Curtis's dissimilarity of energies, ``(B, 1, H, W)`` in [0, 1]."""
    difference = (first - second).abs().sum(1, keepdim=True)
    return difference / ((first + second).sum(1, keepdim=True) + _QUIET)
