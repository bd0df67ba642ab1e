"""Labels of human-guided ground truth: files of single annotators, and what they vote for.

Chen et al., "Human Guided Ground-truth Generation for Realistic Image Super-resolution", CVPR
2023: each of a set's enhanced versions is Positive, Similar or Negative beside the original. A
folder of labels holds one folder an annotator, and in it one JSON file a set, named by the set.
"""

from __future__ import annotations

import json
import os
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any, Literal, cast, get_args

from desra.errors import InputError
from desra.files import write_text

Label = Literal["Positive", "Similar", "Negative"]
LABELS: tuple[Label, ...] = get_args(Label)
Ties = Literal["similar", "drop"]
ORIGINAL = "original"
"""The folder, and the name in label files, of what the versions are compared with."""

_TIME = "%Y-%m-%d %H:%M:%S"


@dataclass(frozen=True)
class Tagging:
    """What one annotator says of one set.

    Attributes:
        labels: version (``"01"``, …) to its label; None where none was given.
        names: version, and `ORIGINAL`, to the file name of its picture.
        start: when the set was opened.
        end: when its last label was given.
        seconds: how long it took; whole seconds in the release's files.
        shown: the versions in the order in which they were shown; the release does not say.
    """

    labels: Mapping[str, Label | None]
    names: Mapping[str, str] = field(default_factory=dict)
    start: datetime | None = None
    end: datetime | None = None
    seconds: float | None = None
    shown: tuple[str, ...] = ()


@dataclass(frozen=True)
class Vote:
    """The majority's label of one version.

    Attributes:
        label: None where a tie was dropped, or nobody gave a label.
        votes: how many gave the winning label; in a tie, how many gave each of the tied ones.
        voters: how many gave any.
        tie: whether labels were equally frequent.
    """

    label: Label | None
    votes: int
    voters: int
    tie: bool = False


def vote(labels: Iterable[Label | None], ties: Ties = "similar") -> Vote:
    """The most frequent label; missing ones do not count.

    Args:
        labels: one an annotator.
        ties: what becomes of labels that are equally frequent: ``"similar"`` (of three annotators
            who all differ, the release makes Similar with 1 vote) or ``"drop"``.

    Example:
        >>> vote(["Positive", "Negative", "Positive"])
        Vote(label='Positive', votes=2, voters=3, tie=False)
        >>> vote(["Positive", "Similar", "Negative"])
        Vote(label='Similar', votes=1, voters=3, tie=True)
        >>> vote(["Positive", "Negative", None], ties="drop")
        Vote(label=None, votes=1, voters=2, tie=True)
    """
    counts = Counter(label for label in labels if label is not None).most_common()
    if not counts:
        return Vote(None, 0, 0)
    (label, votes), voters = counts[0], sum(count for _, count in counts)
    if len(counts) > 1 and counts[1][1] == votes:
        return Vote("Similar" if ties == "similar" else None, votes, voters, tie=True)
    return Vote(label, votes, voters)


@dataclass
class LabelFolder:
    """The labels of any number of annotators.

    Attributes:
        annotators: names of their folders, sorted.
        taggings: set (relative path without suffix) to annotator to what that one says; sorted.
        versions: those that most sets have, sorted.
        problems: what could not be used, a line each; the rest is in ``taggings``.
    """

    annotators: tuple[str, ...]
    taggings: dict[str, dict[str, Tagging]]
    versions: tuple[str, ...]
    problems: list[str]

    def votes(self, ties: Ties = "similar") -> dict[str, dict[str, Vote]]:
        """Set to version to its `vote`."""
        return {
            key: {
                version: vote((said.labels.get(version) for said in by.values()), ties)
                for version in self.versions
            }
            for key, by in self.taggings.items()
        }


