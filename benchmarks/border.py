"""What the border of an image does to its upscaling, for each width of reflected pixels around it.

    python -m benchmarks.border --photos DIR [--weights FILE ...] [--mse-weights FILE]

Networks pad with zeros, and that shows along the border. Crops of photos are upscaled with so many
reflected pixels around them, and as parts of their photos, which has no rim. Between the two: the
line along the border, and artifacts that are found there and are none. What reflection itself gets
wrong remains at any width. ``swinir`` in place of a file is a SwinIR-M with random weights.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

sys.path.insert(0, str(Path(__file__).parents[1]))

from desra.detectors import ArtifactDetector
from desra.files import find_images
from desra.images import quantize, read_rgb, to_tensor, to_uint8
from desra.resampling import resize_lanczos
from models.generators import SwinIR, load_generator
from models.upscaler import Upscaler

SAMPLES = Path(__file__).parents[1] / "samples"
WIDTHS = (0, 1, 2, 3, 4, 6, 8, 10, 12, 16, 24, 32)
CONTEXT = 40
"""Pixels of the photo around a crop, as a multiple of windows."""

RIM = 8
"""LR pixels along the border in which artifacts are looked for."""

SHOWN = 128
"""Side of the image whose work is shown, as a factor of that without a border."""


def crops(photos: Path, count: int, side: int) -> Iterator[Tensor]:
    """Squares with `CONTEXT` around them, from as many photos as are large enough."""
    given = 0
    for paths in find_images(photos).values():
        pixels = read_rgb(paths[0])
        whole = side + 2 * CONTEXT
        height, width = pixels.shape[:2]
        if min(height, width) < whole or given == count:
            continue
        top, left = (height - whole) // 2, (width - whole) // 2
        yield to_tensor(np.ascontiguousarray(pixels[top : top + whole, left : left + whole]))
        given += 1


class Seen(NamedTuple):
    """What is seen along the border, at one width.

    Attributes:
        line: mean over a side of the outermost LR pixel's differences from the photo's own
            surroundings, root mean square over sides, colours and crops, in levels of 255. Texture
            averages out; a line along the border does not.
        artifacts: share of the outer `RIM` LR pixels that the detector finds artifacts in, and does
            not where the crop is part of its photo.
        largest: difference from the widest border, in levels of 255.
    """

    line: float
    artifacts: float
    largest: float


def measure(
    network: nn.Module, smooth: nn.Module | None, images: Sequence[Tensor], widths: Sequence[int]
) -> list[Seen]:
    """What is seen at each width; ``smooth`` is the MSE network, None for Lanczos."""
    detector = ArtifactDetector(min_area=100)
    inside = (..., slice(CONTEXT, -CONTEXT), slice(CONTEXT, -CONTEXT))
    scale = int(network.scale)  # type: ignore[arg-type]
    cut = (..., slice(CONTEXT * scale, -CONTEXT * scale), slice(CONTEXT * scale, -CONTEXT * scale))
    lines, found, largest = (np.zeros((len(widths), len(images))) for _ in range(3))
    upscalers = [Upscaler(network, tile=None, border=width) for width in widths]
    partners = [
        None if smooth is None else Upscaler(smooth, tile=None, border=width) for width in widths
    ]
    for column, image in enumerate(images):
        truth = upscalers[-1](image).clamp(0, 1)
        true_mask = detector(_smooth(partners[-1], image, scale), quantize(truth)).mask[cut]
        truth = truth[cut]
        rim = torch.ones_like(true_mask)
        rim[..., RIM * scale : -RIM * scale, RIM * scale : -RIM * scale] = False
        outputs = [upscaler(image[inside]).clamp(0, 1) for upscaler in upscalers]
        for row, (output, partner) in enumerate(zip(outputs, partners, strict=True)):
            lines[row, column] = _line(255 * (output - truth), scale)
            mask = detector(_smooth(partner, image[inside], scale), quantize(output)).mask
            found[row, column] = (mask & ~true_mask)[rim].double().mean()
            largest[row, column] = 255 * (output - outputs[-1]).abs().max()
    return [
        Seen(float(np.sqrt((line**2).mean())), float(share.mean()), float(most.max()))
        for line, share, most in zip(lines, found, largest, strict=True)
    ]


def _smooth(upscaler: Upscaler | None, image: Tensor, scale: int) -> Tensor:
    if upscaler is not None:
        return quantize(upscaler(image).clamp(0, 1))
    pixels = to_uint8(image)
    return to_tensor(resize_lanczos(pixels, *(side * scale for side in pixels.shape[:2])))


def _line(difference: Tensor, scale: int) -> float:
    """Root mean square over the four sides and colours of a side's mean."""
    turned = [difference.rot90(turn, (2, 3))[..., :scale, :].mean((2, 3)) for turn in range(4)]
    return float(torch.stack(turned).square().mean().sqrt())


def report(name: str, found: Sequence[Seen]) -> None:
    """Print a table of one network."""
    print(f"\n{name}")
    print(f"{'border':>6} {'work':>6} {'line':>8} {'false artifacts':>16} {'from widest':>12}")
    for width, seen in zip(WIDTHS, found, strict=True):
        work = ((SHOWN + 2 * width) / SHOWN) ** 2
        shown = f"{seen.line:8.3f} {seen.artifacts:16.3%} {seen.largest:12.3f}"
        print(f"{width:6} {work:6.2f} {shown}")


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    default = SAMPLES / "weights" / "realesr-animevideov3-x4.pth"
    parser.add_argument("--weights", nargs="+", default=[str(default)])
    parser.add_argument("--mse-weights", help="of the smooth reference; Lanczos if not given")
    parser.add_argument("--photos", type=Path, required=True)
    parser.add_argument("--crops", type=int, default=12)
    parser.add_argument("--side", type=int, default=64)
    given = parser.parse_args()
    images = list(crops(given.photos, given.crops, given.side))
    if not images:
        parser.error(f"{given.photos}: no photo of {given.side + 2 * CONTEXT} pixels a side")
    print(f"{len(images)} crops of {given.side} pixels; work of a photo of {SHOWN}")
    smooth = load_generator(given.mse_weights) if given.mse_weights else None
    for weights in given.weights:
        torch.manual_seed(0)
        network = SwinIR().eval() if weights == "swinir" else load_generator(weights)
        report(Path(weights).stem, measure(network, smooth, images, WIDTHS))


if __name__ == "__main__":
    main()
