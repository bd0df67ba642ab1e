"""Temporary files: their names, and the removal of those that killed processes left behind."""

from __future__ import annotations

import hashlib
import os
import re
import secrets
import socket
import time
from pathlib import Path

TEMPORARY_PREFIX = ".partial-"
_NAME = re.compile(re.escape(TEMPORARY_PREFIX) + r"([0-9a-f]{6})-(\d+)-[0-9a-f]{12}(\.\w+)*")
_OLD = 7 * 24 * 3600  # seconds: no single file is written for a week

_HOST = hashlib.blake2b(socket.gethostname().encode(), digest_size=3).hexdigest()


def temporary_name(suffix: str) -> str:
    """A new name that tells which process of which machine writes the file."""
    return f"{TEMPORARY_PREFIX}{_HOST}-{os.getpid()}-{secrets.token_hex(6)}{suffix}"


def remove_leftovers(folder: str | Path) -> int:
    """Remove temporary files of processes that have ended, at any depth; returns how many.

    A file of another machine, whose processes cannot be seen from here, is removed after a week.
    Links are not followed.
    """
    removed = 0
    for place, _, names in os.walk(folder):
        for name in names:
            match = _NAME.fullmatch(name)
            if match and _is_left(Path(place, name), match[1], int(match[2])):
                Path(place, name).unlink(missing_ok=True)
                removed += 1
    return removed


def _is_left(path: Path, host: str, process: int) -> bool:
    if host == _HOST:
        return not _is_alive(process)
    try:
        return time.time() - path.stat().st_mtime > _OLD
    except OSError:
        return False


def _is_alive(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except (OSError, OverflowError):  # of another user, or no number of a process
        return True
    return True
