"""Regular files below a folder: links followed, each folder entered once."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from pathlib import Path


def files_below(root: str | Path) -> Iterator[Path]:
    """The regular files at any depth below ``root``, hidden ones and hidden folders left out.

    A folder that can be reached by several ways, as through a link to it or to a folder around it,
    is entered once: by its own name if that lies below ``root``, else by the first link to it. What
    cannot be looked at, and what is neither file nor folder (pipes, devices), is passed over.
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
        except OSError:
            continue
        folders: list[Path] = []
        for entry in entries:
            if entry.name.startswith("."):
                continue
            path = folder / entry.name
            try:
                mode = entry.stat().st_mode
                linked = entry.is_symlink()
            except OSError:  # a link that leads nowhere
                continue
            if stat.S_ISREG(mode):
                yield path
            elif stat.S_ISDIR(mode):
                (links if linked else folders).append(path)
        waiting += reversed(folders)
