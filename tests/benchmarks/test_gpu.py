"""The command for all that needs a GPU: what it runs, how it reads it, and without a GPU."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import pytest
import torch

from benchmarks import gpu

ROOT = Path(__file__).resolve().parents[2]


def test_without_a_gpu_it_says_so(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert gpu.main([]) == 2
    assert capsys.readouterr().err == "error: no GPU here that this torch can use\n"


def test_it_takes_less_than_nine_minutes_and_runs_what_is_there(tmp_path: Path) -> None:
    parts = gpu.parts(Path("ldl"), Path("basicsr"), tmp_path)
    assert sum(part.limit for part in parts.values()) < 9 * 60
    for part in parts.values():
        script = part.command[0]
        assert script == "-m" or (ROOT / script).is_file()


def test_every_test_that_looks_for_a_gpu_is_marked() -> None:
    for path in (ROOT / "tests").rglob("test_*.py"):
        text = path.read_text()
        for match in re.finditer(r"skipif\(\s*not torch\.cuda\.is_available", text):
            before = text[: match.start()]
            assert "pytest.mark.cuda" in before[-200:], path


def test_a_ratio_below_its_goal_and_a_failure_are_seen() -> None:
    printing = gpu.Part(["-c", "print('a | 3.0x'); print('b | 0.8x')"], 60, 1.0, gpu.ratios)
    found, wrong, _ = gpu.run(printing)
    assert found == ["a | 3.0x", "b | 0.8x"]
    assert wrong == "below 1x: b | 0.8x"
    assert gpu.run(gpu.Part(["-c", "print('a 2x')"], 60, 1.0, gpu.ratios))[1] == ""
    assert gpu.run(gpu.Part(["-c", "raise SystemExit(3)"], 60))[1] == "exit code 3"
    sleeping = gpu.Part(["-c", "import time; time.sleep(60)"], 1)
    assert gpu.run(sleeping)[1] == "took longer than 1 s"
    assert sys.executable
