"""Kinds of artifacts: found or named by people, shown on a page, followed through finetuning."""

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
from numpy.typing import NDArray
from rich.table import Table

from desra import report
from desra.detectors import Detector
from desra.errors import InputError
from desra.files import Match, write_table, write_text
from desra.image_task import Result, Sample
from desra.images import read_rgb
from desra.kinds import Kinds, find_kinds, kinds_by_name
from desra.ledger import Row
from desra.metrics import MIN_SHARE
from desra.region_features import FEATURES, RegionFeatures, region_features
from desra.region_scores import kind_map, read_regions
from desra.regions import label_regions
from desra.rim import read_mask_of
from desra.terminal import terminal

REGIONS, TABLE, FILE = "regions.csv", "kinds.csv", "kinds.json"
_PICTURES = {"lr": "LR", "mse_sr": "MSE-SR", "gan_sr": "GAN-SR", "after": "After"}


class KindsOfArtifacts(LightningModule):
    """Tell the kinds of an artifact set's regions apart; an `ImageTask`.

    Args:
        detector: finds what is left in the images after finetuning, where there are some.
        output_dir: gets ``regions.csv`` (each region with its kind), ``kinds.csv`` (each kind with
            its metrics), ``kinds.json``, ``metrics.json``, and the page with an outline a kind.
        kinds: ``kinds.json`` of an earlier run, whose kinds are recognised; or the annotator's
            ``regions.csv`` (`desra.region_scores`), whose kinds hold where somebody gave one and
            are recognised elsewhere; None to find them.
        count: of kinds; None for the number that tells them apart best.
        names: of kinds, in their order, None for the present name; or by number (from 0) or present
            name.
        min_share: share of a region that must be detected afterwards for it to be there still.
        page: whether to make the page.

    Raises:
        InputError: settings that cannot be used.
    """

    name = "kinds"
    table_name = "per_image.csv"
    columns = ("image", "width", "height", "count", "artifact_share", "seconds", "error")

    def __init__(
        self,
        detector: Detector,
        output_dir: str | Path,
        kinds: str | Path | None = None,
        count: int | None = None,
        names: Mapping[int | str, str] | Sequence[str | None] = (),
        min_share: float = MIN_SHARE,
        page: bool = True,
    ) -> None:
        super().__init__()
        if count is not None and count < 1:
            raise InputError(f"count={count}: give a number of kinds, or null to choose it")
        self.detector, self.output_dir = detector, Path(output_dir)
        self.known, self._given_file = None, None
        if kinds is not None and Path(kinds).suffix.lower() == ".csv":
            self._given_file = Path(kinds)
            self._given = read_regions(kinds)[1]
            if not self._given:
                raise InputError(f"{kinds}: no kinds in it; give them in annotate.py, by c")
        elif kinds is not None:
            self.known = Kinds.read(kinds)
        given = names if isinstance(names, Mapping) else dict(enumerate(names))
        self.names = {key: name for key, name in given.items() if name is not None}
        self.count, self.page = count, page
        self.min_share = min_share
        self.settings: dict[str, Any] = {"detector": detector.settings, "min_share": min_share}
        self.settings |= {"page": page, "given": self._given_file is not None}
        self.summary: dict[str, Any] = {}
        self._table: list[dict[str, Any]] = []

    def setup(self, stage: str) -> None:
        """Load what the detector needs."""
        self.detector.prepare()

    def inputs(self, match: Match) -> Sequence[Path]:
        """The pictures, the mask, and the file of kinds that people gave."""
        more = [] if self._given_file is None else [self._given_file]
        return [*match.paths.values(), *more]

    def load(self, match: Match) -> dict[str, NDArray]:
        """Read them.

        Raises:
            InputError: unreadable, or of different sizes.
        """
        pictures: dict[str, NDArray] = {
            role: read_rgb(path) for role, path in match.paths.items() if role != "mask"
        }
        size = pictures["gan_sr"].shape
        for role in ("mse_sr", "after"):
            if role in pictures and pictures[role].shape != size:
                raise InputError(f"{match.key}: {_PICTURES[role]} is not of GAN-SR's size")
        pictures["mask"] = read_mask_of(match.paths["mask"], size[:2])
        return pictures

    @torch.inference_mode()
    def predict_step(self, batch: list[Sample], *_: Any) -> list[Result]:
        """Take the features of each image's regions."""
        return [self._examine(sample) for sample in batch]

    def _examine(self, sample: Sample) -> Result:
        result, start = Result(sample), perf_counter()
        if sample.payload is None:
            return result
        pictures: dict[str, NDArray] = sample.payload
        regions = region_features(pictures["mse_sr"], pictures["gan_sr"], pictures["mask"])
        height, width = pictures["mask"].shape
        result.row = {"width": width, "height": height, "count": len(regions)}
        result.row["artifact_share"] = round(float(pictures["mask"].mean()), 6)
        result.row["regions"] = [region._asdict() for region in regions]
        try:
            if self._given_file is not None:
                planes, names = kind_map(pictures["mask"], self._given.get(sample.match.key, []))
                given = [[*names, None][planes[region.y, region.x]] for region in regions]
                result.row["given"] = given
            if "after" in pictures:
                result.row |= self._follow(pictures)
        except InputError as error:
            result.error = f"{sample.match.key}: {error}"
            return result
        result.row["seconds"] = round(sample.seconds + perf_counter() - start, 4)
        result.write = partial(self._write, sample.match.key, pictures)
        return result

    def _follow(self, pictures: Mapping[str, NDArray]) -> Row:
        """Which regions are still detected after finetuning, and what is new."""
        pair = (
            torch.from_numpy(pictures[role].copy()).permute(2, 0, 1)[None].to(self.device)
            for role in ("mse_sr", "after")
        )
        found = self.detector(*pair).mask[0, 0].cpu().numpy()
        left = _shares(pictures["mask"], found)
        new = found & ~_touching(found, pictures["mask"], self.min_share)
        added = region_features(pictures["mse_sr"], pictures["after"], new)
        return {
            "removed": [share < self.min_share for share in left],
            "added": [region._asdict() for region in added],
        }

    def _write(self, key: str, pictures: Mapping[str, NDArray]) -> list[Path]:
        if not self.page:
            return []
        images = {title: pictures[role] for role, title in _PICTURES.items() if role in pictures}
        return report.write_views(self.output_dir, key, images=images, thumbnail="GAN-SR")

    def finish(self, rows: Sequence[Row]) -> None:
        """Find or recognise the kinds, and write tables and page."""
        done = [row for row in rows if not row.get("error")]
        regions = [(row, RegionFeatures(**one)) for row in done for one in row["regions"]]
        features = np.array([one.values for _, one in regions]).reshape(-1, len(FEATURES))
        given = [name for row in done for name in row.get("given", [None] * row["count"])]
        if self._given_file is not None:
            kinds = kinds_by_name(features, given)
        else:
            kinds = self.known or find_kinds(features, self.count)
        numbers = [
            number if name is None else kinds.names.index(name)
            for number, name in zip(kinds.of(features).tolist(), given, strict=True)
        ]
        kinds = kinds.renamed(self.names)
        kinds.save(self.output_dir / FILE)
        removed = [gone for row in done for gone in row.get("removed", [None] * row["count"])]
        self._write_regions(regions, kinds, numbers, removed)
        added = [one["values"] for row in done for one in row.get("added", [])]
        new = kinds.of(np.array(added).reshape(-1, len(FEATURES))).tolist()
        areas = np.array([one.area for _, one in regions])
        followed = any("removed" in row for row in done)
        for number, name in enumerate(kinds.names):
            own = [place for place, kind in enumerate(numbers) if kind == number]
            gone = [removed[place] for place in own if removed[place] is not None]
            self._table.append(
                {
                    "kind": name,
                    "regions": len(own),
                    "named": sum(given[place] is not None for place in own),
                    "area_share": float(areas[own].sum() / areas.sum()) if own else 0.0,
                    "removal_rate": sum(gone) / len(gone) if gone else None,
                    "added": new.count(number) if followed else None,
                }
            )
        write_table(self.output_dir / TABLE, self._table, list(self._table[0]))
        self.summary = {
            "images": len(done),
            "images_not_done": len(rows) - len(done),
            "regions": len(regions),
            "kinds": len(kinds.names),
            "per_kind": self._table,
        }
        write_text(self.output_dir / "metrics.json", json.dumps(self.summary, indent=2) + "\n")
        if self.page:
            self._write_page(done, kinds, numbers)

    def _write_regions(
        self,
        regions: Sequence[tuple[Row, RegionFeatures]],
        kinds: Kinds,
        numbers: Sequence[int],
        removed: Sequence[bool | None],
    ) -> None:
        table = []
        for (row, region), number, gone in zip(regions, numbers, removed, strict=True):
            values = dict(zip(FEATURES, (round(v, 4) for v in region.values), strict=True))
            place = {"image": row["image"], "x": region.x, "y": region.y, "area": region.area}
            is_gone = None if gone is None else int(gone)
            table.append({**place, "kind": kinds.names[number], "removed": is_gone, **values})
        names = ["image", "x", "y", "area", "kind", "removed", *FEATURES]
        write_table(self.output_dir / REGIONS, table, names)

    def _write_page(self, rows: Sequence[Row], kinds: Kinds, numbers: Sequence[int]) -> None:
        """Outlines by kind, each of which the page shows or hides."""
        matches = {match.key: match for match in self.trainer.datamodule.matches}  # type: ignore[attr-defined]
        place, shown = 0, []
        for row in rows:
            own = numbers[place : place + row["count"]]
            place += row["count"]
            size = (row["height"], row["width"])
            mask = read_mask_of(matches[row["image"]].paths["mask"], size)
            labels = label_regions(torch.from_numpy(mask.copy()))[0].numpy()
            kind_of = np.array([-1, *own])[labels]
            outlines = {name: labels * (kind_of == n) for n, name in enumerate(kinds.names)}
            facts = {
                kinds.names[kind]: {
                    number: {"kind": kinds.names[kind], **_gone(row, number)}
                    for number, other in enumerate(own, 1)
                    if other == kind
                }
                for kind in set(own)
            }
            report.write_regions(self.output_dir, row["image"], outlines=outlines, facts=facts)
            per_kind = {f"kind_{n}": own.count(n) for n in range(len(kinds.names))}
            shown.append({**{name: row.get(name) for name in self.columns}, **per_kind})
        report.write_page(
            self.output_dir,
            shown,
            title="Kinds of artifacts",
            columns=(
                report.Column("artifact_share", "artifacts", "share", "pixels in regions"),
                report.Column("count", "regions", "integer"),
                *(
                    report.Column(f"kind_{n}", name, "integer", f"regions of the kind {name}")
                    for n, name in enumerate(kinds.names)
                ),
            ),
            sort="count",
            outlines=kinds.names,
            settings=self.detector.shown_settings,
            summary={row["kind"]: f"{row['regions']} regions" for row in self._table},
        )

    def teardown(self, stage: str) -> None:
        """Print the kinds; only now is the progress bar gone."""
        if not self._table:
            return
        table = Table(title="Kinds of artifacts")
        followed = any(row["added"] is not None for row in self._table)
        for name in ("kind", "regions", "of the area", *(["removed", "added"] if followed else [])):
            table.add_column(name, justify="left" if name == "kind" else "right")
        for row in self._table:
            gone = row["removal_rate"]
            more = ["–" if gone is None else f"{100 * gone:.0f} %", str(row["added"])]
            cells = [row["kind"], str(row["regions"]), f"{100 * row['area_share']:.1f} %"]
            table.add_row(*cells, *(more if followed else []))
        terminal().print(table)


def _gone(row: Row, number: int) -> dict[str, str]:
    if "removed" not in row:
        return {}
    return {"after finetuning": "removed" if row["removed"][number - 1] else "still there"}


def _shares(mask: NDArray[np.bool_], inside: NDArray[np.bool_]) -> list[float]:
    """Of each region of a mask, in raster order, the share that is inside another."""
    labels, count = (part.numpy() for part in label_regions(torch.from_numpy(mask.copy())))
    area = np.bincount(labels.ravel(), minlength=int(count) + 1)[1:]
    return (np.bincount(labels.ravel(), inside.ravel(), int(count) + 1)[1:] / area).tolist()


def _touching(
    mask: NDArray[np.bool_], other: NDArray[np.bool_], min_share: float
) -> NDArray[np.bool_]:
    """The regions of a mask of which at least ``min_share`` is in another."""
    labels = label_regions(torch.from_numpy(mask.copy()))[0].numpy()
    kept = np.array([False, *(share >= min_share for share in _shares(mask, other))])
    return kept[labels]
