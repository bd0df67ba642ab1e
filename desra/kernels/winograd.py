"""3×3 convolution of channels-last images by Winograd's algorithm, in float32."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from desra.kernels.compilation import compiled
from desra.kernels.threads import run_parallel, scratch, thread_shares
from desra.kernels.vectors import FLOAT, PANEL, ROWS, multiply_panel
from desra.kernels.winograd_tiles import (
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


def weight_panels(weight: Array) -> Array:
    """Weights as `convolve` takes them.

    Args:
        weight: ``(columns, inputs, 3, 3)``, columns a multiple of `PANEL`.

    Returns:
        ``(36, columns / PANEL, inputs, PANEL)``.
    """
    panels = transform_weights(weight).reshape(PRODUCTS, weight.shape[1], -1, PANEL)
    return np.ascontiguousarray(panels.transpose(0, 2, 1, 3))


def convolve(
    source: Array,
    panels: Array,
    bias: Array,
    slope: Array,
    target: Array,
    at: int,
    addends: Sequence[tuple[Array, float]],
    size: tuple[int, int],
    outputs: int,
    doubled: bool = False,
) -> None:
    """Convolve the first channels of ``source`` into those of ``target`` from ``at`` on.

    Images are ``(rows, columns, channels)`` with a pixel of zeros above and to the left, and zeros
    to the right and below until 4×4 tiles fit, and one pixel more. Source and target may be one
    image, if ``at`` is behind what is read. Addends may be the target itself.

    Args:
        source: what is read.
        panels: of the weights, see `weight_panels`.
        bias: ``(columns,)``.
        slope: ``(columns,)``, the activation: the factor of what is not positive.
        target: what is written.
        at: first channel that is written, a multiple of 8.
        addends: at most two images, and their factors, that are added after the activation.
        size: height and width of the image in the target.
        outputs: channels that are written, a multiple of 8.
        doubled: the source is doubled by nearest neighbours first.
    """
    height, width = size
    count, inputs = panels.shape[1:3]
    fitting = _CACHE // (PRODUCTS * inputs * FLOAT) // ROWS * ROWS
    block = min(max(fitting, ROWS), _LARGEST_BLOCK)
    blocks = -(-(-(-height // OUTPUTS) * -(-width // OUTPUTS)) // block)
    (first, first_factor), (second, second_factor) = (*addends, (_NOTHING, 0), (_NOTHING, 0))[:2]
    shares = thread_shares(blocks)
    transformed = scratch("inputs", len(shares), PRODUCTS, block * inputs + _GAP)
    products = scratch("products", len(shares), PRODUCTS, block * count * PANEL + _GAP)
    run_parallel(
        _convolve,
        [
            (
                source,
                panels,
                bias,
                slope,
                target,
                at,
                first,
                np.float32(first_factor),
                second,
                np.float32(second_factor),
                height,
                width,
                outputs,
                block,
                doubled,
                transformed[share],
                products[share],
                start,
                stop,
            )
            for share, (start, stop) in enumerate(shares)
        ],
    )


@compiled()
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
    start,
    stop,
):  # pragma: no cover - compiled
    tile_columns = -(-width // OUTPUTS)
    tiles = -(-height // OUTPUTS) * tile_columns
    depth = panels.shape[2]
    columns = panels.shape[1] * PANEL
    in_stride, out_stride = block * depth + _GAP, block * columns + _GAP
    source_pixel, target_pixel = source.shape[2] * FLOAT, target.shape[2] * FLOAT
    first_pixel, second_pixel = first.shape[2] * FLOAT, second.shape[2] * FLOAT
    row = target.shape[1]
    step = OUTPUTS // 2 if doubled else OUTPUTS
    inner, outer = transformed.ctypes.data, products.ctypes.data
    for index in range(start, stop):
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
