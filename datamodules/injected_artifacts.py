"""Pairs of upscalings with artifacts of known places, made from clean photos by a generator."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from lightning import LightningDataModule
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, Dataset, IterableDataset

from datamodules import injection
from datamodules.degradations import Degradation
from datamodules.image_folders import ImageFolders
from datamodules.roles import Role
from datamodules.true_labels import true_labels
from desra.errors import InputError
from desra.files import find_images
from desra.images import read_rgb
from desra.rim import read_mask_of

Batch = dict[str, Tensor]
_AT_ONCE = 8
_BORDER = 4  # LR pixels
_VAL_SEED = 1 << 20
"""Added to the seed of what is validated on."""


@dataclass
class Pool:
    """Crops and what the networks make of them; ``(N, 3, S, S)`` uint8 each.

    Attributes:
        hr: clean.
        mse_sr: of its usual degradation.
        gan_sr: likewise.
        odd: GAN-SR of a degradation that the generator was not made for.
        wrong: where ``hr`` shows that ``gan_sr`` went wrong, bool ``(N, 1, S, S)``.
    """

    hr: Tensor
    mse_sr: Tensor
    gan_sr: Tensor
    odd: Tensor
    wrong: Tensor


class InjectedArtifacts(LightningDataModule):
    """Batches ``mse_sr``, ``gan_sr`` (B, 3, S, S) uint8 and ``mask`` (B, 1, S, S) bool.

    Crops of the photos are degraded and upscaled once, when training begins. Each batch draws from
    them anew what lies outside of artifacts (GAN-SR; MSE-SR with part of the photo's true detail,
    which a detector must learn to leave alone; MSE-SR itself) and what is pasted in: GAN-SR of
    degradations that the generator was not made for, what GAN-SR adds exaggerated, or one of
    `datamodules.injection.TEXTURES`. Where the photo shows that GAN-SR itself went wrong
    (`datamodules.true_labels`) is marked, too. Batch i is a function of seed and i.

    Args:
        root: clean photos, at any depth.
        gan_weights: the generator whose artifacts are learned, file or name.
        mse_weights: the MSE generator beside it.
        load: reads a file of weights.
        degradation: what the generators are made for.
        odd_degradations: what they are not made for, by name; drawn from.
        labelled_root: an artifact set that people labelled, or None.
        labelled_share: of a batch from there.
        val_share: of the photos, to validate on.
        crop: pixels a side, a multiple of 32.
        pool_size: crops that are upscaled.
        batch_size: crops a step on each rank.
        val_batches: of validation.
        truth: whether to mark what the photo shows to be wrong.
        seed: of all draws.

    Raises:
        InputError: a setting that cannot be used; in `setup`, anything wrong with the images.
    """

    def __init__(
        self,
        root: str | Path,
        gan_weights: str,
        mse_weights: str,
        load: Callable[[str], nn.Module],
        degradation: Degradation | None = None,
        odd_degradations: Mapping[str, Degradation] | None = None,
        labelled_root: str | Path | None = None,
        labelled_share: float = 0.5,
        val_share: float = 0.2,
        crop: int = 128,
        pool_size: int = 600,
        batch_size: int = 16,
        val_batches: int = 8,
        truth: bool = True,
        seed: int = 0,
    ) -> None:
        super().__init__()
        if crop < 64 or crop % 32:
            raise InputError(f"data.crop={crop}: give a multiple of 32 pixels, at least 64")
        for name, value in (("pool_size", pool_size), ("batch_size", batch_size)):
            if value < 1:
                raise InputError(f"data.{name}={value}: give at least 1")
        if not 0 < val_share < 1 or not 0 <= labelled_share < 1:
            raise InputError("data.val_share and data.labelled_share: give shares, as 0.2")
        self.root, self.crop, self.seed, self.truth = Path(root), crop, seed, truth
        self.weights = {"mse_sr": mse_weights, "gan_sr": gan_weights}
        self.degradation = degradation or Degradation()
        self.odd_degradations = list((odd_degradations or {}).values()) or [self.degradation]
        self.load = load
        self.labelled_root, self.labelled_share = labelled_root, labelled_share
        self.val_share, self.pool_size = val_share, pool_size
        self.batch_size, self.val_batches = batch_size, val_batches
        self.pools: dict[Literal["train", "val"], Pool] = {}
        self.labelled: list[Batch] = []

    def setup(self, stage: str) -> None:
        """Cut, degrade and upscale the crops.

        Raises:
            InputError: fewer than two photos, a photo that cannot be read or is too small, weights
                that cannot be used or upscale otherwise than the degradation.
        """
        if self.pools:
            return
        paths = [paths[0] for paths in find_images(self.root).values()]
        if len(paths) < 2:
            raise InputError(f"{self.root}: one photo; give several, to learn and to validate on")
        held_out = max(1, round(self.val_share * len(paths)))
        order = np.random.default_rng(self.seed).permutation(len(paths))
        photos = [self._read(paths[index]) for index in order]
        networks = {role: self._network(weights) for role, weights in self.weights.items()}
        val_size = min(self.pool_size, self.val_batches * self.batch_size)
        self.pools["val"] = self._make_pool(photos[:held_out], networks, val_size, _VAL_SEED)
        self.pools["train"] = self._make_pool(photos[held_out:], networks, self.pool_size, 0)
        if self.labelled_root is not None:
            self.labelled = self._read_labelled(self.labelled_root)

    def _read(self, path: Path) -> Tensor:
        pixels = read_rgb(path)
        if min(pixels.shape[:2]) < self.crop:
            height, width = pixels.shape[:2]
            raise InputError(
                f"{path}: {width}x{height} is smaller than data.crop={self.crop}; leave it out or "
                "lower data.crop"
            )
        return torch.from_numpy(pixels.copy()).permute(2, 0, 1)

    def _network(self, weights: str) -> nn.Module:
        network = self.load(weights).eval().to(self._device)
        scale = int(network.scale)  # type: ignore[arg-type]
        if scale != self.degradation.scale:
            raise InputError(
                f"{weights}: upscales ×{scale}, and data.degradation makes images for "
                f"×{self.degradation.scale}; set data.degradation.scale={scale}"
            )
        return network

    @property
    def _device(self) -> torch.device:
        return self.trainer.strategy.root_device if self.trainer else torch.device("cpu")

    @torch.no_grad()
    def _make_pool(
        self, photos: Sequence[Tensor], networks: dict[str, nn.Module], size: int, offset: int
    ) -> Pool:
        parts: list[Pool] = []
        random = np.random.default_rng([self.seed, offset])
        for start in range(0, size, _AT_ONCE):
            count = min(_AT_ONCE, size - start)
            hr = torch.stack([self._cut(photos, random) for _ in range(count)])
            numbers = [offset + start + index for index in range(count)]
            odd = self.odd_degradations[int(random.integers(len(self.odd_degradations)))]
            usual_lr, odd_lr = (
                degrade(hr.float().div(255).to(self._device), self.seed + more, numbers[0], numbers)
                for more, degrade in ((0, self.degradation), (1, odd))
            )
            made = (
                _upscale(networks["mse_sr"], usual_lr),
                _upscale(networks["gan_sr"], usual_lr),
                _upscale(networks["gan_sr"], odd_lr),
            )
            mse_sr, gan_sr, odd_sr = (_to_bytes(images) for images in made)
            wrong = torch.zeros_like(gan_sr[:, :1], dtype=torch.bool)
            if self.truth:
                wrong = true_labels(*(images.float() / 255 for images in (hr, mse_sr, gan_sr)))
            parts.append(Pool(hr, mse_sr, gan_sr, odd_sr, wrong))
        names = ("hr", "mse_sr", "gan_sr", "odd", "wrong")
        return Pool(*(torch.cat([getattr(part, name) for part in parts]) for name in names))

    def _cut(self, photos: Sequence[Tensor], random: np.random.Generator) -> Tensor:
        photo = photos[int(random.integers(len(photos)))]
        top, left = (int(random.integers(side - self.crop + 1)) for side in photo.shape[1:])
        return photo[:, top : top + self.crop, left : left + self.crop]

    def _read_labelled(self, root: str | Path) -> list[Batch]:
        found = []
        roles = {"mse_sr": Role(), "gan_sr": Role(), "gt_mask": Role(kind="label")}
        for match in ImageFolders(roles, root, unmatched="skip").matches:
            if match.error:
                raise InputError(f"{match.key}: {match.error}")
            images = {role: self._read(match.paths[role]) for role in ("mse_sr", "gan_sr")}
            height, width = images["gan_sr"].shape[1:]
            size, picture = (height, width), match.paths["gan_sr"]
            mask = read_mask_of(match.paths["gt_mask"], size, drawn_on=picture)
            found.append({**images, "mask": torch.from_numpy(mask.copy())[None]})
        return found

    def make_batch(self, number: int, part: Literal["train", "val"] = "train") -> Batch:
        """Batch ``number``; of validation, always the same."""
        seed = self.seed + (_VAL_SEED if part == "val" else 0)
        random = torch.Generator().manual_seed((seed << 32) + number)
        pool = self.pools[part]
        size = len(pool.hr)
        if part == "val":
            chosen = torch.arange(number * self.batch_size, (number + 1) * self.batch_size) % size
        else:
            chosen = torch.randint(size, (self.batch_size,), generator=random)
        roles = ("hr", "mse_sr", "gan_sr", "odd")
        images = {name: getattr(pool, name)[chosen].float().div_(255) for name in roles}
        batch = inject({**images, "wrong": pool.wrong[chosen]}, random)
        count = round(self.labelled_share * self.batch_size) if self.labelled else 0
        if count and part == "train":
            for index in range(count):
                crop = self._labelled_crop(random)
                for name, values in crop.items():
                    batch[name][index] = values
        return _turned(batch, random) if part == "train" else batch

    def _labelled_crop(self, random: torch.Generator) -> Batch:
        one = self.labelled[int(torch.randint(len(self.labelled), (), generator=random))]
        corner = [
            int(torch.randint(side - self.crop + 1, (), generator=random))
            for side in one["mask"].shape[1:]
        ]
        rows, columns = (slice(start, start + self.crop) for start in corner)
        return {name: values[:, rows, columns] for name, values in one.items()}

    def train_dataloader(self) -> DataLoader[Batch]:
        """An endless stream; it goes on where a checkpoint left."""
        return DataLoader(_Stream(self), batch_size=None)

    def val_dataloader(self) -> DataLoader[Batch]:
        """The same batches each time."""
        return DataLoader(_Validation(self), batch_size=None)


class _Stream(IterableDataset[Batch]):
    def __init__(self, data: InjectedArtifacts) -> None:
        self.data = data

    def __iter__(self) -> Iterator[Batch]:
        trainer = self.data.trainer
        rank, ranks = (trainer.global_rank, trainer.world_size) if trainer else (0, 1)
        step = trainer.global_step if trainer else 0
        while True:
            yield self.data.make_batch(step * ranks + rank)
            step += 1


class _Validation(Dataset[Batch]):
    def __init__(self, data: InjectedArtifacts) -> None:
        self.data = data

    def __len__(self) -> int:
        return self.data.val_batches

    def __getitem__(self, number: int) -> Batch:
        return self.data.make_batch(number, "val")


def inject(images: Batch, random: torch.Generator) -> Batch:
    """Make a batch of pairs with injected artifacts.

    Args:
        images: ``hr``, ``mse_sr``, ``gan_sr``, ``odd``, ``(B, 3, S, S)`` float in [0, 1]; and
            ``wrong``, bool ``(B, 1, S, S)``: where GAN-SR itself is to be marked, in the images
            that have it outside of what is pasted.
        random: of all draws.

    Returns:
        ``mse_sr``, ``gan_sr`` uint8 and ``mask`` bool.
    """
    hr, mse_sr, gan_sr = images["hr"], images["mse_sr"], images["gan_sr"]
    count, _, side, _ = hr.shape
    share = torch.rand(count, 1, 1, 1, generator=random)
    kind = torch.rand(count, 1, 1, 1, generator=random)
    of_gan = kind < 0.65
    background = torch.where(of_gan, gan_sr, mse_sr.lerp(hr, 0.3 + 0.7 * share))
    background = torch.where(kind > 0.92, mse_sr, background)
    artifact = _artifacts(images, background, random)
    masks = injection.blobs(count, side, random)
    image, mask = injection.paste(background, artifact, masks)
    mask = mask | (images["wrong"] & of_gan & ~masks)
    return {"mse_sr": _to_bytes(mse_sr), "gan_sr": _to_bytes(image), "mask": mask}


def _artifacts(images: Batch, background: Tensor, random: torch.Generator) -> Tensor:
    """What is pasted into each image, ``(B, 3, S, S)``."""
    count = len(background)
    kind = torch.rand(count, 1, 1, 1, generator=random)
    factor = 2 + 3 * torch.rand(count, generator=random)
    exaggerated = injection.exaggerate(images["mse_sr"], images["gan_sr"], factor)
    made = torch.where(kind < 0.35, images["odd"], exaggerated)
    which = torch.randint(len(injection.TEXTURES), (count,), generator=random)
    textures = background.clone()
    for index, degrade in enumerate(injection.TEXTURES):
        chosen = which == index
        if chosen.any():
            textures[chosen] = degrade(background[chosen], random)
    return torch.where(kind < 0.55, made, textures)


def _upscale(network: nn.Module, lr: Tensor) -> Tensor:
    """With reflected borders; networks pad with zeros, which shows there."""
    scale = int(network.scale)  # type: ignore[arg-type]
    margin = _BORDER * scale
    return network(F.pad(lr, (_BORDER,) * 4, mode="reflect"))[..., margin:-margin, margin:-margin]


def _turned(batch: Batch, random: torch.Generator) -> Batch:
    """Mirrored and turned, all alike."""
    flip, turns = (
        torch.rand((), generator=random) < 0.5,
        int(torch.randint(4, (), generator=random)),
    )
    for name, values in batch.items():
        values = values.flip(-1) if flip else values
        batch[name] = torch.rot90(values, turns, (-2, -1)).contiguous()
    return batch


def _to_bytes(images: Tensor) -> Tensor:
    return images.clamp(0, 1).mul(255).round_().to(torch.uint8).cpu()
