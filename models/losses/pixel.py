"""Pixel loss, and the low-frequency loss of block means."""

from __future__ import annotations

from typing import Literal

from torch import Tensor, nn
from torch.nn import functional as F


class PixelLoss(nn.Module):
    """Mean distance between pixels.

    Args:
        weight: factor of this term.
        distance: ``"l1"`` (all released models), ``"l2"``, or ``"smooth_l1"`` (quadratic below
            0.01).
        pool: side of the squares that are averaged before they are compared; 1 compares pixels.
            With 4 the term holds colours and layout and leaves texture to the discriminator, which
            steadies training where there is no perceptual term.

    Example:
        >>> import torch
        >>> output, target = torch.zeros(1, 3, 4, 4), torch.full((1, 3, 4, 4), 0.5)
        >>> PixelLoss(weight=0.5)(output, target).item()
        0.25
    """

    def __init__(
        self,
        weight: float = 1.0,
        distance: Literal["l1", "l2", "smooth_l1"] = "l1",
        pool: int = 1,
    ) -> None:
        super().__init__()
        self.weight, self.distance, self.pool = weight, distance, pool

    @property
    def settings(self) -> dict[str, float | int | str]:
        """What decides this term's value, for the record of a run."""
        return {"weight": self.weight, "distance": self.distance, "pool": self.pool}

    def forward(self, output: Tensor, target: Tensor) -> Tensor:
        """Weighted loss of ``(B, C, H, W)`` images in [0, 1]; a scalar."""
        output, target = output.float(), target.float()
        if self.pool > 1:
            output, target = F.avg_pool2d(output, self.pool), F.avg_pool2d(target, self.pool)
        match self.distance:
            case "l1":
                value = F.l1_loss(output, target)
            case "l2":
                value = F.mse_loss(output, target)
            case "smooth_l1":
                value = F.smooth_l1_loss(output, target, beta=0.01)
        return self.weight * value
