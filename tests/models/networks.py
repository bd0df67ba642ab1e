"""What the tests of generators share."""

from __future__ import annotations

import math
from collections.abc import Mapping

import torch
from spandrel import ModelLoader
from torch import Tensor, nn


def randomise(network: nn.Module, seed: int = 0) -> nn.Module:
    """Give weights of a size that lets no part of the network vanish from its output."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in network.parameters():
            noise = torch.randn(parameter.shape, generator=generator)
            if parameter.ndim == 1:
                parameter.add_(0.1 * noise)
            else:
                parameter.copy_(noise / math.sqrt(parameter[0].numel()))
    return network.eval()


def wave(network: nn.Module) -> nn.Module:
    """Give weights that are the same on every machine and in every version."""
    with torch.no_grad():
        for number, parameter in enumerate(network.parameters()):
            steps = torch.arange(parameter.numel(), dtype=torch.float64) + number
            size = math.sqrt(parameter[0].numel()) if parameter.ndim > 1 else 10.0
            parameter.copy_((steps * 0.7).sin().view(parameter.shape) / size)
    return network.eval()


def ramp(channels: int, height: int, width: int) -> Tensor:
    """An image that is the same on every machine and in every version."""
    steps = torch.arange(channels * height * width, dtype=torch.float64)
    return (0.5 + 0.5 * (steps * 0.9).cos()).view(1, channels, height, width).float()


def noise(channels: int, height: int, width: int, batch: int = 1) -> Tensor:
    generator = torch.Generator().manual_seed(1)
    return torch.rand(batch, channels, height, width, generator=generator)


def peer(state: Mapping[str, Tensor]) -> nn.Module:
    """The same network as spandrel builds it."""
    copied = {key: tensor.clone() for key, tensor in state.items()}
    return ModelLoader("cpu").load_from_state_dict(copied).model.eval()
