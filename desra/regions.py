"""8-connected regions of masks: labels, areas, boxes, and how much of each another mask covers.

Every function takes bool masks ``(…, H, W)`` on any device, with any number of leading dimensions
(images), and has the same result on each. There is no loop over regions, and on a GPU none over
images.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.functional import pad

from desra.errors import InputError
from desra.runs import Runs, find_runs, paint_runs


class RegionTable(NamedTuple):
    """One entry per region of a batch of masks, int64 ``(N,)`` each; image by image, raster order.

    Attributes:
        image: index of the image in the batch.
        area: pixels.
        left: first column.
        top: first row.
        right: column after the last one.
        bottom: row after the last one.
    """

    image: NDArray[np.int64]
    area: NDArray[np.int64]
    left: NDArray[np.int64]
    top: NDArray[np.int64]
    right: NDArray[np.int64]
    bottom: NDArray[np.int64]


class RegionOverlaps(NamedTuple):
    """How much of each region another mask covers; tensors int64 ``(N,)``.

    Attributes:
        image: index of the image in the batch.
        area: pixels of the region.
        overlap: those of them that the other mask covers.
    """

    image: Tensor
    area: Tensor
    overlap: Tensor

    @property
    def share(self) -> Tensor:
        """Covered share of each region, float64 in [0, 1]."""
        return self.overlap.double() / self.area


def as_images(mask: Tensor) -> Tensor:
    """View a mask ``(…, H, W)`` as ``(B, H, W)``.

    Raises:
        InputError: not bool, fewer than two dimensions, or no pixels.
    """
    if mask.dtype != torch.bool or mask.ndim < 2 or 0 in mask.shape[-2:]:
        raise InputError(f"mask of shape {tuple(mask.shape)}, {mask.dtype}; give bool (…, H, W)")
    return mask.reshape(-1, *mask.shape[-2:])


def label_regions(mask: Tensor) -> tuple[Tensor, Tensor]:
    """Number the regions of each image from 1, in raster order of their first pixels.

    Returns:
        labels, int32 of the mask's shape, 0 for background; and the number of regions of each
        image, int64 of the mask's leading shape.

    Example:
        >>> labels, counts = label_regions(torch.tensor([[1, 0, 0], [0, 1, 0], [0, 0, 0]]).bool())
        >>> labels.tolist(), counts.item()
        ([[1, 0, 0], [0, 1, 0], [0, 0, 0]], 1)
    """
    runs = find_runs(as_images(mask))
    before = (runs.counts.cumsum(0) - runs.counts)[_image(runs)]
    labels = paint_runs(runs, (runs.region - before + 1).int())
    return labels.view(mask.shape), runs.counts.view(mask.shape[:-2])


def count_regions(mask: Tensor) -> Tensor:
    """Number of regions of each image, int64 of the mask's leading shape.

    Example:
        >>> count_regions(torch.tensor([[1, 0, 0, 1], [0, 1, 0, 1]]).bool()).item()
        2
    """
    return find_runs(as_images(mask)).counts.view(mask.shape[:-2])


def region_areas(mask: Tensor) -> Tensor:
    """Pixels of every region of the batch, int64 ``(N,)``; image by image, raster order.

    Example:
        >>> region_areas(torch.tensor([[1, 0, 0, 1], [0, 1, 0, 1]]).bool())
        tensor([2, 2])
    """
    return find_runs(as_images(mask)).areas()


def region_table(mask: Tensor) -> RegionTable:
    """Areas and bounding boxes of every region of the batch."""
    runs = find_runs(as_images(mask))
    image, area = runs.region_images(), runs.areas()
    row = runs.line - _image(runs) * runs.size[1]

    def extreme(values: Tensor, reduce: str) -> Tensor:
        empty = torch.zeros_like(area)
        return empty.scatter_reduce_(0, runs.region, values, reduce, include_self=False)

    left, right = extreme(runs.start, "amin"), extreme(runs.stop, "amax")
    top, bottom = extreme(row, "amin"), extreme(row + 1, "amax")
    columns = (image, area, left, top, right, bottom)
    return RegionTable(*(column.cpu().numpy() for column in columns))


def region_overlaps(regions_of: Tensor, inside: Tensor) -> RegionOverlaps:
    """How many pixels of each region of one mask another mask covers.

    Args:
        regions_of: the mask whose regions are looked at.
        inside: the other mask, of the same shape.

    Raises:
        InputError: shapes differ.

    Example:
        >>> regions = torch.tensor([[True, True, False, True]])
        >>> region_overlaps(regions, torch.tensor([[True, False, False, True]])).share.tolist()
        [0.5, 1.0]
    """
    if regions_of.shape != inside.shape:
        shapes = f"{tuple(regions_of.shape)} and {tuple(inside.shape)}"
        raise InputError(f"masks of shapes {shapes}; give two masks of one size")
    runs = find_runs(as_images(regions_of))
    # Pixels covered up to each column, so that a run's share is a difference of two of them.
    covered = pad(as_images(inside).cumsum(-1, dtype=torch.int32), (1, 0)).flatten()
    line = runs.line * (runs.size[2] + 1)
    overlap = runs.sum_by_region((covered[line + runs.stop] - covered[line + runs.start]).long())
    return RegionOverlaps(runs.region_images(), runs.areas(), overlap)


def remove_small_regions(mask: Tensor, min_area: int) -> Tensor:
    """The mask with only those regions that have more than ``min_area`` pixels.

    Example:
        >>> remove_small_regions(torch.tensor([[1, 1, 0, 1]]).bool(), 1).int()
        tensor([[1, 1, 0, 0]], dtype=torch.int32)
    """
    runs = find_runs(as_images(mask))
    keep = runs.areas() > min_area
    return paint_runs(runs, keep[runs.region]).view(mask.shape)


def fill_holes(mask: Tensor) -> Tensor:
    """The mask with its holes filled.

    A hole is an 8-connected region of the background that has no pixel at the image's border:
    background that is joined to the border only diagonally is not a hole, as with
    ``scipy.ndimage.binary_fill_holes(mask, numpy.ones((3, 3)))``.

    Example:
        >>> ring = torch.ones(1, 3, 3, dtype=torch.bool)
        >>> ring[0, 1, 1] = False
        >>> fill_holes(ring).all().item()
        True
    """
    runs = find_runs(as_images(mask), value=False)
    _, height, width = runs.size
    row = runs.line - _image(runs) * height
    at_border = (row == 0) | (row == height - 1) | (runs.start == 0) | (runs.stop == width)
    is_hole = runs.sum_by_region(at_border.long()) == 0
    return mask | paint_runs(runs, is_hole[runs.region]).view(mask.shape)


def _image(runs: Runs) -> Tensor:
    return runs.line.div(runs.size[1], rounding_mode="floor")
