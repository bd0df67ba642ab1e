"""JPEG compression as BasicSR trains with it: of real-valued quality, in floating point.

What differs from libjpeg (`datamodules.degradations.jpeg`): sides are filled up with black, colours
are neither rounded to 8 bits before nor after, chroma is doubled by repeating it, the tables are
transposed and scale continuously. (DiffJPEG with its rounding left hard, as HGGT and Real-ESRGAN
use it.)
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from numpy.typing import NDArray

from datamodules.degradations.jpeg import base_tables, cosines

_TO_YCC = ((0.299, 0.587, 0.114), (-0.168736, -0.331264, 0.5), (0.5, -0.418688, -0.081312))
_TO_RGB = ((1.0, 0.0, 1.402), (1.0, -0.344136, -0.714136), (1.0, 1.772, 0.0))


def compress_diffjpeg(images: torch.Tensor, quality: NDArray) -> torch.Tensor:
    """What DiffJPEG leaves of images, on any device.

    Args:
        images: ``(B, 3, H, W)`` float32 in [0, 1].
        quality: 1 to 100, ``(B,)``; not rounded.

    Returns:
        ``(B, 3, H, W)`` float32 in [0, 1], not rounded.
    """
    height, width = images.shape[-2:]
    padded = F.pad(images * 255, (0, -width % 16, 0, -height % 16))
    ycc = torch.einsum("dc,bchw->bdhw", padded.new_tensor(_TO_YCC), padded)
    luma, chroma = ycc[:, :1] - 128, F.avg_pool2d(ycc[:, 1:], 2)
    factor = torch.from_numpy(quality).to(images)
    factor = torch.where(factor < 50, 50 / factor, 2 - factor / 50).view(-1, 1, 1, 1, 1, 1)
    luma_table, chroma_table = (table.T.to(images) * factor for table in base_tables())
    luma, chroma = _quantised(luma, luma_table), _quantised(chroma, chroma_table)
    chroma = chroma.repeat_interleave(2, 2).repeat_interleave(2, 3)
    ycc = torch.cat([luma + 128, chroma], 1)[..., :height, :width]
    rgb = torch.einsum("dc,bchw->bdhw", ycc.new_tensor(_TO_RGB), ycc)
    return rgb.clamp_(0, 255).div_(255)


def _quantised(planes: torch.Tensor, table: torch.Tensor) -> torch.Tensor:
    """Planes around 0 whose 8 × 8 cosine coefficients are rounded to multiples of the table."""
    basis = cosines(planes.device) / 8**0.5
    blocks = planes.unflatten(3, (-1, 8)).unflatten(2, (-1, 8)).transpose(3, 4)
    coefficients = basis @ blocks @ basis.T
    coefficients = coefficients.div_(table).round_().mul_(table)
    return (basis.T @ coefficients @ basis).transpose(3, 4).flatten(4, 5).flatten(2, 3)
