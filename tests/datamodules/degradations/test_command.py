"""The command that makes low-resolution images."""

import subprocess
import sys

import numpy as np

from datamodules.degradations import Degradation
from desra.images import read_rgb, to_tensor, to_uint8, write_png
from tests.conftest import ROOT, smooth_photo


def test_images_are_degraded_by_number_and_what_cannot_be_is_listed(tmp_path):
    photo = smooth_photo(0, 70, 61)
    write_png(tmp_path / "clean/a/one.png", smooth_photo(1, 64, 64))
    write_png(tmp_path / "clean/two.png", photo)
    write_png(tmp_path / "clean/tiny.png", photo[:7])
    (tmp_path / "clean/broken.png").write_bytes(b"")
    command = [sys.executable, "-m", "datamodules.degradations", "--each", "2"]
    folders = [str(tmp_path / "clean"), str(tmp_path / "lr")]
    run = subprocess.run([*command, *folders], cwd=ROOT, capture_output=True, text=True)
    assert run.returncode == 1
    assert sorted(line.split(":")[0] for line in run.stderr.splitlines()) == ["not done"] * 2
    made = sorted(
        path.relative_to(tmp_path / "lr").as_posix() for path in tmp_path.glob("lr/**/*.png")
    )
    assert made == ["a/one_0.png", "a/one_1.png", "two_0.png", "two_1.png"]
    hr = to_tensor(photo[:64, :56])
    expected = to_uint8(Degradation(scale=4)(hr, 1, 7, [7]))  # seed 0 + 1; key 3, copy 1
    assert np.array_equal(read_rgb(tmp_path / "lr/two_1.png"), expected)


def test_wrong_use_is_one_line(tmp_path):
    command = [
        sys.executable,
        "-m",
        "datamodules.degradations",
        str(tmp_path / "no"),
        str(tmp_path),
    ]
    run = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert run.returncode == 2
    assert run.stderr.startswith("error: ")
    assert run.stderr.count("\n") == 1
