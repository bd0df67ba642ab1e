"""Alignment of detected and labelled masks to the area that the published protocol compares."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from desra.errors import InputError

BORDER = 5
"""Half the texture window of 11: where the window leaves the image, nothing is detected."""


def align_masks(
    mask: NDArray[np.bool_], gt_mask: NDArray[np.bool_], border: int = BORDER
) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Cut both masks to the inner area, without the rim in which nothing can be detected.

    Each mask may be of full size or, as the release writes detected masks, without the rim. Masks
    of equal size are taken to be of full size and both cut, so that the figures equal the published
    protocol's whichever way a mask was written. For masks that both lack the rim, and to compare
    whole images, give ``border=0``.

    Args:
        mask: detected artifacts, ``(H, W)`` or ``(H - 2·border, W - 2·border)``.
        gt_mask: labelled artifacts, likewise.
        border: width of the rim in pixels.

    Returns:
        views of both, of one shape ``(H - 2·border, W - 2·border)``.

    Raises:
        InputError: sizes that do not fit together, or nothing left within the rim.
    """
    sizes = np.array(mask.shape), np.array(gt_mask.shape)
    full = np.maximum(*sizes)
    inner = full - 2 * border
    if (inner < 1).any():
        raise InputError(
            f"a mask of {_text(full)} has nothing inside a rim of {border} pixels; lower border"
        )
    if not all((size == full).all() or (size == inner).all() for size in sizes):
        raise InputError(
            f"detected mask of {_text(sizes[0])} and labelled mask of {_text(sizes[1])}; "
            f"sizes must be equal, or differ by the rim of {border} pixels on each side"
        )
    return _crop(mask, inner, border), _crop(gt_mask, inner, border)


def _crop(mask: NDArray[np.bool_], inner: NDArray, border: int) -> NDArray[np.bool_]:
    if mask.shape == tuple(inner):
        return mask
    height, width = mask.shape
    return mask[border : height - border, border : width - border]


def _text(size: NDArray) -> str:
    return f"{size[1]}x{size[0]}"
