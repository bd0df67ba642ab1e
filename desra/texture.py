"""Texture distance of two images (DeSRA, ICML 2023, equation 7)."""

from __future__ import annotations

from typing import Literal, get_args

import torch
from torch import Tensor
from torch.nn.functional import conv2d

from desra.errors import InputError
from desra.images import quantize

WINDOW_SIGMA = 1.5
STABILITY = (0.03 * 255) ** 2
"""C of equation 7: keeps the ratio near 1 where neither image has texture."""
EPSILON = 1e-8
"""Added to variances below a square root, since rounding may leave them slightly negative."""

Direction = Literal["both", "rougher"]

CHUNK_PIXELS = 2**21
"""Pixels a GPU works on at a time; each takes some 400 bytes of scratch memory."""


def gaussian_window(window_size: int) -> Tensor:
    """Weights ``(window_size,)``, float64, of a Gaussian with a σ of 1.5 pixels; their sum is 1.

    Raises:
        InputError: the size is even or below 3.

    Example:
        >>> gaussian_window(3)
        tensor([0.3078, 0.3844, 0.3078], dtype=torch.float64)
    """
    if window_size < 3 or window_size % 2 == 0:
        raise InputError(f"window_size={window_size}; give an odd number of at least 3")
    offset = torch.arange(window_size, dtype=torch.float64, device="cpu") - window_size // 2
    weights = torch.exp(-(offset**2) / (2 * WINDOW_SIGMA**2))
    return weights / weights.sum()


def check_direction(direction: str) -> Direction:
    """``direction`` if it is one.

    Raises:
        InputError: it is another word.
    """
    for known in get_args(Direction):
        if direction == known:
            return known
    raise InputError(f"direction={direction}; give both or rougher")


