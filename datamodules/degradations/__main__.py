"""Command that degrades a folder of clean images as Real-ESRGAN does (paper, section 3).

python -m datamodules.degradations CLEAN_DIR LR_DIR [--scale 4] [--each 3] [--seed 0]

What detect.py finds in them shows where a GAN generator fails, and is an artifact set to train on
where photos of one's own are few.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from rich.progress import track

from datamodules.degradations import Degradation
from desra.errors import InputError, describe
from desra.files import match_folders
from desra.images import read_rgb, to_tensor, to_uint8, write_png


def degrade_folder(source: Path, target: Path, scale: int, each: int, seed: int) -> list[str]:
    """Write ``each`` degradations of every image under ``source``.

    Images are cropped at the right and at the bottom, to twice the scale: LR of odd size would have
    half a pixel of chroma in JPEG. Those of one key are called ``KEY_0.png``, ``KEY_1.png``, …

    Args:
        source: folder of any depth, or one image.
        target: gets PNG in the same folders.
        scale: HR pixels per LR pixel.
        each: degradations of an image.
        seed: another seed, other degradations.

    Returns:
        what could not be done, a line each.

    Raises:
        InputError: there is no image, or a setting is out of its range.
    """
    if each < 1:
        raise InputError(f"--each {each}: give at least 1")
    degrade, problems = Degradation(scale=scale), []
    unit = 2 * scale
    for place, match in enumerate(track(match_folders({"hr": source}), "degrading")):
        try:
            if match.error:
                raise InputError(f"{match.key}: {match.error}")
            pixels = read_rgb(match.paths["hr"])
            height, width = (side // unit * unit for side in pixels.shape[:2])
            if not height or not width:
                raise InputError(f"{match.key}: smaller than {unit} pixels; give larger images")
            hr = to_tensor(pixels[:height, :width])
            for copy in range(each):
                number = place * each + copy
                lr = degrade(hr, seed + copy, number, [number])
                write_png(target / f"{match.key}_{copy}.png", to_uint8(lr))
        except (InputError, OSError) as error:
            problems.append(describe(error, match.key))
    return problems


def main(arguments: Sequence[str] | None = None) -> int:
    """Read the command line; 0 all done, 1 some images not done, 2 wrong use."""
    parser = argparse.ArgumentParser(
        prog="python -m datamodules.degradations", description=(__doc__ or "").split("\n")[0]
    )
    parser.add_argument("source", type=Path, help="clean images: a folder of any depth")
    parser.add_argument("target", type=Path, help="gets the low-resolution ones")
    parser.add_argument("--scale", type=int, default=4, help="default 4")
    parser.add_argument("--each", type=int, default=1, help="so many of each image; default 1")
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args(arguments)
    try:
        problems = degrade_folder(given.source, given.target, given.scale, given.each, given.seed)
    except InputError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    for line in problems:
        print(f"not done: {line}", file=sys.stderr)
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
