"""Masks at full size: a rim that was cut off comes back, once, when a mask is read."""

from __future__ import annotations

from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from desra.errors import InputError
from desra.labelme import read_gt_mask

BORDER = 5
"""Half the texture window of 11: where the window leaves the image, nothing is detected."""

Planes = TypeVar("Planes", Tensor, NDArray[Any])


def full_size(
    plane: NDArray[Any], size: tuple[int, ...], rim: int = BORDER, name: str = "mask"
) -> NDArray[Any]:
    """A mask of the image's size; one without the rim, as the release writes it, gets it back.

    Args:
        plane: ``(H, W)`` or ``(H - 2·rim, W - 2·rim)``, bool or a map.
        size: ``(H, W)`` of the image.
        rim: pixels on each side that a cropped mask lacks; they come back false (0).
        name: of the mask, in the message.

    Raises:
        InputError: it is of another size.

    Example:
        >>> full_size(np.ones((2, 3), bool), (4, 5), rim=1).astype(int)
        array([[0, 0, 0, 0, 0],
               [0, 1, 1, 1, 0],
               [0, 1, 1, 1, 0],
               [0, 0, 0, 0, 0]])
    """
    height, width = size
    if plane.shape == (height, width):
        return plane
    if plane.shape == (height - 2 * rim, width - 2 * rim):
        return np.pad(plane, rim)
    raise InputError(
        f"{name} of {plane.shape[1]}x{plane.shape[0]} for an image of {width}x{height}; give one "
        f"of full size, or cropped by {rim} pixels on each side"
    )


def read_mask_of(
    path: str | Path,
    size: tuple[int, int],
    rim: int = BORDER,
    drawn_on: str | Path | None = None,
) -> NDArray[np.bool_]:
    """Read a mask image or LabelMe's JSON at full size, see `full_size`.

    ``drawn_on`` is the picture that was labelled, see `desra.labelme.read_labelme`.

    Raises:
        InputError: unreadable, or of another size.
    """
    return full_size(read_gt_mask(path, drawn_on=drawn_on), size, rim, f"{path}: a mask")


def inside(planes: Planes, border: int) -> Planes:
    """Planes ``(…, H, W)`` without ``border`` pixels on each side, as a view.

    Raises:
        InputError: nothing is left.
    """
    height, width = planes.shape[-2:]
    if min(height, width) <= 2 * border:
        raise InputError(
            f"{width}x{height} has nothing inside a rim of {border} pixels; lower border"
        )
    return planes[..., border : height - border, border : width - border]


def clear_rim(plane: NDArray[Any], border: int) -> NDArray[Any]:
    """A plane ``(H, W)`` with ``border`` pixels on each side false (0), as a copy."""
    return np.pad(inside(plane, border), border)
