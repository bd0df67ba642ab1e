"""Damaged files against all readers: a line, a picture or a state, and nothing else.

    python -m benchmarks.fuzz [--inputs 10000] [--seed 0] [--only ncnn ONNX]

Whole files of every kind that is read are mutated (bytes flipped, cut, doubled, spliced, numbers in
them replaced) and read. What a reader may do is return, or raise `InputError`; within five seconds
and a gigabyte. Prints one line a finding, and at the end a table, the longest time and
the most memory; the exit code is 1 if there was a finding.
"""

from __future__ import annotations

import argparse
import io
import json
import resource
import struct
import sys
import tempfile
import time
import traceback
import warnings
from collections import Counter
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import tifffile
import torch
from numpy.typing import NDArray
from PIL import Image
from safetensors.torch import save

from desra.checkpoints import read_checkpoint
from desra.errors import InputError
from desra.image_writing import write_image
from desra.images import image_size, read_image
from desra.labelme import read_gt_mask
from desra.ledger import Ledger
from desra.masks import read_mask_image
from desra.region_scores import read_scores
from models.generators import SRVGGNetCompact, SwinIR, load_generator

SLOW = 5.0
"""Seconds that no reader may take for one small file."""

LARGE = 2**20
"""Kibibytes that reading all of them may add to the process: one gigabyte."""

Read = Callable[[Path], Any]


def fuzz(inputs: int, seed: int, folder: Path, only: Sequence[str] = ("",)) -> list[str]:
    """Read ``inputs`` mutated files of kinds that begin so; what went wrong, one line each."""
    rng = np.random.default_rng(seed)
    kinds = [kind for kind in _kinds(folder) if kind[0].startswith(tuple(only))]
    problems: list[str] = []
    outcomes: Counter[str] = Counter()
    longest, largest = 0.0, 0
    before = first = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    for number in range(inputs):
        name, suffix, whole, read = kinds[number % len(kinds)]
        content = _mutated(whole, rng)
        path = folder / f"input{suffix}"
        path.write_bytes(content)
        start = time.perf_counter()
        try:
            read(path)
            outcome = "read"
        except InputError as error:
            outcome = "one line"
            if "\n" in str(error) or len(str(error)) > 1000:
                problems.append(f"{number} {name}: a message of several lines or too long")
        except Exception as error:
            outcome = type(error).__name__
            last = traceback.extract_tb(error.__traceback__)[-1]
            problems.append(f"{number} {name}: {outcome} in {last.filename}:{last.lineno}: {error}")
        seconds = time.perf_counter() - start
        longest = max(longest, seconds)
        if seconds > SLOW:
            problems.append(f"{number} {name}: {seconds:.1f} s")
        largest = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        grown = largest - before
        if grown > LARGE:
            problems.append(f"{number} {name}: {grown / 2**20:.1f} GiB")
            before += grown
        outcomes[f"{name}, {outcome}"] += 1
        if number == 0 or (problems and problems[-1].startswith(f"{number} ")):
            (folder / f"kept{number}{suffix}").write_bytes(content)
    for outcome, count in sorted(outcomes.items()):
        print(f"{count:6} {outcome}")
    print(
        f"the longest took {longest:.2f} s; {(largest - first) / 2**20:.2f} GiB more memory at most"
    )
    return problems


