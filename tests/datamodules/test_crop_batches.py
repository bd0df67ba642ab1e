import numpy as np
import torch

from datamodules.cache import ImageCache
from datamodules.crop_batches import CropMaker, CropPlan, to_unit_range
from datamodules.crops import Window
from desra.images import write_png


def test_makes_roles_of_their_scales_and_leaves_what_is_absent_black(tmp_path):
    rng = np.random.default_rng(0)
    lr, hr = (rng.integers(0, 256, (side, side, 3), np.uint8) for side in (10, 20))
    write_png(tmp_path / "lr.png", lr)
    write_png(tmp_path / "hr.png", hr)
    files = {"lr": tmp_path / "lr.png", "gt": tmp_path / "hr.png"}
    window = Window(3, 2, 5, flip=True, turns=1)
    plans = [
        CropPlan(7, "a", files, window),
        CropPlan(8, "b", {"gt": files["gt"], "copy": files["gt"]}, window),
    ]
    batch = CropMaker(ImageCache(0), 5, {"lr": 1, "gt": 2, "copy": 2})(plans)
    assert batch["lr"].shape == (2, 3, 5, 5)
    assert batch["lr"].dtype == torch.uint8
    assert batch["gt"].is_contiguous(memory_format=torch.channels_last)
    for role, image, scale in (("lr", lr, 1), ("gt", hr, 2)):
        expected = torch.tensor(window.cut(image, scale).copy()).permute(2, 0, 1)
        assert torch.equal(batch[role][0], expected)
    assert not batch["lr"][1].any()
    assert not batch["copy"][0].any()
    assert torch.equal(batch["copy"][1], batch["gt"][1])
    assert batch["index"].tolist() == [7, 8]
    assert batch["keys"] == ["a", "b"]


def test_batches_are_8_bit_until_they_are_on_the_device():
    images = torch.arange(256, dtype=torch.uint8).view(1, 1, 16, 16).expand(2, 3, 16, 16)
    batch = to_unit_range({"lr": images, "keys": ["a", "b"], "mask": images > 0}, ("lr", "gan_sr"))
    assert batch["keys"] == ["a", "b"]
    assert batch["mask"].dtype == torch.bool
    expected = images.numpy().astype(np.float32) / np.float32(255)
    assert np.array_equal(batch["lr"].numpy(), expected)
