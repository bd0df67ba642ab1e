"""Tiles: cutting an image that is too large for a network, and joining what the network makes.

A tile is read with context around it, since a network's output near the edge of its input is not
what it would be in a larger input. Beyond the image, context is the image reflected. Where the
context reaches as far as the network sees, tiles meet in a cut and the result is that of the whole
image; where it does not, neighbours fade into each other.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise, product
from math import pi
from typing import NamedTuple

import torch
from torch import Tensor, nn


@dataclass(frozen=True)
class Span:
    """One tile along one axis, in pixels of the low-resolution image.

    Attributes:
        start: first pixel read; negative within the reflected border.
        stop: one after the last pixel read; may lie beyond the axis, where it is reflected.
        first: first pixel that the tile helps to make.
        last: one after the last such pixel.
        rise: pixels from ``first`` on that are shared with the tile before.
        fall: pixels before ``last`` that are shared with the tile after.
    """

    start: int
    stop: int
    first: int
    last: int
    rise: int = 0
    fall: int = 0

    def cut(self, scale: int) -> slice:
        """Where [first, last) lies in the network's output for this tile."""
        return slice((self.first - self.start) * scale, (self.last - self.start) * scale)

    def weights(self, scale: int, device: torch.device | None = None) -> Tensor:
        """Share of this tile in each output pixel of [first, last), float32.

        The shares of all tiles of an axis add up to 1 in every pixel.
        """
        shares = torch.ones((self.last - self.first) * scale)
        if self.rise:
            shares[: self.rise * scale] = _fade_in(self.rise * scale)
        if self.fall:
            shares[-self.fall * scale :] = 1 - _fade_in(self.fall * scale)
        return shares.to(device)


def _fade_in(count: int) -> Tensor:
    """Raised cosine from 0 to 1 at ``count`` pixel centres: no step and no bend at either end."""
    return 0.5 - 0.5 * torch.cos(pi * (torch.arange(count) + 0.5) / count)


@dataclass(frozen=True)
class Grid:
    """Tiles of one size that cover an image; each row of them with each column."""

    rows: tuple[Span, ...]
    columns: tuple[Span, ...]

    @property
    def tile_shape(self) -> tuple[int, int]:
        """Height and width that the network reads, context included."""
        row, column = self.rows[0], self.columns[0]
        return row.stop - row.start, column.stop - column.start

    @property
    def area(self) -> int:
        """Pixels of one tile, context included: what memory depends on."""
        height, width = self.tile_shape
        return height * width

    def __len__(self) -> int:
        return len(self.rows) * len(self.columns)

    def __iter__(self) -> Iterator[tuple[Span, Span]]:
        """Row and column span of each tile, row by row."""
        return iter(product(self.rows, self.columns))


def plan_grid(
    height: int,
    width: int,
    tile: int | None,
    *,
    overlap: int,
    border: int,
    reach: int | None = None,
    multiple: int = 1,
) -> Grid:
    """Plan the tiles of an image.

    Args:
        height: of the image, in pixels.
        width: of the image, in pixels.
        tile: largest side of a tile without its context; None for the whole image at once.
        overlap: context read around a tile where other tiles are.
        border: reflected pixels around the image.
        reach: how far the network sees, in pixels; None where that is without bound.
        multiple: tiles start at and measure multiples of this (a window of attention, a
            pixel-unshuffle), so that tiles and the whole image are partitioned alike.
    """
    options = {"overlap": overlap, "border": border, "reach": reach, "multiple": multiple}
    return Grid(
        plan_axis(height, tile, **options),  # type: ignore[arg-type]
        plan_axis(width, tile, **options),  # type: ignore[arg-type]
    )


