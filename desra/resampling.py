"""Resampling of finished images."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from PIL import Image as PILImage


def resize_lanczos(pixels: NDArray, height: int, width: int) -> NDArray:
    """Resize with a Lanczos window of 3 lobes, widened when the image gets smaller (no aliasing).

    Channels are resized one by one, so that colour under a transparent alpha is kept.

    Args:
        pixels: ``(H, W, C)`` uint8 or uint16.
        height: of the result.
        width: of the result.

    Returns:
        ``(height, width, C)`` of the same type, rounded and clipped to its range.

    Example:
        >>> resize_lanczos(np.zeros((4, 6, 3), np.uint8), 12, 8).shape
        (12, 8, 3)
    """
    if pixels.shape[:2] == (height, width):
        return pixels
    top = np.iinfo(pixels.dtype).max
    result = np.empty((height, width, pixels.shape[2]), pixels.dtype)
    for channel in range(pixels.shape[2]):
        # As float: between its two passes Pillow clips bytes, and with them the overshoot.
        plane = PILImage.fromarray(pixels[..., channel].astype(np.float32))
        resized = np.asarray(plane.resize((width, height), PILImage.Resampling.LANCZOS))
        result[..., channel] = np.rint(resized).clip(0, top)
    return result
