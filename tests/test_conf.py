"""Every option of every group composes, and train.py runs with every one that is its own."""

from __future__ import annotations

import importlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2
import pytest
import torch
from hydra import compose, initialize_config_dir
from hydra.core.hydra_config import HydraConfig
from hydra.utils import get_object, instantiate
from omegaconf import DictConfig, OmegaConf, open_dict

import cli.resolvers  # noqa: F401  registers what the configs use
from cli import failures
from cli.help import CONF, command_groups, groups_of, options
from desra.command import commands
from desra.hggt_labels import Tagging, write_tagging
from desra.images import write_png
from models.discriminators import UNetDiscriminator
from models.generators import RRDBNet, load_generator, write_generator
from tests.conftest import smooth_photo

GROUPS = {command: command_groups(command) for command in commands()}
"""The groups of each entry point, as overrides name them, and their options."""

NESTED = ["degradation@data.degradation"]  # of data=hr_images


def choices() -> Iterator[tuple[str, str]]:
    for command, groups in GROUPS.items():
        for group in groups_of(CONF / f"{command}.yaml"):
            yield from ((command, f"{group}={option}") for option in groups[group])
        for task in groups.get("task", []):
            for group in groups_of(CONF / "task" / f"{task}.yaml"):
                yield from ((command, f"task={task} {group}={name}") for name in groups[group])
    for group in NESTED:
        yield from (("train", f"data=hr_images {group}={name}") for name in options(group, "train"))


def composed(script: str, overrides: list[str], output_dir: Path) -> DictConfig:
    """The configuration as Hydra gives it to ``main``, with what it knows of the run."""
    with initialize_config_dir(str(CONF), version_base=None):
        config = compose(script, [*overrides, f"output_dir={output_dir}"], return_hydra_config=True)
    with open_dict(config):
        config.hydra.runtime.output_dir = str(output_dir)
        config.hydra.mode = "RUN"
        HydraConfig.instance().set_config(config)
        del config.hydra
    return config


def missing(node: Any, path: str = "") -> Iterator[str]:
    if node == "???":
        yield path
    elif isinstance(node, dict):
        for name, child in node.items():
            yield from missing(child, f"{path}.{name}" if path else name)


def targets(node: Any) -> Iterator[str]:
    if isinstance(node, dict):
        if isinstance(node.get("_target_"), str):
            yield node["_target_"]
        node = list(node.values())
    if isinstance(node, list):
        for child in node:
            yield from targets(child)


def test_no_group_is_forgotten() -> None:
    folders = {path.relative_to(CONF).as_posix() for path in CONF.rglob("*") if path.is_dir()}
    named = {group.partition("@")[0] for groups in GROUPS.values() for group in groups}
    assert folders == named | {"hydra"} | {group.partition("@")[0] for group in NESTED}
    assert {path.stem for path in CONF.glob("*.yaml")} == GROUPS.keys()
    tasks = [task for groups in GROUPS.values() for task in groups.get("task", [])]
    assert sorted(tasks) == sorted(path.stem for path in (CONF / "task").glob("*.yaml"))


@pytest.mark.parametrize(("script", "choice"), list(choices()))
def test_every_option_composes_and_names_what_exists(
    script: str, choice: str, tmp_path: Path
) -> None:
    config = composed(script, choice.split(), tmp_path)
    for key in missing(OmegaConf.to_container(config)):  # what the user has to give
        OmegaConf.update(config, key, "given")
    plain = OmegaConf.to_container(config, resolve=True)
    found = list(targets(plain))
    assert found
    for target in found:
        assert callable(get_object(target)), target


# Runs of train.py. What needs a GPU, a download or several processes is run elsewhere:

RUN_ELSEWHERE = {
    "trainer=gpu": None,  # the same as cpu but for the accelerator
    "trainer=ddp": "tests/cli/test_detect.py",
    "hparams_search=optuna": "tests/cli/test_train.py",
    "segmenter=mmseg": "tests/desra/test_segmenters.py",
    "segmenter=labels": "tests/callbacks/test_artifact_detection.py",
    "model=detector": "tests/models/test_detector_training.py",
    "experiment=learn_detector": "tests/models/test_detector_training.py",
    "data=injected_artifacts": "tests/models/test_detector_training.py",
}

