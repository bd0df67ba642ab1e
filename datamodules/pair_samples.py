"""Training crops and whole validation images of clean images and pairs."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch.utils.data import Dataset

from datamodules.cache import ImageCache
from datamodules.crop_batches import CropPlan
from datamodules.crops import CropRule, Rounds, draws_of
from datamodules.degradations import BatchDegradation, UnsharpMask
from datamodules.image_pairs import ImagePair


class PairPlanner:
    """Plans of training samples: sample i depends on seed and i alone.

    Args:
        pairs: each visited once a round.
        rule: how windows are chosen.
        scale: of LR against HR.
        seed: another seed, other samples.
    """

    version = 0

    def __init__(self, pairs: Sequence[ImagePair], rule: CropRule, scale: int, seed: int) -> None:
        self.pairs, self.rule, self.scale, self.seed = pairs, rule, scale, seed
        self._rounds = Rounds(len(pairs), seed)

    def plan(self, index: int) -> CropPlan:
        """What sample ``index`` consists of: ``gt`` and, where there is one, ``lr``."""
        pair = self.pairs[self._rounds[index]]
        window = self.rule.window(draws_of(self.seed, index), pair.lr_size, self.scale)
        paths = {"gt": pair.hr} if pair.lr is None else {"lr": pair.lr, "gt": pair.hr}
        return CropPlan(index, pair.key, paths, window)


class WholePairs(Dataset[dict[str, Any]]):
    """Whole images, one at a time: ``lr``, ``gt`` uint8, ``index``, ``keys``.

    Where an image has no partner, its LR is made by the degradations that belong to its key: the
    same in every run, on any device, whatever other images there are.

    Args:
        pairs: what to serve.
        images: where the images come from.
        scale: of LR against HR.
        degradation: makes LR where there is none.
        unsharp: what the images go through before they are degraded, if anything.
        seed: of the degradations.
    """

    def __init__(
        self,
        pairs: Sequence[ImagePair],
        images: ImageCache,
        scale: int,
        degradation: BatchDegradation | None = None,
        unsharp: UnsharpMask | None = None,
        seed: int = 0,
    ) -> None:
        self.pairs, self.images, self.scale = pairs, images, scale
        self.degradation, self.unsharp, self.seed = degradation, unsharp, seed
        self._made: dict[int, torch.Tensor] = {}

    def __len__(self) -> int:
        return len(self.pairs)

    def __getitem__(self, place: int) -> dict[str, Any]:
        pair = self.pairs[place]
        height, width = (length * self.scale for length in pair.lr_size)
        gt = _planes(self.images[pair.hr][:height, :width])
        lr = self._degraded(place, gt) if pair.lr is None else _planes(self.images[pair.lr])
        return {"lr": lr, "gt": gt, "index": torch.tensor([place]), "keys": [pair.key]}

    def _degraded(self, place: int, gt: torch.Tensor) -> torch.Tensor:
        if place not in self._made:
            assert self.degradation is not None
            images = gt.float().div_(255)
            images = self.unsharp(images) if self.unsharp else images
            number = _number_of(self.pairs[place].key)
            lr = self.degradation(images, self.seed, number, [number])
            self._made[place] = lr.mul_(255).round_().to(torch.uint8)
        return self._made[place]


def _planes(pixels: NDArray[np.uint8]) -> torch.Tensor:
    return torch.tensor(pixels).permute(2, 0, 1).unsqueeze(0)


def _number_of(key: str) -> int:
    return int.from_bytes(hashlib.blake2b(key.encode(), digest_size=7).digest())
