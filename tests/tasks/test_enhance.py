"""Enhanced versions in HGGT's layout, upright whatever the camera wrote."""

import numpy as np
import pytest
import torch
from PIL import Image, ImageOps

from desra.errors import InputError
from desra.images import read_rgb
from models.generators import RCAN, RRDBNet
from tasks.enhance import Enhance, upright

NETWORKS = {
    "first": RCAN(features=8, groups=1, blocks=1, squeeze=4),
    "large": RRDBNet(features=8, blocks=1),
}


def photo(path, side=(20, 30), orientation=1):
    random = np.random.default_rng(0)
    image = Image.fromarray(random.integers(0, 255, (*side, 3), dtype=np.uint8))
    exif = image.getexif()
    exif[0x112] = orientation
    path.parent.mkdir(exist_ok=True)
    image.save(path, exif=exif)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_upright_is_what_pillow_makes_of_it(tmp_path, orientation):
    photo(tmp_path / "in/a.png", orientation=orientation)
    with Image.open(tmp_path / "in/a.png") as image:
        expected = np.asarray(ImageOps.exif_transpose(image))
    assert np.array_equal(upright(read_rgb(tmp_path / "in/a.png"), orientation), expected)


def test_original_and_versions_match(tmp_path):
    photo(tmp_path / "in/a.png")
    photo(tmp_path / "in/b.png", orientation=6)
    (tmp_path / "in/broken.png").write_bytes(b"no image")
    task = Enhance(tmp_path / "in", ["first", "first"], tmp_path / "out", NETWORKS.__getitem__)
    problems = task.run()
    assert len(problems) == 1
    assert "broken" in problems[0]
    for key, size in (("a", (20, 30)), ("b", (30, 20))):
        original = read_rgb(tmp_path / f"out/original/{key}.png")
        assert original.shape[:2] == size
        for version in ("01", "02"):
            found = read_rgb(tmp_path / f"out/{version}/{key}_{version}.png")
            assert found.shape == original.shape
    with torch.inference_mode():
        image = torch.from_numpy(original.copy()).permute(2, 0, 1)[None] / 255
        expected = task.upscalers["01"](image).clamp(0, 1).mul(255).round().byte()
    assert np.array_equal(found, expected[0].permute(1, 2, 0).numpy())
    before = (tmp_path / "out/01/a_01.png").stat().st_mtime_ns
    task.run()
    assert (tmp_path / "out/01/a_01.png").stat().st_mtime_ns == before


def test_networks_of_another_scale(tmp_path):
    with pytest.raises(InputError, match="×4"):
        Enhance(tmp_path, ["large"], tmp_path / "out", NETWORKS.__getitem__)
