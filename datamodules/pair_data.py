"""Base of the data modules of clean images."""

from __future__ import annotations

import logging
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from lightning.pytorch.utilities import rank_zero_only
from rich.table import Table
from torch.utils.data import DataLoader

from datamodules.cache import Size
from datamodules.image_pairs import ImagePair, find_pairs, split_pairs
from datamodules.pair_samples import WholePairs
from datamodules.problems import raise_all
from datamodules.splits import SplitRule
from datamodules.training_data import TrainingData
from desra.terminal import terminal

log = logging.getLogger(__name__)


class PairData(TrainingData):
    """Finding, splitting and validating on clean images, with or without LR partners.

    Args:
        hr_root: the clean images.
        lr_root: their partners, or None.
        val_lr_root: partners of the images in the split rule's ``val_root``.
        scale: of LR against HR, or None to take it from the pairs.
        split_rule: which images validate.
        options: of `TrainingData`.
    """

    image_roles = ("lr", "gt")

    def __init__(
        self,
        hr_root: str,
        lr_root: str | None,
        val_lr_root: str | None,
        scale: int | None,
        split_rule: SplitRule,
        **options: Any,
    ) -> None:
        super().__init__(**options)
        self.hr_root, self.lr_root, self.val_lr_root = hr_root, lr_root, val_lr_root
        self.split_rule = split_rule
        self._scale = scale
        self.train_pairs: list[ImagePair] = []
        self.val_pairs: list[ImagePair] = []

    @property
    def scale(self) -> int:
        """Of LR against HR; known after `setup`."""
        if self._scale is None:
            raise RuntimeError("the scale is known after setup()")
        return self._scale

    def setup(self, stage: str | None = None) -> None:
        """Find and check the images, read those that fit in memory, and say what was found; once.

        Images beyond the memory limit are checked by their headers alone.

        Raises:
            InputError: anything that is wrong, all of it listed.
        """
        if self.train_pairs:
            return
        pairs, left_out = self.find()
        if self._scale is None:
            self._scale = pairs[0].hr_size[0] // pairs[0].lr_size[0]
        val_pairs: list[ImagePair] = []
        if self.split_rule.val_root:
            val_root = self.split_rule.val_root
            val_pairs, more = find_pairs(val_root, self.val_lr_root, self._scale)
            left_out += more
        train, self.val_pairs = split_pairs(pairs, self.split_rule, val_pairs)
        self.check_crops()
        sized = [file for pair in (*train, *self.val_pairs) for file in self.sized_paths(pair)]
        raise_all(self.images.load([], sized), self.hr_root)
        self.train_pairs = train
        self._say(left_out)

    def find(self) -> tuple[list[ImagePair], list[str]]:
        """The pairs of the root, sorted by key, and what was left out, a line each."""
        return find_pairs(self.hr_root, self.lr_root, self._scale)

    def sized_paths(self, pair: ImagePair) -> list[tuple[Path, Size]]:
        """The files that a pair's samples may need, with their heights and widths."""
        return pair.sized_paths

    def check_crops(self) -> None:
        """Raise InputError if crops cannot be cut at the images' scale."""

    @rank_zero_only
    def _say(self, left_out: Sequence[str]) -> None:
        table = Table("", "training", "validation", title=f"images {self.hr_root}")
        sides = (self.train_pairs, self.val_pairs)
        table.add_row("images", *(str(len(side)) for side in sides))
        table.add_row("HR sizes", *(_size_range(side) for side in sides))
        table.add_row("scale", f"×{self.scale}", "")
        table.add_row("kept in memory", f"{self.images.kept_bytes / 1e9:.2f} GB", "")
        terminal(stderr=True).print(table)
        for line in left_out:
            log.warning("left out: %s", line)

    def val_dataloader(self) -> DataLoader[dict[str, Any]] | list[Any]:
        """Whole validation images, one at a time, each on one rank."""
        return self.evaluation_loader(self.whole_pairs()) if self.val_pairs else []

    def whole_pairs(self) -> WholePairs:
        """The whole validation images."""
        return WholePairs(self.val_pairs, self.images, self.scale)


def _size_range(pairs: Sequence[ImagePair]) -> str:
    ordered = sorted((pair.hr_size for pair in pairs), key=math.prod)
    ends = [f"{width}x{height}" for height, width in (*ordered[:1], *ordered[-1:])]
    return " to ".join(dict.fromkeys(ends))
