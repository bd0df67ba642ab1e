"""NIQE's model of clean images, fitted to a folder of them."""

from __future__ import annotations

import json
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np
import torch
from lightning import LightningModule
from numpy.typing import NDArray

from desra.errors import InputError
from desra.files import Match, atomic_path, write_text
from desra.image_task import Result, Sample
from desra.images import read_rgb
from desra.ledger import Row
from desra.niqe import PATCH_SIZE, FeatureSums, check_size, default_model, pristine_features

_SUMS_FOLDER = "Sums"


class NIQEFit(LightningModule):
    """Fit the Gaussian of NIQE's features to the sharp patches of clean images; an `ImageTask` over
    `datamodules.evaluation_images.CleanImages`.

    Of each image the sums of its features are kept on disk, so that memory does not grow with the
    images, and a stopped run goes on.

    Args:
        output_dir: gets ``per_image.csv`` and ``metrics.json``.
        model: file to write, ``.npz``; None for `desra.niqe.default_model`, where the detector
            looks for it.
        patch_size: pixels a side, even; that which the detector will use.

    Raises:
        InputError: a setting that cannot be used.
    """

    name = "fit-niqe"
    table_name = "per_image.csv"
    columns = ("image", "width", "height", "patches", "seconds", "error")

    def __init__(
        self,
        output_dir: str | Path,
        model: str | Path | None = None,
        patch_size: int = PATCH_SIZE,
    ) -> None:
        super().__init__()
        check_size(patch_size, patch_size, patch_size)
        self.output_dir = Path(output_dir)
        self.model = Path(model) if model is not None else default_model()
        if self.model.suffix != ".npz":
            raise InputError(f"task.model={self.model}: give a file name that ends in .npz")
        self.patch_size = patch_size
        self.settings = {"patch_size": patch_size}
        self.summary: dict[str, Any] = {}

    def inputs(self, match: Match) -> Sequence[Path]:
        """The image."""
        return list(match.paths.values())

    def load(self, match: Match) -> NDArray[np.uint8]:
        """Read the image."""
        return read_rgb(match.paths["image"])

    @torch.inference_mode()
    def predict_step(self, batch: list[Sample], *_: Any) -> list[Result]:
        """Take the features of each image."""
        return [self._measure(sample) for sample in batch]

    def _measure(self, sample: Sample) -> Result:
        result, start = Result(sample), perf_counter()
        if sample.payload is None:
            return result
        try:
            image = torch.tensor(sample.payload, device=self.device).permute(2, 0, 1)
            features = pristine_features(image, self.patch_size)
        except InputError as error:
            result.error = f"{sample.match.key}: {error}"
            return result
        height, width = image.shape[1:]
        seconds = round(sample.seconds + perf_counter() - start, 4)
        result.row = {"width": width, "height": height, "patches": len(features)}
        result.row["seconds"] = seconds
        result.write = partial(self._write, sample.match.key, FeatureSums.of(features))
        return result

    def _sums_path(self, key: str) -> Path:
        return self.output_dir / _SUMS_FOLDER / f"{key}.npz"

    def _write(self, key: str, sums: FeatureSums) -> list[Path]:
        path = self._sums_path(key)
        with atomic_path(path) as temporary:
            np.savez(temporary, count=sums.count, mean=sums.mean, scatter=sums.scatter)
        return [path]

    def finish(self, rows: Sequence[Row]) -> None:
        """Join the images' sums and write the model.

        Raises:
            InputError: too few patches in all.
        """
        done = [row for row in rows if not row.get("error")]
        sums = FeatureSums.of(np.zeros((0, 36)))
        for row in done:
            with np.load(self._sums_path(row["image"]), allow_pickle=False) as stored:
                part = FeatureSums(int(stored["count"]), stored["mean"], stored["scatter"])
            sums = sums.joined(part)
        sums.model().save(self.model)
        self.summary = {
            "images": len(done),
            "images_not_done": len(rows) - len(done),
            "patches": sums.count,
            "model": str(self.model),
        }
        write_text(self.output_dir / "metrics.json", json.dumps(self.summary, indent=2) + "\n")

    def teardown(self, stage: str) -> None:
        """Say what was written."""
        if self.summary:
            images, patches = self.summary["images"], self.summary["patches"]
            print(f"{self.model}: NIQE's model of {patches} sharp patches of {images} images")
