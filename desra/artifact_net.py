"""A small network that marks artifacts in two upscalings of an image."""

from __future__ import annotations

import cv2
import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from desra.texture import STABILITY

BLOCK = 4
"""Pixels a side of a block: the network's finest resolution, that of LR at ×4."""
FEATURES = 6 + BLOCK**2 + 5
"""Channels that the network sees of a block."""
STRIDE = 32
"""Images are padded to a multiple of it."""
_LUMA = (0.299, 0.587, 0.114)  # ITU-R BT.601
_FLOOR = 1.0 / 255  # of standard deviations: a level


class ArtifactNet(nn.Module):
    """A U-Net over what two upscalings look like in blocks of 4×4 pixels.

    It sees of each block the colours of both images, the brightness of GAN-SR's pixels around its
    mean, roots of standard deviations and the correlation, and in 3×3 blocks DeSRA's texture
    distance and the structure term of SSIM. The U-Net goes from a quarter of the resolution to a
    32nd and back; most of its weights are where there are few blocks.

    Args:
        width: channels at a quarter; below there are up to three times as many.

    Example:
        >>> net = ArtifactNet().eval()
        >>> pair = torch.zeros(2, 3, 50, 70, dtype=torch.uint8)
        >>> net(pair, pair).shape, sum(p.numel() for p in net.parameters()) <= 300_000
        (torch.Size([2, 1, 50, 70]), True)
    """

    def __init__(self, width: int = 16) -> None:
        super().__init__()
        wide, deep = width * 2, width * 3
        self.width = width
        self.quarter = _convolution(FEATURES, width, 1)
        self.eighth = _convolution(width, wide, 3, 2)
        self.sixteenth = nn.Sequential(_convolution(wide, deep, 3, 2), _convolution(deep, deep, 3))
        self.lowest = nn.Sequential(_convolution(deep, deep, 3, 2), _convolution(deep, deep, 3))
        self.up_sixteenth = _convolution(deep, wide, 3)
        self.up_eighth = _convolution(wide, width, 3)
        self.up_quarter = _convolution(2 * width, width, 1)
        self.head = nn.Conv2d(width, 1, 3, padding=1)

    def forward(self, mse_sr: Tensor, gan_sr: Tensor) -> Tensor:
        """Logits of an artifact at every pixel of ``gan_sr``.

        Args:
            mse_sr: ``(B, 3, H, W)`` uint8.
            gan_sr: likewise.

        Returns:
            ``(B, 1, H, W)`` float32, enlarged bilinearly from blocks of 4×4 pixels.
        """
        height, width = gan_sr.shape[-2:]
        coarse = self.coarse(mse_sr, gan_sr)
        return _enlarged(coarse)[..., :height, :width]

    def coarse(self, mse_sr: Tensor, gan_sr: Tensor) -> Tensor:
        """Logits of blocks, ``(B, 1, h, w)``, of the images padded to multiples of 32 pixels."""
        quarter = self.quarter(block_features(mse_sr, gan_sr))
        eighth = self.eighth(quarter)
        sixteenth = self.sixteenth(eighth)
        lowest = self.lowest(sixteenth)
        up = self.up_sixteenth(sixteenth + _twice(lowest))
        up = self.up_eighth(eighth + _twice(up))
        # A convolution of 1×1 over both, of which the coarser one is weighed before it is enlarged.
        convolution, norm, activation = self.up_quarter
        assert isinstance(convolution, nn.Conv2d)
        own, below = convolution.weight.split(self.width, 1)
        joined = F.conv2d(quarter, own, convolution.bias) + _twice(F.conv2d(up, below))
        return self._weigh(activation(norm(joined)))

    def _weigh(self, values: Tensor) -> Tensor:
        """`head`, whose nine weights of one channel are fast as nine channels that are shifted."""
        taps = self.head.weight.flip(2, 3)[0].flatten(1).T[:, :, None, None]
        shifted = F.conv2d(values, taps.contiguous())
        size = values.shape[-2:]
        added = F.fold(shifted.flatten(2), size, 3, padding=1)
        return added if self.head.bias is None else added + self.head.bias


