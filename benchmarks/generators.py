"""Seconds an image of each generator, beside the networks as their releases write them.

    python benchmarks/generators.py [--networks rrdbnet srvgg swinir] [--size 128] [--threads 2]
    python benchmarks/generators.py --release BASICSR_DIR
    python benchmarks/generators.py --device cuda --precision fp16 --size 256

The releases' networks come from spandrel, which carries them, or, with ``--release``, from BasicSR
itself (get XPixelGroup/BasicSR with git), unmodified. Both sides have the same random weights and
take images in turn in one process; ratios are of medians. The releases run in float32 on the
processor and in float16 on a GPU, as their scripts do. Errors are the largest of any value, ours
against the release and each against float64 (of a part of the image, where that takes long).
``--seconds cpu`` counts processor time, for a machine that does other things, too.
"""

from __future__ import annotations

import argparse
import copy
import importlib
import sys
import time
import types
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from statistics import median
from typing import cast

import torch
from rich.console import Console
from rich.table import Table
from torch import Tensor, nn

sys.path.insert(0, str(Path(__file__).parents[1]))

from models.generators import RRDBNet, SRVGGNetCompact, SwinIR, prepare_for_inference
from models.generators.inference import Acceleration

NETWORKS: dict[str, Callable[[], nn.Module]] = {
    "rrdbnet": RRDBNet,
    "rrdbnet-6": lambda: RRDBNet(blocks=6),
    "srvgg": SRVGGNetCompact,
    "srvgg-32": lambda: SRVGGNetCompact(depth=32),
    "swinir": SwinIR,
    "swinir-large": lambda: SwinIR(
        embed_dim=240, depths=[6] * 9, num_heads=[8] * 9, resi_connection="3conv"
    ),
}
TYPES = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}
EXACT_SIDE = 48
"""Side of the image whose output in float64 errors are measured against."""


def main() -> None:
    """Measure the chosen networks and print a table."""
    arguments = _arguments()
    if arguments.threads:
        torch.set_num_threads(arguments.threads)
    warnings.filterwarnings("ignore", message="torch.meshgrid")
    device = torch.device(arguments.device)
    where = torch.cuda.get_device_name(device) if device.type == "cuda" else "processor"
    console = Console()
    console.print(
        f"{where}, {torch.get_num_threads()} threads, torch {torch.__version__}, "
        f"{arguments.batch} × 3 × {arguments.size} × {arguments.size}, ours {arguments.precision}"
    )
    table = Table("network", "theirs s", "ours s", "ratio", "ours − theirs", "ours", "theirs")
    for name in arguments.networks:
        for row in _compare(name, arguments, device):
            table.add_row(*row)
    console.print(table)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--networks", nargs="+", choices=NETWORKS, default=list(NETWORKS)[::2])
    parser.add_argument("--size", type=int, default=128, help="side of the input")
    parser.add_argument("--batch", type=int, default=1)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--precision", choices=TYPES, default="fp32", help="ours")
    parser.add_argument(
        "--acceleration",
        nargs="+",
        choices=("none", "compile"),
        default=["none"],
        help="on a GPU; one row for each",
    )
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--threads", type=int, help="default: as PyTorch has them")
    parser.add_argument("--seconds", choices=("wall", "cpu"), default="wall")
    parser.add_argument("--release", type=Path, help="a checkout of BasicSR")
    return parser.parse_args()


