import json
import logging
from dataclasses import asdict, replace
from itertools import islice

import numpy as np
import pytest
import torch
from hydra import compose, initialize
from hydra.utils import instantiate
from lightning import LightningModule, Trainer

from datamodules.degradations import Degradation, Resize, Round, UnsharpMask
from datamodules.hr_images import HRImages
from datamodules.paired_images import PairedImages
from desra.errors import InputError
from desra.images import read_rgb, write_png


@pytest.fixture
def root(tmp_path):
    """Clean images whose first two channels say where a pixel is."""
    for number in range(6):
        rows, columns = np.mgrid[: 90 + number, : 97 - number]
        picture = np.stack([rows, columns, np.full_like(rows, 40 * number)], -1).astype(np.uint8)
        write_png(tmp_path / "HR" / f"p{number // 2}" / f"{number}.png", picture)
    return tmp_path / "HR"


def data_of(root, **options):
    defaults = {
        "val_share": 0,
        "hr_crop": 48,
        "gt_crop": 32,
        "batch_size": 4,
        "pool_size": 16,
        "group_size": 4,
        "epoch_steps": 6,
        "num_workers": 0,
    }
    data = HRImages(str(root), **{**defaults, **options})
    data.setup()
    return data


def take(data, count):
    return list(islice(iter(data.train_dataloader()), count))


def all_same(first, second):
    return all(
        a.keys() == b.keys()
        and all(torch.equal(a[n], b[n]) if torch.is_tensor(a[n]) else a[n] == b[n] for n in a)
        for a, b in zip(first, second, strict=True)
    )


def test_lr_shows_the_place_that_gt_shows(root):
    """Rows and columns survive degradations well enough to tell one LR pixel from the next."""
    slight = Round(
        blur_probability=0,
        resize=Resize((0, 0, 1)),
        gaussian_probability=1,
        gaussian=(0, 1),
        jpeg=(95, 95),
    )
    mild = Degradation(first=slight, second=slight, final_sinc_probability=0)
    batches = take(data_of(root, degradation=mild, flip=True, rotate=True), 6)
    places = []
    for batch in batches:
        assert batch["lr"].shape == (4, 3, 8, 8)
        assert batch["gt"].shape == (4, 3, 32, 32)
        assert batch["lr"].dtype == batch["gt"].dtype == torch.uint8
        gt = batch["gt"].float()
        small = torch.nn.functional.avg_pool2d(gt, 4)
        # A shift by one pixel of LR would be 4 levels.
        assert (batch["lr"].float() - small)[:, :2].abs().mean() < 2
        places += [tuple(crop[:2, 0, 0].tolist()) for crop in batch["gt"]]
        for crop, key in zip(batch["gt"], batch["keys"], strict=True):
            assert {*crop[2].flatten().tolist()} == {40 * int(key[-1])}
    assert len(set(places)) > 20


def test_samples_are_the_same_for_any_workers_and_cache_and_after_a_resume(root):
    reference = take(data_of(root), 6)
    for options in ({"num_workers": 2}, {"cache_gb": 0.0}):
        data = data_of(root, **options)
        assert all_same(take(data, 6), reference)
        data.teardown()
    data = data_of(root)
    stream = data.train_dataloader()
    list(islice(iter(stream), 3))
    resumed = data_of(root).train_dataloader()
    resumed.load_state_dict(stream.state_dict())
    assert all_same(islice(iter(resumed), 3), reference[3:])
    assert not all_same(take(data_of(root, seed=1), 1), reference[:1])


