"""The artifact map of LDL (Liang et al., "Details or Artifacts", CVPR 2022).

Where a residual varies strongly from pixel to pixel, a GAN has invented texture. The map is a
weight of LDL's training loss and, thresholded, a detector.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from desra.errors import InputError


def residual(reference: Tensor, output: Tensor) -> Tensor:
    """Absolute difference summed over channels: ``(B, C, H, W)`` twice to ``(B, 1, H, W)``.

    Example:
        >>> import torch
        >>> residual(torch.zeros(1, 3, 1, 1), torch.full((1, 3, 1, 1), 0.5)).item()
        1.5
    """
    return (reference - output).abs().sum(dim=1, keepdim=True)


def local_variance(plane: Tensor, window_size: int = 7) -> Tensor:
    """Unbiased variance in a square window around each pixel, with reflected borders.

    Computed as E[x²] − E[x]² from running sums, in float64: in float32 that difference would lose
    most of its digits where the plane is flat.

    Args:
        plane: ``(B, 1, H, W)``, floating point.
        window_size: side of the window, odd; must be less than twice the image's sides.

    Returns:
        ``(B, 1, H, W)`` float64, not negative; differentiable.

    Raises:
        InputError: the image is too small to be reflected for this window, or on an mps device,
            which has no float64.
    """
    if plane.device.type == "mps":
        raise InputError(
            "LDL's map needs float64, which mps lacks; use trainer=cpu, or model.artifact=null"
        )
    margin = window_size // 2
    height, width = plane.shape[-2:]
    if min(height, width) <= margin:
        raise InputError(
            f"{width}x{height} image: too small for LDL's {window_size}x{window_size} windows; "
            f"use crops of more than {margin} pixels"
        )
    padded = F.pad(plane.double(), [margin] * 4, mode="reflect")
    sums = F.pad(torch.cat([padded, padded.square()], dim=1), [1, 0, 1, 0])
    for dim, length in ((-1, width), (-2, height)):
        running = sums.cumsum(dim)
        sums = running.narrow(dim, window_size, length) - running.narrow(dim, 0, length)
    mean, mean_square = (sums / window_size**2).chunk(2, dim=1)
    count = window_size**2
    return (mean_square - mean.square()).clamp_min(0) * (count / (count - 1))


def artifact_map(
    reference: Tensor, output: Tensor, stable_output: Tensor | None = None, window_size: int = 7
) -> Tensor:
    """LDL's weight of each pixel: var(r)^(1/5) · local var(r), and 0 where r < r_ema (eq. 4–7).

    r is the `residual` of ``output`` and r_ema that of ``stable_output``, the output of the
    EMA
    generator: what the EMA gets more wrong than the present generator is no artifact.

    Args:
        reference: ground truth, or MSE-SR where the map is used as a detector, ``(B, C, H, W)``.
        output: the GAN's output, same shape.
        stable_output: the EMA generator's output, same shape; None leaves the last factor out.
        window_size: of the local variance; 7 in the release.

    Returns:
        ``(B, 1, H, W)`` float32. Gradients reach ``output`` through the map, as in the release.

    Example:
        >>> import torch
        >>> target = torch.rand(1, 3, 16, 16)
        >>> artifact_map(target, target).abs().max().item()
        0.0
        >>> artifact_map(target, 1 - target).shape
        torch.Size([1, 1, 16, 16])
    """
    difference = residual(reference.float(), output.float())
    spread = difference.double().var(dim=(-3, -2, -1), keepdim=True)
    # The slope of x^(1/5) is infinite at 0, where the map is 0 whatever the slope.
    varies = spread > 0
    image_weight = torch.where(varies, spread, 1).pow(1 / 5) * varies
    weight = (image_weight * local_variance(difference, window_size)).float()
    if stable_output is None:
        return weight
    stable = residual(reference.float(), stable_output.float())
    return weight.masked_fill(difference < stable, 0)
