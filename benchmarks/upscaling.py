"""Peak memory and time of upscaling one large image in tiles, beside Real-ESRGAN's own script.

    python benchmarks/upscaling.py --release REAL_ESRGAN_DIR --basicsr BASICSR_DIR

Each side is a process of its own that reads a PNG, upscales it with the same weights and the same
tiles, and writes a PNG. The release's ``realesrgan/utils.py`` runs unmodified: get both
repositories with git (xinntao/Real-ESRGAN, XPixelGroup/BasicSR). Without them, our side alone is
measured. Memory is the largest resident set, which Linux tells, and beside it the largest without
the pages of files (libraries, mostly), which the system can drop, looked at every few milliseconds.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import threading
import time
import types
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1]))

NETWORKS = {
    "srvgg": {"features": 64, "depth": 16},
    "rrdb": {"features": 64, "blocks": 2, "growth": 32},
}
"""SRVGGNetCompact as released; RRDBNet with two of its 23 blocks, as memory is the same for all."""


def main() -> None:
    """Measure both sides, several times if asked, and print medians and ratios."""
    arguments = _arguments()
    if arguments.side:
        print(json.dumps(_measure(arguments)))
        return
    with tempfile.TemporaryDirectory() as folder:
        arguments.folder = Path(folder)
        _prepare(arguments)
        sides = ["ours", "release"] if arguments.release else ["ours"]
        results: dict[str, list[dict[str, float]]] = {side: [] for side in sides}
        for _ in range(arguments.repeats):  # in turn, so that both see the same machine
            for side in sides:
                results[side].append(_run(arguments, side))
        _report(arguments, results)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--release", type=Path, help="checkout of xinntao/Real-ESRGAN")
    parser.add_argument("--basicsr", type=Path, help="checkout of XPixelGroup/BasicSR")
    parser.add_argument("--network", choices=NETWORKS, default="srvgg")
    parser.add_argument("--size", type=int, default=1024, help="side of the LR image")
    parser.add_argument("--tile", type=int, default=256, help="side of a tile")
    parser.add_argument("--overlap", type=int, default=18, help="context around a tile")
    parser.add_argument("--repeats", type=int, default=1)
    parser.add_argument("--side", choices=["ours", "release"], help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if bool(arguments.release) != bool(arguments.basicsr):
        parser.error("the release needs both --release and --basicsr")
    return arguments


def _prepare(arguments: argparse.Namespace) -> None:
    """Write the image and the weights that both sides read."""
    import torch

    from desra.images import write_png
    from desra.resampling import resize_lanczos
    from models.generators import RRDBNet, SRVGGNetCompact, write_generator

    rng = np.random.default_rng(0)
    coarse = rng.integers(0, 256, (arguments.size // 8, arguments.size // 8, 3), np.uint8)
    image = resize_lanczos(coarse, arguments.size, arguments.size)
    write_png(arguments.folder / "lr.png", image)
    torch.manual_seed(0)
    kind = {"srvgg": SRVGGNetCompact, "rrdb": RRDBNet}[arguments.network]
    write_generator(arguments.folder / "weights.pth", kind(4, **NETWORKS[arguments.network]))


def _run(arguments: argparse.Namespace, side: str) -> dict[str, float]:
    command = [sys.executable, __file__, "--side", side]
    for name in ("release", "basicsr", "network", "size", "tile", "overlap", "folder"):
        if getattr(arguments, name) is not None:
            command += [f"--{name}", str(getattr(arguments, name))]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"{side} failed:\n{done.stderr}")
    return json.loads(done.stdout.splitlines()[-1])


def _measure(arguments: argparse.Namespace) -> dict[str, float]:
    """One side, in a process of its own: seconds, and the most memory it had."""
    upscale = _ours(arguments) if arguments.side == "ours" else _release(arguments)
    loaded = _megabytes("VmHWM")
    done = threading.Event()
    with ThreadPoolExecutor(1) as pool:
        anonymous = pool.submit(_watch, done)
        start = time.perf_counter()
        try:
            upscale(arguments.folder / "lr.png", arguments.folder / f"{arguments.side}.png")
        finally:
            done.set()
        seconds = time.perf_counter() - start
    figures = {"seconds": seconds, "loaded": loaded, "peak": _megabytes("VmHWM")}
    return figures | {"anonymous": anonymous.result()}


def _watch(done: threading.Event) -> float:
    most = 0.0
    while not done.wait(0.004):
        most = max(most, _megabytes("RssAnon"))
    return most


def _megabytes(name: str) -> float:
    # Not getrusage: its maximum begins with that of the process which started this one.
    status = Path("/proc/self/status").read_text()
    return int(status.split(f"{name}:")[1].split()[0]) / 1024


def _ours(arguments: argparse.Namespace) -> Callable[[Path, Path], None]:
    from desra.image_writing import write_image
    from desra.images import Picture, read_image
    from models.generators import load_generator
    from models.upscaler import Upscaler

    upscaler = Upscaler(
        load_generator(arguments.folder / "weights.pth"),
        tile=arguments.tile,
        overlap=arguments.overlap,
        precision="fp32",
    )

    def upscale(source: Path, target: Path) -> None:
        picture = read_image(source)
        write_image(target, Picture(upscaler.upscale_image(picture.pixels), picture.icc))

    return upscale


def _release(arguments: argparse.Namespace) -> Callable[[Path, Path], None]:
    """The release's class, used as its ``inference_realesrgan.py`` does."""
    import cv2
    import torchvision.transforms.functional as functional

    # BasicSR imports a module that torchvision has dropped, and both packages import what only
    # training needs: their folders stand in for the packages, the files themselves are as released.
    sys.modules["torchvision.transforms.functional_tensor"] = functional
    for name, folder in (
        ("basicsr", arguments.basicsr / "basicsr"),
        ("basicsr.archs", arguments.basicsr / "basicsr" / "archs"),
        ("realesrgan", arguments.release / "realesrgan"),
        ("realesrgan.archs", arguments.release / "realesrgan" / "archs"),
    ):
        package = types.ModuleType(name)
        package.__path__ = [str(folder)]
        sys.modules[name] = package
    from basicsr.archs.rrdbnet_arch import RRDBNet
    from realesrgan.archs.srvgg_arch import SRVGGNetCompact
    from realesrgan.utils import RealESRGANer

    sizes = NETWORKS[arguments.network]
    if arguments.network == "srvgg":
        model = SRVGGNetCompact(3, 3, sizes["features"], sizes["depth"], 4, "prelu")
    else:
        model = RRDBNet(3, 3, 4, sizes["features"], sizes["blocks"], sizes["growth"])
    upsampler = RealESRGANer(
        scale=4,
        model_path=str(arguments.folder / "weights.pth"),
        model=model,
        tile=arguments.tile,
        tile_pad=arguments.overlap,
        pre_pad=0,
        half=False,
    )

    def upscale(source: Path, target: Path) -> None:
        output, _ = upsampler.enhance(cv2.imread(str(source), cv2.IMREAD_UNCHANGED), outscale=4)
        cv2.imwrite(str(target), output)

    return upscale


