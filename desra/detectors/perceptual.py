"""Distances of deep features, place by place, as detectors: LPIPS and DISTS."""

from __future__ import annotations

from abc import abstractmethod
from typing import Any, get_args

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from desra.detectors.scores import ScoreDetector
from desra.detectors.tiles import map_tiles
from desra.errors import InputError
from desra.images import quantize
from desra.metrics.detail import Backbone, fetch_backbone
from desra.texture import check_pair

_SMALLEST_SIDE = 64  # below it the last poolings have nothing left
_MARGIN = 128  # of a tile: more than half of a receptive field, a multiple of every stride
_TILE = 512


class _FeatureDetector(ScoreDetector):
    """A score that a network gives to two images; in float32, so that masks of CPU and GPU may
    differ where a score is within its rounding of the threshold.

    Nothing is fetched or built before it is needed: see `prepare`.
    """

    def __init__(self, threshold: float, min_area: float) -> None:
        super().__init__(threshold, min_area)
        self.network = nn.Module()
        self._is_ready = False

    @abstractmethod
    def build(self) -> nn.Module:
        """The network, with its weights.

        Raises:
            InputError: weights are not on this machine and cannot be downloaded.
        """

    @abstractmethod
    def compare(self, mse_sr: Tensor, gan_sr: Tensor) -> Tensor:
        """Scores ``(1, 1, h, w)`` of two images ``(1, 3, h, w)``, float32 in [0, 1]."""

    @torch.inference_mode(False)  # parameters made in inference mode could not be moved out of it
    def prepare(self) -> None:
        """Fetch the weights and build the network.

        Raises:
            InputError: weights are not on this machine and cannot be downloaded.
        """
        if not self._is_ready:
            self.network, self._is_ready = self.build().eval().requires_grad_(False), True

    def train(self, mode: bool = True) -> _FeatureDetector:
        """Stays in evaluation mode."""
        return super().train(False)

    def score(self, mse_sr: Tensor, gan_sr: Tensor) -> Tensor:
        """The map, tile by tile; a tile's score knows nothing farther than 128 pixels away."""
        check_pair(mse_sr, gan_sr)
        height, width = gan_sr.shape[-2:]
        if min(height, width) < _SMALLEST_SIDE:
            raise InputError(
                f"the image is {width}x{height}; {type(self).__name__} needs {_SMALLEST_SIDE} "
                "pixels a side: leave it out or choose another detector"
            )
        self.prepare()
        if next(self.network.parameters()).device != gan_sr.device:
            self.network.to(gan_sr.device)
        images = quantize(mse_sr).float() / 255, quantize(gan_sr).float() / 255
        return map_tiles(self.compare, *images, margin=_MARGIN, tile=_TILE).clamp_min_(0)


class LPIPSDetector(_FeatureDetector):
    """LPIPS (Zhang et al., CVPR 2018) at every pixel: the weighted distances of each layer's unit
    features, enlarged to the image's size and summed, as the release's ``spatial=True``.

    Args:
        threshold: a pixel of a higher distance is a candidate.
        min_area: see `Detector`.
        backbone: ``"alex"``, ``"squeeze"`` or ``"vgg"``; fetched on first use.
        weights: torchvision's file of the backbone; None to fetch it.

    Raises:
        InputError: a setting that cannot be used; in `prepare`, weights that cannot be had.
    """

    middle = 0.5

    def __init__(
        self,
        threshold: float = 0.5,
        min_area: float = 4000,
        backbone: Backbone = "alex",
        weights: str | None = None,
    ) -> None:
        super().__init__(threshold, min_area)
        self.weights = weights
        if backbone not in get_args(Backbone):
            raise InputError(f"backbone={backbone}: give one of {', '.join(get_args(Backbone))}")
        self.backbone = backbone

    @property
    def settings(self) -> dict[str, Any]:
        """Settings with the backbone; JSON-able."""
        return {**super().settings, "backbone": self.backbone}

    def build(self) -> nn.Module:
        """torchmetrics' network: the backbone of torchvision, the weights of the release."""
        _fetch(self.backbone, "lpips", self.weights)
        from torchmetrics.image import LearnedPerceptualImagePatchSimilarity

        network = LearnedPerceptualImagePatchSimilarity(self.backbone, normalize=True).net
        network.spatial = True
        return network

    def compare(self, mse_sr: Tensor, gan_sr: Tensor) -> Tensor:
        """Distances of two images at every pixel."""
        return self.network(gan_sr, mse_sr, normalize=True)


