"""Validation of a finetuning: artifacts removed and added, detail kept, the truth come nearer."""

from __future__ import annotations

import copy
import logging
from collections.abc import Mapping
from typing import Any, Protocol, cast

import torch
from lightning import Callback, LightningModule, Trainer
from lightning.pytorch.trainer.states import TrainerFn
from torch import Tensor

from callbacks.kept_planes import KeptPlanes
from callbacks.result_choice import ResultChoice, upscaled
from desra.detectors import Detector
from desra.images import quantize
from desra.judge import Judge, Judged
from desra.metrics.detail import Backbone
from desra.metrics.finetuning import FinetuningScores, doubt
from desra.segmenters import Segmenter
from models.finetuner import GANFinetuner

log = logging.getLogger(__name__)


class Viewer(Protocol):
    """What shows judged images: panels, the page."""

    def begin(self, trainer: Trainer) -> None:
        """A validation begins."""

    def add(self, trainer: Trainer, judged: Judged) -> None:
        """A batch was judged."""

    def finish(self, trainer: Trainer, module: GANFinetuner) -> None:
        """The validation is over; called on every rank."""


class ArtifactValidation(Callback):
    """Judges every validation image before and after finetuning, and logs the metrics.

    They are those of `desra.metrics.finetuning.FinetuningScores`: shares of artifacts, rates of
    removal and addition, where images are labelled ``detection/…`` and ``residual/…``, against
    MSE-SR inside the known artifacts and GAN-SR outside them ``psnr/{inside,outside}`` and
    ``lpips/{inside,outside}``, and where the true image is known ``truth/…``. They are the same
    under any number of ranks. The validation after training is of the run's result; if the detector
    is satisfied with it and the truth is not, a line says so.

    Labels of the segmenter and masks of GAN-SR are made once an image and kept, deflated, by the
    rank whose share the image is in.

    Args:
        detector: compares the upscalings.
        segmenter: labels the pixels of GAN-SR.
        lpips: backbone of LPIPS, or None to leave it out. Where its weights cannot be had, the run
            goes on without, says so, and has it in its hyper-parameters.
        others: further detectors, by name, that look at images before and after.
        choice: chooses the run's result, or None for the last EMA state.
        panels: shows images as they change.
        report: writes the page of the result.
        lpips_weights: torchvision's file of the backbone, for a machine without a network.
        dists: likewise of VGG16, or ``"vgg16"`` to download it, to compare with the truth by DISTS,
            too; None: not.

    Raises:
        InputError: a backbone that is not known.
    """

    def __init__(
        self,
        detector: Detector,
        segmenter: Segmenter,
        lpips: Backbone | None = "alex",
        others: Mapping[str, Detector] | None = None,
        choice: ResultChoice | None = None,
        panels: Viewer | None = None,
        report: Viewer | None = None,
        lpips_weights: str | None = None,
        dists: str | None = None,
    ) -> None:
        self.judge = Judge(detector, segmenter, lpips, others, lpips_weights, dists)
        self.choice = choice
        self.viewers = [viewer for viewer in (panels, report) if viewer is not None]
        self.scores = FinetuningScores(list(others or {}))
        self._labels, self._before = KeptPlanes(), KeptPlanes()
        self._prepared = False
        self._validated = 0  # after so many batches

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Have what detectors and LPIPS need, or say what is missing; once for all stages."""
        if self.choice is not None:
            self.choice.setup(cast(GANFinetuner, pl_module))
        if self._prepared:
            return
        self._prepared = True
        judge = self.judge
        judge.prepare()
        if judge.backbone is None:
            return
        if not trainer.strategy.reduce_boolean_decision(judge.lpips is not None, all=True):
            judge.lpips = None
            missing = judge.missing or "its weights are missing on another machine of this run"
            pl_module.save_hyperparameters({"lpips": f"left out: {missing}"})
            if trainer.is_global_zero:
                log.warning("validating without LPIPS: %s", missing)

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Take the time of the run; where it goes on from a stop in a validation, do that one."""
        if self.choice is not None:
            self.choice.begin()
        self._make_up(trainer, cast(GANFinetuner, pl_module))

    def _make_up(self, trainer: Trainer, module: GANFinetuner) -> None:
        """A checkpoint is older than the validation of its step, which Lightning leaves out."""
        every, step = getattr(trainer, "val_check_batch", None), module.batches_seen
        if not trainer.enable_validation or not isinstance(every, int) or every < 1:
            return
        if not step or step % every or step == self._validated:
            return
        if trainer.is_global_zero:
            log.info("validating after %d iterations, which the run was stopped in", step)
        self._begin(trainer, module)
        for batch, finetuned in upscaled(trainer, module, copy.deepcopy(module.ema.module)):
            self._judge(trainer, batch, finetuned)
        figures = self._conclude(trainer, module)
        for logger in trainer.loggers:  # in float32, as Lightning does
            logger.log_metrics({n: float(torch.tensor(v)) for n, v in figures.items()}, step=step)
        module.upscaler()  # frees the copies of the weights
        for viewer in self.viewers:
            viewer.finish(trainer, module)

    def on_validation_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Begin anew, where the generator is."""
        self._begin(trainer, pl_module)

    def _begin(self, trainer: Trainer, module: LightningModule) -> None:
        self.judge.to(module.device)
        self.scores.to(module.device).reset()
        for viewer in self.viewers:
            viewer.begin(trainer)

    def on_validation_batch_end(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        outputs: Any,
        batch: Mapping[str, Any],
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        """Judge the images of a batch."""
        self._judge(trainer, batch, quantize(outputs["finetuned"]))

    def _judge(self, trainer: Trainer, batch: Mapping[str, Any], finetuned: Tensor) -> None:
        judged = self.judged(batch, finetuned)
        for row in judged.rows:
            self.scores.update(row)
        for viewer in self.viewers:
            viewer.add(trainer, judged)

    def judged(self, batch: Mapping[str, Any], finetuned: Tensor, *, brief: bool = False) -> Judged:
        """A validation batch (uint8, or float in [0, 1]) beside its finetuned images, uint8."""
        keys = batch["keys"]
        lr, mse_sr, gan_sr = (quantize(batch[role]) for role in ("lr", "mse_sr", "gan_sr"))
        device = gan_sr.device
        labels = self._labels.get(keys, lambda: self.judge.segmenter(gan_sr, keys))
        labels = None if labels is None else labels.to(device)
        before = self._before.get(keys, lambda: self.judge.detector(mse_sr, gan_sr, labels).mask)
        assert before is not None
        truth = batch.get("hr")
        return self.judge(
            *(keys, lr, mse_sr, gan_sr, finetuned),
            gt_mask=batch.get("gt_mask"),
            truth=None if truth is None else quantize(truth),
            labels=labels,
            before=before.to(device),
            brief=brief,
        )

    def on_validation_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Log the metrics; undefined ones (0/0) are NaN. Let the result be chosen."""
        figures = self._conclude(trainer, cast(GANFinetuner, pl_module))
        pl_module.log_dict(figures, sync_dist=True)
        # Lightning takes the metric "step" for the place on the axis. Its own is the number of the
        # last batch, which cannot tell before the first step from after it.
        pl_module.log("step", float(cast(GANFinetuner, pl_module).batches_seen), sync_dist=True)
        of_the_result = trainer.state.fn != TrainerFn.FITTING and trainer.global_step
        if of_the_result and trainer.is_global_zero and (said := doubt(figures)):
            log.warning("%s", said)

    def _conclude(self, trainer: Trainer, module: GANFinetuner) -> dict[str, float]:
        """The metrics, the same on every rank; in training, the result is chosen by them."""
        figures = {name: float(value) for name, value in self.scores.compute().items()}
        if trainer.state.fn == TrainerFn.FITTING:
            self._validated = module.batches_seen
            if self.choice is not None:
                self.choice.consider(trainer, module, figures, self.judged)
        return figures

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Show what was judged."""
        for viewer in self.viewers:
            viewer.finish(trainer, cast(GANFinetuner, pl_module))

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Make the chosen weights the module's result."""
        self._make_up(trainer, cast(GANFinetuner, pl_module))
        if self.choice is not None:
            self.choice.apply(trainer, cast(GANFinetuner, pl_module))

    def state_dict(self) -> dict[str, Any]:
        """The last validation, and the choice so far."""
        choice = self.choice.state_dict() if self.choice is not None else {}
        return {"validated": self._validated, **choice}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go on with the choice so far."""
        self._validated = state_dict.get("validated", 0)
        if self.choice is not None and "candidates" in state_dict:
            self.choice.load_state_dict(state_dict)
