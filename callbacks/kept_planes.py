"""Compressed store of masks and label maps that stay the same during a run."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor


class KeptPlanes:
    """Planes by key, made once and kept deflated; masks as packed bits.

    Example:
        >>> kept = KeptPlanes()
        >>> mask = torch.tensor([[True, False, True]]).view(1, 1, 1, 3)
        >>> torch.equal(kept.get(["a"], lambda: mask), mask)
        True
        >>> torch.equal(kept.get(["a"], lambda: 1 / 0), mask)  # made already
        True
    """

    def __init__(self) -> None:
        self._planes: dict[str, bytes | None] = {}
        self._dtype = torch.uint8

    def get(self, keys: Sequence[str], make: Callable[[], Tensor | None]) -> Tensor | None:
        """The planes of a batch of images.

        Args:
            keys: of the images.
            make: gives them where they are not known yet: bool or uint8 ``(B, 1, H, W)``, or None
                if these images have none. All calls give one type, and a key has one size.

        Returns:
            what ``make`` gave, on the CPU where it comes from memory.
        """
        if not all(key in self._planes for key in keys):
            made = make()
            self._keep(keys, made)
            return made
        known = [plane for plane in map(self._planes.get, keys) if plane is not None]
        return torch.cat([self._inflate(plane) for plane in known]) if known else None

    def _keep(self, keys: Sequence[str], made: Tensor | None) -> None:
        if made is None:
            self._planes.update(dict.fromkeys(keys))
            return
        self._dtype = made.dtype
        for key, plane in zip(keys, made[:, 0].cpu().numpy(), strict=True):
            self._planes[key] = deflate(plane)

    def _inflate(self, packed: bytes) -> Tensor:
        plane = torch.from_numpy(inflate(packed, self._dtype == torch.bool))
        return plane.view(1, 1, *plane.shape)


def deflate(plane: NDArray) -> bytes:
    """``(H, W)`` uint8, or bool of which eight go into a byte, with its size in front."""
    data = np.packbits(plane) if plane.dtype == bool else np.ascontiguousarray(plane)
    return np.array(plane.shape, "<u4").tobytes() + zlib.compress(data.tobytes(), 1)


def inflate(packed: bytes, as_bool: bool) -> NDArray:
    """What `deflate` was given."""
    height, width = np.frombuffer(packed[:8], "<u4").tolist()
    data = np.frombuffer(bytearray(zlib.decompress(packed[8:])), np.uint8)
    if as_bool:
        data = np.unpackbits(data, count=height * width).view(bool)
    return data.reshape(height, width)
