"""Training crops and whole images of an artifact set."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch.utils.data import DataLoader, Dataset
from torch.utils.data.distributed import DistributedSampler

from datamodules.artifact_folders import IMAGE_ROLES, ArtifactTuple
from datamodules.artifact_sides import ArtifactSide, ImagePair
from datamodules.cache import ImageCache, Size
from datamodules.crops import CropRule, Rounds, Window, draws_of, empty_images, put
from datamodules.mask_store import MaskStore


@dataclass(frozen=True)
class CropPlan:
    """All that a reading process needs to make one training sample.

    Attributes:
        index: number of the sample in the run.
        key: of the image.
        paths: files of ``lr``, ``mse_sr`` and ``gan_sr``; the last two are one HR file for a pair.
        window: where to cut.
        mask: the cut mask as packed bits, or None for all false.
        paired: whether this is an LR/HR pair.
    """

    index: int
    key: str
    paths: tuple[Path, Path, Path]
    window: Window
    mask: NDArray[np.uint8] | None
    paired: bool


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
        lr, mse_sr, gan_sr = (item.paths[role] for role in IMAGE_ROLES)
        return CropPlan(index, item.key, (lr, mse_sr, gan_sr), window, bits, paired=False)

    def _pair_plan(self, index: int, pair: ImagePair) -> CropPlan:
        window = self.rule.window(draws_of(self.seed, index), pair.lr_size, self.scale)
        return CropPlan(index, pair.key, (pair.lr, pair.hr, pair.hr), window, None, paired=True)


class CropMaker:
    """Batches of plans: aligned crops of LR, MSE-SR, GAN-SR and mask.

    Args:
        images: where the images come from.
        size: rows and columns of an LR crop.
        scale: the upscaling factor.
    """

    def __init__(self, images: ImageCache, size: int, scale: int) -> None:
        self.images, self.size, self.scale = images, size, scale

    def __call__(self, plans: list[CropPlan]) -> dict[str, Any]:
        """Make a batch.

        Returns:
            ``lr`` (B, 3, h, w), ``mse_sr`` and ``gan_sr`` (B, 3, H, W) uint8 with channels last in
            memory, ``mask`` (B, 1, H, W) bool, ``paired`` (B,) bool, ``index`` (B,) int64 and
            ``keys``. A pair has its HR image as both MSE-SR and GAN-SR and an empty mask, so that
            its pseudo ground truth is HR.

        Raises:
            InputError: an image that cannot be read.
        """
        count, sr_size = len(plans), self.size * self.scale
        images = [empty_images(count, size) for size in (self.size, sr_size, sr_size)]
        mask = torch.zeros(count, 1, sr_size, sr_size, dtype=torch.bool)
        for place, plan in enumerate(plans):
            for role, path in enumerate(plan.paths):
                put(
                    images[role],
                    place,
                    plan.window.cut(self.images[path], self.scale if role else 1),
                )
            if plan.mask is not None:
                bits = np.unpackbits(plan.mask, count=sr_size * sr_size).view(bool)
                mask[place, 0] = torch.from_numpy(bits.reshape(sr_size, sr_size))
        return {
            **dict(zip(IMAGE_ROLES, images, strict=True)),
            "mask": mask,
            "paired": torch.tensor([plan.paired for plan in plans]),
            "index": torch.tensor([plan.index for plan in plans]),
            "keys": [plan.key for plan in plans],
        }


class WholeImages(Dataset[dict[str, Any]]):
    """Whole tuples, several of one size at a time.

    Args:
        sides: what to serve; a tuple without a mask gets an empty one.
        images: where the images come from.
        batch_size: at most so many images of one size, all labelled or none, in a batch.
    """

    def __init__(
        self, sides: Sequence[ArtifactSide], images: ImageCache, batch_size: int = 1
    ) -> None:
        self.items = [(side, item) for side in sides for item in side.tuples]
        self.images = images
        self.groups = self._group(batch_size)

    def _group(self, batch_size: int) -> list[list[int]]:
        alike: dict[tuple[Size, bool], list[int]] = {}
        for number, (side, item) in enumerate(self.items):
            alike.setdefault((item.lr_size, item.key in side.labels), []).append(number)
        return sorted(
            numbers[first : first + batch_size]
            for numbers in alike.values()
            for first in range(0, len(numbers), batch_size)
        )

    @property
    def paths(self) -> list[Path]:
        """All image files."""
        return [item.paths[role] for _, item in self.items for role in IMAGE_ROLES]

    def __len__(self) -> int:
        return len(self.groups)

    def __getitem__(self, place: int) -> dict[str, Any]:
        """One batch: as `CropMaker` makes, without ``paired``, and with ``gt_mask`` if labelled."""
        chosen = [self.items[number] for number in self.groups[place]]
        batch: dict[str, Any] = {
            role: _stack([self.images[item.paths[role]] for _, item in chosen])
            for role in IMAGE_ROLES
        }
        batch["mask"] = torch.stack([_mask(side.masks, item) for side, item in chosen])
        if chosen[0][1].key in chosen[0][0].labels:
            batch["gt_mask"] = torch.stack([_mask(side.labels, item) for side, item in chosen])
        batch["index"] = torch.tensor(self.groups[place])
        batch["keys"] = [item.key for _, item in chosen]
        return batch

    def loader(
        self, rank: int = 0, world_size: int = 1, num_workers: int = 0, pin_memory: bool = False
    ) -> DataLoader[dict[str, Any]]:
        """Every image once, on one of the ranks."""
        return DataLoader(
            self,
            batch_size=None,
            sampler=ShardSampler(self, rank, world_size),
            num_workers=num_workers,
            pin_memory=pin_memory,
        )


class ShardSampler(DistributedSampler):
    """Every ``world_size``-th item, in order, none repeated to make the ranks even.

    Lightning leaves a `DistributedSampler` in its place, and would put one that repeats items
    in the place of any other.
    """

    def __init__(self, dataset: Dataset, rank: int, world_size: int) -> None:
        super().__init__(dataset, world_size, rank, shuffle=False)
        self.places = range(rank, len(dataset), world_size)  # type: ignore[arg-type]

    def __iter__(self) -> Iterator[int]:
        return iter(self.places)

    def __len__(self) -> int:
        return len(self.places)


def _mask(store: MaskStore, item: ArtifactTuple) -> torch.Tensor:
    if item.key in store:
        return torch.from_numpy(store[item.key].full())[None]
    return torch.zeros(1, *item.sr_size, dtype=torch.bool)


def _stack(images: Sequence[NDArray[np.uint8]]) -> torch.Tensor:
    return torch.from_numpy(np.stack(images)).permute(0, 3, 1, 2)
