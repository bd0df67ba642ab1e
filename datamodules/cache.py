"""Images decoded once and kept in memory as far as a limit allows."""

from __future__ import annotations

import os
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import torch
from lightning.pytorch.utilities import rank_zero_only
from numpy.typing import NDArray
from rich.progress import track

from desra.errors import InputError
from desra.images import read_rgb
from desra.terminal import terminal

Size = tuple[int, int]
"""Height and width."""


class ImageCache:
    """Decoded images by path, first come first kept, as views of one buffer.

    One buffer, filled before any reading process starts, is shared by all of them: a forked process
    has its pages without a copy, and a spawned one gets it moved to shared memory once, as one
    file descriptor. Nothing is written to it after `load`.

    Args:
        limit_bytes: how much to keep. Images beyond it are decoded each time they are asked for.
    """

    def __init__(self, limit_bytes: int) -> None:
        self.limit_bytes = limit_bytes
        self._buffer = torch.empty(0, dtype=torch.uint8)
        self._places: dict[Path, tuple[int, Size]] = {}

    @property
    def kept_bytes(self) -> int:
        """Bytes of the images in memory."""
        return self._buffer.numel()

    def holds(self, paths: Iterable[Path]) -> bool:
        """Whether all of these images are in memory."""
        return all(path in self._places for path in paths)

    def __getitem__(self, path: Path) -> NDArray[np.uint8]:
        """``(H, W, 3)`` uint8 RGB; not to be written to.

        Raises:
            InputError: the image is not in memory and cannot be read.
        """
        place = self._places.get(path)
        return read_rgb(path) if place is None else self._view(*place)

    def load(
        self, images: Iterable[tuple[Path, Size]], unchecked: Iterable[tuple[Path, Size]] = ()
    ) -> list[str]:
        """Decode images, in their order, and keep those that fit.

        Args:
            images: with their heights and widths. Those that do not fit are decoded all the same,
                to find damaged ones before training.
            unchecked: further ones, that are decoded only if they fit.

        Returns:
            what is wrong with images that could not be decoded, one line each.
        """
        checked = dict(images)
        self._places, end = {}, 0
        for path, size in {**checked, **dict(unchecked)}.items():
            length = 3 * size[0] * size[1]
            if end + length <= self.limit_bytes:
                self._places[path] = (end, size)
                end += length
        self._buffer = torch.empty(end, dtype=torch.uint8)
        todo = list(dict.fromkeys([*checked, *self._places]))
        with ThreadPoolExecutor(min(16, os.cpu_count() or 1)) as pool:
            errors = list(_progress(pool.map(self._decode, todo), len(todo)))
        return [error for error in errors if error]

    def _decode(self, path: Path) -> str | None:
        try:
            pixels = read_rgb(path)
        except InputError as error:
            return str(error)
        place = self._places.get(path)
        if place is not None:
            view = self._view(*place)
            if view.shape != pixels.shape:
                return f"{path}: has changed while it was read; start again"
            view[:] = pixels
        return None

    def _view(self, start: int, size: Size) -> NDArray[np.uint8]:
        length = 3 * size[0] * size[1]
        return self._buffer[start : start + length].numpy().reshape(*size, 3)


def _progress(results: Iterable[str | None], total: int) -> Iterable[str | None]:
    return track(
        results,
        "reading images",
        total,
        console=terminal(stderr=True),
        transient=True,
        disable=getattr(rank_zero_only, "rank", 0) != 0,
    )
