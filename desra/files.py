"""Images in folders, matched by relative path, and files that are written whole."""

from __future__ import annotations

import csv
import functools
import hashlib
import io
import json
import logging
import os
import shutil
import stat
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from desra.errors import DISK_FULL, DiskError, InputError
from desra.folders import files_below
from desra.leftovers import temporary_name

IMAGE_SUFFIXES = frozenset(
    {
        *(".png", ".jpg", ".jpeg", ".jpe", ".jfif", ".webp", ".tif", ".tiff", ".bmp"),
        *(".gif", ".avif", ".jp2", ".j2k", ".ppm", ".pgm", ".pbm"),
    }
)
"""Of files that are read as images; what a file is, its content says."""

UNREAD_SUFFIXES = frozenset(
    {
        *(".heic", ".heif", ".jxl", ".jxr", ".psd", ".xcf", ".svg", ".exr", ".hdr", ".tga", ".ico"),
        *(".dng", ".cr2", ".cr3", ".nef", ".arw", ".orf", ".raf", ".rw2"),
    }
)
"""Of pictures that no reader here reads: they are named where they lie beside others."""


log = logging.getLogger(__name__)

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

    @property
    def identity(self) -> str:
        """What its results depend on besides the bytes of its files and the task's settings."""
        return self.key


def find_images(
    root: str | Path, suffixes: frozenset[str] = IMAGE_SUFFIXES
) -> dict[str, list[Path]]:
    """All images under ``root`` (a folder of any depth, or one image), by key and sorted by it.

    Hidden files and folders are left out, and what is no regular file (a pipe, a device). Links are
    followed, each folder once. A key has more than one file where names differ only by suffix.
    Pictures in formats that are not read are named in the log, once.

    Raises:
        InputError: ``root`` does not exist, holds no image, or is neither file nor folder.

    Example:
        >>> import numpy as np
        >>> from desra.images import write_png
        >>> write_png("set/sky/1.png", np.zeros((2, 2, 3), np.uint8))
        >>> find_images("set")
        {'sky/1': [PosixPath('set/sky/1.png')]}
    """
    root = Path(root)
    if root.is_file():
        return {root.stem: [root]}
    if not root.is_dir():
        if root.exists():
            raise InputError(f"{root}: neither a file nor a folder; give an image or a folder")
        raise InputError(f"{root}: no such file or folder; give an image or a folder of images")
    found: dict[str, list[Path]] = {}
    unread: list[Path] = []
    for path in files_below(root):
        suffix = path.suffix.lower()
        if suffix in suffixes:
            key = path.relative_to(root).with_suffix("").as_posix()
            found.setdefault(key, []).append(path)
        elif suffix in UNREAD_SUFFIXES:
            unread.append(path)
    _name_unread(root, tuple(unread))
    if not found:
        kinds = ", ".join(sorted(suffix.lstrip(".") for suffix in suffixes))
        raise InputError(f"{root}: no images found; looked for {kinds} at any depth")
    return dict(sorted(found.items()))


@functools.lru_cache
def _name_unread(root: Path, paths: tuple[Path, ...]) -> None:
    """Once a folder, by the first rank: the others read the same."""
    if paths and not int(os.environ.get("LOCAL_RANK", 0)):
        names = ", ".join(path.name for path in paths[:3])
        more = f" and {len(paths) - 3} more" if len(paths) > 3 else ""
        log.warning("%s: left out, in a format that is not read: %s%s", root, names, more)


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

    Example:
        >>> import numpy as np
        >>> from desra.images import write_png
        >>> for role in ("lr", "hr"):
        ...     write_png(f"{role}/sky/1.png", np.zeros((2, 2, 3), np.uint8))
        >>> [match.key for match in match_folders({"lr": "lr", "hr": "hr"})]
        ['sky/1']
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
    if not _is_utf8(key):
        errors.append("its name is not UTF-8; rename it")
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
    return Match(sayable(key), paths, "; ".join(errors) or None, tuple(missing))


def _is_utf8(name: str) -> bool:
    return name == sayable(name)


def sayable(name: str) -> str:
    r"""A name that can be printed and written as UTF-8, with ``\xE9`` for bytes that are not."""
    return os.fsencode(name).decode("utf-8", "backslashreplace")