def read_labels(root: str | Path) -> LabelFolder:
    """Read a folder with one folder an annotator.

    HGGT's layout (``A/NAME.json``) and DiffIQA's (``A/01/NAME_01.json``, one version a file) are
    told apart by what is in the files. A missing or unknown label, a version that others have and
    a file lacks, and a set that fewer annotators labelled than most are problems.

    Raises:
        InputError: no such folder, or no label in it that can be used.
    """
    root = Path(root)
    if not root.is_dir():
        raise InputError(f"{root}: no such folder; give one that holds a folder an annotator")
    problems: list[str] = []
    taggings: dict[str, dict[str, Tagging]] = {}
    annotators = sorted(
        entry.name for entry in root.iterdir() if entry.is_dir() and not entry.name.startswith(".")
    )
    for annotator in annotators:
        files: dict[str, Path] = {}
        for path in _json_files(root / annotator):
            try:
                key, said, lines = _parse(path, path.relative_to(root / annotator))
            except InputError as error:
                problems.append(str(error))
                continue
            problems += lines
            known = taggings.setdefault(key, {}).get(annotator)
            if known is not None and known.labels.keys() & said.labels.keys():
                problems.append(f"{path}: {files[key]} labels {key} already; keep one of them")
                continue
            files[key] = path
            taggings[key][annotator] = said if known is None else _merged(known, said)
    taggings = {key: by for key, by in sorted(taggings.items()) if by}
    if not taggings:
        more = f"; {problems[0]}" if problems else ""
        raise InputError(f"{root}: no labels found as ANNOTATOR/SET.json{more}")
    versions = _most_frequent(
        tuple(sorted(said.labels)) for by in taggings.values() for said in by.values()
    )
    problems += _incomplete(root, taggings, versions)
    return LabelFolder(tuple(annotators), taggings, versions, problems)


def read_tagging(path: str | Path) -> tuple[Tagging, list[str]]:
    """One file of HGGT's or DiffIQA's, and a line for each label in it that cannot be used.

    Raises:
        InputError: unreadable, or no label file.
    """
    _, said, problems = _parse(Path(path), Path(Path(path).name))
    return said, problems


def write_tagging(path: str | Path, said: Tagging) -> None:
    """Write one file in HGGT's layout, whole or not at all.

    ``Picture_1`` is the original, the versions follow in their order, as the release's loaders
    expect. What it does not have is under ``Shown``, which they pass over.
    """
    original = {"Name": said.names.get(ORIGINAL, ""), "File": ORIGINAL, "Label": None}
    record: dict[str, Any] = {"Picture_1": original}
    for place, version in enumerate(sorted(said.labels), start=2):
        record[f"Picture_{place}"] = {
            "Name": said.names.get(version, ""),
            "File": version,
            "Label": said.labels[version],
        }
    start, end = (when and when.strftime(_TIME) for when in (said.start, said.end))
    seconds = said.seconds
    if seconds is None and said.start and said.end:
        seconds = (said.end - said.start).total_seconds()
    if seconds is not None and float(seconds).is_integer():
        seconds = int(seconds)
    record["Time_cost"] = {"Start": start, "End": end, "Total": seconds}
    if said.shown:
        record["Shown"] = list(said.shown)
    write_text(path, json.dumps(record, indent=4, ensure_ascii=False) + "\n")


# --- one file -------------------------------------------------------------------------------------


def _json_files(folder: Path) -> Iterator[Path]:
    for where, folders, names in os.walk(folder, followlinks=True):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for name in sorted(names):
            if name.lower().endswith(".json") and not name.startswith("."):
                yield Path(where, name)


