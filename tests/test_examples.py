"""The examples in docstrings run, and what a user of the library calls has one."""

from __future__ import annotations

import doctest
import importlib
from inspect import isabstract
from pathlib import Path

import pytest
import torch

import desra.detectors
import desra.metrics
import models.generators
import models.losses

ROOT = Path(__file__).resolve().parents[1]
MODULES = sorted(
    ".".join(path.relative_to(ROOT).with_suffix("").parts)
    for folder in ("desra", "models", "datamodules", "callbacks", "tasks", "cli")
    for path in (ROOT / folder).rglob("*.py")
    if ">>> " in path.read_text()
)
NEED_WEIGHTS = {"LPIPSDetector", "DISTSDetector", "MMSegDetector", "FlawScryDetector"}
"""Detectors by networks whose weights are downloaded, or that a user brings."""


@pytest.mark.parametrize("name", MODULES)
def test_examples(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)  # some write files
    torch.manual_seed(0)
    results = doctest.testmod(importlib.import_module(name), optionflags=doctest.ELLIPSIS)
    assert results.attempted
    assert not results.failed


@pytest.mark.parametrize(
    "package", [desra.detectors, desra.metrics, models.generators, models.losses]
)
def test_public_classes_have_an_example(package: object) -> None:
    public = {name: getattr(package, name) for name in package.__all__}  # type: ignore[attr-defined]
    classes = {
        name
        for name, value in public.items()
        if isinstance(value, type) and not isabstract(value) and not issubclass(value, tuple)
    }
    lacking = {name for name in classes if ">>> " not in (public[name].__doc__ or "")}
    assert lacking <= NEED_WEIGHTS
