"""The commands of the manual, as a reader would type them, run in this process on small data."""

from __future__ import annotations

import re
import runpy
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest
from hydra.core.global_hydra import GlobalHydra

from cli import failures

ROOT = Path(__file__).resolve().parents[2]
_BLOCK = re.compile(r"^ *```(\w*)\n(.*?)^ *```", re.MULTILINE | re.DOTALL)


def blocks(page: str | Path, language: str = "") -> list[str]:
    """The fenced blocks of a page that name a language, or none."""
    text = (ROOT / page).read_text()
    return [block for name, block in _BLOCK.findall(text) if name == language]


def commands(page: str | Path) -> list[str]:
    """Lines of a page's plain blocks that run an entry point or make a benchmark's images;
    continued lines are joined."""
    lines = "".join(blocks(page)).replace("\\\n", " ").splitlines()
    shown = (re.sub(r"\s{2,}#.*", "", line.strip()) for line in lines)
    known = r"(python \w+\.py|python -m (?:benchmarks\.miniatures|samples\.judged)|desra) "
    return [line for line in shown if re.match(known, line)]


def run_command(line: str, more: Sequence[str], monkeypatch: pytest.MonkeyPatch) -> int:
    """Run a command line in the working folder, with further overrides; its exit code."""
    words = shlex.split(line)
    if words[1] == "-m":
        monkeypatch.setattr(sys, "argv", [*words[2:], *more])
        runpy.run_module(words[2], run_name="__main__")
        return 0
    script = words[1] if words[0] == "python" else f"{words[1]}.py"
    monkeypatch.setattr(sys, "argv", [str(ROOT / script), *words[2:], *more])
    monkeypatch.setattr(failures, "_exit_code", 0)
    monkeypatch.syspath_prepend(str(Path.cwd()))
    GlobalHydra.instance().clear()
    with pytest.raises(SystemExit) as exit_:
        runpy.run_path(sys.argv[0], run_name="__main__")
    return int(exit_.value.code or 0)
