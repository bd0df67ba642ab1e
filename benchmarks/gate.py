"""How often the gate convicts a generator that is as good, and one that is worse by two points.

    python -m benchmarks.gate --photos DIR [--comparisons 200] [--images 25]

Simulated figures of images, and measured ones. For those, crops of photos are upscaled once by
versions of a generator (its weights with noise of several seeds), and detected in as they are and
with artifacts pasted; then each comparison draws two versions and some of the crops. A null
comparison also draws for each crop which of the two is called new: as good as the old one, exactly.
A worse generator's images carry pasted artifacts, as many as make two points of what is detected;
drawn anew for each image, they make two points only on average, and often one (the last column).
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import permutations
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

sys.path.insert(0, str(Path(__file__).parents[1]))

from datamodules.injection import grain, paste
from desra.detectors import ArtifactDetector
from desra.files import find_images
from desra.images import quantize, read_rgb, to_tensor
from desra.ledger import Row
from models.generators import load_generator
from models.upscaler import Upscaler
from tasks.gate import Limits, changes, judge

SAMPLES = Path(__file__).parents[1] / "samples"
GAN = SAMPLES / "weights" / "realesr-animevideov3-x4.pth"
MSE = SAMPLES / "weights" / "realesr-animevideov3-x4_mse.pth"

POINTS = 0.02
"""Of artifact share, that a worse generator has more on average."""

SEEDS, NOISE = 4, 0.02
"""Versions of the generator, and their noise as a share of each tensor's standard deviation."""

CROP = 128  # LR pixels a side
_SHARES = {"a little on many images": 0.04, "more on few images": 0.1}
_TRIES = 8


Draw = Callable[[np.random.Generator, int], list[Row]]


def rate(draw: Draw, comparisons: int, images: int, seed: int = 0) -> float:
    """Share of comparisons that end in a conviction."""
    convicted = 0
    for number in range(comparisons):
        rows = draw(np.random.default_rng((seed, number)), images)
        verdicts = judge(rows, Limits(), seed=number)
        convicted += not all(said["passed"] for said in verdicts.values())
    return convicted / comparisons


# --- simulated ------------------------------------------------------------------------------------


def _row(worsening: float, net_added: float) -> Row:
    return {"worsening": float(worsening), "net_added": float(net_added)}


def mostly_none(rng: np.random.Generator, count: int) -> list[Row]:
    """Half of the images do not change, the others by a log-normal amount, up or down."""
    sizes = rng.lognormal(np.log(0.01), 0.7, count)
    signs = rng.choice([-1, 1], count) * (rng.random(count) < 0.5)
    return [_row(size * sign, sign) for size, sign in zip(sizes, signs, strict=True)]


def heavy_tailed(rng: np.random.Generator, count: int) -> list[Row]:
    """One image in ten changes, by anything from half a point to the whole image."""
    signs = rng.choice([-1, 1], count) * (rng.random(count) < 0.1)
    sizes = 0.005 * (1 + rng.pareto(1.2, count)).clip(max=200)
    return [_row(size * sign, sign) for size, sign in zip(sizes, signs, strict=True)]


def everywhere(rng: np.random.Generator, count: int) -> list[Row]:
    """Every image changes a little, normally distributed."""
    counts = rng.poisson(1, (2, count))
    return [_row(size, up - down) for size, up, down in zip(rng.normal(0, 0.02, count), *counts,
                                                            strict=True)]  # fmt: skip


SIMULATED: Mapping[str, Draw] = {
    "mostly none": mostly_none,
    "heavy tailed": heavy_tailed,
    "everywhere": everywhere,
}


def worse(draw: Draw) -> Draw:
    """The same with exponentially distributed artifacts more, two points on average."""

    def drawn(rng: np.random.Generator, count: int) -> list[Row]:
        rows = draw(rng, count)
        more = rng.exponential(POINTS, count)
        return [
            _row(row["worsening"] + by, row["net_added"] + (by > POINTS / 2))
            for row, by in zip(rows, more, strict=True)
        ]

    return drawn


