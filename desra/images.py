"""Reader of images: what cannot be decoded whole is an error, never grey."""

from __future__ import annotations

import io
import math
import os
import stat
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import simplejpeg
import torch
from numpy.typing import NDArray
from PIL import ExifTags, UnidentifiedImageError
from PIL import Image as PILImage

from desra.errors import InputError
from desra.files import atomic_path, nature
from desra.tiff import is_tiff, read_deep_tiff, tiff_size

MAX_PIXELS = int(os.environ.get("DESRA_MAX_PIXELS", 2**28))
"""Largest image read by default, in pixels (16384 × 16384); a guard against decompression bombs."""

LONGEST_SIDE = 2**18
"""Longest side of an image, in pixels: decoders keep a pointer for each row."""

FORMATS = ("PNG", "JPEG", "WEBP", "TIFF", "BMP", "DIB", "GIF", "AVIF", "JPEG2000", "PPM")
"""What Pillow is let decode. Its other decoders are many, and one starts another program."""

_FAR_OUTSIDE = 1.0  # of [0, 1]; networks overshoot by less
_BELOW = -0.25, 0.05  # and of few pixels by that much; of an image in [-1, 1] many are lower

_ALWAYS_READ = 2**24  # pixels: so large may a picture of one colour be in any number of bytes

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

    What the file is, its content says and not its suffix. Of several pictures in one file the first
    is read.

    Args:
        path: PNG, JPEG, WebP, TIFF, BMP, GIF, AVIF, JPEG 2000 or PPM; grey, palette, RGB, RGBA or
            CMYK; 8 or 16 bit.
        max_pixels: more pixels than this are refused before anything is decoded.

    Raises:
        InputError: missing, empty, truncated, too large, not an image, or of a kind that is not
            read (floating point, 32 bits, signed numbers).
    """
    path = Path(path)
    data = _bytes(path, max_pixels)
    try:
        if is_tiff(data):
            check = partial(_check_size, path, len(data), max_pixels=max_pixels)
            deep = read_deep_tiff(path, data, check)
            if deep is not None:
                return Picture(deep.pixels, deep.icc, deep.exif)
        with PILImage.open(io.BytesIO(data), formats=FORMATS) as image:
            _check_declared(path, image, data, max_pixels)
            image.load()
            if image.format in ("JPEG", "MPO"):
                _check_scans(data, image.mode)
            return Picture(
                _pixels(path, image, data), image.info.get("icc_profile"), image.info.get("exif")
            )
    except InputError:
        raise
    except UnidentifiedImageError as error:
        raise InputError(
            f"{path}: not an image this program can read ({nature(data[:64])})"
        ) from error
    except MemoryError as error:
        raise InputError(f"{path}: not enough memory to decode it") from error
    except Exception as error:  # decoders raise whatever a damaged file leads them to
        reason = str(error) or type(error).__name__
        raise InputError(
            f"{path}: damaged image ({reason[:200]}); write or fetch it again"
        ) from error


def image_size(path: str | Path) -> tuple[int, int]:
    """Height and width of an image, from its header alone.

    Raises:
        InputError: missing, or not an image.

    Example:
        >>> write_png("wide.png", np.zeros((2, 3), np.uint8))
        >>> image_size("wide.png")
        (2, 3)
    """
    path = Path(path)
    _require_regular(path)
    try:
        with PILImage.open(path, formats=FORMATS) as image:
            return image.height, image.width
    except Exception as error:
        reason = error
    try:
        with open(path, "rb") as file:
            if is_tiff(file.read(8)):
                return tiff_size(path)
    except Exception as error:
        reason = error
    if isinstance(reason, OSError) and reason.strerror:
        raise InputError(f"{path}: {reason.strerror}") from reason
    raise InputError(f"{path}: not an image this program can read; is it damaged?") from reason


def orientation(path: str | Path) -> int:
    """How a picture's EXIF block says that it is to be turned, 1 to 8; 1 where it says nothing."""
    try:
        with PILImage.open(path, formats=FORMATS) as image:
            value: Any = image.getexif().get(ExifTags.Base.Orientation)
    except Exception:  # whoever reads the picture says what is wrong with it
        return 1
    return value if value in range(2, 9) else 1


def _require_regular(path: Path) -> int:
    """Size of a file in bytes.

    Raises:
        InputError: missing, or a pipe, a device or a folder.
    """
    try:
        status = path.stat()
    except (OSError, ValueError) as error:  # ValueError: a name with a null byte
        raise InputError(f"{path}: {getattr(error, 'strerror', None) or error}") from error
    if not stat.S_ISREG(status.st_mode):
        raise InputError(f"{path}: not a regular file; give an image")
    return status.st_size


