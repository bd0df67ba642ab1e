"""Changing the size of finished images."""

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
    """
    if pixels.shape[:2] == (height, width):
        return pixels
    result = np.empty((height, width, pixels.shape[2]), pixels.dtype)
    for channel in range(pixels.shape[2]):
        plane = np.ascontiguousarray(pixels[..., channel])
        if plane.dtype == np.uint16:  # Pillow filters 16 bits as float only
            plane = plane.astype(np.float32)
        resized = np.asarray(
            PILImage.fromarray(plane).resize((width, height), PILImage.Resampling.LANCZOS)
        )
        if resized.dtype == np.float32:
            resized = np.rint(resized).clip(0, np.iinfo(pixels.dtype).max)
        result[..., channel] = resized
    return result
