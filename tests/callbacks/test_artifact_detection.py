"""Masks updated in training: equal to detect.py's, resumable, shared among ranks."""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from lightning import Callback, LightningDataModule
from lightning.pytorch.loggers import CSVLogger
from torch import Tensor

from callbacks import artifact_detection
from callbacks.artifact_detection import ArtifactDetectionCallback
from desra.errors import InputError
from desra.images import read_rgb, to_tensor, to_uint8, write_png
from desra.masks import read_mask_image
from desra.segmenters import LabelFolder, NoSegmenter
from models.upscaler import Upscaler
from tests.callbacks.artifacts import (
    KEYS,
    Textured,
    detection,
    make_data,
    make_detector,
    make_module,
    make_trainer,
    write_set,
)
from tests.models.finetuning import SaveAt, loader


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_set(tmp_path_factory.mktemp("set"))


def masks_of(data: Any) -> dict[str, np.ndarray]:
    return {item.key: data.masks[item.key].full() for item in data.train.tuples}


def test_masks_are_those_that_detect_py_makes_of_the_files(
    root: Path, tmp_path: Path, run_script: Callable[..., subprocess.CompletedProcess]
) -> None:
    """With labels of which some classes are held to a lower threshold than others."""
    random = np.random.default_rng(3)
    for key in KEYS:
        labels = random.integers(0, 20, (6, 5), dtype=np.uint8).repeat(16, 0).repeat(16, 1)
        write_png(tmp_path / "labels" / f"{key}.png", labels)
    data, module = make_data(root, val_share=0.0), make_module()
    callback = ArtifactDetectionCallback(
        make_detector(), LabelFolder(tmp_path / "labels"), every_n_steps=1, mode="replace"
    )
    make_trainer(2, [callback]).fit(module, data)

    upscaler = Upscaler(module.ema.module)
    for key in KEYS:
        output = upscaler(to_tensor(read_rgb(root / "LR" / f"{key}.png")))
        write_png(tmp_path / "finetuned" / f"{key}.png", to_uint8(output))
    run = run_script(
        *("detect.py", f"mse_root={root}/MSE-SR", f"gan_root={tmp_path}/finetuned", "trainer=cpu"),
        *("segmenter=labels", f"segmenter.root={tmp_path}/labels", "detector.min_area=200"),
        *("page=false", "inputs=leave", f"output_dir={tmp_path}/out"),
    )
    assert run.returncode == 0, run.stderr
    masks = masks_of(data)
    for key in KEYS:
        expected = read_mask_image(tmp_path / "out" / "DeSRA-Mask" / f"{key}.png")
        np.testing.assert_array_equal(masks[key], expected)
    assert sum(mask.any() for mask in masks.values()) > 2


@pytest.mark.parametrize("save_first", [True, False])
@pytest.mark.parametrize("every", [{"every_n_steps": 2}, {"every_n_epochs": 1}])
def test_resumed_run_has_the_weights_and_masks_of_the_uninterrupted_one(
    root: Path, tmp_path: Path, every: dict[str, int], save_first: bool
) -> None:
    """Saved when a mask update is due, by a callback before or after it; it clears the masks."""
    path = tmp_path / "saved.ckpt"

    def run(callbacks: Sequence[Callback], **options: Any) -> tuple[Tensor, dict, list[int]]:
        module = make_module(learning_rate=0.03)
        data = make_data(root, val_share=0.0, epoch_steps=2)
        found = detection(mode="replace", **every)
        order = [*callbacks, found] if save_first else [found, *callbacks]
        seen: list[int] = []
        data.update_masks = _spy(data.update_masks, seen)  # type: ignore[method-assign]
        make_trainer(7, order).fit(module, data, **options)
        return module.generator.amount.detach(), masks_of(data), seen

    straight, masks, seen = run([SaveAt(4, path)])
    resumed, resumed_masks, seen_after = run([], ckpt_path=path)
    assert torch.equal(resumed, straight)
    assert seen[-len(seen_after) :] == seen_after
    assert len(set(seen)) > 1  # the masks did change on the way
    assert 0 < len(seen_after) < len(seen)
    for key, mask in masks.items():
        np.testing.assert_array_equal(resumed_masks[key], mask)