# --- measured -------------------------------------------------------------------------------------


@dataclass
class Measured:
    """Figures of every crop, for every pair of versions.

    Attributes:
        rows: ``[old, new, pasted, crop]`` to a row; ``pasted`` 0 is none, then those of `_SHARES`.
        mean: of the worsening that pasting alone makes, for each of `_SHARES`.
    """

    rows: dict[tuple[int, int, int, int], Row]
    crops: int
    mean: list[float]

    def null(self, rng: np.random.Generator, count: int) -> list[Row]:
        """Two versions, of which chance says for each crop which is the new one."""
        pair = rng.choice(SEEDS, 2, replace=False)
        crops = rng.choice(self.crops, count, replace=False)
        return [self.rows[(*rng.permutation(pair).tolist(), 0, int(crop))] for crop in crops]

    def worse(self, level: int, drawn_anew: bool = False) -> Draw:
        """Some of the new version's images carry artifacts: `POINTS` on the mean of the images, or
        on the average of many draws."""

        def drawn(rng: np.random.Generator, count: int) -> list[Row]:
            pair = rng.choice(SEEDS, 2, replace=False)
            crops = rng.choice(self.crops, count, replace=False)
            pairs = [tuple(rng.permutation(pair).tolist()) for _ in crops]
            rows = [
                [self.rows[(*pair, pasted, int(crop))] for pasted in (0, level)]
                for pair, crop in zip(pairs, crops, strict=True)
            ]
            added = np.array([after["worsening"] - before["worsening"] for before, after in rows])
            if drawn_anew:
                carrying = rng.random(count) < POINTS / self.mean[level - 1]
            else:  # crops are in no order
                missing = np.abs(np.cumsum([0, *added]) - POINTS * count)
                carrying = np.arange(count) < missing.argmin()
            return [row[int(carries)] for row, carries in zip(rows, carrying, strict=True)]

        return drawn


def versions(weights: Path, count: int = SEEDS, noise: float = NOISE) -> list[nn.Module]:
    """The generator with noise of several seeds on its weights: equals, as far as anyone knows."""
    networks = []
    for seed in range(count):
        network = load_generator(weights)
        random = torch.Generator().manual_seed(seed)
        with torch.no_grad():
            for parameter in network.parameters():
                if parameter.ndim > 1:
                    shape = torch.randn(parameter.shape, generator=random)
                    parameter.add_(noise * parameter.std() * shape)
        networks.append(network)
    return networks


def crops_of(photos: Path, most: int | None = None) -> Iterator[NDArray[np.uint8]]:
    """Whole squares of all photos, uint8 RGB; smaller photos as they are."""
    given = 0
    for paths in find_images(photos).values():
        pixels = read_rgb(paths[0])
        height, width = pixels.shape[:2]
        for top in range(0, max(height - CROP, 0) + 1, CROP):
            for left in range(0, max(width - CROP, 0) + 1, CROP):
                yield pixels[top : top + CROP, left : left + CROP]
                given += 1
                if given == most:
                    return


def measure(photos: Path, most: int | None = None) -> Measured:
    """Upscale, paste, detect and compare; once for all comparisons."""
    detector = ArtifactDetector()
    smooth = Upscaler(load_generator(MSE))
    upscalers = [Upscaler(network) for network in versions(GAN)]
    rows: dict[tuple[int, int, int, int], Row] = {}
    count = 0
    for crop, pixels in enumerate(crops_of(photos, most)):
        lr = to_tensor(np.ascontiguousarray(pixels))
        mse_sr = quantize(smooth(lr).clamp(0, 1))
        images = [upscaler(lr).clamp(0, 1) for upscaler in upscalers]
        places = _places(detector, mse_sr, images[0], crop)
        masks = [_masks(detector, mse_sr, image, places) for image in images]
        for old, new in permutations(range(SEEDS), 2):
            for level, after in enumerate(masks[new]):
                rows[old, new, level, crop] = changes(masks[old][0], after, detector.rim)
        count = crop + 1
    shares = np.array(
        [
            [rows[0, 1, level, crop]["artifact_share_new"] for level in range(len(_SHARES) + 1)]
            for crop in range(count)
        ]
    )
    mean = (shares[:, 1:] - shares[:, :1]).mean(0)
    return Measured(rows, count, [float(value) for value in mean])


