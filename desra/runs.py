"""Connected regions of masks by way of their runs, on any device.

A run is a maximal stretch of equal pixels in a row. A mask has far fewer runs than pixels, and
whatever is asked of its regions (how many, how large, holes, which to keep) can be answered from
the runs alone. On a CPU, compiled code joins the runs that touch; on a GPU, all runs of a batch are
joined at once, in a number of rounds that grows with the logarithm of their number.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import pad


class Runs(NamedTuple):
    """The runs of a batch of masks in raster order, and the 8-connected regions they belong to.

    All fields but ``size`` are int64 on the device of the masks.

    Attributes:
        line: ``(R,)`` row, counted through the batch: image · H + y.
        start: ``(R,)`` first column.
        stop: ``(R,)`` column after the last one.
        region: ``(R,)`` region, counted through the batch from 0, in raster order of first pixels.
        counts: ``(B,)`` number of regions of each image.
        size: B, H and W.
    """

    line: Tensor
    start: Tensor
    stop: Tensor
    region: Tensor
    counts: Tensor
    size: tuple[int, int, int]

    @property
    def lengths(self) -> Tensor:
        """``(R,)`` number of pixels of each run."""
        return self.stop - self.start

    def region_images(self) -> Tensor:
        """``(N,)`` image of each of the N regions of the batch."""
        images = torch.arange(len(self.counts), device=self.counts.device)
        return images.repeat_interleave(self.counts)

    def sum_by_region(self, values: Tensor) -> Tensor:
        """``(N,)`` sums of int64 values ``(R,)`` over the runs of each region."""
        return values.new_zeros(int(self.counts.sum())).scatter_add_(0, self.region, values)

    def areas(self) -> Tensor:
        """``(N,)`` number of pixels of each region."""
        return self.sum_by_region(self.lengths)


def find_runs(masks: Tensor, value: bool = True) -> Runs:
    """Runs and 8-connected regions of the pixels that equal ``value``.

    Args:
        masks: ``(B, H, W)`` bool, of any strides.
        value: what a region consists of; with False the regions are those of the background.

    Example:
        >>> runs = find_runs(torch.tensor([[[0, 1, 1, 0], [1, 0, 0, 0]]]).bool())
        >>> runs.start.tolist(), runs.stop.tolist(), runs.region.tolist()
        ([1, 0], [3, 1], [0, 0])
    """
    if masks.device.type == "cpu":
        from desra.kernels.mask_runs import connected_runs  # Numba takes long to import

        line, start, stop, region, counts = map(
            torch.from_numpy, connected_runs(masks.contiguous().numpy(), value)
        )
        batch, height, width = masks.shape
        return Runs(line, start, stop, region, counts, (batch, height, width))
    return find_runs_torch(masks, value)


def paint_runs(runs: Runs, values: Tensor) -> Tensor:
    """Images in which each run has its value, and all else is 0 or False.

    Args:
        runs: of masks of B images.
        values: ``(R,)`` bool or int32.

    Returns:
        ``(B, H, W)`` of the type of ``values``.
    """
    if values.device.type == "cpu":
        from desra.kernels.mask_runs import paint

        line, start, stop = runs.line.numpy(), runs.start.numpy(), runs.stop.numpy()
        return torch.from_numpy(paint(line, start, stop, values.numpy(), runs.size))
    return paint_runs_torch(runs, values)


def find_runs_torch(masks: Tensor, value: bool = True) -> Runs:
    """`find_runs` by PyTorch's operations, without a loop over images or regions."""
    batch, height, width = masks.shape
    padded = pad(masks if value else ~masks, (1, 1))
    # Along a row, changes are by turns where a run starts and where one has stopped.
    changes = (padded[..., 1:] != padded[..., :-1]).flatten().nonzero().squeeze(1)
    starts, stops = changes[0::2], changes[1::2]
    line = starts.div(width + 1, rounding_mode="floor")
    start, stop = starts - line * (width + 1), stops - line * (width + 1)
    above, below = _touching(line, start, stop, (batch, height, width))
    root = _smallest_member(len(line), above, below)
    is_root = root == torch.arange(len(root), device=root.device)
    region = (is_root.cumsum(0) - 1)[root]
    image = line.div(height, rounding_mode="floor")
    counts = image.new_zeros(batch).scatter_add_(0, image, is_root.long())
    return Runs(line, start, stop, region, counts, (batch, height, width))


def _touching(
    line: Tensor, start: Tensor, stop: Tensor, size: tuple[int, int, int]
) -> tuple[Tensor, Tensor]:
    """Pairs of runs that touch, also diagonally; one above, one below."""
    _, height, width = size
    # Those below a run are neighbours in raster order. Keys sort like runs do.
    row = width + 2
    below = (line + 1) * row
    first = torch.searchsorted(line * row + stop, below + start)
    last = torch.searchsorted(line * row + start, below + stop, right=True)
    pairs = (last - first) * (line.remainder(height) != height - 1)
    above = torch.arange(len(line), device=line.device).repeat_interleave(pairs)
    offset = torch.arange(len(above), device=line.device) - (pairs.cumsum(0) - pairs)[above]
    return above, first[above] + offset


def _smallest_member(count: int, above: Tensor, below: Tensor) -> Tensor:
    """The smallest member of each node's component, for nodes 0 … count − 1 joined by edges.

    FastSV (Zhang, Azad, Hu, "FastSV: A Distributed-Memory Connected Component Algorithm with Fast
    Convergence", 2020): every node and its parent take the smallest grandparent among their
    neighbours until no grandparent changes. Taking the minimum is the same in any order, so the
    answer does not depend on the order in which a GPU writes.
    """
    one, other = torch.cat([above, below]), torch.cat([below, above])
    parent = torch.arange(count, device=above.device)
    grandparent = parent
    while True:
        smallest = grandparent[other]
        hooked = parent.scatter_reduce(0, parent[one], smallest, "amin")
        hooked.scatter_reduce_(0, one, smallest, "amin")
        parent = torch.minimum(hooked, grandparent)
        previous, grandparent = grandparent, parent[parent]
        if torch.equal(previous, grandparent):
            return grandparent


def paint_runs_torch(runs: Runs, values: Tensor) -> Tensor:
    """`paint_runs` by PyTorch's operations: running sums of where values begin and end."""
    batch, height, width = runs.size
    # Bool values are summed modulo 256, in which −1 takes back what 1 has added.
    steps = values.to(torch.uint8) if values.dtype == torch.bool else values
    delta = steps.new_zeros(batch * height * (width + 1))
    delta[runs.line * (width + 1) + runs.start] = steps
    delta[runs.line * (width + 1) + runs.stop] = steps.neg()
    painted = delta.view(batch, height, width + 1).cumsum(-1, dtype=steps.dtype)
    return painted[..., :-1].to(values.dtype)
