"""Low-resolution images: what training would make of them, whatever lies beside."""

import hashlib
import shutil

import numpy as np
import pytest

from datamodules.degradations import Degradation, OneStageDegradation
from desra.errors import DiskError, InputError
from desra.images import read_rgb, to_tensor, to_uint8, write_png
from tasks.degrade import Degrade
from tests.conftest import files_of_at_most, smooth_photo


@pytest.fixture
def clean(tmp_path):
    write_png(tmp_path / "clean/a/one.png", smooth_photo(1, 64, 64))
    write_png(tmp_path / "clean/two.png", smooth_photo(0, 70, 61))
    return tmp_path


@pytest.mark.parametrize("degradation", [Degradation(scale=4), OneStageDegradation(scale=2)])
def test_images_are_degraded_by_their_names(clean, degradation):
    write_png(clean / "clean/tiny.png", smooth_photo(0, 3, 3))
    (clean / "clean/broken.png").write_bytes(b"")
    problems = Degrade(clean / "clean", clean / "out", degradation, each=2, seed=5).run()
    assert sorted(line.split(": ")[0].rpartition("/")[2] for line in problems) == [
        "broken.png",
        "tiny.png",
    ]
    for folder in ("LR", "HR"):
        made = sorted(
            p.relative_to(clean / "out" / folder) for p in clean.glob(f"out/{folder}/**/*.png")
        )
        assert [str(path) for path in made] == [
            "a/one_0.png",
            "a/one_1.png",
            "two_0.png",
            "two_1.png",
        ]
    unit = 2 * degradation.scale
    hr = read_rgb(clean / "clean/two.png")[: 70 // unit * unit, : 61 // unit * unit]
    assert np.array_equal(read_rgb(clean / "out/HR/two_1.png"), hr)
    number = int.from_bytes(hashlib.blake2b(b"two_1", digest_size=8).digest(), "big")
    expected = to_uint8(degradation(to_tensor(hr), 5, number, [number]))
    assert np.array_equal(read_rgb(clean / "out/LR/two_1.png"), expected)


def test_a_stopped_run_goes_on_and_more_photos_change_nothing(clean):
    task = Degrade(clean / "clean", clean / "out", Degradation())
    task.run()
    path = clean / "out/LR/two.png"
    before, pixels = path.stat().st_mtime_ns, read_rgb(path)
    write_png(clean / "clean/first.png", smooth_photo(3, 64, 64))
    task.run()
    assert path.stat().st_mtime_ns == before
    shutil.rmtree(clean / "out")
    task.run()
    assert np.array_equal(read_rgb(path), pixels)
    with pytest.raises(InputError, match="seed 0, not 1"):
        Degrade(clean / "clean", clean / "out", Degradation(), seed=1).run()
    with pytest.raises(InputError, match="each=0"):
        Degrade(clean / "clean", clean / "out", Degradation(), each=0)


def test_a_full_disk_ends_it(tmp_path):
    noise = np.random.default_rng(0).integers(0, 256, (512, 512, 3), np.uint8)
    write_png(tmp_path / "clean/noise.png", noise)
    task = Degrade(tmp_path / "clean", tmp_path / "out", Degradation(scale=4), seed=5)
    with files_of_at_most(10_000), pytest.raises(DiskError, match=r"noise\.png: File too large"):
        task.run()
