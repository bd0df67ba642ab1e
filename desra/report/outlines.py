"""Regions of a mask as exact polygons along pixel edges, for SVG."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

Corners = NDArray[np.int32]
"""``(N, 2)``: x and y of a polygon's corners in pixel units, from the image's top left corner."""


class Region(NamedTuple):
    """One region of a mask.

    Attributes:
        number: 1 is the largest region of a mask; in a numbered map, the map's own number.
        area: pixels.
        box: left, top, width, height in pixels.
        classes: semantic class and its share of the region in [0, 1], most frequent first.
        polygons: outlines and holes, to be filled by the even-odd rule.
    """

    number: int
    area: int
    box: tuple[int, int, int, int]
    classes: list[tuple[int, float]]
    polygons: list[Corners]


def find_regions(mask: NDArray, labels: NDArray[np.uint8] | None = None) -> list[Region]:
    """Regions of a mask, the largest first.

    Args:
        mask: ``(H, W)``. Bool: 8-connected regions, numbered by area. Integer: a map of numbered
            regions, 0 is background; the numbers are kept, and a region need not be connected.
        labels: ``(H, W)`` uint8 semantic classes, 255 = none.
    """
    if not mask.any():
        return []
    if mask.dtype == bool:
        found: NDArray = number_regions(mask)
        polygons: dict[int, list[Corners]] = {}
        for corners in trace(mask):
            x, y = corners[0]
            # A hole's first corner is below the region, an outline's first corner is above it.
            polygons.setdefault(int(found[y, x] or found[y - 1, x]), []).append(corners)
    else:
        found = mask
        numbers = np.unique(mask[mask > 0]).tolist()
        polygons = {number: list(trace(mask == number)) for number in numbers}
    classes = _class_shares(found, sorted(polygons), labels)
    regions = [
        _region(number, found, outlines, classes.get(number, []))
        for number, outlines in polygons.items()
    ]
    regions.sort(key=lambda region: (-region.area, region.box[1], region.box[0], region.number))
    return regions


def number_regions(mask: NDArray[np.bool_]) -> NDArray[np.int32]:
    """8-connected regions by number: 1 is the largest; of equals the upper, then the left comes
    first. 0 is background.

    >>> number_regions(np.array([[1, 0, 1, 1]], bool))
    array([[2, 0, 1, 1]], dtype=int32)
    """
    pixels = np.ascontiguousarray(mask).view(np.uint8)
    _, found, stats, _ = cv2.connectedComponentsWithStats(pixels, connectivity=8)
    left, top, area = (
        stats[1:, column] for column in (cv2.CC_STAT_LEFT, cv2.CC_STAT_TOP, cv2.CC_STAT_AREA)
    )
    rank = np.zeros(len(stats), np.int32)
    rank[1 + np.lexsort((left, top, -area))] = np.arange(1, len(stats), dtype=np.int32)
    return rank[found]


def _region(
    number: int, found: NDArray, polygons: list[Corners], classes: list[tuple[int, float]]
) -> Region:
    area = 0
    for corners in polygons:
        x, y = corners[0]
        filled = found[y, x] == number
        enclosed = round(cv2.contourArea(corners))
        area += enclosed if filled else -enclosed
    box = cv2.boundingRect(np.concatenate(polygons))
    left, top, width, height = (int(side) for side in box)
    # OpenCV counts the corners themselves: a box around corners 0 and 1 is 2 wide.
    return Region(number, area, (left, top, width - 1, height - 1), classes, polygons)


def _class_shares(
    found: NDArray, numbers: list[int], labels: NDArray[np.uint8] | None, most: int = 5
) -> dict[int, list[tuple[int, float]]]:
    if labels is None:
        return {}
    inside = np.flatnonzero(found.ravel() > 0)
    index = np.searchsorted(np.array(numbers), found.ravel()[inside])
    index = index * 256 + labels.ravel()[inside]
    counts = np.bincount(index, minlength=len(numbers) * 256).reshape(-1, 256)
    shares = {}
    for number, row in zip(numbers, counts, strict=True):
        order = np.argsort(-row, kind="stable")[:most]
        shares[number] = [(int(k), round(int(row[k]) / int(row.sum()), 4)) for k in order if row[k]]
    return shares


def trace(mask: NDArray[np.bool_]) -> Iterator[Corners]:
    """Closed polygons along the edges between set and unset pixels.

    Set pixels that touch at a corner only are joined, as 8-connected regions are. Corners come in
    pairs along each row and in pairs along each column of pixel corners; a polygon takes the two
    kinds of edge in turn, beginning with the one to the right of its topmost, then leftmost corner.

    Args:
        mask: ``(H, W)`` bool, not all false.
    """
    left, top, width, height = cv2.boundingRect(np.ascontiguousarray(mask).view(np.uint8))
    cut = mask[top : top + height, left : left + width].view(np.uint8)
    places, across, down = _corners(np.pad(cut, 1))
    places += np.array([left, top], np.int32)
    unvisited = bytearray(b"\x01") * len(across)
    first = 0
    while (first := unvisited.find(1, first)) >= 0:
        polygon: list[int] = []
        corner = first
        while unvisited[corner]:
            turn = across[corner]
            unvisited[corner] = unvisited[turn] = 0
            polygon += (corner, turn)
            corner = down[turn]
        yield places[polygon]


def _corners(pixels: NDArray[np.uint8]) -> tuple[Corners, list[int], list[int]]:
    """Corners of a padded mask's polygons, and each one's partner along its row and its column.

    Where two set pixels touch diagonally, two polygons' corners share the place.
    """
    above_left, above = pixels[:-1, :-1], pixels[:-1, 1:]
    below_left, below = pixels[1:, :-1], pixels[1:, 1:]
    single = above_left ^ above ^ below_left ^ below
    double = (above_left ^ above) & (above_left ^ below_left) & ~single
    places = cv2.findNonZero(single | double).reshape(-1, 2)  # OpenCV 4 gives (N, 1, 2)
    x, y = places.T
    copies = 1 + double[y, x].astype(np.intp)
    second = np.zeros(copies.sum(), bool)
    second[np.cumsum(copies)[copies == 2] - 1] = True
    falling = np.repeat(above_left[y, x] == 1, copies)
    places = np.repeat(places, copies, axis=0)
    x, y = places.T
    # Of two corners at one place the first ends the edge from the left and the second begins the
    # one to the right. On a falling diagonal the second meets the edge from above, on a rising one
    # the first: that joins the set pixels.
    by_column = np.lexsort((second ^ falling, y, x))
    across = np.arange(len(x)) ^ 1
    down = np.empty_like(across)
    down[by_column] = by_column[across]
    return places, across.tolist(), down.tolist()


def path_data(polygons: list[Corners]) -> str:
    """SVG path data of polygons along pixel edges, in relative steps, which keep it short."""
    return "".join(_path(corners) for corners in polygons)


def _path(corners: Corners) -> str:
    steps = np.diff(corners, axis=0)
    lengths = steps[np.arange(len(steps)), np.arange(len(steps)) % 2].tolist()
    edges = [f"{'hv'[index % 2]}{length}" for index, length in enumerate(lengths)]
    return f"M{corners[0, 0]} {corners[0, 1]}{''.join(edges)}z"


def simple_path(polygons: list[Corners], tolerance: float) -> str:
    """SVG path data of polygons simplified to within ``tolerance`` pixels, for small pictures."""
    simple = (cv2.approxPolyDP(corners, tolerance, True).reshape(-1, 2) for corners in polygons)
    return "".join(
        "M" + "L".join(f"{x} {y}" for x, y in corners.tolist()) + "z" for corners in simple
    )
