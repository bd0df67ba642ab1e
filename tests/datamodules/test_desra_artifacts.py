import importlib
import logging
import shutil
from itertools import islice

import numpy as np
import pytest
import torch
from hydra import compose, initialize
from hydra.utils import instantiate
from lightning import LightningModule, Trainer

from datamodules.degradations import Degradation
from datamodules.desra_artifacts import DeSRAArtifacts
from desra.errors import InputError
from desra.images import read_rgb, write_png
from desra.masks import read_mask_image
from desra.pseudo_gt import compose as compose_pseudo_gt

SIZES = {f"p{number // 2}_s{number % 2}": (20 + 2 * number, 30) for number in range(6)}


@pytest.fixture
def root(make_artifact_set):
    return make_artifact_set(SIZES)


def data_of(root, **options):
    defaults = {"val_share": 0, "gt_crop": 32, "batch_size": 4, "epoch_steps": 5, "num_workers": 0}
    data = DeSRAArtifacts(str(root), **{**defaults, **options})
    data.setup("fit")
    return data


def same(first, second):
    """Whether two batches are equal in every bit."""
    return first.keys() == second.keys() and all(
        torch.equal(part, second[name]) if torch.is_tensor(part) else part == second[name]
        for name, part in first.items()
    )


def all_same(first, second):
    return all(same(a, b) for a, b in zip(first, second, strict=True))


def take(data, count):
    return list(islice(iter(data.train_dataloader()), count))


# Training crops