def test_the_target_is_sharpened_on_the_device_and_lr_comes_from_it(root):
    rng = np.random.default_rng(0)
    for path in root.rglob("*.png"):  # something to sharpen
        write_png(path, rng.integers(0, 2, (12, 12, 3), np.uint8).repeat(8, 0).repeat(8, 1) * 200)
    plain, sharp = data_of(root), data_of(root, unsharp=UnsharpMask())
    batch = sharp.on_after_batch_transfer(take(sharp, 1)[0], 0)
    assert batch["gt"].dtype == torch.float32
    torch.testing.assert_close(batch["gt_sharp"], UnsharpMask()(batch["gt"]))
    assert not torch.equal(batch["gt_sharp"], batch["gt"])
    unsharpened = plain.on_after_batch_transfer(take(plain, 1)[0], 0)
    assert "gt_sharp" not in unsharpened
    assert torch.equal(unsharpened["gt"], batch["gt"])
    assert not torch.equal(unsharpened["lr"], batch["lr"])


def test_validation_is_whole_fixed_and_does_not_depend_on_other_images(root):
    data = data_of(root, val_share=0.4, group_pattern=r"^p\d")
    batches = list(data.val_dataloader())
    keys = [batch["keys"][0] for batch in batches]
    assert keys == [pair.key for pair in data.val_pairs]
    assert {key[:2] for key in keys}.isdisjoint(pair.key[:2] for pair in data.train_pairs)
    for batch in batches:
        height, width = (4 * side for side in batch["lr"].shape[2:])
        pixels = read_rgb(root / f"{batch['keys'][0]}.png")[:height, :width]
        assert np.array_equal(batch["gt"][0].permute(1, 2, 0).numpy(), pixels)
    assert all_same(data.val_dataloader(), batches)
    (root / "p0/extra.png").write_bytes((root / "p0/0.png").read_bytes())
    other = data_of(root, val_root=str(root / "p1"))
    found = {batch["keys"][0]: batch["lr"] for batch in other.val_dataloader()}
    again = {
        batch["keys"][0]: batch["lr"]
        for batch in data_of(root / "p1", val_root=str(root / "p1")).val_dataloader()
    }
    assert found.keys() == again.keys() == {"2", "3"}
    assert all(torch.equal(found[key], again[key]) for key in found)


class Recorder(LightningModule):
    def __init__(self):
        super().__init__()
        self.weight = torch.nn.Parameter(torch.zeros(()))
        self.seen, self.validated = [], []

    def training_step(self, batch, batch_idx):
        assert batch["lr"].dtype == torch.float32
        assert {"lr", "gt", "gt_sharp"} <= batch.keys()
        self.seen.append({name: batch[name].clone() for name in ("lr", "gt", "index")})
        return (self.weight - batch["lr"].mean()) ** 2

    def validation_step(self, batch, batch_idx):
        assert "gt_sharp" not in batch
        self.validated += batch["keys"]

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), lr=0.1)


def test_the_trainer_resumes_in_the_midst_of_an_epoch_and_of_a_pool(root, tmp_path):
    def fit(steps, checkpoint=None):
        data = HRImages(
            str(root), val_share=0.3, unsharp=UnsharpMask(), hr_crop=48, gt_crop=32, batch_size=2,
            pool_size=6, group_size=4, epoch_steps=5,
        )  # fmt: skip
        module = Recorder()
        trainer = Trainer(
            accelerator="cpu",
            max_steps=steps,
            logger=False,
            enable_checkpointing=False,
            enable_progress_bar=False,
            enable_model_summary=False,
        )
        trainer.fit(module, datamodule=data, ckpt_path=checkpoint)
        return module, trainer

    whole, _ = fit(9)
    _, stopped = fit(4)
    stopped.save_checkpoint(tmp_path / "stopped.ckpt")
    resumed, _ = fit(9, tmp_path / "stopped.ckpt")
    assert all_same(whole.seen[4:], resumed.seen)
    assert torch.equal(whole.weight, resumed.weight)
    assert len(set(whole.validated)) == 2


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"hr_crop": 50}, "gt_crop=50|hr_crop=50"),
        ({"gt_crop": 64}, "gt_crop=64: give at most data.hr_crop=48"),
        ({"pool_size": 0}, "pool_size"),
        ({"batch_size": 0}, "batch_size=0"),
        ({"epoch_steps": 0}, "epoch_steps=0"),
    ],
)
def test_refuses_settings_that_cannot_be(root, options, said):
    with pytest.raises(InputError, match=said):
        data_of(root, **options)


