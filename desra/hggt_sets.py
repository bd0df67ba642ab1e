"""Sets of human-guided ground truth: an original, its enhanced versions, and what people say."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from desra.errors import InputError
from desra.files import find_images
from desra.hggt_labels import ORIGINAL, Label, LabelFolder, Ties, Vote, read_labels


@dataclass(frozen=True)
class GroundTruthSet:
    """One original with its versions.

    Attributes:
        key: relative path of the original without suffix.
        original: its file.
        versions: version (``"01"``, …) to its file; sorted.
        votes: version to its vote; empty where nobody labelled the set.
    """

    key: str
    original: Path
    versions: Mapping[str, Path]
    votes: Mapping[str, Vote] = field(default_factory=dict)

    def voted(self, label: Label) -> list[str]:
        """The versions with this label, in order."""
        return [
            version
            for version in self.versions
            if version in self.votes and self.votes[version].label == label
        ]

    def share(self, version: str) -> float:
        """Share of the annotators behind a version's vote."""
        vote = self.votes[version]
        return vote.votes / vote.voters


def find_sets(
    root: str | Path, labels: str | Path | None = None, ties: Ties = "similar"
) -> tuple[list[GroundTruthSet], list[str]]:
    """All sets under a folder that holds ``original/`` and a folder a version.

    A version's file is named as the original's, with or without ``_VERSION`` at its end.

    Args:
        root: the folder.
        labels: one folder an annotator; None: no votes.
        ties: see `desra.hggt_labels.vote`.

    Returns:
        sets sorted by key, labelled or not yet, and what was left out, a line each: labels that
        cannot be used or have no original, versions without a picture.

    Raises:
        InputError: no ``original/`` there or no version, or no labels that can be used.
    """
    root = Path(root)
    folders = version_folders(root)
    originals = find_images(original_folder(root))
    pictures = {version: find_images(root / version) for version in folders}
    said = None if labels is None else read_labels(labels)
    votes = {} if said is None else said.votes(ties)
    problems = [] if said is None else list(said.problems)
    sets = []
    for key, files in originals.items():
        if len(files) > 1:
            problems.append(f"{files[0]}: {files[1].name} has the same name; keep one of them")
            continue
        versions: dict[str, Path] = {}
        for version, images in pictures.items():
            found = [*images.get(f"{key}_{version}", []), *images.get(key, [])]
            if len(found) == 1:
                versions[version] = found[0]
            else:
                what = "two files of" if found else "no file of"
                problems.append(f"{root / version}: {what} {key}, which is left out of this set")
        own = {version: vote for version, vote in votes.get(key, {}).items() if version in versions}
        if versions:
            sets.append(GroundTruthSet(key, files[0], versions, own))
    problems += _without_picture(root, said, originals, folders)
    if not sets:
        raise InputError(f"{root}: no set of pictures with labels; {'; '.join(problems[:3])}")
    return sets, problems


def original_folder(root: str | Path) -> Path:
    """The folder of originals: ``original/``, or DiffIQA's ``Original/``.

    Raises:
        InputError: neither is there.
    """
    for name in (ORIGINAL, ORIGINAL.capitalize()):
        if Path(root, name).is_dir():
            return Path(root, name)
    raise InputError(f"{root}: holds no folder {ORIGINAL}/; give the one that does")


def version_folders(root: Path) -> list[str]:
    """Names of the versions' folders beside ``original/``, sorted.

    Raises:
        InputError: no ``original/`` or no version.
    """
    original = original_folder(root)
    folders = sorted(
        entry.name
        for entry in root.iterdir()
        if entry.is_dir() and entry.name != original.name and not entry.name.startswith(".")
    )
    if not folders:
        raise InputError(f"{root}: no enhanced versions (01/, 02/, …) beside {ORIGINAL}/")
    return folders


def _without_picture(
    root: Path, said: LabelFolder | None, originals: Mapping[str, object], folders: Sequence[str]
) -> list[str]:
    if said is None:
        return []
    lines = [
        f"{original_folder(root)}: no picture of {key}, which is labelled"
        for key in said.taggings
        if key not in originals
    ]
    missing = [version for version in said.versions if version not in folders]
    return lines + [f"{root / version}: no such folder, but it is labelled" for version in missing]
