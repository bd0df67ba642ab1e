"""Erosion and dilation of masks by squares, on any device.

Outside the image counts as neither foreground nor background: an erosion is not started by the
border, and a dilation does not come from it.
"""

from __future__ import annotations

import cv2
import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import pad

from desra.errors import InputError
from desra.regions import as_images


def erode(mask: Tensor, size: int = 5) -> Tensor:
    """Keep pixels whose whole ``size × size`` neighbourhood, as far as it is inside, is set.

    Args:
        mask: ``(…, H, W)`` bool.
        size: side of the square in pixels, odd.

    Raises:
        InputError: the size is even or below 1, or the mask is not bool.

    Example:
        >>> import torch
        >>> mask = torch.ones(1, 1, 3, 4, dtype=torch.bool)
        >>> mask[..., 1, 3] = False
        >>> erode(mask, 3).int()[0, 0]
        tensor([[1, 1, 0, 0],
                [1, 1, 0, 0],
                [1, 1, 0, 0]], dtype=torch.int32)
    """
    _check_size(size)
    if mask.device.type == "cpu":
        return _with_opencv(cv2.MORPH_ERODE, mask, size)
    return erode_torch(mask, size)


def dilate(mask: Tensor, size: int = 5, iterations: int = 1) -> Tensor:
    """Set pixels whose ``size × size`` neighbourhood has a set pixel, ``iterations`` times.

    Args:
        mask: ``(…, H, W)`` bool.
        size: side of the square in pixels, odd.
        iterations: how often.

    Raises:
        InputError: the size is even or below 1, or the mask is not bool.

    Example:
        >>> import torch
        >>> mask = torch.zeros(1, 1, 3, 5, dtype=torch.bool)
        >>> mask[..., 1, 1] = True
        >>> dilate(mask, 3).int()[0, 0]
        tensor([[1, 1, 1, 0, 0],
                [1, 1, 1, 0, 0],
                [1, 1, 1, 0, 0]], dtype=torch.int32)
    """
    _check_size(size)
    side = iterations * (size - 1) + 1  # one dilation by a larger square
    if mask.device.type == "cpu":
        return _with_opencv(cv2.MORPH_DILATE, mask, side)
    return dilate_torch(mask, side)


def _check_size(size: int) -> None:
    if size < 1 or size % 2 == 0:
        raise InputError(f"square of side {size}; give an odd number of pixels")


def _with_opencv(operation: int, mask: Tensor, size: int) -> Tensor:
    images = as_images(mask).contiguous().numpy().view(np.uint8)
    square = np.ones((size, size), np.uint8)
    result = np.empty_like(images)
    for image, out in zip(images, result, strict=True):
        cv2.morphologyEx(image, operation, square, dst=out)
    return torch.from_numpy(result.view(bool)).view(mask.shape)


def erode_torch(mask: Tensor, size: int) -> Tensor:
    """`erode` by PyTorch's operations."""
    return ~dilate_torch(~mask, size)


def dilate_torch(mask: Tensor, size: int) -> Tensor:
    """`dilate` by PyTorch's operations."""
    images, radius = as_images(mask), size // 2
    widened = _slide(pad(images, (radius, radius, radius, radius)), size, -1)
    return _slide(widened, size, -2).view(mask.shape)


def _slide(images: Tensor, size: int, dim: int) -> Tensor:
    """Whether any of ``size`` neighbours is set, by windows that double in length."""
    length = images.shape[dim] - size + 1
    window = 1
    while window < size:
        step = min(window, size - window)
        kept = images.shape[dim] - step
        images = images.narrow(dim, 0, kept) | images.narrow(dim, step, kept)
        window += step
    return images.narrow(dim, 0, length)
