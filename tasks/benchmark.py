"""Detectors on benchmark sets, against each reference, by the measures of the field."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from time import perf_counter
from typing import Any, Literal

import numpy as np
import torch
from lightning import LightningModule
from numpy.typing import NDArray
from PIL import Image as PILImage
from torch import Tensor, nn

from datamodules.benchmark_images import BenchmarkMatch
from desra.benchmark_labels import read_labels
from desra.detectors import Detector
from desra.errors import InputError
from desra.files import Match, write_text
from desra.image_task import Result, Sample
from desra.images import read_rgb
from desra.ledger import Row
from desra.metrics import BORDER, MIN_SHARE
from desra.metrics.prominence import PROMINENCE
from desra.segmenters import Segmenter
from models.generators import load_generator
from models.upscaler import Precision, Upscaler, load_upscaler
from tasks.benchmark_counts import (
    MEASURES,
    CellScores,
    Counts,
    mean_ranks,
    read_counts,
    save_counts,
)
from tasks.benchmark_pictures import BenchmarkPictures, compare
from tasks.benchmark_tables import log_tables, show_tables, write_tables

_COUNTS = "Counts"


class Benchmark(LightningModule):
    """Judge detectors on sets with references; an `ImageTask` over `BenchmarkImages`.

    Distances are computed once an image, reference and detector, and all measures come from them.

    Args:
        title: of the benchmark.
        detectors: by the names that tables show.
        segmenter: what says which pixels show what.
        output_dir: gets ``benchmark.csv``, ``.tex`` and ``.png``, ``ranks.csv``, ``metrics.json``,
            and ``curves/`` with each precision-recall curve.
        measures: columns of the tables, of `MEASURES`; the CSV has all.
        rank_by: the measure whose mean rank over sets is given.
        weights: role of a reference (or ``after``) to weights that make it from LR.
        prominence: share of viewers from which on an artifact is prominent, and confirmed.
        border: width of the rim that is left out.
        min_share: share of a region's pixels that the other mask must cover.
        replicates: of the bootstrap over images.
        seed: of the bootstrap.
        tile: LR pixels a side of what is upscaled at once.
        precision: of the generators.
        load: reads a file of weights.

    Raises:
        InputError: a setting that cannot be used.
    """

    name = "benchmark"
    table_name = "per_image.csv"
    columns = ("image", "set", "reference", "width", "height", "labelled", "seconds", "error")

    def __init__(
        self,
        title: str,
        detectors: Mapping[str, Detector],
        segmenter: Segmenter,
        output_dir: str | Path,
        measures: Sequence[str] = ("precision", "recall", "f1", "pixel_f1", "pr_auc"),
        rank_by: str = "pr_auc",
        weights: Mapping[str, str | None] | None = None,
        prominence: float = PROMINENCE,
        border: int = BORDER,
        min_share: float = MIN_SHARE,
        replicates: int = 1000,
        seed: int = 0,
        tile: int | Literal["auto"] | None = "auto",
        precision: Precision = "auto",
        load: Callable[[str], nn.Module] = load_generator,
    ) -> None:
        super().__init__()
        _check(detectors, measures, rank_by, prominence, border, replicates)
        self.title, self.output_dir = title, Path(output_dir)
        self.detectors = nn.ModuleDict(dict(detectors))
        self.segmenter = segmenter
        self.measures, self.rank_by = list(measures), rank_by
        self.prominence, self.border, self.min_share = prominence, border, min_share
        self.replicates, self.seed = replicates, seed
        self.upscalers = nn.ModuleDict()
        for role, file in (weights or {}).items():
            upscaler = load_upscaler(file, load, tile=tile, precision=precision)
            if upscaler is not None:
                self.upscalers[role] = upscaler
        self.settings = {
            "detectors": {name: one.settings for name, one in self._named()},
            "segmenter": segmenter.settings,
            "upscalers": {role: net.settings for role, net in self.upscalers.items()},
            "prominence": prominence,
            "border": border,
            "min_share": min_share,
        }
        self.summary: dict[str, Any] = {}
        self._rows: list[dict[str, Any]] = []
        self._ranks: list[dict[str, Any]] = []
        self._notes: list[str] = []

    def _named(self) -> list[tuple[str, Detector]]:
        return [(name, one) for name, one in self.detectors.items() if isinstance(one, Detector)]

    def setup(self, stage: str) -> None:
        """Fetch and load what detectors and segmenter need before the first image."""
        for _, detector in self._named():
            detector.prepare()
        self.segmenter.prepare()

    def inputs(self, match: Match) -> Sequence[Path]:
        """The pictures, the files of labels, and what the segmenter reads."""
        assert isinstance(match, BenchmarkMatch)
        labels = [part.path for part in match.parts if part.path is not None]
        return [*match.paths.values(), *labels, *self.segmenter.inputs(match.key)]

    def load(self, match: Match) -> BenchmarkPictures:
        """Read the pictures and labels of a match.

        Raises:
            InputError: unreadable, or of sizes that do not fit together.
        """
        assert isinstance(match, BenchmarkMatch)
        gan_sr = read_rgb(match.paths["gan_sr"])
        labels = read_labels(match.parts, *gan_sr.shape[:2])
        pictures = BenchmarkPictures(gan_sr, labels)
        for role in ("mse_sr", "lr", "after"):
            if role in match.paths:
                setattr(pictures, role, read_rgb(match.paths[role]))
        return pictures

    @torch.inference_mode()
    def predict_step(self, batch: list[Sample], *_: Any) -> list[Result]:
        """Judge each image."""
        return [self._judge(sample) for sample in batch]

    def _judge(self, sample: Sample) -> Result:
        result, start = Result(sample), perf_counter()
        if sample.payload is None:
            return result
        match, pictures = sample.match, sample.payload
        assert isinstance(match, BenchmarkMatch)
        try:
            self._make(match, pictures)
            counts = self._count(match.key, pictures)
        except InputError as error:
            result.error = f"{match.key}: {error}"
            return result
        height, width = pictures.gan_sr.shape[:2]
        result.row = {
            "set": match.set_name,
            "reference": match.reference,
            "width": width,
            "height": height,
            "labelled": int(next(iter(counts.values()))[0].regions[4]),
            "seconds": round(sample.seconds + perf_counter() - start, 4),
            "detector_seconds": {name: seconds for name, (_, seconds, _) in counts.items()},
            "digests": {name: digest for name, (_, _, digest) in counts.items()},
        }
        kept = {name: one for name, (one, _, _) in counts.items()}
        result.write = partial(self._write, match.key, kept)
        return result

    def _make(self, match: BenchmarkMatch, pictures: BenchmarkPictures) -> None:
        """The reference from LR, and the output after finetuning, where they are not given."""
        size = pictures.gan_sr.shape
        if pictures.mse_sr is None:
            assert pictures.lr is not None
            if match.reference in self.upscalers:
                pictures.mse_sr = self._upscale(match.reference, pictures.lr)
            else:
                height, width = size[:2]
                lr = PILImage.fromarray(pictures.lr)  # a = -0.5, as MATLAB's
                enlarged = lr.resize((width, height), PILImage.Resampling.BICUBIC)
                pictures.mse_sr = np.asarray(enlarged)
        if "after" in self.upscalers and pictures.lr is not None:
            pictures.after = self._upscale("after", pictures.lr)
        for role in ("mse_sr", "after"):
            picture = getattr(pictures, role)
            if picture is not None and picture.shape != size:
                there, wanted = (f"{shape[1]}x{shape[0]}" for shape in (picture.shape, size))
                name = match.reference if role == "mse_sr" else role
                raise InputError(f"{name} is {there} where the output is {wanted}; give its size")

    def _upscale(self, role: str, lr: NDArray) -> NDArray:
        upscaler = self.upscalers[role]
        assert isinstance(upscaler, Upscaler)
        return upscaler.upscale_image(lr)

    def _count(self, key: str, pictures: BenchmarkPictures) -> dict[str, tuple[Counts, float, str]]:
        """Of each detector its counts, seconds, and a digest of its map."""
        assert pictures.mse_sr is not None
        mse_sr, gan_sr = (self._tensor(image) for image in (pictures.mse_sr, pictures.gan_sr))
        classes = self.segmenter(gan_sr, [key])
        height, width = pictures.gan_sr.shape[:2]
        if min(height, width) <= 2 * self.border:
            raise InputError(f"nothing of {width}x{height} pixels inside a rim of {self.border}")
        inner = pictures.labels.inner(self.border)
        found = {}
        for name, detector in self._named():
            start = self._clock()
            detection = detector(mse_sr, gan_sr, classes)
            seconds = self._clock() - start
            after = None
            if pictures.after is not None:
                finetuned = self._tensor(pictures.after)
                after = detector(mse_sr, finetuned, self.segmenter(finetuned, [key])).mask
            counts = compare(detection, inner, after, self.border, self.min_share, self.prominence)
            values = detection.adjusted.cpu().numpy()
            digest = hashlib.blake2b(values.tobytes(), digest_size=8).hexdigest()
            found[name] = (counts, round(seconds, 6), digest)
        return found

    def _clock(self) -> float:
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)
        return perf_counter()

    def _tensor(self, pixels: NDArray) -> Tensor:
        return torch.from_numpy(pixels.copy()).permute(2, 0, 1)[None].to(self.device)

    def _write(self, key: str, counts: Mapping[str, Counts]) -> list[Path]:
        path = self._path(key)
        save_counts(path, counts)
        return [path]

    def _path(self, key: str) -> Path:
        return self.output_dir / _COUNTS / f"{key}.npz"

    def finish(self, rows: Sequence[Row]) -> None:
        """Score the cells, rank the detectors, write the tables."""
        done = [row for row in rows if not row.get("error")]
        self.summary = {"images": len(done), "images_not_done": len(rows) - len(done)}
        cells: dict[tuple[str, str], list[Row]] = {}
        for row in done:
            cells.setdefault((row["set"], row["reference"]), []).append(row)
        scores = {
            (*cell, name): self._score(members, name)
            for cell, members in cells.items()
            for name in self.detectors
        }
        for (set_name, reference, name), one in scores.items():
            members = cells[set_name, reference]
            figures = one.figures()
            self._rows.append(
                {
                    "set": set_name,
                    "reference": reference,
                    "detector": name,
                    "images": len(members),
                    **figures,
                    "seconds_per_megapixel": _speed(members, name),
                }
            )
            for measure in MEASURES:
                value = figures.get(measure)
                if value is not None:
                    self.summary[f"{set_name}/{reference}/{name}/{measure}"] = value
        self._rank(scores)
        self._notes = self._same_without_reference(cells)
        write_tables(self.output_dir, self.title, self._rows, self._ranks, self.measures, scores)
        for logger in self.trainer.loggers:
            log_tables(logger, self.output_dir, self._rows, self._ranks)
        text = json.dumps({**self.summary, "notes": self._notes}, indent=2)
        write_text(self.output_dir / "metrics.json", text + "\n")

    def _score(self, rows: Sequence[Row], detector: str) -> CellScores:
        counts = [read_counts(self._path(row["image"]), detector) for row in rows]
        return CellScores(counts, self.prominence, self.replicates, self.seed)

    def _rank(self, scores: Mapping[tuple[str, str, str], CellScores]) -> None:
        """Ranks under each reference, over the sets that have it."""
        value = {(row["set"], row["reference"], row["detector"]): row.get(self.rank_by)
                 for row in self._rows}  # fmt: skip
        for reference in dict.fromkeys(key[1] for key in scores):
            sets = list(dict.fromkeys(key[0] for key in scores if key[1] == reference))
            names = list(self.detectors)
            ranks = mean_ranks(
                {name: [value[one, reference, name] for one in sets] for name in names},
                {name: [self._drawn(scores[one, reference, name]) for one in sets]
                 for name in names},
            )  # fmt: skip
            for name, figures in ranks.items():
                self._ranks.append(
                    {"reference": reference, "detector": name, "sets": len(sets), **figures}
                )
                self.summary[f"rank/{reference}/{name}"] = figures["rank"]

    def _drawn(self, scores: CellScores) -> NDArray[np.float64]:
        return scores.replicates_of(self.rank_by)

    def _same_without_reference(self, cells: Mapping[tuple[str, str], Sequence[Row]]) -> list[str]:
        """Whether detectors that look at no reference found the same under each.

        Raises:
            RuntimeError: one did not, so that what it is called is wrong.
        """
        notes = []
        for name, detector in self._named():
            if detector.uses_reference:
                continue
            digests: dict[str, set[str]] = {}
            references = set()
            for (set_name, reference), rows in cells.items():
                references.add(reference)
                for row in rows:
                    key = f"{set_name}/{row['image'].split('/', 2)[2]}"
                    digests.setdefault(key, set()).add(row["digests"][name])
            if any(len(found) > 1 for found in digests.values()):
                raise RuntimeError(f"{name} takes no reference, but its map depends on it")
            if len(references) > 1:
                notes.append(
                    f"{name} takes no reference: checked, its maps are identical under "
                    f"{', '.join(sorted(references))} ({len(digests)} images)"
                )
        return notes

    def teardown(self, stage: str) -> None:
        """Print the tables; only now is the progress bar gone."""
        if self.summary:  # another rank has them
            show_tables(
                self.title, self._rows, self._ranks, self.measures, self.rank_by, self._notes
            )


def _speed(rows: Sequence[Row], detector: str) -> float:
    times = [
        1e6 * row["detector_seconds"][detector] / (row["width"] * row["height"]) for row in rows
    ]
    return float(np.median(times))


def _check(
    detectors: Mapping[str, Detector],
    measures: Sequence[str],
    rank_by: str,
    prominence: float,
    border: int,
    replicates: int,
) -> None:
    if not detectors:
        raise InputError(
            "benchmark.detectors: give at least one, +detector@benchmark.detectors.X=X"
        )
    for name in (*measures, rank_by):
        if name not in MEASURES:
            raise InputError(f"{name}: no such measure; there are {', '.join(MEASURES)}")
    if not 0 <= prominence <= 1:
        raise InputError(f"prominence={prominence}: give a share of viewers, 0 to 1")
    if border < 0 or replicates < 1:
        raise InputError("border and replicates: give whole numbers, at least 0 and 1")
