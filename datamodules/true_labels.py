"""Artifacts by the true image: where GAN-SR's edges do not run as the photo's, though MSE-SR's do.

The measure is the correlation of gradients: in windows of 11 pixels, at three scales, the sum of
scalar products of both images' gradients over the root of the product of their sums of squares, as
of normalised cross-correlation. It is 1 where edges agree in place, direction and sign, 0 where one
image has edges that have nothing to do with the other's, or the other has none. DeSRA's distance
compares strengths of texture alone and knows no truth.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from desra.morphology import dilate, erode

WINDOW = 11
SCALES = (1, 2, 4)
"""Sides of the squares that are averaged before gradients are taken."""
LOST = 0.2
"""Correlation that GAN-SR lacks beside MSE-SR, of at most 1."""
VISIBLE = 4.0 / 255
"""Root mean square error from which on an artifact can be seen."""
_QUIET = (2.0 / 255) ** 2
"""Of squared gradients: as of a third gradient that both images have, so that two flat places agree
and a flat one agrees with no edges."""


def true_labels(hr: Tensor, mse_sr: Tensor, gan_sr: Tensor) -> Tensor:
    """Where GAN-SR agrees less with the photo than MSE-SR does, and visibly departs from it.

    Args:
        hr: ``(B, 3, H, W)`` float in [0, 1], sides multiples of 4.
        mse_sr: likewise.
        gan_sr: likewise.

    Returns:
        ``(B, 1, H, W)`` bool, without what is narrower than 7 pixels.
    """
    lost = agreement(hr, mse_sr) - agreement(hr, gan_sr) > LOST
    error = _window((hr - gan_sr).square().mean(1, keepdim=True))
    return dilate(erode(lost & (error > VISIBLE**2), 7), 7)


def agreement(first: Tensor, second: Tensor) -> Tensor:
    """Correlation of the gradients of two images' brightness, of either with the other.

    Args:
        first: ``(B, 3, H, W)`` float in [0, 1], sides multiples of 4.
        second: likewise.

    Returns:
        ``(B, 1, H, W)`` in [0, 1], 1 where they are equal.
    """
    height, width = first.shape[-2:]
    total = first.new_zeros(len(first), 1, height, width)
    for side in SCALES:
        across = [_gradients(F.avg_pool2d(one.mean(1, keepdim=True), side)) for one in
                  (first, second)]  # fmt: skip
        products = [(across[i] * across[j]).sum(1, keepdim=True) for i, j in
                    ((0, 1), (0, 0), (1, 1))]  # fmt: skip
        joint, one, other = (_window(product) for product in products)
        # Cauchy and Schwarz: at most 1, since (joint + q)² ≤ (one + q) (other + q).
        correlation = (joint + _QUIET) / ((one + _QUIET) * (other + _QUIET)).sqrt()
        total += F.interpolate(correlation.clamp(0, 1), (height, width), mode="bilinear")
    return total / len(SCALES)


def _gradients(plane: Tensor) -> Tensor:
    padded = F.pad(plane, (1, 1, 1, 1), mode="replicate")
    across = padded[..., 1:-1, 2:] - padded[..., 1:-1, :-2]
    down = padded[..., 2:, 1:-1] - padded[..., :-2, 1:-1]
    return torch.cat([across, down], 1) / 2


def _window(values: Tensor) -> Tensor:
    return F.avg_pool2d(values, WINDOW, 1, WINDOW // 2, count_include_pad=False)
