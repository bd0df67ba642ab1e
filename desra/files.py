"""Finding images in folders, matching folders by relative path, and writing without half-files."""

from __future__ import annotations

import csv
import functools
import hashlib
import io
import os
import secrets
import shutil
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from desra.errors import InputError

IMAGE_SUFFIXES = frozenset({".png", ".jpg", ".jpeg", ".webp", ".tif", ".tiff", ".bmp"})
TEMPORARY_PREFIX = ".partial-"

Finder = Callable[[Path], dict[str, list[Path]]]
"""Finds the files below a root by key, as `find_images`."""


@dataclass(frozen=True)
class Match:
    """The files that several folders hold under one relative path.

    Attributes:
        key: relative path without suffix, with ``/`` between its parts.
        paths: role (``"mse_sr"``, ``"gan_sr"``, …) to file; optional roles may be absent.
        error: why the match cannot be used (no partner, two files with one key), or None.
        missing: required roles of which there is no file.
    """

    key: str
    paths: Mapping[str, Path]
    error: str | None = None
    missing: tuple[str, ...] = ()


def find_images(
    root: str | Path, suffixes: frozenset[str] = IMAGE_SUFFIXES
) -> dict[str, list[Path]]:
    """All images under ``root`` (a folder of any depth, or one image), by key and sorted by it.

    Hidden files and folders are left out. A key has more than one file where names differ only by
    suffix.

    Raises:
        InputError: ``root`` does not exist, or holds no image.
    """
    root = Path(root)
    if root.is_file():
        return {root.stem: [root]}
    if not root.is_dir():
        raise InputError(f"{root}: no such file or folder; give an image or a folder of images")
    found: dict[str, list[Path]] = {}
    for folder, folders, names in os.walk(root, followlinks=True):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for name in sorted(names):
            path = Path(folder, name)
            if path.suffix.lower() in suffixes and not name.startswith("."):
                key = path.relative_to(root).with_suffix("").as_posix()
                found.setdefault(key, []).append(path)
    if not found:
        kinds = ", ".join(sorted(suffix.lstrip(".") for suffix in suffixes))
        raise InputError(f"{root}: no images found; looked for {kinds} at any depth")
    return dict(sorted(found.items()))


def match_folders(
    required: Mapping[str, str | Path],
    optional: Mapping[str, str | Path] | None = None,
    finders: Mapping[str, Finder] | None = None,
    named_by: Sequence[str] | None = None,
) -> list[Match]:
    """Match images of several folders by relative path; suffixes may differ.

    Args:
        required: role to root. A key that some of these roots lack gives a `Match` with an error.
        optional: role to root. A key missing here is no error.
        finders: role to what finds its files; the others have `find_images`.
        named_by: the roles whose files say which keys there are; None: all that are required.

    Returns:
        one `Match` per key, sorted by key. Where the first root that names them is a single file,
        only that one is asked for: single files of other roles belong to it, whatever their names.

    Raises:
        InputError: a root does not exist or holds no image.
    """
    roots = {role: Path(root) for role, root in {**required, **(optional or {})}.items()}
    found = {role: (finders or {}).get(role, find_images)(root) for role, root in roots.items()}
    naming = list(required if named_by is None else named_by)
    keys = sorted({key for role in naming for key in found[role]})
    if naming and roots[naming[0]].is_file():
        keys = [roots[naming[0]].stem]
        found |= {role: {keys[0]: [root]} for role, root in roots.items() if root.is_file()}
    return [_match(key, found, roots, required.keys()) for key in keys]


def _match(
    key: str,
    found: Mapping[str, dict[str, list[Path]]],
    roots: Mapping[str, Path],
    required: Collection[str],
) -> Match:
    paths: dict[str, Path] = {}
    errors = []
    missing = []
    for role, images in found.items():
        candidates = images.get(key, [])
        if len(candidates) > 1:
            names = " and ".join(path.name for path in candidates)
            errors.append(f"{names} share one name in {candidates[0].parent}; keep one of them")
        elif candidates:
            paths[role] = candidates[0]
        elif role in required:
            missing.append(role)
            errors.append(f"no partner in {roots[role]}; add it there or leave this image out")
    return Match(key, paths, "; ".join(errors) or None, tuple(missing))


@contextmanager
def atomic_path(path: str | Path) -> Iterator[Path]:
    """A temporary path beside ``path``, renamed onto it when the block ends without an exception.

    Folders are made as needed. The temporary name keeps the suffix, since writers of images choose
    the format by it. Nothing half-written is ever at ``path``, whenever the process is stopped.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f"{TEMPORARY_PREFIX}{secrets.token_hex(6)}{path.suffix}")
    try:
        yield temporary
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def write_text(path: str | Path, text: str) -> None:
    """Write UTF-8 text whole or not at all, with ``\\n`` line ends on every system."""
    with atomic_path(path) as temporary:
        temporary.write_bytes(text.encode())


def write_table(
    path: str | Path, rows: Iterable[Mapping[str, Any]], columns: Sequence[str]
) -> None:
    """Write rows as CSV, whole or not at all; a value that a row lacks is left empty."""
    text = io.StringIO()
    writer = csv.DictWriter(text, columns, extrasaction="ignore", lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    write_text(path, text.getvalue())


def file_digest(path: str | Path) -> str:
    """Hexadecimal BLAKE2b digest (128 bit) of a file's bytes.

    Within a process a file that is still the same one (inode, size, time of change) is read once.
    """
    status = os.stat(path)
    return _digest(os.fspath(path), status.st_ino, status.st_size, status.st_mtime_ns)


@functools.lru_cache(maxsize=2**16)
def _digest(path: str, *_identity: int) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, lambda: hashlib.blake2b(digest_size=16)).hexdigest()


def link_or_copy(source: str | Path, target: str | Path, copy: bool = False) -> None:
    """Give a file a second name (hard link); copy it if asked, or if links are not possible."""
    if Path(target).exists() and os.path.samefile(source, target):
        return
    with atomic_path(target) as temporary:
        try:
            if copy:
                shutil.copyfile(source, temporary)
            else:
                os.link(source, temporary)
        except OSError:  # another file system, or one without links
            shutil.copyfile(source, temporary)
