"""PSNR, SSIM, LPIPS and DISTS of whole images, with their conventions said."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torchmetrics.functional.image import (
    peak_signal_noise_ratio,
    structural_similarity_index_measure,
)

from desra.errors import InputError
from desra.metrics.detail import fetch_backbone

METRICS = ("psnr", "ssim", "lpips", "dists")
HIGHER_IS_BETTER = {"psnr": True, "ssim": True, "lpips": False, "dists": False}
_LUMA = (65.481 / 255, 128.553 / 255, 24.966 / 255)
"""ITU-R BT.601 of 8-bit RGB to a luma of 16 to 235, as MATLAB's rgb2ycbcr."""
_SMALLEST_SIDE = 32

Measure = Callable[[Tensor, Tensor], float]


@dataclass(frozen=True)
class Conventions:
    """What figures of different papers differ by.

    Attributes:
        border: pixels left out on each side, of all metrics.
        luma: PSNR and SSIM on the Y channel (16 to 235) and not on RGB.
    """

    border: int = 4
    luma: bool = False

    def __post_init__(self) -> None:
        if self.border < 0:
            raise InputError(f"border={self.border}: give a width in pixels, 0 for whole images")

    def lines(self, names: Sequence[str]) -> dict[str, str]:
        """A sentence for each metric."""
        channels = "Y of BT.601, 16 to 235, not rounded" if self.luma else "RGB, one mean of all"
        said = {
            "psnr": f"8-bit {channels}; peak 255; equal images: infinite",
            "ssim": f"8-bit {channels.split(',')[0]}; Gaussian window 11 x 11, sigma 1.5, whole "
            "windows only; K 0.01 and 0.03; mean of channels",
            "lpips": "v0.1, AlexNet; RGB in [-1, 1]",
            "dists": "VGG16; RGB in [0, 1], not resized",
        }
        return {"border": f"{self.border} pixels on each side left out", **{
            name: said.get(name, "as pyiqa defines it, RGB in [0, 1]") for name in names
        }}  # fmt: skip

    def settings(self) -> dict[str, Any]:
        """JSON-able."""
        return asdict(self)


class QualityMetrics:
    """Metrics of an image against a reference.

    Args:
        names: of `METRICS`, or of pyiqa's metrics with a reference (``pip install pyiqa``).
        conventions: what is compared.
        device: where the networks compute.
        weights: metric to torchvision's file of its backbone (``lpips``: AlexNet, ``dists``:
            VGG16), for a machine without a network; what is not named is downloaded.

    Raises:
        InputError: a metric that is not known, or weights that cannot be had.
    """

    def __init__(
        self,
        names: Sequence[str] = METRICS,
        conventions: Conventions | None = None,
        device: torch.device | str = "cpu",
        weights: Mapping[str, str | Path | None] | None = None,
    ) -> None:
        self._weights = dict(weights or {})
        self.conventions, self.device = conventions or Conventions(), torch.device(device)
        self.measures: dict[str, Measure] = {}
        builders: Mapping[str, Callable[[], Measure]] = {
            "psnr": lambda: self._psnr,
            "ssim": lambda: self._ssim,
            "lpips": self._lpips,
            "dists": self._dists,
        }
        for name in names:
            build = builders.get(name)
            self.measures[name] = build() if build else self._pyiqa(name)

    @torch.no_grad()
    def __call__(self, image: Tensor, reference: Tensor) -> dict[str, float]:
        """Each metric's value.

        Args:
            image: ``(1, 3, H, W)`` uint8.
            reference: likewise.

        Raises:
            InputError: other sizes, or too little within the border.
        """
        height, width = image.shape[-2:]
        if image.shape != reference.shape:
            rows, columns = reference.shape[-2:]
            raise InputError(f"{width}x{height}, but its reference has {columns}x{rows}")
        border = self.conventions.border
        if min(height, width) < 2 * border + _SMALLEST_SIDE:
            raise InputError(
                f"{width}x{height}: less than {_SMALLEST_SIDE} pixels within border={border}"
            )
        inside = slice(border, height - border), slice(border, width - border)
        images = [each[..., inside[0], inside[1]].to(self.device) for each in (image, reference)]
        return {name: float(measure(*images)) for name, measure in self.measures.items()}

    def _planes(self, image: Tensor) -> Tensor:
        image = image.double()
        if not self.conventions.luma:
            return image
        weights = image.new_tensor(_LUMA).view(1, 3, 1, 1)
        return (image * weights).sum(1, keepdim=True) + 16

    def _psnr(self, image: Tensor, reference: Tensor) -> float:
        found = peak_signal_noise_ratio(
            self._planes(image), self._planes(reference), data_range=255.0
        )
        return float(found)

    def _ssim(self, image: Tensor, reference: Tensor) -> float:
        planes = self._planes(image), self._planes(reference)
        found = structural_similarity_index_measure(
            *planes, sigma=1.5, data_range=255.0, return_full_image=True
        )
        # torchmetrics' mean takes in windows that reach beyond the image, which it mirrors.
        reach = 5
        return float(found[1][..., reach:-reach, reach:-reach].mean())

    def _lpips(self) -> Measure:
        fetch_backbone("alex", self._weights.get("lpips"))
        from torchmetrics.functional.image.lpips import _LPIPS

        network = _LPIPS(net="alex").to(self.device).eval()
        return lambda image, reference: float(
            network(image.float() / 255, reference.float() / 255, normalize=True)
        )

    def _dists(self) -> Measure:
        fetch_backbone("vgg", self._weights.get("dists"))
        # The network itself: torchmetrics' function builds it, and reads VGG16, at each call.
        from torchmetrics.functional.image.dists import DISTSNetwork

        network = DISTSNetwork().to(self.device).eval()
        return lambda image, reference: float(network(image.float() / 255, reference.float() / 255))

    def _pyiqa(self, name: str) -> Measure:
        try:
            import pyiqa
        except ImportError as error:
            raise InputError(
                f"metrics: {name} is none of {', '.join(METRICS)}; pip install pyiqa for more"
            ) from error
        if name not in pyiqa.list_models(metric_mode="FR"):
            raise InputError(f"metrics: pyiqa has no metric with a reference called {name}")
        metric = pyiqa.create_metric(name, device=self.device)
        return lambda image, reference: float(metric(image.float() / 255, reference.float() / 255))
