"""A second set of labels for the sample's test images, by another measure than the first.

python -m samples.second_labels [OUTPUT_DIR]

``GT-Mask`` is by SSIM's structure (`desra.metrics.truth`), these by the correlation of gradients
(`datamodules.true_labels`). Both know the photo, and neither measures DeSRA's texture distance.
"""

from __future__ import annotations

import sys
from pathlib import Path

from datamodules.true_labels import true_labels
from desra.files import find_images
from desra.images import read_rgb, to_tensor, write_png
from desra.regions import remove_small_regions
from samples.artifact_set import MIN_AREA

ROOT = Path(__file__).parent


def main() -> None:
    """Write a mask for each image of ``samples/test``."""
    output_dir = Path(sys.argv[1]) if len(sys.argv) > 1 else ROOT / "labels/test_gradients"
    for key, (path, *_) in find_images(ROOT / "test/HR").items():
        others = [find_images(ROOT / "test" / folder)[key][0] for folder in ("MSE-SR", "GAN-SR")]
        images = [to_tensor(read_rgb(one)) for one in (path, *others)]
        mask = remove_small_regions(true_labels(*images), MIN_AREA)
        write_png(output_dir / f"{key}.png", mask[0, 0].numpy(), compression=9)


if __name__ == "__main__":
    main()
