"""train.py as users run it, and every configuration of it."""

from __future__ import annotations

import csv
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from hydra import compose, initialize_config_dir
from omegaconf import OmegaConf

from cli.help import options
from models.discriminators import UNetDiscriminator
from models.generators import RRDBNet, load_generator, write_generator

ROOT = Path(__file__).parents[2]
LDL = ("ldl", "hggt_ldl")
"""Models with LDL's losses."""


@pytest.fixture
def arguments(make_pairs: Callable[..., Path], tmp_path: Path) -> list[str]:
    """Six images with masks, tiny networks, and few steps."""
    pairs = make_pairs(6)
    (pairs / "GT-Mask").rename(pairs / "DeSRA-Mask")
    torch.manual_seed(0)
    write_generator(tmp_path / "g.pth", RRDBNet(features=8, blocks=1, growth=4))
    torch.save({"params": UNetDiscriminator(features=4).state_dict()}, tmp_path / "d.pth")
    return [
        f"data.root={pairs}",
        "data.gt_crop=32",
        "data.batch_size=2",
        f"generator_weights={tmp_path}/g.pth",
        f"discriminator_weights={tmp_path}/d.pth",
        "model.perceptual=null",
        "callbacks.artifact_validation.lpips=null",
        "callbacks.alignment_check.least_psnr=null",  # GAN-SR is of another generator
        "trainer=cpu",
        f"output_dir={tmp_path}/out",
    ]


def test_a_run_leaves_weights_metrics_and_its_configuration(
    arguments: list[str], run_script: Callable[..., subprocess.CompletedProcess], tmp_path: Path
) -> None:
    run = run_script(
        "train.py", *arguments, "iterations=3", "validate_every=2", "trainer.log_every_n_steps=1"
    )
    assert run.returncode == 0, run.stderr
    assert "Traceback" not in run.stderr
    out = tmp_path / "out"
    assert (out / "curves.png").stat().st_size > 10000
    rows = read_rows(out / "metrics.csv")
    assert [row["loss/artifact"] != "" for row in rows].count(True) == 3
    before = load_generator(tmp_path / "g.pth")
    after = load_generator(out / "checkpoints" / "last.ckpt")  # the averaged weights
    moved = after.conv_first.weight - before.conv_first.weight
    assert 0 < moved.abs().max() < 1e-4
    assert "window_size: 7" in (out / ".hydra" / "config.yaml").read_text()
    assert "learning_rate: 0.0001" in (out / "hparams.yaml").read_text()


def read_rows(table: Path) -> list[dict[str, str]]:
    with open(table, newline="") as file:
        return list(csv.DictReader(file))


def test_a_stopped_run_goes_on(
    arguments: list[str], run_script: Callable[..., subprocess.CompletedProcess], tmp_path: Path
) -> None:
    last = tmp_path / "out" / "checkpoints" / "last.ckpt"
    command = [sys.executable, str(ROOT / "train.py"), *arguments, "iterations=100000"]
    process = subprocess.Popen(
        [*command, "callbacks.last_checkpoint.every=2"],
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        while not last.exists() and process.poll() is None:
            time.sleep(0.1)
        process.send_signal(signal.SIGTERM)
        said, errors = process.communicate(timeout=60)
    finally:
        process.kill()
    assert process.returncode == 128 + signal.SIGTERM, errors
    assert f"ckpt_path={last}" in said.replace("\n", "")
    steps = torch.load(last, weights_only=True)["global_step"]
    curves = tmp_path / "out" / "metrics.csv"
    before = [row["step"] for row in read_rows(curves) if int(row["step"]) < steps]
    run = run_script(
        *("train.py", *arguments, f"iterations={steps + 2}", f"ckpt_path={last}"),
        "trainer.log_every_n_steps=1",
    )
    assert run.returncode == 0, run.stderr
    assert torch.load(last, weights_only=True)["global_step"] == steps + 2
    after = [row["step"] for row in read_rows(curves)]
    assert before
    assert after[: len(before)] == before
    assert [int(step) for step in after[len(before) :]][-1] == steps + 2


def test_a_search_improves_the_objective_and_ends_with_one_table(
    arguments: list[str], run_script: Callable[..., subprocess.CompletedProcess], tmp_path: Path
) -> None:
    run = run_script(
        *("train.py", "-m", *arguments, "hparams_search=optuna", "hydra.sweeper.n_trials=2"),
        *("iterations=1", "objective=psnr/outside", "data.val_share=0.4"),
        *("model.ema_decay=choice(0.5,0.9)", "detector.min_area=500"),
    )
    assert run.returncode == 0, run.stderr
    assert "Traceback" not in run.stderr
    out = tmp_path / "out"
    rows = read_rows(out / "sweep.csv")
    figures = [float(row["psnr/outside"]) for row in rows]
    assert len(figures) == 2
    assert figures == sorted(figures, reverse=True)
    for row in rows:
        assert 2e-5 <= float(row["model.learning_rate"]) <= 4e-4
        assert 0.02 <= float(row["model.adversarial.weight"]) <= 0.3
    found = OmegaConf.load(out / "optimization_results.yaml")
    assert found.best_value == pytest.approx(figures[0])  # PSNR is maximised
    best = found.best_params["model.learning_rate"]
    assert best == pytest.approx(float(rows[0]["model.learning_rate"]))
    assert found.best_params["model.ema_decay"] in (0.5, 0.9)


def test_wrong_use_is_one_line(
    arguments: list[str], run_script: Callable[..., subprocess.CompletedProcess], tmp_path: Path
) -> None:
    (tmp_path / "g.pth").write_bytes(b"<html>not found</html>")
    run = run_script("train.py", *arguments)
    assert run.returncode == 2
    (error,) = run.stderr.strip().splitlines()  # before the table of the data
    assert error == f"error: {tmp_path}/g.pth: a web page; fetch or write it again"


@pytest.mark.parametrize("model", sorted({*options("model", "train")} - {"detector"}))
def test_models_compose_and_build(model: str, arguments: list[str], tmp_path: Path) -> None:
    from hydra.utils import instantiate

    with initialize_config_dir(str(ROOT / "conf"), version_base=None):
        config = compose("train", [f"model={model}", *arguments])
    module = instantiate(config.model)
    assert module.generator.conv_first.weight.shape[0] == 8
    assert (module.artifact is not None) == (model in LDL)
    assert (module.discriminator is None) == (model == "mse")
    assert module.pixel.weight == (0.01 if model in LDL else 1.0)


@pytest.mark.parametrize(
    "experiment", sorted({*options("experiment", "train")} - {"learn_detector"})
)
def test_experiments_compose(experiment: str) -> None:
    with initialize_config_dir(str(ROOT / "conf"), version_base=None):
        config = compose("train", [f"experiment={experiment}", "data.root=somewhere"])
    assert config.model._target_ == "models.finetuner.GANFinetuner"
    assert config.trainer.max_steps == config.iterations
