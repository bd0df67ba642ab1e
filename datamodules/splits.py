"""Split of images into training and validation."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from desra.errors import InputError


@dataclass(frozen=True)
class SplitRule:
    """How validation images are chosen.

    Attributes:
        val_root: they have a root of their own.
        val_list: text file with their keys, one a line.
        val_share: share of the images, where neither is given.
        group_pattern: see `group_of`; groups are never on both sides.
        seed: of the share and of the draw.
        train_count: train on so many of the others, drawn by the seed; None: on all. Those of a
            smaller count are among those of a larger one, so that counts can be compared.

    Raises:
        InputError: settings that exclude each other, a count below 1, or no regular expression.
    """

    val_root: str | None = None
    val_list: str | None = None
    val_share: float = 0.0
    group_pattern: str | None = None
    seed: int = 0
    train_count: int | None = None

    def __post_init__(self) -> None:
        if self.train_count is not None and self.train_count < 1:
            raise InputError(f"data.train_count={self.train_count}: give at least 1, or null")
        if self.val_root and self.val_list:
            raise InputError("data.val_root and data.val_list are both given; give one of them")
        try:
            re.compile(self.group_pattern or "")
        except re.error as error:
            raise InputError(f"data.group_pattern={self.group_pattern}: {error}") from error

    def held_out(self, keys: Sequence[str]) -> set[str]:
        """Which keys of one root validate.

        Raises:
            InputError: see `read_key_list`, `split_by_list` and `split_by_share`.
        """
        if self.val_list:
            listed = read_key_list(self.val_list, keys)
            return set(split_by_list(keys, listed, self.group_pattern)[1])
        return set(split_by_share(keys, self.val_share, self.seed, self.group_pattern)[1])

    def drawn(self, keys: Sequence[str]) -> set[str]:
        """Which of the keys that do not validate are trained on.

        Raises:
            InputError: there are fewer than ``train_count``.
        """
        if self.train_count is None:
            return set(keys)
        if self.train_count > len(keys):
            raise InputError(
                f"data.train_count={self.train_count}: there are {len(keys)} images to train on"
            )
        order = sorted(keys, key=lambda name: _digest(self.seed, f"train/{name}"))
        return set(order[: self.train_count])


def group_of(key: str, pattern: str | None) -> str:
    """What ``key`` is a crop of: the pattern's first group, or all it matches.

    A key that the pattern does not match, and any key without a pattern, is a group of its own.

    >>> group_of("photos/0012_s003", r"^(.*)_s\\d+$")
    'photos/0012'
    >>> group_of("photos/0012", r"^(.*)_s\\d+$")
    'photos/0012'
    """
    match = re.search(pattern, key) if pattern else None
    if match is None:
        return key
    return match.group(1) if match.re.groups else match.group(0)


def read_key_list(path: str | Path, keys: Iterable[str]) -> set[str]:
    """Keys from a text file, one a line; a suffix may be given; ``#`` begins a comment.

    Raises:
        InputError: unreadable, empty, or naming images that are not among ``keys``.
    """
    path = Path(path)
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{path}: {getattr(error, 'strerror', None) or error}") from error
    known = set(keys)
    names = [line.split("#")[0].strip() for line in lines]
    listed = {_as_key(name, known) for name in names if name}
    if not listed:
        raise InputError(f"{path}: lists no image; write one key (relative path) a line")
    unknown = sorted(listed - known)
    if unknown:
        raise InputError(
            f"{path}: {len(unknown)} of {len(listed)} listed images are not there: "
            + ", ".join(unknown[:5])
        )
    return listed


def _as_key(name: str, known: set[str]) -> str:
    key = Path(name).as_posix()
    return key if key in known else re.sub(r"\.\w+$", "", key)


def split_by_list(
    keys: Sequence[str], listed: set[str], pattern: str | None
) -> tuple[list[str], list[str]]:
    """Split into (training, validation) by a set of validation keys.

    Raises:
        InputError: crops of one photo would be on both sides, or nothing is left to train on.
    """
    train = [key for key in keys if key not in listed]
    val = [key for key in keys if key in listed]
    refuse_straddling(train, val, pattern)
    if not train:
        raise InputError("the validation list names every image; leave some to train on")
    return train, val


def refuse_straddling(train: Iterable[str], val: Iterable[str], pattern: str | None) -> None:
    """Raise if a group has images for training and for validation; without a pattern do nothing."""
    if pattern is None:
        return
    both = {group_of(key, pattern) for key in train} & {group_of(key, pattern) for key in val}
    if both:
        raise InputError(
            f"{len(both)} groups of data.group_pattern are in training and in validation: "
            + ", ".join(sorted(both)[:5])
        )


def split_by_share(
    keys: Sequence[str], share: float, seed: int, pattern: str | None
) -> tuple[list[str], list[str]]:
    """Split into (training, validation), whole groups at a time.

    Groups are ordered by a digest of seed and name, and the first ones validate, so that images
    added later hardly move the others across.

    Args:
        keys: all keys.
        share: of the groups that validate, in [0, 1); more than 0 is at least one group.
        seed: another seed, another split.
        pattern: see `group_of`.

    Raises:
        InputError: the share is not in [0, 1), or there are fewer than two groups to split.
    """
    if not 0 <= share < 1:
        raise InputError(f"data.val_share={share}: give a share of at least 0 and less than 1")
    if share == 0:
        return list(keys), []
    groups = sorted({group_of(key, pattern) for key in keys}, key=lambda name: _digest(seed, name))
    if len(groups) < 2:
        raise InputError(
            f"{len(keys)} image(s) of one group cannot be split into training and validation; "
            "give data.val_root, or data.val_share=0 to train without validation"
        )
    count = min(max(round(share * len(groups)), 1), len(groups) - 1)
    chosen = set(groups[:count])
    val = [key for key in keys if group_of(key, pattern) in chosen]
    held = set(val)
    return [key for key in keys if key not in held], val


def _digest(seed: int, name: str) -> bytes:
    return hashlib.blake2b(f"{seed}/{name}".encode(), digest_size=16).digest()
