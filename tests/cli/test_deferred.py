"""Packages that are imported when they are used, in processes of their own."""

import subprocess
import sys

import numpy as np
import pytest

from desra.images import write_png
from models.generators import RRDBNet, SwinIR, write_generator
from tests.conftest import ROOT

HEAVY = (
    *("matplotlib", "pandas", "scipy.signal", "scipy.stats", "sympy", "tensorboard", "timm"),
    *("torch._dynamo", "torchvision", "wandb"),
)
"""What neither upscaling nor detecting needs."""

LIST = f"""
import runpy, sys
del sys.argv[0]  # -c
try:
    runpy.run_path(sys.argv[0], run_name="__main__")
finally:
    print("imported:", *(name for name in {HEAVY} if name in sys.modules))
"""


def output_of(code, *arguments):
    command = [sys.executable, "-c", code, *map(str, arguments)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    return done.stdout.strip().splitlines()


@pytest.fixture
def photo(tmp_path):
    path = tmp_path / "photo.png"
    write_png(path, np.random.default_rng(0).integers(0, 256, (24, 32, 3), np.uint8))
    return path


def test_upscaling_an_image_imports_nothing_that_it_does_not_use(photo, tmp_path):
    write_generator(tmp_path / "weights.pth", RRDBNet(features=8, growth=4, blocks=1))
    settings = (f"weights={tmp_path}/weights.pth", "trainer=cpu", f"output_dir={tmp_path}/out")
    said = output_of(LIST, "upscale.py", f"input={photo}", *settings)
    assert said[-1] == "imported:"
    assert (tmp_path / "out/photo.png").is_file()


def test_reading_a_swinir_imports_nothing_that_it_does_not_use(tmp_path):
    network = SwinIR(2, embed_dim=12, depths=(2,), num_heads=(2,), img_size=16)
    write_generator(tmp_path / "weights.pth", network)
    code = "from models.generators import load_generator; load_generator(sys.argv[1])"
    said = output_of(
        f"import sys; {code}; print([n for n in {HEAVY} if n in sys.modules])",
        tmp_path / "weights.pth",
    )
    assert said[-1] == "[]"


def test_detecting_imports_nothing_that_it_does_not_use(photo, tmp_path):
    settings = ("trainer=cpu", f"output_dir={tmp_path}/out")
    said = output_of(LIST, "detect.py", f"mse_root={photo}", f"gan_root={photo}", *settings)
    assert said[-1] == "imported:"
    assert (tmp_path / "out/DeSRA-Mask/photo.png").is_file()


@pytest.fixture
def packages(tmp_path, monkeypatch):
    """An importer of `costly`, as torchmetrics imports what may be of use to it."""
    (tmp_path / "costly").mkdir()
    (tmp_path / "costly/__init__.py").write_text("print('costly')\nLIMIT = 3\n")
    (tmp_path / "costly/shapes.py").write_text(
        "class Box(list):\n    side = 2\n"
        "def twice(): return lambda function: lambda x: function(function(x))\n"
    )
    (tmp_path / "importer.py").write_text(
        "from typing import Union\nimport costly.shapes\nimport costly.shapes as shapes\n"
        "from costly.shapes import Box, twice\n"
        "side = shapes.Box.side\nKnown = tuple[shapes.Box, Union[Box, str]]\n"
        "@twice()\ndef add(number): return number + 1\n"
    )
    return tmp_path


def test_a_stand_in_becomes_the_package_when_it_is_used(packages):
    said = output_of(
        f"""
import sys
sys.path.insert(0, {str(packages)!r})
from cli.deferred import defer_imports
defer_imports({{"importer": ["costly"]}})
import importer
print("costly" in sys.modules, isinstance([], importer.Box), type(importer.Box).__name__)
print(importer.Box("ab"), importer.shapes.Box.side, importer.costly.LIMIT, importer.add(1))
print(isinstance(importer.Box(), importer.Box), isinstance("ab", importer.Box))
import costly.shapes
print(costly.shapes.Box is type(importer.Box()))
"""
    )
    assert said == [
        "False False _Later",
        "costly",
        "['a', 'b'] 2 3 3",
        "True False",
        "True",
    ]


def test_inheriting_from_a_stand_in_ends_the_waiting(packages):
    (packages / "importer.py").write_text("from costly.shapes import Box\nclass New(Box): pass\n")
    said = output_of(
        f"""
import sys
sys.path.insert(0, {str(packages)!r})
from cli.deferred import defer_imports
defer_imports({{"importer": ["costly"]}})
import importer
print(importer.New.__mro__[1].__module__, len(sys.meta_path))
"""
    )
    assert said[0] == "costly"
    assert said[1].startswith("costly.shapes")
