"""Upscaling over folders: pictures in, larger pictures out."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from time import perf_counter
from typing import Any, get_args

import torch
from lightning import LightningModule
from numpy.typing import NDArray

from desra.errors import InputError
from desra.files import Match
from desra.image_task import Result, Sample
from desra.image_writing import Format, output_suffix, write_image
from desra.images import LONGEST_SIDE, Picture, read_image
from desra.ledger import Row
from desra.memory import available_memory
from desra.resampling import resize_lanczos
from models.upscaler import Alpha, Upscaler, check_choice

_RESIZING = 12
"""Bytes a pixel that `resize_lanczos` takes beside its result: a channel as float, three times."""

log = logging.getLogger(__name__)


class Upscaling(LightningModule):
    """Upscale every image of a folder; an `ImageTask`.

    Grey stays grey, alpha and 16 bits are kept where the format can hold them, and the ICC profile
    and the EXIF block with its orientation are passed on.

    Args:
        input: the folder or image that is upscaled; compared with ``output_dir`` only.
        output_dir: gets the images under their relative paths, and ``upscaled.csv``.
        upscaler: what enlarges.
        outscale: final scale, reached by Lanczos; None for the generator's own.
        suffix: appended to the names.
        format: of the output; ``"auto"`` is that of the input.
        quality: of JPEG and WebP, 1 to 100.
        alpha: enlarge it by the network, or by Lanczos.

    Raises:
        InputError: settings that cannot be used, or output among the input.
    """

    name = "upscale"
    table_name = "upscaled.csv"
    columns: Sequence[str] = (
        "image",
        "output",
        "width",
        "height",
        "new_width",
        "new_height",
        "float32_tiles",
        "seconds",
        "error",
    )

    def __init__(
        self,
        input: str | Path,
        output_dir: str | Path,
        upscaler: Upscaler,
        outscale: float | None = None,
        suffix: str = "",
        format: Format = "auto",
        quality: int = 95,
        alpha: Alpha = "network",
    ) -> None:
        super().__init__()
        self.output_dir = Path(output_dir)
        self.outscale, self.suffix, self.format = outscale, suffix, format
        self.quality, self.alpha = quality, alpha
        self._check(Path(input))
        self.upscaler = upscaler
        names = ("outscale", "suffix", "format", "quality", "alpha")
        self.settings = {name: getattr(self, name) for name in names}
        self.settings["upscaler"] = self.upscaler.settings
        self.summary: dict[str, Any] = {}

    def _check(self, source: Path) -> None:
        check_choice("format", self.format, get_args(Format))
        check_choice("alpha", self.alpha, get_args(Alpha))
        if self.outscale is not None and self.outscale <= 0:
            raise InputError(f"outscale={self.outscale}: must be above 0")
        if not 1 <= self.quality <= 100:
            raise InputError(f"quality={self.quality}: must be from 1 to 100")
        if "/" in self.suffix or "\\" in self.suffix:
            raise InputError(f"suffix={self.suffix}: is part of a file name, without slashes")
        folder = self.output_dir.resolve()
        if source.is_dir() and folder.is_relative_to(source.resolve()):
            raise InputError(
                f"output_dir={self.output_dir} is in input={source}: the next run would take its "
                "images for input; choose another folder"
            )

    def setup(self, stage: str) -> None:
        """Processes on one machine's CPU share its memory."""
        if self.device.type == "cpu":
            self.upscaler.memory_share /= max(self.trainer.num_devices, 1)

    def inputs(self, match: Match) -> Sequence[Path]:
        """The image itself."""
        return list(match.paths.values())

    def load(self, match: Match) -> Picture:
        """Decode the image with all that must be kept of it."""
        return read_image(match.paths["lr"])

    def predict_step(self, batch: list[Sample], *_: Any) -> list[Result]:
        """Upscale a list of samples, one after the other: they may differ in size."""
        return [self._upscale(sample) for sample in batch]

    def _upscale(self, sample: Sample) -> Result:
        result = Result(sample)
        if sample.payload is None:
            return result
        start, redone = perf_counter(), self.upscaler.redone_tiles
        picture: Picture = sample.payload
        extra: Row = {}
        try:
            path = self._output_path(sample.match, picture.pixels)
            new_height, new_width = self._final_size(picture.pixels)
            pixels, more = self.enlarge(sample.match.key, picture, extra)
        except InputError as error:
            result.error = f"{sample.match.paths['lr']}: {error}"
            return result
        height, width = picture.pixels.shape[:2]
        result.row = {
            "output": path.relative_to(self.output_dir).as_posix(),
            "width": width,
            "height": height,
            "new_width": new_width,
            "new_height": new_height,
            "float32_tiles": self.upscaler.redone_tiles - redone,
            **extra,
            "seconds": round(sample.seconds + perf_counter() - start, 4),
        }
        picture = replace(picture, pixels=pixels)
        result.write = partial(self._write, path, picture, more, result.row)
        return result

    def enlarge(self, key: str, picture: Picture, row: Row) -> tuple[NDArray, dict[Path, NDArray]]:
        """The pixels of an upscaled image, and further files to write beside it.

        Args:
            key: of the image.
            picture: as it was read.
            row: of the table; metrics may be added.
        """
        return self.upscaler.upscale_image(picture.pixels, self.alpha), {}

    def _output_path(self, match: Match, pixels: NDArray) -> Path:
        source = match.paths["lr"]
        name = f"{match.key}{self.suffix}{output_suffix(source, pixels, self.format)}"
        path = self.output_dir / name
        if path.exists() and path.samefile(source):
            raise InputError("would be overwritten; give a suffix or another output_dir")
        return path

    def _final_size(self, pixels: NDArray) -> tuple[int, int]:
        """Height and width of what will be written.

        Raises:
            InputError: by ``outscale``, longer than an image may be, or more than the memory holds.
        """
        height, width, channels = pixels.shape
        if self.outscale is None:
            return height * self.upscaler.scale, width * self.upscaler.scale
        height, width = (max(round(side * self.outscale), 1) for side in (height, width))
        needed = height * width * (channels * pixels.itemsize + _RESIZING)
        if max(height, width) > LONGEST_SIDE or needed > available_memory(torch.device("cpu")):
            raise InputError(
                f"outscale={self.outscale:g} makes it {width}x{height} ({needed / 2**30:.3g} GB), "
                "more than can be held; give a smaller one"
            )
        return height, width

    def _write(
        self, path: Path, picture: Picture, more: dict[Path, NDArray], row: Row
    ) -> list[Path]:
        """Bring to the final size and write, in a writing thread."""
        height, width = row["new_height"], row["new_width"]
        write_image(
            path,
            replace(picture, pixels=resize_lanczos(picture.pixels, height, width)),
            self.quality,
        )
        return [path, *self.write_more(more)]

    def write_more(self, files: dict[Path, NDArray]) -> Sequence[Path]:
        """Write the further files of `enlarge`, in a writing thread; here there are none."""
        return list(files)

    def finish(self, rows: Sequence[Row]) -> None:
        """Count, and tell of tiles that were too much for half precision."""
        redone = {row["image"]: row["float32_tiles"] for row in rows if row.get("float32_tiles")}
        self.summary = {
            "images": len(rows),
            "failed": sum(1 for row in rows if row.get("error")),
            "float32_tiles": sum(redone.values()),
        }
        if redone:
            log.warning(
                "%d tiles of %d images overflowed in half precision and were done again in "
                "float32; see the column float32_tiles of %s",
                *(sum(redone.values()), len(redone), self.output_dir / self.table_name),
            )
