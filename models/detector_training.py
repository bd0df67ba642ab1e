"""Training of the network that marks artifacts."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import torch
from lightning import LightningModule
from torch import Tensor
from torch.nn import functional as F

from desra.artifact_net import BLOCK, ArtifactNet
from desra.checkpoints import write_state
from desra.metrics.curves import BINS, average_precision, pixel_histogram
from desra.texture import texture_distance

_COMPARED = ("learned", "desra")


class DetectorTraining(LightningModule):
    """Fit `ArtifactNet` to the masks of `datamodules.injected_artifacts`.

    The loss is the binary cross-entropy of blocks of 4×4 pixels. Validation logs the average
    precision of pixels, and that of DeSRA's distance on the same images beside it.

    Args:
        folder: gets ``detector.safetensors``, in half precision, when training ends.
        width: of the network.
        learning_rate: at its highest, of one cycle (Smith and Topin, 2018).
        weight_decay: of AdamW.
        iterations: of training.
    """

    def __init__(
        self,
        folder: str | Path,
        width: int = 16,
        learning_rate: float = 3e-3,
        weight_decay: float = 1e-4,
        iterations: int = 2400,
    ) -> None:
        super().__init__()
        self.save_hyperparameters()
        self.folder = Path(folder)
        self.network = ArtifactNet(width)
        self.learning_rate, self.weight_decay = learning_rate, weight_decay
        self.iterations = iterations
        for name in _COMPARED:
            self.register_buffer(name, torch.zeros(2, BINS, dtype=torch.float64), persistent=False)

    def configure_optimizers(self) -> Any:
        """AdamW with one cycle of the learning rate."""
        optimizer = torch.optim.AdamW(
            self.network.parameters(), self.learning_rate, weight_decay=self.weight_decay
        )
        schedule = torch.optim.lr_scheduler.OneCycleLR(
            optimizer, self.learning_rate, total_steps=self.iterations + 1, pct_start=0.15
        )
        return {
            "optimizer": optimizer,
            "lr_scheduler": {"scheduler": schedule, "interval": "step"},
        }

    def training_step(self, batch: dict[str, Tensor], _: int) -> Tensor:
        """Cross-entropy of the blocks; a block is an artifact as far as its pixels are."""
        logits = self.network.coarse(batch["mse_sr"], batch["gan_sr"])
        target = F.avg_pool2d(batch["mask"].float(), BLOCK)
        loss = F.binary_cross_entropy_with_logits(logits, target)
        self.log("loss/detector", loss)
        return loss

    def on_validation_epoch_start(self) -> None:
        """Begin the histograms anew."""
        for name in _COMPARED:
            self.get_buffer(name).zero_()

    def validation_step(self, batch: dict[str, Tensor], _: int) -> None:
        """Count pixels by distance."""
        probability = self.network(batch["mse_sr"], batch["gan_sr"]).sigmoid()
        distances = {
            "learned": 1 - probability.double(),
            "desra": texture_distance(batch["mse_sr"], batch["gan_sr"]),
        }
        for name, distance in distances.items():
            histogram = self.get_buffer(name)
            histogram += torch.from_numpy(pixel_histogram(distance, batch["mask"])).to(histogram)

    def on_validation_epoch_end(self) -> None:
        """Average precision over all ranks."""
        for name in _COMPARED:
            gathered = self.all_gather(self.get_buffer(name))
            assert isinstance(gathered, Tensor)
            counts = gathered.reshape(-1, 2, BINS).sum(0)
            area = float(average_precision(counts.cpu().numpy().astype(np.float64)))
            if not math.isnan(area):
                self.log(f"average_precision/{name}", area, rank_zero_only=True)

    def on_train_end(self) -> None:
        """Write the weights."""
        if self.trainer.is_global_zero:
            state = {
                name: value.detach().cpu() for name, value in self.network.state_dict().items()
            }
            half = {
                name: value.half() if value.is_floating_point() else value
                for name, value in state.items()
            }
            metadata = {"width": str(self.network.width), "iterations": str(self.iterations)}
            write_state(self.folder / "detector.safetensors", {"": half}, metadata)