def _compare(
    name: str, arguments: argparse.Namespace, device: torch.device
) -> Iterator[tuple[str, ...]]:
    torch.manual_seed(0)
    network = NETWORKS[name]().eval()
    theirs = _basicsr(arguments.release, network) if arguments.release else _spandrel(network)
    their_type = torch.float16 if device.type == "cuda" else torch.float32
    theirs = theirs.to(device, their_type)
    lr = torch.rand(arguments.batch, 3, arguments.size, arguments.size)
    exact = _exact(network, lr)

    def run_theirs() -> Tensor:
        return theirs(lr.to(device, their_type))

    for acceleration in arguments.acceleration if device.type == "cuda" else ["none"]:
        kind = cast(Acceleration, acceleration)
        ours = prepare_for_inference(network, device, TYPES[arguments.precision], kind)

        def run_ours(ours: nn.Module = ours) -> Tensor:
            return ours(lr.to(device))

        times = _in_turn([run_theirs, run_ours], arguments.repeats, arguments.seconds, device)
        with torch.inference_mode():
            their_output, output = run_theirs().float().cpu(), run_ours().float().cpu()
            parts = [theirs(_part(lr).to(device, their_type)), ours(_part(lr).to(device))]
        assert torch.isfinite(output).all(), f"{name}: NaN or infinity in the output"
        errors = [(part.float().cpu() - exact).abs().max().item() for part in parts]
        yield (
            name if acceleration == "none" else f"{name}, {acceleration}",
            f"{times[0]:.3f}",
            f"{times[1]:.3f}",
            f"{times[0] / times[1]:.2f}",
            f"{(output - their_output).abs().max().item():.1e}",
            f"{errors[1]:.1e}",
            f"{errors[0]:.1e}",
        )


def _part(lr: Tensor) -> Tensor:
    return lr[:1, :, :EXACT_SIDE, :EXACT_SIDE]


@torch.inference_mode()
def _exact(network: nn.Module, lr: Tensor) -> Tensor:
    return copy.deepcopy(network).double()(_part(lr).double())


def _in_turn(
    runs: list[Callable[[], Tensor]], repeats: int, seconds: str, device: torch.device
) -> list[float]:
    """Median seconds of each, measured alternately after one run that does not count."""
    clock = time.perf_counter if seconds == "wall" else time.process_time
    times: list[list[float]] = [[] for _ in runs]
    with torch.inference_mode():
        for repeat in range(repeats + 1):
            for run, spent in zip(runs, times, strict=True):
                begin = clock()
                run()
                if device.type == "cuda":
                    torch.cuda.synchronize(device)
                if repeat:
                    spent.append(clock() - begin)
    return [median(spent) for spent in times]


def _spandrel(network: nn.Module) -> nn.Module:
    from spandrel import ModelLoader

    state = {key: tensor.clone() for key, tensor in network.state_dict().items()}
    return ModelLoader("cpu").load_from_state_dict(state).model.eval()


def _basicsr(checkout: Path, network: nn.Module) -> nn.Module:
    """The release's network with the same weights.

    Its packages import all of BasicSR and what that once ran on, so that only the files of the
    networks are imported, through empty packages.
    """
    if not (checkout / "basicsr" / "archs").is_dir():
        raise SystemExit(f"{checkout}: no checkout of BasicSR")
    for name in ("basicsr", "basicsr.archs", "basicsr.utils"):
        package = types.ModuleType(name)
        package.__path__ = [str(checkout.joinpath(*name.split(".")))]
        sys.modules.setdefault(name, package)
    sys.modules["basicsr.utils"].get_root_logger = None  # type: ignore[attr-defined]
    if isinstance(network, RRDBNet):
        release = importlib.import_module("basicsr.archs.rrdbnet_arch").RRDBNet(
            3, 3, network.scale, num_block=len(network.trunk)
        )
    elif isinstance(network, SRVGGNetCompact):
        release = importlib.import_module("basicsr.archs.srvgg_arch").SRVGGNetCompact(
            num_conv=len(network.convolutions) - 2, upscale=network.scale
        )
    else:
        assert isinstance(network, SwinIR)
        groups = network.groups
        release = importlib.import_module("basicsr.archs.swinir_arch").SwinIR(
            upscale=network.scale,
            img_size=64,
            window_size=network.window_size,
            depths=[len(group.blocks) for group in groups],
            embed_dim=network.conv_first.out_channels,
            num_heads=[group.blocks[0].attn.heads for group in groups],
            mlp_ratio=2,
            upsampler=network.upsampler,
            resi_connection="1conv" if isinstance(groups[0].conv, nn.Conv2d) else "3conv",
        )
    release.load_state_dict(network.state_dict(), strict=True)
    return release.eval()


if __name__ == "__main__":
    main()
