"""Blur kernels: Gaussian, generalised Gaussian, plateau, round or elongated; and sinc filters."""

from __future__ import annotations

from dataclasses import dataclass
from math import pi

import numpy as np
import torch
from numpy.typing import NDArray

from datamodules.degradations.checks import (
    Range,
    check_probability,
    check_range,
    check_sizes,
    check_weights,
)
from datamodules.degradations.draws import Draws

FAMILIES = (
    "iso",
    "aniso",
    "generalized_iso",
    "generalized_aniso",
    "plateau_iso",
    "plateau_aniso",
)
SIDE = 21
SIZES = tuple(range(7, SIDE + 1, 2))


@dataclass(frozen=True)
class BlurKernels:
    """A distribution of blur kernels (Real-ESRGAN, section 3.1 and its released settings).

    Attributes:
        sigma: range of standard deviations in pixels; elongated kernels draw two, and an angle.
        probabilities: of `FAMILIES`, where the kernel is no sinc filter.
        beta_generalized: range of the generalised Gaussian's exponent; half the draws are below 1.
        beta_plateau: range of the plateau's exponent; likewise.
        sinc_probability: of a sinc filter instead.
        sizes: odd sides, of which each is as likely as any other; up to 21.

    Raises:
        InputError: a setting out of its range.
    """

    sigma: Range = (0.2, 3.0)
    probabilities: tuple[float, ...] = (0.45, 0.25, 0.12, 0.03, 0.12, 0.03)
    beta_generalized: Range = (0.5, 4.0)
    beta_plateau: Range = (1.0, 2.0)
    sinc_probability: float = 0.1
    sizes: tuple[int, ...] = SIZES

    DRAWS = 10

    def __post_init__(self) -> None:
        check_range("blur.sigma", self.sigma, least=1e-3)
        check_weights("blur.probabilities", self.probabilities, len(FAMILIES))
        for name in ("beta_generalized", "beta_plateau"):
            check_range(f"blur.{name}", getattr(self, name), least=1e-3)
        check_probability("blur.sinc_probability", self.sinc_probability)
        check_sizes("blur.sizes", self.sizes, SIDE)

    def draw(self, draws: Draws) -> torch.Tensor:
        """Kernels of one batch, ``(B, 21, 21)`` float32, each with sum 1, and 0 beyond its side.

        Args:
            draws: gives `DRAWS` columns.
        """
        size = np.asarray(draws.one_of(self.sizes))
        is_sinc = draws.chance(self.sinc_probability)
        cutoff = draws.uniform()
        family = draws.place(self.probabilities)
        elongated = family % 2 == 1
        sigma_x, sigma_y = draws.uniform(*self.sigma), draws.uniform(*self.sigma)
        angle = np.where(elongated, draws.uniform(-pi, pi), 0.0)
        sigma_y = np.where(elongated, sigma_y, sigma_x)
        below, position = draws.chance(0.5), draws.uniform()
        beta = np.select(
            [family >= 4, family >= 2],
            [
                _beta(self.beta_plateau, below, position),
                _beta(self.beta_generalized, below, position),
            ],
            1.0,
        )
        blur = bell_kernels(size, sigma_x, sigma_y, angle, beta, plateau=family >= 4)
        lowest = np.where(size < 13, pi / 3, pi / 5)  # small kernels cannot cut lower
        sinc = sinc_kernels(lowest + (pi - lowest) * cutoff, size)
        return torch.where(torch.from_numpy(is_sinc)[:, None, None], sinc, blur).float()


def _beta(limits: Range, below: NDArray, position: NDArray) -> NDArray:
    low, high = limits
    return np.where(below, low + (1 - low) * position, 1 + (high - 1) * position)


def bell_kernels(
    size: NDArray,
    sigma_x: NDArray,
    sigma_y: NDArray,
    angle: NDArray,
    beta: NDArray,
    plateau: NDArray,
) -> torch.Tensor:
    """exp(-q^β / 2), or 1 / (1 + q^β) for plateaus, with q = xᵀ Σ⁻¹ x.

    Args:
        size: odd side, ``(B,)``; the kernel is 0 beyond it.
        sigma_x: standard deviation in pixels along the first axis of Σ.
        sigma_y: along the second one.
        angle: of the first axis against the rows, in radians.
        beta: 1 is the Gaussian; less has longer tails, more a flatter top.
        plateau: which kernels are of the second form.

    Returns:
        ``(B, 21, 21)`` float64, each with sum 1.
    """
    x, y = _grid()
    cos, sin, first, second, exponent = (
        torch.from_numpy(np.asarray(value, np.float64))[:, None, None]
        for value in (np.cos(angle), np.sin(angle), sigma_x, sigma_y, beta)
    )
    q = ((x * cos + y * sin) / first) ** 2 + ((y * cos - x * sin) / second) ** 2
    power = q**exponent
    flat = torch.from_numpy(np.asarray(plateau))[:, None, None]
    return _normalised(torch.where(flat, 1 / (1 + power), torch.exp(-power / 2)), size)


def sinc_kernels(cutoff: NDArray, size: NDArray) -> torch.Tensor:
    """Circular low-pass filters: ω J₁(ω r) / (2π r), ω² / 4π at r = 0 (Real-ESRGAN, equation 6).

    Args:
        cutoff: ω in radians a pixel, ``(B,)``; π passes everything up to the Nyquist frequency.
        size: odd side, ``(B,)``; the kernel is 0 beyond it.

    Returns:
        ``(B, 21, 21)`` float64, each with sum 1.
    """
    x, y = _grid()
    radius = torch.hypot(x, y)
    omega = torch.from_numpy(np.asarray(cutoff, np.float64))[:, None, None]
    ring = omega * torch.special.bessel_j1(omega * radius) / (2 * pi * radius)
    return _normalised(torch.where(radius == 0, omega**2 / (4 * pi), ring), size)


def pulse_kernels(count: int) -> torch.Tensor:
    """Kernels that change nothing, ``(count, 21, 21)`` float64."""
    kernels = torch.zeros(count, SIDE, SIDE, dtype=torch.float64)
    kernels[:, SIDE // 2, SIDE // 2] = 1
    return kernels


def _grid() -> tuple[torch.Tensor, torch.Tensor]:
    axis = torch.arange(SIDE, dtype=torch.float64) - SIDE // 2
    y, x = torch.meshgrid(axis, axis, indexing="ij")
    return x, y


def _normalised(kernels: torch.Tensor, size: NDArray) -> torch.Tensor:
    x, y = _grid()
    half = torch.from_numpy(np.asarray(size))[:, None, None] // 2
    inside = torch.maximum(x.abs(), y.abs()) <= half
    kernels = torch.where(inside, kernels, 0.0)
    return kernels / kernels.sum((1, 2), keepdim=True)
