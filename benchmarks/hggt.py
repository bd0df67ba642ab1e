"""Enhanced training pairs and GAN steps with the negative term, beside HGGT's own loop.

    python -m benchmarks.hggt --release HGGT_DIR [--blocks 23] [--crop 128] [--batch 2]

The release's data set, model, networks and losses run unmodified (get ChrisDud0257/HGGT with git;
HGGT_DIR is its PosNegGTSR), from the same PNGs and labels, on the same weights, crop and batch,
with the same VGG19 (random weights: they change no time). What current PyTorch lacks is mended in
passing: a module that torchvision has dropped, ``.cuda()`` without a GPU, and views that are not
contiguous. Both sides take turns in one process; memory is measured in a process each.
"""

from __future__ import annotations

import argparse
import importlib
import json
import logging
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from lightning import Callback, Trainer
from torch import Tensor, nn
from torch.utils.data import DataLoader, default_collate

from benchmarks.finetuning import resident, vgg_features
from benchmarks.hggt_release import DATA, prepare_imports, released_model
from datamodules.hggt import HGGTSets
from desra.hggt_labels import Tagging, write_tagging
from desra.images import write_png

SIDE, SETS = 512, 12
VERSIONS = ("01", "02", "03", "04")
NAMES = {"pixel": "l_b_pix_total", "perceptual": "l_g_percep", "adversarial": "l_g_gan"}
NAMES |= {"negative": "l_b_neg_total", "discriminator_fake": "l_d_fake"}
NAMES |= {"discriminator_real": "l_d_real"}

Step = Callable[[], dict[str, float]]


