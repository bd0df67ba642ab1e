"""Reading and writing images, strictly: what cannot be decoded whole is an error, never grey."""

from __future__ import annotations

import io
import os
from dataclasses import dataclass, field
from pathlib import Path

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image as PILImage
from PIL import UnidentifiedImageError

from desra.errors import InputError
from desra.files import atomic_path

MAX_PIXELS = int(os.environ.get("DESRA_MAX_PIXELS", 2**28))
"""Largest image read by default, in pixels (16384 × 16384); a guard against decompression bombs."""

# The guard is `max_pixels`, with an error of ours; Pillow's own only warns below twice its limit.
PILImage.MAX_IMAGE_PIXELS = None


@dataclass(frozen=True)
class Picture:
    """A decoded image with what must survive a change of its size.

    Attributes:
        pixels: ``(H, W, C)`` uint8 or uint16; C is 1 (grey), 2 (grey, alpha), 3 (RGB), 4 (RGBA).
        icc: ICC profile, or None.
        exif: EXIF block with its orientation as in the file (pixels are not rotated), or None.
    """

    pixels: NDArray[np.uint8] | NDArray[np.uint16]
    icc: bytes | None = field(default=None, repr=False)
    exif: bytes | None = field(default=None, repr=False)


def read_image(path: str | Path, max_pixels: int = MAX_PIXELS) -> Picture:
    """Decode an image file with its bit depth, alpha, ICC profile and EXIF block.

    Args:
        path: PNG, JPEG, WebP, TIFF or BMP; grey, palette, RGB, RGBA or CMYK; 8 or 16 bit.
        max_pixels: more pixels than this are refused before anything is decoded.

    Raises:
        InputError: missing, empty, truncated, too large, or not an image.
    """
    path = Path(path)
    try:
        data = path.read_bytes()
    except OSError as error:
        raise InputError(f"{path}: {error.strerror or error}") from error
    if not data:
        raise InputError(f"{path}: the file is empty; write it again")
    try:
        with PILImage.open(io.BytesIO(data)) as image:
            width, height = image.size
            if width * height > max_pixels:
                raise InputError(
                    f"{path}: {width}x{height} is more than {max_pixels} pixels; if it is meant "
                    "to be that large, set the environment variable DESRA_MAX_PIXELS"
                )
            image.load()
            return Picture(
                _pixels(image, data), image.info.get("icc_profile"), image.info.get("exif")
            )
    except InputError:
        raise
    except UnidentifiedImageError as error:
        raise InputError(f"{path}: not an image this program can read; is it damaged?") from error
    except (OSError, SyntaxError, ValueError, EOFError, cv2.error) as error:
        raise InputError(f"{path}: damaged image ({error}); write or fetch it again") from error


def _pixels(image: PILImage.Image, data: bytes) -> NDArray[np.uint8] | NDArray[np.uint16]:
    if _is_16_bit(image, data):
        # Pillow reduces 16-bit colour to 8 bits, so OpenCV decodes what Pillow found to be whole.
        deep = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)
        if deep is None or deep.dtype != np.uint16:
            raise ValueError("16-bit data that OpenCV does not decode")
        return _rgb_order(deep)
    if image.mode in ("I", "F"):
        raise ValueError("32 bits a channel; only 8 and 16 are read")
    if image.has_transparency_data:
        return np.asarray(image.convert("LA" if image.mode in ("L", "LA", "La") else "RGBA"))
    if image.mode in ("1", "L"):
        return np.asarray(image.convert("L"))[..., None]
    return np.asarray(image.convert("RGB"))


def _is_16_bit(image: PILImage.Image, data: bytes) -> bool:
    if image.format == "PNG":
        return data[24] == 16  # IHDR, always the first chunk: bit depth
    if image.format == "TIFF":
        bits = image.tag_v2.get(258, (8,))  # type: ignore[attr-defined]  # BitsPerSample
        return bits[0] == 16
    return False


