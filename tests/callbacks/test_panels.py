"""Panels as files, in TensorBoard and in W&B, and what they show."""

from __future__ import annotations

import json
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from lightning.pytorch.loggers import TensorBoardLogger
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from callbacks.loggers import close_loggers, wandb_logger
from callbacks.panels import COLUMNS, PicturePanels, make_panel
from callbacks.weight_export import WeightExport
from desra.images import read_rgb
from desra.judge import Judged
from desra.masks import read_mask_image
from desra.metrics.finetuning import Comparison
from tests.callbacks.artifacts import (
    KEYS,
    make_data,
    make_detector,
    make_module,
    make_trainer,
    validation,
    write_set,
)


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_set(tmp_path_factory.mktemp("set"), masks=True)


def test_the_images_with_the_most_artifacts_are_shown_everywhere(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WANDB_SILENT", "true")
    out = tmp_path / "out"
    loggers = [
        TensorBoardLogger(out, name="", version="tensorboard"),
        wandb_logger(str(out), offline=True, project="desra"),
    ]
    callbacks = [
        validation(panels=PicturePanels(out / "panels", images=2)),
        WeightExport(out / "weights", name="tiny_desra"),
    ]
    data, module = make_data(root, val_share=0.6), make_module()
    trainer = make_trainer(2, callbacks, logger=loggers, val_check_interval=2, log_every_n_steps=1)
    trainer.validate(module, data, verbose=False)
    trainer.fit(module, data)
    close_loggers(loggers)

    areas = {
        item.key: read_mask_image(root / "DeSRA-Mask" / f"{item.key}.png").sum()
        for item in data.val.tuples
    }
    assert KEYS[-1] not in areas or len(areas) > 2
    shown = {
        path.parent.relative_to(out / "panels").as_posix() for path in out.rglob("panels/**/*.png")
    }
    assert len(shown) == 2
    assert min(areas[key] for key in shown) > 0
    for key in shown:
        names = sorted(path.name for path in (out / "panels" / key).iterdir())
        assert names == ["000000.png", "000002.png"]

    events = EventAccumulator(str(out / "tensorboard")).Reload()
    assert set(events.Tags()["images"]) == {f"panels/{key}" for key in shown}
    assert "removal_rate" in events.Tags()["scalars"]
    assert [event.step for event in events.Scalars("removal_rate")] == [0, 2]

    (folder,) = (out / "wandb").glob("offline-run-*")
    media = folder / "files" / "media"
    assert len(list(media.glob("images/panels_*.png"))) == 4
    table = json.loads(sorted(media.glob("table/images_*.json"))[0].read_text())
    assert len(table["data"]) == len(data.val.tuples)
    row = dict(zip(table["columns"], table["data"][0], strict=True))
    assert row["image"] == min(areas)
    assert row["artifact_share_after"] == row["artifact_share_before"]
    (record,) = folder.glob("*.wandb")
    while b"tiny_desra" not in record.read_bytes():
        time.sleep(0.1)  # W&B's own process writes it when it comes to it


def test_a_panel_shows_the_surroundings_of_the_largest_artifact() -> None:
    height, width, side = 90, 120, 40
    gan_sr = torch.randint(0, 256, (1, 3, height, width), dtype=torch.uint8)
    before = torch.zeros(1, 1, height, width, dtype=torch.bool)
    before[..., 60:80, 90:110] = True
    before[..., :5, :5] = True
    other = torch.full_like(gan_sr, 7)
    after = make_detector()(other, other)
    images = Comparison(other, gan_sr, other + 1, before, after.mask, None, 5)
    lr = torch.full((1, 3, height // 4, width // 4), 9, dtype=torch.uint8)
    batch = Judged(["a"], lr, images, after, None, make_detector())
    panel = make_panel(batch, torch.zeros(1, 1, height, width), 0, side)

    step = panel.shape[1] // COLUMNS
    caption = panel.shape[0] // 3 - side - (step - side)
    tiles = [
        panel[row * (panel.shape[0] // 3) + caption :, column * step :][:side, :side]
        for row in range(3)
        for column in range(COLUMNS)
    ]
    window = slice(49, 89), slice(79, 119)  # around rows 60 to 79 and columns 90 to 109
    expected = gan_sr[0].permute(1, 2, 0).numpy()[window]
    np.testing.assert_array_equal(tiles[2], expected)
    assert (tiles[0] == 9).all()
    assert (tiles[1] == 7).all()
    pseudo_gt = np.where(before[0, 0].numpy()[window][..., None], 7, expected)
    np.testing.assert_array_equal(tiles[4], pseudo_gt)
    assert (tiles[5] == 8).all()
    outlined = (tiles[3] != expected).any(2)
    assert outlined.any()
    assert not outlined[19:23, 19:23].any()  # the artifact itself stays visible
    assert np.ptp(tiles[7], axis=(0, 1)).max() == 0  # distance 0 everywhere: the brightest colour
    assert tiles[7].min() > tiles[8].max() / 2
    assert not np.array_equal(tiles[7], tiles[8])


def test_small_images_are_shown_whole(root: Path, tmp_path: Path) -> None:
    callbacks = [validation(panels=PicturePanels(tmp_path, 1, side=500))]
    make_trainer(1, callbacks).validate(make_module(), make_data(root), verbose=False)
    (path,) = tmp_path.rglob("*.png")
    assert read_rgb(path).shape[1] // COLUMNS == 80 + 4