def _mutated(whole: bytes, rng: np.random.Generator) -> bytes:
    data = bytearray(whole)
    for _ in range(int(rng.integers(1, 4))):
        if not data:
            break
        place = int(rng.integers(len(data)))
        # Headers decide most, so half of the changes are there.
        place = place if rng.random() < 0.5 else min(place, int(rng.integers(1, 200)))
        match int(rng.integers(8)):
            case 0:
                data[place] = int(rng.integers(256))
            case 1:
                data[place] ^= 1 << int(rng.integers(8))
            case 2:
                del data[place : place + int(rng.integers(1, 50))]
            case 3:
                data[place:place] = rng.bytes(int(rng.integers(1, 50)))
            case 4:
                del data[place:]
            case 5:
                large = int(rng.choice([0, 1, 2**31 - 1, 2**32 - 1, 2**16 - 1, 2**24, 10**6]))
                width = int(rng.choice([2, 4]))
                order = str(rng.choice(["<", ">"]))
                form = f"{order}{'H' if width == 2 else 'I'}"
                data[place : place + width] = struct.pack(form, large % 2 ** (8 * width))
            case 6:
                other = int(rng.integers(len(data)))
                data[place:place] = data[other : other + int(rng.integers(1, 400))]
            case 7:
                digits = [i for i in range(len(data)) if 48 <= data[i] <= 57]
                if digits:
                    at = digits[int(rng.integers(len(digits)))]
                    data[at : at + 1] = b"9" * int(rng.choice([1, 3, 12, 400, 5000]))
    return bytes(data)


def _kinds(folder: Path) -> list[tuple[str, str, bytes, Read]]:
    """Name, suffix, a whole file and what reads it."""
    rng = np.random.default_rng(0)
    rgb = rng.integers(0, 256, (24, 40, 3), dtype=np.uint8)
    kinds: list[tuple[str, str, bytes, Read]] = []
    forms: dict[str, dict[str, Any]] = {
        "PNG": {}, "JPEG": {}, "WEBP": {}, "TIFF": {}, "BMP": {}, "GIF": {}, "AVIF": {},
        "JPEG2000": {}, "PPM": {},
    }  # fmt: skip
    exif = Image.Exif()
    exif[0x0112] = 6
    for form in forms:
        options = {"exif": exif} if form in ("PNG", "JPEG", "WEBP", "TIFF") else {}
        content = _saved(Image.fromarray(rgb), form, **options)
        kinds.append((form, ".png", content, _read_and_write))
    progressive = _saved(Image.fromarray(rgb), "JPEG", progressive=True)
    kinds.append(("progressive JPEG", ".jpg", progressive, _read_and_write))
    arrangements: list[dict[str, Any]] = [{}, {"planarconfig": "separate"}, {"compression": "zlib"}]
    for arrangement in arrangements:
        deep = rng.integers(0, 65536, (24, 40, 3), dtype=np.uint16)
        stored = np.moveaxis(deep, -1, 0) if "planarconfig" in arrangement else deep
        file = io.BytesIO()
        tifffile.imwrite(file, stored, photometric="rgb", **arrangement)
        kinds.append(("16-bit TIFF", ".tif", file.getvalue(), _read_and_write))
    mask = np.zeros((24, 40), np.uint8)
    mask[3:9, 4:20] = 255
    kinds.append(("mask", ".png", _saved(Image.fromarray(mask), "PNG"), read_mask_image))
    kinds += [("LabelMe", ".json", text, read_gt_mask) for text in _labels(mask)]
    record = [
        {"image": "a/b", "x": 3, "y": 4, "score": 0.5},
        {"image": "c", "x": 1, "y": 2, "score": 1},
    ]
    kinds.append(("scores", ".json", json.dumps(record).encode(), read_scores))
    table = b"image,x,y,score\na/b,3,4,0.5\nc,1,2,1\n"
    kinds.append(("scores", ".csv", table, read_scores))
    kinds.append(("ledger", ".rec", b'{"fingerprint": "f", "row": {"image": "a"}, "outputs": {}}',
                  _read_record))  # fmt: skip
    kinds += [(name, suffix, data, _load) for name, suffix, data in _weights()]
    return kinds + _graphs(folder / "whole.onnx")


def _saved(image: Image.Image, form: str, **options: Any) -> bytes:
    file = io.BytesIO()
    image.save(file, form, **options)
    return file.getvalue()


