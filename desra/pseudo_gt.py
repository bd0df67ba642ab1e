"""Pseudo ground truth: MSE-SR where an artifact was found, the original GAN-SR everywhere else."""

from __future__ import annotations

import torch
import torch.nn.functional as F

from desra.errors import InputError


def compose(
    mse_sr: torch.Tensor,
    gan_sr: torch.Tensor,
    mask: torch.Tensor,
    feather: int = 0,
    weight: torch.Tensor | None = None,
) -> torch.Tensor:
    """M · MSE-SR + (1 - M) · GAN-SR (DeSRA, ICML 2023, section 3.3), on the device of its input.

    Args:
        mse_sr: ``(B, 3, H, W)`` float, or uint8 where ``feather`` is 0.
        gan_sr: as ``mse_sr``; the output of the original generator, not of the one being finetuned.
        mask: ``(B, 1, H, W)`` bool, true on artifacts.
        feather: pixels outside the mask over which MSE-SR fades into GAN-SR, see `blend_weights`;
            0 switches hard between the two, and every pixel is exactly one or the other.
        weight: ``(B, 1, H, W)`` float in [0, 1]: how much MSE-SR counts on the mask, as the
            probability that the artifact is noticed (``task=weight_masks``); 0: no weight is known,
            and it counts in full. None: it does everywhere.

    Returns:
        ``(B, 3, H, W)`` of the dtype of ``gan_sr``. Where ``mask`` is true and no weight known it
        equals ``mse_sr`` exactly, with any ``feather``.

    Raises:
        InputError: shapes or dtypes that do not fit together, or mixed uint8.

    >>> mask = torch.tensor([True, False, False, False]).view(1, 1, 1, 4)
    >>> compose(torch.ones(1, 3, 1, 4), torch.zeros(1, 3, 1, 4), mask)[0, 0]
    tensor([[1., 0., 0., 0.]])
    >>> compose(torch.ones(1, 3, 1, 4), torch.zeros(1, 3, 1, 4), mask, feather=1)[0, 0]
    tensor([[1.0000, 0.5000, 0.0000, 0.0000]])
    >>> weight = torch.full((1, 1, 1, 4), 0.8)
    >>> compose(torch.ones(1, 3, 1, 4), torch.zeros(1, 3, 1, 4), mask, 1, weight)[0, 0]
    tensor([[0.8000, 0.4000, 0.0000, 0.0000]])
    """
    _check(mse_sr, gan_sr, mask)
    if feather == 0 and weight is None:
        return torch.where(mask, mse_sr, gan_sr)
    if not gan_sr.is_floating_point():
        raise InputError("pseudo ground truth: only float images are mixed; convert uint8 first")
    share = blend_weights(mask, feather)
    if weight is not None:
        own = torch.where(weight == 0, 1, weight.float()) * mask
        around = F.max_pool2d(own, 2 * feather + 1, stride=1, padding=feather)
        share = share * torch.where(mask, own, around)
    return torch.lerp(gan_sr, mse_sr, share.to(gan_sr.dtype))


def blend_weights(mask: torch.Tensor, feather: int) -> torch.Tensor:
    """The share of MSE-SR in each pixel: 1 on the mask, falling linearly to 0 outside it.

    A pixel at chessboard distance d from the mask gets max(0, 1 - d / (feather + 1)). The ramp lies
    outside the mask, so that no part of an artifact is left in. In a crop it starts from the mask
    within the crop alone.

    Args:
        mask: ``(B, 1, H, W)`` bool.
        feather: width of the ramp in pixels, at least 0.

    Returns:
        ``(B, 1, H, W)`` float32 in [0, 1].

    Raises:
        InputError: ``feather`` is negative.

    Example:
        >>> mask = torch.tensor([True, False, False, False]).view(1, 1, 1, 4)
        >>> blend_weights(mask, feather=1).flatten()
        tensor([1.0000, 0.5000, 0.0000, 0.0000])
    """
    if feather < 0:
        raise InputError(f"feather={feather}: give a width in pixels, 0 for a hard switch")
    reached = mask.float()
    total = reached.clone()
    # The mean of the dilations by 0 … feather pixels is that ramp; a 3 × 3 maximum dilates by one.
    for _ in range(feather):
        reached = F.max_pool2d(reached, 3, stride=1, padding=1)
        total += reached
    return total.div_(feather + 1)


def _check(mse_sr: torch.Tensor, gan_sr: torch.Tensor, mask: torch.Tensor) -> None:
    if mse_sr.shape != gan_sr.shape or mse_sr.dtype != gan_sr.dtype:
        raise InputError(
            f"pseudo ground truth: MSE-SR is {tuple(mse_sr.shape)} {mse_sr.dtype} but GAN-SR is "
            f"{tuple(gan_sr.shape)} {gan_sr.dtype}; give two upscalings of the same batch"
        )
    if mask.dtype != torch.bool or mask.shape != (len(gan_sr), 1, *gan_sr.shape[-2:]):
        raise InputError(
            f"pseudo ground truth: the mask is {tuple(mask.shape)} {mask.dtype}; images of shape "
            f"{tuple(gan_sr.shape)} need a bool mask of one channel and the same height and width"
        )
