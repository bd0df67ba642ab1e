"""Names in the terminal."""

import re

from rich.table import Table

from desra.terminal import terminal
from tests.conftest import ROOT


def test_names_are_shown_as_they_are_in_lines_and_in_all_of_a_table(capsys):
    name = "a[b]:x:[/c]"
    table = Table(name, title=name, caption=name)
    table.add_row(name)
    terminal().print(table)
    terminal(stderr=True).print(name)
    shown = capsys.readouterr()
    assert shown.out.count(name) == 4
    assert shown.err == f"{name}\n"


def test_nothing_else_makes_a_console():
    folders = ("annotator", "callbacks", "cli", "datamodules", "desra", "models", "tasks")
    files = [path for folder in folders for path in (ROOT / folder).rglob("*.py")]
    makers = [path.name for path in files if re.search(r"\bConsole\(", path.read_text("utf-8"))]
    assert makers == ["terminal.py"]
