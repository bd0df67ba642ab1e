"""A generator before and after finetuning, compared on the images of an artifact set."""

from __future__ import annotations

import json
import logging
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np
import torch
from lightning import LightningModule
from lightning.pytorch.utilities import rank_zero_only
from numpy.typing import NDArray
from rich.table import Table
from torch import Tensor

from desra.errors import InputError, describe
from desra.files import Match, write_text
from desra.image_task import Result, Sample
from desra.images import read_rgb, to_plane
from desra.judge import Judge, Judged
from desra.ledger import Row
from desra.metrics import OverlapCounts
from desra.metrics.finetuning import OVERLAPS, doubt, score_finetuning
from desra.metrics.truth import TRUTH_COLUMNS
from desra.report import before_after
from desra.rim import BORDER, read_mask_of
from desra.terminal import terminal
from models.upscaler import Upscaler

log = logging.getLogger(__name__)

READ = ("lr", "mse_sr", "gt_mask", "hr")
"""Roles of the files that are read of an image."""


@dataclass
class Pictures:
    """What was read of one image.

    Attributes:
        lr: ``(h, w, 3)`` uint8 RGB.
        mse_sr: ``(H, W, 3)`` uint8 RGB.
        gt_mask: labelled artifacts, ``(H, W)`` bool, or None.
        truth: the true image, ``(H, W, 3)`` uint8 RGB, or None.
    """

    lr: NDArray[np.uint8]
    mse_sr: NDArray[np.uint8]
    gt_mask: NDArray[np.bool_] | None
    truth: NDArray[np.uint8] | None = None


