"""Fixed pairs of low- and high-resolution images as training data."""

from __future__ import annotations

import math

from datamodules.crop_batches import CropMaker
from datamodules.crops import CropRule
from datamodules.pair_data import PairData
from datamodules.pair_samples import PairPlanner
from datamodules.sample_stream import SampleStream
from datamodules.splits import SplitRule
from desra.errors import InputError


class PairedImages(PairData):
    """Aligned crops of LR/HR pairs, and whole pairs to validate on.

    Batches are dicts: ``lr`` (B, 3, h, w) and ``gt`` (B, 3, H, W) float32 in [0, 1], ``index`` (B,)
    int64, ``keys``. Sample i is a pure function of ``seed`` and i: number of ranks and workers, and
    a resume from a checkpoint, change nothing.

    Args:
        hr_root: clean images, at any depth.
        lr_root: their low-resolution partners, matched by relative path without suffix.
        val_root: clean images to validate on.
        val_lr_root: their partners.
        val_list: text file with the keys to validate on, one a line.
        val_share: share of images to validate on where neither is given; 0: none.
        group_pattern: regular expression on keys; images with the same first group (or whole
            match) are never on both sides of the split.
        gt_crop: side of the crops in pixels of HR; smaller images are mirrored.
        batch_size: crops a step on each rank.
        epoch_steps: steps an epoch; None: as many as show every image once.
        flip: mirror half of the crops.
        rotate: turn crops by multiples of 90 degrees.
        cache_gb: gigabytes of decoded images to keep in memory, a process.
        num_workers: reading processes a rank; None chooses.
        seed: of the split and of the samples.

    Raises:
        InputError: a setting that cannot be used; in `setup`, anything wrong with the images.
    """

    def __init__(
        self,
        hr_root: str,
        lr_root: str,
        val_root: str | None = None,
        val_lr_root: str | None = None,
        val_list: str | None = None,
        val_share: float = 0.1,
        group_pattern: str | None = None,
        gt_crop: int = 256,
        batch_size: int = 12,
        epoch_steps: int | None = None,
        flip: bool = True,
        rotate: bool = False,
        cache_gb: float = 4.0,
        num_workers: int | None = None,
        seed: int = 0,
    ) -> None:
        super().__init__(
            hr_root,
            lr_root,
            val_lr_root,
            None,
            SplitRule(val_root, val_list, val_share, group_pattern, seed),
            batch_size=batch_size,
            epoch_steps=epoch_steps,
            cache_gb=cache_gb,
            num_workers=num_workers,
        )
        if bool(val_root) != bool(val_lr_root):
            raise InputError("data.val_root and data.val_lr_root: give both, or neither")
        self.crop_rule = CropRule(gt_crop, flip=flip, rotate=rotate)
        self.seed = seed

    def check_crops(self) -> None:
        """Raise InputError if the crop is no multiple of the scale."""
        self.crop_rule.size(self.scale)

    def train_dataloader(self) -> SampleStream:
        """The endless stream of training batches; Lightning sets it to a checkpoint's position."""
        rank, world_size = self.rank
        steps = math.ceil(len(self.train_pairs) / (world_size * self.batch_size))
        paths = (path for pair in self.train_pairs for path, _ in pair.sized_paths)
        self._stream = SampleStream(
            PairPlanner(self.train_pairs, self.crop_rule, self.scale, self.seed),
            CropMaker(self.images, self.crop_rule.size(self.scale), {"lr": 1, "gt": self.scale}),
            self.batch_size,
            self.epoch_steps or steps,
            rank,
            world_size,
            self.workers_for(paths),
            self.pin_memory,
            unfinished=self.unfinished_steps,
        )
        return self._stream
