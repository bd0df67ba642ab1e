"""A detector learns: experiment=learn_detector, with model=detector data=injected_artifacts."""

import csv
import json

import numpy as np
import pytest
import torch

from datamodules import injection
from datamodules.injected_artifacts import inject
from datamodules.true_labels import true_labels
from desra.artifact_net import ArtifactNet, _compiled_features, _features, block_features
from desra.detectors import LearnedDetector
from desra.errors import InputError
from desra.images import write_png
from models.generators import SRVGGNetCompact, write_generator
from tests.conftest import add_texture, smooth_photo
from tests.docs.commands import run_command


@pytest.fixture
def learned(tmp_path, monkeypatch):
    """Runs train.py for a few steps with tiny generators; its exit code."""
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    for index in range(4):
        write_png(tmp_path / "clean" / f"{index}.png", smooth_photo(index, 128, 128))
    for name in ("gan", "mse"):
        torch.manual_seed(len(name))
        write_generator(tmp_path / f"{name}.pth", SRVGGNetCompact(features=8, depth=1))

    def run(out, *overrides):
        more = (
            f"gan_weights={tmp_path / 'gan.pth'}", f"mse_weights={tmp_path / 'mse.pth'}",
            f"data.root={tmp_path / 'clean'}", f"output_dir={tmp_path / out}", "data.crop=64",
            "data.pool_size=16", "data.batch_size=8", "data.val_batches=2", "trainer=cpu",
            "validate_every=20", "trainer.log_every_n_steps=5", *overrides,
        )  # fmt: skip
        return run_command("python train.py experiment=learn_detector", more, monkeypatch)

    return run


def test_training_lowers_the_loss_and_leaves_a_detector(learned, tmp_path, monkeypatch):
    assert learned("out", "iterations=40") == 0
    weights = tmp_path / "out" / "weights" / "detector.safetensors"
    with open(tmp_path / "out" / "metrics.csv", newline="") as file:
        losses = [float(row["loss/detector"]) for row in csv.DictReader(file)
                  if row["loss/detector"]]  # fmt: skip
    assert np.mean(losses[-3:]) < np.mean(losses[:3])
    summary = json.loads((tmp_path / "out" / "summary.json").read_text())
    assert {"average_precision/learned", "average_precision/desra"} <= set(summary)
    detector = LearnedDetector(weights, min_area=0)
    image = torch.from_numpy(smooth_photo(9, 70, 90)).permute(2, 0, 1)[None]
    found = detector(image, image)
    assert found.mask.shape == (1, 1, 70, 90)
    assert 0 <= found.distance.min() <= found.distance.max() <= 1
    assert weights.stat().st_size < 400_000

    for role, picture in (("MSE-SR", image), ("GAN-SR", image)):
        write_png(tmp_path / "set" / role / "0.png", picture[0].permute(1, 2, 0).numpy())
    more = (
        f"detector.weights={weights}", "page=false", f"mse_root={tmp_path}/set/MSE-SR",
        f"gan_root={tmp_path}/set/GAN-SR", f"output_dir={tmp_path / 'found'}",
    )  # fmt: skip
    assert run_command("python detect.py detector=learned", more, monkeypatch) == 0


def test_labels_of_people_take_part(learned, tmp_path):
    for index in range(2):
        photo = smooth_photo(index, 96, 96)
        mask = np.zeros((96, 96), bool)
        mask[20:60, 20:60] = True
        pictures = {"LR": photo[::4, ::4], "MSE-SR": photo, "GT-Mask": mask,
                    "GAN-SR": add_texture(photo, mask, index)}  # fmt: skip
        for folder, pixels in pictures.items():
            write_png(tmp_path / "labelled" / folder / f"{index}.png", pixels)
    labelled = f"data.labelled_root={tmp_path / 'labelled'}"
    assert learned("out", "iterations=2", "validate_every=2", labelled) == 0


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (("data.crop=50",), "data.crop=50: give a multiple of 32"),
        (("data.crop=160",), "is smaller than data.crop=160"),
        (("gan_weights=nowhere.pth",), "nowhere.pth"),
    ],
)
def test_wrong_use_is_one_line(learned, overrides, message, capfd):
    assert learned("out", "iterations=1", *overrides) == 2
    assert message in capfd.readouterr().err.splitlines()[-1]


def test_what_is_not_the_detectors_weights_is_refused(tmp_path):
    write_generator(tmp_path / "gan.pth", SRVGGNetCompact(features=8, depth=1))
    with pytest.raises(InputError, match="not the weights of a learned detector"):
        LearnedDetector(tmp_path / "gan.pth").prepare()
    with pytest.raises(InputError, match="no such file"):
        LearnedDetector(tmp_path / "none.safetensors")


def test_the_network_is_the_same_whole_and_in_tiles(monkeypatch):
    torch.manual_seed(0)
    net = ArtifactNet(8).eval()
    pair = torch.randint(0, 256, (2, 1, 3, 96, 600), dtype=torch.uint8)
    with torch.inference_mode():
        whole = net(*pair)
        part = net(*pair[..., :480])
    # The left part sees no farther than 160 pixels to the right.
    torch.testing.assert_close(part[..., : 480 - 160], whole[..., : 480 - 160], atol=1e-5, rtol=0)


