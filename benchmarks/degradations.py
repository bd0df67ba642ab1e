"""Pairs a second from clean images, and their statistics, beside BasicSR's implementation.

    python benchmarks/degradations.py --release BASICSR_DIR [--device cuda] [--threads 2]
    python benchmarks/degradations.py --release BASICSR_DIR --statistics 1000

The release's data set and its model's ``feed_data`` run (get XPixelGroup/BasicSR with git) with the
settings that Real-ESRGAN was trained with, ours with the same, both from the same images. Two calls
that current PyTorch refuses are mended in passing: ``torchvision.transforms.functional_tensor``
is gone, and ``filter2D`` takes views of tensors that are not contiguous. Both sides make batches in
turn in one process. ``--seconds cpu`` counts processor time, for a machine that does other things,
too.

With ``--statistics`` each side degrades single crops of the same images, unsharpened, and for each
metric of an LR image a two-sample Kolmogorov-Smirnov test says how likely so large a difference is
between samples of one distribution. The release's JPEG doubles chroma by repeating pixels, where
libjpeg (and so ours) filters it; ``--real-jpeg`` gives the release libjpeg's.
"""

from __future__ import annotations

import argparse
import importlib
import random
import sys
import tempfile
import time
import types
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table
from scipy import stats
from torch import Tensor

sys.path.insert(0, str(Path(__file__).parents[1]))

from datamodules.degradations import BlurKernels, Degradation, UnsharpMask, compress_jpeg
from datamodules.degradations.draws import Draws
from datamodules.hr_images import HRImages
from datamodules.randomness import Purpose
from desra.files import find_images
from desra.images import read_rgb

MakeBatch = Callable[[], tuple[Tensor, Tensor]]
FAMILIES = ["iso", "aniso", "generalized_iso", "generalized_aniso", "plateau_iso", "plateau_aniso"]
KERNELS = {
    "blur_kernel_size": 21,
    "kernel_list": FAMILIES,
    "kernel_prob": [0.45, 0.25, 0.12, 0.03, 0.12, 0.03],
    "sinc_prob": 0.1,
    "blur_sigma": [0.2, 3],
    "betag_range": [0.5, 4],
    "betap_range": [1, 2],
}
ROUND = {
    "resize_prob": [0.2, 0.7, 0.1],
    "resize_range": [0.15, 1.5],
    "gaussian_noise_prob": 0.5,
    "noise_range": [1, 30],
    "poisson_scale_range": [0.05, 3],
    "gray_noise_prob": 0.4,
    "jpeg_range": [30, 95],
}
ROUND2 = {
    "resize_prob": [0.3, 0.4, 0.3],
    "resize_range": [0.3, 1.2],
    "gaussian_noise_prob": 0.5,
    "noise_range": [1, 25],
    "poisson_scale_range": [0.05, 2.5],
    "gray_noise_prob": 0.4,
    "jpeg_range": [30, 95],
}
SETTINGS = {
    **KERNELS,
    **{f"{name}2": value for name, value in KERNELS.items()},
    "blur_sigma2": [0.2, 1.5],
    **ROUND,
    **{f"{name}2": value for name, value in ROUND2.items()},
    "second_blur_prob": 0.8,
    "final_sinc_prob": 0.8,
    "use_hflip": True,
    "use_rot": False,
    "scale": 4,
    "gt_size": 256,
    "queue_size": 180,
    "io_backend": {"type": "disk"},
}
SIDE = 400


def main() -> None:
    """Measure, and print a table."""
    arguments = _arguments()
    warnings.simplefilter("ignore")
    torch.set_num_threads(arguments.threads)
    cv2.setNumThreads(arguments.threads)
    with tempfile.TemporaryDirectory() as folder:
        images = _images(arguments, Path(folder))
        if arguments.statistics:
            _compare_statistics(arguments, images)
        else:
            _race(arguments, images)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--release", type=Path, help="checkout of XPixelGroup/BasicSR")
    parser.add_argument("--images", type=Path, help="folder of clean images; else they are painted")
    parser.add_argument("--batch", type=int, default=12)
    parser.add_argument("--rounds", type=int, default=10, help="measured; one more comes before")
    parser.add_argument("--device", choices=["cpu", "cuda"], default="cpu")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--seconds", choices=["wall", "cpu"], default="wall")
    parser.add_argument("--unsharpened", action="store_true", help="leave out the unsharp mask")
    parser.add_argument("--statistics", type=int, metavar="PAIRS")
    parser.add_argument("--real-jpeg", action="store_true", help="in the release, too")
    return parser.parse_args()


