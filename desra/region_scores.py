"""Scores and kinds of labelled regions: the share of viewers who notice each, and what it is.

Half of the artifacts that experts label go unnoticed by most viewers ("SR-Prominence", 2026), so a
detector is also asked whether it finds those that are seen, and which kinds it finds.

A file of them names each region by any one of its pixels, so that it stays true when masks are
written anew. CSV with a column ``score`` or ``kind`` or both; other columns are passed over, an
empty score or kind says nothing. Semicolons and tabs are read, too, with commas in numbers::

    image,x,y,score,kind
    sub/0001,120,64,0.82,stripes

or JSON, a list of such records (or an object with that list under ``regions``)::

    [{"image": "sub/0001", "x": 120, "y": 64, "score": 0.82, "kind": "stripes"}]

``image`` is the key: the relative path without suffix. ``x`` and ``y`` count from the top left
pixel of the labelled mask. ``score`` is in [0, 1], ``kind`` a name.
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
_LONGEST_PATH, _LONGEST_KIND = 4096, 80  # characters


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


@dataclass(frozen=True)
class RegionKind:
    """What kind of artifact somebody calls a region.

    Attributes:
        x: column of a pixel of the region.
        y: row of that pixel.
        kind: its name.
        place: file and row, for messages.
    """

    x: int
    y: int
    kind: str
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
    """Read the scores of a file, by image.

    Raises:
        InputError: unreadable, a row that is not understood, or no score in it; names file and row.
    """
    scores, _ = read_regions(path)
    if not scores:
        raise InputError(f"{path}: no scores in it; give rows of {','.join(COLUMNS)}")
    return scores


def read_regions(
    path: str | Path,
) -> tuple[dict[str, list[RegionScore]], dict[str, list[RegionKind]]]:
    """Read the scores and the kinds of a file, each by image.

    Raises:
        InputError: unreadable, or a row that is not understood; names file and row.
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
    kinds: dict[str, list[RegionKind]] = {}
    for place, record in records:
        score, kind = (record.get(name) for name in ("score", "kind"))
        kind = _kind(place, kind)
        if score in (None, "") and not kind:
            continue
        image = record["image"]
        if not isinstance(image, str) or not image or len(image) > _LONGEST_PATH:
            raise InputError(f"{place}: no image; give its relative path without suffix")
        image = plain_text(image)
        x, y = (_whole(place, name, record[name]) for name in ("x", "y"))
        if score not in (None, ""):
            row = RegionScore(x, y, _share(place, score), place)
            scores.setdefault(image, []).append(row)
        if kind:
            kinds.setdefault(image, []).append(RegionKind(x, y, kind, place))
    return scores, kinds


def _csv_records(path: Path, text: str) -> Iterator[tuple[str, Mapping[str, Any]]]:
    header = text.partition("\n")[0]
    delimiter = max(",;\t", key=header.count)
    # strict: a quotation mark that is never closed would swallow all rows after it
    reader = csv.DictReader(
        io.StringIO(text, newline=""), restval="", delimiter=delimiter, strict=True
    )
    try:
        reader.fieldnames = [name.strip().lower() for name in reader.fieldnames or ()]
        _require(f"{path}, line 1", reader.fieldnames)
        for record in reader:
            if delimiter != "," and isinstance(record.get("score"), str):
                record["score"] = record["score"].replace(",", ".")
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
    needed = [name for name in COLUMNS if name != "score" or "kind" not in there]
    missing = [name for name in needed if name not in there]
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


def _kind(place: str, value: Any) -> str:
    if value is None:
        return ""
    kind = plain_text(value).strip() if isinstance(value, str) else None
    if kind is None or len(kind) > _LONGEST_KIND:
        raise InputError(
            f"{place}: kind is {_short(value)!r}; give a name of at most {_LONGEST_KIND} characters"
        )
    return kind


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
    for row in scores:
        number = _number(labels, row)
        if not np.isnan(of_region[number]) and of_region[number] != row.score:
            raise InputError(
                f"{row.place}: x={row.x}, y={row.y} is on a region that already has the score "
                f"{of_region[number]:g}; give one for each"
            )
        of_region[number] = row.score
    return of_region[labels]


def kind_map(
    gt_mask: NDArray[np.bool_], kinds: Sequence[RegionKind]
) -> tuple[NDArray[np.int64], list[str]]:
    """Spread kinds over the regions they belong to.

    Args:
        gt_mask: labelled artifacts, ``(H, W)`` bool.
        kinds: of this image.

    Returns:
        ``(H, W)``: place of the kind of the pixel's 8-connected region among the names, which
        come second; −1 where it has none and outside of regions.

    Raises:
        InputError: a kind on no region, or two that differ on one; names file and row.

    Example:
        >>> gt_mask = np.array([[True, True, False, True]])
        >>> kind_map(gt_mask, [RegionKind(1, 0, "grid", "regions.csv, line 2")])
        (array([[ 0,  0, -1, -1]]), ['grid'])
    """
    labels, count = (part.numpy() for part in label_regions(torch.from_numpy(gt_mask.copy())))
    names = sorted({row.kind for row in kinds})
    of_region = np.full(int(count) + 1, -1)
    for row in kinds:
        number, place = _number(labels, row), names.index(row.kind)
        if of_region[number] not in (-1, place):
            raise InputError(
                f"{row.place}: x={row.x}, y={row.y} is on a region that already is of the kind "
                f"{names[of_region[number]]}; give one for each"
            )
        of_region[number] = place
    return of_region[labels], names


def _number(labels: NDArray[np.int64], row: RegionScore | RegionKind) -> int:
    height, width = labels.shape
    number = int(labels[row.y, row.x]) if row.x < width and row.y < height else 0
    if not number:
        raise InputError(
            f"{row.place}: x={row.x}, y={row.y} is on no labelled region of the "
            f"{width}x{height} mask; give a pixel of the region"
        )
    return number