def test_features_against_a_loop():
    random = np.random.default_rng(0)
    mse, gan = random.integers(0, 256, (2, 3, 32, 32)).astype(np.uint8)
    features = block_features(*(torch.from_numpy(image)[None] for image in (mse, gan)))[0].numpy()
    weights = np.array([0.299, 0.587, 0.114])
    y, x = 3, 5
    rows, columns = slice(4 * y, 4 * y + 4), slice(4 * x, 4 * x + 4)
    lumas = [np.tensordot(weights, image / 255.0, 1) for image in (mse, gan)]
    blocks = [luma[rows, columns] for luma in lumas]
    colours = [image[:, rows, columns].mean((1, 2)) / 255 - 0.5 for image in (mse, gan)]
    np.testing.assert_allclose(features[:6, y, x], np.concatenate(colours), atol=1e-6)
    detail = 8 * (blocks[1] - blocks[1].mean())
    np.testing.assert_allclose(features[6:22, y, x], detail.ravel(), atol=1e-5)
    roots = [2 * (block.std() + 1 / 255) ** 0.5 for block in blocks]
    np.testing.assert_allclose(features[22:24, y, x], roots, atol=1e-5)
    wide = [luma[4 * y - 4 : 4 * y + 8, 4 * x - 4 : 4 * x + 8] for luma in lumas]
    c = (0.03 * 255) ** 2 / 255**2
    product = wide[0].std() * wide[1].std()
    texture = (2 * product + c) / (wide[0].var() + wide[1].var() + c)
    covariance = ((wide[0] - wide[0].mean()) * (wide[1] - wide[1].mean())).mean()
    np.testing.assert_allclose(features[25, y, x], texture, atol=1e-5)
    np.testing.assert_allclose(features[26, y, x], (covariance + c / 2) / (product + c / 2),
                               atol=1e-5)  # fmt: skip


@pytest.mark.parametrize("texture", injection.TEXTURES)
def test_degradations_of_texture_are_images_and_change_them(texture):
    images = torch.from_numpy(smooth_photo(0, 64, 64)).permute(2, 0, 1)[None].float() / 255
    made = texture(images, torch.Generator().manual_seed(1))
    assert made.shape == images.shape
    assert 0 <= made.min() <= made.max() <= 1
    assert (made - images).abs().mean() > 1 / 255
    assert torch.equal(made, texture(images, torch.Generator().manual_seed(1)))


def test_masks_are_where_something_was_pasted():
    photo = torch.from_numpy(smooth_photo(3, 64, 64)).permute(2, 0, 1)[None].float() / 255
    wrong = torch.zeros(1, 1, 64, 64, dtype=torch.bool)
    images = {"hr": photo, "mse_sr": photo, "gan_sr": photo, "odd": 1 - photo, "wrong": wrong}
    for seed in range(6):
        made = inject(images, torch.Generator().manual_seed(seed))
        changed = (made["gan_sr"] != made["mse_sr"]).any(1, keepdim=True)
        outside = torch.nn.functional.max_pool2d(made["mask"].float(), 9, 1, 4) == 0
        assert not (changed & outside).float().mean() > 0.35  # unseen parts of a region at most
        assert changed[made["mask"]].float().mean() > 0.9 or not made["mask"].any()


def test_the_photo_says_where_the_generator_went_wrong():
    photo = torch.from_numpy(smooth_photo(5, 96, 96)).permute(2, 0, 1)[None].float() / 255
    texture = torch.rand(1, 1, 96, 96, generator=torch.Generator().manual_seed(0))
    hr = 0.25 * photo + 0.15 * texture  # edges everywhere, and nowhere near to grey
    wrong = torch.zeros(1, 1, 96, 96, dtype=torch.bool)
    wrong[..., 30:60, 30:60] = True
    found = true_labels(hr, hr, torch.where(wrong, 1 - hr, hr))  # every edge the other way round
    assert found[wrong].float().mean() > 0.9
    assert not found[..., :18, :].any()
    assert not true_labels(hr, hr, hr).any()


@pytest.mark.parametrize("size", [(32, 64), (50, 71), (1, 5)])
def test_features_of_the_processor_are_those_of_other_devices(size):
    generator = torch.Generator().manual_seed(2)
    pair = torch.randint(0, 256, (2, 2, *size, 3), dtype=torch.uint8, generator=generator)
    mse_sr, gan_sr = pair.permute(0, 1, 4, 2, 3)  # as images are read: channels last
    made, expected = (compute(mse_sr, gan_sr) for compute in (_compiled_features, _features))
    torch.testing.assert_close(made[:, :25], expected[:, :25], atol=2e-5, rtol=0)
    # Variances of windows are differences of float32 sums, in another order.
    torch.testing.assert_close(made[:, 25:], expected[:, 25:], atol=5e-4, rtol=0)


def test_the_head_is_a_convolution():
    net = ArtifactNet(8)
    values = torch.randn(2, 8, 9, 7)
    torch.testing.assert_close(net._weigh(values), net.head(values), atol=1e-5, rtol=1e-5)
