"""Artifact sets as training data: tuples of LR, MSE-SR, GAN-SR and mask."""

from __future__ import annotations

import logging
import math
from collections.abc import Mapping, Sequence
from typing import Any, Literal

import torch
from lightning.pytorch.utilities import rank_zero_only
from numpy.typing import NDArray
from torch.utils.data import DataLoader

from datamodules.artifact_folders import FOLDER_NAMES, IMAGE_ROLES, ArtifactTuple
from datamodules.artifact_samples import ArtifactCropMaker, CropPlanner, WholeImages
from datamodules.artifact_sides import ArtifactSide, MaskSource, find_sides, summary
from datamodules.crops import CropRule
from datamodules.degradations import Degradation
from datamodules.image_pairs import ImagePair, find_pairs
from datamodules.mask_store import MaskStore, Origin, UpdateMode
from datamodules.problems import UNALIGNED_HINT, collect, raise_all, some
from datamodules.sample_stream import SampleStream
from datamodules.splits import SplitRule
from datamodules.training_data import TrainingData
from desra.errors import InputError
from desra.same_scene import misalignment
from desra.terminal import terminal

log = logging.getLogger(__name__)


class DeSRAArtifacts(TrainingData):
    """Tuples for finetuning and whole images for validation.

    Training batches are dicts: ``lr`` (B, 3, h, w), ``mse_sr``, ``gan_sr`` (B, 3, H, W) float32 in
    [0, 1], ``mask`` (B, 1, H, W) bool, ``paired`` (B,) bool (LR/HR pairs, see ``hr_root``),
    ``index`` (B,) int64 (number of the sample in the run), ``keys``; and ``weight`` (B, 1, H, W)
    float32 where the set has weights. They travel to the device as 8-bit images. Sample i is a pure
    function of ``seed``, i and the masks as they are at its step: number of ranks and workers, and
    a resume from a checkpoint, change nothing.

    Validation batches are whole images, one at a time: the same without ``paired``, with
    ``gt_mask`` where the image is labelled.

    Args:
        root: folder with ``LR``, ``MSE-SR``, ``GAN-SR``, ``DeSRA-Mask`` and perhaps ``GT-Mask``, or
            with one such folder a method. Images are matched by relative path without suffix. Masks
            are of full size or lack the detector's rim; labels may be LabelMe's JSON.
        method: which method's folder, where ``root`` has several.
        folder_names: role (``lr``, ``mse_sr``, ``gan_sr``, ``mask``, ``gt_mask``) to folder name,
            where it is not the release's.
        mask_source: train on ``"detected"`` masks or on the ``"labelled"`` ones.
        weight_root: how much MSE-SR counts on each region of the masks, ``Weight`` of
            ``task=weight_masks``; null: ``Weight`` in ``root``, if there is one. A region without a
            weight, or of an image without, counts in full.
        mask_required: refuse images without that mask; if false they start with an empty one.
        val_root: another artifact set to validate on.
        val_list: text file with the keys to validate on, one a line.
        val_share: share of images to validate on where neither is given; 0: none.
        group_pattern: regular expression on keys; images with the same first group (or whole
            match) are crops of one photo, and never on both sides of the split.
        train_count: train on so many images alone, drawn by the seed, each smaller count's among
            the larger one's; null: on all that do not validate.
        gt_crop: side of the training crops in pixels of the upscaled image.
        batch_size: crops a step on each rank.
        epoch_steps: steps an epoch; null: as many as show every image once.
        artifact_bias: probability that a crop is placed to contain an artifact pixel.
        artifact_origin: whether that is drawn among all artifact ``"pixel"``s or, evenly, among
            the ``"region"``s.
        flip: mirror half of the crops.
        rotate: turn crops by multiples of 90 degrees.
        hr_root: clean images to mix in, so that the generator forgets nothing. Those beyond
            ``cache_gb`` are checked by their headers alone before training.
        hr_lr_root: their low-resolution partners; null: made by ``hr_degradation``.
        hr_degradation: null: Real-ESRGAN's second-order degradations.
        hr_ratio: share of crops from them.
        cache_gb: gigabytes of decoded images to keep in memory, a process.
        num_workers: reading processes a rank; null: none if all images fit in the cache, else half
            of the rank's processors, at most 4.
        test_split: what `test_dataloader` serves: ``"train"``, ``"val"`` or ``"all"``.
        seed: of the split and of the samples.
        check_alignment: refuse images whose LR, MSE-SR and GAN-SR do not lie on each other.

    Raises:
        InputError: (in `setup`) anything that would stop training later, all of it listed.
    """

    image_roles = (*IMAGE_ROLES, "weight")

    def __init__(
        self,
        root: str,
        method: str | None = None,
        folder_names: Mapping[str, str] | None = None,
        mask_source: MaskSource = "detected",
        mask_required: bool = True,
        weight_root: str | None = None,
        val_root: str | None = None,
        val_list: str | None = None,
        val_share: float = 0.1,
        group_pattern: str | None = None,
        train_count: int | None = None,
        gt_crop: int = 256,
        batch_size: int = 12,
        epoch_steps: int | None = None,
        artifact_bias: float = 0.5,
        artifact_origin: Origin = "pixel",
        flip: bool = True,
        rotate: bool = True,
        hr_root: str | None = None,
        hr_lr_root: str | None = None,
        hr_degradation: Degradation | None = None,
        hr_ratio: float = 0.25,
        cache_gb: float = 4.0,
        num_workers: int | None = None,
        test_split: Literal["train", "val", "all"] = "val",
        seed: int = 0,
        check_alignment: bool = True,
    ) -> None:
        super().__init__(batch_size, epoch_steps, cache_gb, num_workers)
        self.root, self.method = root, method
        self.folder_names = {**FOLDER_NAMES, **(folder_names or {})}
        self.mask_source, self.mask_required = mask_source, mask_required
        self.weight_root = weight_root
        self.split_rule = SplitRule(val_root, val_list, val_share, group_pattern, seed, train_count)
        self.crop_rule = CropRule(gt_crop, artifact_bias, artifact_origin, flip, rotate)
        self.hr_root, self.hr_lr_root, self.hr_ratio = hr_root, hr_lr_root, hr_ratio
        self.hr_degradation = hr_degradation
        self.test_split, self.seed = test_split, seed
        self.check_alignment = check_alignment
        self.train, self.val = ArtifactSide(), ArtifactSide()
        self.pairs: list[ImagePair] = []
        self._check_settings()

    def _check_settings(self) -> None:
        if self.mask_source not in ("detected", "labelled"):
            raise InputError(f"data.mask_source={self.mask_source}: give detected or labelled")
        if self.test_split not in ("train", "val", "all"):
            raise InputError(f"data.test_split={self.test_split}: give train, val or all")
        if not 0 <= self.hr_ratio < 1:
            raise InputError(f"data.hr_ratio={self.hr_ratio}: give a share from 0 to less than 1")
        if self.hr_lr_root and not self.hr_root:
            raise InputError("data.hr_lr_root: give data.hr_root, the clean images, as well")
        unknown = ", ".join(sorted(self.folder_names.keys() - FOLDER_NAMES.keys()))
        if unknown:
            roles = ", ".join(FOLDER_NAMES)
            raise InputError(f"data.folder_names: no role {unknown}; the roles are {roles}")

    # What is there

    @property
    def scale(self) -> int:
        """The upscaling factor; known after `setup`."""
        return self.train.tuples[0].scale

    @property
    def masks(self) -> MaskStore:
        """The training masks as they are now."""
        return self.train.masks

    def setup(self, stage: str | None = None) -> None:
        """Find, check and read everything, and say what was found; once, whatever the stages."""
        if self.train.tuples:
            return
        train, self.val, left_out = find_sides(
            self.root,
            self.method,
            self.folder_names,
            self.split_rule,
            self.mask_source,
            self.mask_required,
            self.weight_root,
        )
        scale = train.tuples[0].scale
        self.crop_rule.size(scale)
        if self.hr_root and self.hr_ratio:
            self.pairs, unpaired = find_pairs(self.hr_root, self.hr_lr_root, scale)
            left_out += unpaired
            self._check_degradation(scale)
        # Training images have the first claim on the memory, then those validated again and again.
        pairs = [sized for pair in self.pairs for sized in pair.sized_paths]
        raise_all(self.images.load(train.sized_paths + self.val.sized_paths, pairs), self.root)
        if self.check_alignment:
            self._refuse_misaligned([*train.tuples, *self.val.tuples])
        self.train = train
        self._say(left_out)

    def _refuse_misaligned(self, tuples: Sequence[ArtifactTuple]) -> None:
        """Compare LR, MSE-SR and GAN-SR of each image by small copies."""

        def check(item: ArtifactTuple) -> None:
            pictures = {FOLDER_NAMES[role]: self.images[item.paths[role]] for role in IMAGE_ROLES}
            if problem := misalignment(pictures):
                raise InputError(f"{item.key}: {problem}; {UNALIGNED_HINT}")

        problems: list[str] = []
        collect(check, tuples, problems)
        raise_all(problems, self.root)

    @rank_zero_only
    def _say(self, left_out: Sequence[str]) -> None:
        table = summary(self.root, self.train, self.val, len(self.pairs), self.images)
        terminal(stderr=True).print(table)
        for line in left_out:
            log.warning("left out: %s", line)
        size = self.crop_rule.size(self.scale)
        small = [item.key for item in self.train.tuples if min(item.lr_size) < size]
        if small:
            log.warning(
                "%d images are smaller than data.gt_crop=%d and will be extended by mirroring: %s",
                len(small),
                self.crop_rule.gt_crop,
                some(small),
            )

    # Batches

    def train_dataloader(self) -> SampleStream:
        """The endless stream of training batches; Lightning sets it to a checkpoint's position."""
        planner = CropPlanner(
            self.train, self.pairs, self.hr_ratio, self.crop_rule, self.scale, self.seed
        )
        rank, world_size = self.rank
        tuples_a_step = (1 - planner.pair_ratio) * world_size * self.batch_size
        pairs = [sized for pair in self.pairs for sized in pair.sized_paths]
        self._stream = SampleStream(
            planner,
            ArtifactCropMaker(
                self.images,
                self.crop_rule.size(self.scale),
                self.scale,
                weighted=any("weight" in item.paths for item in self.train.tuples),
            ),
            self.batch_size,
            self.epoch_steps or math.ceil(len(self.train.tuples) / tuples_a_step),
            rank,
            world_size,
            self.workers_for(path for path, _ in self.train.sized_paths + pairs),
            self.pin_memory,
            unfinished=self.unfinished_steps,
        )
        return self._stream

    def val_dataloader(self) -> DataLoader[dict[str, Any]] | list[Any]:
        """Whole validation images, one at a time, each on one rank."""
        return self._evaluation([self.val]) if self.val.tuples else []

    def test_dataloader(self) -> DataLoader[dict[str, Any]]:
        """Whole images of ``test_split``, one at a time, each on one rank.

        Raises:
            InputError: there are none, or fewer than processes.
        """
        sides = {"train": [self.train], "val": [self.val], "all": [self.train, self.val]}
        return self._evaluation(sides[self.test_split])

    def _evaluation(self, sides: list[ArtifactSide]) -> DataLoader[dict[str, Any]]:
        images = WholeImages(sides, self.images)
        return self.evaluation_loader(images, self.workers_for(images.paths))

    def detection_dataloader(self, batch_size: int = 1) -> DataLoader[dict[str, Any]]:
        """Whole training images with their present masks, each on one rank.

        Args:
            batch_size: at most so many images in a batch; those in it are of one size.
        """
        images = WholeImages([self.train], self.images, batch_size)
        rank, world_size = self.rank
        places = range(rank, len(images), world_size)
        return self.ready_loader(images, places, self.workers_for(images.paths))

    def on_after_batch_transfer(self, batch: dict[str, Any], dataloader_idx: int) -> dict[str, Any]:
        """8-bit images to float32 in [0, 1]; LR of clean images made, on the device."""
        missing = batch.pop("without_lr", None)
        batch = super().on_after_batch_transfer(batch, dataloader_idx)
        if missing:
            places, numbers = map(list, zip(*missing, strict=True))
            step = numbers[0] // (self.batch_size * self.rank[1])
            hr = batch["gan_sr"][places].contiguous()
            batch["lr"][places] = self._degradation()(hr, self.seed, step, numbers)
        return batch

    def _degradation(self) -> Degradation:
        return self.hr_degradation or Degradation(scale=self.scale)

    def _check_degradation(self, scale: int) -> None:
        if self.hr_degradation is not None and self.hr_degradation.scale != scale:
            raise InputError(
                f"data.hr_degradation.scale={self.hr_degradation.scale}: give the artifact set's, "
                f"{scale}"
            )

    # Masks and state

    def update_masks(
        self, masks: Mapping[str, NDArray | torch.Tensor], mode: UpdateMode = "replace"
    ) -> list[str]:
        """Replace training masks, or unite them with what is there, from the next batch on.

        Every rank must be given the same masks. Batches already prepared are made again.

        Args:
            masks: key to (H, W) bool, for any of the training images.
            mode: ``"replace"``, ``"union"``, or ``"off"`` to change nothing.

        Returns:
            the keys whose mask is another one now, sorted.

        Raises:
            InputError: an unknown key, mode or size.
        """
        return self.masks.update(masks, mode)

    def state_dict(self) -> dict[str, Any]:
        """The masks that changed. The stream keeps its own position, see `SampleStream`."""
        return {"masks": self.masks.state_dict()}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go on with the masks of a checkpoint.

        Raises:
            InputError: the checkpoint's masks are of other images.
        """
        self.masks.load_state_dict(state_dict["masks"])