def _labels(mask: NDArray[np.uint8]) -> list[bytes]:
    shapes = [
        {"label": "a", "shape_type": "polygon", "points": [[1, 2], [20, 3], [9, 17]]},
        {"label": "b", "shape_type": "circle", "points": [[10, 10], [14, 12]]},
        {"label": "__ignore__", "shape_type": "rectangle", "points": [[1, 1], [5, 6]]},
        {"label": "c", "shape_type": "linestrip", "points": [[1, 1], [15, 6], [3, 9]]},
    ]
    record = {"shapes": shapes, "imagePath": "a.png", "imageWidth": 40, "imageHeight": 24}
    return [json.dumps(record).encode(), json.dumps({**record, "shapes": shapes[:1]}).encode()]


def _weights() -> list[tuple[str, str, bytes]]:
    torch.manual_seed(0)
    small = SRVGGNetCompact(2, features=8, depth=2).state_dict()
    swin = SwinIR(2, embed_dim=12, depths=(2,), num_heads=(2,), features=8).state_dict()
    found = []
    for state in (small, swin):
        for new in (True, False):
            file = io.BytesIO()
            torch.save({"params": state}, file, _use_new_zipfile_serialization=new)
            found.append((f"weights, {'zip' if new else 'old'}", ".pth", file.getvalue()))
        found.append(
            ("safetensors", ".safetensors", save({k: v.clone() for k, v in state.items()}))
        )
    return found


def _graphs(onnx: Path) -> list[tuple[str, str, bytes, Read]]:
    """A generator as an ncnn pair and as an ONNX file."""
    torch.manual_seed(0)
    network = SRVGGNetCompact(2, features=8, depth=1).eval()
    state = network.state_dict().values()
    weights = b"".join(
        b"\0" * 4 * (tensor.ndim == 4) + tensor.numpy().tobytes() for tensor in state
    )
    text = _PARAM.encode()
    torch.onnx.export(network, (torch.rand(1, 3, 8, 8),), onnx, dynamo=False)
    return [
        ("ncnn graph", ".param", text, partial(_load_pair, ".bin", weights)),
        ("ncnn weights", ".bin", weights, partial(_load_pair, ".param", text)),
        ("ONNX", ".onnx", onnx.read_bytes(), load_generator),
    ]


_PARAM = """\
7767517
10 11
Input image 0 1 data
Split twice 1 2 data one two
Convolution first 1 1 one a 0=8 1=3 4=1 5=1 6=216
PReLU slopes1 1 1 a b 0=8
Convolution second 1 1 b c 0=8 1=3 4=1 5=1 6=576
PReLU slopes2 1 1 c d 0=8
Convolution last 1 1 d e 0=12 1=3 4=1 5=1 6=864
PixelShuffle shuffle 1 1 e f 0=2
Interp nearest 1 1 two g 0=1 1=2.0 2=2.0
BinaryOp add 2 1 f g output
"""


def _load_pair(suffix: str, partner: bytes, path: Path) -> None:
    path.with_suffix(suffix).write_bytes(partner)
    load_generator(path)


def _read_and_write(path: Path) -> None:
    image_size(path)
    picture = read_image(path)
    write_image(path.with_name("written.jpg"), picture)


def _read_record(path: Path) -> None:
    ledger = Ledger(path.parent / "out", "fuzz", {})
    place = ledger.folder / "a.json"
    place.parent.mkdir(parents=True, exist_ok=True)
    place.write_bytes(path.read_bytes())
    ledger.finished("a", "f")
    ledger.rows(["a"])


def _load(path: Path) -> None:
    read_checkpoint(path)
    load_generator(path)


def main() -> None:
    parser = argparse.ArgumentParser(description="Damaged files against all readers.")
    parser.add_argument("--inputs", type=int, default=10_000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", nargs="+", default=[""], help="kinds whose names begin so")
    given = parser.parse_args()
    warnings.simplefilter("ignore")
    with tempfile.TemporaryDirectory() as folder:
        problems = fuzz(given.inputs, given.seed, Path(folder), given.only)
    for problem in problems:
        print(problem)
    print(f"{given.inputs} inputs, {len(problems)} findings")
    sys.exit(bool(problems))


if __name__ == "__main__":
    main()
