"""Time and memory of upscaling, beside the programs that a user would pick instead.

    python -m benchmarks.runtimes NETWORK [--weights FILE] --photos DIR [--side 128] [--count 3]
    python -m benchmarks.runtimes NETWORK … --commands

OpenVINO, ONNX Runtime and ncnn run the same network, as `export.py` writes it, in float32 and as
many threads. Each is a process of its own that has nothing loaded but its runtime, NumPy and
OpenCV, and takes photos in turn with the others. *Network* is the network alone; *picture* is from
one PNG to the other. Medians, and the largest resident set of each process.

``--commands`` measures whole commands on all photos, start and loading included: ``upscale.py``
beside a script that reads, runs and writes. ``--folder`` keeps what was prepared, so that a second
call measures alone. ``--processor`` counts processor time, for a machine that does other things
too; with ``--threads 1``, as threads that wait for each other spin.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from functools import cache
from pathlib import Path
from statistics import median
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))  # for our own side; the others load nothing of it

NETWORKS = {
    "compact": ("SRVGGNetCompact", {}),
    "rrdbnet": ("RRDBNet", {}),
    "rrdbnet-6": ("RRDBNet", {"blocks": 6}),
    "swinir": ("SwinIR", {}),
}
"""As released: 16 convolutions, 23 and 6 blocks, SwinIR-M."""

Array = NDArray[np.float32]
Run = Callable[[Array], Array]


# --- the programs, each in its own process --------------------------------------------------------


def _openvino(folder: Path, threads: int) -> Run:
    import openvino

    core = openvino.Core()
    settings = {"INFERENCE_NUM_THREADS": threads, "INFERENCE_PRECISION_HINT": "f32"}

    @cache  # for a size that is known it may choose faster kernels
    def compiled(height: int, width: int) -> Any:
        model = core.read_model(str(folder / "model.onnx"))
        model.reshape([1, 3, height, width])
        return core.compile_model(model, "CPU", {**settings, "PERFORMANCE_HINT": "LATENCY"})

    return lambda lr: compiled(*lr.shape[1:])(lr[None])[0][0]


def _onnxruntime(folder: Path, threads: int) -> Run:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    session = onnxruntime.InferenceSession(
        str(folder / "model.onnx"), options, providers=["CPUExecutionProvider"]
    )
    return lambda lr: session.run(None, {"input": lr[None]})[0][0]


def _ncnn(folder: Path, threads: int) -> Run:
    import ncnn

    net = ncnn.Net()
    net.opt.num_threads = threads
    net.opt.use_fp16_packed = net.opt.use_fp16_storage = net.opt.use_fp16_arithmetic = False
    net.opt.use_bf16_storage = False
    assert not net.load_param(str(folder / "model.param"))
    assert not net.load_model(str(folder / "model.bin"))

    def run(lr: Array) -> Array:
        extractor = net.create_extractor()
        extractor.input("data", ncnn.Mat(lr))
        return np.array(extractor.extract("output")[1])

    return run


PEERS = {"OpenVINO": _openvino, "ONNX Runtime": _onnxruntime, "ncnn": _ncnn}
OURS = "desra"


def _read(path: Path) -> Array:
    pixels = cv2.imread(str(path))
    assert pixels is not None
    return np.ascontiguousarray(pixels[..., ::-1].transpose(2, 0, 1), np.float32) / np.float32(255)


def _upscaled_by(
    run: Run, clock: Callable[[], float] = time.perf_counter
) -> Callable[[Path, Path], float]:
    """Upscale a file into another; returns the seconds of the network alone."""

    def upscale(source: Path, target: Path) -> float:
        lr = _read(source)
        start = clock()
        output = run(lr)
        seconds = clock() - start
        levels = np.rint(output.clip(0, 1) * 255).astype(np.uint8).transpose(1, 2, 0)
        cv2.imwrite(str(target), levels[..., ::-1])
        return seconds

    return upscale


def _ours(folder: Path, threads: int) -> tuple[Run, Callable[[Path, Path], float]]:
    import torch

    from desra.image_writing import write_image
    from desra.images import Picture, read_image
    from models.upscaler import Upscaler

    torch.set_num_threads(threads)
    upscaler = Upscaler(folder / "weights.pth", precision="fp32", border=0)  # as upscale.py
    network = upscaler._network(torch.float32)  # the same, so that memory has it once

    def upscale(source: Path, target: Path) -> float:
        picture = read_image(source)
        write_image(target, Picture(upscaler.upscale_image(picture.pixels), picture.icc))
        return 0.0

    return lambda lr: network(torch.from_numpy(lr)[None])[0].numpy(), upscale


def serve(side: str, folder: Path, threads: int, processor: bool) -> None:
    """Take numbers of photos from stdin; answer with seconds, and at the end with memory."""
    clock = time.process_time if processor else time.perf_counter
    if side == OURS:
        run, upscale = _ours(folder, threads)
    else:
        run = PEERS[side](folder, threads)
        upscale = _upscaled_by(run, clock)
    photos = sorted((folder / "photos").iterdir())
    print("ready", flush=True)
    for line in sys.stdin:
        photo = photos[int(line)]
        target = folder / f"{side.replace(' ', '')}_{photo.name}"
        start = clock()
        network = upscale(photo, target)
        whole = clock() - start
        if side == OURS:
            lr = _read(photo)
            start = clock()
            output = run(lr)
            network = clock() - start
        print(json.dumps({"network": network, "picture": whole}), flush=True)
    output = run(np.load(folder / "lr.npy"))
    np.save(folder / f"{side}.npy", output)
    error = float(np.abs(output - np.load(folder / "reference.npy")).max())
    status = Path("/proc/self/status").read_text()
    peak = int(status.split("VmHWM:")[1].split()[0]) / 1024
    print(json.dumps({"peak": peak, "error": error}), flush=True)


def all_photos(side: str, folder: Path, threads: int) -> None:
    """What a user's script does: every photo, and then it is done."""
    upscale = _upscaled_by(PEERS[side](folder, threads))
    (folder / "out").mkdir(exist_ok=True)
    for photo in sorted((folder / "photos").iterdir()):
        upscale(photo, folder / "out" / photo.name)


