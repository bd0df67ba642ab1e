"""Killed commands: nothing half-written, no process left behind, and nothing lost.

    python -m benchmarks.kills [--kills 200] [--seed 0] [--commands detect,upscale,…]

Each command runs on the shipped sample in a process of its own, is ended by SIGKILL at a random
moment, and started again, until it comes to its end. After each kill every file at its place must
be whole, and no process of the run may be alive; at the end the results must be those of a run that
nobody disturbed. Processes are forked from one that has everything imported, so that the moments
fall into the work and not into the imports. Prints a table; the exit code is 1 for any finding.
"""

from __future__ import annotations

import argparse
import csv
import json
import os
import random
import runpy
import shutil
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from desra.checkpoints import read_checkpoint
from desra.images import read_image
from desra.leftovers import TEMPORARY_PREFIX

ROOT = Path(__file__).resolve().parents[1]
WEIGHTS = ROOT / "samples" / "weights" / "realesr-animevideov3-x4_mse.pth"
SET = ROOT / "samples" / "artifacts"
ENDS_AFTER = 120.0  # seconds within which the processes of a killed run must be gone
OF_THE_CLOCK = ("seconds", "detector_seconds", "masks/seconds", "masks/share_of_epoch")


@dataclass(frozen=True)
class Command:
    """A command, and which of its files must be the same however often it was stopped."""

    script: str
    arguments: tuple[str, ...]
    results: tuple[str, ...]

    def line(self, out: Path) -> list[str]:
        """Its arguments; train.py goes on from a checkpoint where there is one."""
        more = []
        checkpoint = out / "checkpoints" / "last.ckpt"
        if self.script == "train.py" and checkpoint.is_file():
            more = [f"ckpt_path={checkpoint}"]
        return [*self.arguments, f"output_dir={out}", *more]


COMMANDS = {
    "detect": Command(
        "detect.py",
        (f"mse_root={SET / 'MSE-SR'}", f"gan_root={SET / 'GAN-SR'}", "detector.min_area=200"),
        ("DeSRA-Mask/**/*.png", "artifacts.csv", "summary.json", "page/images/**/*"),
    ),
    "upscale": Command(
        "upscale.py",
        (f"input={SET / 'LR'}", f"weights={WEIGHTS}"),
        ("*.png", "upscaled.csv"),
    ),
    "evaluate": Command(
        "evaluate.py",
        (f"pred_root={SET / 'DeSRA-Mask'}", f"gt_root={SET / 'GT-Mask'}"),
        ("metrics.json", "per_image.csv", "page/outlines/**/*"),
    ),
    "train": Command(
        "train.py",
        (
            *("experiment=sample", "iterations=6", "validate_every=3", "data.batch_size=2"),
            *("data.gt_crop=48", "callbacks.last_checkpoint.every=1", "logger=csv"),
        ),
        ("weights/*.pth", "summary.json", "per_image.csv", "metrics.csv"),
    ),
    "export": Command(
        "export.py",
        (f"weights={WEIGHTS}", "format=safetensors", "images=1", "size=64"),
        ("*.safetensors",),
    ),
}


