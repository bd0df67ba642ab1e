"""Crops for the x4plus table of docs/results.md: of clean photos, degraded, and of real ones.

    python -m benchmarks.x4plus_crops --clean CLEAN_PHOTOS --real REAL_PHOTOS --output CROPS

Two crops of 224×224 of each clean photo go to ``CROPS/HR``, under Real-ESRGAN's degradations to
``CROPS/LR``; the middle 72×72 pixels of each real photo, which is LR already, to ``CROPS/real/LR``.
Same photos, same crops. The table's are McMaster and Set5 in one folder, and RealSRSet+5 (SwinIR
repository, ``testsets/``).
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from datamodules.degradations import Degradation
from desra.errors import InputError
from desra.files import find_images
from desra.images import read_rgb, to_tensor, to_uint8, write_png

SCALE = 4
CROPS = 2
"""Of each clean photo."""
CLEAN_SIDE, REAL_SIDE = 224, 72
SEED = 3


def write_clean(photos: Path, output: Path) -> None:
    """Crops of clean photos as ``HR`` and, degraded, as ``LR``.

    Raises:
        InputError: a photo that cannot be read or is smaller than a crop.
    """
    degradation = Degradation(scale=SCALE)
    for number, (key, paths) in enumerate(find_images(photos).items()):
        photo, random = read_rgb(paths[0]), np.random.default_rng([SEED, number])
        if min(photo.shape[:2]) < CLEAN_SIDE:
            raise InputError(f"{paths[0]}: smaller than {CLEAN_SIDE}x{CLEAN_SIDE}; leave it out")
        for index in range(CROPS):
            top, left = (int(random.integers(side - CLEAN_SIDE + 1)) for side in photo.shape[:2])
            hr = photo[top : top + CLEAN_SIDE, left : left + CLEAN_SIDE]
            place = number * CROPS + index
            lr = degradation(to_tensor(hr), index, place, [place])
            name = f"{key.replace('/', '_')}_{index}.png"
            write_png(output / "HR" / name, hr)
            write_png(output / "LR" / name, to_uint8(lr))


def write_real(photos: Path, output: Path) -> None:
    """The middle of real photos, or all of one that is smaller, as ``real/LR``.

    Raises:
        InputError: a photo that cannot be read.
    """
    for key, paths in find_images(photos).items():
        photo = read_rgb(paths[0])
        top, left = (max(0, (side - REAL_SIDE) // 2) for side in photo.shape[:2])
        crop = photo[top : top + REAL_SIDE, left : left + REAL_SIDE]
        write_png(output / "real" / "LR" / f"{key}.png", crop)


def main(arguments: Sequence[str] | None = None) -> int:
    """Write both; 0 all well, 2 photos that cannot be used."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--clean", type=Path, required=True, help="folder of clean photos")
    parser.add_argument("--real", type=Path, required=True, help="folder of real photos")
    parser.add_argument("--output", type=Path, required=True, help="gets HR, LR and real/LR")
    given = parser.parse_args(arguments)
    try:
        write_clean(given.clean, given.output)
        write_real(given.real, given.output)
    except InputError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
