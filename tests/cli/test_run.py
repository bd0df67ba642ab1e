"""From exceptions to lines and exit codes."""

import errno
import json
import os
import signal
import subprocess
import sys
import time
from types import SimpleNamespace

import pytest
import torch
from hydra import compose, initialize_config_dir
from hydra.core.hydra_config import HydraConfig
from hydra.errors import InstantiationException
from hydra.utils import instantiate
from lightning import LightningModule, Trainer
from omegaconf import OmegaConf
from omegaconf.errors import MissingMandatoryValue

from cli import failures, run
from cli.resolvers import better, folder_name
from desra.checkpoints import write_state
from desra.errors import DiskError, InputError
from tests.conftest import ROOT


def raised(call):
    with pytest.raises(Exception) as caught:  # noqa: PT011
        call()
    return caught.value


def test_a_users_mistake_is_found_below_what_hydra_wraps_around_it():
    def wrapped():
        try:
            raise InputError("a.png: is\n  empty")
        except InputError as error:
            raise InstantiationException("Error in call to target") from error

    assert failures.user_message(raised(wrapped)) == "a.png: is empty"


def test_a_missing_value_names_the_override_to_add():
    config = OmegaConf.create({"data": {"root": "???"}})
    error = raised(lambda: config.data.root)
    assert isinstance(error, MissingMandatoryValue)
    assert "data.root=VALUE" in failures.user_message(error)


def test_a_bug_is_not_hidden():
    assert failures.user_message(ZeroDivisionError()) is None


def test_failures_are_listed_once_by_rank_zero_and_set_the_exit_code(monkeypatch, capsys):
    monkeypatch.setattr(failures, "_exit_code", 0)
    monkeypatch.setattr("sys.argv", ["detect.py"])
    failures.report_failures([])
    with pytest.raises(SystemExit, match="0"):
        run.launch(lambda: None)
    monkeypatch.setenv("LOCAL_RANK", "1")
    failures.report_failures(["a.png: damaged"])
    assert capsys.readouterr().err == ""
    monkeypatch.delenv("LOCAL_RANK")
    failures.report_failures(["a.png: damaged"], "images not done")
    assert capsys.readouterr().err == "images not done (1):\n  a.png: damaged\n"
    with pytest.raises(SystemExit, match="1"):
        run.launch(lambda: None)


@pytest.mark.parametrize("override", ["hparams_search=optuna", "+hydra/launcher=joblib"])
def test_a_missing_plugin_is_one_line(override, monkeypatch, capsys):
    monkeypatch.setattr(failures, "_exit_code", 0)
    monkeypatch.setattr(run, "find_spec", lambda name: None)
    monkeypatch.setattr("sys.argv", ["train.py", "-m", "seed=1", override])
    with pytest.raises(SystemExit, match="2"):
        run.launch(lambda: pytest.fail("it has been run"))
    assert capsys.readouterr().err == (
        f"error: {override}: not installed; pip install 'desra[sweeps]'\n"
    )


@pytest.mark.parametrize(
    ("objective", "direction"),
    [
        ("artifact_share/after", "minimize"),
        ("addition_rate", "minimize"),
        ("residual/iou", "minimize"),
        ("lpips/outside", "minimize"),
        ("loss/generator", "minimize"),
        ("removal_rate", "maximize"),
        ("psnr/outside", "maximize"),
        ("detection/f1", "maximize"),
        ("f1", "maximize"),
    ],
)
def test_what_is_better_follows_from_the_figure(objective, direction):
    assert better(objective) == direction


def test_names_of_folders_are_one_folder_and_not_too_long() -> None:
    assert folder_name("data.root=a/b,n=1") == "data.root=a_b,n=1"
    names = [folder_name("x" * 400 + end) for end in "ab"]
    assert len(set(names)) == 2
    assert all(len(name) < 255 for name in names)


