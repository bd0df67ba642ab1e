"""Evaluation of regions with scores or kinds: the prominent ones, rank correlation, each kind."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from datamodules.roles import Role, locate_roles
from desra.errors import InputError
from desra.files import find_images, write_table
from desra.images import read_image
from desra.ledger import Row
from desra.metrics import MIN_SHARE, SCORES, count_row, score_rows, score_text
from desra.metrics.prominence import PROMINENCE, ProminenceCorrelation
from desra.region_scores import find_scores, kind_map, read_regions, score_map
from desra.regions import label_regions
from desra.rim import inside

REGION_TABLE = "labelled_regions.csv"
REGION_COLUMNS = ("image", "x", "y", "score", "kind", "response", "found", "area")
RESPONSES = Path("Intermediates", "Adjusted")
"""Where detect.py save_intermediates=true leaves adjusted distances, beside its masks."""

_COUNTS = ("intersection", "union", "detected", "detected_hits", "labelled", "labelled_hits")


def prominence_of(
    scores: str | Path | None = None,
    gt_root: str | Path | None = None,
    pred_root: str | Path | None = None,
    response_root: str | Path | None = None,
    prominence: float = PROMINENCE,
    min_share: float = MIN_SHARE,
    root: str | Path | None = None,
    method: str | None = None,
    own_responses: bool = False,
) -> ProminenceEvaluation | None:
    """The evaluation of scores and kinds, if there are any: given, or found with the labels.

    Args:
        scores: file of them (`desra.region_scores`); None for ``regions.json`` or ``regions.csv``
            in the folder of labels or beside it.
        gt_root: folder of labels.
        pred_root: folder of detected masks.
        response_root: folder of the detector's maps; None for what detect.py left beside the masks.
        prominence: see `ProminenceEvaluation`.
        min_share: see `MaskEvaluation`.
        root: an artifact set in the release's layout, in place of ``gt_root`` and ``pred_root``.
        method: which method's folder, where ``root`` has several.
        own_responses: the detector that is evaluated gives them: maps are not looked for.

    Raises:
        InputError: scores, maps or settings that cannot be used.
    """
    labels = Role(gt_root, "label", required=root is not None)
    masks = Role(pred_root, "mask", required=False)
    roles = locate_roles({"gt_mask": labels, "mask": masks}, root, method)
    path = _scores_path(scores, roles)
    if path is None or (scores is None and not any(read_regions(path))):
        return None
    if response_root is None and "mask" in roles and not own_responses:
        beside = roles["mask"].folder.parent / RESPONSES
        response_root = beside if beside.is_dir() else None
    return ProminenceEvaluation(path, response_root, prominence, min_share)


def scores_of(
    scores: str | Path | None = None,
    gt_root: str | Path | None = None,
    root: str | Path | None = None,
    method: str | None = None,
) -> Path | None:
    """The file of scores: given, or found with the labels; None where there is none.

    Args:
        scores: see `prominence_of`, as the others.
        gt_root: folder of labels.
        root: an artifact set in the release's layout.
        method: which method's folder.

    Raises:
        InputError: folders are missing, or there are two files.
    """
    labels = Role(gt_root, "label", required=root is not None)
    return _scores_path(scores, locate_roles({"gt_mask": labels}, root, method))


def _scores_path(scores: str | Path | None, roles: Mapping[str, Role]) -> Path | None:
    if scores is None and "gt_mask" in roles:
        return find_scores(roles["gt_mask"].folder)
    return None if scores is None else Path(scores)


class ProminenceEvaluation:
    """Scores of the prominent labelled regions, rank correlation of all scored ones, each kind.

    An image with labelled regions of which none has a score is left out of what is said of scores,
    and counted. Where the file has no scores, or no kinds, nothing is said of them.

    Args:
        path: file of scores and kinds.
        response_root: maps by key, low where the detector sees an artifact, 8 or 16 bits for [0, 1]
            (detect.py's ``Intermediates/Adjusted``); None for none.
        prominence: a region is prominent if its score is at least this.
        min_share: share of a region's pixels that the other mask must cover.

    Raises:
        InputError: scores, maps or settings that cannot be used.
    """

    def __init__(
        self,
        path: str | Path,
        response_root: str | Path | None = None,
        prominence: float = PROMINENCE,
        min_share: float = MIN_SHARE,
    ) -> None:
        if not 0 <= prominence <= 1:
            raise InputError(f"prominence={prominence}: give a share of viewers, 0 to 1")
        self.path, self.prominence, self.min_share = Path(path), float(prominence), min_share
        self.responses = {} if response_root is None else find_images(response_root)
        self._scores, self._kinds = read_regions(self.path)
        self.scored = bool(self._scores)
        if not self.scored and not self._kinds:
            raise InputError(f"{path}: no scores in it; give rows of image,x,y,score or kind")
        self.settings = {
            "prominence": self.prominence,
            "responses": bool(self.responses),
            "scored": self.scored,
            "kinds": bool(self._kinds),
        }

    def inputs(self, key: str) -> list[Path]:
        """The files that decide the metrics of an image, besides its masks."""
        return [self.path, *self.responses.get(key, [])]

    def read_response(self, key: str) -> NDArray[np.float64] | None:
        """The detector's response, ``(H, W)`` in [0, 1], high where it sees an artifact.

        Raises:
            InputError: a map that cannot be read, or several.
        """
        paths = self.responses.get(key, [])
        if len(paths) > 1:
            raise InputError(f"{' and '.join(map(str, paths))} are of one image; keep one of them")
        if not paths:
            return None
        pixels = read_image(paths[0]).pixels
        return 1 - pixels[..., 0] / float(np.iinfo(pixels.dtype).max)

    def measure(
        self,
        key: str,
        mask: NDArray[np.bool_],
        gt_mask: NDArray[np.bool_],
        response: NDArray[np.float64] | None,
        border: int,
        gt_rim: int = 0,
    ) -> Row:
        """Metrics of one image, for its row.

        Args:
            key: of the image.
            mask: detected, ``(H, W)``.
            gt_mask: labelled, likewise.
            response: the detector's, likewise; None where it is not known.
            border: pixels on each side that are left out.
            gt_rim: those that the label lacked when it was read; scores name its pixels.

        Raises:
            InputError: a score or a kind on no region.
        """
        label = inside(gt_mask, gt_rim)
        scores = score_map(label, self._scores.get(key, []))
        scores = inside(np.pad(scores, gt_rim, constant_values=np.nan), border)
        kinds, names = kind_map(label, self._kinds.get(key, []))
        kinds = inside(np.pad(kinds, gt_rim, constant_values=-1), border)
        mask, gt_mask = inside(mask, border), inside(gt_mask, border)
        response = None if response is None else inside(response, border)
        regions = self._regions(mask, gt_mask, scores, response, border - gt_rim)
        for region in regions:
            place = region["y"] - border + gt_rim, region["x"] - border + gt_rim
            region["kind"] = [*names, None][kinds[place]]
        row: Row = {"labelled_regions": regions}
        known = [region["score"] for region in regions if region["score"] is not None]
        if self.scored and (known or not regions):
            row["top_score"] = max(known, default=None)
            counts = count_row(mask, scores >= self.prominence, 0, self.min_share)
            row |= {f"prominent_{name}": count for name, count in counts.items()}
        return row

    def _regions(
        self,
        mask: NDArray[np.bool_],
        gt_mask: NDArray[np.bool_],
        scores: NDArray[np.float64],
        response: NDArray[np.float64] | None,
        shift: int,
    ) -> list[dict[str, Any]]:
        labels = label_regions(torch.from_numpy(gt_mask.copy()))[0].numpy()
        area = np.bincount(labels.ravel())
        _, first = np.unique(np.append(0, labels.ravel()), return_index=True)
        y, x = np.unravel_index(first[1:] - 1, labels.shape)
        covered = np.bincount(labels.ravel(), mask.ravel()) / np.maximum(area, 1)
        mean = None
        if response is not None:
            mean = np.bincount(labels.ravel(), response.ravel()) / np.maximum(area, 1)
        of_region = scores[y, x]
        return [
            {
                "x": int(x[number - 1]) + shift,
                "y": int(y[number - 1]) + shift,
                "score": None if math.isnan(of_region[number - 1]) else of_region[number - 1],
                "response": None if mean is None else round(float(mean[number]), 6),
                "found": bool(covered[number] >= self.min_share),
                "area": int(area[number]),
            }
            for number in range(1, len(area))
        ]

    def facts(self, row: Row) -> dict[int, dict[str, Any]]:
        """What the page says of each labelled region, by its number in raster order."""
        names = ("kind", "score", "response")
        return {
            number: {name: region[name] for name in names if region[name] is not None}
            for number, region in enumerate(row["labelled_regions"], 1)
        }

    def write_regions(self, path: str | Path, rows: Sequence[Row]) -> None:
        """Write the labelled regions, in the form that is read as scores: it can be filled in."""
        table = [
            {"image": row["image"], **region, "found": int(region["found"])}
            for row in rows
            for region in row["labelled_regions"]
        ]
        write_table(path, table, REGION_COLUMNS)

    def summarise(self, rows: Sequence[Row]) -> dict[str, Any]:
        """Metrics of the set from the rows of `measure`; None where undefined."""
        regions = [
            {"image": index, **region}
            for index, row in enumerate(rows)
            for region in row["labelled_regions"]
        ]
        summary = self._of_scores(rows, regions) if self.scored else {}
        return summary | (_of_kinds(regions) if self._kinds else {})

    def _of_scores(self, rows: Sequence[Row], regions: Sequence[dict[str, Any]]) -> dict[str, Any]:
        used = [row for row in rows if "prominent_union" in row]
        scores = score_rows([{name: row[f"prominent_{name}"] for name in _COUNTS} for row in used])
        scored = [region for region in regions if region["score"] is not None]
        faint = [region["found"] for region in scored if region["score"] < self.prominence]
        return {
            "prominence": self.prominence,
            **{f"prominent_{name}": scores[name] for name in (*SCORES, "labelled", "detected")},
            "faint_recall": sum(faint) / len(faint) if faint else None,
            "faint_labelled": len(faint),
            "regions_without_score": len(regions) - len(scored),
            "images_without_score": len(rows) - len(used),
            **_correlation(scored),
        }

    def lines(self, summary: Mapping[str, Any]) -> list[tuple[str, str]]:
        """Names and metrics, as they are read by people."""
        lines = self._lines_of_scores(summary) if self.scored else []
        for row in summary.get("per_kind", ()):
            counts = f"{row['found']} of {row['labelled']} labelled regions"
            lines.append((f"recall, {row['kind']}", f"{score_text(row['recall'])}  ({counts})"))
        missing = summary.get("regions_without_kind")
        return [*lines, ("labelled regions without a kind", str(missing))] if missing else lines

    def _lines_of_scores(self, summary: Mapping[str, Any]) -> list[tuple[str, str]]:
        t = f"{self.prominence:g}"
        lines = [
            (f"{name}, score ≥ {t}", score_text(summary[f"prominent_{name}"])) for name in SCORES
        ]
        lines.append((f"recall, score < {t}", score_text(summary["faint_recall"])))
        for name in ("spearman", "kendall"):
            ends = [summary[f"{name}_{end}"] for end in ("low", "high")]
            interval = "" if None in ends else f"  (95 %: {ends[0]:.3f} to {ends[1]:.3f})"
            lines.append((f"{name} of response and score", score_text(summary[name]) + interval))
        if not summary["regions_ranked"]:
            lines.append(("responses", "none; run detect.py with save_intermediates=true"))
        missing = summary["regions_without_score"]
        return [*lines, ("labelled regions without a score", str(missing))] if missing else lines


def _of_kinds(regions: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """What is found of each kind, the most frequent first."""
    found: dict[str, list[bool]] = {}
    for region in regions:
        if region["kind"] is not None:
            found.setdefault(region["kind"], []).append(region["found"])
    per_kind = [
        {"kind": kind, "labelled": len(hits), "found": sum(hits), "recall": sum(hits) / len(hits)}
        for kind, hits in sorted(found.items(), key=lambda one: (-len(one[1]), one[0]))
    ]
    without = sum(region["kind"] is None for region in regions)
    return {"per_kind": per_kind, "regions_without_kind": without}


def _correlation(scored: Sequence[Mapping[str, Any]]) -> dict[str, float | None]:
    known = [region for region in scored if region["response"] is not None]
    correlation = ProminenceCorrelation(sync_on_compute=False)
    columns = (torch.tensor([r[name] for r in known]) for name in ("image", "response", "score"))
    correlation.update(*columns)
    values = {name: value.item() for name, value in correlation.compute().items()}
    count = values.pop("regions")
    figures = {name: None if math.isnan(value) else value for name, value in values.items()}
    return {"regions_ranked": int(count), **figures}
