"""Threshold and minimum area for a wanted precision or recall, from labelled images."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from time import perf_counter
from typing import Literal, get_args

from rich.table import Table

from desra.detector import Detector
from desra.errors import InputError
from desra.files import Match, write_table, write_text
from desra.image_task import Result
from desra.ledger import Row
from desra.metrics import MIN_SHARE, score_text
from desra.metrics.prominence import PROMINENCE
from desra.operating_points import (
    POINT_COLUMNS,
    Choice,
    Sweep,
    Target,
    as_thresholds,
    bootstrap_scores,
    choose,
    held_out_counts,
    plane,
    regions_from_record,
    sweep_thresholds,
)
from desra.rim import inside
from desra.segmenters import Segmenter
from desra.stage_cache import Stage
from desra.terminal import terminal
from models.upscaler import Upscaler
from tasks.choose_threshold_plot import plot_sweep
from tasks.choose_threshold_promise import Of, Promise, counts_of, lines
from tasks.pair_task import PairTask
from tasks.prominent_regions import ProminenceEvaluation

Wanted = Target | Literal["miss_rate"]
CUTOFFS = [step / 40 for step in range(1, 40)]
"""Of the distance, where no thresholds are given."""


class ThresholdChoice(PairTask[Stage]):
    """Sweep threshold and minimum area on labelled images; an `ImageTask`.

    Args:
        detector: makes the masks; its own threshold and minimum area are of no account.
        segmenter: what says which pixels show what.
        output_dir: gets ``metrics.json``, ``curve.csv``, ``curve.png`` and ``per_image.csv``.
        target: the score that must be reached, and the other is then as high as can be; or ``f1``,
            which is made as high as can be; or ``miss_rate``, a promise, see `Promise`.
        value: that the target must reach, above 0 and at most 1; of no account for ``f1``; for
            ``miss_rate`` the share of missed artifacts that is promised.
        thresholds: in the detector's units; None for 39 that are evenly spaced over its distances.
        min_areas: minimum areas of regions, pixels.
        min_share: share of a region's pixels that the other mask must cover.
        confidence: of the promise.
        of: what is promised of: ``"all"`` labelled artifacts or the ``"prominent"`` ones.
        prominence: where the labelled regions' scores are, and which are prominent; or None.
        splits: random halves on which the promise is tried.
        mse: see `PairTask`.
        gan: likewise.

    Raises:
        InputError: a setting out of its range.
    """

    name = "choose-threshold"
    table_name = "per_image.csv"
    columns = ("image", "width", "height", "labelled", "labelled_share", "seconds", "error")

    def __init__(
        self,
        detector: Detector,
        segmenter: Segmenter,
        output_dir: str | Path,
        target: Wanted = "precision",
        value: float = 0.8,
        thresholds: Sequence[float] | None = None,
        min_areas: Sequence[int] = (0, 500, 1000, 2000, 4000),
        min_share: float = MIN_SHARE,
        confidence: float = 0.9,
        of: Of = "all",
        prominence: ProminenceEvaluation | None = None,
        splits: int = 500,
        mse: Upscaler | None = None,
        gan: Upscaler | None = None,
    ) -> None:
        _check(target, value, thresholds, min_areas, min_share)
        super().__init__(detector, segmenter, output_dir, mse, gan)
        self.target, self.value, self.min_share = target, value, min_share
        self.promise: Promise | None = None
        if target == "miss_rate":
            scores = prominence.path if prominence else None
            level = prominence.prominence if prominence else PROMINENCE
            self.promise = Promise(value, confidence, of, scores, level, splits)
        given = as_thresholds(detector, CUTOFFS) if thresholds is None else thresholds
        self.thresholds = sorted({float(threshold) for threshold in given})
        self.min_areas = sorted(set(min_areas))
        self.settings = {
            "stage": self.stage_settings,
            "thresholds": self.thresholds,
            "min_share": min_share,
        }
        if self.promise and of != "all":
            self.settings |= {"of": of, "prominence": self.promise.prominence}
        self.choice: Choice | None = None

    def inputs(self, match: Match) -> Sequence[Path]:
        """The images, their labels, and the scores of regions where they count."""
        return [*super().inputs(match), *(self.promise.inputs if self.promise else [])]

    def examine(self, stage: Stage) -> list[Stage]:
        """Part a batch into its images."""
        ones = [slice(index, index + 1) for index in range(len(stage.distance))]
        labels = [None if stage.labels is None else stage.labels[one] for one in ones]
        return [Stage(stage.distance[one], known) for one, known in zip(ones, labels, strict=True)]

    def conclude(self, result: Result, found: Stage) -> None:
        """Sweep the thresholds; what is kept of them goes to the image's row."""
        start = perf_counter()
        height, width = found.distance.shape[-2:]
        gt_mask = result.sample.payload.gt_mask
        swept = sweep_thresholds(
            self.detector,
            *found,
            plane(gt_mask, found.distance.device),
            self.thresholds,
            self.rim,
            self.min_share,
        )
        seconds = result.sample.seconds + perf_counter() - start
        result.row = {
            "width": width,
            "height": height,
            "labelled": len(swept[0].decisive),
            "labelled_share": round(float(inside(gt_mask, self.rim).mean()), 6),
            "seconds": round(seconds, 4),
            "regions": [regions._asdict() for regions in swept],
        }
        if self.promise:
            key = result.sample.match.key
            result.row["counted"] = self.promise.counted(key, gt_mask, self.rim)

    def finish(self, rows: Sequence[Row]) -> None:
        """Choose, and write the curve, its picture and ``metrics.json``."""
        done = [row for row in rows if not row.get("error")]
        self.summary = {
            "target": self.target,
            "value": None if self.target == "f1" else self.value,
            "images": len(done),
            "images_not_done": len(rows) - len(done),
            "labelled": sum(row["labelled"] for row in done),
            "reached": None,
        }
        if self.summary["labelled"]:
            self._choose(done)
        write_text(self.output_dir / "metrics.json", json.dumps(self.summary, indent=2) + "\n")

    def _choose(self, rows: Sequence[Row]) -> None:
        sweep = Sweep(self.thresholds, self.min_areas, self.min_share)
        for row in rows:
            sweep.add(regions_from_record(record) for record in row["regions"])
        points = sweep.points()
        write_table(self.output_dir / "curve.csv", map(asdict, points), POINT_COLUMNS)
        if self.promise:
            counts = counts_of(rows, sweep)
            self.choice, said = self.promise.choose(sweep, counts)
            self.summary |= {"reached": self.choice.reached, **asdict(self.choice.point), **said}
            if not self.choice.reached:
                self.summary |= {"threshold": None, "min_area": None}
            wanted = 1 - self.value
            plot_sweep(self.output_dir / "curve.png", points, self.choice, "recall", wanted)
            return
        assert self.target != "miss_rate"
        wanted = self.summary["value"]
        if all(getattr(point, self.target) is None for point in points):
            return  # nothing is detected anywhere
        self.choice = choose(points, self.target, wanted)
        sure = bootstrap_scores(sweep, self.choice.point)
        held_out = held_out_counts(sweep, self.target, wanted) or {}
        self.summary |= {"reached": self.choice.reached, **asdict(self.choice.point)}
        self.summary |= {f"{name}_interval": ends for name, ends in sure.items()}
        self.summary |= {f"held_out_{name}": held_out.get(name) for name in ("precision", "recall")}
        path = self.output_dir / "curve.png"
        plot_sweep(path, points, self.choice, self.target, wanted)

    def teardown(self, stage: str) -> None:
        """Print what was chosen; only now is the progress bar gone."""
        if not self.summary:  # another rank has it
            return
        console = terminal()
        if self.choice is None:
            reason = "nothing is detected" if self.summary["labelled"] else "nothing is labelled"
            console.print(f"{reason} in {self.summary['images']} images: no settings to choose")
            return
        if self.promise:
            if self.choice.reached:
                console.print(self._settings(self.choice))
            for line in lines(self.promise, self.summary):
                console.print(line, soft_wrap=True, highlight=False)
            return
        console.print(self._table(self.choice))
        console.print(self._verdict(self.choice), soft_wrap=True)

    def _table(self, choice: Choice) -> Table:
        table = Table(title=f"Settings for {self._wish()}", show_header=False)
        table.add_column(justify="left")
        table.add_column(justify="right")
        table.add_row("threshold", f"{choice.point.threshold:g}")
        table.add_row("min_area", str(choice.point.min_area))
        for name in ("precision", "recall"):
            ends = self.summary[f"{name}_interval"]
            interval = f"  (95 %: {ends[0]:.3f} to {ends[1]:.3f})" if ends else ""
            table.add_row(name, score_text(getattr(choice.point, name)) + interval)
            table.add_row(
                f"{name}, chosen on other images", score_text(self.summary[f"held_out_{name}"])
            )
        table.add_row("f1", score_text(choice.point.f1))
        table.add_row("iou", score_text(choice.point.iou))
        table.add_row("images", str(self.summary["images"]))
        table.add_row("labelled regions", str(choice.point.labelled))
        return table

    def _settings(self, choice: Choice) -> str:
        threshold, min_area = choice.point.threshold, choice.point.min_area
        return f"Use it with detector.threshold={threshold:g} detector.min_area={min_area}"

    def _verdict(self, choice: Choice) -> str:
        if choice.reached:
            return self._settings(choice)
        settings = self._settings(choice).removeprefix("Use it with ")
        best = score_text(getattr(choice.point, self.target))
        return f"{self._wish()} is not reached; the best is {best}, at {settings}"

    def _wish(self) -> str:
        return "the best f1" if self.target == "f1" else f"{self.target} {self.value:g}"


def _check(
    target: str,
    value: float,
    thresholds: Sequence[float] | None,
    min_areas: Sequence[int],
    min_share: float,
) -> None:
    targets = (*get_args(Target), "miss_rate")
    if target not in targets:
        raise InputError(f"target={target}: give one of {', '.join(targets)}")
    if not 0 < value <= 1:
        raise InputError(f"value={value}: give the wanted {target}, above 0 and at most 1")
    if not 0 < min_share <= 1:
        raise InputError(f"min_share={min_share}: give a share above 0 and at most 1")
    if thresholds is not None and not len(thresholds):
        raise InputError("thresholds=[]: give at least one, or null for an even choice")
    if not len(min_areas) or min(min_areas) < 0:
        raise InputError("min_areas: give numbers of pixels, as [0,500,4000]")