RUNS = [
    "model=ldl logger=csv trainer=cpu callbacks=default segmenter=none detector=desra "
    "data=desra_artifacts generator@model.generator=auto hydra=default perceptual=vgg19",
    "model=realesrgan logger=tensorboard generator@model.generator=spandrel trainer=default "
    "segmenter=texture",
    "model=swinir logger=wandb perceptual=l1",
    "model=mse logger=none callbacks=none",
    "model=mse data=paired_images callbacks=plain",
    "model=ldl data=hr_images degradation@data.degradation=realesrgan callbacks=plain "
    "objective=loss/generator",
    "model=mse data=hr_images degradation@data.degradation=one_round callbacks=plain",
    *(
        run
        for name in options("experiment", "train")
        if (run := f"experiment={name}") not in RUN_ELSEWHERE
    ),
    "experiment=pretrain_mse generator@model.generator=swinir",
    "experiment=pretrain_mse generator@model.generator=srvgg",
    "experiment=hggt_psnr model=hggt_rrdb generator_weights=null "
    "generator@model.generator=rrdbnet_ps",
    "experiment=hggt_psnr model=hggt_swinir generator_weights=null "
    "generator@model.generator=swinir_classical",
    "experiment=hggt_gan_positive_negative model=hggt_swinir",
    "experiment=hggt_gan_positive model=hggt_ldl",
    "experiment=hggt_gan_original model=hggt_realesrgan "
    "degradation@data.degradation=hggt_two_stage",
]

TINY_SET = ("data.gt_crop=32", "data.batch_size=2", "data.val_share=0.34")
TINY_CLEAN = (
    *("data.hr_crop=64", "data.gt_crop=32", "data.batch_size=2", "data.pool_size=4"),
    *("data.group_size=2", "data.val_share=0.34", "data.epoch_steps=1"),
)
TINY_NETWORKS = {
    "RRDBNet": ("features=8", "blocks=1", "growth=4"),
    "SRVGGNetCompact": ("features=8", "depth=1"),
    "SwinIR": ("features=8", "embed_dim=8", "depths=[1]", "num_heads=[2]"),
    "RRDBPSNet": ("features=8", "blocks=1", "growth=4"),
    "RCAN": ("features=8", "groups=1", "blocks=1", "squeeze=4"),
    "ELAN": ("features=6", "blocks=1"),
}


@pytest.fixture
def files(tmp_path: Path) -> Path:
    """Three images, as an artifact set and as clean ones, and tiny networks."""
    for index in range(3):
        photo = smooth_photo(index, 96, 96)
        masked = smooth_photo(index, 96, 96)[..., 0] > 128
        small = cv2.resize(photo, None, fx=0.25, fy=0.25, interpolation=cv2.INTER_AREA)
        pictures = {"LR": small, "MSE-SR": photo, "GAN-SR": photo, "DeSRA-Mask": masked}
        for folder, pixels in pictures.items():
            write_png(tmp_path / "set" / folder / f"{index}.png", pixels)
        for version in ("original", "01", "02"):
            write_png(tmp_path / "truths" / version / f"{index}.png", photo)
        labels = Tagging({"01": "Positive", "02": "Negative"})
        write_tagging(tmp_path / "labels" / "A" / f"{index}.json", labels)
    torch.manual_seed(0)
    write_generator(tmp_path / "g.pth", RRDBNet(features=8, blocks=1))  # spandrel knows growth 32
    torch.save({"params": UNetDiscriminator(features=4).state_dict()}, tmp_path / "d.pth")
    return tmp_path


def overrides_of(run: str, files: Path) -> list[str]:
    """A run made tiny: the images, crops, networks and steps, and no downloads."""
    with initialize_config_dir(str(CONF), version_base=None):
        config = compose("train", run.split())
    given = run.split()
    kind = str(config.data._target_).rpartition(".")[2]
    if kind == "PairedImages":
        given += [f"data.hr_root={files}/set/GAN-SR", f"data.lr_root={files}/set/LR", *TINY_SET]
    elif kind == "HGGTSets":
        given += [f"data.root={files}/truths", f"data.labels={files}/labels", *TINY_CLEAN]
    elif kind == "HRImages":
        given += [f"data.root={files}/set/GAN-SR", *TINY_CLEAN]
    else:
        given += [f"data.root={files}/set", *TINY_SET]
        given += ["data.val_list=null"] if config.data.val_list else []  # the sample's
    if "artifact_validation" in config.callbacks:
        given.append("callbacks.artifact_validation.lpips=null")
    if "alignment_check" in config.callbacks:
        given.append("callbacks.alignment_check.least_psnr=null")  # GAN-SR is of another generator
    if config.generator_weights is None:
        kind = str(config.model.generator._target_).rpartition(".")[2]
        given += [f"model.generator.{size}" for size in TINY_NETWORKS[kind]]
    else:
        given.append(f"generator_weights={files}/g.pth")
    if config.discriminator_weights is not None:
        given.append(f"discriminator_weights={files}/d.pth")
    elif config.model.discriminator is not None and config.model.get("discriminator_warmup"):
        given += ["model.discriminator_warmup=1", "model.discriminator.features=4"]
    if config.model.perceptual is not None:
        given.append("model.perceptual=null")
    if "trainer=" not in run:
        given.append("trainer=cpu")
    return [*given, "iterations=1", "validate_every=1", "trainer.log_every_n_steps=1"]


