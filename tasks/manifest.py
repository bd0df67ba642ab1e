"""Parameters of a folder of prepared images, kept in it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from desra.errors import InputError
from desra.files import read_json, write_text


class Manifest:
    """``manifest.json``: by which task and settings everything in a folder was made.

    A folder holds what one choice of settings gives: others would mix with it.

    Args:
        output_dir: the folder.
        task: its name.
        settings: all that decides the results but the images; JSON-able.
        source: where the images come from; said, but not compared, so that folders can move.

    Raises:
        InputError: the folder was made by another task or with other settings.
    """

    def __init__(
        self, output_dir: str | Path, task: str, settings: Mapping[str, Any], source: str | Path
    ) -> None:
        self.path = Path(output_dir) / "manifest.json"
        self.record = json.loads(json.dumps({"task": task, "settings": dict(settings)}))
        if self.path.exists():
            self._compare(read_json(self.path, "remove it"))
        self.record["input"] = str(source)
        self.write()

    def write(self, **figures: Any) -> None:
        """Write it, with what came of the images."""
        write_text(self.path, json.dumps({**self.record, **figures}, indent=2) + "\n")

    def _compare(self, found: Any) -> None:
        there = found if isinstance(found, dict) else {}
        mine, theirs = self.record["settings"], there.get("settings")
        theirs = theirs if isinstance(theirs, dict) else {}
        if there.get("task") != self.record["task"]:
            what = f"task {there.get('task')}, not {self.record['task']}"
        elif mine != theirs:
            names = sorted(n for n in {*mine, *theirs} if mine.get(n) != theirs.get(n))
            what = ", ".join(f"{n} {theirs.get(n)}, not {mine.get(n)}"[:100] for n in names)
        else:
            return
        raise InputError(f"{self.path}: this folder was made with {what}; give another output_dir")
