"""The notebook of the manual runs from its first cell to its last, in a process of its own."""

import json
import subprocess
import sys

from desra.images import write_png
from models.generators import SRVGGNetCompact, write_generator
from tests.conftest import ROOT, smooth_photo
from tests.docs.commands import blocks


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


def test_the_lines_of_the_readme_run(tmp_path, monkeypatch):
    write_png(tmp_path / "photo.png", smooth_photo(0, 40, 48))
    for name in ("MSE", "GAN"):
        write_generator(tmp_path / f"{name}.pth", SRVGGNetCompact(4, features=8, depth=2))
    monkeypatch.chdir(tmp_path)
    (code,) = blocks("README.md", "python")
    names: dict = {}
    exec(code, names)
    assert names["mask"].shape == (160, 192)
