"""LDL's artifact map as a detector."""

from __future__ import annotations

from torch import Tensor

from desra.detectors.scores import ScoreDetector
from desra.images import quantize
from desra.ldl import artifact_map
from desra.texture import check_pair

WINDOW_SIZE = 7


class LDLDetector(ScoreDetector):
    """The weight map of LDL (Liang et al., "Details or Artifacts", CVPR 2022, equations 4 to 6)
    with MSE-SR in the place of the ground truth, as DeSRA compares itself with (ICML 2023,
    table 1): high where the difference of the two upscalings varies strongly from pixel to pixel.

    What becomes of the map is the same as with the other detectors: morphology, filled holes,
    minimum area. Semantic labels change nothing.

    Args:
        threshold: of the weight of images in [0, 1]. Published: 0.01, 0.005 and 0.001; 0.005 has
            the best IoU.
        min_area: see `Detector`.

    Raises:
        InputError: a setting that cannot be used.

    Example:
        >>> import torch
        >>> smooth = torch.full((1, 3, 64, 64), 0.5)
        >>> textured = smooth.clone()
        >>> textured[..., 16:48, 16:48] += torch.rand(32, 32).sub(0.5)
        >>> mask = LDLDetector(min_area=100)(smooth, textured).mask
        >>> mask.shape, mask[..., 32, 32].item(), mask[..., 2, 2].item()
        (torch.Size([1, 1, 64, 64]), True, False)
    """

    middle = 0.005

    def __init__(self, threshold: float = 0.005, min_area: float = 4000) -> None:
        super().__init__(threshold, min_area)

    def score(self, mse_sr: Tensor, gan_sr: Tensor) -> Tensor:
        """LDL's weight; see `desra.ldl.artifact_map`."""
        check_pair(mse_sr, gan_sr, WINDOW_SIZE)
        reference, output = (quantize(images).float() / 255 for images in (mse_sr, gan_sr))
        return artifact_map(reference, output, window_size=WINDOW_SIZE)
