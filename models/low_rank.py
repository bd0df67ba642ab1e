"""Low-rank updates of a network's weights (LoRA; Hu et al., ICLR 2022)."""

from __future__ import annotations

import copy

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from desra.errors import InputError


class LowRank(nn.Module):
    """A weight and the product of two small matrices, of which the first is zero at the start.

    Args:
        weight: ``(rows, …)``, taken as a matrix of so many rows.
        rank: columns of the first matrix, and rows of the second.
    """

    def __init__(self, weight: Tensor, rank: int) -> None:
        super().__init__()
        columns = weight[0].numel()
        self.up = nn.Parameter(weight.new_zeros(len(weight), rank))
        self.down = nn.Parameter(torch.randn(rank, columns).to(weight) / columns**0.5)

    def forward(self, weight: Tensor) -> Tensor:
        """The updated weight; in full precision, as it is averaged and exported."""
        with torch.autocast(weight.device.type, enabled=False):
            return weight + (self.up @ self.down).view_as(weight)


class LowRankUpdates:
    """Makes only low-rank changes of the convolutions and linear layers of a network trainable.

    Biases and all else stay as they are, and so does a layer of which nothing was trainable, or
    whose own rank is no higher.

    Args:
        network: changed in place; the names of its parameters are others from here on.
        rank: of the changes.

    Raises:
        InputError: a rank that no layer exceeds.

    Example:
        >>> network = nn.Sequential(nn.Conv2d(8, 8, 3, padding=1))
        >>> updates = LowRankUpdates(network, rank=2)
        >>> [tuple(p.shape) for p in network.parameters() if p.requires_grad]
        [(8, 2), (2, 72)]
        >>> list(updates.merged().state_dict())
        ['0.weight', '0.bias']
    """

    def __init__(self, network: nn.Module, rank: int) -> None:
        self.network, self._plain = network, copy.deepcopy(network).requires_grad_(False)
        layers = [
            layer
            for layer in network.modules()
            if isinstance(layer, nn.Conv2d | nn.Linear)
            and layer.weight.requires_grad
            and 0 < rank < min(len(layer.weight), layer.weight[0].numel())
        ]
        if not layers:
            raise InputError(
                f"model.low_rank={rank}: no layer that is trained has a higher rank; give 1 or "
                "more, and less than the network's features"
            )
        network.requires_grad_(False)
        for layer in layers:
            parametrize.register_parametrization(layer, "weight", LowRank(layer.weight, rank))
            layer.parametrizations.weight.original.requires_grad_(False)  # type: ignore

    @torch.no_grad()
    def merged(self) -> nn.Module:
        """The network as it is now, without the matrices; the same object each time."""
        own, device = dict(self.network.named_modules()), next(self.network.parameters()).device
        for name, layer in self._plain.to(device).named_modules():
            tensors = (*layer.named_parameters(recurse=False), *layer.named_buffers(recurse=False))
            for key, tensor in tensors:
                tensor.copy_(getattr(own[name], key))
        return self._plain
