"""Masks as runs of pixels in few bytes: what page and server exchange, and the journal keeps."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from desra.errors import InputError


def encode_runs(mask: NDArray[np.bool_]) -> bytes:
    """Lengths of runs in raster order, of false and true in turn, the first of false.

    Each is a LEB128 varint: seven bits a byte, the lowest first, the top bit set where more follow.

    Args:
        mask: ``(H, W)`` bool.

    Example:
        >>> encode_runs(np.array([[False, True, True], [True, False, False]])).hex()
        '010302'
    """
    flat = np.concatenate([[False], mask.ravel(), [not mask.ravel()[-1]]])
    edges = np.flatnonzero(flat[1:] != flat[:-1])
    lengths = np.diff(edges, prepend=0)
    parts = []
    shifts = 0
    rest = lengths
    while True:
        parts.append((rest & 0x7F) | np.where(rest > 0x7F, 0x80, 0))
        rest = rest >> 7
        shifts += 1
        if not rest.any():
            break
    needed = np.maximum(1, np.ceil(np.log2(np.maximum(lengths, 1) + 1) / 7)).astype(int)
    table = np.stack(parts, axis=1)
    return table[np.arange(shifts) < needed[:, None]].astype(np.uint8).tobytes()


def decode_runs(data: bytes, shape: tuple[int, ...]) -> NDArray[np.bool_]:
    """The mask that `encode_runs` wrote.

    Args:
        data: its bytes.
        shape: height and width of the mask.

    Raises:
        InputError: the runs do not cover the mask, or cover more.

    Example:
        >>> decode_runs(bytes.fromhex("010302"), (2, 3)).astype(int).tolist()
        [[0, 1, 1], [1, 0, 0]]
    """
    values = np.frombuffer(data, np.uint8).astype(np.int64)
    last = values < 0x80
    total = shape[0] * shape[1]
    if not len(values) or not last[-1]:
        raise InputError("runs of a mask that end too early; reload the page")
    starts = np.concatenate([[0], np.flatnonzero(last)[:-1] + 1])
    places = np.arange(len(values)) - np.repeat(starts, np.diff(np.append(starts, len(values))))
    if places.max() > 4:
        raise InputError("a run of more pixels than an image can have; reload the page")
    lengths = np.add.reduceat((values & 0x7F) << (7 * places), starts)
    if lengths.sum() != total:
        raise InputError(f"runs of {lengths.sum()} pixels for an image of {total}; reload the page")
    return np.repeat(np.arange(len(lengths)) % 2 == 1, lengths).reshape(shape)
