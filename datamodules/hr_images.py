"""Clean images as training data: pairs made by degradations, on the device."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch

from datamodules.crop_batches import CropMaker
from datamodules.crops import CropRule
from datamodules.degradations import BatchDegradation, Degradation, UnsharpMask
from datamodules.pair_data import PairData
from datamodules.pair_samples import PairPlanner, WholePairs
from datamodules.pooled_stream import PooledStream, PoolLayout
from datamodules.randomness import Purpose, generator_of
from datamodules.sample_stream import Planner
from datamodules.splits import SplitRule
from desra.errors import InputError


class HRImages(PairData):
    """LR/HR pairs from clean images by second-order degradations (Real-ESRGAN, ICCVW 2021).

    Batches are dicts: ``lr`` (B, 3, h, w) and ``gt`` (B, 3, H, W) float32 in [0, 1], with
    ``unsharp`` also ``gt_sharp``, the sharpened ``gt`` that pixels and features are compared with;
    ``index`` (B,) int64, ``keys``. An HR crop of ``hr_crop`` is sharpened and degraded as a
    whole, and the pair is cut from it. Sample i, and the step that it is in, are pure functions of
    ``seed`` and i, on one kind of device: number of ranks and workers, and a resume, change
    nothing.

    Validation images are whole, and degraded on the CPU, each by what belongs to its key.

    Args:
        root: clean images of any size, at any depth.
        val_root: clean images to validate on.
        val_list: text file with the keys to validate on, one a line.
        val_share: share of images to validate on where neither is given; 0: none.
        group_pattern: regular expression on keys; images with the same first group (or whole
            match) are never on both sides of the split.
        degradation: what LR is made by; its scale is the data's.
        unsharp: how targets and what is degraded are sharpened; None: not at all.
        hr_crop: side of what is degraded, in pixels; smaller images are mirrored.
        gt_crop: side of the target cut from it.
        batch_size: crops a step on each rank.
        pool_size: samples that are mixed, over all ranks, since those made together share the
            factors of resizing. See `PoolLayout`.
        group_size: samples made together, over all ranks.
        epoch_steps: steps an epoch; None: as many as show every image once.
        flip: mirror half of the crops.
        rotate: turn crops by multiples of 90 degrees.
        cache_gb: gigabytes of decoded images to keep in memory, a process.
        num_workers: reading processes a rank; None chooses.
        seed: of the split, the samples and the degradations.

    Raises:
        InputError: a setting that cannot be used; in `setup`, anything wrong with the images.
    """

    def __init__(
        self,
        root: str,
        val_root: str | None = None,
        val_list: str | None = None,
        val_share: float = 0.1,
        group_pattern: str | None = None,
        degradation: BatchDegradation | None = None,
        unsharp: UnsharpMask | None = None,
        hr_crop: int = 400,
        gt_crop: int = 256,
        batch_size: int = 12,
        pool_size: int = 180,
        group_size: int = 12,
        epoch_steps: int | None = None,
        flip: bool = True,
        rotate: bool = False,
        cache_gb: float = 4.0,
        num_workers: int | None = None,
        seed: int = 0,
    ) -> None:
        self.degradation: BatchDegradation = degradation or Degradation()
        super().__init__(
            root,
            None,
            None,
            self.degradation.scale,
            SplitRule(val_root, val_list, val_share, group_pattern, seed),
            batch_size=batch_size,
            epoch_steps=epoch_steps,
            cache_gb=cache_gb,
            num_workers=num_workers,
        )
        self.unsharp = unsharp
        self.crop_rule = CropRule(hr_crop, flip=flip, rotate=rotate)
        self.second_crop = CropRule(gt_crop, flip=False, rotate=False)
        for rule in (self.crop_rule, self.second_crop):
            rule.size(self.scale)
        if gt_crop > hr_crop:
            raise InputError(f"data.gt_crop={gt_crop}: give at most data.hr_crop={hr_crop}")
        if group_size < 1 or pool_size < 1:
            raise InputError("data.group_size and data.pool_size: give at least 1")
        self.pool_size, self.group_size, self.seed = pool_size, group_size, seed

    def train_dataloader(self) -> PooledStream:
        """The endless stream of training batches; Lightning sets it to a checkpoint's position."""
        rank, world_size = self.rank
        steps = math.ceil(len(self.train_pairs) / (world_size * self.batch_size))
        layout = PoolLayout(
            self.pool_size, self.group_size, self.batch_size, rank, world_size, self.seed
        )
        self._stream = stream = PooledStream(
            self.planner(),
            self.maker(),
            self.make_pairs,
            layout,
            self.epoch_steps or steps,
            num_workers=self.workers_for(
                path for pair in self.train_pairs for path, _ in self.sized_paths(pair)
            ),
            pin_memory=self.pin_memory,
            unfinished=self.unfinished_steps,
        )
        return stream

    def planner(self) -> Planner:
        """What decides which image a sample is cut from, and where."""
        return PairPlanner(self.train_pairs, self.crop_rule, self.scale, self.seed)

    def maker(self) -> CropMaker:
        """What reads and cuts the images of a batch of plans."""
        return CropMaker(self.images, self.crop_rule.size(self.scale), {"gt": self.scale})

    @torch.no_grad()
    def make_pairs(self, batch: dict[str, Any], group: int) -> dict[str, torch.Tensor]:
        """Degrade the crops of one group on the device and cut pairs from them.

        Args:
            batch: of `CropMaker`: ``gt`` (B, 3, hr_crop, hr_crop) uint8, ``index``.
            group: its number, which decides what its samples share.

        Returns:
            ``lr`` and ``gt``, uint8, on the device.
        """
        numbers = batch["index"].tolist()
        lr = self.degrade(batch["gt"], group, numbers)
        return self.cut(lr, {"gt": batch["gt"]}, numbers)

    def degrade(self, images: torch.Tensor, group: int, numbers: Sequence[int]) -> torch.Tensor:
        """LR of one group of uint8 images, uint8, on the device."""
        images = images.to(self.device, non_blocking=True).contiguous()
        images = images.to(torch.float32).div_(255)
        images = self.unsharp(images) if self.unsharp else images
        lr = self.degradation(images, self.seed, group, numbers)
        return lr.mul_(255).round_().to(torch.uint8)

    def cut(
        self, lr: torch.Tensor, images: dict[str, torch.Tensor], numbers: Sequence[int]
    ) -> dict[str, torch.Tensor]:
        """The same window of ``lr`` and of images ``scale`` times as large, one place a sample."""
        size = self.second_crop.size(self.scale)
        crops: dict[str, list[torch.Tensor]] = {role: [] for role in ("lr", *images)}
        images = {role: image.to(self.device, non_blocking=True) for role, image in images.items()}
        for place, number in enumerate(numbers):
            free = generator_of(self.seed, Purpose.SECOND_CROP, number).integers(
                lr.shape[-1] - size + 1, size=2
            )
            for role, image in {"lr": lr, **images}.items():
                factor = 1 if role == "lr" else self.scale
                top, left = (int(start) * factor for start in free)
                side = size * factor
                crops[role].append(image[place, :, top : top + side, left : left + side])
        return {role: torch.stack(parts) for role, parts in crops.items()}

    def on_after_batch_transfer(self, batch: dict[str, Any], dataloader_idx: int) -> dict[str, Any]:
        """8-bit images to float32 in [0, 1]; training targets also sharpened."""
        batch = super().on_after_batch_transfer(batch, dataloader_idx)
        if self.unsharp is not None and (self.trainer is None or self.trainer.training):
            batch["gt_sharp"] = self.unsharp(batch["gt"])
        return batch

    def whole_pairs(self) -> WholePairs:
        """The whole validation images, degraded."""
        return WholePairs(
            self.val_pairs, self.images, self.scale, self.degradation, self.unsharp, self.seed
        )
