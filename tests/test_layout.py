"""Who may import whom, read off the imports (docs/layout.md has the table)."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]

MAY_IMPORT: dict[str, set[str]] = {
    "desra.kernels": set(),
    "desra": {"desra.kernels"},
    "models": {"desra", "desra.kernels"},
    "datamodules": {"desra"},
    "callbacks": {"datamodules", "models", "desra"},
    "tasks": {"callbacks", "datamodules", "models", "desra"},
    "annotator": {"tasks", "callbacks", "datamodules", "models", "desra"},
    "cli": {"annotator", "tasks", "callbacks", "datamodules", "models", "desra"},
}
EVERYTHING = {"samples", "benchmarks", "tests", "docs"}
"""Folders that may import any other; only those may import them."""


def room(name: str) -> str:
    """The folder that a module lies in."""
    return "desra.kernels" if name.startswith("desra.kernels") else name.partition(".")[0]


def imports(path: Path) -> set[str]:
    """The rooms of what a file imports, also inside of functions."""
    names = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            names.add(node.module)
    return {room(name) for name in names}


def files_of(folder: str) -> list[Path]:
    paths = (ROOT / folder.replace(".", "/")).rglob("*.py")
    return [p for p in paths if folder != "desra" or "kernels" not in p.relative_to(ROOT).parts]


@pytest.mark.parametrize("folder", MAY_IMPORT)
def test_a_folder_imports_only_what_stands_below_it(folder):
    ours = {*MAY_IMPORT, *EVERYTHING}
    wrong = {
        str(path.relative_to(ROOT)): sorted(found)
        for path in files_of(folder)
        if (found := imports(path) & ours - MAY_IMPORT[folder] - {folder})
    }
    assert not wrong


def test_entry_points_import_the_cli_alone():
    for path in ROOT.glob("*.py"):
        assert imports(path) & {*MAY_IMPORT, *EVERYTHING} <= {"cli"}, path.name


def test_no_circle_among_the_folders():
    order = list(MAY_IMPORT)
    for place, folder in enumerate(order):
        assert MAY_IMPORT[folder] <= set(order[:place])


def test_files_stay_readable():
    long = {
        str(path.relative_to(ROOT)): lines
        for folder in MAY_IMPORT
        for path in files_of(folder)
        if (lines := len(path.read_text().splitlines())) > 420
    }
    assert not long