def test_parts_of_a_sample_show_the_same_place(root):
    """LR and SR hold their own row, column and image, so every crop says where it was cut."""
    data = data_of(root, artifact_bias=0.5, epoch_steps=20)
    orientations = set()
    keys = list(SIZES)
    for batch in take(data, 20):
        assert batch["lr"].shape == (4, 3, 8, 8)
        assert batch["mse_sr"].shape == batch["gan_sr"].shape == (4, 3, 32, 32)
        assert batch["lr"].dtype == torch.uint8
        for place, key in enumerate(batch["keys"]):
            lr, mse_sr, gan_sr = (batch[name][place].numpy() for name in ("lr", "mse_sr", "gan_sr"))
            assert {*lr[2].flat} == {10 * keys.index(key)}
            assert {*mse_sr[2].flat} == {10 * keys.index(key) + 1}
            assert {*gan_sr[2].flat} == {10 * keys.index(key) + 2}
            large = lr[:2].repeat(4, axis=1).repeat(4, axis=2)
            assert np.array_equal(mse_sr[:2], large)
            assert np.array_equal(gan_sr[:2], large)
            rows, columns = lr[:2].astype(int)
            orientations.add(
                tuple(int(p[1, 0] - p[0, 0]) for p in (rows, rows.T, columns, columns.T))
            )
            mask = read_mask_image(root / "DeSRA-Mask" / f"{key}.png")
            expected = mask.reshape(len(mask) // 4, 4, -1, 4).any((1, 3))[rows, columns]
            found = batch["mask"][place, 0].numpy().reshape(8, 4, 8, 4).any((1, 3))
            assert np.array_equal(found, expected)
    assert len(orientations) == 8


def test_weights_are_cut_with_their_images(root, tmp_path, caplog):
    for number, key in enumerate([*SIZES][:4]):
        rows = read_rgb(root / "MSE-SR" / f"{key}.png")[..., 0]
        write_png(tmp_path / "weighted" / "Weight" / f"{key}.png", rows + 50 * number)
    data = data_of(root, weight_root=f"{tmp_path}/weighted/Weight", hr_root=str(root / "GAN-SR"))
    for batch in take(data, 6):
        assert batch["weight"].shape == (4, 1, 32, 32)
        for place, key in enumerate(batch["keys"]):
            number = [*SIZES].index(key)
            weighted = number < 4 and not batch["paired"][place]
            expected = batch["mse_sr"][place, :1] + 50 * number if weighted else 0
            assert torch.equal(batch["weight"][place], expected + torch.zeros(1, 32, 32).byte())
    ready = data.on_after_batch_transfer(batch, 0)
    torch.testing.assert_close(ready["weight"], batch["weight"] / 255)
    assert "weight" not in take(data_of(root), 1)[0]
    with pytest.raises(InputError, match="no weight has the relative path of an image"):
        data_of(root, weight_root=str(tmp_path / "weighted"))
    write_png(tmp_path / "weighted" / "Weight" / f"{key}.png", np.zeros((8, 8), np.uint8))
    with pytest.raises(InputError, match="Weight is 8x8, GAN-SR 120x"):
        data_of(root, weight_root=f"{tmp_path}/weighted/Weight")


def test_sample_i_is_the_same_for_any_workers_ranks_and_cache(root):
    reference = take(data_of(root), 5)
    for options in ({"num_workers": 2}, {"cache_gb": 0.0}, {"cache_gb": 2e-5, "num_workers": 1}):
        data = data_of(root, **options)
        assert all_same(take(data, 5), reference)
        data.teardown("fit")
    assert not same(take(data_of(root, seed=1), 1)[0], reference[0])


def test_every_image_is_seen_once_a_round(root):
    data = data_of(root, batch_size=3, epoch_steps=None)
    stream = data.train_dataloader()
    assert len(stream) == 2
    for _ in range(3):
        assert sorted(key for batch in stream for key in batch["keys"]) == sorted(SIZES)


def test_crops_contain_artifacts_as_often_as_asked(root):
    def share(bias):
        batches = take(data_of(root, artifact_bias=bias, batch_size=60), 5)
        samples = [pair for b in batches for pair in zip(b["mask"], b["keys"], strict=True)]
        return np.mean([mask.any() for mask, key in samples if key != "p2_s1"])

    assert share(1.0) == 1
    assert share(0.0) < share(0.5) < 1


def test_images_smaller_than_the_crop_are_mirrored(root, caplog):
    with caplog.at_level(logging.WARNING):
        data = data_of(root, gt_crop=96, flip=False, rotate=False)
    assert "smaller than data.gt_crop=96" in caplog.text
    for batch in take(data, 5):
        for place, key in enumerate(batch["keys"]):
            height = SIZES[key][0]
            rows = batch["lr"][place, 0, :, 0].int()
            first = int(rows[0])
            folded = [r if r < height else 2 * height - 1 - r for r in range(first, first + 24)]
            assert rows.tolist() == folded
            large = batch["lr"][place, :2].repeat_interleave(4, 1).repeat_interleave(4, 2)
            assert torch.equal(batch["mse_sr"][place, :2], large)


def test_mixed_in_pairs_have_hr_as_pseudo_ground_truth(root, tmp_path):
    rng = np.random.default_rng(0)
    for number in range(3):
        lr = rng.integers(0, 256, (12, 14, 3), np.uint8)
        write_png(tmp_path / "clean/LR" / f"{number}.png", lr)
        write_png(tmp_path / "clean/HR" / f"{number}.png", lr.repeat(4, 0).repeat(4, 1))
    folders = {"hr_root": str(tmp_path / "clean/HR"), "hr_lr_root": str(tmp_path / "clean/LR")}
    data = data_of(root, hr_ratio=0.25, **folders, epoch_steps=None)
    stream = data.train_dataloader()
    assert len(stream) == 2  # 6 tuples and the pairs between them
    batches = [data.on_after_batch_transfer(b, 0) for _ in range(6) for b in stream]
    paired = torch.cat([batch["paired"] for batch in batches])
    assert paired.float().mean() == 0.25
    for batch in batches:
        chosen = batch["paired"]
        pseudo_gt = compose_pseudo_gt(batch["mse_sr"], batch["gan_sr"], batch["mask"])
        large = batch["lr"].repeat_interleave(4, 2).repeat_interleave(4, 3)
        assert torch.equal(pseudo_gt[chosen], large[chosen])
        assert not batch["mask"][chosen].any()
        assert [key in "012" for key in batch["keys"]] == chosen.tolist()
    write_png(tmp_path / "clean/HR/1.png", np.zeros((40, 56, 3), np.uint8))
    with pytest.raises(InputError, match="56x40 is not 4 times its partner's 14x12"):
        data_of(root, **folders)


def test_clean_images_without_partners_are_degraded_on_the_device(root, tmp_path):
    rng = np.random.default_rng(0)
    for number in range(3):
        coarse = rng.integers(0, 256, (6, 7, 3), np.uint8)
        write_png(tmp_path / "clean" / f"{number}.png", coarse.repeat(8, 0).repeat(8, 1))
    options = {"hr_root": str(tmp_path / "clean"), "hr_ratio": 0.5, "epoch_steps": 3}

    def batches(**more):
        data = data_of(root, **options, **more)
        return [data.on_after_batch_transfer(batch, 0) for batch in take(data, 3)]

    whole = batches()
    for batch in whole:
        clean = batch["paired"]
        assert clean.float().mean() == 0.5
        assert "without_lr" not in batch
        assert torch.equal(batch["mse_sr"][clean], batch["gan_sr"][clean])
        small = torch.nn.functional.avg_pool2d(batch["gan_sr"], 4)
        error = (batch["lr"] - small).abs().mean((1, 2, 3))
        assert (error[clean] > 0.01).all()
        assert (error[clean] < 0.3).all()
    assert all_same(batches(num_workers=1), whole)
    with pytest.raises(InputError, match="scale=2: give the artifact set's, 4"):
        batches(hr_degradation=Degradation(scale=2))


# Masks that change


def test_new_masks_count_from_the_next_batch_on(root):
    everything = {key: np.ones((4 * h, 4 * w), bool) for key, (h, w) in SIZES.items()}
    for workers in (0, 2):
        data = data_of(root, artifact_bias=1.0, num_workers=workers)
        batches = iter(data.train_dataloader())
        first = next(batches)
        assert not first["mask"].all()
        assert data.update_masks(everything) == sorted(SIZES)
        later = list(batches)
        assert all(batch["mask"].all() for batch in later)
        assert [batch["index"][0] for batch in (first, *later)] == [0, 4, 8, 12, 16]
        data.teardown("fit")


def test_state_brings_back_position_and_masks_bit_for_bit(root, tmp_path):
    data = data_of(root)
    batches = iter(data.train_dataloader())
    list(islice(batches, 2))
    data.update_masks({"p0_s0": np.eye(80, 120, dtype=bool)}, "union")
    next(batches)
    state = {"data": data.state_dict(), "stream": data._stream.state_dict()}
    torch.save(state, tmp_path / "state.pt")
    rest = [next(batches), next(batches)]
    for workers in (0, 2):
        resumed = data_of(root, num_workers=workers)
        saved = torch.load(tmp_path / "state.pt", weights_only=True)
        resumed.load_state_dict(saved["data"])
        stream = resumed.train_dataloader()
        stream.load_state_dict(saved["stream"])
        assert all_same(islice(iter(stream), 2), rest)
        resumed.teardown("fit")


class Recorder(LightningModule):
    """Keeps what it is fed and learns a number from it."""

    def __init__(self, update_at=None):
        super().__init__()
        self.weight = torch.nn.Parameter(torch.zeros(()))
        self.update_at, self.seen, self.validated = update_at, [], []

    def training_step(self, batch, batch_idx):
        assert batch["lr"].dtype == torch.float32
        assert 0 <= batch["lr"].min() <= batch["lr"].max() <= 1
        self.seen.append(batch)
        return (self.weight - batch["gan_sr"].mean() * batch["mask"].float().mean()) ** 2

    def on_train_batch_end(self, *_):
        if self.global_step == self.update_at:
            self.trainer.datamodule.update_masks({"p1_s0": np.eye(96, 120, dtype=bool)})

    def validation_step(self, batch, batch_idx):
        self.validated += batch["keys"]

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), lr=0.1)


