"""Labels by a network of mmsegmentation; by default SegFormer on ADE20K, as DeSRA has it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from desra.images import quantize
from desra.segmenters.argmax import resized_argmax
from desra.segmenters.base import Segmenter
from desra.segmenters.network import MMSegNetwork, Precision
from desra.segmenters.openmmlab import DEFAULT_CONFIG, Weights
from desra.semantics import ADE20K_CLASSES


class MMSegSegmenter(MMSegNetwork, Segmenter):
    """Labels with any network of mmsegmentation, by its config and checkpoint.

    On the CPU every label is the one that ``mmseg.apis.inference_model`` gives. The network's
    classes are turned into ADE20K's by their names; those that ADE20K lacks become "no class".

    Args:
        config: see `MMSegNetwork`, as the others.
        checkpoint: of the network.
        precision: of the network on a GPU.
        batch_size: images that a GPU labels at once.

    Raises:
        InputError: an unknown precision, or a batch size below 1.
    """

    classes = ADE20K_CLASSES

    def __init__(
        self,
        config: str | Path = DEFAULT_CONFIG,
        checkpoint: str | Path | None = None,
        precision: Precision = "auto",
        batch_size: int = 4,
    ) -> None:
        super().__init__(config, checkpoint, precision, batch_size)
        self._values: list[int] = []

    @property
    def settings(self) -> dict[str, Any]:
        """Digests of config and weights, and the precision. Fetches the weights if need be.

        Raises:
            InputError: config or weights are missing and cannot be had.
        """
        return {"segmenter": "mmseg", **self.network_settings}

    def check_classes(self, weights: Weights, num_classes: int) -> None:
        """Find the ADE20K class of each of the network's; see `Recipe.ade20k_indices`."""
        self._values = self._recipe.ade20k_indices(weights, num_classes)

    @torch.inference_mode()
    def forward(self, gan_sr: Tensor, keys: Sequence[str]) -> Tensor:
        """Label a batch; see `Segmenter.forward`.

        Raises:
            InputError: as `prepare`; an image too narrow for the network, or NaN in its labels.
        """
        images = quantize(gan_sr).permute(0, 2, 3, 1).cpu().numpy()
        size = images.shape[1:3]
        return torch.cat(
            [
                resized_argmax(logits, size, self.align_corners, self._values)
                for logits in self.logits(images, keys, gan_sr.device)
            ]
        )