@pytest.mark.parametrize(
    ("given", "trained", "expected"),
    [
        ([], "ArtifactDetector", (200, "rougher")),
        (["detector.min_area=4000"], "ArtifactDetector", (4000, "rougher")),
        (["detector.direction=both"], "ArtifactDetector", (200, "both")),
        (["detector=ldl"], "ArtifactDetector", (4000, "both")),
        ([], "LDLDetector", (4000, "both")),
    ],
)
def test_finetuned_weights_are_judged_by_the_settings_of_their_training(
    tmp_path, monkeypatch, given, trained, expected
):
    said = {"name": trained, "threshold": 0.7, "min_area": 200, "direction": "rougher"}
    state = {"a": torch.zeros(1)}
    write_state(tmp_path / "w.pth", {"params": state}, {"detector": json.dumps(said)})
    overrides = SimpleNamespace(overrides=SimpleNamespace(task=given))
    monkeypatch.setattr(HydraConfig, "get", lambda: overrides)
    detector = {"_target_": "desra.detectors.ArtifactDetector", "threshold": 0.7, "min_area": 4000}
    detector["direction"] = "both"
    config = OmegaConf.create({"finetuned": str(tmp_path / "w.pth"), "detector": detector})
    run.detect_as_trained(config)
    assert (config.detector.min_area, config.detector.direction) == expected


def test_a_lost_rank_is_one_line_with_how_to_go_on():
    failures.watch([SimpleNamespace(poll=lambda: None), SimpleNamespace(poll=lambda: -9)])
    error = RuntimeError("[gloo/transport/tcp/pair.cc:554] Connection closed by peer [127.0.0.1]")
    message = failures.user_message(error)
    failures.watch([])
    assert message.startswith("rank 2 was lost (killed by signal 9)")
    assert "ckpt_path=" in message
    assert failures.error_code(error) == failures.SOME_FAILED


RANK = """
import os, subprocess, sys, torch
import torch.distributed as dist
from cli import failures
from cli.run import _usage_error

rank, folder = int(sys.argv[1]), sys.argv[2]
if rank == 0:
    command = [sys.executable, "-c", sys.argv[3], "1", folder, sys.argv[3]]
    child = subprocess.Popen(command, env={**os.environ, "LOCAL_RANK": "1"})
    failures.watch([child])
dist.init_process_group("gloo", init_method=f"file://{folder}/store", rank=rank, world_size=2)
try:
    while True:
        dist.all_reduce(torch.ones(1000))
        if not os.path.exists(f"{folder}/rank{rank}"):
            open(f"{folder}/part{rank}", "w").write(str(os.getpid()))
            os.replace(f"{folder}/part{rank}", f"{folder}/rank{rank}")
except RuntimeError as error:
    message = failures.user_message(error)
    _usage_error(message, failures.error_code(error))
sys.stderr.flush()
os._exit(failures.exit_code())
"""


@pytest.mark.parametrize("victim", [0, 1])
def test_of_two_ranks_the_one_that_is_left_ends_with_a_line(tmp_path, victim):
    with open(tmp_path / "said", "w") as said:
        command = [sys.executable, "-c", RANK, "0", str(tmp_path), RANK]
        first = subprocess.Popen(command, cwd=ROOT, stderr=said, start_new_session=True)
        ids = [tmp_path / f"rank{rank}" for rank in (0, 1)]
        while not all(path.exists() for path in ids):
            assert first.poll() is None, (tmp_path / "said").read_text()
            time.sleep(0.05)
        os.kill(int(ids[victim].read_text()), signal.SIGKILL)
        assert first.wait(timeout=120) == (-signal.SIGKILL if victim == 0 else 1)
    session = first.pid
    for _ in range(1200):
        try:
            os.killpg(session, 0)
        except ProcessLookupError:
            break
        time.sleep(0.1)
    else:
        os.killpg(session, signal.SIGKILL)
        pytest.fail("a process is left behind")
    lines = (tmp_path / "said").read_text().splitlines()
    of = "rank 0 was lost;" if victim == 0 else "rank 1 was lost (killed by signal 9);"
    assert len(lines) == 1, lines
    assert lines[0].startswith(f"error: {of}")
    assert "ckpt_path=" in lines[0]