def plan_axis(
    length: int,
    tile: int | None,
    *,
    overlap: int,
    border: int,
    reach: int | None = None,
    multiple: int = 1,
) -> tuple[Span, ...]:
    """Plan the tiles along one axis, evenly sized; arguments as `plan_grid`.

    Example:
        >>> [(span.start, span.stop) for span in plan_axis(100, 64, overlap=8, border=0)]
        [(0, 58), (42, 100)]
    """
    total = _round_up(length + 2 * border, multiple)
    # Less context than border would leave tiles at the edge that make nothing of the image.
    shared = _round_up(2 * max(overlap, border), multiple)
    core = total if tile is None else max(tile // multiple, 1) * multiple
    if core + shared >= total:
        return (Span(-border, total - border, 0, length),)
    count = -(-(total - shared) // core)
    size = _round_up(-(-(total + (count - 1) * shared) // count), multiple)
    units = (total - size) // multiple
    starts = [i * units // (count - 1) * multiple - border for i in range(count)]
    return _join(starts, size, length, reach)


def _join(starts: Sequence[int], size: int, length: int, reach: int | None) -> tuple[Span, ...]:
    """Spans of one size, cut or faded into each other in the middle of what neighbours share."""
    stride = min(after - before for before, after in pairwise(starts))
    spans = []
    first, rise = 0, 0
    for start, following in pairwise(starts):
        stop = start + size
        middle, context = (following + stop) // 2, (stop - following) // 2
        # The outer half of too short a context is the less reliable one: it is left out. A fade is
        # no wider than a stride, so that no pixel belongs to three tiles.
        half = 0 if reach is not None and context >= reach else min(context, stride) // 2
        begin, end = max(middle - half, first + rise), min(middle + half, length)
        spans.append(Span(start, stop, first, end, rise, end - begin))
        first, rise = begin, end - begin
    spans.append(Span(starts[-1], starts[-1] + size, first, length, rise))
    return tuple(spans)


def _round_up(value: int, multiple: int) -> int:
    return -(-value // multiple) * multiple


def reflect_indices(start: int, stop: int, length: int) -> Tensor:
    """Indices in [0, length) of pixels ``start`` … ``stop - 1`` of an axis reflected without end.

    As ``numpy.pad(mode="reflect")``: the edge pixel is not repeated, and where the border is longer
    than the axis, reflections are reflected again; a single pixel is repeated.
    """
    if length == 1:
        return torch.zeros(stop - start, dtype=torch.long)
    period = 2 * (length - 1)
    phase = torch.arange(start, stop).remainder(period)
    return torch.minimum(phase, period - phase)


def read_tile(images: Tensor, rows: Span, columns: Span) -> Tensor:
    """The pixels of one tile, ``(B, C, H, W)`` to ``(B, C, h, w)``, reflected as needed."""
    height, width = images.shape[-2:]
    down = reflect_indices(rows.start, rows.stop, height).to(images.device)
    across = reflect_indices(columns.start, columns.stop, width).to(images.device)
    return images.index_select(-2, down).index_select(-1, across)


class Patch(NamedTuple):
    """A finished part of the output.

    Attributes:
        top: its first row in the whole.
        left: its first column in the whole.
        pixels: ``(B, C, rows, columns)`` float32.
    """

    top: int
    left: int
    pixels: Tensor


def join_tiles(grid: Grid, scale: int, outputs: Iterable[Tensor]) -> Iterator[Patch]:
    """Join a network's outputs into finished patches, so that the whole is never held.

    Tiles that meet in a cut are patches by themselves; those that fade into each other make bands
    over the whole width.

    Args:
        grid: the plan.
        scale: output pixels per input pixel.
        outputs: ``(B, C, scale * h, scale * w)`` float for each tile of the grid, in its order.

    Yields:
        patches that cover the output without gap or overlap; each is the caller's own.
    """
    stream = iter(outputs)
    if not any(span.fall for span in (*grid.rows, *grid.columns)):
        for rows, columns in grid:
            pixels = next(stream)[..., rows.cut(scale), columns.cut(scale)].float()
            yield Patch(rows.first * scale, columns.first * scale, pixels)
            del pixels
        return
    shared: Tensor | None = None  # rows begun by one row of tiles and completed by the next
    for rows in grid.rows:
        band = _join_columns(grid.columns, rows.cut(scale), scale, stream)
        if rows.rise or rows.fall:
            band *= rows.weights(scale, band.device)[:, None]
        if shared is not None:
            band[..., : shared.shape[-2], :] += shared
        done = band.shape[-2] - rows.fall * scale
        shared = band[..., done:, :].clone() if rows.fall else None
        yield Patch(rows.first * scale, 0, band[..., :done, :])
        del band


def _join_columns(
    columns: Sequence[Span], rows: slice, scale: int, stream: Iterator[Tensor]
) -> Tensor:
    """One row of tiles, side by side, as float32."""
    part = next(stream)[..., rows, columns[0].cut(scale)]
    band = part.new_zeros((*part.shape[:-1], columns[-1].last * scale), dtype=torch.float32)
    for index, span in enumerate(columns):
        if index:
            part = next(stream)[..., rows, span.cut(scale)]
        place = band[..., span.first * scale : span.last * scale]
        place += part * span.weights(scale, band.device)
        del part
    return band


@torch.no_grad()
def measure_reach(network: nn.Module, scale: int, limit: int, multiple: int = 1) -> int | None:
    """How far the network sees: the distance beyond which no input pixel matters to an output.

    NaN at one end of a strip of image is followed to the output: every operation keeps it, however
    small its weights, so the answer does not depend on the image.

    Args:
        network: ``(1, 3, h, w)`` to ``(1, 3, scale * h, scale * w)``, in float32.
        scale: output pixels per input pixel.
        limit: a network that sees farther than this is not followed further.
        multiple: as in `plan_grid`.

    Returns:
        pixels of the input, or None where it is more than ``limit``.

    Example:
        >>> measure_reach(nn.Conv2d(3, 3, 5, padding=2), scale=1, limit=16)
        2
    """
    height, width = _round_up(8, multiple), _round_up(limit + multiple + 1, multiple)
    weight = next(network.parameters())
    strip = torch.zeros(1, 3, height, width, device=weight.device)
    strip[..., :multiple] = torch.nan
    touched = network(strip).isnan().any(dim=1).any(dim=1)[0].nonzero()
    farthest = int(touched.max()) // scale if len(touched) else 0
    return farthest if farthest <= limit else None
