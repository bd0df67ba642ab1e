"""Regular files below a folder: links followed, each folder entered once."""

from __future__ import annotations

import functools
import logging
import os
import stat
from collections.abc import Iterator
from pathlib import Path

log = logging.getLogger(__name__)


def files_below(root: str | Path) -> Iterator[Path]:
    """The regular files at any depth below ``root``, hidden ones and hidden folders left out.

    A folder that can be reached by several ways, as through a link to it or to a folder around it,
    is entered once: by its own name if that lies below ``root``, else by the first link to it. What
    is neither file nor folder (pipes, devices) is passed over; a folder that cannot be read and a
    link that leads nowhere, too, which the log says once.
    """
    entered: set[tuple[int, int]] = set()
    links = [Path(root)]
    while links:  # own folders first, then what links lead to, nearest first
        further: list[Path] = []
        for folder in links:
            yield from _walk(folder, entered, further)
        links = further


def _walk(root: Path, entered: set[tuple[int, int]], links: list[Path]) -> Iterator[Path]:
    waiting = [root]
    while waiting:
        folder = waiting.pop()
        try:
            status = folder.stat()
            if (status.st_dev, status.st_ino) in entered:
                continue
            entered.add((status.st_dev, status.st_ino))
            entries = sorted(os.scandir(folder), key=lambda entry: entry.name)
        except OSError as error:
            _say_left_out(folder, error.strerror)
            continue
        folders: list[Path] = []
        for entry in entries:
            if entry.name.startswith("."):
                continue
            path = folder / entry.name
            try:
                mode = entry.stat().st_mode
                linked = entry.is_symlink()
            except OSError as error:
                _say_left_out(
                    path, "a link that leads nowhere" if entry.is_symlink() else error.strerror
                )
                continue
            if stat.S_ISREG(mode):
                yield path
            elif stat.S_ISDIR(mode):
                (links if linked else folders).append(path)
        waiting += reversed(folders)


@functools.lru_cache
def _say_left_out(path: Path, reason: str | None) -> None:
    if not int(os.environ.get("LOCAL_RANK", 0)):
        log.warning(
            "%s: left out: %s", os.fsencode(path).decode("utf-8", "backslashreplace"), reason
        )
