"""P(noticed) of artifacts: fitted to viewers' scores, and used to weight masks and targets."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np
import torch
from lightning import LightningModule
from matplotlib.figure import Figure
from numpy.typing import NDArray
from rich.table import Table
from torch import nn

from desra.detectors import Detector
from desra.errors import InputError
from desra.files import Match, atomic_path, write_table, write_text
from desra.image_task import Result, Sample
from desra.images import read_rgb, write_png
from desra.ledger import Row
from desra.prominence_model import (
    ProminenceModel,
    Validation,
    calibration_error,
    cross_validate,
    fit_prominence,
    rank_correlation,
)
from desra.region_features import FEATURES, region_features
from desra.region_scores import read_scores, score_map
from desra.regions import label_regions
from desra.rim import read_mask_of
from desra.terminal import terminal

MODEL, REGIONS, PLOT = "prominence.json", "regions.csv", "calibration.png"
GROWING = ("log_area", "contrast", "strength")
"""Features that can only help a viewer to notice; a detector's response is another."""
_RESPONSE = "response_"


class _RegionTask(LightningModule):
    """Base of both tasks: pictures, a mask's regions, their features and detectors' responses."""

    def __init__(self, detectors: Mapping[str, Detector], output_dir: str | Path) -> None:
        super().__init__()
        if not detectors:
            raise InputError("detectors: give at least one, +detector@detectors.NAME=NAME")
        self.detectors = nn.ModuleDict(dict(detectors))
        self.output_dir = Path(output_dir)
        self.summary: dict[str, Any] = {}
        self.settings: dict[str, Any] = {
            "detectors": {name: one.distance_settings for name, one in self._named()}
        }

    def _named(self) -> list[tuple[str, Detector]]:
        return [(name, one) for name, one in self.detectors.items() if isinstance(one, Detector)]

    @property
    def features(self) -> list[str]:
        """Names of what is known of a region."""
        return [*FEATURES, *(f"{_RESPONSE}{name}" for name in self.detectors)]

    def setup(self, stage: str) -> None:
        """Load what the detectors need."""
        for _, detector in self._named():
            detector.prepare()

    def inputs(self, match: Match) -> Sequence[Path]:
        """The pictures and the mask."""
        return list(match.paths.values())

    def load(self, match: Match) -> dict[str, NDArray]:
        """Read them.

        Raises:
            InputError: unreadable, or of different sizes.
        """
        pictures: dict[str, NDArray] = {
            role: read_rgb(match.paths[role]) for role in ("mse_sr", "gan_sr")
        }
        size = pictures["gan_sr"].shape
        if pictures["mse_sr"].shape != size:
            raise InputError(f"{match.key}: MSE-SR and GAN-SR are of different sizes")
        pictures["mask"] = read_mask_of(match.paths["mask"], size[:2])
        return pictures

    @torch.inference_mode()
    def predict_step(self, batch: list[Sample], *_: Any) -> list[Result]:
        """Examine each image."""
        return [self._examine(sample) for sample in batch]

    def _examine(self, sample: Sample) -> Result:
        result, start = Result(sample), perf_counter()
        if sample.payload is None:
            return result
        try:
            self.conclude(result, sample.payload, self._regions(sample.payload))
        except InputError as error:
            result.error = f"{sample.match.key}: {error}"
            return result
        result.row["seconds"] = round(sample.seconds + perf_counter() - start, 4)
        return result

    def conclude(self, result: Result, pictures: Mapping[str, NDArray], regions: list[Row]) -> None:
        """Give a result its row and what writes its files."""
        raise NotImplementedError

    def _regions(self, pictures: Mapping[str, NDArray]) -> list[Row]:
        """Place and features of each region, in raster order."""
        mask = pictures["mask"]
        regions = region_features(pictures["mse_sr"], pictures["gan_sr"], mask)
        labels = label_regions(torch.from_numpy(mask.copy()))[0].numpy()
        pair = [
            torch.from_numpy(pictures[role].copy()).permute(2, 0, 1)[None].to(self.device)
            for role in ("mse_sr", "gan_sr")
        ]
        responses = []
        for _, detector in self._named():
            response = 1 - detector.combined(detector.distance(*pair))[0, 0].cpu().numpy()
            sums = np.bincount(labels.ravel(), response.ravel(), len(regions) + 1)[1:]
            responses.append(sums / np.array([region.area for region in regions]))
        return [
            {
                "x": region.x,
                "y": region.y,
                "area": region.area,
                "values": [*region.values, *(float(means[place]) for means in responses)],
            }
            for place, region in enumerate(regions)
        ]


