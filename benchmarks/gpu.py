"""All that needs a GPU, in one command: tests marked ``cuda`` and the GPU part of every benchmark.

    python -m benchmarks.gpu [--ldl LDL_DIR] [--basicsr BASICSR_DIR] [--only tests detection ...]

Takes less than nine minutes on one GPU and prints one table with the card's name, what each part
found, its goal, and what missed it; the exit code is then 1. Nothing is downloaded. Needed besides
torch, torchvision, lightning, torchmetrics, timm, OpenCV, SciPy and Numba: hydra-core, numpy,
pillow, pooch, pytest, pytest-timeout, rich, safetensors, scikit-image, spandrel, tifffile (all in
constraints.txt). With ``--ldl`` a step of finetuning runs beside LDL's own (csjliang/LDL), with
``--basicsr`` the degradations beside BasicSR's (XPixelGroup/BasicSR); without, ours alone.
"""

from __future__ import annotations

import argparse
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from rich.console import Console
from rich.table import Table

ROOT = Path(__file__).resolve().parents[1]
RATIO = re.compile(r"(\d+(?:\.\d+)?) ?[x×]")


@dataclass(frozen=True)
class Part:
    """One thing to run.

    Attributes:
        command: arguments of Python.
        limit: seconds it may take; together less than nine minutes.
        goal: ratio beside the peer that every line must reach; None: only that it ends well.
        found: what to show of its output.
    """

    command: Sequence[str]
    limit: int
    goal: float | None = None
    found: Callable[[str], list[str]] = lambda text: text.strip().splitlines()[-1:]


def ratios(text: str) -> list[str]:
    """The lines of a benchmark that name a ratio.

    >>> ratios("ours 3 ms\\nplain / ours | 12x")
    ['plain / ours | 12x']
    """
    plain = (re.sub(r"[│┃|]+", "|", line).strip(" |") for line in text.splitlines())
    return [" ".join(line.split()) for line in plain if RATIO.search(line)]


def parts(ldl: Path | None, basicsr: Path | None, folder: Path) -> dict[str, Part]:
    """What is run, by name.

    Args:
        ldl: checkout of LDL, or None.
        basicsr: checkout of BasicSR, or None.
        folder: for what the runs write.
    """
    on_gpu = ("--device", "cuda")
    beside_ldl = ("--release", str(ldl)) if ldl else ()
    beside_basicsr = ("--release", str(basicsr)) if basicsr else ()
    found = {
        "tests": Part(["-m", "pytest", "-q", "-m", "cuda", "tests"], 120),
        "detection": Part(["benchmarks/detection.py", "--parts", "gpu"], 60, 10.0, ratios),
        "upscaling": Part(
            ["benchmarks/generators.py", *on_gpu, "--precision", "fp16", "--size", "256"],
            100,
            1.0,
            ratios,
        ),
        "finetuning": Part(
            ["benchmarks/finetuning.py", *on_gpu, "--precision", "bf16-mixed", *beside_ldl],
            100,
            1.0 if ldl else None,
            ratios if ldl else lambda text: [x for x in text.splitlines() if "s a step" in x],
        ),
        "mask update": Part(
            ["benchmarks/mask_update.py", *on_gpu, "--precision", "bf16-mixed"], 60
        ),
        "ddp on one device": Part(
            [
                *("train.py", "experiment=sample", "trainer=ddp", "trainer.accelerator=gpu"),
                *("trainer.devices=1", "iterations=4", "validate_every=2"),
                *("callbacks.artifact_validation.lpips=null", f"output_dir={folder / 'ddp'}"),
            ],
            60,
            found=lambda text: [x.strip() for x in text.splitlines() if "result: " in x],
        ),
    }
    if basicsr:
        command = ["benchmarks/degradations.py", *on_gpu, *beside_basicsr]
        found["degradations"] = Part(command, 30, 1.0, ratios)
    return found


def run(part: Part) -> tuple[list[str], str, float]:
    """Run a part.

    Returns:
        what it found, what is wrong with it ("" if nothing), and seconds.
    """
    start = time.perf_counter()
    try:
        done = subprocess.run(
            [sys.executable, *part.command],
            cwd=ROOT,
            capture_output=True,
            text=True,
            timeout=part.limit,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return [], f"took longer than {part.limit} s", float(part.limit)
    seconds = time.perf_counter() - start
    text = done.stdout + done.stderr
    if done.returncode:
        return text.strip().splitlines()[-3:], f"exit code {done.returncode}", seconds
    found = part.found(text)
    below = [
        line
        for line in found
        if part.goal is not None and min(map(float, RATIO.findall(line))) < part.goal
    ]
    missing = "" if found else "printed nothing that could be read"
    return found, f"below {part.goal:g}x: {'; '.join(below)}" if below else missing, seconds


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the parts and print the table; 0 all well, 1 something missed its goal, 2 no GPU."""
    description = (__doc__ or "").split("\n")[0]
    parser = argparse.ArgumentParser(prog="python -m benchmarks.gpu", description=description)
    parser.add_argument("--ldl", type=Path, help="checkout of csjliang/LDL")
    parser.add_argument("--basicsr", type=Path, help="checkout of XPixelGroup/BasicSR")
    parser.add_argument("--only", nargs="+", help="names of parts")
    given = parser.parse_args(arguments)
    if not torch.cuda.is_available():
        print("error: no GPU here that this torch can use", file=sys.stderr)
        return 2
    name = torch.cuda.get_device_name()
    table = Table(
        "", "found", "goal", "missed", "seconds", title=f"{name}, torch {torch.__version__}"
    )
    missed = False
    with tempfile.TemporaryDirectory() as folder:
        for title, part in parts(given.ldl, given.basicsr, Path(folder)).items():
            if given.only and title not in given.only:
                continue
            found, wrong, seconds = run(part)
            goal = "" if part.goal is None else f"{part.goal:g}x"
            table.add_row(title, "\n".join(found), goal, wrong, f"{seconds:.0f}")
            missed |= bool(wrong)
            print(f"{title}: {wrong or 'well'}, {seconds:.0f} s", file=sys.stderr, flush=True)
    Console().print(table)
    return int(missed)


if __name__ == "__main__":
    sys.exit(main())
