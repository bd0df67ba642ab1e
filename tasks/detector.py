"""A detector against labels: masks, scores over all thresholds, and time, in one go."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from statistics import median
from time import perf_counter
from typing import Any, NamedTuple, get_args

import numpy as np
import torch
from numpy.typing import NDArray
from rich.table import Table
from torch import Tensor

from desra import report
from desra.detectors import Detection, Detector
from desra.errors import InputError
from desra.files import Match, write_table, write_text
from desra.image_task import Result, Sample
from desra.images import to_plane
from desra.ledger import Row
from desra.metrics import (
    BORDER,
    MIN_SHARE,
    SCORES,
    overlap_counts,
    score_rows,
    score_text,
)
from desra.metrics.curves import pixel_histogram, precision_recall
from desra.rim import clear_rim, inside
from desra.segmenters import Segmenter
from desra.stage_cache import Stage
from desra.terminal import terminal
from models.upscaler import Upscaler
from tasks.detector_scores import ImageScores, TuneFor, score_set
from tasks.masks import (
    PAGE_COLUMNS,
    SCORE_TITLES,
    TOP_SCORE,
    MaskEvaluation,
    write_overlap,
)
from tasks.pair_task import PairTask, Pictures
from tasks.prominent_regions import REGION_TABLE, ProminenceEvaluation

SCORES_FOLDER = "Scores"
CURVE = "curve.csv"
THRESHOLDS = "thresholds.csv"
_CUTOFFS_AT_ONCE = 8
_WARM_UP_SIDE = 128


class Timed(NamedTuple):
    """What was found in one image, and the seconds that the detector took, without labels."""

    found: Detection
    labels: Tensor | None
    seconds: float


class DetectorEvaluation(PairTask[Timed]):
    """Detect in every image and score what was found against its labels; an `ImageTask`.

    Args:
        detector: what is evaluated.
        segmenter: what says which pixels show what.
        output_dir: gets ``metrics.json``, ``per_image.csv``, ``curve.csv`` (precision and recall of
            pixels over the distance), ``thresholds.csv`` (scores of regions over the threshold) and
            ``index.html``.
        title: the detector's name in tables; None for its class.
        border: pixels on each side that are left out, where nothing can be detected.
        min_share: share of a region's pixels that the other mask must cover.
        steps: regions are scored at this many thresholds, from 0 to 1 as distances.
        tune_for: ``"f1"`` or ``"iou"``, by which the best threshold is chosen.
        seed: of the half that the best threshold is chosen on, and of the bootstrap.
        replicates: of the bootstrap.
        page: whether to make the page of pictures.
        prominence: scores and kinds of labelled regions, which its responses are held against;
            None for none.
        mse: see `PairTask`.
        gan: likewise.

    Raises:
        InputError: a setting out of its range.
    """

    name = "evaluate-detector"
    table_name = "per_image.csv"
    columns = (
        *(name for name in MaskEvaluation.columns if name != "error"),
        "detector_seconds",
        "error",
    )

    def __init__(
        self,
        detector: Detector,
        segmenter: Segmenter,
        output_dir: str | Path,
        title: str | None = None,
        border: int = BORDER,
        min_share: float = MIN_SHARE,
        steps: int = 40,
        tune_for: TuneFor = "f1",
        seed: int = 0,
        replicates: int = 1000,
        page: bool = True,
        prominence: ProminenceEvaluation | None = None,
        mse: Upscaler | None = None,
        gan: Upscaler | None = None,
    ) -> None:
        super().__init__(detector, segmenter, output_dir, mse, gan)
        _check(border=(border, 0), steps=(steps, 2), replicates=(replicates, 1))
        if not 0 < min_share <= 1:
            raise InputError(f"min_share={min_share}: give a share above 0 and at most 1")
        if tune_for not in get_args(TuneFor):
            raise InputError(f"tune_for={tune_for}: give f1 or iou")
        self.title = title or type(detector).__name__
        self.rim, self.min_share, self.page = border, min_share, page
        self.prominence = prominence
        self.tune_for, self.seed, self.replicates = tune_for, seed, replicates
        self.cutoffs = [step / steps for step in range(1, steps)]
        self.settings = {
            "stage": self.stage_settings,
            "detector": detector.settings,
            "border": border,
            "min_share": min_share,
            "steps": steps,
            "page": page,
        }
        if prominence is not None:
            self.settings["prominence"] = prominence.settings
        self._seconds = 0.0

    def inputs(self, match: Match) -> Sequence[Path]:
        """The images, the labels, what the segmenter reads, and the scores of regions."""
        more = self.prominence.inputs(match.key) if self.prominence else []
        return [*super().inputs(match), *more]

    def on_predict_start(self) -> None:
        """Detect once in nothing, so that compiling is not part of the time."""
        blank = torch.zeros(
            1, 3, _WARM_UP_SIDE, _WARM_UP_SIDE, dtype=torch.uint8, device=self.device
        )
        self.detector(blank, blank)

    def stage(self, samples: Sequence[Sample]) -> Stage:
        """Distance and labels of samples of one size; the distance's time is taken."""
        mse_sr = self._batch([sample.payload.mse_sr for sample in samples])
        gan_sr = self._batch([sample.payload.gan_sr for sample in samples])
        labels = self.segmenter(gan_sr, [sample.match.key for sample in samples])
        start = self._clock()
        distance = self.detector.distance(mse_sr, gan_sr)
        self._seconds = self._clock() - start
        return Stage(distance, labels)

    def examine(self, stage: Stage) -> list[Timed]:
        """Detect in a batch."""
        start = self._clock()
        found = self.detector.from_distance(*stage)
        seconds = (self._seconds + self._clock() - start) / len(found.mask)
        timed = []
        for index in range(len(found.mask)):
            one = slice(index, index + 1)
            labels = None if stage.labels is None else stage.labels[one]
            timed.append(Timed(Detection(*(plane[one] for plane in found)), labels, seconds))
        return timed

    def _clock(self) -> float:
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)
        return perf_counter()

    def conclude(self, result: Result, found: Timed) -> None:
        """Score the image at its threshold and at all others."""
        start = perf_counter()
        key, pictures = result.sample.match.key, result.sample.payload
        scores, row = self._count(found.found, pictures.gt_mask)
        planes = (to_plane(found.found.mask), pictures.gt_mask)
        height, width = inside(pictures.gt_mask, self.rim).shape
        result.row = {"width": width, "height": height, **row}
        result.row["artifact_share"] = row["union"] / (height * width)
        facts = None
        if self.prominence:
            response = 1 - to_plane(found.found.adjusted)
            more = self.prominence.measure(key, *planes, response, self.rim, pictures.gt_rim)
            result.row |= more
            facts = self.prominence.facts(more)
        result.row["detector_seconds"] = round(found.seconds, 6)
        result.row["seconds"] = round(result.sample.seconds + perf_counter() - start, 4)
        mask, gt_mask = (clear_rim(plane, self.rim) for plane in planes)
        result.write = partial(self._write, key, scores, mask, gt_mask, pictures, found, facts)

    def _count(
        self, found: Detection, gt_mask: NDArray[np.bool_]
    ) -> tuple[ImageScores, dict[str, Any]]:
        """What is counted in an image, and its scores at the given threshold."""
        whole = torch.from_numpy(gt_mask)[None, None].to(self.device)
        labelled = inside(whole, self.rim)
        counts = [overlap_counts(inside(found.mask, self.rim), labelled, self.min_share)]
        for start in range(0, len(self.cutoffs), _CUTOFFS_AT_ONCE):
            some = self.cutoffs[start : start + _CUTOFFS_AT_ONCE]
            masks = torch.cat([self.detector.mask_at(found.adjusted, cutoff) for cutoff in some])
            expanded = labelled.expand(len(some), -1, -1, -1)
            counts.append(overlap_counts(inside(masks, self.rim), expanded, self.min_share))
        table = torch.cat([torch.stack(list(group), 1) for group in counts]).cpu().numpy()
        row: dict[str, Any] = {
            name: int(count) for name, count in zip(counts[0]._fields, table[0], strict=True)
        }
        scored = score_rows([row])
        row |= {name: scored[name] for name in SCORES}
        histogram = pixel_histogram(inside(found.adjusted, self.rim), labelled)
        return ImageScores(table[0], table[1:], histogram), row

    def _write(
        self,
        key: str,
        scores: ImageScores,
        mask: NDArray[np.bool_],
        gt_mask: NDArray[np.bool_],
        pictures: Pictures,
        found: Timed,
        facts: Mapping[int, Mapping[str, Any]] | None,
    ) -> list[Path]:
        path = self._scores_path(key)
        scores.save(path)
        if not self.page:
            return [path]
        roles = ("lr", "mse_sr", "gan_sr")
        shown = {role: getattr(pictures, role) for role in roles}
        return [
            path,
            *write_overlap(
                self.output_dir,
                key,
                mask,
                gt_mask,
                self.min_share,
                {role: image for role, image in shown.items() if image is not None},
                {"Difference": 1 - to_plane(found.found.adjusted)},
                facts,
            ),
        ]

    def _scores_path(self, key: str) -> Path:
        return self.output_dir / SCORES_FOLDER / f"{key}.npz"

    def finish(self, rows: Sequence[Row]) -> None:
        """Write the metrics of the set, the curves and the page."""
        done = [row for row in rows if not row.get("error")]
        self.summary = {
            "detector": self.title,
            "threshold": self.detector.threshold,
            "images": len(done),
            "images_without_artifacts": sum(row["union"] == 0 for row in done),
            "images_not_done": len(rows) - len(done),
        }
        columns: tuple[report.Column, ...] = PAGE_COLUMNS
        if done:
            self._score(done)
        if done and self.prominence:
            self.summary |= self.prominence.summarise(done)
            self.prominence.write_regions(self.output_dir / REGION_TABLE, done)
            columns = (*PAGE_COLUMNS, TOP_SCORE) if self.prominence.scored else PAGE_COLUMNS
        write_text(self.output_dir / "metrics.json", json.dumps(self.summary, indent=2) + "\n")
        if self.page:
            report.write_page(
                self.output_dir,
                rows,
                title=f"{self.title} against labelled artifacts",
                columns=columns,
                sort="iou",
                settings={**self.detector.shown_settings, "border": self.rim},
                summary={SCORE_TITLES[name]: score_text(self.summary.get(name)) for name in SCORES},
                scales={"Difference": report.Scale(0, 1, 1 - self.detector.cutoff)},
                classes=self.segmenter.classes,
            )

    def _score(self, done: Sequence[Row]) -> None:
        keys = [row["image"] for row in done]
        paths = [self._scores_path(key) for key in keys]
        scores = score_set(paths, keys, self.tune_for, self.seed, self.replicates)
        figures = scores.figures
        thresholds = [round(self.detector.threshold_at(cutoff), 9) for cutoff in self.cutoffs]
        if "best_index" in figures:
            figures["best_threshold"] = thresholds[figures.pop("best_index")]
        seconds = [1e6 * row["detector_seconds"] / (row["width"] * row["height"]) for row in done]
        self.summary |= figures | {"seconds_per_megapixel": median(seconds)}
        precision, recall = precision_recall(scores.histogram)
        bins = len(precision)
        curve = [
            {"distance": (index + 1) / bins, "precision": _known(p), "recall": _known(r)}
            for index, (p, r) in enumerate(zip(precision, recall, strict=True))
        ]
        write_table(self.output_dir / CURVE, curve, list(curve[0]))
        by_threshold = [
            {
                "distance": cutoff,
                "threshold": threshold,
                **{name: _known(scores.by_cutoff[name][index]) for name in SCORES},
            }
            for index, (cutoff, threshold) in enumerate(zip(self.cutoffs, thresholds, strict=True))
        ]
        write_table(self.output_dir / THRESHOLDS, by_threshold, list(by_threshold[0]))

    def teardown(self, stage: str) -> None:
        """Print the metrics of the set; only now is the progress bar gone."""
        if not self.summary:  # another rank has them
            return
        table = Table(title=f"{self.title} against labelled artifacts")
        best = self.summary.get("best_threshold")
        titles = ["", f"threshold {self.detector.threshold:g}"]
        titles += [] if best is None else [f"best on the other half, {best:g}"]
        for name in titles:
            table.add_column(name, justify="right" if name else "left")
        for name in SCORES:
            cells = [figure_text(self.summary, f"{prefix}{name}") for prefix in ("", "best_")]
            table.add_row(SCORE_TITLES[name], *cells[: len(table.columns) - 1])
        table.add_row("average precision", figure_text(self.summary, "average_precision"))
        table.add_row("seconds a megapixel", f"{self.summary.get('seconds_per_megapixel', 0):.4f}")
        if self.prominence and self.summary["images"]:
            for name, text in self.prominence.lines(self.summary):
                table.add_row(name, text)
        table.add_row("images", *(str(self.summary.get(f"{p}images", "")) for p in ("", "best_")))
        terminal().print(table)


def figure_text(figures: Mapping[str, Any], name: str) -> str:
    """A score with its interval, as it is read by people."""
    value, low, high = (figures.get(f"{name}{end}") for end in ("", "_low", "_high"))
    if value is None:
        return "–"
    return f"{value:.4f}" if low is None else f"{value:.4f}  [{low:.3f}, {high:.3f}]"


def _check(**settings: tuple[int, int]) -> None:
    for name, (value, least) in settings.items():
        if value < least:
            raise InputError(f"{name}={value}: give a whole number of at least {least}")


def _known(value: float) -> float | None:
    return None if np.isnan(value) else round(float(value), 6)