def _images(arguments: argparse.Namespace, folder: Path) -> list[Path]:
    """Crops of 400 × 400, as BMP, so that neither side spends time on decoding."""
    rng = np.random.default_rng(0)
    if arguments.images:
        pictures = [read_rgb(files[0]) for files in find_images(arguments.images).values()]
    else:
        pictures = [_paint(rng) for _ in range(16)]
    paths = []
    for number, picture in enumerate(pictures):
        below, beside = (max(SIDE - length, 0) for length in picture.shape[:2])
        whole = cv2.copyMakeBorder(picture, 0, below, 0, beside, cv2.BORDER_REFLECT_101)
        paths.append(folder / f"{number:04d}.bmp")
        cv2.imwrite(str(paths[-1]), cv2.cvtColor(whole[:SIDE, :SIDE], cv2.COLOR_RGB2BGR))
    return paths


def _paint(rng: np.random.Generator) -> NDArray[np.uint8]:
    """Noise of all scales, which has a photo's spectrum, with edges."""
    picture = np.zeros((SIDE, SIDE, 3))
    for side in (2, 4, 8, 16, 32, 64, 128, 256, SIDE):
        noise = rng.normal(0, 60 / np.sqrt(side / 2), (side, side, 3))
        picture += cv2.resize(noise, (SIDE, SIDE), interpolation=cv2.INTER_CUBIC)
    for _ in range(10):
        (top, left), (height, width) = rng.integers(0, SIDE, 2), rng.integers(10, 120, 2)
        picture[top : top + height, left : left + width] = rng.integers(-80, 80, 3)
    return (picture + 128).clip(0, 255).astype(np.uint8)


# --- time -----------------------------------------------------------------------------------------


def _race(arguments: argparse.Namespace, images: list[Path]) -> None:
    sides: dict[str, MakeBatch] = {"ours": _ours(arguments, images[0].parent)}
    if arguments.release:
        sides["release"] = _release(arguments, images)
    clock = time.perf_counter if arguments.seconds == "wall" else time.process_time
    seconds: dict[str, list[float]] = {name: [] for name in sides}
    for number in range(arguments.rounds + 1):
        for name, make in sides.items():
            _wait(arguments)
            start = clock()
            lr, gt = make()
            _wait(arguments)
            assert lr.shape[-1] * 4 == gt.shape[-1] == 256
            if number:
                seconds[name].append(clock() - start)
    sharpened = "unsharpened" if arguments.unsharpened else "sharpened"
    print(
        f"batches of {arguments.batch}, {SIDE} pixels degraded, {sharpened} targets, "
        f"{arguments.device}, {arguments.threads} thread(s), {arguments.rounds} batches each in "
        f"turn, {arguments.seconds} seconds, torch {torch.__version__}"
    )
    for name, times in seconds.items():
        # The mean, not the median: what a batch costs depends on the factors it has drawn.
        mean, middle = (arguments.batch / value for value in (np.mean(times), np.median(times)))
        print(f"{name:8} {mean:8.1f} pairs/s (median {middle:.1f})")
    if arguments.release:
        print(f"ours / release: {np.mean(seconds['release']) / np.mean(seconds['ours']):.2f}")


def _wait(arguments: argparse.Namespace) -> None:
    if arguments.device == "cuda":
        torch.cuda.synchronize()


class _OnDevice(HRImages):
    """Ours without a Trainer that would say which device."""

    chosen = torch.device("cpu")

    @property
    def device(self) -> torch.device:
        return self.chosen