def fit(root, tmp_path, max_steps, ckpt_path=None, update_at=None, **options):
    module = Recorder(update_at)
    trainer = Trainer(
        accelerator="cpu",
        max_steps=max_steps,
        max_epochs=-1,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        num_sanity_val_steps=0,
        default_root_dir=tmp_path,
    )
    data = DeSRAArtifacts(
        str(root), val_share=0.3, gt_crop=32, batch_size=2, epoch_steps=4, **options
    )
    trainer.fit(module, datamodule=data, ckpt_path=ckpt_path)
    return module, trainer


@pytest.mark.parametrize("workers", [0, 2])
def test_a_resumed_run_of_the_trainer_sees_the_same_batches(root, tmp_path, workers):
    whole, _ = fit(root, tmp_path, 11, update_at=3, num_workers=workers)
    _, trainer = fit(root, tmp_path, 6, update_at=3, num_workers=workers)
    trainer.save_checkpoint(tmp_path / "stopped.ckpt")
    resumed, _ = fit(root, tmp_path, 11, tmp_path / "stopped.ckpt", num_workers=workers)
    assert len(resumed.seen) == 5
    assert all_same(whole.seen[6:], resumed.seen)
    assert torch.equal(whole.weight, resumed.weight)


@pytest.fixture
def one_thread(monkeypatch):
    """For forked ranks: the threads of OpenMP do not survive a fork, and must not be waited for."""
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def test_two_processes_see_what_one_sees(root, tmp_path, one_thread):
    """Trainer and gloo for real; ranks in forked processes, each saves what it saw."""
    if torch.cuda.is_initialized():
        pytest.skip("a process that has used CUDA cannot fork")
    module = Saver(tmp_path)
    trainer = Trainer(
        accelerator="cpu",
        devices=2,
        strategy="ddp_fork",
        max_steps=4,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        num_sanity_val_steps=0,
        val_check_interval=4,
    )
    options = {"val_share": 0.5, "gt_crop": 32, "epoch_steps": 4, "num_workers": 0}
    trainer.fit(module, datamodule=DeSRAArtifacts(str(root), batch_size=2, **options))
    ranks = [torch.load(tmp_path / f"{rank}.pt", weights_only=True) for rank in (0, 1)]
    data = DeSRAArtifacts(str(root), batch_size=4, **options)
    data.setup("fit")
    for whole, *parts in zip(take(data, 4), *(rank["seen"] for rank in ranks), strict=True):
        assert whole["keys"] == parts[0]["keys"] + parts[1]["keys"]
        assert torch.equal(whole["index"], torch.cat([part["index"] for part in parts]))
        assert torch.equal(whole["mask"], torch.cat([part["mask"] for part in parts]))
        assert torch.equal(whole["lr"] / 255, torch.cat([part["lr"] for part in parts]))
    validated = [key for rank in ranks for key in rank["validated"]]
    assert sorted(validated) == [item.key for item in data.val.tuples]
    assert len(validated) == 3


