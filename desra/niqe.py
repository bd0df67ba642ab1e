"""NIQE's features of patches and its model of clean images (Mittal et al., "Making a 'Completely
Blind' Image Quality Analyzer", IEEE SPL 2013).

Everything is float64 and made of torch's operations, so that it is the same on every device.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from desra.errors import InputError

PATCH_SIZE = 96
FEATURES = 36
PUBLISHED_MODEL = Path(__file__).parent / "data" / "niqe_pris_params.npz"
"""The authors' Gaussian of clean patches of 96×96, as BasicSR distributes it."""

_WINDOW_SIZE, _WINDOW_SIGMA = 7, 7 / 6
_SHIFTS = ((0, 1), (1, 0), (1, 1), (1, -1))
_LUMA = (65.481 / 255, 128.553 / 255, 24.966 / 255)  # BT.601, to 16 … 235, as MATLAB's rgb2ycbcr
_PATCHES_AT_ONCE = 64  # 5 MB a map; fits the cache of a core better than more
_FLAT = 1e-9  # normalised levels below it are what rounding leaves of nothing


def luma(images: Tensor) -> Tensor:
    """Y of BT.601 of uint8 RGB ``(B, 3, H, W)``: whole levels from 16 to 235, ``(B, H, W)``.

    Example:
        >>> luma(torch.tensor([0, 255], dtype=torch.uint8).view(1, 1, 1, 2).expand(1, 3, 1, 2))
        tensor([[[ 16., 235.]]], dtype=torch.float64)
    """
    weights = images.new_tensor(_LUMA, dtype=torch.float64).view(1, 3, 1, 1)
    return ((images.double() * weights).sum(1) + 16).round()


