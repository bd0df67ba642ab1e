"""Artifacts of known places for a detector to learn from: regions, and what is pasted into them.

Nothing here measures a texture distance, so that what is learned owes nothing to DeSRA's.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional as F

VISIBLE = 3.0 / 255
"""Mean difference of pixels around a place below which nothing was pasted that could be seen."""


def blobs(count: int, side: int, random: torch.Generator) -> Tensor:
    """Masks of irregular regions, ``(count, 1, side, side)`` bool; of a third nothing is marked.

    Smooth noise is cut at the level that leaves a drawn share of the pixels, 2 to 35 %.
    """
    masks = torch.zeros(count, 1, side, side, dtype=torch.bool)
    for index in range(count):
        if torch.rand((), generator=random) < 0.33:
            continue
        cells = int(torch.randint(3, 8, (), generator=random))
        coarse = torch.rand(1, 1, cells, cells, generator=random)
        field = F.interpolate(coarse, (side, side), mode="bicubic", align_corners=False)[0, 0]
        share = 0.02 + 0.33 * float(torch.rand((), generator=random))
        masks[index, 0] = field > field.flatten().kthvalue(int((1 - share) * side * side)).values
    return masks


def paste(background: Tensor, artifact: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
    """Paste ``artifact`` into ``background`` on a mask, with an edge of two pixels' width.

    Args:
        background: ``(B, 3, H, W)`` float in [0, 1].
        artifact: likewise.
        mask: ``(B, 1, H, W)`` bool.

    Returns:
        the image, and the mask without the places where nothing can be seen of it.
    """
    soft = F.avg_pool2d(mask.float(), 3, 1, 1, count_include_pad=False)
    image = torch.lerp(background, artifact, soft)
    difference = (artifact - background).abs().mean(1, keepdim=True)
    around = F.avg_pool2d(difference, 9, 1, 4, count_include_pad=False)
    return image, mask & (around > VISIBLE)


def exaggerate(mse_sr: Tensor, gan_sr: Tensor, factor: Tensor) -> Tensor:
    """What GAN-SR adds to MSE-SR, times ``factor`` ``(B,)``; mean colours of 8×8 pixels stay."""
    added = gan_sr - mse_sr
    coarse = F.interpolate(
        F.avg_pool2d(added, 8), scale_factor=8, mode="bilinear", align_corners=False
    )
    return (gan_sr + (factor.view(-1, 1, 1, 1) - 1) * (added - coarse)).clamp(0, 1)


def ripples(images: Tensor, random: torch.Generator) -> Tensor:
    """Parallel waves beside edges, as networks leave them: a grating, strong near gradients."""
    count, _, height, width = images.shape
    y, x = torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij")
    angle = torch.rand(count, 1, 1, generator=random) * math.pi
    period = 3 + 7 * torch.rand(count, 1, 1, generator=random)
    wave = torch.sin(2 * math.pi / period * (x * angle.cos() + y * angle.sin()))
    luma = images.mean(1, keepdim=True)
    edges = (luma - F.avg_pool2d(luma, 5, 1, 2, count_include_pad=False)).abs()
    near = F.avg_pool2d(edges, 17, 1, 8, count_include_pad=False)
    strength = 0.03 + 0.1 * torch.rand(count, 1, 1, 1, generator=random)
    amount = strength * (0.3 + near / (near + 0.02))
    return (images + amount * wave[:, None]).clamp(0, 1)


def scatter(images: Tensor, random: torch.Generator) -> Tensor:
    """Pixels moved to places nearby, KADID-10k's "jitter" (Lin et al., QoMEX 2019)."""
    count, _, height, width = images.shape
    reach = 2 + 4 * torch.rand(count, 1, 1, 1, generator=random)
    cells = torch.randint(1, 4, (), generator=random)
    size = (height // int(cells) + 1, width // int(cells) + 1)
    shift = F.interpolate(torch.randn(count, 2, *size, generator=random), (height, width))
    y, x = torch.meshgrid(
        torch.linspace(-1, 1, height), torch.linspace(-1, 1, width), indexing="ij"
    )
    grid = torch.stack([x, y], -1) + (shift * reach).permute(0, 2, 3, 1) / torch.tensor(
        [width, height]
    )
    return F.grid_sample(images, grid, padding_mode="reflection", align_corners=False)


def checkers(images: Tensor, random: torch.Generator) -> Tensor:
    """A lattice of two to four pixels, as of transposed convolutions and of pixel shuffling."""
    count, _, height, width = images.shape
    period = int(torch.randint(2, 5, (), generator=random))
    tile = torch.randn(count, 3, period, period, generator=random)
    tile -= tile.mean((2, 3), keepdim=True)
    lattice = tile.repeat(1, 1, height // period + 1, width // period + 1)[..., :height, :width]
    strength = 0.02 + 0.05 * torch.rand(count, 1, 1, 1, generator=random)
    return (images + strength * lattice).clamp(0, 1)


def paint(images: Tensor, random: torch.Generator) -> Tensor:
    """Flat patches with hard edges, as of a network that denoises texture to strokes."""
    levels = 4 + 8 * torch.rand(len(images), 1, 1, 1, generator=random)
    smooth = F.avg_pool2d(images, 5, 1, 2, count_include_pad=False)
    return (smooth * levels).round() / levels


def grain(images: Tensor, random: torch.Generator) -> Tensor:
    """Coloured worms: noise, smoothed and sharpened until it is made of strokes."""
    noise = torch.randn(images.shape, generator=random)
    for _ in range(3):
        noise = (4 * F.avg_pool2d(noise, 3, 1, 1, count_include_pad=False)).tanh()
    grey = torch.rand(len(images), 1, 1, 1, generator=random)
    noise = torch.lerp(noise, noise.mean(1, keepdim=True), grey)
    strength = 0.02 + 0.08 * torch.rand(len(images), 1, 1, 1, generator=random)
    return (images + strength * noise).clamp(0, 1)


def halos(images: Tensor, random: torch.Generator) -> Tensor:
    """Edges sharpened until they glow."""
    side = 2 * int(torch.randint(1, 5, (), generator=random)) + 1
    amount = 1.5 + 3 * torch.rand(len(images), 1, 1, 1, generator=random)
    smooth = F.avg_pool2d(images, side, 1, side // 2, count_include_pad=False)
    return (images + amount * (images - smooth)).clamp(0, 1)


TEXTURES = (ripples, scatter, checkers, paint, grain, halos)
"""Published degradations of texture; each is an image's own function and that of a generator."""
