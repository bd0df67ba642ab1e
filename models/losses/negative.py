"""Negative loss of HGGT: distance from what people found worse than the original."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from desra.errors import InputError
from desra.ldl import local_variance, residual


class NegativeLoss(nn.Module):
    """Minus the L1 distance to a negative, where the negative's faults are.

    Chen et al., "Human Guided Ground-truth Generation for Realistic Image Super-resolution", CVPR
    2023, section 3.4, with the release's constants. A pixel's weight is the local variance of the
    residual between original and negative, to a power, times the share of annotators who voted for
    it; it is 0 where a positive of the same image has as much of it, since that is wanted.

    One term over the whole batch: an image without a negative has a share of 0 and adds exactly 0,
    so that ranks with and without negatives do the same. Nothing but the other terms bounds it from
    below.

    Args:
        weight: factor of this term.
        window_size: side of the local windows.
        power: of the local variance.

    Example:
        >>> mse_sr, gan_sr = torch.zeros(1, 3, 8, 8), torch.rand(1, 3, 8, 8)
        >>> batch = {"mse_sr": mse_sr, "gan_sr": gan_sr, "mask": torch.ones(1, 1, 8, 8)}
        >>> loss = NegativeLoss()
        >>> (loss(mse_sr, batch) < loss(gan_sr, batch)).item()  # farther from the negative
        True
    """

    def __init__(self, weight: float = 300.0, window_size: int = 3, power: float = 0.75) -> None:
        super().__init__()
        self.weight, self.window_size, self.power = weight, window_size, power

    @property
    def settings(self) -> dict[str, float | int]:
        """What decides this term's value, for the record of a run."""
        return {"weight": self.weight, "window_size": self.window_size, "power": self.power}

    def forward(self, output: Tensor, batch: Mapping[str, Tensor]) -> Tensor:
        """Weighted loss, at most 0; a scalar, with a gradient to ``output`` alone.

        Args:
            output: the generator's, ``(B, C, H, W)``.
            batch: ``original``, ``negative``, ``positive``, all of that shape and in [0, 1], and
                ``negative_share``, ``positive_share``, both ``(B,)``, as `weight_map` takes them.
                Or DeSRA's ``mse_sr``, ``gan_sr``, ``mask``: GAN-SR is the negative inside the mask,
                beside MSE-SR, which is original and positive at once.

        Raises:
            InputError: the batch has neither.
        """
        if "negative" in batch:
            negative = batch["negative"]
            shares = (
                batch[name].view(-1, 1, 1, 1) for name in ("negative_share", "positive_share")
            )
            weights = self.weight_map(
                batch["original"], negative, next(shares), batch["positive"], next(shares)
            )
        elif "gan_sr" in batch:
            negative, reference = batch["gan_sr"], batch["mse_sr"]
            weights = self.weight_map(reference, negative, batch["mask"], reference, 0.0)
        else:
            raise InputError(
                "model.negative: this data has no negatives; use data=hggt data.target=positive "
                "data.negatives=true, data=desra_artifacts, or model.negative=null"
            )
        distance = residual(negative.float(), output.float())
        return -self.weight * (weights * distance).mean() / output.shape[1]

    @torch.no_grad()
    def weight_map(
        self,
        original: Tensor,
        negative: Tensor,
        negative_share: Tensor | float,
        positive: Tensor,
        positive_share: Tensor | float,
    ) -> Tensor:
        """The weight of each pixel.

        Args:
            original: what both are compared with, ``(B, C, H, W)`` in [0, 1].
            negative: same shape; anything where its share is 0.
            negative_share: of the annotators, who voted it negative, broadcastable to
                ``(B, 1, H, W)``; 0 where there is none.
            positive: same shape; the original where there is none.
            positive_share: likewise.

        Returns:
            ``(B, 1, H, W)`` float32, not negative.
        """
        faults, wanted = (
            local_variance(residual(original.float(), image.float()), self.window_size)
            .pow_(self.power)
            .mul_(share)
            .float()
            for image, share in ((negative, negative_share), (positive, positive_share))
        )
        return faults.masked_fill_(wanted >= faults, 0)
