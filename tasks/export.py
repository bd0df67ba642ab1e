"""Export of a generator to other programs' formats, each file proven by its own runtime."""

from __future__ import annotations

import json
import logging
import os
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import get_args

import cv2
import numpy as np
from torch import nn

from desra.detectors import Detector
from desra.errors import InputError
from desra.files import find_images, write_text
from desra.images import read_rgb, write_png
from desra.resampling import resize_lanczos
from models.exporting import (
    FORMATS,
    RUNTIMES,
    Format,
    Precision,
    Proof,
    Tolerance,
    export_name,
    prove,
    write,
)
from models.exporting.card import About, Exported, openmodeldb_entry, write_card, write_entry
from models.exporting.hub import address, check_hub, push
from models.exporting.runtimes import Array
from models.generators import load_generator
from models.generators.zoo import resolve_weights
from models.upscaler import Upscaler, check_choice

log = logging.getLogger(__name__)

_PICTURE = 160  # LR pixels a side that the card's pictures show at most


class Export:
    """Write a generator in other formats, prove each, and describe them.

    Args:
        weights: of the generator, a file or a name.
        output_dir: gets the files, ``model_card.md``, ``openmodeldb.json`` and ``proof.json``.
        format: one format or several.
        precision: of the weights.
        detector: its masks must be the same too.
        lr_root: photos to prove it on.
        name: of the files; None for that of the weights.
        load: reads a file of weights.
        images: number of photos.
        size: LR pixels a side that are taken from the middle of a photo.
        tolerance: largest difference of pixels in [0, 1]; None for 1e-4 in float32, and in half
            precision for 1/255 (2/255 with TorchScript).
        least_iou: of the detector's masks.
        before: weights to show beside it in the card, such as the generator before finetuning.
        author, license, description, tags: see `models.exporting.card.About`.
        push_to_hub: ``OWNER/NAME`` on Hugging Face to upload to.
        private: whether a repository that is made there is private.

    Raises:
        InputError: weights, photos or settings that cannot be used.
    """

    def __init__(
        self,
        weights: str,
        output_dir: str | Path,
        format: Format | Sequence[Format],
        detector: Detector,
        lr_root: str | Path,
        precision: Precision = "fp32",
        name: str | None = None,
        load: Callable[[str], nn.Module] = load_generator,
        images: int = 3,
        size: int = 96,
        tolerance: float | None = None,
        least_iou: float = 0.999,
        before: str | None = None,
        author: str | None = None,
        license: str | None = None,
        description: str = "",
        tags: Sequence[str] = (),
        push_to_hub: str | None = None,
        private: bool = False,
    ) -> None:
        self.formats: list[Format] = [format] if isinstance(format, str) else list(format)
        for form in self.formats:
            check_choice("format", form, get_args(Format))
        check_choice("precision", precision, get_args(Precision))
        if images < 1 or size < 64:
            raise InputError(f"images={images} size={size}: at least 1 image of 64 pixels")
        if push_to_hub is not None:
            check_hub(push_to_hub)
        self.weights, self.output_dir = weights, Path(output_dir)
        self.precision: Precision = precision
        self.network = load(weights)
        self.stem = name or resolve_weights(weights).stem
        if not self.stem or self.stem != Path(self.stem).name:
            raise InputError(f"name={self.stem}: is a file's name, without folders")
        self.detector, self.size = detector, size
        self.photos = _photos(lr_root, images)
        self.tolerance, self.least_iou = tolerance, least_iou
        self.before = None if before is None else load(before)
        if self.before is not None and self.before.scale != self.network.scale:
            raise InputError(f"before={before}: of another scale than {weights}")
        self.about = About(self.stem, author, license, description, tuple(tags))
        self.push_to_hub, self.private = push_to_hub, private

    def run(self) -> list[str]:
        """Write, prove, describe and upload; returns what was refused, a line each."""
        self.output_dir.mkdir(parents=True, exist_ok=True)
        crops = [_middle(pixels, self.size) for pixels in self.photos]
        exported, refused = [], []
        for form in self.formats:
            try:
                exported.append(self._export(form, crops))
            except InputError as error:
                refused.append(f"{self.stem} as {form} in {self.precision}: refused: {error}")
        if exported:
            self._describe(exported)
        return refused

    def _export(self, form: Format, crops: Sequence[Array]) -> Exported:
        scale = int(self.network.scale)  # type: ignore[arg-type]
        name = export_name(self.stem, scale, form)
        # Files come to output_dir when they are proven, and not before.
        with tempfile.TemporaryDirectory(dir=self.output_dir, prefix=".export-") as folder:
            place = Path(folder, name)
            write(self.network, place, form, self.precision)
            proof = prove(
                *(self.network, RUNTIMES[form](place, scale), crops, self.detector),
                Tolerance(self._difference(form), self.least_iou),
            )
            files = [self.output_dir / f"{name}{suffix}" for suffix in FORMATS[form]]
            for file in files:
                os.replace(Path(folder, file.name), file)
        log.info("%s: %s", ", ".join(file.name for file in files), _in_words(proof))
        return Exported(form, self.precision, files, proof)

    def _difference(self, form: Format) -> float:
        if self.tolerance is not None:
            return self.tolerance
        if self.precision == "fp32":
            return 1e-4
        # PyTorch on the processor also adds up in half precision; the others don't.
        return 2 / 255 if form == "torchscript" else 1 / 255

    def _describe(self, exported: Sequence[Exported]) -> None:
        pictures, columns = self._pictures()
        card = write_card(
            *(self.output_dir, self.about, self.network, Path(self.weights).name, exported),
            pictures,
            columns,
        )
        where = address(self.push_to_hub) if self.push_to_hub else None
        entry = self.output_dir / "openmodeldb.json"
        write_entry(entry, openmodeldb_entry(self.about, self.network, exported, where))
        proofs = {f"{item.form} {item.precision}": item.proof.as_json() for item in exported}
        write_text(self.output_dir / "proof.json", json.dumps(proofs, indent=2) + "\n")
        if self.push_to_hub is not None:
            files = [card, entry, *pictures, *(path for item in exported for path in item.files)]
            log.info("uploaded: %s", push(self.push_to_hub, self.output_dir, files, self.private))

    def _pictures(self) -> tuple[list[Path], list[str]]:
        """Before and after, side by side; returns the files and what the columns are."""
        upscalers = [Upscaler(network) for network in (self.before, self.network) if network]
        columns = ["The input enlarged by Lanczos", *["before finetuning"] * bool(self.before)]
        paths = []
        for number, pixels in enumerate(self.photos, start=1):
            lr = _middle(pixels, _PICTURE)
            small = np.rint(lr.transpose(1, 2, 0) * 255).astype(np.uint8)
            outputs = [upscaler.upscale_image(small) for upscaler in upscalers]
            smooth = resize_lanczos(small, *outputs[0].shape[:2])
            gap = np.full((smooth.shape[0], 8, 3), 255, np.uint8)
            strips = [smooth, *(part for output in outputs for part in (gap, output))]
            paths.append(self.output_dir / "pictures" / f"{number}.png")
            write_png(paths[-1], cv2.hconcat(strips), compression=9)
        return paths, [*columns, "this model"]


