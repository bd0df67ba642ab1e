"""Second-order degradation of a batch of clean images, on its device."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import pi

import numpy as np
import torch

from datamodules.degradations.checks import Range, check_probability, check_range, check_sizes
from datamodules.degradations.draws import Draws, NoiseSource
from datamodules.degradations.filters import filter_images
from datamodules.degradations.jpeg import compress_jpeg
from datamodules.degradations.kernels import (
    SIDE,
    SIZES,
    BlurKernels,
    pulse_kernels,
    sinc_kernels,
)
from datamodules.degradations.noise import add_gaussian_noise, add_poisson_noise
from datamodules.degradations.resize import METHODS, Resize, resize
from datamodules.randomness import Purpose
from desra.errors import InputError

_FIRST_BLUR, _SECOND_BLUR = BlurKernels(), BlurKernels(sigma=(0.2, 1.5))
_FIRST_RESIZE = Resize()
_SECOND_RESIZE = Resize(probabilities=(0.3, 0.4, 0.3), limits=(0.3, 1.2))


@dataclass(frozen=True)
class Round:
    """The settings of one round of blur, resizing, noise and JPEG compression.

    Attributes:
        blur: distribution of kernels, one a sample.
        blur_probability: of a batch being blurred at all.
        resize: distribution of factors, one a batch.
        gaussian_probability: of a batch's noise being Gaussian; else it is Poisson's.
        gaussian: range of σ on the scale 0–255.
        poisson: range of the factor on shot noise.
        grey_probability: of a sample's noise being grey.
        jpeg: range of libjpeg's quality; None: no compression.

    Raises:
        InputError: a setting out of its range.
    """

    blur: BlurKernels = _FIRST_BLUR
    blur_probability: float = 1.0
    resize: Resize = _FIRST_RESIZE
    gaussian_probability: float = 0.5
    gaussian: Range = (1.0, 30.0)
    poisson: Range = (0.05, 3.0)
    grey_probability: float = 0.4
    jpeg: Range | None = (30.0, 95.0)

    SHARED_DRAWS = Resize.DRAWS + 2
    SAMPLE_DRAWS = BlurKernels.DRAWS + 3

    def __post_init__(self) -> None:
        for name in ("blur_probability", "gaussian_probability", "grey_probability"):
            check_probability(name, getattr(self, name))
        check_range("gaussian", self.gaussian, least=0)
        check_range("poisson", self.poisson, least=0)
        if self.jpeg is not None:
            check_range("jpeg", self.jpeg, least=1, most=100)


FIRST_ROUND = Round()
SECOND_ROUND = Round(
    blur=_SECOND_BLUR,
    blur_probability=0.8,
    resize=_SECOND_RESIZE,
    gaussian=(1.0, 25.0),
    poisson=(0.05, 2.5),
)


class DrawnRound:
    """What one round does to one batch: all its random numbers but the noise itself."""

    def __init__(self, settings: Round, shared: Draws, own: Draws) -> None:
        self.factor, self.method = settings.resize.draw(shared)
        self.is_gaussian = bool(shared.chance(settings.gaussian_probability)[0])
        self.blurs = bool(shared.chance(settings.blur_probability)[0])
        self.kernels = settings.blur.draw(own)
        self.strength = own.uniform(*(settings.gaussian if self.is_gaussian else settings.poisson))
        self.grey = own.chance(settings.grey_probability)
        quality = own.uniform(*(settings.jpeg or (100.0, 100.0)))
        self.quality = None if settings.jpeg is None else quality

    def blur_and_resize(self, images: torch.Tensor, unit: tuple[float, float]) -> torch.Tensor:
        """To ``factor`` times the height and width in ``unit``, and at least one pixel."""
        if self.blurs:
            images = filter_images(images, self.kernels)
        height, width = (max(int(length * self.factor), 1) for length in unit)
        return resize(images, (height, width), self.method)

    def add_noise(self, images: torch.Tensor, source: NoiseSource) -> torch.Tensor:
        add = add_gaussian_noise if self.is_gaussian else add_poisson_noise
        return add(images, self.strength, self.grey, source)

    def compress(self, images: torch.Tensor) -> torch.Tensor:
        return images if self.quality is None else compress_jpeg(images, self.quality)


@dataclass(frozen=True)
class Degradation:
    """Second-order degradations (Real-ESRGAN, ICCVW 2021, section 3; defaults as released).

    What a batch shares (factors and methods of resizing, kind of noise, order of the last steps)
    is drawn for the batch's number, all else for each sample's number, so that a sample is the
    same in whatever part of its batch it is made.

    Attributes:
        scale: of LR against HR.
        first: the first round.
        second: the second round.
        final_sinc_probability: of a sample being filtered by a sinc after its last resizing.
        final_sinc_sizes: odd sides of that filter, each as likely as any other.

    Raises:
        InputError: a setting out of its range.
    """

    scale: int = 4
    first: Round = FIRST_ROUND
    second: Round = SECOND_ROUND
    final_sinc_probability: float = 0.8
    final_sinc_sizes: tuple[int, ...] = SIZES

    def __post_init__(self) -> None:
        check_probability("final_sinc_probability", self.final_sinc_probability)
        check_sizes("final_sinc_sizes", self.final_sinc_sizes, SIDE)
        if self.scale < 1:
            raise InputError(f"degradation: scale={self.scale}: give at least 1")

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
        count = self.first.SHARED_DRAWS + self.second.SHARED_DRAWS + 2
        shared = Draws(seed, Purpose.SHARED_DEGRADATION, [batch_number], count)
        own = Draws(seed, Purpose.DEGRADATION, numbers, 2 * Round.SAMPLE_DRAWS + 3)
        first, second = DrawnRound(self.first, shared, own), DrawnRound(self.second, shared, own)
        method, sinc_before_jpeg = shared.one_of(METHODS)[0], bool(shared.chance(0.5)[0])
        sinc = self._final_sinc(own)

        def noise(purpose: Purpose) -> NoiseSource:
            return NoiseSource(seed, purpose, numbers, images.device)

        small = height // self.scale, width // self.scale
        images = first.blur_and_resize(images, (height, width))
        images = first.add_noise(images, noise(Purpose.FIRST_NOISE))
        images = first.compress(images)
        images = second.blur_and_resize(images, small)
        images = second.add_noise(images, noise(Purpose.SECOND_NOISE))
        if sinc_before_jpeg:
            images = second.compress(filter_images(resize(images, small, method), sinc))
        else:
            images = filter_images(resize(second.compress(images), small, method), sinc)
        return images.mul_(255).round_().clamp_(0, 255).div_(255)

    def _final_sinc(self, own: Draws) -> torch.Tensor:
        size, cutoff = np.asarray(own.one_of(self.final_sinc_sizes)), own.uniform(pi / 3, pi)
        filtered = torch.from_numpy(own.chance(self.final_sinc_probability))[:, None, None]
        return torch.where(filtered, sinc_kernels(cutoff, size), pulse_kernels(len(size))).float()