@pytest.mark.parametrize("run", RUNS)
def test_training_runs(run: str, files: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(failures, "_exit_code", 0)
    monkeypatch.setenv("WANDB_MODE", "offline")
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    out = files / "out"
    out.mkdir()
    importlib.import_module("train").main(composed("train", overrides_of(run, files), out))
    assert failures._exit_code == 0
    assert json.loads((out / "summary.json").read_text())["iterations"] == 1
    for path in out.glob("weights/*"):
        assert load_generator(path).scale == (1 if "hggt_enhance" in run else 4)
    assert bool(list(out.glob("weights/*"))) == ("callbacks=none" not in run)
    written = {"csv": "metrics.csv", "tensorboard": "tensorboard", "wandb": "wandb"}
    logger = dict(part.split("=") for part in run.split()).get("logger", "csv")
    assert {name for name in written.values() if (out / name).exists()} == {written.get(logger)} - {
        None
    }


def test_bad_labels_are_a_line_each_and_the_rest_is_trained_on(
    files: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(failures, "_exit_code", 0)
    path = files / "labels" / "A" / "0.json"
    path.write_text(path.read_text().replace('"Positive"', '"Nice"'))
    write_png(files / "truths" / "01" / "1.png", smooth_photo(1, 80, 96))
    out = files / "out"
    out.mkdir()
    run = overrides_of("experiment=hggt_gan_positive_negative logger=none", files)
    importlib.import_module("train").main(composed("train", run, out))
    assert failures._exit_code == failures.SOME_FAILED
    said = capsys.readouterr().err
    listed = said[said.index("left out of the training data (2):") :].splitlines()
    assert [line.startswith("  ") for line in listed[1:3]] == [True, True]
    assert sum("0.json: Picture_2 (01): 'Nice' is no label" in line for line in listed) == 1
    assert sum("1.png: 96x80, but its original has 96x96" in line for line in listed) == 1
    assert list(out.glob("weights/*.pth"))


@pytest.fixture(scope="module")
def chosen() -> set[str]:
    """Every option that one of the runs above takes, by its name or through another config."""
    found = set()
    with initialize_config_dir(str(CONF), version_base=None):
        for run in RUNS:
            config = compose("train", run.split(), return_hydra_config=True)
            found |= {f"{group}={name}" for group, name in config.hydra.runtime.choices.items()}
    return found


@pytest.mark.parametrize("group", [*GROUPS["train"], *NESTED])
def test_no_option_of_training_is_never_run(group: str, chosen: set[str]) -> None:
    folder = group.partition("@")[0]
    parts = set(OmegaConf.load(CONF / "callbacks" / "default.yaml").defaults)
    for option in options(group, "train"):
        if folder == "detector":
            continue  # detectors have runs of their own in tests/cli
        choice = f"{group}={option}"
        if choice in RUN_ELSEWHERE:
            place = RUN_ELSEWHERE[choice]
            assert place is None or option in (CONF.parent / place).read_text()
        elif folder == "callbacks" and option in parts:
            assert "callbacks=default" in chosen
        else:
            assert choice in chosen, choice


def test_the_samples_settings_are_the_samples_alone(tmp_path: Path) -> None:
    own = composed("train", ["model=swinir", "data.root=elsewhere"], tmp_path)
    assert (own.generator_weights, own.discriminator_weights) == ("swinir-m-gan", None)
    assert (own.iterations, own.data.gt_crop, own.detector.min_area) == (1000, 256, 4000)
    with initialize_config_dir(str(CONF), version_base=None):
        overrides = ["model=swinir", "experiment=sample"]
        sample = compose("train", overrides, return_hydra_config=True)
        HydraConfig.instance().set_config(sample)
        files = (sample.data.root, sample.data.val_list, sample.generator_weights)
        assert all(Path(path).exists() for path in files)


def test_l1_in_the_place_of_the_perceptual_term(tmp_path: Path) -> None:
    config = composed("train", ["perceptual=l1", "data.root=elsewhere"], tmp_path)
    assert config.model.perceptual is None
    assert instantiate(config.model.low_frequency).weight == 5.0
