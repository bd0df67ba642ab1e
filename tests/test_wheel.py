"""The package as users get it: a wheel in an environment of its own, in a folder of its own."""

from __future__ import annotations

import os
import subprocess
import sys
import sysconfig
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A wheel of the source distribution, as an index would have them."""
    folder = tmp_path_factory.mktemp("dist")
    options: dict = {"check": True, "capture_output": True, "text": True}
    build = "import hatchling.build as b; print(b.build_sdist({!r}))"
    code = build.format(str(folder))
    made = subprocess.run([sys.executable, "-c", code], cwd=ROOT, **options).stdout.split()[-1]
    # Not isolated: what builds is in this environment, and an index is not asked.
    pip = [sys.executable, "-m", "pip", "wheel", "--no-deps", "--no-build-isolation", "--quiet"]
    subprocess.run([*pip, "--wheel-dir", str(folder), str(folder / made)], **options)
    return next(folder.glob("*.whl"))


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel in a new virtual environment, to which the packages of this one are visible."""
    environment = tmp_path_factory.mktemp("venv")
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(environment)], check=True)
    site = next(environment.glob("lib/python*/site-packages"))
    (site / "outer.pth").write_text(sysconfig.get_path("purelib") + "\n")
    pip = [sys.executable, "-m", "pip", "--python", str(environment / "bin" / "python")]
    install = ["install", "--no-deps", "--no-index", "--quiet", "--ignore-installed", str(wheel)]
    subprocess.run([*pip, *install], check=True)
    return environment


def test_a_wheel_puts_nothing_but_desra_at_the_top(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as file:
        names = file.namelist()
    tops = {name.partition("/")[0] for name in names}
    assert {top for top in tops if not top.endswith(".dist-info")} == {"desra"}
    for needed in ("conf/train.yaml", "train.py", "cli/run.py", "samples/val.txt"):
        assert f"desra/app/{needed}" in names
    assert not [name for name in names if "__pycache__" in name or "/tests/" in name]


def desra(installed: Path, folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """The console command, from a folder that holds nothing."""
    environment = {**os.environ, "OMP_NUM_THREADS": "2", "WANDB_MODE": "offline"}
    environment.pop("PYTHONPATH", None)
    command = [str(installed / "bin" / "desra"), *arguments]
    options = {"capture_output": True, "text": True, "timeout": 1500}
    return subprocess.run(command, cwd=folder, env=environment, **options)


def test_every_command_helps(installed: Path, tmp_path: Path) -> None:
    listed = desra(installed, tmp_path, "--help")
    assert listed.returncode == 0
    commands = [line.split()[0] for line in listed.stdout.splitlines() if line.startswith("  ")]
    assert commands == sorted(path.stem for path in ROOT.glob("*.py"))
    for command in commands:
        helped = desra(installed, tmp_path, command, "--help")
        assert helped.returncode == 0, helped.stderr
        assert f"{command}.py" in helped.stdout
    wrong = desra(installed, tmp_path, "detekt")
    assert wrong.returncode == 2
    assert "detekt: no such command" in wrong.stderr
    assert not list(tmp_path.iterdir())


@pytest.mark.slow
def test_the_main_job_runs_on_the_sample_from_anywhere(installed: Path, tmp_path: Path) -> None:
    run = desra(
        *(installed, tmp_path, "train", "model=ldl", "data=desra_artifacts", "trainer=cpu"),
        *("iterations=2", "validate_every=2", "output_dir=run"),
        *("callbacks.artifact_validation.lpips=null",),
    )
    assert run.returncode == 0, run.stderr
    assert list((tmp_path / "run" / "weights").glob("*.pth"))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["run"]
