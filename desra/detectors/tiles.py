"""Distance maps of large images in little memory, tile by tile with context."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

TILE = 512


def map_tiles(
    compute: Callable[[Tensor, Tensor], Tensor],
    mse_sr: Tensor,
    gan_sr: Tensor,
    margin: int,
    tile: int = TILE,
) -> Tensor:
    """The map that ``compute`` makes of two images, with the memory of a tile.

    Args:
        compute: ``(1, 3, h, w)`` twice to ``(1, 1, h, w)``; a pixel of its result may depend on
            pixels up to ``margin`` away.
        mse_sr: ``(B, 3, H, W)``.
        gan_sr: likewise.
        margin: pixels around a tile that are computed and left out. A multiple of the network's
            stride, if there is one, as is ``tile``: features are then those of the whole image.
        tile: pixels a side of what is kept of one call.

    Returns:
        ``(B, 1, H, W)`` float64.
    """
    batch, _, height, width = gan_sr.shape
    result = gan_sr.new_empty((batch, 1, height, width), dtype=torch.float64)
    for image in range(batch):
        for top in range(0, height, tile):
            for left in range(0, width, tile):
                rows, inner_rows = _with_margin(top, min(top + tile, height), margin, height)
                columns, inner_columns = _with_margin(left, min(left + tile, width), margin, width)
                part = (slice(image, image + 1), slice(None), rows, columns)
                values = compute(mse_sr[part], gan_sr[part])[..., inner_rows, inner_columns]
                result[image, :, top : top + tile, left : left + tile] = values[0]
    return result


def _with_margin(start: int, stop: int, margin: int, length: int) -> tuple[slice, slice]:
    """What is read for ``start`` to ``stop``, and where these are in it."""
    first, last = max(start - margin, 0), min(stop + margin, length)
    return slice(first, last), slice(start - first, stop - first)