def _places(
    detector: ArtifactDetector, mse_sr: Tensor, gan_sr: Tensor, crop: int
) -> list[tuple[Tensor, int]]:
    """Squares and seeds with which the detector sees what is pasted; it does not always."""
    height, width = gan_sr.shape[2:]
    clean = detector(mse_sr, quantize(gan_sr)).mask
    places = []
    for level, share in enumerate(_SHARES.values()):
        random = torch.Generator().manual_seed(1000 * crop + level)
        for seed in range(_TRIES):
            place = _square(height, width, share, random), seed
            image = _pasted(gan_sr, *place)
            if (detector(mse_sr, image).mask & ~clean).double().mean() > share / 2:
                break
        places.append(place)
    return places


def _masks(
    detector: ArtifactDetector, mse_sr: Tensor, gan_sr: Tensor, places: Sequence[tuple[Tensor, int]]
) -> list[Tensor]:
    """What is found in an image, and in it with artifacts at each of the places."""
    images = [quantize(gan_sr), *(_pasted(gan_sr, *place) for place in places)]
    return [detector(mse_sr, image).mask for image in images]


def _pasted(gan_sr: Tensor, place: Tensor, seed: int) -> Tensor:
    image, _ = paste(gan_sr, grain(gan_sr, torch.Generator().manual_seed(seed)), place)
    return quantize(image)


def _square(height: int, width: int, share: float, random: torch.Generator) -> Tensor:
    rows, columns = (int(side * share**0.5) for side in (height, width))
    top = int(torch.randint(height - rows, (), generator=random))
    left = int(torch.randint(width - columns, (), generator=random))
    mask = torch.zeros(1, 1, height, width, dtype=torch.bool)
    mask[..., top : top + rows, left : left + columns] = True
    return mask


def report(cases: Sequence[tuple[str, list[float]]], comparisons: int, images: int) -> None:
    """Print a table."""
    print(f"{comparisons} comparisons of {images} images, chance of a false alarm 5 %")
    print(f"{'figures':34} {'false alarms':>13} {'power, 2 points':>16} {'on average':>11}")
    for name, (alarms, power, *drawn) in cases:
        print(f"{name:34} {alarms:13.1%} {power:16.1%}" + "".join(f"{x:12.1%}" for x in drawn))


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--photos", type=Path, required=True, help="25 photos or more")
    parser.add_argument("--comparisons", type=int, default=200)
    parser.add_argument("--images", type=int, default=25)
    given = parser.parse_args()
    settings = given.comparisons, given.images
    cases: list[tuple[str, list[float]]] = [
        (f"simulated, {name}", [rate(draw, *settings), rate(worse(draw), *settings)])
        for name, draw in SIMULATED.items()
    ]
    measured = measure(given.photos)
    if measured.crops < given.images:
        parser.error(f"{given.photos}: {measured.crops} crops, {given.images} are drawn of them")
    alarms = rate(measured.null, *settings)
    cases += [
        (
            f"measured, {name}",
            [
                alarms,
                rate(measured.worse(level), *settings),
                rate(measured.worse(level, drawn_anew=True), *settings),
            ],
        )
        for level, name in enumerate(_SHARES, start=1)
    ]
    report(cases, *settings)
    spread = np.std(
        [row["worsening"] for (_, _, level, _), row in measured.rows.items() if not level]
    )
    print(f"measured on {measured.crops} crops; two versions' shares differ by {spread:.2%} (σ)")
    print(f"pasting adds {', '.join(f'{value:.2%}' for value in measured.mean)} where it is done")


if __name__ == "__main__":
    main()
