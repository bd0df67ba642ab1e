"""Tiles cover an image once, and joined they equal what the network makes of the whole."""

from itertools import pairwise

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.nn import functional as F

from desra.tiling import (
    join_tiles,
    measure_reach,
    plan_axis,
    plan_grid,
    read_tile,
    reflect_indices,
)


class Convolutions(nn.Module):
    """A small generator that sees ``depth`` pixels far: zero-padded convolutions, then shuffle."""

    def __init__(self, depth: int = 3, scale: int = 2) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.scale = scale
        widths = [3] + [8] * (depth - 1) + [3 * scale**2]
        self.body = nn.ModuleList(
            nn.Conv2d(before, after, 3, padding=1) for before, after in pairwise(widths)
        )

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        for conv in self.body:
            images = torch.tanh(conv(images))
        return F.pixel_shuffle(images, self.scale)


class Windows(nn.Module):
    """Mixes every 4×4 window with itself, whatever is around it."""

    scale, multiple = 1, 4

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.mix = nn.Linear(16, 16)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        windows = F.pixel_unshuffle(images, 4).unflatten(1, (-1, 16)).movedim(2, -1)
        mixed = self.mix(windows).movedim(-1, 2).flatten(1, 2)
        return F.pixel_shuffle(mixed, 4)


def upscale_in_tiles(network, images, tile, **options):
    grid = plan_grid(*images.shape[-2:], tile, **options)
    outputs = (network(read_tile(images, *spans)) for spans in grid)
    return collect(join_tiles(grid, network.scale, outputs), images.shape, network.scale), grid


def collect(patches, shape, scale):
    """The whole of its patches; every pixel must come once."""
    *some, height, width = shape
    whole = torch.full((*some, height * scale, width * scale), torch.nan)
    for top, left, pixels in patches:
        rows, columns = pixels.shape[-2:]
        place = whole[..., top : top + rows, left : left + columns]
        assert place.shape == pixels.shape
        assert place.isnan().all(), "a pixel that came before"
        place.copy_(pixels)
    assert not whole.isnan().any(), "a pixel that never came"
    return whole


axes = st.fixed_dictionaries(
    {
        "length": st.integers(1, 200),
        "tile": st.one_of(st.none(), st.integers(1, 80)),
        "overlap": st.integers(0, 40),
        "border": st.integers(0, 40),
        "reach": st.one_of(st.none(), st.integers(0, 50)),
        "multiple": st.integers(1, 9),
    }
)


@given(axes, st.integers(1, 4))
@settings(deadline=None)
def test_shares_of_all_tiles_add_up_to_one_in_every_pixel(axis, scale):
    spans = plan_axis(**axis)
    shares = torch.zeros(axis["length"] * scale)
    for span in spans:
        shares[span.first * scale : span.last * scale] += span.weights(scale)
    torch.testing.assert_close(shares, torch.ones_like(shares))


@given(axes)
@settings(deadline=None)
def test_tiles_are_of_one_aligned_size_and_have_the_context_they_need(axis):
    spans = plan_axis(**axis)
    multiple, border, overlap = axis["multiple"], axis["border"], axis["overlap"]
    assert len({span.stop - span.start for span in spans}) == 1
    for span in spans:
        assert (span.stop - span.start) % multiple == 0
        assert (span.start + border) % multiple == 0
        assert span.first < span.last
    assert spans[0].start == -border
    assert spans[-1].stop >= axis["length"] + border
    reach = axis["reach"]
    for before, after in pairwise(spans):
        assert after.first == before.last - before.fall
        assert after.rise == before.fall
        if reach is not None and reach <= overlap:
            assert before.fall == 0
            assert before.stop - before.last >= reach
            assert after.first - after.start >= reach


@given(axes)
@settings(deadline=None)
def test_tiles_are_no_larger_than_asked_for(axis):
    spans = plan_axis(**axis)
    if axis["tile"] is None:
        assert len(spans) == 1
        return
    multiple, context = axis["multiple"], 2 * max(axis["overlap"], axis["border"])
    largest = max(axis["tile"], multiple) + context + multiple
    assert spans[0].stop - spans[0].start <= largest