def start(command: Command, out: Path) -> int:
    """Fork a process that runs the command in a session of its own; its id."""
    child = os.fork()
    if child:
        return child
    os.setsid()
    log = os.open(out.with_suffix(".log"), os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    os.dup2(log, 1)
    os.dup2(log, 2)
    code = 1
    try:
        sys.argv = [str(ROOT / command.script), *command.line(out)]
        runpy.run_path(sys.argv[0], run_name="__main__")
    except SystemExit as end:
        code = int(end.code or 0)
    except BaseException:
        import traceback

        traceback.print_exc()
    os._exit(code)


def exit_code(child: int) -> int:
    """Of a process, when it has ended; minus the signal's number if one ended it."""
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def has_ended(child: int) -> bool:
    """Whether a process has come to its end; `exit_code` still says how."""
    return os.waitid(os.P_PID, child, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None


def is_left(session: int) -> bool:
    """Whether a process of a session is still there, zombies aside."""
    for status in Path("/proc").glob("[0-9]*/stat"):
        try:
            state, _, _, of_session = status.read_text().rpartition(")")[2].split()[:4]
        except (OSError, ValueError):
            continue
        if int(of_session) == session and state != "Z":
            return True
    return False


def damaged(out: Path, counts: Counter[str]) -> list[str]:
    """Files at their places that are not whole; how many were read is added to the counts."""
    wrong = []
    for path in sorted(out.rglob("*")):
        own = path.name.startswith(TEMPORARY_PREFIX) or ".hydra" in path.parts
        if not path.is_file() or own or path.suffix not in _CHECKS:
            continue
        counts["files read"] += 1
        try:
            _CHECKS[path.suffix](path)
        except Exception as error:
            wrong.append(f"{path.relative_to(out)}: {error}")
    return wrong


_CHECKS: dict[str, Callable[[Path], Any]] = {
    ".png": read_image,
    ".jpg": read_image,
    ".json": lambda path: json.loads(path.read_text()),
    ".csv": lambda path: list(csv.reader(path.open())),
    ".pth": read_checkpoint,
    ".ckpt": read_checkpoint,
    ".safetensors": read_checkpoint,
}


def results(command: Command, out: Path) -> dict[str, Any]:
    """What must be the same: pictures by their bytes, tables and metrics without seconds."""
    found: dict[str, Any] = {}
    for pattern in command.results:
        for path in sorted(out.glob(pattern)):
            if path.is_file():
                found[path.relative_to(out).as_posix()] = _content(path)
    return found


def _content(path: Path) -> Any:
    if path.suffix == ".csv":
        rows = list(csv.DictReader(path.open()))
        return [{k: v for k, v in row.items() if k not in OF_THE_CLOCK} for row in rows]
    if path.suffix == ".json":
        record = json.loads(path.read_text())
        return {k: v for k, v in record.items() if "seconds" not in k}
    if path.suffix in (".pth", ".safetensors"):
        state = read_checkpoint(path).states()[0].tensors
        return {key: tensor.numpy().tobytes() for key, tensor in state.items()}
    return path.read_bytes()


def disturb(
    command: Command, kills: int, folder: Path, rng: random.Random, counts: Counter[str]
) -> list[str]:
    """Kill a command so many times; the findings, one line each, and counts of what was seen."""
    whole = folder / "undisturbed"
    began = time.monotonic()
    if code := exit_code(start(command, whole)):
        return [f"exits with {code} when nobody disturbs it; see {whole.with_suffix('.log')}"]
    usual = time.monotonic() - began
    expected = results(command, whole)
    findings, done, runs = [], 0, 0
    while done < kills:
        out = folder / f"run{runs}"
        runs += 1
        for _ in range(rng.randint(1, 4)):
            child, began = start(command, out), time.monotonic()
            moment = rng.uniform(0.05, usual)
            while time.monotonic() < began + moment and not has_ended(child):
                time.sleep(0.02)
            os.kill(child, signal.SIGKILL)
            if exit_code(child) == 0:
                usual = min(usual, time.monotonic() - began)
                break  # it was faster
            done += 1
            deadline = time.monotonic() + ENDS_AFTER
            while is_left(child) and time.monotonic() < deadline:
                time.sleep(0.05)
            if is_left(child):
                findings.append(f"{out.name}: a process is left behind")
            findings += [f"{out.name}: {line}" for line in damaged(out, counts)]
        if code := exit_code(start(command, out)):
            findings.append(f"{out.name}: exits with {code} when started again")
            continue
        got = results(command, out)
        other = [
            name for name in expected.keys() | got.keys() if expected.get(name) != got.get(name)
        ]
        findings += [f"{out.name}: {name} is not that of the undisturbed run" for name in other]
        left = out.rglob(f"{TEMPORARY_PREFIX}*")
        findings += [f"{out.name}: {path.name} is left over" for path in left]
        counts["runs resumed"] += 1
        counts["of them equal to the undisturbed"] += not other
        shutil.rmtree(out)
        print(f"{command.script}: {done} kills in {runs} runs", *findings, sep="\n  ", flush=True)
    return findings


def main() -> None:
    parser = argparse.ArgumentParser(description="Killed commands lose nothing.")
    parser.add_argument("--kills", type=int, default=200)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--commands", default=",".join(COMMANDS))
    given = parser.parse_args()
    torch.set_num_threads(1)
    _import_all()
    names = given.commands.split(",")
    findings: list[str] = []
    counts: Counter[str] = Counter()
    with tempfile.TemporaryDirectory() as folder:
        for place, name in enumerate(names):
            share = given.kills // len(names) + (place < given.kills % len(names))
            work = Path(folder, name)
            work.mkdir()
            rng = random.Random(given.seed * 1000 + place)
            found = disturb(COMMANDS[name], share, work, rng, counts)
            findings += [f"{name}: {line}" for line in found]
    print(*(f"{count} {what}" for what, count in counts.items()), sep=", ")
    print(f"{given.kills} kills, {len(findings)} findings", *findings, sep="\n")
    sys.exit(bool(findings))


def _import_all() -> None:
    """What the commands import, before the first fork."""
    import hydra  # noqa: F401
    import lightning  # noqa: F401
    import matplotlib.figure  # noqa: F401

    import tasks.detect
    import tasks.masks
    import tasks.upscale  # noqa: F401


if __name__ == "__main__":
    main()
