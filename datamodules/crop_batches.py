"""Batches of crops, made from plans in a worker process."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from datamodules.cache import ImageCache
from datamodules.crops import Window


@dataclass(frozen=True)
class CropPlan:
    """All that a reading process needs to make one training sample.

    Attributes:
        index: number of the sample in the run.
        key: of the image.
        paths: role to file; one file may have two roles.
        window: where to cut.
        mask: the cut mask as packed bits, or None for all false.
        paired: whether the sample is one of the clean pairs mixed into an artifact set.
    """

    index: int
    key: str
    paths: Mapping[str, Path]
    window: Window
    mask: NDArray[np.uint8] | None = None
    paired: bool = False


class CropMaker:
    """Batches of aligned crops.

    Args:
        images: where the images come from.
        size: rows and columns of a window.
        scales: role to how many times as large as the window its image is.
    """

    def __init__(self, images: ImageCache, size: int, scales: Mapping[str, int]) -> None:
        self.images, self.size, self.scales = images, size, scales

    def __call__(self, plans: list[CropPlan]) -> dict[str, Any]:
        """Make a batch.

        Returns:
            each role's crops, ``(B, 3, scale · size, scale · size)`` uint8 with channels last in
            memory; ``index`` (B,) int64; ``keys``. A role that a plan has no file for is 0.

        Raises:
            InputError: an image that cannot be read.
        """
        batch: dict[str, Any] = {
            role: torch.zeros(len(plans), size, size, 3, dtype=torch.uint8)
            for role, size in ((role, self.size * scale) for role, scale in self.scales.items())
        }
        for place, plan in enumerate(plans):
            crops: dict[tuple[Path, int], NDArray[np.uint8]] = {}
            for role, path in plan.paths.items():
                scale = self.scales[role]
                if (path, scale) not in crops:
                    crops[path, scale] = plan.window.cut(self.images[path], scale)
                batch[role][place].numpy()[:] = crops[path, scale]
        batch = {role: crops.permute(0, 3, 1, 2) for role, crops in batch.items()}
        batch["index"] = torch.tensor([plan.index for plan in plans])
        batch["keys"] = [plan.key for plan in plans]
        return batch


def to_unit_range(batch: Mapping[str, Any], names: Iterable[str]) -> dict[str, Any]:
    """The batch with its uint8 images as float32 in [0, 1], on the device where they are."""
    changed = dict(batch)
    for name in names:
        image = changed.get(name)
        if isinstance(image, torch.Tensor) and image.dtype == torch.uint8:
            changed[name] = image.to(torch.float32).div_(255)
    return changed
