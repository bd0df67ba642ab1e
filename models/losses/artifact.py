"""Artifact loss of LDL (Liang et al., CVPR 2022): pixels weighted by its artifact map."""

from __future__ import annotations

from torch import Tensor, nn

from desra.ldl import artifact_map, residual


class ArtifactLoss(nn.Module):
    """L1 between weight · output and weight · target, with LDL's `desra.ldl.artifact_map` as
    weight.

    Liang et al., "Details or Artifacts: A Locally Discriminative Learning Approach to Realistic
    Image Super-Resolution", CVPR 2022, eq. 8.

    Args:
        weight: factor of this term.
        window_size: side of the local windows.

    Example:
        >>> import torch
        >>> target = torch.rand(1, 3, 16, 16)
        >>> ArtifactLoss()(target, target, target).item()
        0.0
    """

    def __init__(self, weight: float = 1.0, window_size: int = 7) -> None:
        super().__init__()
        self.weight, self.window_size = weight, window_size

    @property
    def settings(self) -> dict[str, float | int]:
        """What decides this term's value, for the record of a run."""
        return {"weight": self.weight, "window_size": self.window_size}

    def forward(self, output: Tensor, target: Tensor, stable_output: Tensor) -> Tensor:
        """Weighted loss; a scalar.

        Args:
            output: the generator's, ``(B, C, H, W)`` in [0, 1].
            target: ground truth.
            stable_output: the EMA generator's, from the same input; no gradient.
        """
        weights = artifact_map(target, output, stable_output, self.window_size)
        # The weights are not negative, so they may leave the absolute value, and one plane is
        # enough.
        difference = residual(target.float(), output.float())
        return self.weight * (weights * difference).mean() / output.shape[1]
