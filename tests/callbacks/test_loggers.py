"""The curves of a run that is stopped and goes on; W&B without a key."""

from __future__ import annotations

import csv
import os
import subprocess
import sys
import warnings
from pathlib import Path

import pytest

from callbacks.loggers import CurveLogger

ROOT = Path(__file__).parents[2]


def rows_of(folder: Path) -> list[dict[str, str]]:
    with open(folder / "metrics.csv", newline="") as file:
        return [{name: text for name, text in row.items() if text} for row in csv.DictReader(file)]


def logged(folder: Path, *steps: int, continues: str | None = None, **settings: float) -> None:
    logger = CurveLogger(folder, continues)
    logger.log_hyperparams({"rate": 1.0})
    for step in steps:
        logger.log_metrics({"loss": step / 4, **settings}, step)


def test_rows_up_to_the_checkpoint_are_kept_and_later_ones_replaced(tmp_path: Path) -> None:
    logged(tmp_path, 0, 9, 19, 29)  # killed; the last checkpoint is of step 15
    logged(tmp_path, 19, 29, 39, continues="last.ckpt", speed=2.0)
    rows = rows_of(tmp_path)
    assert [row["step"] for row in rows] == ["0", "9", "19", "29", "39"]
    assert ["speed" in row for row in rows] == [False, False, True, True, True]
    assert [float(row["loss"]) for row in rows] == [0, 2.25, 4.75, 7.25, 9.75]


def test_of_one_step_the_rows_that_come_before_are_kept(tmp_path: Path) -> None:
    """The checkpoint of a step is older than its validation, which a resumed run leaves out."""
    earlier = CurveLogger(tmp_path)
    for name, step in (("psnr", 0), ("loss", 9), ("psnr", 10), ("masks", 10), ("loss", 10)):
        earlier.log_metrics({name: 1.0, "epoch": 0}, step)
    resumed = CurveLogger(tmp_path, "last.ckpt")
    for name in ("masks", "loss"):
        resumed.log_metrics({name: 2.0, "epoch": 0}, 10)
    rows = rows_of(tmp_path)
    assert [row.keys() & {"psnr", "loss", "masks"} for row in rows] == [
        *({"psnr"}, {"loss"}, {"psnr"}, {"masks"}, {"loss"})
    ]
    assert (rows[2]["psnr"], rows[3]["masks"]) == ("1.0", "2.0")


def test_rows_of_before_the_checkpoint_stay_though_a_new_one_is_of_their_step(
    tmp_path: Path,
) -> None:
    """A finished run that is started again validates its result again."""
    logged(tmp_path, 0, 9, 9)
    resumed = CurveLogger(tmp_path, "last.ckpt")
    resumed.certain = 2
    resumed.log_metrics({"loss": 7.0}, 9)
    assert [row["loss"] for row in rows_of(tmp_path)] == ["0.0", "2.25", "7.0"]
    assert resumed.rows == 3


def test_a_kill_while_a_new_column_is_written_loses_no_row(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    logger = CurveLogger(tmp_path)
    logger.log_metrics({"loss": 1.0}, 0)

    def killed(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(csv.DictWriter, "writerows", killed)
    with pytest.raises(KeyboardInterrupt):
        logger.log_metrics({"psnr": 1.0}, 1)
    assert rows_of(tmp_path) == [{"loss": "1.0", "step": "0"}]
    with pytest.raises(KeyboardInterrupt):
        logged(tmp_path, 1, continues="last.ckpt")
    assert rows_of(tmp_path) == [{"loss": "1.0", "step": "0"}]


def test_nothing_is_lost_before_the_first_row_of_the_run_that_goes_on(tmp_path: Path) -> None:
    logged(tmp_path, 0, 9)
    logged(tmp_path, continues="last.ckpt")
    assert [row["step"] for row in rows_of(tmp_path)] == ["0", "9"]


def test_a_row_is_there_as_soon_as_it_is_logged(tmp_path: Path) -> None:
    logger = CurveLogger(tmp_path)
    logger.log_metrics({"loss": 0.5}, 3)
    assert rows_of(tmp_path) == [{"loss": "0.5", "step": "3"}]


def test_a_row_cut_off_by_a_kill_is_left_out(tmp_path: Path) -> None:
    (tmp_path / "metrics.csv").write_text("loss,step\n0.5,0\n0.25,9\n0.1,1")
    logged(tmp_path, 19, continues="last.ckpt")
    assert [row["step"] for row in rows_of(tmp_path)] == ["0", "9", "19"]


def test_a_new_run_begins_anew_and_does_not_warn_of_the_folder_that_is_its_own(
    tmp_path: Path,
) -> None:
    logged(tmp_path, 0, 9)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        logged(tmp_path, 4)
    assert [row["step"] for row in rows_of(tmp_path)] == ["4"]


def test_without_a_key_and_without_variables_wandb_writes_offline(tmp_path: Path) -> None:
    environment = {name: value for name, value in os.environ.items() if "WANDB" not in name}
    program = (
        "from callbacks.loggers import wandb_logger\n"
        "logger = wandb_logger('out', project='desra')\n"
        "logger.log_metrics({'loss': 1.0}, 1)\n"
        "logger.experiment.finish()\n"
    )
    run = subprocess.run(
        [sys.executable, "-c", program],
        cwd=tmp_path,
        env={**environment, "HOME": str(tmp_path), "PYTHONPATH": str(ROOT)},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
    )
    assert run.returncode == 0, run.stderr
    (folder,) = (tmp_path / "out" / "wandb").glob("offline-run-*")
    assert list(folder.glob("*.wandb"))
