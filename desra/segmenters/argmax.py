"""Argmax of enlarged logits, without enlarging all of them."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

_ROUNDING = 1e-5  # relative; bilinear interpolation in float32 errs by a few 1e-7

# Below these there is little to save, and torch has kernels that round otherwise than the one that
# enlarges a single class: one for three channels, one for results of height + width up to 128.
_FEW_CLASSES = 4
_FEW_PIXELS = 64 * 64


def resized_argmax(
    logits: Tensor, size: Sequence[int], align_corners: bool, values: Sequence[int]
) -> Tensor:
    """``values[F.interpolate(logits, size, mode="bilinear").argmax(1)]`` in little memory.

    Logits of 150 classes at 8192×8192 are 40 GB. Here one class is enlarged at a time, and only
    classes that can win: an interpolated logit lies between the smallest and the largest of four
    neighbours, so a class whose largest is below another's smallest in every cell never wins.

    Args:
        logits: ``(B, C, h, w)`` float, finite.
        size: ``(H, W)`` of the result.
        align_corners: as in `torch.nn.functional.interpolate`.
        values: what to write for each of the C classes, 0 to 255.

    Returns:
        ``(B, 1, H, W)`` uint8. Of equal logits the first class wins.

    Example:
        >>> logits = torch.tensor([[0.0, 2.0], [1.0, 1.0]]).view(1, 2, 1, 2)
        >>> resized_argmax(logits, (1, 4), align_corners=False, values=[7, 9])
        tensor([[[[9, 9, 7, 7]]]], dtype=torch.uint8)
    """
    count, classes, height, width = logits.shape
    pixels = size[0] * size[1]
    if classes <= _FEW_CLASSES or pixels <= max(_FEW_PIXELS, 2 * height * width):
        enlarged = F.interpolate(logits, tuple(size), mode="bilinear", align_corners=align_corners)
        table = torch.tensor(values, dtype=torch.uint8, device=logits.device)
        return table[enlarged.argmax(1, keepdim=True)]
    shape = (count, 1, *size)
    best = logits.new_full(shape, -torch.inf)
    labels = torch.zeros(shape, dtype=torch.uint8, device=logits.device)
    for index in _contenders(logits):
        plane = F.interpolate(
            logits[:, index : index + 1], shape[2:], mode="bilinear", align_corners=align_corners
        )
        labels.masked_fill_(plane > best, values[index])
        torch.maximum(best, plane, out=best)
    return labels


def _contenders(logits: Tensor) -> list[int]:
    """The classes that can be the best somewhere between the pixels."""
    floor: Tensor | None = None
    for plane in logits.unbind(1):
        smallest = _cells(plane, torch.minimum)
        floor = smallest if floor is None else torch.maximum(floor, smallest)
    assert floor is not None
    floor = floor - _ROUNDING * logits.abs().amax()
    alive = [(_cells(plane, torch.maximum) >= floor).any() for plane in logits.unbind(1)]
    return torch.stack(alive).nonzero().flatten().tolist()


def _cells(plane: Tensor, pick: Callable[[Tensor, Tensor], Tensor]) -> Tensor:
    """``(B, h, w)`` to ``(B, h - 1, w - 1)``: the extreme of each 2×2 neighbourhood."""
    for dim in (-2, -1):
        length = plane.shape[dim] - 1
        if length:
            plane = pick(plane.narrow(dim, 0, length), plane.narrow(dim, 1, length))
    return plane
