"""Quality of restored images, against clean ones or against each image's preferred versions."""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from rich.progress import track
from rich.table import Table

from desra import report
from desra.device import chosen_device
from desra.errors import InputError, describe
from desra.files import find_images, match_folders, write_table, write_text
from desra.hggt_labels import Ties
from desra.hggt_sets import GroundTruthSet, find_sets
from desra.images import read_rgb
from desra.metrics.quality import HIGHER_IS_BETTER, METRICS, Conventions, QualityMetrics
from desra.terminal import terminal


@dataclass(frozen=True)
class Comparison:
    """One restored image and what it is compared with.

    Attributes:
        key: of the image.
        restored: its file.
        references: name to file; the metrics' means over them are the image's.
        others: name to file of further pictures for the page.
        labels: of references and others, to show.
    """

    key: str
    restored: Path
    references: Mapping[str, Path]
    others: Mapping[str, Path]
    labels: Mapping[str, str]


class Quality:
    """Metrics of a folder of restored images against a folder of clean ones.

    Args:
        restored: the images.
        output_dir: gets ``metrics.json``, ``per_image.csv``, ``table.tex`` and ``index.html``.
        hr: the clean ones, matched by relative path; see `MultiGT` for several.
        metrics: names of `desra.metrics.quality.METRICS`, or of pyiqa's.
        border: pixels left out on each side.
        luma: PSNR and SSIM on the Y channel.
        page: whether to make the page of pictures.
        title: of table and page.
        device: where networks compute; ``"auto"`` for a GPU where there is one.
        weights: of the networks of metrics, by file; see `QualityMetrics`.

    Raises:
        InputError: a setting that cannot be used, or metrics whose weights cannot be had.
    """

    title = "Quality against clean images"

    def __init__(
        self,
        restored: str | Path,
        output_dir: str | Path,
        hr: str | Path | None = None,
        metrics: Sequence[str] = METRICS,
        border: int = 4,
        luma: bool = False,
        page: bool = True,
        device: str = "auto",
        weights: Mapping[str, str | Path | None] | None = None,
    ) -> None:
        self.restored, self.output_dir, self.hr = Path(restored), Path(output_dir), hr
        self.conventions = Conventions(border, luma)
        self.names = list(metrics)
        if not self.names:
            raise InputError(f"metrics=[]: give some of {', '.join(METRICS)}")
        self.measure = QualityMetrics(self.names, self.conventions, chosen_device(device), weights)
        self.page = page
        self.problems: list[str] = []
        self.summary: dict[str, Any] = {}

    def comparisons(self) -> Iterator[Comparison]:
        """What is compared with what; what cannot be is added to ``problems``."""
        if self.hr is None:
            raise InputError("hr: no value given; add hr=DIR, the clean images")
        for match in match_folders({"restored": self.restored, "hr": self.hr}):
            if match.error:
                self.problems.append(f"{match.key}: {match.error}")
                continue
            paths = match.paths
            yield Comparison(match.key, paths["restored"], {"HR": paths["hr"]}, {}, {})

    def run(self) -> list[str]:
        """Score all images and write everything; what could not be done, a line each."""
        rows, details = [], []
        for comparison in track(list(self.comparisons()), "scoring"):
            try:
                row, scores = self._score(comparison)
            except (InputError, OSError) as error:
                self.problems.append(f"{comparison.key}: {describe(error, comparison.key)}")
                continue
            rows.append(row)
            details += scores
        if not rows:
            first = "; ".join(self.problems[:3])
            raise InputError(f"{self.restored}: no image could be scored: {first}")
        self._write(rows, details)
        return self.problems

    def _score(self, comparison: Comparison) -> tuple[dict[str, Any], list[dict[str, Any]]]:
        pixels = {"Restored": read_rgb(comparison.restored)}
        scores: list[dict[str, Any]] = []
        for name, path in comparison.references.items():
            pixels[name] = read_rgb(path)
            values = self.measure(_planes(pixels["Restored"]), _planes(pixels[name]))
            scores.append({"image": comparison.key, "reference": name, **values})
        row: dict[str, Any] = {"image": comparison.key, "references": len(scores)}
        row |= {name: fmean(score[name] for score in scores) for name in self.names}
        if self.page:
            pixels |= {name: read_rgb(path) for name, path in comparison.others.items()}
            same = {n: p for n, p in pixels.items() if p.shape == pixels["Restored"].shape}
            shown = {f"{n} {comparison.labels.get(n, '')}".strip(): p for n, p in same.items()}
            report.write_entry(self.output_dir, comparison.key, images=shown)
        return row, [{**row, **score} for score in scores]

    def _summary(self, rows: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
        """What a subclass adds to ``metrics.json``."""
        return {}

    def _write(self, rows: list[dict[str, Any]], details: list[dict[str, Any]]) -> None:
        means = {name: fmean(row[name] for row in rows) for name in self.names}
        self.summary = {
            **{name: value if math.isfinite(value) else None for name, value in means.items()},
            "images": len(rows),
            "references": len(details),
            **self._summary(rows),
            "images_not_done": len(self.problems),
            "conventions": self.conventions.lines(self.names),
        }
        text = json.dumps(self.summary, indent=2, ensure_ascii=False)
        write_text(self.output_dir / "metrics.json", text + "\n")
        more = sorted({name for row in rows for name in row} - {"image", "references", *self.names})
        columns = ["image", "references", *self.names, *more]
        write_table(self.output_dir / "per_image.csv", rows, columns)
        columns = ["image", "reference", *self.names]
        write_table(self.output_dir / "per_reference.csv", details, columns)
        write_text(self.output_dir / "table.tex", latex(means))
        if self.page:
            report.write_page(
                self.output_dir,
                rows,
                title=self.title,
                share=None,
                sort=self.names[0],
                columns=[
                    report.Column("references", "references", "integer", "images compared with"),
                    *(report.Column(name, name.upper(), "number") for name in self.names),
                ],
                settings=self.conventions.lines(self.names),
                summary={name.upper(): figure(name, value) for name, value in means.items()},
            )
        table = Table("", "mean", "convention", title=self.title)
        for name, value in means.items():
            said = self.conventions.lines(self.names)[name]
            table.add_row(name.upper(), figure(name, value), said)
        for name, count in self.summary.get("nearest", {}).items():
            mean = self.summary["psnr_to"][name]
            far = "infinite" if mean is None else f"{mean:.2f} dB"
            table.add_row(f"nearest to {name}", str(count), f"mean PSNR to it {far}")
        table.add_row("images", str(len(rows)), self.conventions.lines([])["border"])
        terminal().print(table)


class MultiGT(Quality):
    """Metrics as HGGT defines them: the mean over an image's Positives, then over images.

    The original is never a reference. A restored image belongs to the set whose key is its name, or
    its name without its last ``_SUFFIX``. ``metrics.json`` also says which version each image is
    nearest to by PSNR, the original among them, and the mean PSNR to each (``nearest``,
    ``psnr_to``), whatever people say of it.

    Args:
        restored: the images.
        gt_root: holds ``original/`` and a folder a version.
        labels: one folder an annotator.
        output_dir: as `Quality`; so are the ``options``.
        ties: of votes: ``"similar"`` or ``"drop"``.
    """

    title = "Quality against the versions that people prefer"

    def __init__(
        self,
        restored: str | Path,
        gt_root: str | Path,
        labels: str | Path,
        output_dir: str | Path,
        ties: Ties = "similar",
        **options: Any,
    ) -> None:
        super().__init__(restored, output_dir, **options)
        self.gt_root, self.labels, self.ties = gt_root, labels, ties
        self._psnr = QualityMetrics(["psnr"], self.conventions)

    def comparisons(self) -> Iterator[Comparison]:
        """A restored image each, with the Positives of its set."""
        sets, self.problems = find_sets(self.gt_root, self.labels, self.ties)
        by_key = {one.key: one for one in sets}
        for key, files in find_images(self.restored).items():
            own = by_key.get(key) or by_key.get(key.rpartition("_")[0])
            if len(files) > 1:
                self.problems.append(f"{files[0]}: {files[1].name} has the same name")
            elif own is None:
                self.problems.append(f"{files[0]}: no set of that name in {self.gt_root}")
            elif not own.voted("Positive"):
                self.problems.append(f"{own.key}: no version is Positive, so nothing to score by")
            else:
                yield self._comparison(own, files[0])

    def _comparison(self, own: GroundTruthSet, restored: Path) -> Comparison:
        positives = own.voted("Positive")
        references = {version: own.versions[version] for version in positives}
        others = {version: p for version, p in own.versions.items() if version not in references}
        labels = {
            version: f"{vote.label} ({vote.votes} of {vote.voters})"
            for version, vote in own.votes.items()
        }
        return Comparison(
            own.key, restored, references, {"Original": own.original, **others}, labels
        )

    def _score(self, comparison: Comparison) -> tuple[dict[str, Any], list[dict[str, Any]]]:
        row, details = super()._score(comparison)
        restored = _planes(read_rgb(comparison.restored))
        pictures = {
            name: _planes(read_rgb(path))
            for name, path in {**comparison.references, **comparison.others}.items()
        }
        distances = {
            name: self._psnr(restored, picture)["psnr"]
            for name, picture in pictures.items()
            if picture.shape == restored.shape
        }
        nearest = max(distances, key=lambda name: distances[name])
        to_each = {f"psnr_to_{name}": value for name, value in sorted(distances.items())}
        return row | {"nearest": nearest} | to_each, details

    def _summary(self, rows: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
        versions = sorted({name for row in rows for name in row if name.startswith("psnr_to_")})
        means = {name: fmean(row[name] for row in rows if name in row) for name in versions}
        counts = Counter(row["nearest"] for row in rows)
        names = [name.removeprefix("psnr_to_") for name in versions]
        return {
            "nearest": {name: counts[name] for name in names},
            "psnr_to": {
                name: value if math.isfinite(value) else None
                for name, value in zip(names, means.values(), strict=True)
            },
        }


def figure(name: str, value: float) -> str:
    """A metric as text: two decimals of dB, four of the others."""
    return f"{value:.2f} dB" if name == "psnr" else f"{value:.4f}"


def latex(means: Mapping[str, float]) -> str:
    """A table with one row."""
    arrows = {True: r" $\uparrow$", False: r" $\downarrow$", None: ""}
    heads = [f"{name.upper()}{arrows[HIGHER_IS_BETTER.get(name)]}" for name in means]
    values = [figure(name, value).removesuffix(" dB") for name, value in means.items()]
    return "\n".join(
        [
            rf"\begin{{tabular}}{{l{'c' * len(means)}}}",
            rf"Method & {' & '.join(heads)} \\",
            r"\hline",
            rf"Ours & {' & '.join(values)} \\",
            r"\end{tabular}",
            "",
        ]
    )


def _planes(pixels: NDArray[np.uint8]) -> torch.Tensor:
    return torch.from_numpy(pixels.copy()).permute(2, 0, 1).unsqueeze(0)
