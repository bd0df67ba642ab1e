"""Studies of finetuning: many runs of ``train.py``, each judged on images that chose nothing.

    python -m benchmarks.finetuning_runs STUDY --set SET --output RUNS [NAME=VALUE ...]

``images``: 5, 10, 20 and 50 training images. ``keeping``: what keeps the rest as it was, each alone
and together. ``additions``: what might make finetuning add artifacts (masks, iterations, the
adversarial term). ``SET`` is a folder that ``samples.make`` leaves, or an artifact set; ``TEST``
the images to judge on, by default ``SET/test``. Further settings go to every run.

Every run's EMA states are judged at full strength beside the weights that the run has chosen. A
line a run goes to ``RUNS/STUDY.csv``, a table of means is printed. What is there is not run again,
so that the same command goes on after an interruption.
"""

from __future__ import annotations

import argparse
import json
import math
import shutil
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import fmean
from typing import Any, cast

import cv2
import numpy as np
import torch
from lightning import Callback, LightningModule, Trainer
from lightning.pytorch.trainer.states import TrainerFn
from torch import Tensor

from datamodules.artifact_folders import ArtifactTuple, find_artifact_set
from desra.checkpoints import read_state
from desra.detectors import ArtifactDetector, SSIMDetector
from desra.errors import InputError
from desra.files import write_table, write_text
from desra.images import read_rgb, write_png
from desra.judge import Judge
from desra.ledger import Row
from desra.masks import read_mask_image
from desra.metrics.finetuning import score_finetuning
from desra.segmenters import NoSegmenter
from models.finetuner import GANFinetuner
from models.generators import load_generator, write_generator
from models.upscaler import Upscaler

ROOT = Path(__file__).resolve().parents[1]
MIN_AREA = 600
KEPT = (
    "removal_rate",
    "pixel_removal_rate",
    "addition_rate",
    "psnr/outside",
    "artifact_share/after",
)
TRUTH = ("truth/psnr_inside/finetuned", "truth/psnr_outside/finetuned", "structural_share/after")


@dataclass(frozen=True)
class Variant:
    """Settings of a run.

    Attributes:
        overrides: of ``train.py``.
        masks: how the training masks are changed before, see `changed_mask`; None: not at all.
    """

    overrides: Sequence[str] = ()
    masks: str | None = None


def _term(name: str, weight: float, kind: str = "PixelLoss") -> str:
    return f"model.{name}={{_target_: models.losses.{kind}, weight: {weight}}}"


_ADVERSARIAL = (_term("adversarial", 0.1, "AdversarialLoss"), "model.discriminator_warmup=50")
_NO_KEEP, _KEEP = "model.keep=null", _term("keep", 10.0)
_FEW = "data.artifact_bias=0.3"
_LAST_LAYERS = r"model.trained='body\.(2[4-9]|3\d)\.'"

STUDIES: Mapping[str, Mapping[str, Variant]] = {
    "images": {f"{n} images": Variant([f"data.train_count={n}"]) for n in (5, 10, 20, 50)},
    "keeping": {
        "none": Variant([_NO_KEEP]),
        "feather 8": Variant([_NO_KEEP, "model.feather=8"]),
        "last layers": Variant([_NO_KEEP, _LAST_LAYERS]),
        "keep 10": Variant([_KEEP]),
        "keep 3": Variant([_term("keep", 3.0)]),
        "low rank 4": Variant([_NO_KEEP, "model.low_rank=4", "model.learning_rate=1e-3"]),
        "learning rate 3e-5": Variant([_NO_KEEP, "model.learning_rate=3e-5"]),
        "few artifact crops": Variant([_NO_KEEP, _FEW]),
        "feather, keep": Variant([_KEEP, "model.feather=8"]),
        "feather, keep, few artifact crops": Variant([_KEEP, "model.feather=8", _FEW]),
    },
    "additions": {
        "none": Variant(),
        "masks dilated by 16": Variant(masks="dilated"),
        "masks of other images": Variant(masks="shuffled"),
        "masks of other images, updates off": Variant(
            ["callbacks.artifact_detection.mode=off"], "shuffled"
        ),
        "2 images": Variant(["data.train_count=2"]),
        "adversarial 0.1": Variant(_ADVERSARIAL),
        "adversarial 1": Variant(
            [_term("adversarial", 1.0, "AdversarialLoss"), "model.discriminator_warmup=50"]
        ),
        "adversarial 0.1, masks of other images": Variant(_ADVERSARIAL, "shuffled"),
    },
}


