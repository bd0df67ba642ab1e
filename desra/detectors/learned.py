"""A detector that learned what artifacts look like."""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils import fuse_conv_bn_eval

from desra.artifact_net import ArtifactNet
from desra.checkpoints import read_checkpoint
from desra.detectors.base import Detector
from desra.detectors.tiles import map_tiles
from desra.errors import InputError
from desra.files import file_digest
from desra.images import quantize
from desra.texture import check_pair

_TILE, _MARGIN = 2048, 160  # multiples of the network's stride; it sees no farther than the margin


class LearnedDetector(Detector):
    """A network of 0.10 million parameters that was trained on artifacts of known places, injected
    into the outputs of a generator (``python train.py experiment=learn_detector``).

    The distance is 1 − probability of an artifact. Semantic labels change nothing. The network
    computes in float32, so that masks of CPU and GPU may differ where a probability is within its
    rounding of the threshold.

    Args:
        weights: what the training left, ``.safetensors``; None for the ones that come with this
            package.
        threshold: a pixel with a lower distance is a candidate.
        min_area: see `Detector`.

    Raises:
        InputError: no such file, or a setting that cannot be used.

    Example:
        >>> import torch
        >>> smooth = torch.full((1, 3, 96, 96), 0.5)
        >>> LearnedDetector(min_area=100)(smooth, smooth).mask.any().item()
        False
    """

    def __init__(
        self, weights: str | Path | None = None, threshold: float = 0.7, min_area: float = 4000
    ) -> None:
        super().__init__(threshold, min_area)
        self.weights = Path(str(files("desra") / "data" / "learned_detector.safetensors"))
        if weights is not None:
            self.weights = Path(weights)
        if not self.weights.is_file():
            raise InputError(
                f"{self.weights}: no such file; detector.weights=FILE takes what "
                "train.py experiment=learn_detector leaves in weights/"
            )
        self.network = nn.Module()
        self._is_ready = False

    @property
    def settings(self) -> dict[str, Any]:
        """Settings, and a digest of the weights; JSON-able."""
        return {**super().settings, "weights": file_digest(self.weights)}

    @property
    def shown_settings(self) -> dict[str, Any]:
        """`settings` with the file's name in the place of its digest."""
        return {**self.settings, "weights": self.weights.name}

    @torch.inference_mode(False)  # parameters made in inference mode could not be moved out of it
    def prepare(self) -> None:
        """Read the weights.

        Raises:
            InputError: damaged, or of another network.
        """
        if not self._is_ready:
            network = read_network(self.weights).eval().requires_grad_(False)
            self.network, self._is_ready = _fused(network), True

    def train(self, mode: bool = True) -> LearnedDetector:
        """Stays in evaluation mode."""
        return super().train(False)

    def distance(self, mse_sr: Tensor, gan_sr: Tensor) -> Tensor:
        """1 − probability of an artifact, in [0, 1]."""
        check_pair(mse_sr, gan_sr)
        self.prepare()
        if next(self.network.parameters()).device != gan_sr.device:
            self.network.to(gan_sr.device)
        images = quantize(mse_sr), quantize(gan_sr)
        if max(gan_sr.shape[-2:]) <= _TILE:
            return self._compare(*images).double()
        return map_tiles(self._compare, *images, margin=_MARGIN, tile=_TILE)

    def _compare(self, mse_sr: Tensor, gan_sr: Tensor) -> Tensor:
        return self.network(mse_sr, gan_sr).neg_().sigmoid_()


def read_network(path: str | Path) -> ArtifactNet:
    """The network of a file of weights.

    Raises:
        InputError: missing, damaged, or of another network.
    """
    state = read_checkpoint(path).states()[0].tensors
    first = state.get("quarter.0.weight")
    try:
        if first is None:
            raise RuntimeError("no quarter.0.weight")
        network = ArtifactNet(len(first))
        network.load_state_dict({name: value.float() for name, value in state.items()})
    except RuntimeError as error:
        reason = str(error).splitlines()[0]
        raise InputError(
            f"{path}: not the weights of a learned detector ({reason}); give what "
            "train.py experiment=learn_detector leaves"
        ) from error
    return network


def _fused(network: nn.Module) -> nn.Module:
    """With batch norms folded into the convolutions before them, in the layout that is fastest."""
    for module in network.modules():
        if isinstance(module, nn.Sequential) and len(module) == 3:
            convolution, norm, _ = module
            if isinstance(convolution, nn.Conv2d) and isinstance(norm, nn.BatchNorm2d):
                module[0], module[1] = fuse_conv_bn_eval(convolution, norm), nn.Identity()
    return network.to(memory_format=torch.channels_last)
