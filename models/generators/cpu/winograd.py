"""3×3 convolutions of channels-last images by Winograd's algorithm, in float32 on the processor."""

from __future__ import annotations

import math
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import NamedTuple

import numba
import numpy as np
import torch
from numba import prange
from numpy.typing import NDArray
from torch import Tensor, nn

from models.generators.cpu.simd import FLOAT, PANEL, ROWS, kernel, multiply_panel
from models.generators.cpu.winograd_tiles import (
    LANES,
    OUTPUTS,
    PRODUCTS,
    doubled_input_tile,
    input_tile,
    output_tile,
    transform_weights,
)

Array = NDArray[np.float32]

_CACHE = 352 * 1024
"""Bytes of transformed input that a thread works on: well inside a core's second-level cache."""

_LARGEST_BLOCK = 48
"""Tiles that a thread works on, at most: the image has to go round."""

_GAP = 16
"""Floats between the products of a block. Without it a power of two lies between them, and all fall
into the same few lines of the cache."""

_NOTHING = np.empty((0, 0, 0), np.float32)


def round_up(count: int, multiple: int) -> int:
    return -(-count // multiple) * multiple


class FeatureMap:
    """A channels-last image with room around it, for `WinogradConvolution`.

    There is a pixel of zeros on each side, as a convolution pads, and more to the right and below
    until tiles of 4×4 fit. The zeros stay; only the image is written.

    Args:
        tensor: ``(rows, columns, channels)`` float32, contiguous, with the room.
        height: of the image.
        width: of the image.

    Attributes:
        pixels: the same memory for kernels.
    """

    def __init__(self, tensor: Tensor, height: int, width: int) -> None:
        self.tensor = tensor
        self.height = height
        self.width = width
        self.pixels: Array = tensor.numpy()

    @classmethod
    def empty(cls, height: int, width: int, channels: int) -> FeatureMap:
        """A map whose image is uninitialised; channels are filled up to a multiple of `LANES`."""
        columns = round_up(width, OUTPUTS) + 2
        # Below, for parts of the image (`rows`), which may end anywhere within their last tile.
        tensor = torch.empty(height + OUTPUTS + 1, columns, round_up(channels, LANES))
        tensor[0] = tensor[height + 1 :] = 0
        tensor[:, 0] = tensor[:, width + 1 :] = 0
        return cls(tensor, height, width)

    @classmethod
    def of(cls, image: Tensor) -> FeatureMap:
        """A copy of ``(channels, height, width)``, with zeros in the channels filled up."""
        channels, height, width = image.shape
        copied = cls.empty(height, width, channels)
        copied.image[:channels] = image
        copied.image[channels:] = 0
        return copied

    def rows(self, top: int, bottom: int) -> FeatureMap:
        """Rows of the image, to be read only; what is around them is the image's own."""
        return FeatureMap(self.tensor[top:], bottom - top, self.width)

    @property
    def image(self) -> Tensor:
        """The image alone, a view ``(channels, height, width)``."""
        return self.tensor[1 : self.height + 1, 1 : self.width + 1].permute(2, 0, 1)


class Addend(NamedTuple):
    """An image that is added to a convolution's output: its first channels, times a factor."""

    image: FeatureMap
    factor: float


class WinogradConvolution:
    """A 3×3 (or 1×1) convolution that keeps the size, with bias and activation.

    Args:
        conv: the convolution.
        slope: the activation, as the factor of what is not positive, for all channels or for each:
            1 for none, 0 for ReLU.
        scale: factor of the convolution's result, before the activation.
        parts: channels of the images that were put side by side to make the input; each begins at
            the next multiple of `LANES`. None for one image.
        doubled: the input is doubled by nearest neighbours first.

    Attributes:
        outputs: channels that are written: ``conv.out_channels``, and zeros up to a multiple of
            `LANES`.
    """

    def __init__(
        self,
        conv: nn.Conv2d,
        *,
        slope: float | Tensor = 1.0,
        scale: float = 1.0,
        parts: Sequence[int] | None = None,
        doubled: bool = False,
    ) -> None:
        taps = _taps(conv)
        self.doubled = doubled
        self.outputs = round_up(conv.out_channels, LANES)
        places = _places(parts or (conv.in_channels,))
        self.inputs = round_up(int(places[-1]) + 1, LANES)
        columns = round_up(conv.out_channels, PANEL)
        weight = np.zeros((columns, self.inputs, 3, 3), np.float32)
        weight[: conv.out_channels, places] = taps * scale
        panels = transform_weights(weight).reshape(PRODUCTS, self.inputs, -1, PANEL)
        self.panels = np.ascontiguousarray(panels.transpose(0, 2, 1, 3))
        self.bias = np.zeros(columns, np.float32)
        if conv.bias is not None:
            self.bias[: conv.out_channels] = _array(conv.bias) * scale
        self.slope = np.ones(columns, np.float32)
        self.slope[: conv.out_channels] = torch.as_tensor(slope).detach().float().numpy()
        fitting = _CACHE // (PRODUCTS * self.inputs * FLOAT) // ROWS * ROWS
        self.block = min(max(fitting, ROWS), _LARGEST_BLOCK)

    def __call__(
        self,
        source: FeatureMap,
        target: FeatureMap,
        at: int = 0,
        addends: tuple[Addend, ...] = (),
    ) -> None:
        """Convolve the first channels of ``source`` into those of ``target`` from ``at`` on.

        Both may be one map, if ``at`` is behind what is read. Addends may be the target itself.
        """
        first, second = (*addends, None, None)[:2]
        columns = self.panels.shape[1] * PANEL
        with numba_threads() as threads:
            _convolve(
                source.pixels,
                self.panels,
                self.bias,
                self.slope,
                target.pixels,
                at,
                first.image.pixels if first else _NOTHING,
                np.float32(first.factor if first else 0),
                second.image.pixels if second else _NOTHING,
                np.float32(second.factor if second else 0),
                target.height,
                target.width,
                self.outputs,
                self.block,
                self.doubled,
                scratch("inputs", threads, PRODUCTS, self.block * self.inputs + _GAP),
                scratch("products", threads, PRODUCTS, self.block * columns + _GAP),
            )


_ONE_AT_A_TIME = threading.Lock()
_rooms: dict[str, Array] = {}


@contextmanager
def numba_threads() -> Iterator[int]:
    """Let Numba use as many threads as PyTorch does, and say how many.

    One Python thread at a time gets them: they would share the same cores, and Numba's simplest
    threading layer (the one it has on macOS) ends the process where two use it at once.
    """
    threads = min(torch.get_num_threads(), numba.config.NUMBA_NUM_THREADS)  # type: ignore[attr-defined]
    with _ONE_AT_A_TIME:
        before = numba.get_num_threads()
        numba.set_num_threads(threads)
        try:
            yield threads
        finally:
            numba.set_num_threads(before)


def scratch(use: str, threads: int, *shape: int) -> Array:
    """Room of a shape for each thread, with what an earlier kernel left in it, or zeros.

    It is kept for the next kernel, and so is only asked for within `numba_threads`.
    """
    size = threads * math.prod(shape)
    if use not in _rooms or _rooms[use].size < size:
        _rooms[use] = np.zeros(size, np.float32)
    return _rooms[use][:size].reshape(threads, *shape)


def _taps(conv: nn.Conv2d) -> Array:
    """The weights as ``(out, in, 3, 3)``; those of a 1×1 convolution are the middle."""
    shape = (conv.kernel_size, conv.padding, conv.stride, conv.dilation, conv.groups)
    if conv.padding_mode == "zeros" and shape[2:] == ((1, 1), (1, 1), 1):
        if shape[:2] == ((3, 3), (1, 1)):
            return _array(conv.weight)
        if shape[:2] == ((1, 1), (0, 0)):
            return np.pad(_array(conv.weight), ((0, 0), (0, 0), (1, 1), (1, 1)))
    raise ValueError(f"only plain 3×3 or 1×1 convolutions that keep the size, got {conv}")


def _places(parts: Sequence[int]) -> NDArray[np.int64]:
    """Where channels of images lie that were put side by side."""
    starts = np.cumsum([0, *(round_up(part, LANES) for part in parts[:-1])])
    return np.concatenate(
        [start + np.arange(part) for start, part in zip(starts, parts, strict=True)]
    )


def _array(tensor: Tensor) -> Array:
    return tensor.detach().float().cpu().numpy()


@kernel(parallel=True)
def _convolve(  # type: ignore[no-untyped-def]
    source,
    panels,
    bias,
    slope,
    target,
    at,
    first,
    first_factor,
    second,
    second_factor,
    height,
    width,
    outputs,
    block,
    doubled,
    transformed,
    products,
):  # pragma: no cover - compiled
    tile_rows, tile_columns = -(-height // OUTPUTS), -(-width // OUTPUTS)
    tiles = tile_rows * tile_columns
    depth = panels.shape[2]
    columns = panels.shape[1] * PANEL
    in_stride, out_stride = block * depth + _GAP, block * columns + _GAP
    source_pixel, target_pixel = source.shape[2] * FLOAT, target.shape[2] * FLOAT
    first_pixel, second_pixel = first.shape[2] * FLOAT, second.shape[2] * FLOAT
    row = target.shape[1]
    step = OUTPUTS // 2 if doubled else OUTPUTS
    for number in prange(-(-tiles // block)):
        index = np.int64(number)  # Numba counts without sign, and such a number less one is a float
        thread = numba.get_thread_id()
        inner = transformed[thread].ctypes.data
        outer = products[thread].ctypes.data
        begin = index * block
        count = min(block, tiles - begin)
        for tile in range(count):
            y, x = divmod(begin + tile, tile_columns)
            place = source.ctypes.data + (y * step * source.shape[1] + x * step) * source_pixel
            stored = inner + tile * depth * FLOAT
            if doubled:
                doubled_input_tile(
                    place,
                    source.shape[1] * source_pixel,
                    source_pixel,
                    stored,
                    in_stride * FLOAT,
                    depth,
                )
            else:
                input_tile(
                    place,
                    source.shape[1] * source_pixel,
                    source_pixel,
                    stored,
                    in_stride * FLOAT,
                    depth,
                )
        for product in range(PRODUCTS):
            for panel in range(panels.shape[1]):
                for tile in range(0, count, ROWS):
                    multiply_panel(
                        inner + (product * in_stride + tile * depth) * FLOAT,
                        depth * FLOAT,
                        panels[product, panel].ctypes.data,
                        PANEL * FLOAT,
                        outer + (product * out_stride + tile * columns + panel * PANEL) * FLOAT,
                        columns * FLOAT,
                        depth,
                    )
        for tile in range(count):
            y, x = divmod(begin + tile, tile_columns)
            y, x = y * OUTPUTS, x * OUTPUTS
            pixel = (y + 1) * row + x + 1
            output_tile(
                outer + tile * columns * FLOAT,
                out_stride * FLOAT,
                target.ctypes.data + pixel * target_pixel + at * FLOAT,
                target_pixel,
                row,
                bias.ctypes.data,
                slope.ctypes.data,
                first.ctypes.data + pixel * first_pixel if first_pixel else 0,
                first_pixel,
                first_factor,
                second.ctypes.data + pixel * second_pixel if second_pixel else 0,
                second_pixel,
                second_factor,
                outputs,
            )
            # What a tile has beyond the image is zero for the convolution that reads it.
            if y + OUTPUTS > height:
                target[height + 1 : y + OUTPUTS + 1, x + 1 : x + OUTPUTS + 1, at : at + outputs] = 0
            if x + OUTPUTS > width:
                target[y + 1 : y + OUTPUTS + 1, width + 1 : x + OUTPUTS + 1, at : at + outputs] = 0