def as_lists(settings):
    """Settings with lists for tuples, as YAML has them."""
    return json.loads(json.dumps(asdict(settings)))


def test_the_config_composes_with_the_released_settings(root):
    with initialize(version_base=None, config_path="../../conf"):
        overrides = ["+data=hr_images", f"data.root={root}", "data.degradation.first.jpeg=[10,20]"]
        config = compose(overrides=overrides)
    data = instantiate(config.data)
    first = replace(data.degradation.first, jpeg=[30.0, 95.0])
    assert as_lists(replace(data.degradation, first=first)) == as_lists(Degradation())
    assert data.degradation.first.jpeg == [10, 20]
    assert data.unsharp == UnsharpMask()


# Fixed pairs


@pytest.fixture
def pair_roots(root):
    lr_root = root.parent / "LR"
    for path in root.rglob("*.png"):
        pixels = read_rgb(path)[:88, :88]
        write_png(path, pixels)
        write_png(lr_root / path.relative_to(root), pixels[::2, ::2])
    return {"hr_root": str(root), "lr_root": str(lr_root)}


def test_pairs_are_cut_alike_and_their_scale_is_found(pair_roots):
    data = PairedImages(**pair_roots, val_share=0.3, gt_crop=24, batch_size=3, rotate=True)
    data.setup()
    assert data.scale == 2
    stream = data.train_dataloader()
    assert len(stream) == 2
    for batch in islice(stream, 2):
        assert batch["lr"].shape == (3, 3, 12, 12)
        steps = [tuple(map(int, crop[:2, 0, 0] // 2 * 2)) for crop in batch["gt"]]
        assert len(steps) == 3
        # LR holds every second row and column, so its numbers are HR's, rounded down to even ones.
        even = batch["gt"][:, :2] // 2 * 2
        large = batch["lr"][:, :2].repeat_interleave(2, 2).repeat_interleave(2, 3)
        assert torch.equal(even, large)
        assert torch.equal(batch["gt"][:, 2, ::2, ::2], batch["lr"][:, 2])
    for batch in data.val_dataloader():
        assert batch["gt"].shape == (1, 3, 88, 88)
        assert torch.equal(batch["gt"][..., ::2, ::2], batch["lr"])


def test_pairs_that_do_not_fit_are_said_before_training(pair_roots, caplog):
    lr_root = pair_roots["lr_root"]
    write_png(f"{lr_root}/p0/0.png", np.zeros((40, 44, 3), np.uint8))
    write_png(f"{lr_root}/p1/2.png", np.zeros((22, 22, 3), np.uint8))
    with pytest.raises(InputError, match=r"p0/0\.png: 88x88 is not 2 times its partner's 44x40"):
        PairedImages(**pair_roots).setup()
    write_png(f"{lr_root}/p0/0.png", np.zeros((44, 44, 3), np.uint8))
    with pytest.raises(InputError, match="give pairs of one scale"):
        PairedImages(**pair_roots).setup()
    write_png(f"{lr_root}/p1/2.png", np.zeros((44, 44, 3), np.uint8))
    write_png(f"{lr_root}/stray.png", np.zeros((44, 44, 3), np.uint8))
    with caplog.at_level(logging.WARNING):
        PairedImages(**pair_roots, gt_crop=24).setup()
    assert "left out: stray: no partner" in caplog.text
    with pytest.raises(InputError, match="give both"):
        PairedImages(**pair_roots, val_root="x")


def test_the_config_of_pairs_composes(pair_roots):
    with initialize(version_base=None, config_path="../../conf"):
        overrides = [f"data.{name}={folder}" for name, folder in pair_roots.items()]
        config = compose(overrides=["+data=paired_images", "data.gt_crop=24", *overrides])
    data = instantiate(config.data)
    data.setup()
    assert next(iter(data.train_dataloader()))["gt"].shape == (12, 3, 24, 24)
