"""Makes the sample again: photos, networks, artifact set. See README.md beside this file.

python -m samples.make WORK_DIR [NAME=VALUE ...] [--output-dir samples] [--methods ldl swinir]
    [--set-only] [--candidates 12] [--kept 5]
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

from desra.checkpoints import read_checkpoint, write_state
from desra.errors import InputError
from models.generators import load_generator
from models.weight_mixing import interpolate
from samples.artifact_set import CANDIDATES, KEPT, MIN_AREA, write_candidates, write_set
from samples.photos import collect_photos

ROOT = Path(__file__).resolve().parents[1]
METHODS = ("ldl", "realesrgan", "swinir")
"""Losses and networks of the GAN generators (``conf/model``). The first one's GAN-SR is in the
artifact set, and its discriminator is shipped: one is all there is room for."""
EXAGGERATION = {"ldl": 1.5, "realesrgan": 1.2, "swinir": 1.7}
"""GAN generators are moved away from their MSE model by this factor (`models.weight_mixing`): so
short a training leaves them too cautious to make artifacts like those of released networks."""


class Counts(NamedTuple):
    """Crops of a photo that are upscaled, and of these those that are kept of a training photo."""

    candidates: int = CANDIDATES
    kept: int = KEPT


def run_command(script: str, *overrides: str) -> None:
    """Run one of the project's commands, as a user would.

    Raises:
        InputError: it failed; it has said why.
    """
    command = [sys.executable, str(ROOT / script), *overrides]
    print("$ python", script, *overrides, flush=True)
    if subprocess.run(command, cwd=ROOT).returncode:
        raise InputError(f"{script} failed; see above")


def ship_generator(
    source: Path, target: Path, mse: Path | None = None, exaggeration: float = 1.0
) -> None:
    """Write the averaged weights of a run in half precision, which takes half the room.

    Args:
        source: what the run exported.
        target: where to.
        mse: the MSE model that the run began with, for a GAN generator.
        exaggeration: see `EXAGGERATION`.
    """
    generator = load_generator(source)
    if mse is not None:
        generator = interpolate(load_generator(mse), generator, exaggeration)
    half = {name: tensor.half() for name, tensor in generator.state_dict().items()}
    write_state(target, {"params_ema": half})


def ship_discriminator(checkpoint: Path, target: Path) -> None:
    """Write the discriminator of a run's checkpoint in half precision."""
    state = read_checkpoint(checkpoint).states("discriminator")[0].tensors
    write_state(target, {"params": {name: tensor.half() for name, tensor in state.items()}})


def train_mse(work_dir: Path, weights: Path, network: str, common: list[str]) -> Path:
    """Train the MSE model of a network, of the sample's size, and ship it; returns its file."""
    name = "mse" if network == "rrdbnet" else f"{network}-mse"
    run_command(
        "train.py",
        "experiment=pretrain_mse_sample",
        f"generator@model.generator={network}_sample",
        f"output_dir={work_dir / name}",
        *common,
    )
    ship_generator(work_dir / name / "weights/mse.pth", weights / f"{name}.pth")
    return weights / f"{name}.pth"


def train_gan(work_dir: Path, weights: Path, method: str, mse: Path, common: list[str]) -> None:
    """Train the GAN generator of a method from its MSE model, and ship it."""
    run = work_dir / method
    run_command(
        "train.py",
        f"model={method}",
        "experiment=pretrain_gan_sample",
        f"generator_weights={mse}",
        f"output_dir={run}",
        *common,
    )
    exaggeration = EXAGGERATION[method]
    ship_generator(run / "weights/gan.pth", weights / f"{method}-gan.pth", mse, exaggeration)


def make(
    work_dir: Path,
    output_dir: Path,
    methods: list[str],
    seed: int,
    counts: Counts,
    extra: list[str],
) -> None:
    """Everything under ``output_dir``: ``weights/``, ``artifacts/`` and ``val.txt``.

    Args:
        work_dir: gets the photos and the runs.
        output_dir: gets the sample.
        methods: of `METHODS`.
        seed: of training, crops and degradations.
        counts: of crops for the set.
        extra: further overrides of all trainings.

    Raises:
        InputError: a package with photos is missing, or a command failed.
    """
    photos, weights = work_dir / "photos", output_dir / "weights"
    collect_photos(photos)
    common = [f"data.root={photos / 'train'}", f"seed={seed}", *extra]
    trained: dict[str, Path] = {}
    for method in methods:
        network = "swinir" if method == "swinir" else "rrdbnet"
        if network not in trained:
            trained[network] = train_mse(work_dir, weights, network, common)
        train_gan(work_dir, weights, method, trained[network], common)
    last = work_dir / methods[0] / "checkpoints/last.ckpt"
    ship_discriminator(last, weights / "discriminator.pth")
    make_set(work_dir, output_dir, weights / f"{methods[0]}-gan.pth", seed, counts)


def make_set(
    work_dir: Path, output_dir: Path, gan_weights: Path, seed: int, counts: Counts
) -> None:
    """``artifacts/`` and ``val.txt`` under ``output_dir``.

    Args:
        work_dir: has the photos, gets the candidates.
        output_dir: gets the set.
        gan_weights: of GAN-SR; the MSE model, ``mse.pth``, lies beside them.
        seed: of crops and degradations.
        counts: of crops.
    """
    candidates, detected = work_dir / "candidates", work_dir / "detected"
    write_candidates(work_dir / "photos", candidates, seed, counts.candidates)
    run_command(
        "detect.py",
        f"lr_root={candidates / 'LR'}",
        f"mse_weights={gan_weights.with_name('mse.pth')}",
        f"gan_weights={gan_weights}",
        f"detector.min_area={MIN_AREA}",
        "inputs=copy",
        "precision=fp32",
        f"output_dir={detected}",
    )
    write_set(candidates, detected, output_dir / "artifacts", counts.kept)


def main() -> None:
    """Read the command line."""
    parser = argparse.ArgumentParser(prog="python -m samples.make", description=__doc__)
    parser.add_argument("work_dir", type=Path, help="gets photos, runs and candidates")
    parser.add_argument("--output-dir", type=Path, default=ROOT / "samples")
    parser.add_argument("--methods", nargs="+", choices=METHODS, default=METHODS)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--set-only", action="store_true", help="with the shipped networks")
    parser.add_argument("--kept", type=int, default=KEPT, help="crops of each training photo")
    parser.add_argument("--candidates", type=int, default=CANDIDATES, help="that they are of")
    parser.add_argument("overrides", nargs="*", default=[], help="of all trainings, NAME=VALUE")
    arguments = parser.parse_args()
    work_dir, output_dir = arguments.work_dir.resolve(), arguments.output_dir.resolve()
    counts = Counts(arguments.candidates, arguments.kept)
    try:
        if arguments.set_only:
            collect_photos(work_dir / "photos")
            gan = ROOT / "samples" / "weights" / f"{arguments.methods[0]}-gan.pth"
            make_set(work_dir, output_dir, gan, arguments.seed, counts)
        else:
            make(
                work_dir,
                output_dir,
                arguments.methods,
                arguments.seed,
                counts,
                arguments.overrides,
            )
    except InputError as error:
        parser.exit(2, f"error: {error}\n")


if __name__ == "__main__":
    main()
