"""Gaussian and Poisson noise, coloured or grey, from one generator a sample."""

from __future__ import annotations

import torch
from numpy.typing import NDArray

from datamodules.degradations.draws import NoiseSource

_LUMA = (0.2989, 0.587, 0.114)


def add_gaussian_noise(
    images: torch.Tensor, sigma: NDArray, grey: NDArray, source: NoiseSource
) -> torch.Tensor:
    """Add normal noise and clamp.

    Args:
        images: ``(B, 3, H, W)`` float32 in [0, 1].
        sigma: standard deviation on the scale 0–255, ``(B,)``.
        grey: whether all channels get the same noise, ``(B,)``.
        source: of the noise.

    Returns:
        ``(B, 3, H, W)`` float32 in [0, 1].
    """
    noisy = images.clone()
    for place, image in enumerate(noisy):
        planes = image.shape if not grey[place] else image[:1].shape
        noise = torch.randn(planes, generator=source.of(place), device=images.device)
        image.add_(noise, alpha=float(sigma[place]) / 255)
    return noisy.clamp_(0, 1)


def add_poisson_noise(
    images: torch.Tensor, scale: NDArray, grey: NDArray, source: NoiseSource
) -> torch.Tensor:
    """Add shot noise and clamp.

    An 8-bit image in which n levels occur is taken as counts of up to 2^⌈log₂ n⌉ photons; the
    noise of these counts is multiplied by ``scale``.

    Args:
        images: ``(B, 3, H, W)`` float32 in [0, 1].
        scale: factor on the noise, ``(B,)``.
        grey: whether the noise is that of the image's luma, the same in all channels, ``(B,)``.
        source: of the noise.

    Returns:
        ``(B, 3, H, W)`` float32 in [0, 1].
    """
    noisy = images.clone()
    for place, image in enumerate(noisy):
        light = _luma(image) if grey[place] else image
        levels = light.mul(255).round_().clamp_(0, 255)
        photons = _photons(levels)
        expected = levels.mul_(photons / 255)
        counts = torch.poisson(expected, generator=source.of(place))
        image.add_(counts.sub_(expected).mul_(float(scale[place]) / photons))
    return noisy.clamp_(0, 1)


def _luma(image: torch.Tensor) -> torch.Tensor:
    weights = torch.tensor(_LUMA, device=image.device).view(3, 1, 1)
    return (image * weights).sum(0, keepdim=True)


def _photons(levels: torch.Tensor) -> torch.Tensor:
    """2^⌈log₂ n⌉ for the n levels that occur, as a tensor, so that a GPU need not be waited for."""
    occurs = torch.zeros(256, device=levels.device)
    occurs.index_fill_(0, levels.to(torch.int64).flatten(), 1.0)
    return torch.exp2(occurs.sum().log2().ceil())
