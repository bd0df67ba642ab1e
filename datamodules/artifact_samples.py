"""Training crops and whole images of an artifact set."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch.utils.data import Dataset

from datamodules.artifact_folders import IMAGE_ROLES, ArtifactTuple
from datamodules.artifact_sides import ArtifactSide
from datamodules.cache import ImageCache, Size
from datamodules.crop_batches import CropMaker, CropPlan
from datamodules.crops import CropRule, Rounds, draws_of
from datamodules.image_pairs import ImagePair
from datamodules.mask_store import MaskStore


class CropPlanner:
    """Plans of training samples: sample i depends on seed, i, and the masks at that step alone.

    Args:
        side: the artifact set, each tuple visited once a round; masks may change meanwhile.
        pairs: LR/HR images mixed in, each visited once a round of its own.
        pair_ratio: share of samples that are pairs, spread evenly.
        rule: how windows are chosen.
        scale: the upscaling factor.
        seed: another seed, other samples.
    """

    def __init__(
        self,
        side: ArtifactSide,
        pairs: Sequence[ImagePair],
        pair_ratio: float,
        rule: CropRule,
        scale: int,
        seed: int,
    ) -> None:
        self.tuples, self.masks, self.pairs = side.tuples, side.masks, pairs
        self.pair_ratio = pair_ratio if pairs else 0.0
        self.rule, self.scale, self.seed = rule, scale, seed
        self._tuple_rounds = Rounds(len(side.tuples), seed)
        self._pair_rounds = Rounds(len(pairs), seed)

    @property
    def version(self) -> int:
        """That of the masks."""
        return self.masks.version

    def plan(self, index: int) -> CropPlan:
        """What sample ``index`` consists of."""
        pairs_before = int(index * self.pair_ratio)
        if int((index + 1) * self.pair_ratio) > pairs_before:
            return self._pair_plan(index, self.pairs[self._pair_rounds[pairs_before]])
        return self._tuple_plan(index, self.tuples[self._tuple_rounds[index - pairs_before]])

    def _tuple_plan(self, index: int, item: ArtifactTuple) -> CropPlan:
        mask = self.masks[item.key]
        window = self.rule.window(draws_of(self.seed, index), item.lr_size, self.scale, mask)
        bits = np.packbits(window.cut_mask(mask, self.scale)) if mask.area else None
        roles = (*IMAGE_ROLES, "weight")
        paths = {role: item.paths[role] for role in roles if role in item.paths}
        return CropPlan(index, item.key, paths, window, bits)

    def _pair_plan(self, index: int, pair: ImagePair) -> CropPlan:
        window = self.rule.window(draws_of(self.seed, index), pair.lr_size, self.scale)
        paths = {"mse_sr": pair.hr, "gan_sr": pair.hr}
        if pair.lr is not None:
            paths["lr"] = pair.lr
        return CropPlan(index, pair.key, paths, window, paired=True)


class ArtifactCropMaker(CropMaker):
    """Batches of `CropPlanner`'s plans: crops of LR, MSE-SR and GAN-SR, with the mask.

    A clean pair has its HR image as both MSE-SR and GAN-SR and an empty mask, so that its pseudo
    ground truth is HR.

    Args:
        images: where the images come from.
        size: rows and columns of an LR crop.
        scale: the upscaling factor.
        weighted: whether images of the set have weights.
    """

    def __init__(self, images: ImageCache, size: int, scale: int, weighted: bool = False) -> None:
        scales = {"lr": 1, "mse_sr": scale, "gan_sr": scale}
        super().__init__(images, size, {**scales, "weight": scale} if weighted else scales)

    def __call__(self, plans: list[CropPlan]) -> dict[str, Any]:
        """As `CropMaker`, and ``mask`` (B, 1, H, W) bool, ``paired`` (B,) bool, and perhaps
        ``weight`` (B, 1, H, W) uint8.

        Also ``without_lr``: place and number of each sample whose LR has yet to be made.
        """
        batch = super().__call__(plans)
        side = self.size * self.scales["gan_sr"]
        mask = torch.zeros(len(plans), 1, side, side, dtype=torch.bool)
        for place, plan in enumerate(plans):
            if plan.mask is not None:
                bits = np.unpackbits(plan.mask, count=side * side).view(bool)
                mask[place, 0] = torch.from_numpy(bits.reshape(side, side))
        batch["mask"] = mask
        if "weight" in batch:
            batch["weight"] = batch["weight"][:, :1]  # grey
        batch["paired"] = torch.tensor([plan.paired for plan in plans])
        batch["without_lr"] = [
            (place, plan.index) for place, plan in enumerate(plans) if "lr" not in plan.paths
        ]
        return batch


class WholeImages(Dataset[dict[str, Any]]):
    """Whole tuples, several of one size at a time.

    Args:
        sides: what to serve; a tuple without a mask gets an empty one.
        images: where the images come from.
        batch_size: at most so many images of one size, alike in whether they are labelled and
            whether the truth is known, in a batch.
    """

    def __init__(
        self, sides: Sequence[ArtifactSide], images: ImageCache, batch_size: int = 1
    ) -> None:
        self.items = [(side, item) for side in sides for item in side.tuples]
        self.images = images
        self.groups = self._group(batch_size)

    def _group(self, batch_size: int) -> list[list[int]]:
        alike: dict[tuple[Size, bool, bool], list[int]] = {}
        for number, (side, item) in enumerate(self.items):
            kind = (item.lr_size, item.key in side.labels, "hr" in item.paths)
            alike.setdefault(kind, []).append(number)
        return sorted(
            numbers[first : first + batch_size]
            for numbers in alike.values()
            for first in range(0, len(numbers), batch_size)
        )

    @property
    def paths(self) -> list[Path]:
        """All image files."""
        roles = (*IMAGE_ROLES, "hr")
        return [item.paths[role] for _, item in self.items for role in roles if role in item.paths]

    def __len__(self) -> int:
        return len(self.groups)

    def __getitem__(self, place: int) -> dict[str, Any]:
        """One batch: images, ``mask``, ``index``, ``keys``; ``gt_mask``, ``hr`` where known."""
        chosen = [self.items[number] for number in self.groups[place]]
        batch: dict[str, Any] = {
            role: _stack([self.images[item.paths[role]] for _, item in chosen])
            for role in (*IMAGE_ROLES, "hr")
            if role in chosen[0][1].paths
        }
        batch["mask"] = torch.stack([_mask(side.masks, item) for side, item in chosen])
        if chosen[0][1].key in chosen[0][0].labels:
            batch["gt_mask"] = torch.stack([_mask(side.labels, item) for side, item in chosen])
        batch["index"] = torch.tensor(self.groups[place])
        batch["keys"] = [item.key for _, item in chosen]
        return batch


def _mask(store: MaskStore, item: ArtifactTuple) -> torch.Tensor:
    if item.key in store:
        return torch.from_numpy(store[item.key].full())[None]
    return torch.zeros(1, *item.sr_size, dtype=torch.bool)


def _stack(images: Sequence[NDArray[np.uint8]]) -> torch.Tensor:
    return torch.from_numpy(np.stack(images)).permute(0, 3, 1, 2)
