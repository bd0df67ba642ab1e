"""JPEG compression, as libjpeg does it with its default settings: baseline, 4:2:0 chroma."""

from __future__ import annotations

from functools import lru_cache
from math import pi

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray

# ITU-T T.81, tables K.1 and K.2.
_LUMA_TABLE = """
    16 11 10 16  24  40  51  61
    12 12 14 19  26  58  60  55
    14 13 16 24  40  57  69  56
    14 17 22 29  51  87  80  62
    18 22 37 56  68 109 103  77
    24 35 55 64  81 104 113  92
    49 64 78 87 103 121 120 101
    72 92 95 98 112 100 103  99"""
_CHROMA_TABLE = """
    17 18 24 47 99 99 99 99
    18 21 26 66 99 99 99 99
    24 26 56 99 99 99 99 99
    47 66 99 99 99 99 99 99
    99 99 99 99 99 99 99 99
    99 99 99 99 99 99 99 99
    99 99 99 99 99 99 99 99
    99 99 99 99 99 99 99 99"""

# RGB to YCbCr (JFIF 1.02) and back, rounded as in libjpeg.
_TO_YCC = ((0.299, 0.587, 0.114), (-0.16874, -0.33126, 0.5), (0.5, -0.41869, -0.08131))
_TO_RGB = ((1.0, 0.0, 1.402), (1.0, -0.34414, -0.71414), (1.0, 1.772, 0.0))


def compress_jpeg(images: torch.Tensor, quality: NDArray) -> torch.Tensor:
    """What is left of images after JPEG compression.

    On the CPU OpenCV encodes and decodes them (libjpeg-turbo, several times as fast as tensors).
    On a GPU `jpeg_on_device` does the same; where it rounds a coefficient the other way, its block
    differs by a few of 255 levels (2% of pixels by more than one).

    Args:
        images: ``(B, 3, H, W)`` float32; what lies outside [0, 1] is clamped.
        quality: libjpeg's, 1 to 100, rounded to whole numbers, ``(B,)``.

    Returns:
        ``(B, 3, H, W)`` float32, multiples of 1 / 255.
    """
    if images.device.type != "cpu":
        return jpeg_on_device(images, quality)
    levels = images.mul(255).round_().clamp_(0, 255).to(torch.uint8)
    pictures = levels.permute(0, 2, 3, 1).contiguous()
    for picture, level in zip(pictures.numpy(), _whole(quality).tolist(), strict=True):
        picture_bgr = cv2.cvtColor(picture, cv2.COLOR_RGB2BGR)
        _, data = cv2.imencode(".jpg", picture_bgr, [cv2.IMWRITE_JPEG_QUALITY, level])
        decoded = cv2.imdecode(data, cv2.IMREAD_COLOR)
        assert decoded is not None  # it was encoded a line ago
        picture[:] = cv2.cvtColor(decoded, cv2.COLOR_BGR2RGB)
    levels = pictures.permute(0, 3, 1, 2).contiguous()
    return levels.to(torch.float32).div_(255)


