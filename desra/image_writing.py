"""Writer of images with their bit depth, alpha, ICC profile and EXIF block."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

import cv2
import numpy as np
import tifffile
from numpy.typing import NDArray
from PIL import Image as PILImage

from desra.errors import InputError
from desra.files import atomic_path
from desra.images import Picture

Format = Literal["auto", "png", "jpg", "webp", "tif"]

SUFFIXES = {"png": ".png", "jpg": ".jpg", "webp": ".webp", "tif": ".tif"}
_JPEG, _WEBP, _TIFF = (".jpg", ".jpeg"), (".webp",), (".tif", ".tiff")
_LARGEST_SIDE = {".jpg": 65535, ".jpeg": 65535, ".webp": 16383}
_LARGEST_JPEG_EXIF = 65533  # one marker segment: 16 bits of length, itself included

_ORIENTATION = 0x0112
_EXIF_FOLDER = 0x8769
_PIXEL_WIDTH, _PIXEL_HEIGHT = 0xA002, 0xA003


def output_suffix(source: str | Path, pixels: NDArray, form: Format = "auto") -> str:
    """The suffix to write ``pixels`` under.

    Args:
        source: the file that the picture was made from; ``auto`` keeps its format, where that is
            one that is written, and takes PNG for others (GIF, AVIF, JPEG 2000).
        pixels: ``(H, W, C)``; with alpha (C is 2 or 4), JPEG and BMP become PNG, which can hold it.
        form: the format asked for.
    """
    suffix = Path(source).suffix.lower() if form == "auto" else SUFFIXES[form]
    suffix = {".jpe": ".jpg", ".jfif": ".jpg"}.get(suffix, suffix)
    if suffix not in (".png", *_JPEG, *_WEBP, *_TIFF, ".bmp"):
        return ".png"  # read, and not written
    transparent = pixels.shape[2] in (2, 4)
    return ".png" if transparent and suffix in (*_JPEG, ".bmp") else suffix


def write_image(path: str | Path, picture: Picture, quality: int = 95) -> None:
    """Write a picture in the format of the path's suffix, whole or not at all.

    PNG and TIFF are lossless and keep 16 bits; the others get 8. The ICC profile is left out where
    it is not for the picture's kind of colour (a CMYK image was converted when it was read). In the
    EXIF block the size is brought up to date, and a thumbnail is left out.

    Args:
        path: where; ``.png``, ``.jpg``, ``.jpeg``, ``.webp``, ``.tif``, ``.tiff`` or ``.bmp``.
        picture: pixels ``(H, W, 1..4)`` uint8 or uint16.
        quality: of JPEG (without chroma subsampling) and WebP; 100 makes WebP lossless.

    Raises:
        InputError: larger than the format can be, or not a known suffix.
    """
    path = Path(path)
    suffix = path.suffix.lower()
    pixels = _as_colour(picture.pixels) if _is_deep_grey_alpha(picture.pixels) else picture.pixels
    height, width, channels = pixels.shape
    if max(height, width) > _LARGEST_SIDE.get(suffix, 2**31):
        raise InputError(
            f"{path}: {width}x{height} is more than a {suffix.lstrip('.')} file can hold; "
            "use format=png"
        )
    icc = _fitting_profile(picture.icc, channels)
    exif = _current_exif(picture.exif, width, height)
    with atomic_path(path) as temporary:
        if suffix == ".png" and channels != 2:
            _write_png(temporary, pixels, icc, exif)
        elif suffix in _TIFF:
            _write_tiff(temporary, pixels, icc, exif)
        elif suffix in (".png", *_JPEG, *_WEBP, ".bmp"):
            _write_8_bit(temporary, pixels, icc, exif, quality)
        else:
            raise InputError(f"{path}: cannot write {suffix or 'a file without suffix'}")


def _write_png(path: Path, pixels: NDArray, icc: bytes | None, exif: PILImage.Exif | None) -> None:
    metadata = {}
    if icc:
        metadata[cv2.IMAGE_METADATA_ICCP] = icc
    if exif:
        metadata[cv2.IMAGE_METADATA_EXIF] = _tiff_block(exif)
    done, data = cv2.imencodeWithMetadata(
        ".png",
        _opencv_order(pixels),
        list(metadata),
        [np.frombuffer(block, np.uint8) for block in metadata.values()],
    )  # OpenCV's own filter and strategy: half the time of level 1, and photos are no larger
    if not done:
        raise OSError(f"{path.parent}: OpenCV could not encode a PNG image")
    path.write_bytes(np.asarray(data).data)


def _opencv_order(pixels: NDArray) -> NDArray:
    order = {3: cv2.COLOR_RGB2BGR, 4: cv2.COLOR_RGBA2BGRA}.get(pixels.shape[2])
    return pixels if order is None else cv2.cvtColor(pixels, order)


def _is_deep_grey_alpha(pixels: NDArray) -> bool:
    """What neither Pillow nor OpenCV reads or writes, and so becomes colour with alpha."""
    return pixels.shape[2] == 2 and pixels.dtype == np.uint16


def _as_colour(pixels: NDArray) -> NDArray:
    return np.ascontiguousarray(pixels[..., [0, 0, 0, 1]])


def _write_tiff(path: Path, pixels: NDArray, icc: bytes | None, exif: PILImage.Exif | None) -> None:
    channels = pixels.shape[2]
    orientation = _orientation(exif)
    tifffile.imwrite(
        path,
        pixels if channels > 1 else pixels[..., 0],
        photometric="rgb" if channels > 2 else "minisblack",
        planarconfig="contig" if channels > 1 else None,
        extrasamples=["unassalpha"] if channels in (2, 4) else None,
        compression="zlib",
        predictor=True,
        iccprofile=icc,
        extratags=[(_ORIENTATION, "H", 1, orientation, True)] if orientation else [],
        metadata=None,
    )


def _write_8_bit(
    path: Path, pixels: NDArray, icc: bytes | None, exif: PILImage.Exif | None, quality: int
) -> None:
    suffix = path.suffix.lower()
    options: dict[str, Any] = {"icc_profile": icc} if icc else {}
    if exif and suffix != ".bmp":
        options["exif"] = _marker_sized(exif).tobytes() if suffix in _JPEG else exif.tobytes()
    if suffix in _JPEG:
        options |= {"quality": quality, "subsampling": 0}
    elif suffix == ".png":
        options |= {"compress_level": 1}
    elif suffix in _WEBP:
        options |= {"quality": quality, "lossless": quality == 100}
    pixels = to_8_bit(pixels)
    image = PILImage.fromarray(pixels if pixels.shape[2] > 1 else pixels[..., 0])
    image.save(path, **options)


def to_8_bit(pixels: NDArray) -> NDArray[np.uint8]:
    """Pixels of any shape, uint8 or uint16, rounded to the nearest of 256 levels."""
    if pixels.dtype == np.uint8:
        return pixels
    return ((pixels.astype(np.uint32) + 128) // 257).astype(np.uint8)  # round(x · 255 / 65535)


def _fitting_profile(icc: bytes | None, channels: int) -> bytes | None:
    """The profile, if it is for colours of this kind (bytes 16 to 19 of an ICC header)."""
    kind = b"GRAY" if channels < 3 else b"RGB "
    return icc if icc and icc[16:20] == kind else None


def _current_exif(block: bytes | None, width: int, height: int) -> PILImage.Exif | None:
    """The EXIF block with the size it should have now; None if there is none or it is damaged."""
    if not block:
        return None
    exif = PILImage.Exif()
    try:
        exif.load(block)
        folder = exif.get_ifd(_EXIF_FOLDER) if _EXIF_FOLDER in exif else {}
        for tag, size in ((_PIXEL_WIDTH, width), (_PIXEL_HEIGHT, height)):
            if tag in folder:
                folder[tag] = size
        exif.tobytes()  # a damaged block may be read and not be written
    except Exception:  # a block from elsewhere raises whatever it leads to
        return None
    return exif if len(exif) else None


def _tiff_block(exif: PILImage.Exif) -> bytes:
    """The block without the marker that JPEG puts before it."""
    return exif.tobytes().removeprefix(b"Exif\x00\x00")


def _orientation(exif: PILImage.Exif | None) -> int | None:
    """1 to 8, how to turn the pixels to see the picture upright; None if it does not say."""
    value = exif.get(_ORIENTATION) if exif else None
    return value if value in range(1, 9) else None


def _marker_sized(exif: PILImage.Exif) -> PILImage.Exif:
    """The block if JPEG can hold it, else its orientation alone."""
    if len(exif.tobytes()) <= _LARGEST_JPEG_EXIF:
        return exif
    small = PILImage.Exif()
    if orientation := _orientation(exif):
        small[_ORIENTATION] = orientation
    return small