class ProminenceFit(_RegionTask):
    """Fit P(noticed) to the scores of labelled regions; an `ImageTask`.

    Args:
        detectors: whose mean responses are among the features, by name.
        output_dir: gets ``prominence.json`` (the model), ``regions.csv`` with each region's score
            and its probability by a model of other images, ``calibration.png``, ``metrics.json``.
        scores: file of scores, see `desra.region_scores`.
        folds: of cross-validation over images.
        seed: of the folds.

    Raises:
        InputError: no scores, or settings that cannot be used.
    """

    name = "fit-prominence"
    table_name = "per_image.csv"
    columns = ("image", "width", "height", "count", "scored", "seconds", "error")

    def __init__(
        self,
        detectors: Mapping[str, Detector],
        output_dir: str | Path,
        scores: str | Path | None,
        folds: int = 5,
        seed: int = 0,
    ) -> None:
        super().__init__(detectors, output_dir)
        if scores is None:
            raise InputError(
                "scores: give scores=FILE, a CSV of image,x,y,score (votes as shares of viewers), "
                "or put it beside the labels as regions.csv"
            )
        self.scores = Path(scores)
        self._scores = read_scores(self.scores)
        self.folds, self.seed = folds, seed

    def inputs(self, match: Match) -> Sequence[Path]:
        """The pictures, the labels and the scores."""
        return [*super().inputs(match), self.scores]

    def conclude(self, result: Result, pictures: Mapping[str, NDArray], regions: list[Row]) -> None:
        """Put each region's score beside its features."""
        mask = pictures["mask"]
        plane = score_map(mask, self._scores.get(result.sample.match.key, []))
        for region in regions:
            score = float(plane[region["y"], region["x"]])
            region["score"] = None if np.isnan(score) else score
        height, width = mask.shape
        scored = sum(region["score"] is not None for region in regions)
        result.row = {"width": width, "height": height, "count": len(regions), "scored": scored}
        result.row["regions"] = regions

    def finish(self, rows: Sequence[Row]) -> None:
        """Fit, validate, and write the model.

        Raises:
            InputError: too few regions or images.
        """
        done = [row for row in rows if not row.get("error")]
        scored = [
            {"image": row["image"], "number": number, **region}
            for number, row in enumerate(done)
            for region in row["regions"]
            if region["score"] is not None
        ]
        values = np.array([one["values"] for one in scored]).reshape(-1, len(self.features))
        scores = np.array([one["score"] for one in scored])
        images = np.array([one["number"] for one in scored], np.int64)
        monotone = [name in GROWING or name.startswith(_RESPONSE) for name in self.features]
        found = cross_validate(
            values, scores, images, self.features, monotone, self.folds, self.seed
        )
        model = fit_prominence(values, scores, self.features, monotone, found.ridge)
        model.save(self.output_dir / MODEL)
        single = {
            name: rank_correlation(values[:, self.features.index(f"{_RESPONSE}{name}")], scores)
            for name in self.detectors
        }
        known = {name: value for name, value in single.items() if np.isfinite(value)}
        best = max(known, key=lambda name: known[name]) if known else None
        self.summary = {
            "images": len(done),
            "images_not_done": len(rows) - len(done),
            "regions": len(scored),
            "ridge": found.ridge,
            "spearman": found.spearman,
            "calibration_error": found.calibration_error,
            "calibration_error_of_fit": calibration_error(model.probability(values), scores),
            "best_detector": best,
            "best_detector_spearman": known[best] if best else None,
            "detectors": {name: known.get(name) for name in single},
        }
        table = [
            {**{name: one[name] for name in ("image", "x", "y", "score", "area")},
             "probability": round(float(p), 4)}
            for one, p in zip(scored, found.probability, strict=True)
        ]  # fmt: skip
        write_table(self.output_dir / REGIONS, table, list(table[0]))
        write_text(self.output_dir / "metrics.json", json.dumps(self.summary, indent=2) + "\n")
        _plot(self.output_dir / PLOT, found, scores)

    def teardown(self, stage: str) -> None:
        """Print what the model is worth; only now is the progress bar gone."""
        if not self.summary:
            return
        table = Table(title="P(noticed), on images that the model has not seen", show_header=False)
        table.add_column()
        table.add_column(justify="right")
        table.add_row("rank correlation with the scores", f"{self.summary['spearman']:.3f}")
        for name, value in self.summary["detectors"].items():
            table.add_row(f"of {name} alone", "–" if value is None else f"{value:.3f}")
        table.add_row("calibration error", f"{self.summary['calibration_error']:.3f}")
        table.add_row("regions, images", f"{self.summary['regions']}, {self.summary['images']}")
        terminal().print(table)