class EachState(Callback):
    """Writes the EMA generator at each validation, as ``FOLDER/ITERATION.pth``."""

    def __init__(self, folder: str) -> None:
        self.folder = Path(folder)

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Write it, if the generator has moved."""
        if trainer.state.fn == TrainerFn.FITTING and trainer.global_step and trainer.is_global_zero:
            network = cast(GANFinetuner, pl_module).ema.module
            write_generator(self.folder / f"{trainer.global_step}.pth", network)


def changed_mask(masks: Sequence[np.ndarray], index: int, how: str) -> np.ndarray:
    """A training mask as another detector might have made it.

    Args:
        masks: bool ``(H, W)`` of all images.
        index: whose.
        how: ``"dilated"`` by 16 pixels, or ``"shuffled"``: that of the next image, turned over.
    """
    if how == "dilated":
        disk = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (33, 33))
        return cv2.dilate(masks[index].astype(np.uint8), disk).astype(bool)
    other = masks[(index + 1) % len(masks)][::-1]
    return cv2.resize(
        other.astype(np.uint8), masks[index].shape[::-1], interpolation=cv2.INTER_NEAREST
    ).astype(bool)


def changed_set(root: Path, output: Path, how: str) -> Path:
    """An artifact set with other training masks; its pictures are links."""
    masks = sorted((root / "DeSRA-Mask").rglob("*.png"))
    pixels = [read_mask_image(path) for path in masks]
    for folder in ("LR", "MSE-SR", "GAN-SR", "GT-Mask", "HR"):
        if (root / folder).is_dir() and not (output / folder).exists():
            output.mkdir(parents=True, exist_ok=True)
            (output / folder).symlink_to((root / folder).resolve())
    for index, path in enumerate(masks):
        write_png(output / path.relative_to(root), changed_mask(pixels, index, how))
    return output


@dataclass
class Bench:
    """Images that chose nothing, upscaled by the original generator, and who judges them."""

    root: Path
    min_area: float
    tuples: list[ArtifactTuple] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.tuples = find_artifact_set(self.root).tuples
        area = self.min_area
        others = {"ssim": SSIMDetector(min_area=area)}
        self.judge = Judge(ArtifactDetector(min_area=area), NoSegmenter(), None, others)
        self.judge.prepare()

    @torch.inference_mode()
    def figures(self, weights: Path) -> dict[str, float | None]:
        """Metrics of `desra.metrics.finetuning` of a generator's weights."""
        upscaler, rows = Upscaler(load_generator(weights)), list[Row]()
        for item in self.tuples:
            pictures = {role: read_rgb(path) for role, path in item.paths.items() if _shown(role)}
            finetuned = upscaler.upscale_image(pictures["lr"])
            images = [_batch(pictures[role]) for role in ("lr", "mse_sr", "gan_sr")]
            truth = _batch(pictures["hr"]) if "hr" in pictures else None
            rows += self.judge([item.key], *images, _batch(finetuned), truth=truth).rows
        return score_finetuning(rows)


def _shown(role: str) -> bool:
    return role in ("lr", "mse_sr", "gan_sr", "hr")


def _batch(pixels: np.ndarray) -> Tensor:
    return torch.from_numpy(pixels.copy())[None].permute(0, 3, 1, 2)


def run(folder: Path, overrides: Sequence[str], bench: Bench) -> dict[str, Any]:
    """Train, unless that was done, judge all states, and return what was found.

    Raises:
        InputError: the training failed; its output is in ``FOLDER/train.log``.
    """
    judged = folder / "judged.json"
    if judged.is_file():
        return json.loads(judged.read_text())
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    command = [
        *(sys.executable, str(ROOT / "train.py"), "experiment=sample"),
        *("callbacks.artifact_validation.lpips=null", "callbacks.artifact_validation.panels=null"),
        *("callbacks.artifact_validation.report=null", f"output_dir={folder}"),
        "+callbacks.states._target_=benchmarks.finetuning_runs.EachState",
        f"+callbacks.states.folder={folder / 'states'}",
        *overrides,
    ]
    start = time.perf_counter()
    with (folder / "train.log").open("w") as log:
        code = subprocess.run(command, cwd=ROOT, stdout=log, stderr=subprocess.STDOUT).returncode
    if code:
        raise InputError(f"{folder}: train.py ended with {code}; see train.log there")
    seconds = time.perf_counter() - start
    (chosen,) = (folder / "weights").glob("*.pth")
    states = {int(path.stem): path for path in (folder / "states").glob("*.pth")}
    found = {
        "seconds": seconds,
        "record": json.loads(read_state(chosen)[1].get("result", "{}")),
        "chosen": bench.figures(chosen),
        "states": {step: bench.figures(states[step]) for step in sorted(states)},
    }
    for scrap in ("states", "checkpoints"):
        shutil.rmtree(folder / scrap, ignore_errors=True)
    write_text(judged, json.dumps(found, indent=1) + "\n")
    return json.loads(judged.read_text())


