"""Training steps a second and peak memory, beside the training loop that LDL released.

    python benchmarks/finetuning.py --release LDL_DIR [--device cuda] [--precision 16-mixed]

The release's model, networks and losses run unmodified (get csjliang/LDL with git), on the same
generator and discriminator weights, the same batch, and the same VGG19 (with random weights: they
change no time). Both sides take steps in turn in one process, so that they see the same machine;
memory is measured in a process each. The losses of the first step are compared: both sides compute
the same. ``--seconds cpu`` counts processor time instead, for a machine that does other things.
"""

from __future__ import annotations

import argparse
import json
import logging
import subprocess
import sys
import tempfile
import time
import types
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from lightning import Callback, Trainer
from torch import Tensor, nn
from torch.utils.data import DataLoader

sys.path.insert(0, str(Path(__file__).parents[1]))

LAYERS = {"conv1_2": 0.1, "conv2_2": 0.1, "conv3_4": 1, "conv4_4": 1, "conv5_4": 1}
NAMES = {"pixel": "l_g_pix", "artifact": "l_g_artifacts", "perceptual": "l_g_percep"}
NAMES |= {"adversarial": "l_g_gan", "discriminator_fake": "l_d_fake"}
NAMES |= {"discriminator_real": "l_d_real"}

Step = Callable[[], dict[str, float]]


def main() -> None:
    """Measure, and print medians, their ratio with its quartiles, memory, and the losses."""
    arguments = _arguments()
    warnings.simplefilter("ignore")
    logging.disable(logging.WARNING)
    if arguments.side:
        print(json.dumps(_peak_memory(arguments)))
        return
    times, losses = _race(arguments)
    print(
        f"RRDBNet of {arguments.blocks} blocks, {arguments.features} features; discriminator of "
        f"{arguments.discriminator}; crop {arguments.crop}, batch {arguments.batch}; "
        f"{arguments.device}, ours {arguments.precision}, release float32; "
        f"{arguments.steps} steps each in turn, {arguments.seconds} seconds"
    )
    for side, seconds in times.items():
        middle = np.median(seconds)
        print(f"{side:8} {middle:8.3f} s a step, {1 / middle:7.3f} steps a second", flush=True)
    if arguments.release:
        ratios = np.array(times["release"]) / np.array(times["ours"])
        low, middle, high = np.percentile(ratios, [25, 50, 75])
        print(f"release / ours: {middle:.2f} (quartiles {low:.2f} to {high:.2f})")
        for name, value in losses["ours"].items():
            print(f"  first {name:20} ours {value:.7f}  release {losses['release'][name]:.7f}")
    if not arguments.times_only:
        _report_memory({side: _run(arguments, side) for side in times})