class Saver(Recorder):
    def __init__(self, folder):
        super().__init__()
        self.folder = folder

    def on_train_end(self):
        torch.save(
            {"seen": self.seen, "validated": self.validated}, self.folder / f"{self.global_rank}.pt"
        )


# Whole images


def test_validation_serves_whole_images_with_labels_where_there_are_any(root):
    (root / "GT-Mask/p1_s0.png").unlink()
    data = data_of(root, val_share=0.5, group_pattern=r"^(p\d)")
    batches = list(data.val_dataloader())
    keys = [key for batch in batches for key in batch["keys"]]
    assert keys == [item.key for item in data.val.tuples]
    assert not set(keys) & {item.key for item in data.train.tuples}
    assert len({key[:2] for key in keys}) == round(0.5 * 3)
    batches += list(data.detection_dataloader())
    for batch in batches:
        (key,) = batch["keys"]
        height, width = SIZES[key]
        pixels = torch.tensor(read_rgb(root / "GAN-SR" / f"{key}.png")).permute(2, 0, 1)
        assert torch.equal(batch["gan_sr"][0], pixels)
        assert batch["lr"].shape == (1, 3, height, width)
        mask = torch.from_numpy(read_mask_image(root / "DeSRA-Mask" / f"{key}.png"))
        assert torch.equal(batch["mask"][0, 0], mask)
        assert ("gt_mask" in batch) == (key != "p1_s0")
    converted = data.on_after_batch_transfer(batches[0], 0)
    assert converted["mse_sr"].dtype == torch.float32
    assert converted["mask"].dtype == torch.bool


def test_detection_serves_every_training_image_with_its_present_mask(make_artifact_set):
    root = make_artifact_set({key: (16 + 4 * (key in "bd"), 16) for key in "abcdef"})
    data = data_of(root)
    data.update_masks({"c": np.ones((64, 64), bool)})
    batches = list(data.detection_dataloader(batch_size=3))
    assert [batch["keys"] for batch in batches] == [["a", "c", "e"], ["b", "d"], ["f"]]
    assert batches[0]["mask"][1].all()
    assert not batches[0]["mask"][0].all()
    assert batches[1]["lr"].shape == (2, 3, 20, 16)


def test_test_split_is_chosen(root):
    for split, count in (("val", 2), ("train", 4), ("all", 6)):
        data = data_of(root, val_share=0.3, test_split=split)
        assert sum(len(batch["keys"]) for batch in data.test_dataloader()) == count
    with pytest.raises(InputError, match="0 images to evaluate"):
        data_of(root).test_dataloader()
    assert data_of(root).val_dataloader() == []


