"""The generator's own output against GAN-SR, before training."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from lightning import Callback, LightningModule, Trainer

from callbacks.ranks import gather_rows
from desra.errors import InputError


class AlignmentCheck(Callback):
    """Stops a run whose generator does not make the GAN-SR that it is given.

    The output of the unchanged generator is GAN-SR, to the rounding of 8 bits (over 50 dB); another
    generator of the same photos makes some 25 dB, and pictures that are turned or shuffled below
    15 dB.

    Args:
        least_psnr: dB below which an image is taken to be another one; None: no check.

    Raises:
        InputError: (after the first validation) names the images.
    """

    def __init__(self, least_psnr: float | None = 17.0) -> None:
        self.least_psnr = least_psnr
        self._rows: list[dict[str, Any]] = []
        self._checked = False

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """From now on the generator is another one."""
        self._checked = True

    def on_validation_batch_end(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        outputs: Any,
        batch: Mapping[str, Any],
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        """Note how far the images of a batch are from GAN-SR."""
        if self._checked or self.least_psnr is None or "gan_sr" not in batch:
            return
        errors = (outputs["finetuned"] - batch["gan_sr"]).square().flatten(1).mean(1)
        self._rows += [
            {"image": key, "psnr": -10 * math.log10(max(error, 1e-10))}
            for key, error in zip(batch["keys"], errors.tolist(), strict=True)
        ]

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Stop if images are not what they should be."""
        if self._checked or self.least_psnr is None:
            return
        self._checked = True
        far = [row for row in gather_rows(self._rows) if row["psnr"] < self.least_psnr]
        self._rows = []
        if far:
            names = ", ".join(f"{row['image']} ({row['psnr']:.1f} dB)" for row in far[:3])
            more = f" and {len(far) - 3} more" if len(far) > 3 else ""
            raise InputError(
                f"GAN-SR is not what the generator makes of LR in {names}{more}: turned, shuffled, "
                "or made by another generator; give the right ones, or "
                "callbacks.alignment_check.least_psnr=null to go on"
            )