def _photos(lr_root: str | Path, count: int) -> list[np.ndarray]:
    """The first photos of a folder that are large enough for the odd sizes, uint8 RGB."""
    found: list[np.ndarray] = []
    for paths in find_images(lr_root).values():
        pixels = read_rgb(paths[0])
        if min(pixels.shape[:2]) >= 24:
            found.append(pixels)
        if len(found) == count:
            break
    if not found:
        raise InputError(f"{lr_root}: photos of at least 24 pixels a side are needed")
    return found


def _middle(pixels: np.ndarray, side: int) -> Array:
    """``(3, H, W)`` in [0, 1], at most ``side`` pixels each way; small photos are mirrored on."""
    height, width = pixels.shape[:2]
    more = max(64 - height, 0), max(64 - width, 0)
    pixels = np.pad(pixels, ((0, more[0]), (0, more[1]), (0, 0)), mode="symmetric")
    height, width = pixels.shape[:2]
    top, left = max(height - side, 0) // 2, max(width - side, 0) // 2
    crop = pixels[top : top + side, left : left + side]
    return np.ascontiguousarray(crop.transpose(2, 0, 1), np.float32) / np.float32(255)


def _in_words(proof: Proof) -> str:
    return (
        f"{proof.program}: differs by at most {proof.difference:.2g} on {proof.images} images, "
        f"PSNR {proof.psnr:.1f} dB, masks' IoU {proof.iou:.5f}"
    )
