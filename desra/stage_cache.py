"""Disk cache of distances and labels, which the jobs of a sweep share.

Neither depends on threshold or minimum area. The distance is kept in float64, since a mask must not
depend on whether its distance came from the cache.
"""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from desra.files import atomic_path


class Stage(NamedTuple):
    """What is known of an image before thresholds.

    Attributes:
        distance: float64 ``(1, 1, H, W)``.
        labels: uint8 ``(1, 1, H, W)``, or None without a segmenter.
    """

    distance: torch.Tensor
    labels: torch.Tensor | None


class StageCache:
    """A folder of stages, by key and fingerprint of what made them.

    Example:
        >>> import tempfile
        >>> cache = StageCache(tempfile.mkdtemp())
        >>> cache.store("sky/1", "f00d", Stage(torch.ones(1, 1, 2, 3, dtype=torch.float64), None))
        >>> "sky/1", cache.contains("sky/1", "f00d"), cache.load("sky/1", "f00d").distance.shape
        ('sky/1', True, torch.Size([1, 1, 2, 3]))
    """

    def __init__(self, folder: str | Path) -> None:
        self.folder = Path(folder)

    def contains(self, key: str, fingerprint: str) -> bool:
        """Whether the stage of ``key`` made from these inputs and settings is there."""
        return self._path(key, fingerprint).is_file()

    def store(
        self, key: str, fingerprint: str, stage: Stage, rougher: NDArray[np.bool_] | None = None
    ) -> None:
        """Keep a stage; its distance is written last and stands for the whole.

        ``rougher`` is kept with it, ``(H, W)``: of `desra.region_reasons.rougher_pixels`.
        """
        if rougher is not None:
            self._save(self._path(key, fingerprint, "rougher"), rougher)
        if stage.labels is not None:
            self._save(self._path(key, fingerprint, "labels"), stage.labels.cpu().numpy())
        self._save(self._path(key, fingerprint), stage.distance.cpu().numpy())

    def load(self, key: str, fingerprint: str) -> Stage:
        """A stage that `contains` found. The distance is mapped, read as it is used."""
        distance = self._open(self._path(key, fingerprint))
        labels = self._path(key, fingerprint, "labels")
        return Stage(distance, self._open(labels) if labels.is_file() else None)

    def rougher(self, key: str, fingerprint: str) -> NDArray[np.bool_] | None:
        """What was kept with a stage."""
        path = self._path(key, fingerprint, "rougher")
        return np.load(path) if path.is_file() else None

    def _path(self, key: str, fingerprint: str, name: str = "distance") -> Path:
        return self.folder / f"{key}-{fingerprint}.{name}.npy"

    @staticmethod
    def _save(path: Path, values: NDArray) -> None:
        with atomic_path(path) as temporary:
            np.save(temporary, values)

    @staticmethod
    def _open(path: Path) -> torch.Tensor:
        # Copy-on-write, because PyTorch has no read-only tensors; nothing is written back.
        return torch.from_numpy(np.load(path, mmap_mode="c"))
