"""Shapes of images and keys: padding to a multiple, cropping, counting numbered keys."""

from __future__ import annotations

import re
from collections.abc import Collection

import torch
from torch import Tensor
from torch.nn import functional as F

from desra.errors import InputError


def pad_to_multiple(image: Tensor, multiple: int) -> Tensor:
    """Reflect the right and lower edge of ``(B, C, H, W)`` until ``multiple`` divides both sides.

    Images smaller than the padding are reflected back and forth; a single pixel is repeated.

    Example:
        >>> import torch
        >>> pad_to_multiple(torch.zeros(1, 3, 6, 9), 8).shape
        torch.Size([1, 3, 8, 16])
    """
    height, width = image.shape[-2:]
    more_rows, more_columns = -height % multiple, -width % multiple
    if not more_rows and not more_columns:
        return image
    if more_rows < height and more_columns < width:
        return F.pad(image, (0, more_columns, 0, more_rows), mode="reflect")
    rows = _reflected(height, height + more_rows, image.device)
    columns = _reflected(width, width + more_columns, image.device)
    return image[..., rows, :][..., columns]


def _reflected(size: int, wanted: int, device: torch.device) -> Tensor:
    period = max(2 * size - 2, 1)
    there = torch.arange(wanted, device=device) % period
    return torch.minimum(there, period - there) if size > 1 else there


def crop(output: Tensor, image: Tensor, scale: int) -> Tensor:
    """The part of ``output`` that belongs to ``image``, without what was padded to it."""
    height, width = (side * scale for side in image.shape[-2:])
    if output.shape[-2:] == (height, width):
        return output  # and no layer of it in an exported graph
    return output[..., :height, :width]


def highest_number(keys: Collection[str], pattern: str, default: int = -1) -> int:
    """The highest number that the first group of ``pattern`` takes at the start of any key.

    Raises:
        InputError: it is higher than keys that count from 0 or 1 can make it.
    """
    found = [match[1] for key in keys if (match := re.match(pattern, key))]
    if any(len(digits) > 9 or int(digits) > 3 * len(keys) for digits in found):
        raise InputError(
            f"keys numbered up to {max(found, key=len)[:20]}, of which most are missing"
        )
    return max(map(int, found), default=default)
