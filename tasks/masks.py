"""Detected masks against labels: scores of every image and of the set, and pictures of both."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np
import torch
from lightning import LightningModule
from numpy.typing import NDArray
from rich.table import Table

from desra import report
from desra.errors import InputError
from desra.files import Match, write_text
from desra.image_task import Result, Sample
from desra.images import image_size, read_rgb
from desra.labelme import read_label
from desra.ledger import Row
from desra.masks import doubt, read_mask_image
from desra.metrics import (
    BORDER,
    MIN_SHARE,
    SCORES,
    count_row,
    score_rows,
    score_text,
    split_regions,
)
from desra.regions import label_regions
from desra.rim import clear_rim, full_size, inside
from desra.terminal import terminal
from tasks.prominent_regions import REGION_TABLE, ProminenceEvaluation

log = logging.getLogger(__name__)

TITLE = "Detected against labelled artifacts"
PICTURES = {"lr": "LR", "mse_sr": "MSE-SR", "gan_sr": "GAN-SR"}
SCORE_TITLES = {"iou": "IoU", "precision": "precision", "recall": "recall", "f1": "F1"}
PAGE_COLUMNS = (
    report.Column("artifact_share", kind="share", hint="pixels detected or labelled"),
    report.Column("iou", "IoU", "share", "pixels both detected and labelled, of either", False),
    report.Column("precision", "", "share", "detected regions that are labelled", False),
    report.Column("recall", "", "share", "labelled regions that are detected", False),
    report.Column("f1", "F1", "share", "harmonic mean of precision and recall", False),
    report.Column("detected", "detected", "integer", "detected regions"),
    report.Column("detected_hits", "hits", "integer", "detected regions that are labelled"),
    report.Column("labelled", "labelled", "integer", "labelled regions"),
    report.Column("labelled_hits", "found", "integer", "labelled regions that are detected"),
)
TOP_SCORE = report.Column(
    "top_score", "score", "share", "viewers who notice the image's most prominent labelled region"
)


@dataclass
class Masks:
    """What was read of one image.

    Attributes:
        mask: detected artifacts, ``(H, W)`` bool.
        gt_mask: labelled artifacts, likewise.
        gt_rim: pixels on each side that the label lacked.
        pictures: role to ``(h, w, 3)`` uint8 RGB.
        response: the detector's, ``(H, W)`` in [0, 1]; None where it is not known or not needed.
    """

    mask: NDArray[np.bool_]
    gt_mask: NDArray[np.bool_]
    gt_rim: int
    pictures: dict[str, NDArray[np.uint8]] = field(default_factory=dict)
    response: NDArray[np.float64] | None = None


class MaskEvaluation(LightningModule):
    """Score detected masks against labelled ones; an `ImageTask`.

    Args:
        output_dir: gets ``metrics.json``, ``per_image.csv`` and ``index.html``.
        border: pixels on each side that are left out, where nothing can be detected.
        min_share: share of a region's pixels that the other mask must cover.
        page: whether to make the page of pictures.
        prominence: scores and kinds of labelled regions; None for none.

    Raises:
        InputError: a setting out of its range.
    """

    name = "evaluate"
    table_name = "per_image.csv"
    columns = (
        "image",
        "width",
        "height",
        *SCORES,
        "artifact_share",
        "intersection",
        "union",
        "detected",
        "detected_hits",
        "labelled",
        "labelled_hits",
        "top_score",
        "seconds",
        "error",
    )

    def __init__(
        self,
        output_dir: str | Path,
        border: int = BORDER,
        min_share: float = MIN_SHARE,
        page: bool = True,
        prominence: ProminenceEvaluation | None = None,
    ) -> None:
        super().__init__()
        if border < 0:
            raise InputError(f"border={border}: give a width in pixels, 0 to compare all of it")
        if not 0 < min_share <= 1:
            raise InputError(f"min_share={min_share}: give a share above 0 and at most 1")
        self.output_dir = Path(output_dir)
        self.border, self.min_share, self.page = border, min_share, page
        self.prominence = prominence
        self.settings: dict[str, Any] = {"border": border, "min_share": min_share, "page": page}
        if prominence is not None:
            self.settings["prominence"] = prominence.settings
        self.summary: dict[str, Any] = {}

    def inputs(self, match: Match) -> Sequence[Path]:
        """The two masks, the pictures they are shown on, scores and the detector's map."""
        more = self.prominence.inputs(match.key) if self.prominence else []
        return [*(path for _, path in sorted(match.paths.items())), *more]

    def load(self, match: Match) -> Masks:
        """Read the masks of a match at full size and, for the page, its pictures.

        Masks of one size are taken to be of full size where no picture says otherwise.
        """
        paths, rim = match.paths, self.border or BORDER
        mask, label = read_mask_image(paths["mask"]), read_label(paths)
        sizes = [image_size(paths[role]) for role in ("mse_sr", "gan_sr") if role in paths]
        gt_mask = label
        for size in sizes or [max(mask.shape, label.shape)]:
            mask = full_size(mask, size, rim, f"{match.key}: detected mask")
            gt_mask = full_size(gt_mask, size, rim, f"{match.key}: labelled mask")
        masks = Masks(mask, gt_mask, (gt_mask.shape[0] - label.shape[0]) // 2)
        if self.page:
            masks.pictures = {role: read_rgb(paths[role]) for role in PICTURES if role in paths}
        if self.prominence:
            response = self.prominence.read_response(match.key)
            if response is not None:
                masks.response = full_size(response, mask.shape, rim, f"{match.key}: response")
        return masks

    def predict_step(self, batch: list[Sample], *_: Any) -> list[Result]:
        """Score each sample; its page is written beside the work on the next."""
        return [self._score(sample) for sample in batch]

    def _score(self, sample: Sample) -> Result:
        result, masks = Result(sample), sample.payload
        if masks is None:
            return result
        start = perf_counter()
        try:
            planes = masks.mask, masks.gt_mask
            counts = count_row(*planes, self.border, self.min_share, self.device)
            more: Row = {}
            if self.prominence:
                more = self.prominence.measure(
                    sample.match.key, *planes, masks.response, self.border, masks.gt_rim
                )
        except InputError as error:
            result.error = f"{sample.match.key}: {error}"
            return result
        scores = score_rows([counts])
        height, width = inside(masks.mask, self.border).shape
        result.row = {"width": width, "height": height, **counts}
        result.row |= {name: scores[name] for name in SCORES}
        result.row["artifact_share"] = counts["union"] / (height * width)
        result.row |= more
        result.row["seconds"] = round(sample.seconds + perf_counter() - start, 4)
        if self.page:
            facts = self.prominence.facts(more) if self.prominence else None
            result.write = partial(
                write_overlap,
                self.output_dir,
                sample.match.key,
                clear_rim(masks.mask, self.border),
                clear_rim(masks.gt_mask, self.border),
                self.min_share,
                masks.pictures,
                facts=facts,
            )
        return result

    def finish(self, rows: Sequence[Row]) -> None:
        """Write ``metrics.json`` and the page."""
        done = [row for row in rows if not row.get("error")]
        self.summary = {
            **score_rows(done),
            "images_not_done": len(rows) - len(done),
            "border": self.border,
            "min_share": self.min_share,
        }
        marked = [float(row["artifact_share"]) for row in done]
        if done and (said := doubt(sum(marked) / len(marked))):
            log.warning("%s", said)
        columns: tuple[report.Column, ...] = PAGE_COLUMNS
        if self.prominence:
            self.summary |= self.prominence.summarise(done)
            self.prominence.write_regions(self.output_dir / REGION_TABLE, done)
            columns = (*PAGE_COLUMNS, TOP_SCORE) if self.prominence.scored else PAGE_COLUMNS
        write_text(self.output_dir / "metrics.json", json.dumps(self.summary, indent=2) + "\n")
        if self.page:
            report.write_page(
                self.output_dir,
                rows,
                title=TITLE,
                columns=columns,
                sort="iou",
                settings={"border": self.border, "region hit from": f"{self.min_share:.0%}"},
                summary={SCORE_TITLES[name]: score_text(self.summary[name]) for name in SCORES},
            )

    def teardown(self, stage: str) -> None:
        """Print the metrics of the set; only now is the progress bar gone."""
        if not self.summary:  # another rank has them
            return
        table = Table(title=TITLE, show_header=False)
        table.add_column(justify="left")
        table.add_column(justify="right")
        more = self.prominence.lines(self.summary) if self.prominence else []
        for name, text in [*_lines(self.summary), *more]:
            table.add_row(name, text)
        terminal().print(table)


def write_overlap(
    output_dir: Path,
    key: str,
    mask: NDArray[np.bool_],
    gt_mask: NDArray[np.bool_],
    min_share: float,
    pictures: Mapping[str, NDArray],
    heatmaps: Mapping[str, NDArray] | None = None,
    facts: Mapping[int, Mapping[str, Any]] | None = None,
) -> list[Path]:
    """Write the page's files of one image: pictures (or where there are none the masks themselves)
    with hits, misses and false alarms over them.

    Args:
        output_dir: where the page will be.
        key: of the image.
        mask: detected artifacts, ``(H, W)``.
        gt_mask: labelled artifacts, ``(H, W)``.
        min_share: share of a region's pixels that the other mask must cover for a hit.
        pictures: role to ``(h, w, 3)`` uint8 RGB.
        heatmaps: title to ``(H, W)`` in [0, 1].
        facts: what is known of labelled regions, by their number in raster order.
    """
    images = {PICTURES[role]: pictures[role] for role in PICTURES if role in pictures}
    if not pictures.keys() & {"mse_sr", "gan_sr"}:
        images |= {
            "Detected mask": _black_and_white(mask),
            "Labelled mask": _black_and_white(gt_mask),
        }
    hit, false_alarm = split_regions(mask, gt_mask, min_share)
    _, miss = split_regions(gt_mask, mask, min_share)
    outlines = {"Labelled": gt_mask, "Hit": hit, "False alarm": false_alarm, "Miss": miss}
    if facts is not None:
        numbers = label_regions(torch.from_numpy(gt_mask))[0].numpy()
        outlines |= {"Labelled": numbers, "Miss": numbers * miss}
    return report.write_entry(
        output_dir,
        key,
        images=images,
        heatmaps=heatmaps,
        outlines=outlines,
        facts=None if facts is None else {"Labelled": facts, "Miss": facts},
    )


def _lines(summary: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Names and metrics of the set, as they are read by people."""
    lines = [
        (SCORE_TITLES["iou"], score_text(summary["iou"])),
        (SCORE_TITLES["precision"], _with_counts(summary, "precision", "detected")),
        (SCORE_TITLES["recall"], _with_counts(summary, "recall", "labelled")),
        (SCORE_TITLES["f1"], score_text(summary["f1"])),
        ("images", str(summary["images"])),
        ("without artifacts, not in the IoU", str(summary["images_without_artifacts"])),
    ]
    failed = summary["images_not_done"]
    return [*lines, ("not done", str(failed))] if failed else lines


def _with_counts(summary: Mapping[str, Any], score: str, regions: str) -> str:
    counts = f"{summary[f'{regions}_hits']} of {summary[regions]} {regions} regions"
    return f"{score_text(summary[score])}  ({counts})"


def _black_and_white(plane: NDArray[np.bool_]) -> NDArray[np.uint8]:
    return np.repeat(plane[..., None].astype(np.uint8) * 255, 3, axis=2)
