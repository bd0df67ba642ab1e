"""PSNR, LPIPS and DISTS of a part of each image: detail kept where nothing was wrong.

All compare 8-bit images, as they are written to files.
"""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Literal

import torch
from torch import Tensor, nn

from desra.download import fetch
from desra.errors import InputError
from desra.files import link_or_copy

HIGHEST_PSNR = 58.92
"""PSNR in dB of two 8-bit images that differ by no more than rounding does, 1/12 of a squared
level. Equal images get it instead of infinity, so that means over images stay finite."""

_ROUNDING = 1 / 12
BACKBONES = {
    "alex": "https://download.pytorch.org/models/alexnet-owt-7be5be79.pth",
    "squeeze": "https://download.pytorch.org/models/squeezenet1_1-b8a52dc0.pth",
    "vgg": "https://download.pytorch.org/models/vgg16-397923af.pth",
}
"""torchvision's files of ImageNet weights; written out, since its import takes seconds."""

_SMALLEST_SIDE = 64  # below it AlexNet's poolings have nothing left

Backbone = Literal["alex", "squeeze", "vgg"]


def region_psnr(images: Tensor, reference: Tensor, region: Tensor) -> Tensor:
    """Peak signal-to-noise ratio over the pixels and channels of a region, in dB.

    Args:
        images: uint8 ``(B, 3, H, W)``.
        reference: likewise.
        region: bool ``(B, 1, H, W)``, true on the pixels that count.

    Returns:
        float64 ``(B,)``, at most `HIGHEST_PSNR`; NaN where the region is empty.

    Example:
        >>> images = torch.full((2, 3, 4, 4), 100, dtype=torch.uint8)
        >>> region = torch.zeros(2, 1, 4, 4, dtype=torch.bool)
        >>> region[0, ..., :2] = True
        >>> region_psnr(images, images + 5, region)  # 10 log10(255² / 25), and nothing to compare
        tensor([34.1514,     nan], dtype=torch.float64)
    """
    squares = (images.short() - reference.short()).int().square().sum(1, keepdim=True)
    total = (squares * region).sum((1, 2, 3), dtype=torch.float64)
    mean = total / (images.shape[1] * region.sum((1, 2, 3)))
    return 10 * torch.log10(255**2 / mean.clamp(min=_ROUNDING))


class RegionLPIPS(nn.Module):
    """LPIPS (Zhang et al., CVPR 2018) over a region, per pixel of it.

    Outside the region the reference is put into the image, so that the distance there is zero but
    for what receptive fields carry out of the region; and the mean over the image is divided by the
    region's share. Of the whole image as the region it is LPIPS as usual.

    Args:
        backbone: network whose features are compared.
        weights: torchvision's file of it; None to download it.

    Raises:
        InputError: the backbone's weights are not on this machine and cannot be downloaded.
    """

    def __init__(self, backbone: Backbone = "alex", weights: str | Path | None = None) -> None:
        super().__init__()
        if backbone not in BACKBONES:
            raise InputError(f"lpips={backbone}: give one of {', '.join(BACKBONES)}")
        fetch_backbone(backbone, weights)
        from torchmetrics.image import LearnedPerceptualImagePatchSimilarity

        self.backbone = backbone
        self.metric = LearnedPerceptualImagePatchSimilarity(
            backbone, normalize=True, sync_on_compute=False
        )

    @torch.no_grad()
    def forward(self, images: Tensor, reference: Tensor, region: Tensor) -> Tensor:
        """Distances of a batch.

        Args:
            images: uint8 ``(B, 3, H, W)``.
            reference: likewise.
            region: bool ``(B, 1, H, W)``, true on the pixels that count.

        Returns:
            float64 ``(B,)``; NaN where the region is empty, or the image smaller than 64 pixels.
        """
        height, width = images.shape[-2:]
        shares = region.flatten(1).double().mean(1)
        if min(height, width) < _SMALLEST_SIDE:
            return torch.full_like(shares, torch.nan)
        inserted = torch.where(region, images, reference)
        pairs = zip(inserted.float() / 255, reference.float() / 255, strict=True)
        # One at a time: called on a batch, the metric returns the batch's mean.
        distances = [self.metric(image[None], target[None]).double() for image, target in pairs]
        self.metric.reset()
        return torch.where(shares > 0, torch.stack(distances) / shares, torch.nan)


class RegionDISTS(nn.Module):
    """DISTS (Ding et al., TPAMI 2020) of images that equal the reference outside a region.

    It compares statistics of whole images, so it is not per pixel as `RegionLPIPS` is: values of
    one region can be compared, those of regions of different sizes cannot.

    Args:
        weights: torchvision's file of VGG16, or ``"vgg16"`` to download it (528 MB).

    Raises:
        InputError: the weights are not on this machine and cannot be downloaded.
    """

    def __init__(self, weights: str | Path = "vgg16") -> None:
        super().__init__()
        fetch_backbone("vgg", None if weights == "vgg16" else weights)
        from torchmetrics.functional.image.dists import DISTSNetwork

        self.network = DISTSNetwork().eval().requires_grad_(False)

    @torch.no_grad()
    def forward(self, images: Tensor, reference: Tensor, region: Tensor) -> Tensor:
        """Distances of a batch; arguments and result as of `RegionLPIPS`."""
        present = region.flatten(1).any(1)
        if min(images.shape[-2:]) < _SMALLEST_SIDE:
            return torch.full_like(present, torch.nan, dtype=torch.float64)
        inserted = torch.where(region, images, reference)
        distances = self.network(inserted.float() / 255, reference.float() / 255).double()
        return torch.where(present, distances.view(-1), torch.nan)


def fetch_backbone(backbone: Backbone, file: str | Path | None = None) -> Path:
    """Have a backbone's ImageNet weights where torchvision looks for them.

    Args:
        backbone: which.
        file: torchvision's file, for a machine without a network; None to download it.

    Raises:
        InputError: they are not there and cannot be downloaded, or the file is another.
    """
    url = BACKBONES[backbone]
    path = Path(torch.hub.get_dir(), "checkpoints", url.rpartition("/")[2])
    # torchvision's file names end in the first digits of their SHA-256
    digits = path.stem.rpartition("-")[2]
    if file is None:
        return fetch(url, path, sha256=digits)
    try:
        with open(file, "rb") as stream:
            digest = hashlib.file_digest(stream, "sha256").hexdigest()
    except OSError as error:
        raise InputError(f"{file}: {error.strerror}; give torchvision's {path.name}") from error
    if not digest.startswith(digits):
        raise InputError(f"{file}: its SHA-256 does not begin with {digits}; give {path.name}")
    link_or_copy(file, path)
    return path
