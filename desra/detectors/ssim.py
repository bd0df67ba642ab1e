"""Structural similarity of the two upscalings as a detector."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from desra.detectors.base import Detector
from desra.detectors.tiles import map_tiles
from desra.images import quantize
from desra.texture import check_pair, gaussian_window

WINDOW_SIZE = 11
_C1, _C2 = (0.01 * 255) ** 2, (0.03 * 255) ** 2


class SSIMDetector(Detector):
    """Local SSIM (Wang et al., TIP 2004) between MSE-SR and GAN-SR: Gaussian window of 11×11 pixels
    (σ 1.5), K1 0.01, K2 0.03, 8-bit range, reflected borders; the mean over RGB, and 0 where that
    is negative.

    DeSRA's distance is the part of SSIM that compares how strong textures are; SSIM also asks
    whether they correlate and whether brightness agrees.

    Args:
        threshold: a pixel with a lower similarity is a candidate. At 0.35 as many pixels are as
            with DeSRA at 0.7, on outputs of Real-ESRGAN, MM-RealSR and DITN.
        min_area: see `Detector`.

    Raises:
        InputError: a setting that cannot be used.

    Example:
        >>> import torch
        >>> smooth = torch.full((1, 3, 64, 64), 0.5)
        >>> textured = smooth.clone()
        >>> textured[..., 16:48, 16:48] += torch.rand(32, 32).sub(0.5)
        >>> mask = SSIMDetector(min_area=100)(smooth, textured).mask
        >>> mask.shape, mask[..., 32, 32].item(), mask[..., 2, 2].item()
        (torch.Size([1, 1, 64, 64]), True, False)
    """

    def __init__(self, threshold: float = 0.35, min_area: float = 4000) -> None:
        super().__init__(threshold, min_area)

    def distance(self, mse_sr: Tensor, gan_sr: Tensor) -> Tensor:
        """SSIM, averaged over the channels, in [0, 1]; see `local_ssim`."""
        check_pair(mse_sr, gan_sr, WINDOW_SIZE)
        images = quantize(mse_sr), quantize(gan_sr)
        # Small tiles: what is computed of one then stays in the cache.
        similarity = map_tiles(local_ssim, *images, margin=WINDOW_SIZE // 2, tile=256)
        return similarity.clamp_(0, 1)


def local_ssim(mse_sr: Tensor, gan_sr: Tensor) -> Tensor:
    """SSIM at every pixel, averaged over the channels.

    As torchmetrics' full image of SSIM, but with the window applied along rows and columns in turn:
    its 11×11 convolution in float64 takes half a minute a megapixel on a CPU core. Float64, since
    E[x²] − E[x]² of 8-bit levels cancels in float32.

    Args:
        mse_sr: ``(B, 3, H, W)`` uint8, no side below 6.
        gan_sr: likewise.

    Returns:
        ``(B, 1, H, W)`` float64 in [-1, 1].

    Example:
        >>> import torch
        >>> image = torch.rand(1, 3, 20, 20).double()
        >>> torch.allclose(local_ssim(image, image), torch.tensor(1.0).double())
        True
    """
    x, y = mse_sr.double(), gan_sr.double()
    weights = gaussian_window(WINDOW_SIZE).tolist()
    moments = torch.cat([x, y, x.square(), y.square(), x * y], 1)
    moments = F.pad(moments, [WINDOW_SIZE // 2] * 4, mode="reflect")
    for dim in (-2, -1):
        length = moments.shape[dim] - WINDOW_SIZE + 1
        total = moments.narrow(dim, 0, length) * weights[0]
        for offset, weight in enumerate(weights[1:], 1):
            total.add_(moments.narrow(dim, offset, length), alpha=weight)
        moments = total
    mean_x, mean_y, square_x, square_y, product = moments.chunk(5, 1)
    means = mean_x.square() + mean_y.square()
    covariance = product - mean_x * mean_y
    numerator = (2 * mean_x * mean_y + _C1) * (2 * covariance + _C2)
    variances = (square_x + square_y - means).clamp_min(0)
    return (numerator / ((means + _C1) * (variances + _C2))).mean(1, keepdim=True)