def _bytes(path: Path, max_pixels: int) -> bytes:
    size = _require_regular(path)
    if size == 0:
        raise InputError(f"{path}: the file is empty; write it again")
    if size > 16 * max_pixels + 2**20:  # four channels of 32 bits
        raise InputError(
            f"{path}: {size} bytes are more than an image of {max_pixels} pixels has; if it is "
            "meant to be that large, set the environment variable DESRA_MAX_PIXELS"
        )
    try:
        return path.read_bytes()
    except OSError as error:
        raise InputError(f"{path}: {error.strerror or error}") from error


def _check_declared(path: Path, image: PILImage.Image, data: bytes, max_pixels: int) -> None:
    """Refuse by the header what is too large, or cannot be in so few bytes."""
    if image.format in ("JPEG", "MPO"):
        # A block of 64 pixels takes at least a bit in the first scan of its component.
        most = 1024 * len(data)
        scans = data.count(b"\xff\xda")
        if scans > 100 and scans * image.width * image.height > 2**31:
            raise InputError(
                f"{path}: a JPEG of {scans} scans; no camera or program writes so many"
            )
    elif image.format == "PNG":
        channels = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}.get(data[25], 1)
        most = 8 * 1032 * len(data) // (data[24] * channels)  # 1032: the most that deflate shrinks
    else:
        most = None
    _check_size(path, len(data), image.height, image.width, most, max_pixels=max_pixels)


def _check_size(
    path: Path, size: int, height: int, width: int, most: int | None = None, *, max_pixels: int
) -> None:
    """Decide by its declared size whether a picture may be decoded.

    Args:
        path: for messages.
        size: of the file, in bytes.
        height: declared.
        width: declared.
        most: pixels that so many bytes can hold in this format; None for a guess.
        max_pixels: of any picture.
    """
    if not width or not height:
        raise InputError(
            f"{path}: damaged image ({width}x{height} pixels); write or fetch it again"
        )
    if width * height > max_pixels:
        raise InputError(
            f"{path}: {width}x{height} is more than {max_pixels} pixels; if it is meant "
            "to be that large, set the environment variable DESRA_MAX_PIXELS"
        )
    if max(width, height) > LONGEST_SIDE:
        raise InputError(f"{path}: {width}x{height} is longer than {LONGEST_SIDE} pixels")
    if width * height > (max(_ALWAYS_READ, 4096 * size) if most is None else most):
        raise InputError(
            f"{path}: damaged image ({width}x{height} pixels cannot be in {size} bytes); write or "
            "fetch it again"
        )


def _check_scans(data: bytes, mode: str) -> None:
    """Raise ValueError for a JPEG whose data ends early; Pillow fills up the rest with grey.

    Decoding to an eighth of the size reads all data, and takes a fraction of the time.
    """
    try:
        simplejpeg.decode_jpeg(
            data,
            "CMYK" if mode == "CMYK" else "GRAY",
            fastdct=True,
            fastupsample=True,
            min_height=1,
            min_width=1,
            min_factor=8,
        )
    except ValueError as error:
        if "premature end" in str(error).lower():
            raise


def _pixels(
    path: Path, image: PILImage.Image, data: bytes
) -> NDArray[np.uint8] | NDArray[np.uint16]:
    if image.format == "PNG" and data[24] == 16:  # IHDR, always the first chunk: bit depth
        # Pillow reduces 16-bit colour to 8 bits, so OpenCV decodes what Pillow found to be whole.
        deep = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)
        if deep is None or deep.dtype != np.uint16:
            raise ValueError("16-bit data that OpenCV does not decode")
        return _rgb_order(deep)
    if image.mode in ("F", "I") or image.mode.startswith("I;"):
        raise InputError(
            f"{path}: more than 8 bits a channel in {image.format}, which is not read; save it as "
            "16-bit PNG"
        )
    if image.has_transparency_data:
        return np.asarray(image.convert("LA" if image.mode in ("L", "LA", "La") else "RGBA"))
    if image.mode in ("1", "L"):
        return np.asarray(image.convert("L"))[..., None]
    return np.asarray(image.convert("RGB"))


def _rgb_order(pixels: NDArray) -> NDArray:
    if pixels.ndim == 2:
        return pixels[..., None]
    order = {3: cv2.COLOR_BGR2RGB, 4: cv2.COLOR_BGRA2RGBA}.get(pixels.shape[2])
    return pixels if order is None else cv2.cvtColor(pixels, order)


