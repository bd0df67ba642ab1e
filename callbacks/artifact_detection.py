"""Mask updates: artifacts detected in the outputs of the generator as it is now."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Protocol, cast

import numpy as np
import torch
from lightning import Callback, LightningModule, Trainer
from numpy.typing import NDArray
from torch import Tensor, nn

from callbacks.kept_planes import KeptPlanes, deflate, inflate
from callbacks.ranks import gather
from datamodules.mask_store import MaskStore, UpdateMode
from desra.detectors import Detector
from desra.errors import InputError
from desra.images import quantize
from desra.segmenters import Segmenter
from models.finetuner import GANFinetuner

log = logging.getLogger(__name__)


class ArtifactData(Protocol):
    """What the data has to offer: `datamodules.desra_artifacts.DeSRAArtifacts`."""

    masks: MaskStore

    def detection_dataloader(self) -> Any:
        """Whole training images, each on one rank."""

    def update_masks(self, masks: Mapping[str, Any], mode: UpdateMode) -> list[str]:
        """Take over new masks, on every rank the same."""


class ArtifactDetectionCallback(Callback):
    """Detects artifacts with the EMA generator while it is trained.

    Every so many iterations or epochs the training images are upscaled anew, and what the detector
    finds goes into the masks of the data, from which the next batches are made. Each rank upscales
    its share; of the masks only those that change travel. The masks are those that ``detect.py``
    makes of the same images as files: outputs are rounded to 8 bits, and labels are GAN-SR's.

    Semantic labels are made once an image, of the original GAN-SR, and kept, deflated, by the rank
    whose share the image is in.

    Args:
        detector: compares the upscalings.
        segmenter: labels the pixels of GAN-SR.
        every_n_steps: iterations from one mask update to the next; None: see the next.
        every_n_epochs: likewise in epochs; neither: the masks stay as they are.
        mode: ``"union"`` adds what is found now, so that an artifact once marked is held to MSE-SR
            for good. ``"replace"`` lets marks go where nothing is found any more; the pseudo ground
            truth there is the original GAN-SR again, with the artifact it had. ``"off"``: never.

    Raises:
        InputError: settings that cannot be used; in `setup`, data without masks.
    """

    def __init__(
        self,
        detector: Detector,
        segmenter: Segmenter,
        every_n_steps: int | None = None,
        every_n_epochs: int | None = None,
        mode: UpdateMode = "union",
    ) -> None:
        name = "callbacks.artifact_detection"
        if mode not in ("replace", "union", "off"):
            raise InputError(f"{name}.mode={mode}: give replace, union or off")
        if every_n_steps is not None and every_n_epochs is not None:
            raise InputError(f"{name}: give every_n_steps or every_n_epochs, not both")
        if any(every is not None and every < 1 for every in (every_n_steps, every_n_epochs)):
            raise InputError(f"{name}: give 1 or more steps or epochs, or null for never")
        self.detector, self.segmenter = detector, segmenter
        self.every_n_steps, self.every_n_epochs, self.mode = every_n_steps, every_n_epochs, mode
        self._updates = 0
        self._labels = KeptPlanes()
        self._pace = _Pace()

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Check the data, and fetch what is needed before anything has been computed."""
        if not hasattr(getattr(trainer, "datamodule", None), "update_masks"):
            raise InputError(
                "callbacks.artifact_detection: this data has no masks; give data=desra_artifacts, "
                "or callbacks=plain"
            )
        self.detector.prepare()
        self.segmenter.prepare()

    # Training

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Put the detector and the segmenter where the generator is."""
        self._to(pl_module.device)
        self._pace = _Pace()

    def on_train_batch_start(
        self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int
    ) -> None:
        """Update the masks if it is time; this batch is older, the next is made with them.

        Before a step and not after one, so that a checkpoint saved after a step is from before the
        update, whatever the order of the callbacks, and a resumed run updates the same masks.
        """
        if self._due(trainer):
            start = time.perf_counter()
            changed = self._update_masks(trainer, pl_module)
            self._report(trainer, pl_module, changed, time.perf_counter() - start)
        self._pace.start()

    def on_train_batch_end(self, trainer: Trainer, *_: Any) -> None:
        """Take the time of a step."""
        self._pace.stop()

    def _due(self, trainer: Trainer) -> bool:
        if self.mode == "off":
            return False
        if self.every_n_steps is not None:
            passed = trainer.global_step // self.every_n_steps
        elif self.every_n_epochs is not None:
            passed = trainer.current_epoch // self.every_n_epochs
        else:
            return False
        due = passed > self._updates
        self._updates = max(passed, self._updates)
        return due

    def _update_masks(self, trainer: Trainer, pl_module: LightningModule) -> list[str]:
        """Detect this rank's share, exchange what is new, and update the data."""
        data = cast(ArtifactData, trainer.datamodule)  # type: ignore[attr-defined]
        found: dict[str, bytes] = {}
        problem = None
        try:
            for key, mask in self._detect_share(data, pl_module):
                if _changes(data.masks[key].full(), mask, self.mode):
                    found[key] = deflate(mask)
        except InputError as error:  # raised on one rank alone, it would leave the others waiting
            problem = f"mask update: {error}"
        shares = gather((problem, found))
        for said, _ in shares:
            if said is not None:
                raise InputError(said)
        masks = {key: inflate(plane, True) for _, share in shares for key, plane in share.items()}
        return data.update_masks(masks, self.mode)

    def _detect_share(
        self, data: ArtifactData, pl_module: LightningModule
    ) -> Iterator[tuple[str, NDArray[np.bool_]]]:
        upscaler = cast(GANFinetuner, pl_module).upscaler()
        for batch in data.detection_dataloader():
            lr, mse_sr, gan_sr = (
                batch[role].to(pl_module.device, non_blocking=True)
                for role in ("lr", "mse_sr", "gan_sr")
            )
            labels = self._labels_of(gan_sr, batch["keys"])
            mask = self.detector(
                mse_sr, quantize(upscaler(lr.float() / 255).clamp_(0, 1)), labels
            ).mask
            yield from zip(batch["keys"], mask[:, 0].cpu().numpy(), strict=True)
        upscaler.renew()

    def _report(
        self, trainer: Trainer, pl_module: LightningModule, changed: Sequence[str], seconds: float
    ) -> None:
        """Say and log what a mask update did and what it cost; the time is the slowest rank's."""
        masks = cast(ArtifactData, trainer.datamodule).masks  # type: ignore[attr-defined]
        pixels = sum(mask.shape[0] * mask.shape[1] for mask in masks.values())
        epoch = self._pace.seconds_a_step * float(trainer.num_training_batches)
        seconds = max(gather(seconds))
        figures = {
            "masks/changed": len(changed),
            "masks/artifact_share": sum(mask.area for mask in masks.values()) / pixels,
            "masks/seconds": seconds,
            "masks/share_of_epoch": seconds / epoch if epoch else float("nan"),
        }
        for logger in trainer.loggers:
            logger.log_metrics(figures, step=cast(GANFinetuner, pl_module).batches_seen)
        if trainer.is_global_zero:
            log.info(
                "iteration %d: %d of %d masks changed, artifact share now %.2f %%; took %.1f s, "
                "%.0f %% of an epoch",
                trainer.global_step,
                len(changed),
                len(masks),
                100 * figures["masks/artifact_share"],
                figures["masks/seconds"],
                100 * figures["masks/share_of_epoch"] if epoch else 0,
            )

    def _labels_of(self, gan_sr: Tensor, keys: Sequence[str]) -> Tensor | None:
        labels = self._labels.get(keys, lambda: self.segmenter(gan_sr, keys))
        return None if labels is None else labels.to(gan_sr.device)

    def _to(self, device: torch.device) -> None:
        for module in (self.detector, self.segmenter):
            cast(nn.Module, module).to(device)

    # Checkpoints

    def state_dict(self) -> dict[str, int]:
        """How many mask updates there were; the masks are in the data's own state."""
        return {"mask_updates": self._updates}

    def load_state_dict(self, state_dict: dict[str, int]) -> None:
        """Go on with the mask update that comes next."""
        self._updates = state_dict["mask_updates"]


class _Pace:
    """Mean time of training steps."""

    def __init__(self) -> None:
        self.total, self.steps = 0.0, 0
        self._begin = 0.0

    def start(self) -> None:
        self._begin = time.perf_counter()

    def stop(self) -> None:
        self.total += time.perf_counter() - self._begin
        self.steps += 1

    @property
    def seconds_a_step(self) -> float:
        return self.total / self.steps if self.steps else 0.0


def _changes(present: NDArray[np.bool_], mask: NDArray[np.bool_], mode: UpdateMode) -> bool:
    if mode == "union":
        return bool((mask & ~present).any())
    return not np.array_equal(mask, present)