class FinetuningEvaluation(LightningModule):
    """Upscale with both generators, detect in both, and compare; an `ImageTask`.

    Both are detected against MSE-SR with the labels of the original GAN-SR, which ``before`` makes
    anew from LR.

    Args:
        before: the generator before finetuning.
        after: the generator after it.
        judge: detects in both, and compares them.
        output_dir: gets ``metrics.json``, ``per_image.csv`` and ``index.html``.
        page: whether to make the page of pictures.

    Raises:
        InputError: weights or settings that cannot be used.
    """

    name = "evaluate-finetuned"
    table_name = before_after.TABLE
    columns: Sequence[str] = (
        *before_after.COLUMNS,
        "psnr_mse_sr_outside",
        "lpips_mse_sr_outside",
        *TRUTH_COLUMNS,
        *(f"{name}_{count}" for name in OVERLAPS for count in OverlapCounts._fields),
        "seconds",
        "error",
    )

    def __init__(
        self,
        before: Upscaler | None,
        after: Upscaler | None,
        judge: Judge,
        output_dir: str | Path,
        page: bool = True,
    ) -> None:
        super().__init__()
        if before is None or after is None:
            raise InputError(
                "give both weights=BEFORE and finetuned=AFTER, files or names of generators"
            )
        self.before, self.after = before, after
        self.judge = judge
        self.output_dir, self.page = Path(output_dir), page
        others = [f"{name}_share_{when}" for name in judge.others for when in ("before", "after")]
        self.columns = (*self.columns[:-2], *others, *self.columns[-2:])
        judge.prepare()
        if judge.missing:
            rank_zero_only(log.warning)("evaluating without LPIPS: %s", judge.missing)
        self.settings = {
            "before": self.before.settings,
            "after": self.after.settings,
            **judge.settings,
            "page": page,
        }
        self.summary: dict[str, Any] = {}
        if self.before.scale != self.after.scale:
            raise InputError(
                f"weights upscale ×{before.scale}, finetuned ones ×{after.scale}; give two of one "
                "scale"
            )

    def inputs(self, match: Match) -> Sequence[Path]:
        """LR, MSE-SR, the labels, and whatever the segmenter reads for this image."""
        paths = [match.paths[role] for role in READ if role in match.paths]
        return [*paths, *self.judge.segmenter.inputs(match.key)]

    def load(self, match: Match) -> Pictures:
        """Read the images and labels of a match.

        Raises:
            InputError: a file that cannot be read, or sizes that do not fit.
        """
        lr, mse_sr = read_rgb(match.paths["lr"]), read_rgb(match.paths["mse_sr"])
        (height, width), (h, w), scale = mse_sr.shape[:2], lr.shape[:2], self.before.scale
        if (height, width) != (h * scale, w * scale):
            raise InputError(
                f"{match.key}: MSE-SR is {width}x{height}, but the generators make "
                f"{w * scale}x{h * scale} of LR; give the MSE-SR of this LR, upscaled ×{scale}"
            )
        path = match.paths.get("gt_mask")
        rim = self.judge.detector.rim or BORDER
        size, picture = (height, width), match.paths["mse_sr"]
        gt_mask = None if path is None else read_mask_of(path, size, rim, picture)
        truth = read_rgb(match.paths["hr"]) if "hr" in match.paths else None
        if truth is not None and truth.shape != mse_sr.shape:
            raise InputError(
                f"{match.key}: HR is {truth.shape[1]}x{truth.shape[0]}, MSE-SR {width}x{height}; "
                "the true image must be of the upscalings' size"
            )
        return Pictures(lr, mse_sr, gt_mask, truth)

    @torch.inference_mode()
    def predict_step(self, batch: list[Sample], *_: Any) -> list[Result]:
        """Compare each sample; its page is written beside the work on the next."""
        return [self._evaluate(sample) for sample in batch]

    def _evaluate(self, sample: Sample) -> Result:
        result = Result(sample)
        pictures: Pictures | None = sample.payload
        if pictures is None:
            return result
        start = perf_counter()
        try:
            self._compare(result, pictures)
        except InputError as error:
            result.error = f"{sample.match.key}: {describe(error, sample.match.key)}"
            return result
        result.row["seconds"] = round(sample.seconds + perf_counter() - start, 4)
        return result

    def _compare(self, result: Result, pictures: Pictures) -> None:
        key = result.sample.match.key
        gan_sr, finetuned = (
            upscaler.upscale_image(pictures.lr) for upscaler in (self.before, self.after)
        )
        pixels = (pictures.mse_sr, gan_sr, finetuned)
        gt_mask, truth = pictures.gt_mask, pictures.truth
        judged = self.judge(
            [key],
            *(self._batch(image) for image in (pictures.lr, *pixels)),
            gt_mask=None
            if gt_mask is None
            else torch.from_numpy(gt_mask)[None, None].to(self.device),
            truth=None if truth is None else self._batch(truth),
        )
        (result.row,) = judged.rows
        if self.page:
            result.write = partial(self._write, key, (pictures.lr, *pixels), judged)

    def _batch(self, pixels: NDArray[np.uint8]) -> Tensor:
        """``(H, W, 3)`` uint8 to ``(1, 3, H, W)`` uint8 on the device."""
        return torch.from_numpy(pixels)[None].to(self.device).permute(0, 3, 1, 2)

    def _write(self, key: str, images: Sequence[NDArray[np.uint8]], judged: Judged) -> list[Path]:
        compared, labels = judged.images, judged.labels
        gt_mask = compared.gt_mask
        return before_after.write_images(
            self.output_dir,
            key,
            images=images,
            masks=(
                to_plane(compared.before),
                to_plane(compared.after),
                None if gt_mask is None else to_plane(gt_mask),
            ),
            distances=(to_plane(judged.distance_before()), to_plane(judged.after.distance)),
            labels=None if labels is None else to_plane(labels),
        )

    def finish(self, rows: Sequence[Row]) -> None:
        """Write ``metrics.json`` and the page."""
        done = [row for row in rows if not row.get("error")]
        figures = score_finetuning(done)
        self.summary = {
            "images": len(done),
            "images_labelled": sum(row.get("detection_union") is not None for row in done),
            "images_not_done": len(rows) - len(done),
            **figures,
        }
        if self.judge.missing:
            self.summary["lpips"] = f"left out: {self.judge.missing}"
        if said := doubt(figures):
            self.summary["doubt"] = said
            log.warning("%s", said)
        write_text(self.output_dir / "metrics.json", json.dumps(self.summary, indent=2) + "\n")
        if self.page:
            before_after.write_page(
                self.output_dir, rows, figures, self.judge.detector, self.judge.segmenter.classes
            )

    def teardown(self, stage: str) -> None:
        """Print the metrics of the set; only now is the progress bar gone."""
        if not self.summary:  # another rank has them
            return
        table = Table(title=before_after.TITLE, show_header=False)
        table.add_column(justify="left")
        table.add_column(justify="right")
        for name, value in self.summary.items():
            counted = name.startswith("images")
            if counted or not isinstance(value, str):
                text = str(value) if counted else before_after.figure_text(name, value)
                table.add_row(name.replace("_", " "), text)
        terminal().print(table)
