"""Scores of labelled regions: the share of viewers who notice each.

Half of the artifacts that experts label go unnoticed by most viewers ("SR-Prominence", 2026), so a
detector is also asked whether it finds those that are seen.

A file of scores names each region by any one of its pixels, so that it stays true when masks are
written anew. CSV, other columns are passed over and a row without a score says nothing::

    image,x,y,score
    sub/0001,120,64,0.82

or JSON, a list of such records (or an object with that list under ``regions``)::

    [{"image": "sub/0001", "x": 120, "y": 64, "score": 0.82}]

``image`` is the key: the relative path without suffix. ``x`` and ``y`` count from the top left
pixel of the labelled mask. ``score`` is in [0, 1].
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from desra.errors import InputError
from desra.files import plain_text, read_limited
from desra.regions import label_regions

FILE_NAMES = ("regions.json", "regions.csv")
COLUMNS = ("image", "x", "y", "score")

_LARGEST_FILE = 2**27  # bytes
_LONGEST_PATH = 4096  # characters


@dataclass(frozen=True)
class RegionScore:
    """One row of a file of scores.

    Attributes:
        x: column of a pixel of the region.
        y: row of that pixel.
        score: share of viewers who notice the region, in [0, 1].
        place: file and row, for messages.
    """

    x: int
    y: int
    score: float
    place: str


def find_scores(gt_root: str | Path) -> Path | None:
    """The file of scores in the folder of labels, or beside that folder; None where there is none.

    Raises:
        InputError: there are several.
    """
    root = Path(gt_root)
    folders = (root, root.parent) if root.is_dir() else (root.parent,)
    there = [folder / name for folder in folders for name in FILE_NAMES]
    found = [path for path in there if path.is_file()]
    if len(found) > 1:
        names = " and ".join(map(str, found))
        raise InputError(f"{names} are both there; choose with scores=FILE")
    return found[0] if found else None


def read_scores(path: str | Path) -> dict[str, list[RegionScore]]:
    """Read a file of scores, by image.

    Raises:
        InputError: unreadable, a row that is not understood, or no score in it; names file and row.
    """
    path = Path(path)
    try:
        text = read_limited(path, _LARGEST_FILE, "give a file of scores").decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise InputError(f"{path}: {error}; give a file of scores") from error
    records = (
        _json_records(path, text) if path.suffix.lower() == ".json" else _csv_records(path, text)
    )
    scores: dict[str, list[RegionScore]] = {}
    for place, record in records:
        if record["score"] is None or record["score"] == "":
            continue
        image = record["image"]
        if not isinstance(image, str) or not image or len(image) > _LONGEST_PATH:
            raise InputError(f"{place}: no image; give its relative path without suffix")
        row = RegionScore(
            _whole(place, "x", record["x"]),
            _whole(place, "y", record["y"]),
            _share(place, record["score"]),
            place,
        )
        scores.setdefault(plain_text(image), []).append(row)
    if not scores:
        raise InputError(f"{path}: no scores in it; give rows of {','.join(COLUMNS)}")
    return scores


def _csv_records(path: Path, text: str) -> Iterator[tuple[str, Mapping[str, Any]]]:
    reader = csv.DictReader(io.StringIO(text, newline=""), restval="")
    try:
        _require(f"{path}, line 1", reader.fieldnames or ())
        for record in reader:
            yield f"{path}, line {reader.line_num}", record
    except csv.Error as error:
        raise InputError(f"{path}, line {reader.line_num}: damaged CSV ({error})") from error


def _json_records(path: Path, text: str) -> Iterator[tuple[str, Mapping[str, Any]]]:
    try:
        data = json.loads(text)
    except (ValueError, RecursionError) as error:
        reason = "nested too deeply" if isinstance(error, RecursionError) else str(error)[:200]
        raise InputError(f"{path}: damaged JSON ({reason}); write it again") from error
    records = data.get("regions") if isinstance(data, dict) else data
    if not isinstance(records, list):
        raise InputError(f"{path}: not a list of regions; give records of {','.join(COLUMNS)}")
    for number, record in enumerate(records, 1):
        place = f"{path}, region {number}"
        _require(place, record if isinstance(record, dict) else ())
        yield place, record


def _require(place: str, there: Sequence[str] | Mapping[str, Any]) -> None:
    missing = [name for name in COLUMNS if name not in there]
    if missing:
        raise InputError(f"{place}: no {', '.join(missing)}; give {','.join(COLUMNS)}")


def _whole(place: str, name: str, value: Any) -> int:
    text = _short(value)
    if isinstance(value, bool) or not (text.isascii() and text.isdecimal()) or len(text) > 9:
        raise InputError(f"{place}: {name} is {text!r}; give a pixel's, counted from 0")
    return int(text)


def _share(place: str, value: Any) -> float:
    text = _short(value)
    try:
        score = float("nan") if isinstance(value, (bool, list, dict)) else float(text)
    except ValueError:
        score = float("nan")
    if not 0 <= score <= 1:
        raise InputError(
            f"{place}: score is {text!r}; give the share of viewers who notice the region, 0 to 1"
        )
    return score


def _short(value: Any) -> str:
    """A value as text, of which a long one's beginning; no number of thousands of digits."""
    if isinstance(value, int) and value.bit_length() > 256:
        return "a number of hundreds of digits"
    text = str(value).strip() if isinstance(value, (str, int, float)) else type(value).__name__
    return text if len(text) <= 40 else f"{text[:40]}…"


def score_map(gt_mask: NDArray[np.bool_], scores: Sequence[RegionScore]) -> NDArray[np.float64]:
    """Spread scores over the regions they belong to.

    Args:
        gt_mask: labelled artifacts, ``(H, W)`` bool.
        scores: of this image.

    Returns:
        ``(H, W)`` float64: the score of the pixel's 8-connected region, NaN where it has none and
        outside of regions.

    Raises:
        InputError: a score on no region, or two that differ on one; names file and row.

    Example:
        >>> gt_mask = np.array([[True, True, False, True]])
        >>> score_map(gt_mask, [RegionScore(1, 0, 0.75, "scores.csv, line 2")])
        array([[0.75, 0.75,  nan,  nan]])
    """
    labels, count = (part.numpy() for part in label_regions(torch.from_numpy(gt_mask.copy())))
    of_region = np.full(int(count) + 1, np.nan)
    height, width = gt_mask.shape
    for row in scores:
        inside = row.x < width and row.y < height
        number = int(labels[row.y, row.x]) if inside else 0
        if not number:
            raise InputError(
                f"{row.place}: x={row.x}, y={row.y} is on no labelled region of the "
                f"{width}x{height} mask; give a pixel of the region"
            )
        if not np.isnan(of_region[number]) and of_region[number] != row.score:
            raise InputError(
                f"{row.place}: x={row.x}, y={row.y} is on a region that already has the score "
                f"{of_region[number]:g}; give one for each"
            )
        of_region[number] = row.score
    return of_region[labels]
