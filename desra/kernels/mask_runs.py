"""Runs of masks and the 8-connected regions that they form."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from desra.kernels.compilation import compiled
from desra.kernels.threads import run_parallel

Array = NDArray[Any]


def connected_runs(masks: Array, value: bool) -> tuple[Array, ...]:
    """Runs and 8-connected regions of a batch; the arrays of `desra.runs.Runs`.

    Args:
        masks: ``(B, H, W)`` bool, contiguous.
        value: of the pixels that runs consist of.
    """
    height = masks.shape[1]
    found = run_parallel(_connected_runs, [(mask, value) for mask in masks])
    counts = np.array([count for *_, count in found], np.int64)
    first_region = np.cumsum(counts) - counts
    lines = [np.zeros(0, np.int64)]
    lines += [line + image * height for image, (line, *_) in enumerate(found)]
    regions = [np.zeros(0, np.int64)]
    regions += [region + first for (*_, region, _), first in zip(found, first_region, strict=True)]
    edges = np.concatenate([np.zeros(0, np.int64), *(edges for _, edges, *_ in found)])
    return np.concatenate(lines), edges[0::2], edges[1::2], np.concatenate(regions), counts


def paint(line: Array, start: Array, stop: Array, values: Array, size: tuple[int, ...]) -> Array:
    """``(B, H, W)`` images in which each run has its value; see `desra.runs.paint_runs`."""
    painted = np.zeros(size, values.dtype)
    _paint(line, start, stop, values, painted.reshape(size[0] * size[1], size[2]))
    return painted


@compiled()
def _paint(line: Array, start: Array, stop: Array, values: Array, painted: Array) -> None:
    for i in range(line.size):
        if values[i]:
            for x in range(start[i], stop[i]):
                painted[line[i], x] = values[i]


@compiled()
def _connected_runs(mask: Array, value: bool) -> tuple[Array, Array, Array, int]:
    """Line, edges (start and stop by turns) and region of every run; number of regions."""
    offsets, edges = _find_edges(mask, value)
    parent = _join(offsets, edges)
    line = np.empty(parent.size, np.int64)
    for y in range(mask.shape[0]):
        for run in range(offsets[y], offsets[y + 1]):
            line[run] = y
    count = 0
    for run in range(parent.size):  # a parent precedes its children and has its number already
        if parent[run] == run:
            parent[run] = count
            count += 1
        else:
            parent[run] = parent[parent[run]]
    return line, edges, parent, count


@compiled()
def _find_edges(mask: Array, value: bool) -> tuple[Array, Array]:
    """Number of runs before each row, and the columns where runs start and stop."""
    height, width = mask.shape
    offsets = np.zeros(height + 1, np.int64)
    edges = np.empty(8 * height, np.int64)
    found = 0
    # Changes along a row are compared by vector instructions, and looked for in words of 8.
    changes = np.zeros(width // 8 * 8 + 8, np.uint8)
    words = changes.view(np.uint64)
    for y in range(height):
        row = mask[y]
        changes[0] = row[0] == value
        for x in range(1, width):
            changes[x] = row[x] != row[x - 1]
        changes[width] = row[width - 1] == value
        if found + width + 1 > edges.size:
            larger = np.empty(2 * (found + width + 1), np.int64)
            for i in range(found):
                larger[i] = edges[i]
            edges = larger
        for word in range(words.size):
            if words[word] != 0:
                for x in range(8 * word, 8 * word + 8):
                    if changes[x]:
                        edges[found] = x
                        found += 1
        offsets[y + 1] = found // 2
    return offsets, edges[:found]


@compiled()
def _join(offsets: Array, edges: Array) -> Array:
    """For every run, an earlier run of its region, or itself if it is the first."""
    parent = np.arange(offsets[-1])
    for y in range(1, offsets.size - 1):
        above, below = offsets[y - 1], offsets[y]
        while above < offsets[y] and below < offsets[y + 1]:
            above_stop, below_stop = edges[2 * above + 1], edges[2 * below + 1]
            if above_stop >= edges[2 * below] and below_stop >= edges[2 * above]:
                a, b = _root(parent, above), _root(parent, below)
                parent[max(a, b)] = min(a, b)
            if above_stop < below_stop:
                above += 1
            else:
                below += 1
    return parent


@compiled()
def _root(parent: Array, run: int) -> int:
    while parent[run] != run:
        parent[run] = parent[parent[run]]
        run = parent[run]
    return run
