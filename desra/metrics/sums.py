"""Base of the metrics, whose state is a few named sums."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torchmetrics import Metric


class SumMetric(Metric):
    """A metric whose state is sums, so that ranks and batches may come in any split and order.

    Args:
        counts: names of the integer sums.
        totals: names of the float64 sums.
        kwargs: of `torchmetrics.Metric`.
    """

    is_differentiable = False
    full_state_update = False

    def __init__(self, counts: Sequence[str], totals: Sequence[str] = (), **kwargs: Any) -> None:
        super().__init__(**kwargs)
        for name in counts:
            self.add_state(name, torch.zeros((), dtype=torch.int64), dist_reduce_fx="sum")
        for name in totals:
            self.add_state(name, torch.zeros((), dtype=torch.float64), dist_reduce_fx="sum")

    def add(self, **sums: Tensor | int) -> None:
        """Add to the sums of these names; a tensor is summed over all its elements."""
        for name, value in sums.items():
            amount = value.sum() if isinstance(value, Tensor) else value
            setattr(self, name, getattr(self, name) + amount)


def ratio(part: Tensor, whole: Tensor) -> Tensor:
    """``part / whole`` as float64; 0/0 is NaN, a question without an answer, not a score."""
    return part.double() / whole.double()


def check_masks(**masks: Tensor) -> None:
    """Refuse anything but bool tensors ``(B, 1, H, W)`` of one shape.

    Raises:
        ValueError: another type or shape; the text names the argument.
    """
    shapes = {name: tuple(mask.shape) for name, mask in masks.items()}
    for name, mask in masks.items():
        if mask.dtype != torch.bool or mask.ndim != 4 or mask.shape[1] != 1:
            raise ValueError(
                f"{name} must be a bool tensor (B, 1, H, W), not {mask.dtype} {shapes[name]}"
            )
    if len(set(shapes.values())) > 1:
        raise ValueError(f"masks of different shapes: {shapes}")