def _convolution(before: int, after: int, size: int, stride: int = 1) -> nn.Sequential:
    convolution = nn.Conv2d(before, after, size, stride, size // 2, bias=False)
    return nn.Sequential(convolution, nn.BatchNorm2d(after), nn.ReLU(inplace=True))


def _enlarged(values: Tensor) -> Tensor:
    """Bilinearly, ``(B, 1, h, w)`` to pixels; without gradients OpenCV is six times as fast."""
    if values.device.type != "cpu" or values.requires_grad:
        return F.interpolate(values, scale_factor=BLOCK, mode="bilinear", align_corners=False)
    size = (values.shape[-1] * BLOCK, values.shape[-2] * BLOCK)
    planes = [
        cv2.resize(plane, size, interpolation=cv2.INTER_LINEAR) for plane in values[:, 0].numpy()
    ]
    return torch.from_numpy(np.stack(planes))[:, None]


def _twice(values: Tensor) -> Tensor:
    return F.interpolate(values, scale_factor=2, mode="bilinear", align_corners=False)


def block_features(mse_sr: Tensor, gan_sr: Tensor) -> Tensor:
    """What the network sees of each block of 4×4 pixels.

    Args:
        mse_sr: ``(B, 3, H, W)`` uint8.
        gan_sr: likewise.

    Returns:
        ``(B, 27, h, w)`` float32, blocks of the images padded to multiples of 32 pixels.
    """
    compute = _compiled_features if gan_sr.device.type == "cpu" else _features
    return compute(mse_sr, gan_sr)


def _compiled_features(mse_sr: Tensor, gan_sr: Tensor) -> Tensor:
    """`_features` on the processor, in two passes."""
    from desra.kernels.block_features import fill_blocks, fill_windows  # Numba: a long import

    batch, _, height, width = gan_sr.shape
    size = [-(-side // STRIDE) * STRIDE // BLOCK for side in (height, width)]
    features = torch.empty(batch, FEATURES, *size, memory_format=torch.channels_last)
    moments = torch.empty(batch, 5, *size)
    arrays = (values.numpy() for values in (mse_sr, gan_sr, features, moments))
    for planes in zip(*arrays, strict=True):
        fill_blocks(*planes)
        fill_windows(planes[3], planes[2], STABILITY / 255**2)
    return features


def _features(mse_sr: Tensor, gan_sr: Tensor) -> Tensor:
    """`block_features` of any device."""
    height, width = gan_sr.shape[-2:]
    padding = (0, -width % STRIDE, 0, -height % STRIDE)
    images = torch.cat([mse_sr, gan_sr], 1).float().div_(255)
    if any(padding):
        images = F.pad(images, padding, mode="replicate")
    colours = F.avg_pool2d(images, BLOCK)
    weights = images.new_tensor(_LUMA).view(1, 1, 3, 1, 1)
    luma = (images.unflatten(1, (2, 3)) * weights).sum(2)
    count = BLOCK**2
    blocks = F.pixel_unshuffle(luma, BLOCK)
    mse, gan = blocks[:, :count], blocks[:, count:]
    means = [part.mean(1, keepdim=True) for part in (mse, gan)]
    mse, gan = mse - means[0], gan - means[1]
    products = (mse.square(), gan.square(), mse * gan)
    within = torch.cat([part.mean(1, keepdim=True) for part in products], 1)
    deviations = within[:, :2].sqrt()
    correlation = within[:, 2:] / (deviations.prod(1, keepdim=True) + _FLOOR**2)
    windows = _windows(torch.cat([*means, within], 1))
    return torch.cat(
        [colours - 0.5, 8 * gan, 2 * (deviations + _FLOOR).sqrt(), correlation, windows], 1
    )


def _windows(moments: Tensor) -> Tensor:
    """Texture distance and structure in 3×3 blocks, ``(B, 2, h, w)``."""
    around = F.pad(moments, (1, 1, 1, 1), mode="replicate")
    mean, within = around[:, :2], around[:, 2:]
    products = torch.cat([mean.square(), mean[:, :1] * mean[:, 1:]], 1)
    averages = F.avg_pool2d(torch.cat([mean, within + products], 1), 3, 1)
    own = averages[:, :2]
    total = averages[:, 2:] - torch.cat([own.square(), own[:, :1] * own[:, 1:]], 1)
    var_m, var_g = total[:, :1].clamp_min(0), total[:, 1:2].clamp_min(0)
    c = STABILITY / 255**2
    root = (var_m * var_g).sqrt()
    texture = (2 * root + c) / (var_m + var_g + c)
    return torch.cat([texture, (total[:, 2:] + c / 2) / (root + c / 2)], 1)
