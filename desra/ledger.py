"""What a task over many images has done, so that a stopped run goes on where it was.

One small JSON file per image under ``<output_dir>/.desra/<task>/`` says from which bytes and which
settings the image's outputs were made. It is written after them, so a record stands for whole
outputs. Ranks and machines that share the folder need no other communication: each writes the
records of its own images, and whoever makes the final table reads them all.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from desra.files import file_digest, write_text

Row = dict[str, Any]


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

        An image that failed, or one whose outputs have been deleted since, is not finished.
        """
        record = self._read(key)
        if record is None or record["fingerprint"] != fingerprint or record["row"].get("error"):
            return None
        if not all((self.output_dir / name).is_file() for name in record["outputs"]):
            return None
        return record["row"]

    def record(
        self, key: str, fingerprint: str, row: Mapping[str, Any], outputs: Sequence[str | Path] = ()
    ) -> None:
        """Write down that ``key`` is done, after its outputs are at their final paths."""
        names = [Path(path).relative_to(self.output_dir).as_posix() for path in outputs]
        record = {"key": key, "fingerprint": fingerprint, "row": dict(row), "outputs": names}
        write_text(self._path(key), json.dumps(record))

    def rows(self, keys: Iterable[str]) -> list[Row]:
        """The recorded rows of ``keys``, in their order; keys without a record are left out."""
        records = (self._read(key) for key in keys)
        return [record["row"] for record in records if record is not None]

    def _path(self, key: str) -> Path:
        return self.folder / f"{key}.json"

    def _read(self, key: str) -> dict[str, Any] | None:
        try:
            record = json.loads(self._path(key).read_bytes())
        except (FileNotFoundError, json.JSONDecodeError):
            return None
        whole = isinstance(record, dict) and {"fingerprint", "row", "outputs"} <= record.keys()
        return record if whole else None
