"""Clean images to low-resolution ones in one round: the degradation that HGGT trains with."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

import torch
import torch.nn.functional as F

from datamodules.degradations.diffjpeg import compress_diffjpeg
from datamodules.degradations.draws import Draws, NoiseSource
from datamodules.degradations.filters import filter_images
from datamodules.degradations.kernels import BlurKernels
from datamodules.degradations.pipeline import DrawnRound, Round
from datamodules.degradations.resize import Resize
from datamodules.randomness import Purpose
from desra.errors import InputError


class BatchDegradation(Protocol):
    """What makes low-resolution images for training: `Degradation`, `OneStageDegradation`."""

    @property
    def scale(self) -> int:
        """Of LR against HR."""

    def __call__(
        self, images: torch.Tensor, seed: int, batch_number: int, numbers: Sequence[int]
    ) -> torch.Tensor:
        """As `Degradation.__call__`."""


HGGT_ROUND = Round(
    blur=BlurKernels(
        sigma=(0.1, 1.0),
        probabilities=(0.7, 0.3, 0, 0, 0, 0),
        sinc_probability=0.01,
        sizes=(3, 5, 7, 9),
    ),
    resize=Resize(probabilities=(0.1, 0.85, 0.05), limits=(0.8, 1.2)),
    gaussian=(1.0, 12.0),
    poisson=(0.05, 0.8),
    grey_probability=0.2,
    jpeg=(75.0, 95.0),
)
"""As HGGT's super-resolution networks were trained (its YAML files)."""


@dataclass(frozen=True)
class OneStageDegradation:
    """One round of blur, resizing, noise and JPEG, then to the final size (Chen et al., CVPR 2023).

    A batch shares its resizing and the kind of its noise, drawn for its number; all else is drawn
    for each sample's number. The last resizing uses the method of the first one.

    Attributes:
        scale: of LR against HR; 1 for training enhancement models.
        round: what is done before the last resizing.
        codec: ``"diffjpeg"``, the release's stand-in for JPEG, with a quality that is no whole
            number and black beyond the edges; ``"libjpeg"``, what JPEG files are made with.

    Raises:
        InputError: a setting out of its range.
    """

    scale: int = 4
    round: Round = HGGT_ROUND
    codec: Literal["diffjpeg", "libjpeg"] = "diffjpeg"

    def __post_init__(self) -> None:
        if self.scale < 1:
            raise InputError(f"degradation: scale={self.scale}: give at least 1")
        if self.codec not in ("diffjpeg", "libjpeg"):
            raise InputError(f"degradation: codec={self.codec}: give diffjpeg or libjpeg")

    @torch.no_grad()
    def __call__(
        self, images: torch.Tensor, seed: int, batch_number: int, numbers: Sequence[int]
    ) -> torch.Tensor:
        """Degrade a batch.

        Args:
            images: ``(B, 3, H, W)`` float32 in [0, 1], H and W multiples of the scale.
            seed: another seed, other degradations.
            batch_number: decides what the batch shares.
            numbers: of the samples, B of them; each decides the rest for its sample.

        Returns:
            ``(B, 3, H / scale, W / scale)`` float32, multiples of 1 / 255 in [0, 1].

        Raises:
            InputError: H or W is no multiple of the scale.
        """
        height, width = images.shape[-2:]
        if height % self.scale or width % self.scale:
            raise InputError(
                f"degradation: {width}x{height} is no multiple of the scale {self.scale}; crop it"
            )
        shared = Draws(seed, Purpose.SHARED_DEGRADATION, [batch_number], self.round.SHARED_DRAWS)
        own = Draws(seed, Purpose.DEGRADATION, numbers, Round.SAMPLE_DRAWS)
        drawn = DrawnRound(self.round, shared, own)
        if drawn.blurs:
            images = filter_images(images, drawn.kernels)
        if drawn.factor != 1:
            # By the factor, not to a size: the release's sampling positions are those of the exact
            # factor, whatever whole number of pixels comes out.
            images = F.interpolate(images, scale_factor=drawn.factor, mode=drawn.method)
        noise = NoiseSource(seed, Purpose.FIRST_NOISE, numbers, images.device)
        images = drawn.add_noise(images, noise)
        if drawn.quality is not None:
            libjpeg = self.codec == "libjpeg"
            images = drawn.compress(images) if libjpeg else compress_diffjpeg(images, drawn.quality)
        small = height // self.scale, width // self.scale
        images = F.interpolate(images, size=small, mode=drawn.method)
        return images.mul(255).round_().clamp_(0, 255).div_(255)
