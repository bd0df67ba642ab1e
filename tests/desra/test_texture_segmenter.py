"""Classes of texture: what they are sorted by, and that they do nothing without their own table."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from desra.detectors import ArtifactDetector
from desra.errors import InputError
from desra.segmenters import TextureSegmenter
from desra.segmenters.texture import FIRST

LEVELS = (2.0, 8.0)


def picture(cell: int, spread: float) -> Tensor:
    """Grey with noise in squares of ``cell`` pixels, uint8 ``(1, 3, 128, 128)``."""
    random = np.random.default_rng(0)
    coarse = random.normal(128, spread, (128 // cell, 128 // cell))
    grey = np.kron(coarse, np.ones((cell, cell))).clip(0, 255).round().astype(np.uint8)
    return torch.from_numpy(grey)[None, None].expand(1, 3, -1, -1)


@pytest.mark.parametrize(
    ("cell", "spread", "label"),
    [
        (8, 0.5, 0),
        (8, 4.0, 1),
        (8, 40.0, 2),
        (1, 25.0, 1),  # a quarter of it outlives the averaging of 4×4
        (1, 5.0, 0),
    ],
)
def test_classes_follow_the_texture_that_outlives_averaging(
    cell: int, spread: float, label: int
) -> None:
    found = TextureSegmenter(LEVELS)(picture(cell, spread), ["a"])
    assert found.dtype == torch.uint8
    assert (found[..., 32:96, 32:96] == FIRST + label).all()
    images = picture(cell, spread).float() / 255
    assert torch.equal(TextureSegmenter(LEVELS)(images, ["a"]), found)


def test_without_a_table_of_their_own_nothing_changes(tmp_path) -> None:
    segmenter, pair = TextureSegmenter(LEVELS), (picture(8, 20.0), picture(8, 60.0))
    labels = segmenter(pair[1], ["a"])
    plain = ArtifactDetector(min_area=100)(*pair)
    assert plain.mask.any()
    assert torch.equal(ArtifactDetector(min_area=100)(*pair, labels).mask, plain.mask)
    rows = "".join(f"{FIRST + place},texture,{5 * place}\n" for place in range(3))
    (tmp_path / "own.csv").write_text(f"index,name,interval\n{rows}")
    held = ArtifactDetector(min_area=100, intervals=tmp_path / "own.csv")(*pair, labels)
    assert held.mask.sum() < plain.mask.sum()


def test_names_and_wrong_levels() -> None:
    names = TextureSegmenter(LEVELS).classes[FIRST:]
    assert names == ("texture above 0", "texture above 2", "texture above 8")
    for levels in ((3.0, 2.0), (0.0,), range(1, 200)):
        with pytest.raises(InputError, match=r"segmenter\.levels="):
            TextureSegmenter(levels)
