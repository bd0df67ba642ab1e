"""Tiles are chosen by memory and work."""

from itertools import pairwise

import pytest

from desra.errors import InputError
from desra.tile_planner import FADED_OVERLAP, SMALLEST_TILE, TilePlanner


def planner(**changes):
    options = {
        "tile": "auto",
        "overlap": None,
        "border": 16,
        "reach": 18,
        "multiple": 1,
        "bytes_per_pixel": 1000.0,
    }
    return TilePlanner(**{**options, **changes})


PLENTY = 10**15


@pytest.mark.parametrize("reach", [4, 18, None])
@pytest.mark.parametrize("side", [20, 300, 1024, 3000])
def test_auto_costs_little_more_than_the_whole_image(reach, side):
    grid = planner(reach=reach).plan(side, side, PLENTY)
    assert len(grid) * grid.area <= 1.15 * (side + 32) ** 2


def test_auto_takes_less_memory_than_the_whole_image_where_that_is_cheap():
    grid = planner().plan(2000, 2000, PLENTY)
    assert grid.area < 0.2 * 2032**2


@pytest.mark.parametrize("budget", [10**6 * k for k in (12, 50, 200, 1000)])
@pytest.mark.parametrize("shape", [(1024, 1024), (50, 4000), (4000, 50), (17, 17)])
def test_auto_fits_the_budget(budget, shape):
    chosen = planner()
    grid = chosen.plan(*shape, budget)
    assert chosen.bytes(grid) <= budget


def test_auto_with_too_small_a_budget_is_the_smallest_tile():
    grid = planner().plan(1000, 1000, 1)
    assert max(grid.tile_shape) <= SMALLEST_TILE + 2 * 18


def test_a_tile_is_no_larger_than_asked_for():
    grid = planner(tile=100).plan(1000, 300, PLENTY)
    assert grid.tile_shape <= (136, 136)
    assert len(planner(tile=None).plan(1000, 300, PLENTY)) == 1


def test_overlap_is_the_reach_or_the_default():
    for reach, overlap in ((5, 5), (None, FADED_OVERLAP)):
        rows = planner(tile=64, reach=reach, border=0).plan(500, 500, PLENTY).rows
        assert min(a.stop - b.start for a, b in pairwise(rows)) >= 2 * overlap


def test_shrinking_halves_until_the_smallest():
    chosen = planner(tile=None)
    sides = []
    while chosen.largest != SMALLEST_TILE:
        sides.append(chosen.shrink(chosen.plan(700, 500, PLENTY)))
    with pytest.raises(InputError, match="out of memory"):
        chosen.shrink(chosen.plan(700, 500, PLENTY))
    assert sides[0] == 350
    assert all(after < before for before, after in pairwise(sides))
    assert sides[-1] == SMALLEST_TILE