def _report_memory(memory: dict[str, dict[str, float]]) -> None:
    for side, found in memory.items():
        print(
            f"{side:8} peak {found['peak']:6.0f} MB above the {found['idle']:.0f} MB of an idle "
            "process"
        )
    if "release" in memory:
        share = memory["ours"]["peak"] / memory["release"]["peak"]
        print(f"memory, ours / release: {share:.2f}")


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--release", type=Path, help="checkout of csjliang/LDL")
    parser.add_argument("--blocks", type=int, default=23)
    parser.add_argument("--features", type=int, default=64)
    parser.add_argument("--growth", type=int, default=32)
    parser.add_argument("--discriminator", type=int, default=64, help="its features")
    parser.add_argument("--crop", type=int, default=256, help="side of the ground truth")
    parser.add_argument("--batch", type=int, default=4)
    parser.add_argument("--steps", type=int, default=5, help="measured; one more comes before")
    parser.add_argument("--device", choices=["cpu", "cuda"], default="cpu")
    parser.add_argument("--precision", default="32-true", help="ours; the release has only float32")
    parser.add_argument("--compile", action="store_true", help="ours")
    parser.add_argument("--threads", type=int, help="of the processor")
    parser.add_argument("--times-only", action="store_true", help="leave memory out")
    parser.add_argument("--seconds", choices=["wall", "cpu"], default="wall")
    parser.add_argument("--side", choices=["ours", "release"], help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.threads:
        torch.set_num_threads(arguments.threads)
    return arguments


def _race(
    arguments: argparse.Namespace,
) -> tuple[dict[str, list[float]], dict[str, dict[str, float]]]:
    """Seconds of each side's steps, taken in turn, and the losses of the first."""
    clock = time.perf_counter if arguments.seconds == "wall" else time.process_time
    release = _release(arguments) if arguments.release else None
    times: dict[str, list[float]] = {side: [] for side in ("ours", "release")[: 1 + bool(release)]}
    losses: dict[str, dict[str, float]] = {}

    class Race(Callback):
        """Times our step, and takes one of the release after it."""

        start = 0.0

        def on_train_batch_start(self, *_: Any) -> None:
            _wait(arguments)
            self.start = clock()

        def on_train_batch_end(self, trainer: Trainer, *_: Any) -> None:
            self._note("ours")
            figures = trainer.callback_metrics
            losses.setdefault("ours", {name: figures[f"loss/{name}"].item() for name in NAMES})
            if release:
                self.start = clock()
                found = release()
                self._note("release")
                losses.setdefault("release", found)

        def _note(self, side: str) -> None:
            _wait(arguments)
            times[side].append(clock() - self.start)

    _ours(arguments, arguments.steps + 1, Race())
    return {side: seconds[1:] for side, seconds in times.items()}, losses


def _wait(arguments: argparse.Namespace) -> None:
    if arguments.device == "cuda":
        torch.cuda.synchronize()


# Memory, in a process for each side


def _run(arguments: argparse.Namespace, side: str) -> dict[str, float]:
    command = [sys.executable, __file__, "--side", side]
    for name, value in vars(arguments).items():
        if value is True:
            command.append(f"--{name.replace('_', '-')}")
        elif value not in (None, False) and name != "side":
            command += [f"--{name}", str(value)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"{side} failed:\n{done.stderr}")
    return json.loads(done.stdout.splitlines()[-1])


def _peak_memory(arguments: argparse.Namespace) -> dict[str, float]:
    """Megabytes: the second step's peak above the idle process, with the libraries imported."""
    import torchvision  # noqa: F401  # both sides begin with the same libraries

    idle = 0.0 if arguments.device == "cuda" else resident("VmRSS")

    class Forget(Callback):
        """Leaves building the networks, and compiling kernels, out of the peak."""

        def on_train_batch_end(self, trainer: Trainer, *_: Any) -> None:
            if trainer.global_step == 1:
                _forget_peak(arguments)

    if arguments.side == "ours":
        _ours(arguments, 2, Forget())
    else:
        step = _release(arguments)
        step()
        _forget_peak(arguments)
        step()
    if arguments.device == "cuda":
        return {"idle": 0.0, "peak": torch.cuda.max_memory_allocated() / 2**20}
    return {"idle": idle, "peak": resident("VmHWM") - idle}


def _forget_peak(arguments: argparse.Namespace) -> None:
    if arguments.device == "cuda":
        torch.cuda.reset_peak_memory_stats()
    else:
        Path("/proc/self/clear_refs").write_text("5")  # VmHWM becomes VmRSS


def resident(field: str) -> float:
    return int(Path("/proc/self/status").read_text().split(f"{field}:")[1].split()[0]) / 1024


# What both sides share


def _networks(arguments: argparse.Namespace) -> tuple[nn.Module, nn.Module]:
    from models.discriminators import UNetDiscriminator
    from models.generators import RRDBNet

    torch.manual_seed(0)
    sizes = {name: getattr(arguments, name) for name in ("blocks", "features", "growth")}
    return RRDBNet(4, **sizes), UNetDiscriminator(features=arguments.discriminator)


def _batch(arguments: argparse.Namespace) -> dict[str, Tensor]:
    torch.manual_seed(1)
    low, high = arguments.crop // 4, arguments.crop
    mask = torch.zeros(arguments.batch, 1, high, high, dtype=torch.bool)
    mask[..., : high // 2, :] = True
    images = {name: torch.rand(arguments.batch, 3, high, high) for name in ("mse_sr", "gan_sr")}
    batch = {"lr": torch.rand(arguments.batch, 3, low, low), "mask": mask, **images}
    return {name: value.to(arguments.device) for name, value in batch.items()}


def vgg_features() -> nn.Sequential:
    from torchvision.models.vgg import cfgs, make_layers

    torch.manual_seed(2)
    return make_layers(cfgs["E"])


# Ours


def _ours(arguments: argparse.Namespace, steps: int, *callbacks: Callback) -> None:
    """Steps in the real training loop."""
    from models.finetuner import GANFinetuner
    from models.losses import AdversarialLoss, ArtifactLoss, PerceptualLoss, PixelLoss

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "vgg.pth")
        torch.save({f"features.{k}": v for k, v in vgg_features().state_dict().items()}, path)
        perceptual = PerceptualLoss(1.0, weights=path)
        perceptual.load()
    generator, discriminator = _networks(arguments)
    module = GANFinetuner(
        generator,
        discriminator,
        pixel=PixelLoss(0.01),
        perceptual=perceptual,
        adversarial=AdversarialLoss(0.1),
        artifact=ArtifactLoss(1.0),
        compile=arguments.compile,
    )
    trainer = Trainer(
        accelerator="gpu" if arguments.device == "cuda" else "cpu",
        devices=1,
        precision=arguments.precision,
        max_steps=steps,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        callbacks=list(callbacks),
    )
    batches: Any = [_batch(arguments)] * steps
    trainer.fit(module, DataLoader(batches, batch_size=None))


# The release


def _release(arguments: argparse.Namespace) -> Step:
    """A step of `RealESRGANArtifactsDisModel` by LDL's ``train_LDL_realworld_RRDB.yml``."""
    model_class = _import_release(arguments)
    generator, discriminator = _networks(arguments)
    model = model_class(_release_options(arguments))
    model.net_g.load_state_dict(generator.state_dict())
    model.net_g_ema.load_state_dict(generator.state_dict())
    model.net_d.load_state_dict(discriminator.state_dict())
    batch = _batch(arguments)
    model.lq = batch["lr"]
    model.gt = model.gt_usm = torch.where(batch["mask"], batch["mse_sr"], batch["gan_sr"])
    count = 0

    def step() -> dict[str, float]:
        nonlocal count
        count += 1
        model.optimize_parameters(count)
        return {name: float(model.log_dict[theirs]) for name, theirs in NAMES.items()}

    return step


def _import_release(arguments: argparse.Namespace) -> Any:
    import torchvision.models.vgg as vgg
    import torchvision.transforms.functional as functional

    # Modules that torchvision has dropped, or that only count operations.
    sys.modules["torchvision.transforms.functional_tensor"] = functional
    for name in ("thop", "ptflops"):
        module = types.ModuleType(name)
        module.profile = module.get_model_complexity_info = None  # type: ignore[attr-defined]
        sys.modules.setdefault(name, module)
    # The packages import what only their scripts need; their folders stand in for them.
    for name in ("basicsr", "realesrgan"):
        package = types.ModuleType(name)
        package.__path__ = [str(arguments.release / name)]
        sys.modules[name] = package

    class Pretrained(nn.Module):
        """What ``torchvision.models.vgg19(pretrained=True)`` was, without the download."""

        def __init__(self, pretrained: bool = True) -> None:
            super().__init__()
            self.features = vgg_features()

    vgg.vgg19 = Pretrained
    if arguments.device == "cpu":
        nn.Module.cuda = lambda module, *_: module  # type: ignore[method-assign]
    import realesrgan.archs  # noqa: F401
    from realesrgan.models.realesrganArtifactsDis_model import (
        RealESRGANArtifactsDisModel,
    )

    return RealESRGANArtifactsDisModel


def _release_options(arguments: argparse.Namespace) -> dict[str, Any]:
    adam = {"type": "Adam", "lr": 1e-4, "weight_decay": 0, "betas": [0.9, 0.99]}
    return {
        "num_gpu": int(arguments.device == "cuda"),
        "dist": False,
        "is_train": True,
        "queue_size": 180,
        "scale": 4,
        "l1_gt_usm": False,
        "percep_gt_usm": False,
        "gan_gt_usm": False,
        "network_g": {
            "type": "RRDBNet",
            "num_in_ch": 3,
            "num_out_ch": 3,
            "num_feat": arguments.features,
            "num_block": arguments.blocks,
            "num_grow_ch": arguments.growth,
        },
        "network_d": {
            "type": "UNetDiscriminatorSN",
            "num_in_ch": 3,
            "num_feat": arguments.discriminator,
            "skip_connection": True,
        },
        "path": {},
        "train": {
            "ema_decay": 0.999,
            "optim_g": dict(adam),
            "optim_d": dict(adam),
            "scheduler": {"type": "MultiStepLR", "milestones": [400000], "gamma": 0.5},
            "pixel_opt": {"type": "L1Loss", "loss_weight": 1e-2, "reduction": "mean"},
            "artifacts_opt": {"type": "L1Loss", "loss_weight": 1.0, "reduction": "mean"},
            "perceptual_opt": {
                "type": "PerceptualLoss",
                "layer_weights": LAYERS,
                "vgg_type": "vgg19",
                "use_input_norm": True,
                "perceptual_weight": 1.0,
                "style_weight": 0,
                "range_norm": False,
            },
            "gan_opt": {
                "type": "GANLoss",
                "gan_type": "vanilla",
                "real_label_val": 1.0,
                "fake_label_val": 0.0,
                "loss_weight": 0.1,
            },
            "net_d_iters": 1,
            "net_d_init_iters": 0,
        },
    }


if __name__ == "__main__":
    main()
