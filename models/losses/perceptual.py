"""Perceptual loss: distance of VGG19's features (Johnson et al., ECCV 2016)."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torchvision.models import VGG19_Weights, vgg19

from desra.checkpoints import read_state
from desra.download import cache_dir, fetch
from desra.errors import InputError

RELEASED_LAYERS: Mapping[str, float] = MappingProxyType(
    {"conv1_2": 0.1, "conv2_2": 0.1, "conv3_4": 1.0, "conv4_4": 1.0, "conv5_4": 1.0}
)
"""Layers and their weights in Real-ESRGAN, LDL and SwinIR, compared before their ReLU."""

_CONVOLUTIONS = (2, 2, 4, 4, 4)  # of VGG19, between one pooling and the next
_MEAN, _STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)  # ImageNet, RGB in [0, 1]


class PerceptualLoss(nn.Module):
    """Weighted sum of L1 distances between VGG19's features before ReLU.

    The network is frozen, is in no checkpoint, and is built by `load`: a run that never needs it,
    or goes on without it, neither downloads nor builds it.

    Args:
        weight: factor of this term.
        layers: convolution, as ``conv3_4``, to its weight.
        weights: ``"vgg19"`` for torchvision's ImageNet weights, which the released models were
            trained with: found in the cache (of this project or of torch.hub), else downloaded; or
            a file.

    Example:
        >>> PerceptualLoss(weight=1.0).layers["conv5_4"]
        1.0
    """

    mean: Tensor
    std: Tensor

    def __init__(
        self,
        weight: float = 1.0,
        layers: Mapping[str, float] = RELEASED_LAYERS,
        weights: str | Path = "vgg19",
    ) -> None:
        super().__init__()
        self.weight, self.weights = weight, str(weights)
        self.layers = {name: float(factor) for name, factor in layers.items()}
        self._compared = {_index(name): factor for name, factor in self.layers.items()}
        self._missing: InputError | None = None
        self.register_buffer("mean", torch.tensor(_MEAN).view(1, 3, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(_STD).view(1, 3, 1, 1), persistent=False)
        self.features = nn.Sequential()
        # 80 MB that never change: left out of what is saved, and not missed in what is loaded.
        self.register_state_dict_post_hook(_leave_out)
        self.register_load_state_dict_pre_hook(_put_back)

    @property
    def settings(self) -> dict[str, object]:
        """What decides this term's value, for the record of a run."""
        return {"weight": self.weight, "layers": self.layers, "weights": self.weights}

    def fetch(self) -> Path:
        """The file of the weights, downloaded if it is not here; tried once.

        Raises:
            InputError: no such file, or it is not here and cannot be downloaded.
        """
        if self.weights != "vgg19":
            if not Path(self.weights).is_file():
                raise InputError(f"{self.weights}: no such file; give VGG19's weights, or vgg19")
            return Path(self.weights)
        url = VGG19_Weights.IMAGENET1K_V1.url
        name = url.rpartition("/")[2]
        cached, hub = cache_dir() / name, Path(torch.hub.get_dir(), "checkpoints", name)
        path = hub if hub.is_file() and not cached.is_file() else cached
        if self._missing is not None:
            raise self._missing
        try:
            # torchvision's file names end in the first digits of their SHA-256
            return fetch(url, path, sha256=Path(name).stem.rpartition("-")[2])
        except InputError as error:
            self._missing = InputError(
                f"perceptual loss: {error}; or give model.perceptual.weights=FILE, or train "
                "with L1 in its place by perceptual=l1"
            )
            raise self._missing from error

    def load(self) -> None:
        """Build the network up to the last layer that is compared; does nothing if it is built.

        Raises:
            InputError: as `fetch`, or the file holds other weights.
        """
        if len(self.features):
            return
        path = self.fetch()
        state, _ = read_state(path)
        with torch.device("meta"):  # nothing is drawn at random only to be overwritten
            features = vgg19().features[: max(self._compared) + 1]
        wanted = {key: state.get(f"features.{key}") for key in features.state_dict()}
        if any(value is None for value in wanted.values()):
            raise InputError(
                f"{path}: not torchvision's VGG19; it lacks features.0.weight and others"
            )
        try:
            features.load_state_dict(wanted, assign=True)
        except RuntimeError as error:
            raise InputError(f"{path}: not torchvision's VGG19: {error}") from error
        for index, layer in enumerate(features):
            if isinstance(layer, nn.ReLU):
                # What is compared before its ReLU must outlive it; anything else is overwritten.
                layer.inplace = index - 1 not in self._compared
        self.features = features.eval().requires_grad_(False).to(self.mean.device)
        self.features.to(memory_format=torch.channels_last)

    def forward(self, output: Tensor, target: Tensor) -> Tensor:
        """Weighted loss of ``(B, 3, H, W)`` RGB images in [0, 1]; a scalar. `load` comes first."""
        if not len(self.features):
            raise RuntimeError("PerceptualLoss.load() must be called before the loss is used")
        x, y = (self._normalize(image) for image in (output, target.detach()))
        total = x.new_zeros(())
        for index, layer in enumerate(self.features):
            x = layer(x)
            with torch.no_grad():
                y = layer(y)
            if index in self._compared:
                total = total + self._compared[index] * F.l1_loss(x.float(), y.float())
        return self.weight * total

    def _normalize(self, image: Tensor) -> Tensor:
        normal = (image.float() - self.mean) / self.std
        return normal.contiguous(memory_format=torch.channels_last)


def _index(name: str) -> int:
    """Position of ``convB_N`` among torchvision's ``features``."""
    try:
        block, number = (int(part) for part in name.removeprefix("conv").split("_"))
        if not 1 <= number <= _CONVOLUTIONS[block - 1] or block < 1:
            raise IndexError
    except (ValueError, IndexError):
        raise InputError(f"perceptual layer {name!r}: VGG19 has conv1_1 to conv5_4") from None
    # a convolution and its ReLU are two entries, a pooling is one
    return sum(2 * count + 1 for count in _CONVOLUTIONS[: block - 1]) + 2 * (number - 1)


def _leave_out(module: nn.Module, state: dict[str, Tensor], prefix: str, _: object) -> None:
    for key in [key for key in state if key.startswith(f"{prefix}features.")]:
        del state[key]


def _put_back(module: nn.Module, state: dict[str, Tensor], prefix: str, *_: object) -> None:
    for key, value in module.get_submodule("features").state_dict().items():
        state[f"{prefix}features.{key}"] = value
