"""Calibration over folders: upscalings and their labels in, a table of texture intervals out."""

from __future__ import annotations

import json
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from rich.table import Table

from desra.calibration import (
    MIN_PIXELS,
    PERCENTILE,
    Calibration,
    ClassInterval,
    TextureDistribution,
    bins_for,
    calibrate,
    check_rule,
    distance_histogram,
    interval_counts,
)
from desra.detector import ArtifactDetector, Detector
from desra.errors import InputError
from desra.files import atomic_path, write_table, write_text
from desra.image_task import Result
from desra.ledger import Row
from desra.rim import inside
from desra.segmenters import Segmenter
from desra.semantics import ADE20K_CLASSES, INTERVALS, texture_intervals
from desra.stage_cache import Stage
from desra.terminal import terminal
from models.upscaler import Upscaler
from tasks.calibrate_plots import plot_classes, plot_overview
from tasks.pair_task import PairTask

TABLE = "intervals.csv"
HISTOGRAMS = "histograms"
SHOWN = 25
"""Classes listed in the terminal; the table has all."""


class Counted(NamedTuple):
    """What is kept of one image.

    Attributes:
        counts: pixels by label and bin, int64 ``(256, bins)``.
        mean_distance: over the image without its rim.
        size: height and width.
    """

    counts: NDArray[np.int64]
    mean_distance: float
    size: tuple[int, int]