def test_validation_images_from_a_list_or_another_root(root, make_artifact_set, tmp_path):
    (tmp_path / "val.txt").write_text("p0_s0\np2_s1.png\n")
    data = data_of(root, val_list=str(tmp_path / "val.txt"))
    assert [item.key for item in data.val.tuples] == ["p0_s0", "p2_s1"]
    other = make_artifact_set({"p0_s0": (16, 16), "q": (16, 16)}, name="held_out")
    shutil.rmtree(other / "DeSRA-Mask")
    data = data_of(root, val_root=str(other))
    assert [item.key for item in data.val.tuples] == ["p0_s0", "q"]
    assert len(data.train.tuples) == 6
    assert not next(iter(data.val_dataloader()))["mask"].any()
    with pytest.raises(InputError, match="in training and in validation: p0"):
        data_of(root, val_root=str(other), group_pattern=r"^p\d")


# What can be wrong


def test_labels_can_be_what_is_trained_on(root):
    write_png(root / "GT-Mask/p0_s0.png", np.ones((80, 120), bool))
    data = data_of(root, mask_source="labelled")
    assert data.masks["p0_s0"].full().all()
    (root / "GT-Mask/p0_s1.png").unlink()
    with pytest.raises(InputError, match="p0_s1: no labelled mask"):
        data_of(root, mask_source="labelled")


def test_masks_that_the_loop_will_make_may_be_missing(root):
    (root / "DeSRA-Mask/p0_s0.png").unlink()
    with pytest.raises(InputError, match="p0_s0: no detected mask"):
        data_of(root)
    data = data_of(root, mask_required=False)
    assert not data.masks["p0_s0"].area
    assert data.masks["p0_s1"].area
    shutil.rmtree(root / "DeSRA-Mask")
    assert not any(mask.area for mask in data_of(root, mask_required=False).masks.values())


def test_everything_wrong_is_said_at_once_and_before_training(root, caplog):
    for name in ("LR/p0_s0.png", "GAN-SR/p1_s1.png"):
        path = root / name
        path.write_bytes(path.read_bytes()[:-40])
    with pytest.raises(InputError, match="2 problems") as caught:
        data_of(root)
    assert "\n" not in str(caught.value)
    assert [record.levelname for record in caplog.records] == ["ERROR", "ERROR"]
    assert "LR/p0_s0.png: damaged image" in caplog.text
    assert "GAN-SR/p1_s1.png: damaged image" in caplog.text


def test_masks_of_wrong_size_are_said_together(root, caplog):
    for key in ("p0_s0", "p2_s0"):
        write_png(root / "DeSRA-Mask" / f"{key}.png", np.zeros((30, 30), bool))
    with pytest.raises(InputError, match="2 problems"):
        data_of(root)
    assert caplog.text.count("a mask of 30x30 for an image of") == 2


def test_asks_whether_masks_are_inverted(root, caplog):
    data_of(root)
    assert "inverted" not in caplog.text
    for path in (root / "DeSRA-Mask").glob("*.png"):
        write_png(path, ~read_mask_image(path))
    data_of(root)
    assert "artifacts are white in a mask: are these inverted?" in caplog.text


def test_says_what_it_found(root, capsys, caplog):
    (root / "MSE-SR/p0_s0.png").unlink()
    with caplog.at_level(logging.WARNING):
        data_of(root, val_share=0.4)
    table = capsys.readouterr().err
    for part in ("images │ 3 │ 2", "LR sizes", "×4", "labelled"):
        assert part in " ".join(table.replace("│", " │ ").split()), table
    assert "left out: p0_s0: no partner" in caplog.text


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"mask_source": "drawn"}, "mask_source=drawn"),
        ({"val_root": "a", "val_list": "b"}, "both given"),
        ({"hr_ratio": 1.0}, "hr_ratio=1.0"),
        ({"hr_lr_root": "a"}, "give data.hr_root"),
        ({"batch_size": 0}, "batch_size=0"),
        ({"test_split": "some"}, "test_split=some"),
        ({"folder_names": {"masks": "M"}}, "no role masks"),
        ({"group_pattern": "("}, "group_pattern"),
        ({"gt_crop": 30}, "multiple of the scale, 4"),
        ({"artifact_bias": 2}, "artifact_bias=2"),
    ],
)
def test_refuses_settings_that_cannot_be(root, options, said):
    with pytest.raises(InputError, match=said):
        data_of(root, **options)


def test_the_config_composes(root):
    importlib.import_module("cli.resolvers")  # its resolvers
    with initialize(version_base=None, config_path="../../conf"):
        config = compose(
            overrides=["+data=desra_artifacts", f"data.root={root}", "data.gt_crop=32"]
        )
    data = instantiate(config.data)
    data.setup()
    assert next(iter(data.train_dataloader()))["lr"].shape == (12, 3, 8, 8)
