"""Makes the sample again: photos, MSE partner, artifact set. See README.md beside this file.

python -m samples.make WORK_DIR [NAME=VALUE ...] [--output-dir samples] [--set-only] [--more 0]
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from pathlib import Path

from desra.checkpoints import write_state
from desra.errors import InputError
from models.generators import load_generator
from samples.artifact_set import CANDIDATES, MIN_AREA, write_candidates, write_set
from samples.photos import collect_photos

ROOT = Path(__file__).resolve().parents[1]
GAN = ROOT / "samples/weights/realesr-animevideov3-x4.pth"
"""Real-ESRGAN's released compact generator; the one file here that was fetched."""


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
    """Write a generator in half precision, which takes half the room."""
    state = load_generator(source).state_dict()
    write_state(target, {"params": {name: tensor.half() for name, tensor in state.items()}})


def make_partner(work_dir: Path, target: Path, seed: int, overrides: list[str]) -> None:
    """The MSE partner of `GAN`, in half precision.

    Args:
        work_dir: has the photos, gets the run.
        target: the file.
        seed: of the training.
        overrides: of the training.
    """
    run = work_dir / "partner"
    run_command(
        "train.py",
        "experiment=mse_partner",
        f"generator_weights={GAN}",
        f"data.root={work_dir / 'photos/train'}",
        f"seed={seed}",
        f"output_dir={run}",
        *overrides,
    )
    ship_generator(run / f"weights/{GAN.stem}_mse.pth", target)


def make_set(
    work_dir: Path,
    output_dir: Path,
    mse: Path,
    seed: int,
    candidates: int,
    more: int,
    effort: int,
) -> None:
    """``artifacts/``, ``test/`` and ``val.txt`` under ``output_dir``.

    Args:
        work_dir: has the photos, gets the candidates.
        output_dir: gets the set.
        mse: weights of the partner.
        seed: of crops and degradations.
        candidates: crops of each photo.
        more: see `chosen_keys`.
        effort: see `write_webp`.
    """
    folder, detected = work_dir / "candidates", work_dir / "detected"
    write_candidates(work_dir / "photos", folder, seed, candidates)
    run_command(
        "detect.py",
        f"lr_root={folder / 'LR'}",
        f"mse_weights={mse}",
        f"gan_weights={GAN}",
        f"detector.min_area={MIN_AREA}",
        "inputs=copy",
        "precision=fp32",
        f"output_dir={detected}",
    )
    write_set(folder, detected, output_dir, more, effort)


def main() -> None:
    """Read the command line."""
    parser = argparse.ArgumentParser(prog="python -m samples.make", description=__doc__)
    parser.add_argument("work_dir", type=Path, help="gets photos, the run and candidates")
    parser.add_argument("--output-dir", type=Path, default=ROOT / "samples")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--set-only", action="store_true", help="with the shipped partner")
    parser.add_argument("--more", type=int, default=0, help="further crops of each training photo")
    parser.add_argument("--candidates", type=int, default=CANDIDATES, help="that they are of")
    parser.add_argument("--effort", type=int, default=6, help="of compression, 0 to 6")
    parser.add_argument("overrides", nargs="*", default=[], help="of the training, NAME=VALUE")
    given = parser.parse_args()
    work_dir, output_dir = given.work_dir.resolve(), given.output_dir.resolve()
    mse = ROOT / "samples" / "weights" / f"{GAN.stem}_mse.pth"
    try:
        collect_photos(work_dir / "photos")
        if not given.set_only:
            mse = output_dir / "weights" / mse.name
            make_partner(work_dir, mse, given.seed, given.overrides)
        make_set(
            *(work_dir, output_dir, mse, given.seed),
            *(given.candidates, given.more, given.effort),
        )
    except InputError as error:
        parser.exit(2, f"error: {error}\n")


if __name__ == "__main__":
    main()