def _parse(path: Path, relative: Path) -> tuple[str, Tagging, list[str]]:
    """The set that a file is of, what it says, and what in it cannot be used."""
    try:
        record = json.loads(path.read_bytes())
    except OSError as error:
        raise InputError(f"{path}: {error.strerror or error}") from error
    except ValueError as error:
        raise InputError(f"{path}: not JSON ({error}); label this set again") from error
    if not isinstance(record, dict):
        record = {}
    key = relative.with_suffix("").as_posix()
    if isinstance(record.get("Picture_AI"), dict):
        pictures, key = _pictures_of_diffiqa(record, key)
    else:
        pictures = _pictures_of_hggt(record)
    if not pictures:
        raise InputError(f"{path}: no picture in it, so no label file; remove it from the labels")
    problems, labels, names = [], {}, {}
    for position, version, picture in pictures:
        names[version] = str(picture.get("Name") or "")
        if version == ORIGINAL:
            continue
        if version in labels:
            problems.append(f"{path}: {position}: version {version} a second time; left out")
            continue
        label = picture.get("Label")
        if label not in LABELS:
            what = "no label" if label is None else f"{label!r} is no label"
            problems.append(f"{path}: {position} ({version}): {what}; use {', '.join(LABELS)}")
            label = None
        labels[version] = cast("Label | None", label)
    time = record.get("Time_cost")
    time = time if isinstance(time, dict) else {}
    seconds = time.get("Total")
    shown = record.get("Shown")
    said = Tagging(
        labels,
        names,
        _moment(time.get("Start")),
        _moment(time.get("End")),
        float(seconds) if isinstance(seconds, int | float) else None,
        tuple(map(str, shown)) if isinstance(shown, list) else (),
    )
    return key, said, problems


def _pictures_of_hggt(record: Mapping[str, Any]) -> list[tuple[str, str, Mapping[str, Any]]]:
    found = []
    for name, picture in record.items():
        number = name.removeprefix("Picture_")
        if name.startswith("Picture_") and number.isdigit() and isinstance(picture, dict):
            # the release's loaders go by position: Picture_2 is 01
            position = ORIGINAL if int(number) == 1 else f"{int(number) - 1:02d}"
            found.append((int(number), name, str(picture.get("File") or position), picture))
    return [(name, _version(file), picture) for _, name, file, picture in sorted(found)]


def _pictures_of_diffiqa(
    record: Mapping[str, Any], key: str
) -> tuple[list[tuple[str, str, Mapping[str, Any]]], str]:
    folder, _, rest = key.rpartition("/")
    picture = record["Picture_AI"]
    version = str(picture.get("File") or folder.rpartition("/")[2])
    outer = folder.removesuffix(version).rstrip("/")
    key = "/".join(part for part in (outer, rest.removesuffix(f"_{version}")) if part)
    original = record.get("picture_Original")
    pictures = [("Picture_AI", _version(version), picture)]
    if isinstance(original, dict):
        pictures.append(("picture_Original", ORIGINAL, original))
    return pictures, key


def _version(name: str) -> str:
    return ORIGINAL if name.lower() == ORIGINAL else name


def _moment(text: Any) -> datetime | None:
    try:
        return datetime.strptime(text, _TIME)
    except (TypeError, ValueError):
        return None


def _merged(one: Tagging, other: Tagging) -> Tagging:
    """Two versions of one set, labelled by themselves."""
    starts, ends = (
        [when for when in whens if when]
        for whens in ((one.start, other.start), (one.end, other.end))
    )
    seconds = [value for value in (one.seconds, other.seconds) if value is not None]
    return Tagging(
        {**one.labels, **other.labels},
        {**one.names, **other.names},
        min(starts, default=None),
        max(ends, default=None),
        sum(seconds) if seconds else None,
        one.shown + other.shown,
    )


# --- a folder -------------------------------------------------------------------------------------


def _most_frequent(values: Iterable[Any]) -> Any:
    return Counter(values).most_common(1)[0][0]


def _incomplete(
    root: Path, taggings: Mapping[str, Mapping[str, Tagging]], versions: tuple[str, ...]
) -> Iterator[str]:
    """What others have, and single files or sets lack, or have too much."""
    usual = _most_frequent(len(by) for by in taggings.values())
    for key, by in taggings.items():
        if len(by) < usual:
            names = ", ".join(sorted(by))
            yield f"{root}: {key}: labelled by {names} alone; most sets have {usual} annotators"
        for annotator, said in by.items():
            path = root / annotator / f"{key}.json"
            if missing := [version for version in versions if version not in said.labels]:
                yield f"{path}: lacks the version(s) {', '.join(missing)} that most files have"
            if more := sorted(said.labels.keys() - set(versions)):
                yield f"{path}: has the version(s) {', '.join(more)} that most files lack; left out"
