"""Pictures of items as a browser shows them, and the detector's distance of an image."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from typing import Generic, TypeVar

import cv2
import numpy as np
import torch
from fastapi import Response
from fastapi.responses import FileResponse
from numpy.typing import NDArray

from desra.detectors import Detector
from desra.errors import InputError
from desra.images import read_rgb

SHOWN_AS_THEY_ARE = {
    ".png": "image/png",
    ".jpg": "image/jpeg",
    ".jpeg": "image/jpeg",
    ".webp": "image/webp",
}
"""What every browser decodes; TIFF and BMP are sent as PNG."""

Value = TypeVar("Value")


class Recent(Generic[Value]):
    """The values asked for last, so that none of them is made twice; safe in threads."""

    def __init__(self, most: int) -> None:
        self.most = most
        self._values: OrderedDict[object, Value] = OrderedDict()
        self._lock = threading.Lock()

    def get(self, key: object, make: Callable[[], Value]) -> Value:
        """The value of ``key``, made if it is not at hand."""
        with self._lock:
            if key in self._values:
                self._values.move_to_end(key)
                return self._values[key]
        value = make()
        self.put(key, value)
        return value

    def put(self, key: object, value: Value) -> None:
        """Keep a value."""
        with self._lock:
            self._values[key] = value
            self._values.move_to_end(key)
            while len(self._values) > self.most:
                self._values.popitem(last=False)


def stamp(path: Path) -> str:
    """Changes when the file does: part of its address, so that browsers may keep it."""
    status = path.stat()
    return f"{status.st_mtime_ns:x}-{status.st_size:x}"


def send_picture(path: Path) -> Response:
    """An image file for a browser. Its address carries `stamp`, so it may be kept."""
    headers = {"cache-control": "private, max-age=86400, immutable"}
    media_type = SHOWN_AS_THEY_ARE.get(path.suffix.lower())
    if media_type is not None:
        return FileResponse(path, media_type=media_type, headers=headers)
    return Response(encode_png(read_rgb(path)), media_type="image/png", headers=headers)


def encode_png(pixels: NDArray[np.uint8]) -> bytes:
    """``(H, W)`` or ``(H, W, 3)`` RGB as PNG, quickly."""
    ordered = pixels if pixels.ndim == 2 else cv2.cvtColor(pixels, cv2.COLOR_RGB2BGR)
    done, data = cv2.imencode(".png", ordered, [cv2.IMWRITE_PNG_COMPRESSION, 1])
    if not done:
        raise OSError("OpenCV could not write a PNG image")
    return data.tobytes()


def adjusted_distance(detector: Detector, mse_sr: Path, gan_sr: Path) -> NDArray[np.float64]:
    """The map that the detector holds against its cutoff, ``(H, W)`` in [0, 1], low at artifacts.

    Raises:
        InputError: the two images cannot be read or compared.
    """
    with torch.no_grad():
        adjusted = detector.adjust(detector.distance(*_read_pair(mse_sr, gan_sr)), None)
        return detector.combined(adjusted)[0, 0].cpu().numpy()


def detected_mask(detector: Detector, mse_sr: Path, gan_sr: Path) -> NDArray[np.bool_]:
    """What the detector marks, ``(H, W)``. Raises as `adjusted_distance`."""
    with torch.no_grad():
        return detector(*_read_pair(mse_sr, gan_sr)).mask[0, 0].cpu().numpy()


def _read_pair(mse_sr: Path, gan_sr: Path) -> list[torch.Tensor]:
    first, second = (torch.from_numpy(read_rgb(path).copy()) for path in (mse_sr, gan_sr))
    if first.shape != second.shape:
        raise InputError(f"{mse_sr} and {gan_sr} differ in size; give upscalings of one image")
    return [image.permute(2, 0, 1).unsqueeze(0) for image in (first, second)]