def _plot(path: Path, found: Validation, scores: NDArray[np.float64]) -> None:
    """Mean score over mean probability, in ten bins of equally many regions."""
    order = np.argsort(found.probability, kind="stable")
    parts = [part for part in np.array_split(order, 10) if len(part)]
    figure = Figure(figsize=(4.5, 4.2), layout="constrained")
    axes = figure.add_subplot(xlabel="probability", ylabel="share of viewers", xlim=(0, 1))
    axes.set_ylim(0, 1)
    axes.plot([0, 1], [0, 1], color="0.7")
    axes.plot(found.probability, scores, ".", color="C0", alpha=0.25, markersize=4)
    means = [[values[part].mean() for part in parts] for values in (found.probability, scores)]
    axes.plot(*means, "o-", color="C3")
    with atomic_path(path) as temporary:
        figure.savefig(temporary, dpi=120)


class ProminenceWeights(_RegionTask):
    """Weight the masks of an artifact set by P(noticed); an `ImageTask`.

    Args:
        detectors: those of the model, by the same names.
        output_dir: gets ``Weight/`` (8-bit maps, P(noticed) on each region, 0 elsewhere),
            ``DeSRA-Mask/`` with the regions that most notice, ``Pseudo-GT/``, in which MSE-SR
            counts as much as its artifact is noticed, and ``regions.csv``.
        model: ``prominence.json`` of `ProminenceFit`.
        least: a region is kept in the mask if its probability is at least this.

    Raises:
        InputError: no model, one of other detectors, or a share out of range.
    """

    name = "weight-masks"
    table_name = "per_image.csv"
    columns = ("image", "width", "height", "count", "kept", "seconds", "error")

    def __init__(
        self,
        detectors: Mapping[str, Detector],
        output_dir: str | Path,
        model: str | Path,
        least: float = 0.5,
    ) -> None:
        super().__init__(detectors, output_dir)
        self.model = ProminenceModel.read(model)
        if self.model.features != self.features:
            there = ", ".join(self.model.features[len(FEATURES) :])
            raise InputError(f"{model}: fitted with {there or 'other features'}; give these")
        if not 0 <= least <= 1:
            raise InputError(f"least={least}: give a probability, 0 to 1")
        self.least, self.path = least, Path(model)
        self.settings |= {"least": least}

    def inputs(self, match: Match) -> Sequence[Path]:
        """The pictures, the mask and the model."""
        return [*super().inputs(match), self.path]

    def conclude(self, result: Result, pictures: Mapping[str, NDArray], regions: list[Row]) -> None:
        """Weight each region."""
        values = np.array([one.pop("values") for one in regions]).reshape(-1, len(self.features))
        probability = self.model.probability(values)
        for region, p in zip(regions, probability, strict=True):
            region["probability"] = round(float(p), 4)
        labels = label_regions(torch.from_numpy(pictures["mask"].copy()))[0].numpy()
        weight = np.append(0.0, probability)[labels]
        kept = np.append(False, probability >= self.least)[labels]
        height, width = labels.shape
        result.row = {"width": width, "height": height, "count": len(regions)}
        result.row |= {"kept": int((probability >= self.least).sum()), "regions": regions}
        result.write = partial(self._write, result.sample.match.key, pictures, weight, kept)

    def _write(
        self,
        key: str,
        pictures: Mapping[str, NDArray],
        weight: NDArray[np.float64],
        kept: NDArray[np.bool_],
    ) -> list[Path]:
        grey = np.maximum(np.round(255 * weight), weight > 0).astype(np.uint8)  # 0: no region
        share = (grey / 255.0)[..., None]
        mixed = share * pictures["mse_sr"] + (1 - share) * pictures["gan_sr"]
        made = {"Weight": grey, "DeSRA-Mask": kept, "Pseudo-GT": np.round(mixed).astype(np.uint8)}
        paths = [self.output_dir / folder / f"{key}.png" for folder in made]
        for path, pixels in zip(paths, made.values(), strict=True):
            write_png(path, pixels)
        return paths

    def finish(self, rows: Sequence[Row]) -> None:
        """Write the table of regions."""
        done = [row for row in rows if not row.get("error")]
        regions = [{"image": row["image"], **one} for row in done for one in row["regions"]]
        write_table(self.output_dir / REGIONS, regions, ["image", "x", "y", "area", "probability"])
        self.summary = {
            "images": len(done),
            "images_not_done": len(rows) - len(done),
            "regions": len(regions),
            "kept": sum(row["kept"] for row in done),
        }
        write_text(self.output_dir / "metrics.json", json.dumps(self.summary, indent=2) + "\n")

    def teardown(self, stage: str) -> None:
        """Say what was kept."""
        if self.summary:
            print(
                f"{self.summary['kept']} of {self.summary['regions']} regions are noticed with a "
                f"probability of at least {self.least:g}; masks, weights and targets in "
                f"{self.output_dir}"
            )