class CalibrationTask(PairTask[Counted]):
    """Find the texture interval of each semantic class; an `ImageTask`.

    Each image leaves a small file of counts, which ranks share through the file system as they do
    their rows; another percentile, and most other numbers of intervals, come from the same files.

    Args:
        detector: gives the distance; one of DeSRA, as its table it is that is made.
        segmenter: names the classes.
        output_dir: gets ``intervals.csv``, ``distribution.csv``, ``overview.png``, ``classes.pdf``,
            ``metrics.json``, ``per_image.csv`` and ``histograms/``.
        percentile: of a class's pixels that its interval and those above it must hold.
        intervals: number of intervals that [0, 1] is split into.
        min_pixels: a class of fewer gets the interval of all pixels, and a mark.
        mse: see `PairTask`.
        gan: likewise.

    Raises:
        InputError: a setting out of its range, a segmenter without classes, or another detector.
    """

    name = "calibrate"
    table_name = "per_image.csv"
    columns = ("image", "width", "height", "classes", "mean_distance", "seconds", "error")

    def __init__(
        self,
        detector: Detector,
        segmenter: Segmenter,
        output_dir: str | Path,
        percentile: float = PERCENTILE,
        intervals: int = INTERVALS,
        min_pixels: int = MIN_PIXELS,
        mse: Upscaler | None = None,
        gan: Upscaler | None = None,
    ) -> None:
        check_rule(percentile, intervals, min_pixels)
        if not segmenter.classes:
            raise InputError(
                "segmenter=none: calibration is by semantic class; give segmenter=mmseg, or "
                "segmenter=labels segmenter.root=DIR"
            )
        if not isinstance(detector, ArtifactDetector):
            raise InputError("detector: only detector=desra has texture intervals to calibrate")
        super().__init__(detector, segmenter, output_dir, mse, gan)
        self.percentile, self.intervals, self.min_pixels = float(percentile), intervals, min_pixels
        self.bins = bins_for(intervals)
        self.settings = {"stage": self.stage_settings, "bins": self.bins}
        self.calibration: Calibration | None = None

    def examine(self, stage: Stage) -> list[Counted]:
        """Count the distances of each class in each image of a batch."""
        if stage.labels is None:
            raise InputError("the segmenter gave no labels")
        height, width = stage.distance.shape[-2:]
        if stage.labels.shape != stage.distance.shape:
            raise InputError("label map of another size than the image; label GAN-SR itself")
        found = []
        planes = (inside(plane, self.rim) for plane in (stage.distance, stage.labels))
        for one, labels in zip(*planes, strict=True):
            counts = distance_histogram(one, labels, self.bins)
            found.append(Counted(counts.cpu().numpy(), float(one.mean()), (height, width)))
        return found

    def conclude(self, result: Result, found: Counted) -> None:
        """The image's row; its counts go to a file."""
        height, width = found.size
        result.row = {
            "width": width,
            "height": height,
            "classes": int(found.counts[: len(self.segmenter.classes)].any(1).sum()),
            "mean_distance": round(found.mean_distance, 6),
            "seconds": round(result.sample.seconds, 4),
        }
        result.write = partial(self._write_counts, result.sample.match.key, found.counts)

    def _histogram_path(self, key: str) -> Path:
        return self.output_dir / HISTOGRAMS / f"{key}.npz"

    def _write_counts(self, key: str, counts: NDArray[np.int64]) -> list[Path]:
        path = self._histogram_path(key)
        labels = np.flatnonzero(counts.any(1)).astype(np.uint8)
        with atomic_path(path) as temporary:
            np.savez_compressed(temporary, labels=labels, counts=counts[labels])
        return [path]

    def distribution(self, rows: Sequence[Row]) -> TextureDistribution:
        """The counts of all images that could be done, summed from their files."""
        distribution = TextureDistribution(self.bins, sync_on_compute=False)
        for row in rows:
            if row.get("error"):
                continue
            with np.load(self._histogram_path(row["image"])) as stored:
                counts = torch.zeros_like(distribution.counts)
                counts[stored["labels"].astype(np.int64)] = torch.from_numpy(stored["counts"])
            distribution.add(counts)
        return distribution

    def finish(self, rows: Sequence[Row]) -> None:
        """Write the table of intervals, the distributions and their pictures."""
        distribution = self.distribution(rows)
        self.summary = {
            "images": int(distribution.all_images),
            "images_not_done": len(rows) - int(distribution.all_images),
            "percentile": self.percentile,
            "intervals": self.intervals,
            "min_pixels": self.min_pixels,
        }
        if self.summary["images"]:
            self._write_table(distribution)
        write_text(self.output_dir / "metrics.json", json.dumps(self.summary, indent=2) + "\n")

    def _write_table(self, distribution: TextureDistribution) -> None:
        rule = (self.percentile, self.intervals, self.min_pixels)
        found = calibrate(distribution, self.segmenter.classes, *rule)
        self.calibration = found
        self.summary |= {
            "pixels": found.overall.pixels,
            "overall_interval": found.overall.interval,
            "overall_distance": found.overall.distance,
            "classes_seen": sum(row.pixels > 0 for row in found.classes),
            "classes_calibrated": sum(not row.fallback for row in found.classes),
            "classes_fallback": sum(row.fallback for row in found.classes),
        }
        found.write(self.output_dir / TABLE)
        self._write_distribution(found, distribution)
        released = _released(self.segmenter.classes)
        plot_overview(
            self.output_dir / "overview.png",
            found,
            distribution,
            None if released is None else list(released.values()),
            getattr(self.detector, "threshold", None),
        )
        plot_classes(self.output_dir / "classes.pdf", found, distribution, self.percentile)

    def _write_distribution(self, found: Calibration, distribution: TextureDistribution) -> None:
        """``distribution.csv``: a row a class that was seen, pixels by interval from D = 0."""
        counts = interval_counts(distribution.counts, self.intervals)
        edges = [f"{number / self.intervals:.4g}" for number in range(self.intervals)]
        rows: list[dict[str, Any]] = [
            {
                "index": row.index,
                "name": row.name,
                **dict(zip(edges, counts[row.index].tolist(), strict=True)),
            }
            for row in found.classes
            if row.pixels
        ]
        write_table(self.output_dir / "distribution.csv", rows, ["index", "name", *edges])

    def teardown(self, stage: str) -> None:
        """Print the table's most seen classes; only now is the progress bar gone."""
        if not self.summary:  # another rank has it
            return
        console = terminal()
        if self.calibration is None:
            console.print("no image could be done; no table written")
            return
        console.print(self._terminal_table(self.calibration))
        fallback = self.summary["classes_fallback"]
        console.print(
            f"{fallback} of {len(self.calibration.classes)} classes have fewer than "
            f"{self.min_pixels} pixels and the interval of all pixels.\n"
            f"Use it with detector.intervals={self.output_dir / TABLE}",
            soft_wrap=True,
        )

    def _terminal_table(self, found: Calibration) -> Table:
        released = _released(self.segmenter.classes)
        table = Table(title=f"Texture intervals, {self.percentile:g} % of pixels")
        for title in ("class", "pixels", "images", "D", f"n of {self.intervals}", "A"):
            table.add_column(title, justify="left" if title == "class" else "right")
        if released:
            table.add_column("released n of 20", justify="right")
        own = sorted((row for row in found.classes if not row.fallback), key=lambda r: -r.pixels)
        for row in [found.overall, *own[:SHOWN]]:
            theirs = [str(released.get(row.index, ""))] if released else []
            table.add_row(*_cells(row), *theirs)
        if len(own) > SHOWN:
            table.caption = f"and {len(own) - SHOWN} more in {TABLE}"
        return table


def _cells(row: ClassInterval) -> tuple[str, ...]:
    reached = "" if row.distance is None else f"{row.distance:.3f}"
    counts = (f"{row.pixels:,}", str(row.images))
    return (row.name.strip(), *counts, reached, str(row.interval), f"{row.weight:.3f}")


def _released(classes: Sequence[str]) -> dict[int, int] | None:
    """Intervals of the release by class, where these are the classes it has."""
    if tuple(classes) != ADE20K_CLASSES:
        return None
    return {row.index: row.interval for row in texture_intervals()}
