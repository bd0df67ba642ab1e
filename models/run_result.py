"""The network that a run is for, and how validation upscales with it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from lightning import LightningModule
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel

from models.upscaler import Upscaler


class ResultModule(LightningModule):
    """A module whose result is its EMA generator, until other weights are chosen.

    Attributes:
        ema: the average of the generator that is trained; the subclass makes it.
        result_record: how the result was chosen, for the metadata of the exported files.
    """

    ema: AveragedModel

    def __init__(self) -> None:
        super().__init__()
        # In lists, so that their weights are in no checkpoint.
        self._upscalers: list[Upscaler] = []  # one, once it is needed
        self._result: list[nn.Module] = []
        self.result_record: dict[str, Any] = {}

    def on_validation_start(self) -> None:
        """Make ready to upscale with the EMA generator as it is now, or the run's result."""
        self.upscaler()

    def upscaler(self) -> Upscaler:
        """Upscales with the result as it is now; one a run, since networks are measured at length.

        Whoever is done with it frees the copies of the weights by `Upscaler.renew`.
        """
        if not self._upscalers:
            self._upscalers = [Upscaler(self.result)]
        return self._upscalers[0].renew(self.result)

    @property
    def result(self) -> nn.Module:
        """The network that the run is for: the chosen one if there is one, else the EMA."""
        return self._result[0] if self._result else self.ema.module

    def set_result(self, network: nn.Module, record: Mapping[str, Any]) -> None:
        """Take a network as the run's result, to be validated and exported.

        Args:
            network: of the generator's architecture.
            record: how it was chosen, for the metadata of the exported files.
        """
        self._result, self.result_record = [network], dict(record)

    def validation_step(self, batch: Mapping[str, Tensor], batch_idx: int) -> dict[str, Tensor]:
        """The EMA generator's output as ``finetuned``; callbacks measure and show it.

        In the upscaler's precision, whatever is trained in: so that what is measured here is what
        masks are updated with, and what ``upscale.py`` will make with the weights.
        """
        with torch.autocast(self.device.type, enabled=False):
            return {"finetuned": self._upscalers[0](batch["lr"]).clamp(0, 1)}

    def on_validation_end(self) -> None:
        """Free the upscaler's weights, which are copies."""
        self.upscaler()
