"""Images as users have them, one or a batch, NumPy or PyTorch, either order of axes."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from desra.errors import InputError

Image = Tensor | NDArray[Any]
"""An array stands for whatever NumPy takes for one without a copy, such as an image of Pillow."""


def as_array(image: Any) -> Any:
    """A tensor as it is, and what has pixels as an array.

    Raises:
        InputError: neither: a path, a list, None.

    Example:
        >>> from PIL import Image
        >>> as_array(Image.new("RGB", (5, 4))).shape
        (4, 5, 3)
    """
    if isinstance(image, Tensor):
        return image
    if not hasattr(image, "__array_interface__"):
        raise InputError(
            f"a {type(image).__name__} is no image; give an array, a tensor or an image of Pillow"
        )
    return np.asarray(image)


def as_batch(image: Image) -> Tensor:
    """One image or a batch as ``(B, 3, H, W)``, of the same numbers.

    Args:
        image: ``(3, H, W)`` or ``(H, W, 3)``, or a batch of these; a tensor or an array. Where both
            ends are 3, a tensor has its channels first and an array last.

    Raises:
        InputError: not three channels, or another number of axes.

    Example:
        >>> as_batch(np.zeros((4, 5, 3), np.uint8)).shape
        torch.Size([1, 3, 4, 5])
    """
    pixels = as_array(image)
    array = isinstance(pixels, np.ndarray)
    tensor: Tensor = torch.tensor(np.ascontiguousarray(pixels)) if array else pixels
    if tensor.ndim not in (3, 4):
        shape = tuple(tensor.shape)
        raise InputError(f"an image of shape {shape}; give (3, H, W), (H, W, 3) or a batch of them")
    first, last = tensor.shape[-3] == 3, tensor.shape[-1] == 3
    if not first and not last:
        raise InputError(f"an image of shape {tuple(tensor.shape)}; give one of three channels")
    if last and (array or not first):
        tensor = tensor.movedim(-1, -3)
    return tensor if tensor.ndim == 4 else tensor[None]


def detect(mse_sr: Image, gan_sr: Image, labels: Image | None = None, **settings: Any) -> Any:
    """The artifacts of ``gan_sr``, by DeSRA.

    Args:
        mse_sr: the upscaling of a network trained with a pixel loss; uint8, or floats in [0, 1].
        gan_sr: that of a network trained with an adversarial loss, of the same shape.
        labels: semantic classes of ``gan_sr``, uint8 ``(H, W)``, or None.
        settings: of `desra.detectors.ArtifactDetector`: ``threshold``, ``min_area``, ….

    Returns:
        the mask, bool: ``(H, W)`` for one image, ``(B, H, W)`` for a batch; an array where arrays
        were given.

    Raises:
        InputError: the pair cannot be compared, or a setting out of its range.

    Example:
        >>> smooth = np.full((64, 64, 3), 128, np.uint8)
        >>> noisy = np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8)
        >>> detect(smooth, noisy, min_area=500).mean()
        np.float64(0.711...)
    """
    from desra.detectors import ArtifactDetector

    gan_sr = as_array(gan_sr)
    planes = None if labels is None else torch.as_tensor(as_array(labels))
    planes = None if planes is None else planes[(None,) * (4 - planes.ndim)]
    mask = ArtifactDetector(**settings)(mse_sr, gan_sr, planes).mask[:, 0]
    mask = mask if gan_sr.ndim == 4 else mask[0]
    return mask.cpu().numpy() if isinstance(gan_sr, np.ndarray) else mask
