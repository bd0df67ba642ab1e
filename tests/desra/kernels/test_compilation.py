"""The cache of machine code: found again, never stale, done without where it cannot be."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from desra.kernels import compilation
from desra.kernels.compilation import compiled

KERNELS = Path(compilation.__file__).parent
PROGRAM = """
import numpy as np
from desra.kernels.activations import gelus
from desra.kernels.compilation import cache_folder, compiled

{definition}
values = np.full(8, 2, np.float32)
gelu(values)
print(values[0], sum(gelu.stats.cache_hits.values()), cache_folder())
"""


def run(folder: Path, cache: Path) -> tuple[float, int, Path]:
    """Compute a GELU with the copy of the kernels in a folder: value, cache hits, cache folder."""
    environment = os.environ | {"NUMBA_CACHE_DIR": str(cache), "PYTHONDONTWRITEBYTECODE": "1"}
    command = [sys.executable, "-c", "import use"]
    result = subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, text=True, check=True
    )
    value, hits, path = result.stdout.split()
    return float(value), int(hits), Path(path)


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """A folder with a copy of the kernels and a module that uses one."""
    folder = tmp_path / "copy"
    shutil.copytree(
        KERNELS, folder / "desra" / "kernels", ignore=shutil.ignore_patterns("__pycache__")
    )
    (folder / "desra" / "__init__.py").touch()
    definition = "@compiled()\ndef gelu(values):\n    gelus(values.ctypes.data, values.size)\n"
    (folder / "use.py").write_text(PROGRAM.format(definition=definition))
    return folder


def test_a_changed_dependency_of_a_kernel_is_seen(copy: Path, tmp_path: Path) -> None:
    cache = tmp_path / "cache"
    value, hits, first = run(copy, cache)
    assert (round(value, 4), hits) == (1.9545, 0)
    assert run(copy, cache) == (value, 1, first)
    # Neither the kernel's own file changes, nor the size and times of the one that it takes code
    # from: half of GELU's |x| becomes a quarter.
    file = copy / "desra" / "kernels" / "activations.py"
    before = file.stat()
    text = file.read_text()
    assert text.count("v.constant(0.5))") == 1
    file.write_text(text.replace("v.constant(0.5))", "v.constant(.25))"))
    os.utime(file, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert file.stat().st_size == before.st_size
    changed, hits, second = run(copy, cache)
    assert (round(changed, 4), hits) == (1.9772, 0)
    assert second != first


def test_least_recently_used_folders_are_removed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(compilation.numba.config, "CACHE_DIR", str(tmp_path))
    for age in range(12):
        folder = tmp_path / "desra" / "kernels" / f"{age}"
        folder.mkdir(parents=True)
        (folder / "code.nbc").touch()
        os.utime(folder, (1e9 - age, 1e9 - age))
    used = compilation.cache_folder.__wrapped__()
    assert used is not None
    kept = {path.name for path in used.parent.iterdir()}
    assert kept == {used.name, *(f"{age}" for age in range(7))}
    assert re.fullmatch("[0-9a-f]{20}", used.name)


def test_without_a_folder_kernels_are_compiled_all_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setattr(compilation.numba.config, "CACHE_DIR", str(tmp_path / "file"))
    monkeypatch.setattr(compilation, "cache_folder", compilation.cache_folder.__wrapped__)

    def double(x: int) -> int:
        return 2 * x

    function = compiled()(double)
    assert function(21) == 42
    assert function.stats.cache_path is None  # nor beside the source, where it would become stale


def test_the_users_own_numba_settings_stay(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compilation.numba.config, "CACHE_DIR", "")
    compiled()(lambda x: x)
    assert compilation.numba.config.CACHE_DIR == ""
