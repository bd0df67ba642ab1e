"""Ledger of the images that a task has done, so that a stopped run goes on where it was.

One small JSON file per image under ``<output_dir>/.desra/<task>/`` says from which bytes and which
settings the image's outputs were made, and what bytes they had. It is written after them, so a
record stands for whole outputs. A file that is no record counts as none. Ranks and machines that
share the folder need no other communication: each writes the records of its own images, and whoever
makes the final table reads them all.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from desra.errors import InputError
from desra.files import file_digest, read_json, write_text

Row = dict[str, Any]

_LONGEST_NAME = 240  # bytes, of the 255 that file systems allow


class Ledger:
    """Records of a task's finished images.

    Args:
        output_dir: the folder the task writes to.
        task: a name that keeps the records of different tasks in one folder apart.
        settings: everything but the inputs that decides the outputs' bytes; JSON-able.
    """

    def __init__(self, output_dir: str | Path, task: str, settings: Mapping[str, Any]) -> None:
        self.output_dir = Path(output_dir)
        self.folder = self.output_dir / ".desra" / task
        self.settings = json.dumps(settings, sort_keys=True)

    def fingerprint(self, key: str, inputs: Iterable[str | Path]) -> str:
        """Digest of the settings, the key, and the bytes of the input files, in their order."""
        digest = hashlib.blake2b(f"{self.settings}\n{key}".encode(), digest_size=16)
        for path in inputs:
            digest.update(file_digest(path).encode())
        return digest.hexdigest()

    def finished(self, key: str, fingerprint: str) -> Row | None:
        """The row of ``key`` if it was finished from the same inputs and settings, else None.

        An image that failed, or one whose outputs have been deleted or changed since, is not
        finished.
        """
        record = self._read(key)
        if record is None or record["fingerprint"] != fingerprint or record["row"].get("error"):
            return None
        unchanged = all(
            _digest(self.output_dir / name) == digest for name, digest in record["outputs"].items()
        )
        return record["row"] if unchanged else None

    def record(
        self, key: str, fingerprint: str, row: Mapping[str, Any], outputs: Sequence[str | Path] = ()
    ) -> None:
        """Write down that ``key`` is done, after its outputs are at their final paths."""
        digests = {
            Path(path).relative_to(self.output_dir).as_posix(): file_digest(path)
            for path in outputs
        }
        record = {"key": key, "fingerprint": fingerprint, "row": dict(row), "outputs": digests}
        write_text(self._path(key), json.dumps(record))

    def set_aside(self, key: str) -> list[Path]:
        """Move outputs of ``key`` that somebody changed since to where nothing overwrites them.

        Returns:
            their new paths, below ``.desra/changed/``.
        """
        record = self._read(key) or {"outputs": {}}
        moved = []
        for name, digest in record["outputs"].items():
            path = self.output_dir / name
            if _digest(path) in (None, digest) or path.stat().st_nlink > 1:  # a link to an input
                continue
            place = self.output_dir / ".desra" / "changed" / name
            while place.exists():
                place = place.with_name(f"{place.stem}_{place.suffix}")
            place.parent.mkdir(parents=True, exist_ok=True)
            os.replace(path, place)
            moved.append(place)
        return moved

    def clear(self, key: str) -> None:
        """Take away what was made of ``key``, where its outputs will have other names.

        Outputs that somebody changed since are set aside, see `set_aside`.
        """
        self.set_aside(key)
        for name in (self._read(key) or {"outputs": {}})["outputs"]:
            (self.output_dir / name).unlink(missing_ok=True)

    def rows(self, keys: Iterable[str]) -> list[Row]:
        """The recorded rows of ``keys``, in their order; keys without a record are left out."""
        records = (self._read(key) for key in keys)
        return [record["row"] for record in records if record is not None]

    def unreadable(self, keys: Iterable[str]) -> list[Path]:
        """Files in the place of records that are none: nothing is known of these images."""
        paths = (self._path(key) for key in keys)
        return [path for path in paths if os.path.lexists(path) and _load(path) is None]

    def _path(self, key: str) -> Path:
        path = self.folder / f"{key}.json"
        if len(os.fsencode(path.name)) <= _LONGEST_NAME:
            return path
        digest = hashlib.blake2b(os.fsencode(path.name), digest_size=16).hexdigest()
        return path.with_name(f"{digest}.json")

    def _read(self, key: str) -> dict[str, Any] | None:
        return _load(self._path(key))


def _load(path: Path) -> dict[str, Any] | None:
    """A record, or None where there is nothing that can be one."""
    try:
        record = read_json(path)
    except InputError:
        return None
    whole = (
        isinstance(record, dict)
        and isinstance(record.get("fingerprint"), str)
        and isinstance(record.get("row"), dict)
        and isinstance(record.get("outputs"), dict)
        and all(_is_inside(name) for name in record["outputs"])
    )
    return record if whole else None


def _is_inside(name: str) -> bool:
    """Whether a record may speak of this file: what it names can be moved away and deleted."""
    return "\0" not in name and not os.path.isabs(name) and ".." not in Path(name).parts


def _digest(path: Path) -> str | None:
    try:
        return file_digest(path)
    except (OSError, ValueError):
        return None