def main() -> None:
    """Measure, and print rates, ratios with their quartiles, memory, and the first losses."""
    arguments = _arguments()
    warnings.simplefilter("ignore")
    logging.disable(logging.WARNING)
    if arguments.side:
        print(json.dumps(_peak_memory(arguments)))
        return
    print(
        f"RRDBNet with pixel shuffle of {arguments.blocks} blocks; crop {arguments.crop}, batch "
        f"{arguments.batch}; float32, {torch.get_num_threads()} thread(s), {arguments.seconds} "
        f"seconds, torch {torch.__version__}"
    )
    if arguments.pairs:
        _report("pairs", _race_pairs(arguments), arguments.batch)
    if arguments.steps:
        times, losses = _race_steps(arguments)
        _report("steps", times, 1)
        for name in NAMES:
            print(f"  first {name:20}" + "".join(f" {s} {losses[s][name]:.7f}" for s in losses))
        sides = {side: _run(side) for side in times}
        for side, found in sides.items():
            print(f"{side:8} peak {found['peak']:6.0f} MB above {found['idle']:.0f} MB at rest")
        if "release" in sides:
            share = sides["ours"]["peak"] / sides["release"]["peak"]
            print(f"memory, ours / release: {share:.2f}")


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--release", type=Path, help="PosNegGTSR of a checkout of HGGT")
    parser.add_argument("--blocks", type=int, default=23)
    parser.add_argument("--crop", type=int, default=128, help="side of the ground truth")
    parser.add_argument("--batch", type=int, default=2)
    parser.add_argument("--pairs", type=int, default=8, help="batches measured; 0: leave out")
    parser.add_argument("--steps", type=int, default=4, help="measured; 0: leave out")
    parser.add_argument("--threads", type=int, help="of the processor")
    parser.add_argument("--seconds", choices=["wall", "cpu"], default="wall")
    parser.add_argument("--side", choices=["ours", "release"], help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.threads:
        torch.set_num_threads(arguments.threads)
        cv2.setNumThreads(arguments.threads)
    return arguments


def _clock(arguments: argparse.Namespace) -> Callable[[], float]:
    return time.perf_counter if arguments.seconds == "wall" else time.process_time


def _report(what: str, times: dict[str, list[float]], each: int) -> None:
    for side, seconds in times.items():
        print(f"{side:8} {each / np.median(seconds):8.3f} {what} a second", flush=True)
    if "release" in times:
        ratios = np.array(times["release"]) / np.array(times["ours"])
        low, middle, high = np.percentile(ratios, [25, 50, 75])
        print(f"{what}, release / ours: {middle:.2f} (quartiles {low:.2f} to {high:.2f})")


# --- training pairs -------------------------------------------------------------------------------


def _write_sets(root: Path) -> None:
    """Sets of five PNGs of noise with a photo's spectrum, each with a Positive and a Negative."""
    random = np.random.default_rng(0)
    for number in range(SETS):
        picture = np.full((SIDE, SIDE, 3), 128.0)
        for side in (4, 16, 64, 256, SIDE):
            noise = random.normal(0, 40 / np.sqrt(side / 4), (side, side, 3))
            picture += cv2.resize(noise, (SIDE, SIDE), interpolation=cv2.INTER_CUBIC)
        for version in ("original", *VERSIONS):
            pixels = (picture + random.normal(0, 2, picture.shape)).clip(0, 255).astype(np.uint8)
            name = f"{number}-0-0" + ("" if version == "original" else f"_{version}")
            write_png(root / "images" / version / f"{name}.png", pixels)
        said = Tagging(dict(zip(VERSIONS, ["Positive", "Negative"] * 2, strict=True)))
        for annotator in "ABC":
            write_tagging(root / "labels" / annotator / f"{number}-0-0.json", said)


def _race_pairs(arguments: argparse.Namespace) -> dict[str, list[float]]:
    clock = _clock(arguments)
    with tempfile.TemporaryDirectory() as folder:
        _write_sets(Path(folder))
        sides = {"ours": _our_pairs(arguments, Path(folder))}
        if arguments.release:
            sides["release"] = _released_pairs(arguments, Path(folder))
        times: dict[str, list[float]] = {side: [] for side in sides}
        for number in range(arguments.pairs + 2):
            for side, batches in sides.items():
                start = clock()
                assert next(batches) == (arguments.batch, 3, arguments.crop, arguments.crop)
                if number > 1:
                    times[side].append(clock() - start)
    return times


def _our_pairs(arguments: argparse.Namespace, root: Path) -> Iterator[tuple[int, ...]]:
    data = HGGTSets(
        str(root / "images"),
        str(root / "labels"),
        negatives=True,
        val_share=0,
        hr_crop=SIDE,
        gt_crop=arguments.crop,
        batch_size=arguments.batch,
        group_size=arguments.batch,
        pool_size=1,  # a pool would make all its batches within the first one's time
        epoch_steps=10**6,
        cache_gb=0.0,  # the release decodes anew each time; so do data sets larger than memory
        num_workers=0,
    )
    data.setup()
    for batch in data.train_dataloader():
        made = data.on_after_batch_transfer(batch, 0)
        yield tuple(made["negative"].shape)


def _released_pairs(arguments: argparse.Namespace, root: Path) -> Iterator[tuple[int, ...]]:
    prepare_imports(arguments)
    module = importlib.import_module("basicsr.data.posneggtposneg_dataset")
    paths = {"dataroot_all_gt": str(root / "images"), "dataroot_all_json": str(root / "labels")}
    dataset = module.PosNegGTPosNeg_Dataset({**DATA, **paths})
    model = released_model(arguments)
    # A multiple of the batch, as it must be; nothing is drawn from it while it is being filled.
    model.queue_size = arguments.batch * max(144 // arguments.batch, arguments.pairs + 2)
    places = np.random.default_rng(0)
    while True:
        chosen = places.integers(len(dataset), size=arguments.batch)
        batch = default_collate([dataset[int(place)] for place in chosen])
        model.feed_data(batch)
        yield tuple(model.img_list[:, 0].shape)


# --- steps ----------------------------------------------------------------------------------------


def _race_steps(
    arguments: argparse.Namespace,
) -> tuple[dict[str, list[float]], dict[str, dict[str, float]]]:
    """Seconds of each side's steps, taken in turn, and the losses of the first."""
    clock = _clock(arguments)
    release = _released_step(arguments) if arguments.release else None
    times: dict[str, list[float]] = {side: [] for side in ("ours", "release")[: 1 + bool(release)]}
    losses: dict[str, dict[str, float]] = {}

    class Race(Callback):
        """Times our step, and takes one of the release after it."""

        start = 0.0

        def on_train_batch_start(self, *_: Any) -> None:
            self.start = clock()

        def on_train_batch_end(self, trainer: Trainer, *_: Any) -> None:
            times["ours"].append(clock() - self.start)
            figures = trainer.callback_metrics
            losses.setdefault("ours", {name: figures[f"loss/{name}"].item() for name in NAMES})
            if release:
                self.start = clock()
                found = release()
                times["release"].append(clock() - self.start)
                losses.setdefault("release", found)

    _our_steps(arguments, arguments.steps + 1, Race())
    return {side: seconds[1:] for side, seconds in times.items()}, losses


def _networks(arguments: argparse.Namespace) -> tuple[nn.Module, nn.Module]:
    from models.discriminators import UNetDiscriminator
    from models.generators import RRDBPSNet

    torch.manual_seed(0)
    return RRDBPSNet(4, blocks=arguments.blocks), UNetDiscriminator()


def _batch(arguments: argparse.Namespace) -> dict[str, Tensor]:
    torch.manual_seed(1)
    shape = (arguments.batch, 3, arguments.crop, arguments.crop)
    images = {name: torch.rand(shape) for name in ("original", "positive", "negative")}
    lr = torch.rand(arguments.batch, 3, arguments.crop // 4, arguments.crop // 4)
    shares = {f"{name}_share": torch.ones(arguments.batch) for name in ("positive", "negative")}
    return {"lr": lr, "gt": images["positive"], **images, **shares}


def _our_steps(arguments: argparse.Namespace, steps: int, *callbacks: Callback) -> None:
    """Steps in the real training loop."""
    from models.finetuner import GANFinetuner
    from models.losses import AdversarialLoss, NegativeLoss, PerceptualLoss, PixelLoss

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "vgg.pth")
        torch.save({f"features.{k}": v for k, v in vgg_features().state_dict().items()}, path)
        perceptual = PerceptualLoss(1.0, weights=path)
        perceptual.load()
    generator, discriminator = _networks(arguments)
    module = GANFinetuner(
        generator,
        discriminator,
        pixel=PixelLoss(1.0),
        perceptual=perceptual,
        adversarial=AdversarialLoss(0.1),
        negative=NegativeLoss(300.0),
    )
    trainer = Trainer(
        accelerator="cpu",
        devices=1,
        max_steps=steps,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        callbacks=list(callbacks),
    )
    batches: Any = [_batch(arguments)] * steps
    trainer.fit(module, DataLoader(batches, batch_size=None))


def _released_step(arguments: argparse.Namespace) -> Step:
    """A step of `Ours_PosNegGT_Model` by ``train_RRDBGAN_PosNegGT_Blind_Pos+Neg_x4.yml``."""
    model = released_model(arguments)
    generator, discriminator = _networks(arguments)
    for network in (model.net_g, model.net_g_ema):
        network.load_state_dict(generator.state_dict())
    model.net_d.load_state_dict(discriminator.state_dict())
    batch = _batch(arguments)
    model.lq = batch["lr"]
    names = ("original", "positive", "negative", "original", "original")
    model.img_list = torch.stack([batch[name] for name in names], dim=1)
    model.label_list = np.array([[0, 1, 3, 2, 2]] * arguments.batch)
    model.label_num_list = np.full((arguments.batch, 5), 3)
    count = 0

    def step() -> dict[str, float]:
        nonlocal count
        count += 1
        model.optimize_parameters(count)
        return {name: float(model.log_dict[theirs]) for name, theirs in NAMES.items()}

    return step


# --- memory, in a process for each side -----------------------------------------------------------


def _run(side: str) -> dict[str, float]:
    command = [sys.executable, "-m", "benchmarks.hggt", *sys.argv[1:], "--side", side]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"{side} failed:\n{done.stderr}")
    return json.loads(done.stdout.splitlines()[-1])


def _peak_memory(arguments: argparse.Namespace) -> dict[str, float]:
    """Megabytes: the second step's peak above the process with its libraries and no network."""
    import torchvision  # noqa: F401  # both sides begin with the same libraries

    idle = resident("VmRSS")

    class Forget(Callback):
        """Leaves building the networks, and compiling kernels, out of the peak."""

        def on_train_batch_end(self, trainer: Trainer, *_: Any) -> None:
            if trainer.global_step == 1:
                Path("/proc/self/clear_refs").write_text("5")  # VmHWM becomes VmRSS

    if arguments.side == "ours":
        _our_steps(arguments, 2, Forget())
    else:
        step = _released_step(arguments)
        step()
        Path("/proc/self/clear_refs").write_text("5")
        step()
    return {"idle": idle, "peak": resident("VmHWM") - idle}


if __name__ == "__main__":
    main()
