"""Runs that go on with other settings, and runs that were stopped after their last step."""

import json
import shutil

import pytest
import torch
from omegaconf import OmegaConf

from cli.resuming import ResumableRun, flat_settings, start_of
from desra.checkpoints import read_checkpoint
from desra.errors import InputError

SETTINGS = {
    "iterations": 10,
    "seed": 0,
    "output_dir": "a",
    "model": {"learning_rate": 1e-4, "pixel": {"weight": 1.0}, "generator_weights": "x/g.pth"},
    "data": {"batch_size": 4, "root": "set", "num_workers": 2},
    "callbacks": {"artifact_detection": {"mode": "union"}, "panels": {"count": 4}},
}


def config(**changes):
    return OmegaConf.merge(
        SETTINGS, OmegaConf.from_dotlist([f"{k}={v}" for k, v in changes.items()])
    )


def earlier():
    return {"settings": json.dumps(flat_settings(config())), "figures": {"loss/generator": 0.5}}


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"iterations": 20, "output_dir": "b", "data.num_workers": 0, "callbacks.panels.count": 9},
        {"model.generator_weights": "elsewhere/g.pth", "data.root": "./set"},
    ],
)
def test_what_is_of_this_run_alone_passes_unsaid(changes, caplog):
    run = ResumableRun(config(**changes), earlier())
    assert run.figures == {"loss/generator": 0.5}
    assert not caplog.records


@pytest.mark.parametrize(
    "changes",
    [
        {"model.learning_rate": 2e-4},
        {"model.pixel.weight": 0.1},
        {"data.root": "other"},
        {"callbacks.artifact_detection.mode": "replace"},
    ],
)
def test_what_takes_effect_is_said(changes, caplog):
    ResumableRun(config(**changes), earlier())
    ((name, value),) = changes.items()
    assert f"{name}=" in caplog.text
    assert f"(now {value})" in caplog.text


@pytest.mark.parametrize(
    "changes", [{"data.batch_size": 8}, {"seed": 1}, {"model.generator_weights": "y/h.pth"}]
)
def test_what_the_checkpoint_has_decided_is_refused(changes):
    with pytest.raises(InputError, match=rf"{next(iter(changes))}=.*\(now "):
        ResumableRun(config(**changes), earlier())


def test_weights_are_no_checkpoint(tmp_path):
    torch.save({"params": {"a": torch.zeros(1)}}, tmp_path / "w.pth")
    with pytest.raises(InputError, match="weights, no checkpoint of training"):
        start_of(str(tmp_path / "w.pth"))
    assert start_of(None) is None


@pytest.mark.slow
def test_a_run_stopped_after_its_last_step_is_finished_and_a_new_rate_is_in_force(
    tmp_path, run_script
):
    common = ["experiment=sample", "iterations=2", "validate_every=2", "data.batch_size=2"]
    out = tmp_path / "out"
    whole = run_script("train.py", *common, f"output_dir={out}")
    assert whole.returncode == 0, whole.stderr
    left = {path.name: read_checkpoint(path) for path in (out / "weights").iterdir()}
    tensors = {name: weights.states()[0].tensors for name, weights in left.items()}
    tensors = {name: {k: t.clone() for k, t in state.items()} for name, state in tensors.items()}
    summary = (out / "summary.json").read_text()
    shutil.rmtree(out / "weights")
    shutil.rmtree(out / "page")
    for name in ("summary.json", "index.html", "per_image.csv"):
        (out / name).unlink()
    checkpoint = out / "checkpoints" / "last.ckpt"
    again = run_script("train.py", *common, f"output_dir={out}", f"ckpt_path={checkpoint}")
    assert again.returncode == 0, again.stderr
    assert (out / "summary.json").read_text() == summary
    assert (out / "index.html").is_file()
    for name, state in tensors.items():
        found = read_checkpoint(out / "weights" / name)
        assert found.metadata == left[name].metadata
        assert all(torch.equal(t, state[k]) for k, t in found.states()[0].tensors.items())
    further = run_script(
        *("train.py", *common[:1], "iterations=3", *common[2:], f"output_dir={out}"),
        *(f"ckpt_path={checkpoint}", "model.learning_rate=3e-5"),
    )
    assert further.returncode == 0, further.stderr
    assert "model.learning_rate=0.0001 (now 3e-05)" in further.stderr + further.stdout
    saved = torch.load(checkpoint, weights_only=False)
    assert saved["optimizer_states"][0]["param_groups"][0]["lr"] == pytest.approx(3e-5)