def _spy(update: Callable[..., list[str]], seen: list[int]) -> Callable[..., list[str]]:
    def spied(masks: Any, mode: Any) -> list[str]:
        seen.append(sum(int(mask.sum()) for mask in masks.values()))
        return update(masks, mode)

    return spied


@pytest.mark.parametrize("mode", ["union", "replace", "off"])
def test_modes(tmp_path: Path, mode: Any) -> None:
    """A generator without artifacts, on masks that mark some."""
    root = write_set(tmp_path, masks=True)
    data, module = make_data(root), make_module(ema_decay=1.0)
    module.ema.module.amount.fill_(0.0)
    make_trainer(2, [detection(every_n_steps=1, mode=mode)]).fit(module, data)
    marked = sum(mask.any() for mask in masks_of(data).values())
    assert marked == (0 if mode == "replace" else len(data.train.tuples) - (KEYS[-1] in data.masks))


def test_only_what_changed_travels_and_labels_are_made_once(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sent: list[Any] = []

    def record(item: Any) -> list[Any]:
        sent.append(item)
        return [item]

    class Counting(NoSegmenter):
        def forward(self, gan_sr: Tensor, keys: Sequence[str]) -> None:
            labelled.extend(keys)

    labelled: list[str] = []
    monkeypatch.setattr(artifact_detection, "gather", record)
    data = make_data(root)
    callback = ArtifactDetectionCallback(make_detector(), Counting(), every_n_steps=2)
    logger = CSVLogger(tmp_path, name="", version="")
    trainer = make_trainer(6, [callback], logger=logger, val_check_interval=2, log_every_n_steps=1)
    trainer.fit(make_module(), data)
    shares = [item[1] for item in sent if isinstance(item, tuple)]
    assert set(shares[0]) == {key for key, mask in masks_of(data).items() if mask.any()}
    assert shares[1] == {}
    assert max(map(len, shares[0].values())) < 100  # of 960 bytes of bits
    assert sorted(labelled) == sorted(masks_of(data))  # training images alone, each once
    header, *rows = (tmp_path / "metrics.csv").read_text().splitlines()
    seconds = header.split(",").index("masks/seconds")
    share = header.split(",").index("masks/share_of_epoch")
    costs = [row.split(",") for row in rows if row.split(",")[seconds]]
    assert len(costs) == 2
    assert all(float(cost[seconds]) > 0 and float(cost[share]) > 0 for cost in costs)


def test_output_that_is_not_finite_stops_all_ranks_with_one_line(root: Path) -> None:
    module = make_module(ema_decay=1.0)
    module.ema.module.amount.fill_(float("nan"))
    with pytest.raises(InputError, match=r"mask update: .*NaN"):
        make_trainer(2, [detection(every_n_steps=1)], limit_val_batches=0).fit(
            module, make_data(root)
        )


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"mode": "add"}, "give replace, union or off"),
        ({"every_n_steps": 1, "every_n_epochs": 1}, "not both"),
        ({"every_n_steps": 0}, "1 or more"),
    ],
)
def test_wrong_settings_are_one_line(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        detection(**settings)


def test_data_without_masks_is_refused() -> None:
    data = LightningDataModule()
    data.train_dataloader = lambda: loader([])  # type: ignore[method-assign]
    with pytest.raises(InputError, match="data=desra_artifacts"):
        make_trainer(1, [detection()]).fit(make_module(), data)


def test_the_generator_has_artifacts_only_where_it_says() -> None:
    lr = torch.full((1, 3, 4, 4), 0.2)
    assert torch.equal(Textured()(lr), Textured(0.0)(lr))
    assert not torch.equal(Textured()(lr + 0.5), Textured(0.0)(lr + 0.5))
