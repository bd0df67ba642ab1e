"""The artifact masks of a training set in memory: packed, replaceable while training goes on."""

from __future__ import annotations

import math
import zlib
from collections.abc import Iterable, Mapping
from typing import Literal

import cv2
import numpy as np
import torch
from numpy.typing import NDArray

from desra.errors import InputError

UpdateMode = Literal["replace", "union", "off"]
Origin = Literal["pixel", "region"]


class Mask:
    """One mask, eight pixels a byte, with the list of its artifact pixels by region.

    Args:
        mask: ``(H, W)`` bool, true on artifacts.
    """

    def __init__(self, mask: NDArray[np.bool_]) -> None:
        self.shape: tuple[int, int] = mask.shape
        self.packed = np.packbits(mask, axis=1)
        flat = np.flatnonzero(mask)
        labels = flat
        if len(flat):
            _, image = cv2.connectedComponents(mask.view(np.uint8), connectivity=8)
            labels = image.reshape(-1)[flat].astype(np.int64)
        order = np.argsort(labels, kind="stable")
        self._pixels = flat[order].astype(np.int32)
        self._starts = np.flatnonzero(np.diff(labels[order], prepend=0, append=0))

    @property
    def area(self) -> int:
        """Artifact pixels."""
        return len(self._pixels)

    @property
    def regions(self) -> int:
        """8-connected artifact regions."""
        return max(len(self._starts) - 1, 0)

    def full(self) -> NDArray[np.bool_]:
        """``(H, W)`` bool."""
        return self.cut(0, self.shape[0], 0, self.shape[1])

    def cut(self, top: int, bottom: int, left: int, right: int) -> NDArray[np.bool_]:
        """The rows ``top:bottom`` and columns ``left:right``, which must lie within the mask."""
        first = left // 8
        bits = np.unpackbits(self.packed[top:bottom, first : -(-right // 8)], axis=1)
        return bits[:, left - 8 * first : right - 8 * first].view(bool)

    def pick(self, draw: float, origin: Origin, second_draw: float = 0.0) -> tuple[int, int]:
        """An artifact pixel as (row, column), chosen by uniform draws from [0, 1).

        Args:
            draw: picks among all artifact pixels (``origin="pixel"``) or among the regions.
            origin: with ``"region"`` each region is as likely as any other, however small.
            second_draw: picks among the pixels of the region.
        """
        if origin == "pixel":
            chosen = int(draw * self.area)
        else:
            region = int(draw * self.regions)
            start, end = self._starts[region : region + 2]
            chosen = int(start + int(second_draw * (end - start)))
        row, column = divmod(int(self._pixels[chosen]), self.shape[1])
        return row, column


class MaskStore:
    """Masks by key. All ranks hold the same; what changed since the start goes into checkpoints.

    Attributes:
        version: how many updates changed anything; whoever has drawn from older masks can tell.
    """

    def __init__(self, masks: Mapping[str, Mask] | None = None) -> None:
        self._masks = dict(masks or {})
        self._changed: set[str] = set()
        self.version = 0

    def __getitem__(self, key: str) -> Mask:
        return self._masks[key]

    def __contains__(self, key: object) -> bool:
        return key in self._masks

    def __len__(self) -> int:
        return len(self._masks)

    def values(self) -> Iterable[Mask]:
        """The masks, in the order they were given."""
        return self._masks.values()

    def update(
        self, masks: Mapping[str, NDArray[np.bool_] | torch.Tensor], mode: UpdateMode
    ) -> list[str]:
        """Take over new masks.

        Args:
            masks: key to ``(H, W)`` (or with leading axes of size 1) bool array or tensor.
            mode: ``replace`` the present mask, unite with it, or leave everything as it is (off).

        Returns:
            the keys whose mask is another one now, sorted.

        Raises:
            InputError: an unknown key, mode or size.
        """
        if mode not in ("replace", "union", "off"):
            raise InputError(f"mask update {mode!r}: give replace, union or off")
        if mode == "off":
            return []
        changed = sorted(key for key, mask in masks.items() if self._take(key, mask, mode))
        self._changed.update(changed)
        self.version += bool(changed)
        return changed

    def _take(self, key: str, given: NDArray[np.bool_] | torch.Tensor, mode: UpdateMode) -> bool:
        if key not in self._masks:
            raise InputError(f"mask of {key}: no training image has this key")
        present = self._masks[key]
        array = given.cpu().numpy() if isinstance(given, torch.Tensor) else np.asarray(given)
        size = present.shape
        if array.shape[-2:] != size or array.size != math.prod(size) or array.dtype != bool:
            raise InputError(
                f"mask of {key}: {array.dtype} of shape {array.shape}; give bool of shape {size}"
            )
        mask = array.reshape(size)
        before = present.full()
        if mode == "union":
            mask = mask | before
        if np.array_equal(mask, before):
            return False
        self._masks[key] = Mask(mask)
        return True

    def state_dict(self) -> dict[str, torch.Tensor]:
        """The changed masks: key to size and deflated packed bits, a uint8 tensor of some kB."""
        return {key: _deflate(self._masks[key]) for key in sorted(self._changed)}

    def load_state_dict(self, state: Mapping[str, torch.Tensor]) -> None:
        """Put the masks of a checkpoint over those read from files.

        Raises:
            InputError: a mask of an image that is not there, or has another size now.
        """
        for key, deflated in state.items():
            mask = _inflate(deflated)
            if key not in self or mask.shape != self._masks[key].shape:
                raise InputError(
                    f"checkpoint: it holds a mask of {key}, which is missing or of another size "
                    "in the training data; resume with the data the run was started with"
                )
            self._masks[key] = Mask(mask)
        self._changed.update(state)
        self.version += 1


def _deflate(mask: Mask) -> torch.Tensor:
    size = np.array(mask.shape, "<u4").tobytes()
    return torch.frombuffer(
        bytearray(size + zlib.compress(mask.packed.tobytes(), 1)), dtype=torch.uint8
    )


def _inflate(deflated: torch.Tensor) -> NDArray[np.bool_]:
    data = deflated.cpu().numpy().tobytes()
    height, width = np.frombuffer(data[:8], "<u4").tolist()
    packed = np.frombuffer(zlib.decompress(data[8:]), np.uint8).reshape(height, -1)
    return np.unpackbits(packed, axis=1, count=width).view(bool)
