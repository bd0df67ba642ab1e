"""Who may import whom, read off the imports (docs/layout.md has the table)."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]

MAY_IMPORT = {
    "kernels": set(),
    "desra": {"kernels"},
    "models": {"desra", "kernels"},
    "datamodules": {"desra"},
    "callbacks": {"datamodules", "models", "desra"},
    "tasks": {"callbacks", "datamodules", "models", "desra"},
    "annotator": {"tasks", "callbacks", "datamodules", "models", "desra"},
    "cli": {"annotator", "tasks", "callbacks", "datamodules", "models", "desra", "kernels"},
}
EVERYTHING = {"samples", "benchmarks", "tests", "docs"}
"""Folders that may import any other; only those may import them."""


def imports(path: Path) -> set[str]:
    """The top names of what a file imports, also inside of functions."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            found.add(node.module.partition(".")[0])
    return found


@pytest.mark.parametrize("folder", [name for name in MAY_IMPORT if (ROOT / name).is_dir()])
def test_a_folder_imports_only_what_stands_below_it(folder):
    ours = {*MAY_IMPORT, *EVERYTHING}
    wrong = {
        str(path.relative_to(ROOT)): sorted(found)
        for path in (ROOT / folder).rglob("*.py")
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
        for path in (ROOT / folder).rglob("*.py")
        if (lines := len(path.read_text().splitlines())) > 420
    }
    assert not long
