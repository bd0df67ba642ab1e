"""Validation metrics of finetuning: artifacts removed and added, detail kept."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any, cast

from lightning import Callback, LightningModule, Trainer

from callbacks.artifact_detection import ValidatedBatch
from desra.errors import InputError
from desra.metrics.detail import BACKBONES, Backbone, RegionLPIPS
from desra.metrics.finetuning import FinetuningScores, compare
from models.finetuner import GANFinetuner

log = logging.getLogger(__name__)


class ArtifactValidation(Callback):
    """Logs the figures of `desra.metrics.finetuning.FinetuningScores` at each validation.

    They are ``artifact_share/{before,after}``, ``removal_rate``, ``addition_rate``, where images
    are labelled ``detection/…`` and ``residual/…`` (IoU, precision, recall, F1 of the detector on
    GAN-SR and on the finetuned images), and against MSE-SR inside the known artifacts and GAN-SR
    outside them ``psnr/{inside,outside}`` and ``lpips/{inside,outside}``. They are the same under
    any number of ranks.

    The rows of the images are handed on to later callbacks (`ValidatedBatch.rows`).

    Args:
        lpips: backbone of LPIPS, or None to leave it out. Where its weights cannot be had, the run
            goes on without, says so, and has it in its hyper-parameters.

    Raises:
        InputError: a backbone that is not known.
    """

    def __init__(self, lpips: Backbone | None = "alex") -> None:
        if lpips is not None and lpips not in BACKBONES:
            raise InputError(
                f"callbacks.artifact_validation.lpips={lpips}: give {', '.join(BACKBONES)} or null"
            )
        self.backbone = lpips
        self.lpips: RegionLPIPS | None = None
        self.scores = FinetuningScores()
        self._prepared = False

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Have the weights of LPIPS, or say that they are missing; once for all stages."""
        if self.backbone is None or self._prepared:
            return
        self._prepared = True
        missing = None
        try:
            self.lpips = RegionLPIPS(self.backbone)
        except InputError as error:
            missing = str(error)
        if not trainer.strategy.reduce_boolean_decision(self.lpips is not None, all=True):
            self.lpips = None
            missing = missing or "its weights are missing on another machine of this run"
            pl_module.save_hyperparameters({"lpips": f"left out: {missing}"})
            if trainer.is_global_zero:
                log.warning("validating without LPIPS: %s", missing)

    def on_validation_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Begin anew, where the generator is."""
        self.scores.to(pl_module.device).reset()
        if self.lpips is not None:
            self.lpips.to(pl_module.device)

    def on_validation_batch_end(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        outputs: Any,
        batch: Mapping[str, Any],
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        """Add the images of a batch.

        Raises:
            InputError: nothing was detected in them, as no `ArtifactDetectionCallback` came before.
        """
        validated = validated_of(outputs, "artifact_validation")
        rows = compare(validated.images, self.lpips)
        for row in rows:
            self.scores.update(row)
        validated.rows = [
            {"image": key, **row} for key, row in zip(validated.keys, rows, strict=True)
        ]

    def on_validation_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Log the figures; undefined ones (0/0) are NaN."""
        figures = self.scores.compute()  # the same on every rank
        pl_module.log_dict({name: value.float() for name, value in figures.items()}, sync_dist=True)
        # Lightning takes the figure "step" for the place on the axis. Its own is the number of the
        # last batch, which cannot tell before the first step from after it.
        pl_module.log("step", float(cast(GANFinetuner, pl_module).batches_seen), sync_dist=True)


def validated_of(outputs: Any, name: str) -> ValidatedBatch:
    """What `ArtifactDetectionCallback` handed on.

    Raises:
        InputError: it did not come before the callback called ``name``.
    """
    if "validated" not in outputs:
        raise InputError(
            f"callbacks.{name} needs callbacks.artifact_detection before it; compose callbacks as "
            "conf/callbacks/default.yaml does"
        )
    return outputs["validated"]