def _ours(arguments: argparse.Namespace, folder: Path) -> MakeBatch:
    data = _OnDevice(
        str(folder),
        val_share=0,
        unsharp=None if arguments.unsharpened else UnsharpMask(),
        batch_size=arguments.batch,
        group_size=arguments.batch,
        pool_size=1,  # a pool would make all its batches within the first one's time
        epoch_steps=10**6,
        num_workers=0,
    )
    data.chosen = torch.device(arguments.device)
    data.setup()
    batches = iter(data.train_dataloader())

    def make() -> tuple[Tensor, Tensor]:
        batch = data.on_after_batch_transfer(next(batches), 0)
        return batch["lr"], batch["gt"]

    return make


def _release(arguments: argparse.Namespace, images: list[Path]) -> MakeBatch:
    samples, feed = _released_parts(arguments, images)

    def make() -> tuple[Tensor, Tensor]:
        batch = [next(samples) for _ in range(arguments.batch)]
        names = ("gt", "kernel1", "kernel2", "sinc_kernel")
        return feed({name: torch.stack([sample[name] for sample in batch]) for name in names})

    return make


def _released_parts(
    arguments: argparse.Namespace, images: list[Path]
) -> tuple[Iterator[dict[str, Any]], Callable[[dict[str, Tensor]], tuple[Tensor, Tensor]]]:
    """Samples of the release's data set, and the degradations of its model."""
    _prepare_imports(arguments.release)
    data = importlib.import_module("basicsr.data.realesrgan_dataset")
    models = importlib.import_module("basicsr.models.realesrgan_model")
    utils = importlib.import_module("basicsr.utils")
    folder = images[0].parent
    (folder / "names.txt").write_text("\n".join(path.name for path in images))
    options = {**SETTINGS, "dataroot_gt": str(folder), "meta_info": str(folder / "names.txt")}
    options["io_backend"] = {"type": "disk"}
    dataset = data.RealESRGANDataset(options)
    original = models.filter2D
    vars(models)["filter2D"] = lambda image, kernel: original(image.contiguous(), kernel)
    model = object.__new__(models.RealESRGANModel)
    model.opt, model.device, model.is_train = SETTINGS, torch.device(arguments.device), True
    model.queue_size = arguments.batch * max(180 // arguments.batch, 1)
    model.jpeger = utils.DiffJPEG(differentiable=False).to(arguments.device)
    if arguments.real_jpeg:
        model.jpeger = lambda images, quality: compress_jpeg(images, quality.cpu().numpy())
    sharpen = utils.USMSharp().to(arguments.device)
    unsharpened = arguments.unsharpened or arguments.statistics
    model.usm_sharpener = (lambda image: image) if unsharpened else sharpen
    if arguments.device == "cpu" or arguments.statistics:  # the pool is on the GPU or nowhere
        model._dequeue_and_enqueue = lambda: None

    order = range(len(dataset))

    def draw() -> Iterator[dict[str, Any]]:
        while True:
            yield from (dataset[index] for index in random.sample(order, len(order)))

    def feed(batch: dict[str, Tensor]) -> tuple[Tensor, Tensor]:
        with torch.no_grad():
            model.feed_data(batch)
        return model.lq, model.gt

    return draw(), feed


def _prepare_imports(root: Path) -> None:
    """Make the release's modules importable without its package's own list of everything."""
    functional = importlib.import_module("torchvision.transforms.functional")
    shim = types.ModuleType("torchvision.transforms.functional_tensor")
    shim.rgb_to_grayscale = functional.rgb_to_grayscale  # type: ignore[attr-defined]
    sys.modules[shim.__name__] = shim
    for name in ("basicsr", "basicsr.data", "basicsr.models", "basicsr.losses"):
        package = types.ModuleType(name)
        package.__path__ = [str(root / name.replace(".", "/"))]
        sys.modules[name] = package
    base = types.ModuleType("basicsr.models.srgan_model")
    base.SRGANModel = object  # type: ignore[attr-defined]
    sys.modules[base.__name__] = base


# --- statistics -----------------------------------------------------------------------------------


def _compare_statistics(arguments: argparse.Namespace, images: list[Path]) -> None:
    if not arguments.release:
        raise SystemExit("--statistics needs --release")
    count = arguments.statistics
    random.seed(0)
    np.random.seed(0)  # noqa: NPY002  # what the release draws from
    torch.manual_seed(0)
    samples, feed = _released_parts(arguments, images)
    degrade = Degradation()
    table = Table("figure", "ours", "release", "p", title=f"{count} pairs a side")
    kernels: dict[str, list[NDArray]] = {"kernel1": [], "kernel2": [], "sinc_kernel": []}
    figures: dict[str, list[dict[str, float]]] = {"ours": [], "release": []}
    start = int(
        0.5 * (SIDE - 256) / 4
    )  # all metrics are of the middle, as the release cuts at random
    for number in range(count):
        sample = next(samples)
        for name, found in kernels.items():
            found.append(sample[name].numpy())
        batch = {name: sample[name][None] for name in (*kernels, "gt")}
        lr, _ = feed(batch)
        figures["release"].append(_figures(lr))
        ours = degrade(sample["gt"][None].to(arguments.device), 0, number, [number])
        figures["ours"].append(_figures(ours[..., start : start + 64, start : start + 64]))
    for name, blur in (("kernel1", BlurKernels()), ("kernel2", BlurKernels((0.2, 1.5)))):
        draws = Draws(0, Purpose.DEGRADATION, range(count), BlurKernels.DRAWS)
        sides = [_kernel_figures(k) for k in (blur.draw(draws).numpy(), np.stack(kernels[name]))]
        for figure in sides[0]:
            _add_row(table, f"{name} {figure}", sides[0][figure], sides[1][figure])
    for figure in figures["ours"][0]:
        both = [np.array([row[figure] for row in figures[side]]) for side in ("ours", "release")]
        _add_row(table, figure, *both)
    Console().print(table)


def _add_row(table: Table, name: str, ours: NDArray, release: NDArray) -> None:
    texts = (
        " ".join(f"{value:.4g}" for value in np.percentile(values, [10, 50, 90]))
        for values in (ours, release)
    )
    table.add_row(name, *texts, f"{stats.ks_2samp(ours, release).pvalue:.3f}")


def _kernel_figures(kernels: NDArray) -> dict[str, NDArray]:
    """Extent, width, elongation, centre and least value of ``(N, 21, 21)`` kernels."""
    x, y = np.meshgrid(np.arange(21) - 10, np.arange(21) - 10)
    reach = np.maximum(abs(x), abs(y))
    moments = {
        name: (kernels * part).sum((1, 2))
        for name, part in (("xx", x * x), ("yy", y * y), ("xy", x * y))
    }
    return {
        "side": 2 * np.array([reach[kernel != 0].max() for kernel in kernels]) + 1,
        "second moment": moments["xx"] + moments["yy"],
        "elongation": np.hypot(moments["xx"] - moments["yy"], 2 * moments["xy"]),
        "centre": kernels[:, 10, 10],
        "least": kernels.min((1, 2)),
    }


def _figures(lr: Tensor) -> dict[str, float]:
    """Of one LR image, ``(1, 3, 64, 64)``: mean, contrast, spectrum, blocks, and colour noise."""
    image = lr[0].double().cpu()
    weights = torch.tensor([0.299, 0.587, 0.114], dtype=torch.float64).view(3, 1, 1)
    luma = (image * weights).sum(0)
    chroma = image[0] - luma
    found = {"mean": float(luma.mean()), "contrast": float(luma.std())}
    for name, plane in (("luma", luma), ("chroma", chroma)):
        window = torch.hann_window(64, dtype=torch.float64)
        power = torch.fft.fft2((plane - plane.mean()) * window * window[:, None]).abs() ** 2
        frequency = torch.fft.fftfreq(64, dtype=torch.float64)
        radius = torch.hypot(frequency, frequency[:, None])
        for low, high in ((0.02, 0.1), (0.1, 0.2), (0.2, 0.3), (0.3, 0.4), (0.4, 0.5)):
            ring = power[(radius >= low) & (radius < high)].mean()
            found[f"{name} power {low}-{high}"] = float(torch.log10(ring + 1e-6))
    steps = (luma[:, 1:] - luma[:, :-1]).abs().mean(0)
    by_phase = torch.stack([steps[phase::8].mean() for phase in range(8)])
    found["largest step at one of 8 phases"] = float(by_phase.max() / (by_phase.mean() + 1e-9))
    return found


if __name__ == "__main__":
    main()