class DISTSDetector(_FeatureDetector):
    """DISTS (Ding et al., TPAMI 2020) in a window around each place: how far means (texture) and
    covariances (structure) of VGG16's features are apart, weighted as trained.

    DISTS takes its means over the whole image. Here they are taken over windows of ``window_size``
    pixels every 16 pixels, and values in between are interpolated.

    Args:
        threshold: a pixel of a higher DISTS, 0 to 1, is a candidate.
        min_area: see `Detector`.
        window_size: side of the window in pixels, an odd multiple of 16.
        weights: torchvision's file of VGG16; None to fetch it.

    Raises:
        InputError: a setting that cannot be used; in `prepare`, weights that cannot be had.
    """

    middle = 0.3

    def __init__(
        self,
        threshold: float = 0.3,
        min_area: float = 4000,
        window_size: int = 48,
        weights: str | None = None,
    ) -> None:
        super().__init__(threshold, min_area)
        self.weights = weights
        if window_size < 1 or window_size % 32 != 16:
            raise InputError(f"window_size={window_size}; give 16, 48, 80, … pixels")
        self.window_size = window_size

    @property
    def settings(self) -> dict[str, Any]:
        """Settings with the window; JSON-able."""
        return {**super().settings, "window_size": self.window_size}

    def build(self) -> nn.Module:
        """torchmetrics' network: VGG16 of torchvision, the weights of the release."""
        _fetch("vgg", "dists", self.weights)
        from torchmetrics.functional.image.dists import DISTSNetwork

        return DISTSNetwork()

    def compare(self, mse_sr: Tensor, gan_sr: Tensor) -> Tensor:
        """1 − DISTS' similarity, in windows, at every pixel."""
        height, width = gan_sr.shape[-2:]
        network: Any = self.network
        cells = self.window_size // _CELL
        stages = network.forward_once(gan_sr), network.forward_once(mse_sr)
        alpha, beta = (
            (weights / (network.alpha.sum() + network.beta.sum())).double().split(network.chns, 1)
            for weights in (network.alpha, network.beta)
        )
        total = gan_sr.new_zeros((), dtype=torch.float64)
        for stage, (x, y) in enumerate(zip(*stages, strict=True)):
            size = _CELL >> max(stage - 1, 0)  # the image and the first stage are of full size
            for some in torch.arange(x.shape[1]).split(_CHANNELS_AT_ONCE):
                chosen = slice(int(some[0]), int(some[-1]) + 1)
                texture, structure = _similarities(x[:, chosen], y[:, chosen], size, cells)
                weighted = alpha[stage][:, chosen] * texture + beta[stage][:, chosen] * structure
                total = total + weighted.sum(1, keepdim=True)
        enlarged = [side * _CELL for side in total.shape[-2:]]
        score = F.interpolate(1 - total, enlarged, mode="bilinear", align_corners=False)
        return score[..., :height, :width]


_CELL = 16  # pixels of VGG16's last stage
_CHANNELS_AT_ONCE = 16
_STABILITY = 1e-6


def _similarities(x: Tensor, y: Tensor, size: int, cells: int) -> tuple[Tensor, Tensor]:
    """Texture and structure of features ``(1, C, h, w)`` in windows (equations 4 and 5).

    Args:
        x: features of one image.
        y: of the other.
        size: features a side of a cell; a window's means are those of its cells.
        cells: cells a side of a window. At the border it is cut.

    Returns:
        ``(1, C, h / size, w / size)`` float64 each.
    """
    x, y = x.double(), y.double()

    def mean(values: Tensor) -> Tensor:
        options: dict[str, Any] = {"count_include_pad": False}
        values = F.avg_pool2d(values, size, ceil_mode=True, **options)
        return F.avg_pool2d(values, cells, stride=1, padding=cells // 2, **options)

    mean_x, mean_y = mean(x), mean(y)
    squares = mean_x.square() + mean_y.square()
    covariance = mean(x * y) - mean_x * mean_y
    variances = mean(x.square() + y.square()) - squares
    texture = (2 * mean_x * mean_y + _STABILITY) / (squares + _STABILITY)
    return texture, (2 * covariance + _STABILITY) / (variances.clamp_min(0) + _STABILITY)


def _fetch(backbone: Backbone, name: str, file: str | None) -> None:
    try:
        fetch_backbone(backbone, file)
    except InputError as error:
        hint = "or give detector.weights=FILE, or choose another detector"
        raise InputError(f"detector={name}: {error}; {hint}") from error