@torch.no_grad()
def texture_distance(
    mse_sr: Tensor, gan_sr: Tensor, window_size: int = 11, direction: Direction = "both"
) -> Tensor:
    """Relative distance D of local texture between two images, in float64.

    D = (2·√(σ_m² + ε)·√(σ_g² + ε) + C) / (σ_m² + σ_g² + C), averaged over the channels. σ² is the
    variance of 0–255 levels under a Gaussian window (σ 1.5). D is 1 where the textures agree and
    near 0 where one image has texture that the other lacks. ε alone would let D exceed 1, by less
    than 4e-10; that is cut off.

    Float64 is needed: in float32 the difference E[x²] − E[x]² cancels, and D is off by up to 6e-3.

    Args:
        mse_sr: ``(B, 3, H, W)``, uint8, or float in [0, 1], which is rounded to 8 bits first.
        gan_sr: likewise, of the same shape and device.
        window_size: side of the window in pixels, odd, at least 3.
        direction: ``"both"``: as above. ``"rougher"``: σ_m is at most σ_g, channel by channel, so
            that a channel in which MSE-SR has the more texture counts as alike. D is continuous in
            the images either way.

    Returns:
        ``(B, 1, H, W)`` float64 on the device of the input. The window fits only
        ``(H − window_size + 1) × (W − window_size + 1)`` positions; the rim is 1.

    Raises:
        InputError: sizes differ, an image is smaller than the window, the device has no float64, or
            the direction is another word.

    Example:
        >>> flat = torch.full((1, 3, 40, 40), 128, dtype=torch.uint8)
        >>> noise = torch.randint(0, 256, flat.shape, dtype=torch.uint8)
        >>> distance = texture_distance(flat, noise)
        >>> distance.shape, distance.dtype, distance[0, 0, 20, 20].item() < 0.1
        (torch.Size([1, 1, 40, 40]), torch.float64, True)
        >>> texture_distance(noise, noise).min().item()
        1.0
    """
    rougher = check_direction(direction) == "rougher"
    weights = gaussian_window(window_size)
    check_pair(mse_sr, gan_sr, window_size)
    mse_sr, gan_sr = quantize(mse_sr), quantize(gan_sr)
    if mse_sr.device.type == "cpu":
        from desra.kernels.texture_distance import texture_distances  # Numba takes long to import

        half = weights[window_size // 2 :].numpy()
        pair = mse_sr.numpy(), gan_sr.numpy()
        distance = texture_distances(*pair, half, STABILITY, EPSILON, rougher)
        return torch.from_numpy(distance).unsqueeze(1)
    return texture_distance_torch(mse_sr, gan_sr, weights, rougher)


def check_pair(mse_sr: Tensor, gan_sr: Tensor, smallest: int = 1) -> None:
    """Check that two image batches can be compared.

    Raises:
        InputError: not ``(B, 3, H, W)``, sizes differ, a side is below ``smallest`` pixels, or the
            devices differ or have no float64.
    """
    for role, images in (("MSE-SR", mse_sr), ("GAN-SR", gan_sr)):
        if images.ndim != 4 or images.shape[1] != 3:
            raise InputError(f"{role} of shape {tuple(images.shape)}; give RGB as (B, 3, H, W)")
    if mse_sr.shape != gan_sr.shape:
        sizes = [f"{role} is {_size(x)}" for role, x in (("MSE-SR", mse_sr), ("GAN-SR", gan_sr))]
        raise InputError(f"{', '.join(sizes)}; give two upscalings of one image")
    if min(mse_sr.shape[2:]) < smallest:
        raise InputError(
            f"the image is {_size(mse_sr)}, smaller than the window of {smallest}x{smallest}; "
            "leave it out or choose a smaller window_size"
        )
    if mse_sr.device != gan_sr.device:
        raise InputError(
            f"MSE-SR is on {mse_sr.device}, GAN-SR on {gan_sr.device}; give one device"
        )
    if mse_sr.device.type == "mps":
        raise InputError("detection needs float64, which mps lacks; give both images on the CPU")


def _size(images: Tensor) -> str:
    batch, _, height, width = images.shape
    return f"{width}x{height}" if batch == 1 else f"{batch} of {width}x{height}"


def texture_distance_torch(
    mse_sr: Tensor,
    gan_sr: Tensor,
    weights: Tensor,
    rougher: bool = False,
    chunk_pixels: int = CHUNK_PIXELS,
) -> Tensor:
    """`texture_distance` by PyTorch's operations, for any device with float64.

    Args:
        mse_sr: ``(B, 3, H, W)`` uint8, not smaller than the window.
        gan_sr: likewise.
        weights: ``(window_size,)`` float64, a symmetric window.
        rougher: whether only texture that MSE-SR lacks counts.
        chunk_pixels: how many output pixels are computed at a time; bounds the memory.
    """
    batch, _, height, width = mse_sr.shape
    rim = len(weights) // 2
    rows = height - 2 * rim
    distance = mse_sr.new_ones((batch, 1, height, width), dtype=torch.float64)
    weights = weights.to(mse_sr.device)
    images_at_once = max(1, chunk_pixels // (height * width))
    rows_at_once = max(1, chunk_pixels // width)
    for image in range(0, batch, images_at_once):
        for top in range(0, rows, rows_at_once):
            taken = slice(image, image + images_at_once), slice(None)
            bottom = min(top + rows_at_once, rows)
            band = (*taken, slice(top, bottom + 2 * rim))
            out = distance[(*taken, slice(top + rim, bottom + rim), slice(rim, width - rim))]
            out.copy_(_valid_distance(mse_sr[band], gan_sr[band], weights, rougher))
    return distance


def _valid_distance(mse_sr: Tensor, gan_sr: Tensor, weights: Tensor, rougher: bool) -> Tensor:
    levels = torch.cat([mse_sr, gan_sr], 1).double()
    moments = torch.cat([levels, levels.square()], 1)
    # One group a plane: PyTorch's own depthwise kernels, which take float64 as it is.
    column = weights.view(1, 1, -1, 1).expand(12, 1, -1, 1).contiguous()
    row = weights.view(1, 1, 1, -1).expand(12, 1, 1, -1).contiguous()
    moments = conv2d(conv2d(moments, column, groups=12), row, groups=12)
    mean, mean_square = moments.chunk(2, 1)
    mse_variance, gan_variance = mean_square.addcmul(mean, mean, value=-1).chunk(2, 1)
    if rougher:
        mse_variance = torch.minimum(mse_variance, gan_variance)
    product = (mse_variance + EPSILON).mul_(gan_variance + EPSILON)
    numerator = product.sqrt_().mul_(2).add_(STABILITY)
    ratio = numerator.div_((mse_variance + gan_variance).add_(STABILITY))
    return ratio.mean(1, keepdim=True).clamp_(max=1)