def test_a_full_disk_and_a_place_that_is_none_are_lines():
    full = OSError(errno.ENOSPC, "No space left on device", "out/a.png")
    assert failures.user_message(full).startswith("out/a.png: No space left on device")
    assert failures.error_code(full) == failures.SOME_FAILED
    limited = OSError(errno.EFBIG, "File too large")  # as Hydra's, without a name
    message = "output_dir: File too large; allow larger files (ulimit -f) and start again"
    assert failures.user_message(limited).startswith(message)
    assert failures.error_code(limited) == failures.SOME_FAILED
    taken = FileExistsError(errno.EEXIST, "File exists", "out")
    assert failures.user_message(taken) == "out: File exists; give another place"
    assert failures.error_code(taken) == failures.USAGE_ERROR
    assert failures.user_message(OSError("something else")) is None
    ended = DiskError("out/b.png", full)
    assert failures.user_message(ended).startswith("out/b.png: No space left on device; make room")
    assert failures.error_code(ended) == failures.SOME_FAILED


def test_no_memory_is_a_line_that_says_what_to_make_smaller():
    with pytest.raises(RuntimeError) as caught:
        torch.empty(1 << 60, dtype=torch.uint8)
    message = failures.user_message(caught.value)
    assert message.startswith("out of memory (")
    assert "data.batch_size=" in message
    assert failures.user_message(RuntimeError("sizes do not match")) is None


def test_one_cause_of_many_images_is_said_once(monkeypatch, capsys):
    monkeypatch.setattr(failures, "_exit_code", 0)
    lines = [f"{i}.png: the network gives NaN" for i in range(32)] + ["a.png: damaged"]
    failures.report_failures(lines, "images not done")
    assert capsys.readouterr().err == (
        "images not done (33):\n"
        "  32 images: the network gives NaN (0.png, 1.png, …)\n"
        "  a.png: damaged\n"
    )


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("detector.treshold=0.5", "no such setting; did you mean detector.threshold"),
        ("detector=dessra", "no such option; did you mean desra"),
        ("trainer.num_nodes=2", "no setting of this command as it is given, but of trainer=ddp"),
        ("quality=3", "no setting of this command as it is given, but of upscale.py"),
        ("task=masks", "no choice of this command"),
        ("iteratons=3", "no such setting; did you mean iterations"),
        ("objective=a(", "not understood; quote the value"),
        ("foo", "not understood; give settings as NAME=VALUE"),
    ],
)
def test_typing_errors_are_one_line_with_the_nearest_names(override, message):
    with initialize_config_dir(str(ROOT / "conf"), version_base=None):
        error = raised(lambda: compose("train", overrides=["data.root=x", override]))
    line = failures.hydra_message(error, ROOT / "conf", [override])
    assert message in line
    assert "\n" not in line


@pytest.mark.parametrize(
    "settings",
    [{"accelerator": "tpu"}, {"devices": "abc"}, {"strategy": "x"}, {"precision": "x"}, {"x": 1}],
)
def test_what_the_trainer_refuses_is_one_line(settings):
    config = OmegaConf.create(
        {"trainer": {"_target_": "lightning.Trainer", "accelerator": "cpu", **settings}}
    )
    error = raised(lambda: instantiate(config.trainer))
    line = failures.user_message(error)
    assert line.startswith("trainer: ")
    assert next(iter(settings)) in line or "torch_xla" in line
    assert "\n" not in line
    assert failures.error_code(error) == failures.USAGE_ERROR


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
@pytest.mark.parametrize("stage", ["validate", "predict"])
def test_a_signal_ends_what_lightning_runs_after_the_image_and_with_its_number(
    number, stage, capsys
):
    seen = []

    class Task(LightningModule):
        def predict_step(self, batch, place):
            seen.append(place)
            os.kill(os.getpid(), number)

        validation_step = predict_step

    quiet = dict.fromkeys(("enable_progress_bar", "enable_model_summary", "logger"), False)
    before = signal.getsignal(number)
    data = torch.utils.data.DataLoader(torch.zeros(9, 1))
    with pytest.raises(SystemExit) as ended, failures.stoppable():
        getattr(Trainer(accelerator="cpu", **quiet), stage)(Task(), data)
    assert ended.value.code == 128 + number
    assert seen == [0]
    assert f"signal {number:d}: stopped; start again" in capsys.readouterr().err
    assert signal.getsignal(number) == before