def _rgb_order(pixels: NDArray) -> NDArray:
    if pixels.ndim == 2:
        return pixels[..., None]
    order = {3: cv2.COLOR_BGR2RGB, 4: cv2.COLOR_BGRA2RGBA}.get(pixels.shape[2])
    return pixels if order is None else cv2.cvtColor(pixels, order)


def read_rgb(path: str | Path, max_pixels: int = MAX_PIXELS) -> NDArray[np.uint8]:
    """Decode to ``(H, W, 3)`` uint8 RGB: grey is repeated, alpha dropped, 16 bits rounded to 8.

    Raises:
        InputError: as `read_image`.
    """
    return rgb8(read_image(path, max_pixels).pixels)


def rgb8(pixels: NDArray) -> NDArray[np.uint8]:
    """``(H, W, 1..4)`` uint8 or uint16 pixels to ``(H, W, 3)`` uint8 RGB, without alpha."""
    colour = pixels[..., :1] if pixels.shape[2] < 3 else pixels[..., :3]
    if colour.dtype == np.uint16:
        colour = ((colour.astype(np.uint32) + 128) // 257).astype(
            np.uint8
        )  # round(x · 255 / 65535)
    return np.ascontiguousarray(np.broadcast_to(colour, (*colour.shape[:2], 3)))


def read_mask(path: str | Path, max_pixels: int = MAX_PIXELS) -> NDArray[np.bool_]:
    """Decode a mask to ``(H, W)`` bool: true where the first channel is above half of its range.

    Raises:
        InputError: as `read_image`.
    """
    plane = read_image(path, max_pixels).pixels[..., 0]
    return plane > np.iinfo(plane.dtype).max // 2


def write_png(path: str | Path, pixels: NDArray, compression: int = 1) -> None:
    """Write a PNG, whole or not at all.

    Args:
        path: where; folders are made as needed.
        pixels: ``(H, W)``, ``(H, W, 3)`` or ``(H, W, 4)``, uint8 or uint16, RGB order; a bool
            mask is written as 0/255.
        compression: zlib level, 0 (none) to 9.
    """
    if pixels.dtype == bool:
        pixels = pixels.view(np.uint8) * np.uint8(255)
    if pixels.ndim == 3:
        order = {3: cv2.COLOR_RGB2BGR, 4: cv2.COLOR_RGBA2BGRA}.get(pixels.shape[2])
        pixels = pixels[..., 0] if order is None else cv2.cvtColor(pixels, order)
    with atomic_path(Path(path).with_suffix(".png")) as temporary:
        if not cv2.imwrite(str(temporary), pixels, [cv2.IMWRITE_PNG_COMPRESSION, compression]):
            raise OSError(f"{path}: OpenCV could not write the image")


def to_tensor(pixels: NDArray) -> torch.Tensor:
    """``(H, W, C)`` uint8 or uint16 pixels to a ``(1, C, H, W)`` float32 tensor in [0, 1]."""
    scale = float(np.iinfo(pixels.dtype).max)
    planes = np.ascontiguousarray(pixels.transpose(2, 0, 1), dtype=np.float32)
    return torch.from_numpy(planes).div_(scale).unsqueeze(0)


def quantize(images: torch.Tensor) -> torch.Tensor:
    """Clamp a float image in [0, 1] and round it to uint8 levels; uint8 passes unchanged.

    Detection sees 8-bit images only, so that a mask made in memory equals one made from files.

    Raises:
        InputError: NaN or infinity in the image.
    """
    if images.dtype == torch.uint8:
        return images
    if not torch.isfinite(images).all():
        raise InputError("image with NaN or infinite values; upscale it again in float32")
    return images.float().clamp(0, 1).mul(255).round().to(torch.uint8)


def to_uint8(image: torch.Tensor) -> NDArray[np.uint8]:
    """One image, ``(3, H, W)`` or ``(1, 3, H, W)``, float in [0, 1] or uint8, to uint8 HWC."""
    planes = quantize(image).reshape(image.shape[-3:])
    return planes.permute(1, 2, 0).contiguous().cpu().numpy()