# --- preparing ------------------------------------------------------------------------------------


def prepare(given: argparse.Namespace) -> None:
    """Write photos, the network in each program's format, and what PyTorch makes of a photo."""
    import torch

    from desra.errors import InputError
    from desra.files import find_images
    from desra.images import read_rgb, to_tensor, write_png
    from models import generators
    from models.exporting import write
    from models.generators import load_generator, write_generator

    name, sizes = NETWORKS[given.network]
    torch.manual_seed(0)
    network = load_generator(given.weights) if given.weights else getattr(generators, name)(**sizes)
    network = network.eval()
    folder: Path = given.folder
    folder.mkdir(parents=True, exist_ok=True)
    write_generator(folder / "weights.pth", network)
    write(network, folder / "model", "onnx")
    try:
        if given.ncnn:
            for suffix in (".param", ".bin"):
                shutil.copyfile(given.ncnn.with_suffix(suffix), folder / f"model{suffix}")
        else:
            write(network, folder / "model", "ncnn")
    except InputError as error:  # SwinIR
        print(f"without ncnn: {error}")
    side = given.side
    chosen: list[NDArray[np.uint8]] = []
    for paths in find_images(given.photos).values():
        pixels = read_rgb(paths[0])
        top, left = ((length - side) // 2 for length in pixels.shape[:2])
        if min(top, left) >= 0 and len(chosen) < given.count:
            chosen.append(pixels[top : top + side, left : left + side])
    if not chosen:
        raise SystemExit(f"{given.photos}: no photo of {side} pixels a side")
    for number, pixels in enumerate(chosen):
        write_png(folder / "photos" / f"{number:02}.png", np.ascontiguousarray(pixels))
    lr = to_tensor(np.ascontiguousarray(chosen[0][:96, :96]))
    with torch.inference_mode():
        np.save(folder / "reference.npy", network(lr)[0].numpy())
    np.save(folder / "lr.npy", lr[0].numpy())


# --- measuring ------------------------------------------------------------------------------------


def measure(given: argparse.Namespace) -> dict[str, dict[str, float]]:
    """Medians of seconds, memory and error of each program."""
    processes = {side: _start(given, side) for side in given.sides}
    times: dict[str, list[dict[str, float]]] = {side: [] for side in processes}
    count = len(list((given.folder / "photos").iterdir()))
    for side, process in processes.items():
        assert _answer(process, side) == "ready"
    for turn in range(given.repeats + 1):  # the first warms up
        for photo in range(count if turn else 1):
            for side, process in processes.items():
                assert process.stdin is not None
                process.stdin.write(f"{photo}\n")
                process.stdin.flush()
                seconds = json.loads(_answer(process, side))
                if turn:
                    times[side].append(seconds)
    found = {}
    for side, process in processes.items():
        assert process.stdin is not None
        process.stdin.close()
        found[side] = {
            name: median(turn[name] for turn in times[side]) for name in ("network", "picture")
        } | json.loads(_answer(process, side))
        process.wait()
    return found


def _start(given: argparse.Namespace, side: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        _script(given, "--serve", side, *["--processor"] * given.processor),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env=_environment(given),
    )


def _script(given: argparse.Namespace, *what: str) -> list[str]:
    settings = ("--folder", str(given.folder), "--threads", str(given.threads))
    return [sys.executable, "-W", "ignore", __file__, given.network, *settings, *what]


def _environment(given: argparse.Namespace) -> dict[str, str]:
    return {**os.environ, "OMP_NUM_THREADS": str(given.threads), "MKL_NUM_THREADS": "2"}


def _answer(process: subprocess.Popen[str], side: str) -> str:
    assert process.stdout is not None
    line = process.stdout.readline().strip()
    if not line:
        raise SystemExit(f"{side} ended")
    return line


def measure_commands(given: argparse.Namespace) -> dict[str, dict[str, float]]:
    """Medians of seconds of whole commands, and memory."""
    times: dict[str, list[float]] = {side: [] for side in given.sides}
    peaks: dict[str, float] = {}
    for turn in range(given.repeats):
        for side in given.sides:
            command = _script(given, "--all-photos", side)
            if side == OURS:
                command = [
                    *(sys.executable, str(ROOT / "upscale.py"), f"input={given.folder}/photos"),
                    *(f"weights={given.folder}/weights.pth", "trainer=cpu"),
                    f"output_dir={given.folder}/ours{turn}",
                ]
            start = time.perf_counter()
            process = subprocess.Popen(
                command,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                env=_environment(given),
            )
            _, status, usage = os.wait4(process.pid, 0)
            times[side].append(time.perf_counter() - start)
            if status:
                raise SystemExit(f"{side} failed: {' '.join(command)}")
            # This process is the smallest, so that its own maximum, which children inherit, does
            # not show.
            peaks[side] = max(peaks.get(side, 0), usage.ru_maxrss / 1024)
    return {side: {"command": median(times[side]), "peak": peaks[side]} for side in times}


def draw(folder: Path, found: dict[str, dict[str, float]], path: Path) -> None:
    """What each program makes of the first photo: the middle of it, side by side."""
    panels = []
    for side in ("PyTorch", *found):
        output = np.load(folder / ("reference.npy" if side == "PyTorch" else f"{side}.npy"))
        levels = np.rint(output.clip(0, 1) * 255).astype(np.uint8).transpose(1, 2, 0)
        margin = levels.shape[0] // 6
        panel = np.ascontiguousarray(levels[margin:-margin, margin:-margin, ::-1])
        panel = cv2.copyMakeBorder(panel, 24, 0, 0, 6, cv2.BORDER_CONSTANT, value=(255,) * 3)
        said = f"{side}, {found[side]['error']:.0e} off" if side in found else side
        cv2.putText(panel, said, (2, 17), cv2.FONT_HERSHEY_SIMPLEX, 0.5, (0, 0, 0), 1, cv2.LINE_AA)
        panels.append(panel)
    cv2.imwrite(str(path), cv2.hconcat(panels), [cv2.IMWRITE_JPEG_QUALITY, 88])


def report(found: dict[str, dict[str, float]]) -> None:
    """Print a table; ratios are to ours."""
    ours = found[OURS]
    columns = list(ours)
    print("".join(f"{name:>22}" for name in ("", *columns)))
    for side, figures in found.items():
        cells = []
        for name in columns:
            value = figures[name]
            if name == "error":
                cells.append(f"{value:.1e}")
            elif name == "peak":
                cells.append(f"{value:.0f} MB ({value / ours[name]:.2f})")
            else:
                cells.append(f"{value:.3f} s ({value / ours[name]:.2f})")
        print("".join(f"{cell:>22}" for cell in (side, *cells)))


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("network", choices=NETWORKS)
    parser.add_argument("--weights", help="a file or a name; random ones if not given")
    parser.add_argument("--ncnn", type=Path, help="a pair of the weights; converted if not given")
    parser.add_argument("--photos", type=Path, help="a folder of photos")
    parser.add_argument("--side", type=int, default=128, help="of the LR crop of a photo")
    parser.add_argument("--count", type=int, default=3, help="photos")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--processor", action="store_true", help="seconds of it: see above")
    parser.add_argument("--sides", nargs="+", choices=[OURS, *PEERS], default=[OURS, *PEERS])
    parser.add_argument("--commands", action="store_true", help="whole commands")
    parser.add_argument("--folder", type=Path, help="keeps what was prepared")
    parser.add_argument("--picture", type=Path, help="of what each makes of the first photo")
    parser.add_argument("--prepare", action="store_true", help="that alone")
    parser.add_argument("--serve", help=argparse.SUPPRESS)
    parser.add_argument("--all-photos", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.serve:
        serve(given.serve, given.folder, given.threads, given.processor)
    elif given.all_photos:
        all_photos(given.all_photos, given.folder, given.threads)
    elif given.prepare:
        prepare(given)
    else:
        with tempfile.TemporaryDirectory() as folder:
            given.folder = given.folder or Path(folder)
            if not (given.folder / "lr.npy").is_file():
                if given.photos is None:
                    parser.error("--photos: a folder of photos")
                words = ["--photos", str(given.photos), "--side", str(given.side), "--prepare"]
                words += ["--count", str(given.count)]
                words += ["--weights", given.weights] if given.weights else []
                words += ["--ncnn", str(given.ncnn)] if given.ncnn else []
                subprocess.run(_script(given, *words), check=True)
            if not (given.folder / "model.param").is_file():
                given.sides = [side for side in given.sides if side != "ncnn"]
            measured = measure_commands(given) if given.commands else measure(given)
            if given.picture:
                draw(given.folder, measured, given.picture)
        clock = "processor time" if given.processor else "seconds"
        print(f"{given.network}, {given.threads} threads, float32, {clock}")
        report(measured)


if __name__ == "__main__":
    main()