def jpeg_on_device(images: torch.Tensor, quality: NDArray) -> torch.Tensor:
    """`compress_jpeg` in tensor operations, for a whole batch on any device.

    Each step is libjpeg's: 8-bit input, rounded YCbCr, edges repeated to whole blocks of 16 × 16,
    2 × 2 means of chroma rounded up and down in turn, the accurate integer transform ("islow"),
    integer tables, and on the way back triangle-filtered chroma.
    """
    height, width = images.shape[-2:]
    ycc = _colours(images.mul(255).round_().clamp_(0, 255), _TO_YCC)
    luma, chroma = _round(ycc[:, :1]), ycc[:, 1:].add_(127.5).ceil_()
    luma = F.pad(luma, (0, -width % 16, 0, -height % 16), mode="replicate")
    chroma = F.pad(chroma, (0, -width % 16, 0, height % 2), mode="replicate")
    chroma = F.avg_pool2d(chroma, 2, divisor_override=1)
    chroma = chroma.add_(_in_turn(chroma, 1, 2)).div_(4).floor_()
    chroma = F.pad(chroma, (0, 0, 0, -chroma.shape[-2] % 8), mode="replicate")
    luma_table, chroma_table = _tables(quality, images.device)
    luma, chroma = _quantised(luma, luma_table), _quantised(chroma, chroma_table)
    chroma = chroma[..., : -(-height // 2), : -(-width // 2)]  # without the padding
    chroma = F.interpolate(chroma, scale_factor=2, mode="bilinear").mul_(16)
    chroma = chroma.add_(_in_turn(chroma, 8, 7)).div_(16).floor_().sub_(128)
    planes = torch.cat([luma[..., :height, :width], chroma[..., :height, :width]], 1)
    return _round(_colours(planes, _TO_RGB)).clamp_(0, 255).div_(255)


def _colours(images: torch.Tensor, matrix: tuple[tuple[float, ...], ...]) -> torch.Tensor:
    weights = torch.tensor(matrix, device=images.device)
    return torch.einsum("dc,bchw->bdhw", weights, images)


def _round(values: torch.Tensor) -> torch.Tensor:
    """Halves upwards, as shifting integers does; in place."""
    return values.add_(0.5).floor_()


def _in_turn(planes: torch.Tensor, even: float, odd: float) -> torch.Tensor:
    """One number for the even columns and one for the odd."""
    return torch.arange(planes.shape[-1], device=planes.device).remainder_(2) * (odd - even) + even


def _quantised(planes: torch.Tensor, table: torch.Tensor) -> torch.Tensor:
    """8-bit planes whose 8 × 8 cosine coefficients are rounded to multiples of the table.

    The transform's matrix is √8 times the orthonormal one, and what passes from rows to columns is
    rounded to quarters, so coefficients come in eighths.
    """
    basis = cosines(planes.device)
    blocks = planes.unflatten(3, (-1, 8)).unflatten(2, (-1, 8)).transpose(3, 4) - 128
    rows = _round((blocks @ basis.T).mul_(4))
    eighths = _round((rows.mT @ basis.T).mT.div_(4))
    steps = table.view(-1, 1, 1, 1, 8, 8)
    size = eighths.abs().div_(8 * steps).add_(0.5).floor_()  # halves away from zero
    coefficients = size.mul_(steps).copysign_(eighths)
    columns = _round((coefficients.mT @ basis).mT.mul_(4))
    levels = _round((columns @ basis).div_(32)).add_(128).clamp_(0, 255)
    return levels.transpose(3, 4).flatten(4, 5).flatten(2, 3)


def _tables(quality: NDArray, device: torch.device) -> tuple[torch.Tensor, torch.Tensor]:
    """Luma and chroma tables of each sample, ``(B, 8, 8)``: libjpeg's jpeg_quality_scaling."""
    level = _whole(quality)
    percent = np.where(level < 50, 5000 // np.maximum(level, 1), 200 - 2 * level)[:, None, None]
    luma, chroma = (
        np.clip((table.numpy() * percent + 50) // 100, 1, 255).astype(np.float32)
        for table in base_tables()
    )
    return torch.from_numpy(luma).to(device), torch.from_numpy(chroma).to(device)


def base_tables() -> tuple[torch.Tensor, torch.Tensor]:
    """The standard's tables of luma and chroma, ``(8, 8)`` int64, a row a vertical frequency."""
    luma, chroma = (
        torch.tensor([int(step) for step in table.split()]).view(8, 8)
        for table in (_LUMA_TABLE, _CHROMA_TABLE)
    )
    return luma, chroma


@lru_cache(maxsize=8)
def cosines(device: torch.device) -> torch.Tensor:
    """√8 times the orthonormal 8-point DCT-II, ``(8, 8)``, a row a frequency."""
    frequency, place = torch.meshgrid(torch.arange(8.0), torch.arange(8.0), indexing="ij")
    basis = 2**0.5 * torch.cos((2 * place + 1) * frequency * pi / 16)
    basis[0] = 1
    return basis.to(device)


def _whole(quality: NDArray) -> NDArray[np.int64]:
    return np.rint(quality).astype(np.int64)