def _report(arguments: argparse.Namespace, results: dict[str, list[dict[str, float]]]) -> None:
    print(
        f"{arguments.network}, {arguments.size}x{arguments.size} LR, tiles of {arguments.tile} "
        f"with {arguments.overlap} around, float32, median of {arguments.repeats}"
    )
    medians = {
        side: {name: float(np.median([run[name] for run in runs])) for name in runs[0]}
        for side, runs in results.items()
    }
    for side, figures in medians.items():
        print(
            f"{side:8} peak {figures['peak']:5.0f} MB, of which {figures['loaded']:4.0f} MB before "
            f"the image; {figures['anonymous']:5.0f} MB without files; {figures['seconds']:6.1f} s"
        )
    if "release" not in medians:
        return
    ours, release = medians["ours"], medians["release"]
    own = {side: figures["peak"] - figures["loaded"] for side, figures in medians.items()}
    print(
        f"ours / release: peak {ours['peak'] / release['peak']:.2f}, without files "
        f"{ours['anonymous'] / release['anonymous']:.2f}, for the image alone "
        f"{own['ours'] / own['release']:.2f}; time {ours['seconds'] / release['seconds']:.2f}"
    )
    print(f"largest difference away from the border: {_difference(arguments)} of 255")


def _difference(arguments: argparse.Namespace) -> int:
    """Between the two outputs, without the border, which the release pads with zeros."""
    from desra.images import read_rgb

    first, second = (
        read_rgb(arguments.folder / f"{side}.png").astype(int) for side in ("ours", "release")
    )
    border = slice(4 * 32, -4 * 32)
    return int(np.abs(first - second)[border, border].max())


if __name__ == "__main__":
    main()