def read_rgb(path: str | Path, max_pixels: int = MAX_PIXELS) -> NDArray[np.uint8]:
    """Decode to ``(H, W, 3)`` uint8 RGB: grey is repeated, alpha dropped, 16 bits rounded to 8.

    Raises:
        InputError: as `read_image`.

    Example:
        >>> write_png("grey.png", np.full((2, 3), 7, np.uint8))
        >>> read_rgb("grey.png").shape
        (2, 3, 3)
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


def write_png(path: str | Path, pixels: NDArray, compression: int = 1) -> None:
    """Write a PNG, whole or not at all.

    Args:
        path: where; folders are made as needed.
        pixels: ``(H, W)``, ``(H, W, 3)`` or ``(H, W, 4)``, uint8 or uint16, RGB order; a bool
            mask is written as 0/255.
        compression: zlib level, 0 (none) to 9.

    Example:
        >>> write_png("mask.png", np.array([[0, 255]], np.uint8))
        >>> read_image("mask.png").pixels
        array([[[  0],
                [255]]], dtype=uint8)
    """
    if pixels.dtype == bool:
        pixels = pixels.view(np.uint8) * np.uint8(255)
    if pixels.ndim == 3:
        order = {3: cv2.COLOR_RGB2BGR, 4: cv2.COLOR_RGBA2BGRA}.get(pixels.shape[2])
        pixels = pixels[..., 0] if order is None else cv2.cvtColor(pixels, order)
    with atomic_path(Path(path).with_suffix(".png")) as temporary:
        # Encoded here and written by Python, which says why it cannot be written.
        done, data = cv2.imencode(".png", pixels, [cv2.IMWRITE_PNG_COMPRESSION, compression])
        if not done:
            raise OSError(f"{path}: OpenCV could not encode the image")
        temporary.write_bytes(data.data)


def to_tensor(pixels: NDArray) -> torch.Tensor:
    """``(H, W, C)`` uint8 or uint16 pixels to a ``(1, C, H, W)`` float32 tensor in [0, 1].

    Example:
        >>> to_tensor(np.zeros((4, 6, 3), np.uint8)).shape
        torch.Size([1, 3, 4, 6])
    """
    scale = float(np.iinfo(pixels.dtype).max)
    planes = np.ascontiguousarray(pixels.transpose(2, 0, 1), dtype=np.float32)
    return torch.from_numpy(planes).div_(scale).unsqueeze(0)


def to_plane(values: torch.Tensor) -> NDArray[Any]:
    """A map or mask of one image, ``(1, 1, H, W)`` on any device, as an array ``(H, W)``."""
    return values[0, 0].cpu().numpy()


def quantize(images: torch.Tensor) -> torch.Tensor:
    """Clamp a float image in [0, 1] and round it to uint8 levels; uint8 passes unchanged.

    Detection sees 8-bit images only, so that a mask made in memory equals one made from files.

    Raises:
        InputError: another type; NaN or infinity in the image; or values far outside of the range,
            as of an image in [0, 255] or [-1, 1].

    Example:
        >>> quantize(torch.tensor([-0.1, 0.5, 1.2]))
        tensor([  0, 128, 255], dtype=torch.uint8)
    """
    if images.dtype == torch.uint8:
        return images
    check_range(images)
    return images.float().clamp(0, 1).mul(255).round().to(torch.uint8)


def check_range(images: torch.Tensor) -> None:
    """Raise InputError where an image is not of floats in [0, 1], a network's overshoot aside.

    Example:
        >>> check_range(torch.tensor([-0.1, 0.5, 1.2]))
    """
    if not images.is_floating_point():
        kind = str(images.dtype).removeprefix("torch.")
        raise InputError(f"an image of type {kind}; give floats in [0, 1], or uint8")
    if not images.numel():
        return
    least, most = (value.item() for value in torch.aminmax(images.float()))
    if not math.isfinite(least) or not math.isfinite(most):
        raise InputError("image with NaN or infinite values; upscale it again in float32")
    level, share = _BELOW
    far = least < -_FAR_OUTSIDE or most > 1 + _FAR_OUTSIDE
    if far or (least < 2 * level and (images < level).float().mean().item() > share):
        raise InputError(
            f"image with values from {least:g} to {most:g}; give floats in [0, 1], or uint8"
        )


def to_uint8(image: torch.Tensor) -> NDArray[np.uint8]:
    """One image, ``(3, H, W)`` or ``(1, 3, H, W)``, float in [0, 1] or uint8, to uint8 HWC.

    Example:
        >>> to_uint8(torch.ones(3, 4, 6)).shape
        (4, 6, 3)
    """
    planes = quantize(image).reshape(image.shape[-3:])
    return planes.permute(1, 2, 0).contiguous().cpu().numpy()