@given(st.integers(1, 9), st.integers(0, 30), st.integers(0, 30))
@settings(deadline=None)
def test_reflection_is_that_of_numpy_at_any_length(length, before, after):
    expected = np.pad(np.arange(length), (before, after), mode="reflect")
    np.testing.assert_array_equal(reflect_indices(-before, length + after, length), expected)


@given(
    st.integers(1, 70),
    st.integers(1, 70),
    st.integers(4, 40),
    st.integers(3, 9),
    st.integers(0, 12),
)
@settings(deadline=None, max_examples=40)
def test_tiles_with_enough_overlap_equal_the_whole_image(height, width, tile, overlap, border):
    network = Convolutions(depth=3)
    images = torch.rand(2, 3, height, width, generator=torch.Generator().manual_seed(height))
    options = {"overlap": overlap, "border": border, "reach": 3}
    with torch.no_grad():
        tiled, _ = upscale_in_tiles(network, images, tile, **options)
        whole, grid = upscale_in_tiles(network, images, None, **options)
    assert len(grid) == 1
    torch.testing.assert_close(tiled, whole, atol=1e-5, rtol=0)


def test_the_whole_image_is_reflected_before_the_network_and_cut_after_it():
    network = Convolutions(depth=3)
    images = torch.rand(1, 3, 11, 17)
    with torch.no_grad():
        whole, _ = upscale_in_tiles(network, images, None, overlap=0, border=5)
        padded = network(F.pad(images, (5, 5, 5, 5), mode="reflect"))
    torch.testing.assert_close(whole, padded[..., 10:-10, 10:-10])


def test_tiles_that_disagree_fade_into_each_other_without_a_step():
    grid = plan_grid(100, 130, 40, overlap=10, border=0)
    outputs = (
        torch.full((1, 1, *(3 * side for side in grid.tile_shape)), float(index))
        for index, _ in enumerate(grid)
    )
    joined = collect(join_tiles(grid, 3, outputs), (1, 1, 100, 130), 3)[0, 0]
    # From one tile to the next the values differ by 1 (or a row of tiles); a cut would show it all.
    assert joined.diff(dim=1).abs().max() < 0.1
    assert joined.diff(dim=0).abs().max() < 0.1 * len(grid.columns)
    assert joined[0, 0] == 0
    assert joined[-1, -1] == len(grid) - 1


@pytest.mark.parametrize("tile", [1, 5, 8, 13])
def test_window_networks_see_the_same_windows_in_tiles(tile):
    network = Windows()
    images = torch.rand(1, 3, 27, 45)
    options = {"overlap": 2, "border": 6, "reach": None, "multiple": 4}
    with torch.no_grad():
        tiled, grid = upscale_in_tiles(network, images, tile, **options)
        whole, _ = upscale_in_tiles(network, images, None, **options)
    assert len(grid) > 4
    torch.testing.assert_close(tiled, whole)


@pytest.mark.parametrize("depth", [1, 4, 7])
def test_reach_is_the_number_of_3x3_convolutions(depth):
    assert measure_reach(Convolutions(depth), 2, limit=20) == depth


def test_reach_beyond_the_limit_is_none():
    assert measure_reach(Convolutions(9), 2, limit=8) is None
    assert measure_reach(Convolutions(8), 2, limit=8) == 8


def test_reach_of_a_network_that_sees_everything_is_none():
    class Mean(nn.Conv2d):
        def forward(self, images):
            return super().forward(images) + images.mean(dim=(2, 3), keepdim=True)

    assert measure_reach(Mean(3, 3, 1), 1, limit=30) is None


def test_joining_never_changes_the_images_it_read():
    images = torch.rand(1, 3, 40, 40)
    before = images.clone()

    class Identity(nn.Module):
        scale = 1

        def forward(self, tiles):
            return tiles

    joined, grid = upscale_in_tiles(Identity(), images, 10, overlap=4, border=3)
    assert len(grid) > 4
    torch.testing.assert_close(images, before, atol=0, rtol=0)
    torch.testing.assert_close(joined, before)
