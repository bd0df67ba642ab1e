"""Makes the sample again: photos, networks, artifact set. See README.md beside this file.

python -m samples.make WORK_DIR [--output-dir samples] [--methods ldl realesrgan]
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from pathlib import Path

from desra.checkpoints import read_checkpoint, write_state
from desra.errors import InputError
from samples.artifact_set import MIN_AREA, write_candidates, write_set
from samples.photos import collect_photos

ROOT = Path(__file__).resolve().parents[1]
MAIN_METHOD = "ldl"
"""The method whose GAN-SR is in the artifact set."""


def run_command(script: str, *overrides: str) -> None:
    """Run one of the project's commands, as a user would.

    Raises:
        InputError: it failed; it has said why.
    """
    command = [sys.executable, str(ROOT / script), *overrides]
    print("$ python", script, *overrides, flush=True)
    if subprocess.run(command, cwd=ROOT).returncode:
        raise InputError(f"{script} failed; see above")


def ship_generator(source: Path, target: Path) -> None:
    """Write the averaged weights of a run in half precision, which takes half the room."""
    state = read_checkpoint(source).states("params_ema")[0].tensors
    half = {name: tensor.half() for name, tensor in state.items()}
    write_state(target, {"params_ema": half})


def ship_discriminator(checkpoint: Path, target: Path) -> None:
    """Write the discriminator of a run's checkpoint in half precision."""
    state = read_checkpoint(checkpoint).states("discriminator")[0].tensors
    write_state(target, {"params": {name: tensor.half() for name, tensor in state.items()}})


def make(work_dir: Path, output_dir: Path, methods: list[str], seed: int, extra: list[str]) -> None:
    """Everything under ``output_dir``: ``weights/``, ``artifacts/`` and ``val.txt``.

    Args:
        work_dir: gets the photos and the runs.
        output_dir: gets the sample.
        methods: losses of the GAN generators to train (``conf/model``); the first one's GAN-SR is
            what the artifact set shows.
        seed: of training, crops and degradations.
        extra: further overrides of both trainings.

    Raises:
        InputError: a package with photos is missing, or a command failed.
    """
    work_dir, output_dir = work_dir.resolve(), output_dir.resolve()
    photos, weights = work_dir / "photos", output_dir / "weights"
    collect_photos(photos)
    common = [f"data.root={photos / 'train'}", f"seed={seed}", *extra]
    run = work_dir / "mse"
    run_command("train.py", "experiment=pretrain_mse_sample", f"output_dir={run}", *common)
    ship_generator(run / "weights/mse.pth", weights / "mse.pth")
    for method in methods:
        run = work_dir / method
        run_command(
            "train.py",
            f"model={method}",
            "experiment=pretrain_gan_sample",
            f"generator_weights={weights / 'mse.pth'}",
            f"output_dir={run}",
            *common,
        )
        ship_generator(run / "weights/gan.pth", weights / f"{method}-gan.pth")
        ship_discriminator(run / "checkpoints/last.ckpt", weights / f"{method}-discriminator.pth")
    make_set(work_dir, output_dir, weights / f"{methods[0]}-gan.pth", seed)


def make_set(work_dir: Path, output_dir: Path, gan_weights: Path, seed: int) -> None:
    """``artifacts/`` and ``val.txt`` under ``output_dir``, from the photos and weights there."""
    candidates, detected = work_dir / "candidates", work_dir / "detected"
    write_candidates(work_dir / "photos", candidates, seed)
    run_command(
        "detect.py",
        f"lr_root={candidates / 'LR'}",
        f"mse_weights={output_dir / 'weights/mse.pth'}",
        f"gan_weights={gan_weights}",
        f"detector.min_area={MIN_AREA}",
        "inputs=copy",
        "precision=fp32",
        f"output_dir={detected}",
    )
    write_set(candidates, detected, output_dir / "artifacts")


def main() -> None:
    """Read the command line."""
    parser = argparse.ArgumentParser(prog="python -m samples.make", description=__doc__)
    parser.add_argument("work_dir", type=Path, help="gets photos, runs and candidates")
    parser.add_argument("--output-dir", type=Path, default=ROOT / "samples")
    parser.add_argument("--methods", nargs="+", default=[MAIN_METHOD, "realesrgan"])
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--set-only", action="store_true", help="the artifact set alone")
    parser.add_argument("overrides", nargs="*", default=[], help="of both trainings, NAME=VALUE")
    arguments = parser.parse_args()
    try:
        if arguments.set_only:
            gan = arguments.output_dir / "weights" / f"{arguments.methods[0]}-gan.pth"
            make_set(arguments.work_dir, arguments.output_dir, gan, arguments.seed)
        else:
            make(
                arguments.work_dir,
                arguments.output_dir,
                arguments.methods,
                arguments.seed,
                arguments.overrides,
            )
    except InputError as error:
        parser.exit(2, f"error: {error}\n")


if __name__ == "__main__":
    main()
