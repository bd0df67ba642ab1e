"""The notebook of the manual runs from its first cell to its last, in a process of its own."""

import json
import subprocess
import sys

from tests.conftest import ROOT


def test_every_cell_runs_in_order(tmp_path):
    notebook = json.loads((ROOT / "docs" / "python.ipynb").read_text())
    cells = ["".join(cell["source"]) for cell in notebook["cells"] if cell["cell_type"] == "code"]
    assert len(cells) >= 5
    script = tmp_path / "notebook.py"
    script.write_text(f"import sys\nsys.path.insert(0, {str(ROOT)!r})\n" + "\n".join(cells))
    run = subprocess.run(
        [sys.executable, str(script)], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert run.returncode == 0, run.stderr