def normalised(plane: Tensor) -> Tensor:
    """Levels without their local mean, over their local deviation (equations 1 to 3).

    Args:
        plane: ``(B, H, W)`` levels of 0 to 255.

    Returns:
        ``(B, H, W)``; mean and deviation are those under a Gaussian window of 7×7, with replicated
        borders.
    """
    offset = torch.arange(_WINDOW_SIZE, dtype=torch.float64) - _WINDOW_SIZE // 2
    weights = torch.exp(-(offset**2) / (2 * _WINDOW_SIGMA**2))
    moments = torch.stack([plane, plane.square()], 1)
    moments = F.pad(moments, [_WINDOW_SIZE // 2] * 4, mode="replicate")
    for dim in (-2, -1):
        length = moments.shape[dim] - _WINDOW_SIZE + 1
        total = torch.zeros_like(moments.narrow(dim, 0, length))
        for index, weight in enumerate((weights / weights.sum()).tolist()):
            total.add_(moments.narrow(dim, index, length), alpha=weight)
        moments = total
    mean, mean_square = moments.unbind(1)
    deviation = (mean_square - mean.square()).abs().sqrt()
    levels = (plane - mean) / (deviation + 1)
    return levels.masked_fill_(levels.abs() < _FLAT, 0)


def half_size(plane: Tensor) -> Tensor:
    """Half as large by a bicubic without aliasing, as MATLAB's ``imresize``: a cubic with a of −0.5
    over 8 pixels, and borders that are mirrored with their last pixel.

    Args:
        plane: ``(B, H, W)`` float.

    Returns:
        ``(B, ceil(H/2), ceil(W/2))``.

    Example:
        >>> half_size(torch.ones(1, 5, 6)).shape
        torch.Size([1, 3, 3])
    """
    # The centre of two pixels lies between them: offsets −3.5 … 3.5, halved for the cubic.
    offset = (torch.arange(8, dtype=torch.float64) - 3.5).abs() / 2
    near = 1.5 * offset**3 - 2.5 * offset**2 + 1
    far = -0.5 * offset**3 + 2.5 * offset**2 - 4 * offset + 2
    weights = torch.where(offset <= 1, near, far) / 2
    for dim in (-2, -1):
        length = plane.shape[dim]
        halved = -(-length // 2)
        first = 2 * torch.arange(halved) - 3
        total = torch.zeros_like(plane.narrow(dim, 0, 1).repeat_interleave(halved, dim))
        for index, weight in enumerate((weights / weights.sum()).tolist()):
            position = (first + index) % (2 * length)
            position = torch.minimum(position, 2 * length - 1 - position).to(plane.device)
            total.add_(plane.index_select(dim, position), alpha=weight)
        plane = total
    return plane


def patch_starts(length: int, patch_size: int, stride: int) -> list[int]:
    """Even positions ``stride`` apart; the last one is as near the end as an even one can be."""
    last = (length - patch_size) // 2 * 2
    return [*range(0, last, stride), last]


def patch_features(
    plane: Tensor, rows: Sequence[int], columns: Sequence[int], patch_size: int = PATCH_SIZE
) -> Tensor:
    """The 36 features of each patch, 18 at each of two scales (section II-C).

    At a scale: shape and mean scale of the normalised levels' asymmetric generalised Gaussian, then
    shape, mean, left and right scale of those of the products with each of four neighbours. A
    patch's neighbours are its own, from its other side at its border, as in the released code.

    Args:
        plane: luma ``(H, W)``, float64, 0 to 255.
        rows: first row of each row of patches, even.
        columns: first column of each column of patches, even.
        patch_size: pixels a side, even.

    Returns:
        ``(len(rows), len(columns), 36)``, NaN for a patch without structure.

    Example:
        >>> plane = luma(torch.randint(0, 256, (1, 3, 96, 192), dtype=torch.uint8))[0]
        >>> patch_features(plane, [0], [0, 96]).shape
        torch.Size([1, 2, 36])
    """
    levels, smaller = normalised(plane[None]), normalised(half_size(plane[None]))
    scales = [
        _scale_features(levels[0], rows, columns, patch_size),
        _scale_features(
            smaller[0], [y // 2 for y in rows], [x // 2 for x in columns], patch_size // 2
        ),
    ]
    return torch.cat(scales, 1).view(len(rows), len(columns), FEATURES)


def _scale_features(
    levels: Tensor, rows: Sequence[int], columns: Sequence[int], size: int
) -> Tensor:
    corners = [(y, x) for y in rows for x in columns]
    features = []
    for start in range(0, len(corners), _PATCHES_AT_ONCE):
        group = corners[start : start + _PATCHES_AT_ONCE]
        patches = torch.stack([levels[y : y + size, x : x + size] for y, x in group])
        shape, left, right, _ = _fit_gaussian(patches)
        columns_of_scale = [shape, (left + right) / 2]
        for shift in _SHIFTS:
            fit = _fit_gaussian(patches * patches.roll(shift, (1, 2)))
            columns_of_scale += [fit[0], fit[3], fit[1], fit[2]]
        features.append(torch.stack(columns_of_scale, 1))
    return torch.cat(features)


def _fit_gaussian(patches: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Asymmetric generalised Gaussian of each patch ``(N, h, w)`` by its moments (equation 7).

    Returns:
        shape α, left scale β_l, right scale β_r, and mean (equation 8); ``(N,)`` each.
    """
    values = patches.flatten(1)
    squares = values.square()
    negative, positive = values < 0, values > 0
    left = ((squares * negative).sum(1) / negative.sum(1)).sqrt()
    right = ((squares * positive).sum(1) / positive.sum(1)).sqrt()
    ratio = left / right
    moment = values.abs().mean(1).square() / squares.mean(1)
    moment = moment * (ratio**3 + 1) * (ratio + 1) / (ratio**2 + 1) ** 2
    shapes, moments = (table.to(values.device) for table in _shape_table())
    above = torch.searchsorted(moments, moment).clamp(1, len(moments) - 1)
    nearer_below = moment - moments[above - 1] <= moments[above] - moment
    shape = shapes[above - nearer_below.long()].where(moment.isfinite(), torch.nan)
    log_gamma = [torch.lgamma(order / shape) for order in (1.0, 2.0, 3.0)]
    scale = ((log_gamma[0] - log_gamma[2]) / 2).exp()
    left, right = left * scale, right * scale
    mean = (right - left) * (log_gamma[1] - log_gamma[0]).exp()
    return shape, left, right, mean


@lru_cache(maxsize=1)
def _shape_table() -> tuple[Tensor, Tensor]:
    """Shapes 0.2, 0.201, … 10 and Γ(2/α)² / (Γ(1/α) Γ(3/α)) of each, which grows with α."""
    shapes = torch.arange(200, 10001, dtype=torch.float64) / 1000
    one, two, three = (torch.lgamma(order / shapes) for order in (1.0, 2.0, 3.0))
    return shapes, (2 * two - one - three).exp()


@dataclass(frozen=True)
class PristineModel:
    """Multivariate Gaussian of the features of clean patches.

    Attributes:
        mean: ``(36,)`` float64.
        covariance: ``(36, 36)`` float64.
    """

    mean: NDArray[np.float64]
    covariance: NDArray[np.float64]

    def distances(self, features: Tensor) -> Tensor:
        """Mahalanobis distance of each patch ``(…, 36)``, ``(…)``; 0 for a patch without structure.

        Equation 10 for a single patch: it has no covariance of its own, so the model's stands.
        """
        inverse = torch.from_numpy(np.linalg.pinv(self.covariance)).to(features.device)
        offset = features - torch.from_numpy(self.mean).to(features.device)
        squares = torch.einsum("...i,ij,...j->...", offset, inverse, offset)
        return squares.clamp_min(0).sqrt().nan_to_num(0)


def read_model(path: str | Path) -> PristineModel:
    """Read a pristine model: BasicSR's ``niqe_pris_params.npz``, or the ``.mat`` of the original
    release.

    Raises:
        InputError: no such file, or another kind of file.

    Example:
        >>> model = read_model(PUBLISHED_MODEL)
        >>> model.mean.shape, model.covariance.shape
        ((36,), (36, 36))
    """
    path = Path(path)
    if not path.is_file():
        raise InputError(f"{path}: no such file; leave detector.model out for the published one")
    try:
        arrays = _arrays(path)
    except (OSError, ValueError, BadZipFile) as error:
        raise InputError(
            f"{path}: not a NIQE model ({error}); give an .npz or .mat of one"
        ) from error
    found = [
        next((arrays[name] for name in names if name in arrays), None)
        for names in (("mu_pris_param", "mu_prisparam"), ("cov_pris_param", "cov_prisparam"))
    ]
    if any(array is None for array in found):
        raise InputError(f"{path}: it has no mu_pris_param and cov_pris_param; give a NIQE model")
    mean, covariance = (np.asarray(array, np.float64) for array in found)
    if mean.size != FEATURES or covariance.shape != (FEATURES, FEATURES):
        raise InputError(f"{path}: a model of {mean.size} features; NIQE has {FEATURES}")
    if not (np.isfinite(mean).all() and np.isfinite(covariance).all()):
        raise InputError(f"{path}: the model has values that are no numbers; give another one")
    return PristineModel(mean.reshape(-1), covariance)


def _arrays(path: Path) -> dict[str, Any]:
    if path.suffix.lower() == ".mat":
        from scipy.io import loadmat

        return loadmat(path)
    with np.load(path, allow_pickle=False) as archive:
        return {name: archive[name] for name in archive.files}


def check_size(height: int, width: int, patch_size: int) -> None:
    """Check that an image has a patch.

    Raises:
        InputError: it is smaller, or the patch size is odd or tiny.
    """
    if patch_size < 16 or patch_size % 2:
        raise InputError(f"patch_size={patch_size}; give an even number of at least 16")
    if min(height, width) < patch_size:
        raise InputError(
            f"the image is {width}x{height}, smaller than NIQE's patches of "
            f"{patch_size}x{patch_size}; leave it out or choose a smaller patch_size"
        )
