"""A segmentation network, trained to mark artifacts, as a detector."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from desra.detectors.base import Detector
from desra.errors import InputError
from desra.images import quantize
from desra.segmenters.network import MMSegNetwork, Precision
from desra.segmenters.openmmlab import Weights
from desra.texture import check_pair


class MMSegDetector(Detector):
    """A network of mmsegmentation that knows artifacts from images alone, as PAL4Inpainting (Zhang
    et al., ECCV 2022) does. It sees GAN-SR; MSE-SR plays no part.

    The distance is 1 − probability of the artifact class.

    Args:
        config: path of a config of mmsegmentation 1.x; see `MMSegNetwork`.
        checkpoint: path of the weights.
        threshold: a pixel with a lower distance is a candidate; 0.5 is the network's own decision
            between two classes.
        min_area: see `Detector`.
        artifact_class: index of the class that stands for artifacts.
        precision: of the network on a GPU; see `MMSegNetwork`.
        batch_size: images that a GPU takes at once.

    Raises:
        InputError: config or checkpoint is not given, or a setting cannot be used.
    """

    uses_reference = False

    def __init__(
        self,
        config: str | Path | None,
        checkpoint: str | Path | None,
        threshold: float = 0.5,
        min_area: float = 4000,
        artifact_class: int = 1,
        precision: Precision = "auto",
        batch_size: int = 4,
    ) -> None:
        super().__init__(threshold, min_area)
        if config is None or checkpoint is None:
            raise InputError(
                "detector=mmseg needs a network that marks artifacts; give detector.config=FILE "
                "and detector.checkpoint=FILE of mmsegmentation"
            )
        self.artifact_class = artifact_class
        self.network = _ArtifactNetwork(config, checkpoint, precision, batch_size)
        self.network.artifact_class = artifact_class

    @property
    def settings(self) -> dict[str, Any]:
        """Settings, and digests of config and weights; JSON-able."""
        return {
            **super().settings,
            **self.network.network_settings,
            "artifact_class": self.artifact_class,
        }

    def prepare(self) -> None:
        """Build the network and load its weights; see `MMSegNetwork.prepare`."""
        self.network.prepare()

    def distance(self, mse_sr: Tensor, gan_sr: Tensor) -> Tensor:
        """1 − probability of an artifact, enlarged bilinearly, in [0, 1]."""
        check_pair(mse_sr, gan_sr)
        images = quantize(gan_sr).permute(0, 2, 3, 1).cpu().numpy()
        keys, size = ["GAN-SR"] * len(images), images.shape[1:3]
        planes = []
        for logits in self.network.logits(images, keys, gan_sr.device):
            corners = self.network.align_corners
            enlarged = F.interpolate(logits, size, mode="bilinear", align_corners=corners)
            probability = enlarged.double().softmax(1)[:, [self.artifact_class]]
            planes.append(1 - probability)
        return torch.cat(planes)


class _ArtifactNetwork(MMSegNetwork):
    node = "detector"
    alternatives = "choose another detector"
    artifact_class = 1

    def check_classes(self, weights: Weights, num_classes: int) -> None:
        """There is a class for artifacts and one for the rest."""
        # A single channel tells the second of two classes.
        count = max(num_classes, 2)
        if not 0 <= self.artifact_class < count:
            raise InputError(
                f"{weights.path}: a network of {count} classes has none of number "
                f"{self.artifact_class}; give detector.artifact_class"
            )
