"""Any number of versions of each image side by side: a page, and a table of what differs."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Sequence
from functools import partial
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import torch
from lightning.pytorch.utilities import rank_zero_only
from rich.table import Table
from torch import nn

from desra import report
from desra.detectors import Detector
from desra.errors import InputError
from desra.files import write_text
from desra.image_task import Result
from desra.ledger import Row
from desra.metrics.detail import BACKBONES, Backbone, RegionLPIPS, region_psnr
from desra.regions import count_regions
from desra.segmenters import Segmenter
from desra.terminal import terminal
from models.generators import load_generator
from models.upscaler import Upscaler
from tasks.versions import Versions, VersionsTask, plane

log = logging.getLogger(__name__)

TITLE = "Versions side by side"


class VersionComparison(VersionsTask):
    """Compare versions with each other, and with the true image where there is one.

    Of each pair: PSNR, LPIPS and the mean of the detector's distance between the two. Of each
    version: the share of its pixels in artifacts, and their regions.

    Args:
        versions: two weights or folders, or more; see `VersionsTask` for the rest.
        lpips: backbone of LPIPS, or None to leave it out.
    """

    name = "evaluate-compare"
    table_name = "per_image.csv"

    def __init__(
        self,
        versions: Sequence[str],
        detector: Detector,
        segmenter: Segmenter,
        output_dir: str | Path,
        mse: Upscaler | None = None,
        load: Callable[[str], nn.Module] = load_generator,
        names: Sequence[str] | None = None,
        lpips: Backbone | None = "alex",
        **upscaler: Any,
    ) -> None:
        if isinstance(versions, str) or len(versions) < 2:
            raise InputError("weights: give two versions or more, as 'weights=[A,B,C]'")
        super().__init__(versions, detector, segmenter, output_dir, mse, load, names, **upscaler)
        if lpips is not None and lpips not in BACKBONES:
            raise InputError(f"lpips={lpips}: give {', '.join(BACKBONES)} or null")
        self.backbone = lpips
        self.lpips: RegionLPIPS | None = None
        self.lpips_missing: str | None = None
        self.settings["lpips"] = lpips
        self.pairs = list(combinations(self.names, 2))
        pairs = [*self.pairs, *((name, "HR") for name in self.names)]
        self.columns = (
            *("image", "difference", "most_different"),
            *(f"{name}/{of}" for name in self.names for of in ("artifact_share", "regions")),
            *(_column("distance", *pair) for pair in self.pairs),
            *(_column(figure, *pair) for pair in pairs for figure in ("psnr", "lpips")),
            *("seconds", "error"),
        )

    def setup(self, stage: str) -> None:
        """Load what the metrics need; without LPIPS's weights it is left out, and that is said."""
        super().setup(stage)
        if self.backbone is not None:
            try:
                self.lpips = RegionLPIPS(self.backbone)
            except InputError as error:
                self.lpips_missing = f"left out: {error}"
                rank_zero_only(log.warning)("without LPIPS: %s", error)

    def examine(self, result: Result, versions: Versions) -> None:
        """The metrics of an image, and its page."""
        row: Row = {}
        batches = dict(zip(self.names, map(self.batch, versions.images), strict=True))
        for name, found in zip(self.names, versions.found, strict=True):
            row[f"{name}/artifact_share"] = found.mask.double().mean().item()
            row[f"{name}/regions"] = int(count_regions(found.mask).sum())
        everywhere = torch.ones_like(versions.found[0].mask)
        for first, second in self.pairs:
            a, b = batches[first], batches[second]
            distance = self.detector.distance(a, b)
            row[_column("distance", first, second)] = 1 - distance.mean().item()
            self._detail(row, (first, second), (a, b), everywhere)
        if versions.hr is not None:
            hr = self.batch(versions.hr)
            for name, image in batches.items():
                self._detail(row, (name, "HR"), (image, hr), everywhere)
        widest = max(self.pairs, key=lambda pair: row[_column("distance", *pair)])
        row["difference"] = row[_column("distance", *widest)]
        row["most_different"] = " and ".join(widest)
        result.row = row
        result.write = partial(self._write, versions)

    def _detail(
        self, row: Row, names: tuple[str, str], images: tuple[Any, Any], everywhere: Any
    ) -> None:
        row[_column("psnr", *names)] = region_psnr(*images, everywhere).item()
        if self.lpips is not None:
            lpips = self.lpips(*images, everywhere).item()
            row[_column("lpips", *names)] = None if np.isnan(lpips) else lpips

    def _write(self, versions: Versions) -> list[Path]:
        images = {"LR": versions.lr, "MSE-SR": versions.mse_sr}
        images.update(zip(self.names, versions.images, strict=True))
        if versions.hr is not None:
            images["HR"] = versions.hr
        found = dict(zip(self.names, versions.found, strict=True))
        return report.write_entry(
            self.output_dir,
            versions.key,
            images=images,
            heatmaps={
                _heat(name): 1 - plane(detection.distance) for name, detection in found.items()
            },
            outlines={name: plane(detection.mask) for name, detection in found.items()},
        )

    def finish(self, rows: Sequence[Row]) -> None:
        """Means over the set, ``metrics.json`` and the page."""
        done = [row for row in rows if not row.get("error")]
        means = {
            name: float(np.mean(values))
            for name in self.columns
            if name not in ("image", "most_different", "seconds", "error")
            and (values := [row[name] for row in done if row.get(name) is not None])
        }
        self.summary = {"images": len(done), **means}
        if self.lpips_missing:
            self.summary["lpips"] = self.lpips_missing
        write_text(self.output_dir / "metrics.json", json.dumps(self.summary, indent=2) + "\n")
        self._write_page(rows)

    def _write_page(self, rows: Sequence[Row]) -> None:
        columns = [
            report.Column("image", kind="text", descending=False),
            report.Column(
                *("difference", "differ by", "number"),
                "mean texture distance (1 − D) of the two versions that differ most",
            ),
            report.Column("most_different", "which two", "text"),
        ]
        columns += [
            report.Column(
                *(f"{name}/artifact_share", f"{name}: artifacts", "share"),
                f"pixels in artifacts of {name}",
            )
            for name in self.names
        ]
        columns += [
            report.Column(
                _column("psnr", *pair), f"PSNR {pair[0]} – {pair[1]}, dB", descending=False
            )
            for pair in (*self.pairs, *((name, "HR") for name in self.names))
            if _column("psnr", *pair) in self.summary
        ]
        scale = report.Scale(0, 1, 1 - self.detector.cutoff)
        report.write_page(
            self.output_dir,
            rows,
            title=TITLE,
            subtitle=", ".join(self.names),
            columns=columns,
            settings=self.detector.shown_settings,
            summary={
                f"{name}: artifact share": f"{self.summary[f'{name}/artifact_share']:.2%}"
                for name in self.names
                if f"{name}/artifact_share" in self.summary
            },
            share=None,
            sort="difference",
            scales=dict.fromkeys(map(_heat, self.names), scale),
            outlines=self.names,
        )

    def teardown(self, stage: str) -> None:
        """Print two tables; only now is the progress bar gone."""
        if not self.summary:  # another rank has them
            return
        self.say_reference()
        console = terminal()
        table = Table(
            "version", "artifact share", "regions", "PSNR to HR", "LPIPS to HR", title=TITLE
        )
        for name in self.names:
            figures = [f"{name}/artifact_share", f"{name}/regions"]
            figures += [_column(figure, name, "HR") for figure in ("psnr", "lpips")]
            texts = (self._text(name) for name in figures)
            table.add_row(name, *texts)
        console.print(table)
        table = Table("pair", "texture distance", "PSNR", "LPIPS")
        for pair in self.pairs:
            figures = [_column(figure, *pair) for figure in ("distance", "psnr", "lpips")]
            table.add_row(" – ".join(pair), *(self._text(name) for name in figures))
        console.print(table)

    def _text(self, name: str) -> str:
        value = self.summary.get(name)
        if value is None:
            return "–"
        return f"{value:.2%}" if name.endswith("artifact_share") else f"{value:.4g}"


def _column(figure: str, first: str, second: str) -> str:
    return f"{first}–{second}/{figure}"


def _heat(name: str) -> str:
    return f"Difference {name}"