def removal(figures: Mapping[str, Any]) -> float:
    """The smaller one of the shares of regions and of pixels that were removed."""
    return min(figures["removal_rate"], figures["pixel_removal_rate"])


def row_of(name: str, seed: int, found: Mapping[str, Any]) -> Row:
    """A line of the table of runs."""
    chosen, states = found["chosen"], list(found["states"].values())
    clean = [removal(state) for state in states if state["addition_rate"] == 0]
    last, record = states[-1], found["record"]
    return {
        "variant": name,
        "seed": seed,
        "iteration": record.get("iteration"),
        "strength": record.get("strength"),
        "last_iteration": max(map(int, found["states"])),
        "removal": removal(chosen),
        "best_removal": max([removal(chosen), *clean]),
        **{key: chosen.get(key) for key in (*KEPT, *TRUTH)},
        "last_removal": removal(last),
        "last_addition_rate": last["addition_rate"],
        "last_psnr/outside": last["psnr/outside"],
        "most_additions": max(state["addition_rate"] for state in states),
        "seconds": found["seconds"],
    }


def table(rows: Sequence[Row]) -> str:
    """Means of the runs of each variant, in Markdown."""
    heads = (
        *("", "runs", "iteration, strength", "removed", "best of the run", "within 5 points"),
        *("runs that add", "PSNR to GAN-SR outside", "last state: removed, added, PSNR outside"),
    )
    lines = [f"| {' | '.join(heads)} |", f"|{' --- |' * len(heads)}"]
    for name in dict.fromkeys(row["variant"] for row in rows):
        own = [row for row in rows if row["variant"] == name]

        def mean(key: str, of: Sequence[Row] = own) -> float:
            known = [row[key] for row in of if row[key] is not None]
            return fmean(known) if known else math.nan

        near = sum(row["best_removal"] - row["removal"] <= 0.05 for row in own)
        adding = sum(row["addition_rate"] > 0 for row in own)
        picked = "; ".join(f"{row['iteration']}, {row['strength']:.3g}" for row in own)
        cells = (
            *(name, str(len(own)), picked, f"{100 * mean('removal'):.1f} %"),
            *(f"{100 * mean('best_removal'):.1f} %", f"{near} of {len(own)}"),
            *(f"{adding} of {len(own)}", f"{mean('psnr/outside'):.1f} dB"),
            f"{100 * mean('last_removal'):.1f} %, {100 * mean('last_addition_rate'):.1f} %, "
            f"{mean('last_psnr/outside'):.1f} dB",
        )
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a study; 0 all well, 2 a set or settings that cannot be used."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("study", choices=STUDIES)
    parser.add_argument(
        "--set", type=Path, required=True, help="of samples.make, or an artifact set"
    )
    parser.add_argument("--test", type=Path, help="images to judge on; default: SET/test")
    parser.add_argument("--output", type=Path, required=True, help="gets the runs and STUDY.csv")
    parser.add_argument("--seeds", type=int, default=1, help="runs a variant")
    parser.add_argument("--only", nargs="*", help="variants; default: all of the study")
    parser.add_argument("--min-area", type=float, default=MIN_AREA)
    parser.add_argument("overrides", nargs="*", default=[], help="of train.py, NAME=VALUE")
    given = parser.parse_intermixed_args(arguments)
    try:
        rows = list(_rows(given))
    except InputError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    print(table(rows))
    return 0


def _rows(given: argparse.Namespace) -> list[Row]:
    made = (given.set / "artifacts").is_dir()
    root = (given.set / "artifacts" if made else given.set).resolve()
    listed = f"data.val_list={given.set.resolve() / 'val.txt' if made else 'null'}"
    bench = Bench(given.test or given.set / "test", given.min_area)
    output, rows = given.output.resolve(), list[Row]()
    runs = [  # all variants of a seed before the next, so that a stopped study is balanced
        (seed, name, variant)
        for seed in range(given.seeds)
        for name, variant in STUDIES[given.study].items()
        if not given.only or name in given.only
    ]
    for seed, name, variant in runs:
        own = root
        if variant.masks:
            own = changed_set(root, output / "sets" / variant.masks, variant.masks)
        folder = output / given.study / name.replace(" ", "_").replace(",", "") / str(seed)
        settings = [f"data.root={own}", f"seed={seed}", f"detector.min_area={given.min_area:g}"]
        found = run(folder, [*settings, listed, *variant.overrides, *given.overrides], bench)
        rows.append(row_of(name, seed, found))
        write_table(output / f"{given.study}.csv", rows, list(rows[0]))
        print(f"{name}, seed {seed}: {found['seconds']:.0f} s", file=sys.stderr, flush=True)
    return rows


if __name__ == "__main__":
    sys.exit(main())
