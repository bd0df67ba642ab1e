"""Choice of the tile size: by receptive field, work and memory."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from desra.errors import InputError
from desra.tiling import Grid, plan_grid

EXACT_OVERLAP = 48
"""A network that sees no farther than this gets tiles that equal the whole image."""
FADED_OVERLAP = 32
"""Context of tiles for networks that see farther; such tiles fade into each other."""
SMALLEST_TILE = 32
"""Where not even this fits, out of memory is an error."""

_SIDES = (1024, 768, 512, 384, 256, 192, 128, 96, 64, SMALLEST_TILE)
_SLACK = 1.15


@dataclass
class TilePlanner:
    """Plans tiles for images of any size.

    Attributes:
        tile: side of a tile in pixels, its context not counted; None for the whole image at once;
            ``"auto"``: of those that fit, the smallest whose work is within 15% of the least.
        overlap: context around a tile; None for what ``reach`` asks for.
        border: reflected pixels around the image.
        reach: how far the network sees; None where that is beyond `EXACT_OVERLAP` and ``overlap``.
        multiple: tiles start at and measure multiples of this.
        bytes_per_pixel: memory that the network takes for each pixel that it reads.
        largest: no tile may be larger; lowered when memory runs out.
    """

    tile: int | Literal["auto"] | None
    overlap: int | None
    border: int
    reach: int | None
    multiple: int
    bytes_per_pixel: float
    largest: int | None = None

    def plan(self, height: int, width: int, budget: int) -> Grid:
        """Tiles for an image.

        Args:
            height: of the image.
            width: of the image.
            budget: bytes that the network may take for one tile; looked at where tile is auto.
        """
        longest = max(height, width)
        if self.tile != "auto":
            return self._grid(height, width, min(self.tile or longest, self.largest or longest))
        sides = [longest, *(side for side in _SIDES if side < longest)]
        allowed = [side for side in sides if side <= (self.largest or longest)] or sides[-1:]
        grids = [self._grid(height, width, side) for side in allowed]
        fitting = [grid for grid in grids if self.bytes(grid) <= budget] or grids[-1:]
        least = min(_work(grid) for grid in fitting)
        near = [grid for grid in fitting if _work(grid) <= _SLACK * least]
        return min(near, key=lambda grid: grid.area)

    def bytes(self, grid: Grid) -> int:
        """Memory that the network takes for one tile of ``grid``."""
        return int(grid.area * self.bytes_per_pixel)

    def shrink(self, grid: Grid) -> int:
        """Allow half the size of tiles that did not fit, and return it.

        Raises:
            InputError: they were the smallest.
        """
        side = max(span.last - span.first for span in (*grid.rows, *grid.columns))
        if side <= SMALLEST_TILE or self.largest == SMALLEST_TILE:
            raise InputError(
                f"out of memory even with tiles of {side} pixels; free some memory, "
                "or use a smaller network or trainer=cpu"
            )
        self.largest = max(side // 2, SMALLEST_TILE)
        return self.largest

    def _grid(self, height: int, width: int, side: int) -> Grid:
        overlap = self.overlap
        if overlap is None:
            overlap = FADED_OVERLAP if self.reach is None else self.reach
        return plan_grid(
            height,
            width,
            side,
            overlap=overlap,
            border=self.border,
            reach=self.reach,
            multiple=self.multiple,
        )


def _work(grid: Grid) -> int:
    """Pixels that the network reads for all tiles together."""
    return len(grid) * grid.area