@contextmanager
def atomic_path(path: str | Path) -> Iterator[Path]:
    """A temporary path beside ``path``, renamed onto it when the block ends without an exception.

    Folders are made as needed. The temporary name keeps the suffix, since writers of images choose
    the format by it. Nothing half-written is ever at ``path``, whenever the process is stopped.

    Raises:
        DiskError: the disk is full, or takes no file of this size.

    Example:
        >>> with atomic_path("out/table.csv") as temporary:
        ...     n = temporary.write_text("a,b")
        >>> Path("out/table.csv").read_text()
        'a,b'
    """
    path = Path(path)
    temporary = path.with_name(temporary_name(path.suffix))
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        yield temporary
        os.replace(temporary, path)
    except OSError as error:
        if error.errno in DISK_FULL:
            raise DiskError(path, error) from error
        raise
    finally:
        temporary.unlink(missing_ok=True)


def write_text(path: str | Path, text: str) -> None:
    """Write UTF-8 text whole or not at all, with ``\\n`` line ends on every system."""
    with atomic_path(path) as temporary:
        temporary.write_bytes(text.encode())


def write_table(
    path: str | Path, rows: Iterable[Mapping[str, Any]], columns: Sequence[str]
) -> None:
    """Write rows as CSV, whole or not at all; a value that a row lacks is left empty.

    Spreadsheets run what begins with ``=``, ``+``, ``-`` or ``@``, so such texts (names of files)
    get an apostrophe before them, which `plain_text` takes off.
    """
    text = io.StringIO()
    writer = csv.DictWriter(text, columns, extrasaction="ignore", lineterminator="\n")
    writer.writeheader()
    writer.writerows({name: harmless_text(value) for name, value in row.items()} for row in rows)
    write_text(path, text.getvalue())


_FORMULA_STARTS = ("=", "+", "-", "@", "\t", "\r")


def harmless_text(value: Any) -> Any:
    """A value of a table that no spreadsheet takes for a formula; numbers pass unchanged.

    >>> harmless_text("=1+1"), harmless_text("a"), harmless_text(-1)
    ("'=1+1", 'a', -1)
    """
    if isinstance(value, str) and value.lstrip("'").startswith(_FORMULA_STARTS):
        return f"'{value}"
    return value


def plain_text(value: str) -> str:
    """What `harmless_text` was given."""
    escaped = value.startswith("'") and value.lstrip("'").startswith(_FORMULA_STARTS)
    return value[1:] if escaped else value


def is_regular(path: str | Path) -> bool:
    """Whether a path leads to a regular file, and not to a folder, a pipe or a device."""
    try:
        return stat.S_ISREG(os.stat(path).st_mode)
    except (OSError, ValueError):
        return False


def read_limited(path: str | Path, most: int, fix: str = "give the file that is meant") -> bytes:
    """The bytes of a regular file.

    Args:
        path: the file.
        most: bytes; a larger file is refused before it is read.
        fix: what to do about it, for messages.

    Raises:
        InputError: it cannot be read, is no regular file, or is larger.
    """
    try:
        status = os.stat(path)
        if not stat.S_ISREG(status.st_mode):
            raise InputError(f"{path}: not a regular file; {fix}")
        if status.st_size > most:
            raise InputError(f"{path}: {status.st_size} bytes, more than {most}; {fix}")
        return Path(path).read_bytes()
    except (OSError, ValueError) as error:
        if isinstance(error, InputError):
            raise
        raise InputError(f"{path}: {getattr(error, 'strerror', None) or error}; {fix}") from error


LARGEST_JSON = 2**28
"""Bytes of a JSON file from elsewhere; LabelMe's holds a picture."""


def read_json(path: str | Path, fix: str = "write it again") -> Any:
    """What a JSON file from elsewhere holds.

    Raises:
        InputError: unreadable, larger than `LARGEST_JSON`, or damaged.
    """
    try:
        return json.loads(read_limited(path, LARGEST_JSON, fix))
    except InputError:
        raise
    except (ValueError, RecursionError) as error:
        reason = "nested too deeply" if isinstance(error, RecursionError) else str(error)[:200]
        raise InputError(f"{path}: damaged JSON ({reason}); {fix}") from error


def nature(head: bytes) -> str:
    """What a file is that is not what it was taken for, by its first bytes."""
    start = head.lstrip()
    if not head:
        return "the file is empty"
    if start[:1] == b"<":
        return "a web page"
    if start.startswith(b"version https://git-lfs"):
        return "a pointer of Git LFS, not the file itself"
    if head[4:8] == b"ftyp" and head[8:12] in (b"heic", b"heix", b"mif1", b"msf1", b"hevc"):
        return "a HEIC picture"
    return "damaged, or of another kind"


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
