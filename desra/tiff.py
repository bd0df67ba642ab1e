"""TIFF with more than 8 bits a channel, which Pillow reduces and OpenCV mistakes."""

from __future__ import annotations

import io
import logging
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import cv2
import numpy as np
import tifffile
from numpy.typing import NDArray
from PIL import Image as PILImage
from PIL import UnidentifiedImageError
from tifffile import COMPRESSION, EXTRASAMPLE, PHOTOMETRIC, SAMPLEFORMAT

from desra.errors import InputError

# What is wrong with a file is said by the error that is raised, once.
logging.getLogger("tifffile").setLevel(logging.CRITICAL)

_MAGIC = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")  # classic and BigTIFF, either byte order
_ICC_PROFILE = 34675
_KINDS = {
    SAMPLEFORMAT.INT: "signed numbers",
    SAMPLEFORMAT.IEEEFP: "floating point",
    SAMPLEFORMAT.COMPLEXINT: "complex numbers",
    SAMPLEFORMAT.COMPLEXIEEEFP: "complex numbers",
}


@dataclass(frozen=True)
class DeepTiff:
    """A decoded TIFF; see `desra.images.Picture` for the attributes."""

    pixels: NDArray[np.uint16]
    icc: bytes | None = field(default=None, repr=False)
    exif: bytes | None = field(default=None, repr=False)


def is_tiff(data: bytes) -> bool:
    """Whether a file that begins so is a TIFF."""
    return data[:4] in _MAGIC


def tiff_size(path: str | Path) -> tuple[int, int]:
    """Height and width of the first picture, from its header alone."""
    with tifffile.TiffFile(path) as file:
        page = file.pages.first
        return page.imagelength, page.imagewidth


def read_deep_tiff(
    path: Path, data: bytes, check_size: Callable[[int, int], None]
) -> DeepTiff | None:
    """Decode a TIFF of 16 unsigned bits a channel.

    Args:
        path: for messages.
        data: the file's content.
        check_size: is given height and width before anything is decoded, and raises InputError.

    Returns:
        None for at most 8 bits, which Pillow reads.

    Raises:
        InputError: a kind of TIFF that is not read.
        Exception: damaged; of whatever kind tifffile raises.
    """
    with tifffile.TiffFile(io.BytesIO(data)) as file:
        page = file.pages.first
        assert isinstance(page, tifffile.TiffPage)
        if page.bitspersample <= 8:
            if page.sampleformat in _KINDS:  # signed: none of Pillow's
                _refuse_others(path, page)
            return None
        check_size(page.imagelength, page.imagewidth)
        _refuse_others(path, page)
        pixels = _decode(path, page, data)
        if page.photometric == PHOTOMETRIC.MINISWHITE:
            pixels[..., 0] = np.iinfo(np.uint16).max - pixels[..., 0]
        if EXTRASAMPLE.ASSOCALPHA in page.extrasamples:
            pixels = _without_alpha_in_colours(pixels)
        icc = page.tags.valueof(_ICC_PROFILE)
    return DeepTiff(pixels, icc if isinstance(icc, bytes) else None, _exif(data))


def _without_alpha_in_colours(pixels: NDArray[np.uint16]) -> NDArray[np.uint16]:
    """Colours as they were before they were multiplied by alpha, as Pillow gives them at 8 bits."""
    colours, alpha = pixels[..., :-1].astype(np.float64), pixels[..., -1:]
    top = np.iinfo(np.uint16).max
    restored = np.round(colours * top / np.maximum(alpha, 1)).clip(0, top)
    return np.concatenate([restored.astype(np.uint16), alpha], -1)


def _refuse_others(path: Path, page: tifffile.TiffPage) -> None:
    kind = _KINDS.get(page.sampleformat)  # type: ignore[call-overload]
    bits = page.bitspersample
    if kind is None and bits != 16:
        kind = f"{bits} bits"
    grey = page.photometric in (PHOTOMETRIC.MINISBLACK, PHOTOMETRIC.MINISWHITE)
    colour = page.photometric == PHOTOMETRIC.RGB
    channels = page.samplesperpixel
    if kind is None and not (grey and channels <= 2) and not (colour and channels in (3, 4)):
        name = getattr(page.photometric, "name", page.photometric)
        kind = f"{channels} channels of {name} with 16 bits"
    if kind is None and page.imagedepth != 1:
        kind = "volumes"
    if kind is not None:
        raise InputError(
            f"{path}: a TIFF of {kind}, which is not read; save it as grey or RGB with 8 or 16 "
            "bits a channel"
        )


def _decode(path: Path, page: tifffile.TiffPage, data: bytes) -> NDArray[np.uint16]:
    """``(H, W, C)``, as stored."""
    height, width, channels = page.imagelength, page.imagewidth, page.samplesperpixel
    _check_whole(page, len(data))
    try:
        pixels = page.asarray(maxworkers=1)
    except (ValueError, ImportError) as error:
        if isinstance(error, ValueError) and "imagecodecs" not in str(error):
            raise
        pixels = _decode_contiguous(path, page, data)  # LZW and others: libtiff knows them
    if page.planarconfig == 2 and channels > 1:
        pixels = np.moveaxis(pixels.reshape(channels, height, width), 0, -1)
    return np.ascontiguousarray(pixels.reshape(height, width, channels), dtype=np.uint16)


def _check_whole(page: tifffile.TiffPage, size: int) -> None:
    """Raise ValueError where data is said to lie outside of the file, or is too short."""
    segments = list(zip(page.dataoffsets, page.databytecounts, strict=True))
    if not segments or any(count == 0 or offset + count > size for offset, count in segments):
        raise ValueError("truncated")
    length = 2 * page.imagelength * page.imagewidth * page.samplesperpixel
    if page.compression == COMPRESSION.NONE and sum(page.databytecounts) < length:
        raise ValueError("truncated")


def _decode_contiguous(path: Path, page: tifffile.TiffPage, data: bytes) -> NDArray[np.uint16]:
    name = getattr(page.compression, "name", page.compression)
    planes = page.planarconfig == 2 and page.samplesperpixel > 1
    kind = f"separate channel planes compressed by {name}" if planes else f"{name} compression"
    unread = InputError(
        f"{path}: a TIFF of {kind}, which is not read; save it uncompressed, or as PNG"
    )
    if planes:
        raise unread
    try:
        image = PILImage.open(io.BytesIO(data), formats=("TIFF",))
    except UnidentifiedImageError as error:
        raise unread from error
    with image:
        image.load()  # finds damage, which OpenCV paints black
    pixels = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)
    if pixels is None or pixels.dtype != np.uint16:
        raise unread
    order = {3: [2, 1, 0], 4: [2, 1, 0, 3]}.get(page.samplesperpixel)
    return np.asarray(pixels if order is None else pixels[..., order], dtype=np.uint16)


def _exif(data: bytes) -> bytes | None:
    """The EXIF block with its orientation, where Pillow can open the file."""
    try:
        with PILImage.open(io.BytesIO(data), formats=("TIFF",)) as image:
            return image.info.get("exif")
    except Exception:
        return None
