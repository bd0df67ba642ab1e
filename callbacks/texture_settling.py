"""Stopping rule of an MSE partner: the texture of its outputs on held-out pairs has settled."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any, cast

import torch
from lightning import Callback, LightningModule, Trainer
from lightning.pytorch.trainer.states import TrainerFn
from torch import Tensor
from torch.nn.functional import conv2d

from desra.errors import InputError
from desra.images import quantize
from desra.metrics.detail import region_psnr
from desra.metrics.sums import SumMetric, ratio
from desra.texture import gaussian_window
from models.finetuner import GANFinetuner

log = logging.getLogger(__name__)


class TextureSettling(Callback):
    """Stops a pixel-loss training that began from a GAN generator once the GAN's texture is gone.

    Under a pixel loss a GAN generator loses the texture that it cannot know first and fast, and
    what follows are hundredths of a decibel. At each validation two metrics are taken on the
    held-out pairs: ``partner/texture``, the local standard deviation of the output as a share of
    the truth's, and ``partner/psnr`` against the truth. The run stops when over the last
    ``window`` validations the texture has moved by less than ``tolerance`` of itself and PSNR has
    risen by less than ``gain``. At the end a line says what the partner cost or won in PSNR beside
    the GAN generator, whose metrics are those of the first validation.

    Args:
        tolerance: relative change of the texture that still counts as settled.
        gain: rise of PSNR in dB that still counts as settled.
        window: validations over which both are looked at.
    """

    def __init__(self, tolerance: float = 0.03, gain: float = 0.1, window: int = 3) -> None:
        if tolerance <= 0 or gain <= 0 or window < 1:
            raise InputError(
                "callbacks.texture_settling: give a tolerance and a gain above 0 and a window of "
                "1 or more validations"
            )
        self.tolerance, self.gain, self.window = tolerance, gain, window
        self.sums = TextureSums()
        self.history: list[tuple[int, float, float]] = []
        """Iteration, texture, PSNR of each validation; the first is the GAN generator's."""

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Say at once where nothing is held out, since there is nothing to judge by then."""
        data = getattr(trainer, "datamodule", None)
        if data is not None and stage == "fit":
            data.setup(stage)
            if not getattr(data, "val_pairs", True):
                raise InputError(
                    "callbacks.texture_settling: no image is held out; give data.val_share above 0 "
                    "or data.val_root"
                )

    def on_validation_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Begin anew, where the generator is."""
        self.sums.to(pl_module.device).reset()

    def on_validation_batch_end(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        outputs: Any,
        batch: Mapping[str, Any],
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        """Add the pairs of a batch."""
        self.sums.update(quantize(outputs["finetuned"]), quantize(batch["gt"]))

    def on_validation_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Log both metrics, and stop where they have settled: on every rank alike."""
        texture, psnr = (float(value) for value in self.sums.compute())
        step = trainer.global_step
        if not self.history or self.history[-1][0] != step:
            self.history.append((step, texture, psnr))
        figures = {"partner/texture": texture, "partner/psnr": psnr}
        pl_module.log_dict(figures, sync_dist=True)
        # Lightning takes the metric "step" for the place on the axis.
        pl_module.log("step", float(cast(GANFinetuner, pl_module).batches_seen), sync_dist=True)
        if trainer.is_global_zero:
            log.info("iteration %d: texture %.3f of the truth's, %.2f dB", step, texture, psnr)
        if self.settled and trainer.state.fn == TrainerFn.FITTING:
            trainer.should_stop = True

    @property
    def settled(self) -> bool:
        """Whether the rule holds for the newest validations; the GAN generator's own is not one."""
        recent = self.history[1:][-self.window - 1 :]
        if len(recent) <= self.window:
            return False
        textures = [texture for _, texture, _ in recent]
        moved = (max(textures) - min(textures)) / textures[-1]
        return moved < self.tolerance and recent[-1][2] - recent[0][2] < self.gain

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Say what became of the generator."""
        if not trainer.is_global_zero or len(self.history) < 2:
            return
        (_, texture, psnr), (step, last_texture, last_psnr) = self.history[0], self.history[-1]
        outcome = "texture settled" if self.settled else "NOT settled: give more iterations"
        log.info(
            "partner after %d iterations, %s: texture %.3f → %.3f of the truth's, "
            "PSNR %.2f → %.2f dB (%+.2f)",
            *(step, outcome, texture, last_texture, psnr, last_psnr, last_psnr - psnr),
        )

    def state_dict(self) -> dict[str, Any]:
        """The metrics so far."""
        return {"history": [list(entry) for entry in self.history]}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go on with the metrics so far."""
        self.history = [(int(step), *figures) for step, *figures in state_dict["history"]]


class TextureSums(SumMetric):
    """Texture of outputs as a share of the truth's, and mean PSNR over images.

    Args:
        kwargs: of `torchmetrics.Metric`.

    Example:
        >>> truth = torch.randint(0, 256, (1, 3, 32, 32), dtype=torch.uint8)
        >>> sums = TextureSums()
        >>> sums.update(truth // 2, truth)
        >>> round(float(sums.compute()[0]), 1)
        0.5
    """

    images: Tensor
    output: Tensor
    truth: Tensor
    psnr: Tensor

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(["images"], ["output", "truth", "psnr"], **kwargs)

    def update(self, output: Tensor, truth: Tensor) -> None:
        """Add images, uint8 ``(B, 3, H, W)``."""
        everywhere = torch.ones_like(output[:, :1], dtype=torch.bool)
        self.add(
            images=len(output),
            output=local_deviation(output),
            truth=local_deviation(truth),
            psnr=region_psnr(output, truth, everywhere),
        )

    def compute(self) -> tuple[Tensor, Tensor]:
        """Texture as a share of the truth's, and PSNR in dB, float64 scalars."""
        return ratio(self.output, self.truth), ratio(self.psnr, self.images)


def local_deviation(images: Tensor) -> Tensor:
    """Standard deviation of 0–255 levels under the window of equation 7.

    Args:
        images: uint8 ``(B, 3, H, W)``, at least 11 pixels a side.

    Returns:
        ``(B, 3, H − 10, W − 10)`` float64.
    """
    levels = images.double()
    weights = gaussian_window(11).to(images.device)
    column = weights.view(1, 1, -1, 1).expand(6, 1, -1, 1)
    row = weights.view(1, 1, 1, -1).expand(6, 1, 1, -1)
    moments = torch.cat([levels, levels.square()], 1)
    mean, square = conv2d(conv2d(moments, column, groups=6), row, groups=6).chunk(2, 1)
    return (square - mean.square()).clamp(min=0).sqrt()
