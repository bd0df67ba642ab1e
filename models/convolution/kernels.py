"""Winograd's F(4×4, 3×3) over batches of channels-last images, for outputs and for gradients.

With ``B``, ``G`` and ``A`` of `models.generators.cpu.winograd_tiles`, an output tile is
``Aᵀ[(G g Gᵀ) ⊙ (Bᵀ d B)]A``. That is linear in the weights ``g`` too, so their gradient is
``Gᵀ[Σ (A y Aᵀ) ⊙ (Bᵀ d B)]G``, summed over tiles, with ``y`` a tile of the output's gradient.
"""

from __future__ import annotations

import numpy as np
from llvmlite import ir
from numba import get_thread_id, prange
from numba.core import cgutils

from models.generators.cpu.simd import (
    FLOAT,
    INT,
    PANEL,
    ROWS,
    Vectors,
    emitting,
    integers,
    kernel,
    multiply_panel,
    offset,
    vector_code,
)
from models.generators.cpu.winograd_tiles import (
    INNER,
    INPUTS,
    LANES,
    OUTER,
    OUTPUTS,
    PRODUCTS,
    TAPS,
    input_tile,
    output_tile,
)

GAP = 16
"""Floats between the products of a block, so that they do not share lines of the cache."""


def _transform_gradients(v: Vectors, y: list[ir.Value]) -> list[ir.Value]:
    """``A`` times a column of four: a cubic's values at the points."""
    values = [y[0]]
    for point in (INNER, OUTER):
        even = v.add_scaled(y[0], point**2, y[2])
        odd = v.builder.fmul(v.add_scaled(y[1], point**2, y[3]), v.constant(point))
        values += [v.builder.fadd(even, odd), v.builder.fsub(even, odd)]
    return [*values, y[3]]


def _emit_gradient(
    builder: ir.IRBuilder,
    source: ir.Value,
    row_stride: ir.Value,
    column_stride: ir.Value,
    out: ir.Value,
    out_stride: ir.Value,
    channels: ir.Value,
) -> None:
    v = Vectors(builder, LANES)
    zero, step = ir.Constant(INT, 0), ir.Constant(INT, LANES)
    with cgutils.for_range_slice(builder, zero, channels, step, intp=INT) as (channel, _):
        shift = builder.mul(channel, ir.Constant(INT, FLOAT))
        base, to = builder.add(source, shift), builder.add(out, shift)
        columns = []
        for j in range(OUTPUTS):
            places = [
                offset(builder, base, (row_stride, i), (column_stride, j)) for i in range(OUTPUTS)
            ]
            columns.append(_transform_gradients(v, [v.load(place) for place in places]))
        for i in range(INPUTS):
            for j, value in enumerate(_transform_gradients(v, [column[i] for column in columns])):
                v.store(value, offset(builder, to, (out_stride, i * INPUTS + j)))


@vector_code
def gradient_tile(_, source, row_stride, column_stride, out, out_stride, channels):  # type: ignore[no-untyped-def]
    """``A y Aᵀ`` of a 4×4 tile of a channels-last image; arguments as `input_tile`."""
    return emitting(_emit_gradient, *integers(6))


@kernel()
def _patch(image, top, left, side, patch):  # type: ignore[no-untyped-def]  # pragma: no cover
    """Copy a square that reaches beyond the image, where there are zeros."""
    height, width = image.shape[:2]
    for i in range(side):
        for j in range(side):
            y, x = top + i, left + j
            if 0 <= y < height and 0 <= x < width:
                patch[i, j, :] = image[y, x, :]
            else:
                patch[i, j, :] = 0


@kernel(parallel=True)
def transform_weights(taps, matrix, panels):  # type: ignore[no-untyped-def]
    # pragma: no cover - compiled
    """``G g Gᵀ`` of 3×3 weights.

    Args:
        taps: ``(3, 3, inputs, outputs)`` float32 with any strides.
        matrix: ``G``, ``(6, 3)``.
        panels: ``(36, columns / 16, inputs, 16)``, written; columns beyond the outputs are zero.
    """
    inputs, outputs = taps.shape[2:]
    for panel in prange(panels.shape[1]):
        first = np.int64(panel) * PANEL
        lanes = min(PANEL, outputs - first)
        g = np.zeros((TAPS, TAPS, PANEL), np.float32)
        half = np.empty((INPUTS, TAPS, PANEL), np.float32)
        for channel in range(inputs):
            for r in range(TAPS):
                for s in range(TAPS):
                    for lane in range(lanes):
                        g[r, s, lane] = taps[r, s, channel, first + lane]
            for i in range(INPUTS):
                a, b, c = matrix[i]
                for s in range(TAPS):
                    for lane in range(PANEL):
                        half[i, s, lane] = a * g[0, s, lane] + b * g[1, s, lane] + c * g[2, s, lane]
            for j in range(INPUTS):
                a, b, c = matrix[j]
                for i in range(INPUTS):
                    out = panels[i * INPUTS + j, panel, channel]
                    for lane in range(PANEL):
                        out[lane] = (
                            a * half[i, 0, lane] + b * half[i, 1, lane] + c * half[i, 2, lane]
                        )


@kernel(parallel=True)
def convolve(  # type: ignore[no-untyped-def]
    source, panels, bias, slope, target, block, transformed, products, patches
):  # pragma: no cover - compiled
    """3×3 convolution that keeps the size, with zeros around.

    Args:
        source: ``(B, H, W, C)`` float32.
        panels: ``(36, columns / 16, C, 16)``, transformed weights.
        bias: ``(columns,)``.
        slope: ``(columns,)``, factors of what is not positive.
        target: ``(B, H, W, D)``, written.
        block: tiles that are multiplied together; a multiple of `ROWS`.
        transformed: ``(threads, 36 · (block · C + GAP))`` scratch.
        products: ``(threads, 36 · (block · columns + GAP))`` scratch.
        patches: ``(threads, 6, 6, max(C, D))`` scratch.
    """
    images, height, width, depth = source.shape
    outputs = target.shape[3]
    columns = panels.shape[1] * PANEL
    tile_columns = -(-width // OUTPUTS)
    tiles = -(-height // OUTPUTS) * tile_columns
    blocks = -(-tiles // block)
    in_stride, out_stride = block * depth + GAP, block * columns + GAP
    for number in prange(images * blocks):
        image, index = divmod(np.int64(number), blocks)
        thread = get_thread_id()
        inner, outer = transformed[thread].ctypes.data, products[thread].ctypes.data
        inputs = patches[thread].reshape(-1)[: INPUTS * INPUTS * depth]
        inputs = inputs.reshape(INPUTS, INPUTS, depth)
        begin = index * block
        count = min(block, tiles - begin)
        for tile in range(count):
            y, x = divmod(begin + tile, tile_columns)
            y, x = y * OUTPUTS - 1, x * OUTPUTS - 1
            row_stride, place = width * depth * FLOAT, np.int64(0)
            if y >= 0 and x >= 0 and y + INPUTS <= height and x + INPUTS <= width:
                place = source[image, y, x].ctypes.data
            else:
                _patch(source[image], y, x, INPUTS, inputs)
                row_stride, place = INPUTS * depth * FLOAT, inputs.ctypes.data
            input_tile(
                place,
                row_stride,
                depth * FLOAT,
                inner + tile * depth * FLOAT,
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
            whole = y + OUTPUTS <= height and x + OUTPUTS <= width
            row, place = OUTPUTS, patches[thread].ctypes.data
            if whole:
                row, place = width, target[image, y, x].ctypes.data
            output_tile(
                outer + tile * columns * FLOAT,
                out_stride * FLOAT,
                place,
                outputs * FLOAT,
                row,
                bias.ctypes.data,
                slope.ctypes.data,
                0,
                0,
                np.float32(0),
                0,
                0,
                np.float32(0),
                outputs,
            )
            if not whole:
                edge = patches[thread].reshape(-1)[: OUTPUTS * OUTPUTS * outputs]
                edge = edge.reshape(OUTPUTS, OUTPUTS, outputs)
                rows, cols = min(OUTPUTS, height - y), min(OUTPUTS, width - x)
                target[image, y : y + rows, x : x + cols] = edge[:rows, :cols]


@kernel(parallel=True)
def transform(source, gradients, begin, out, patches):  # type: ignore[no-untyped-def]
    # pragma: no cover - compiled
    """``Bᵀ d B`` of input tiles, or ``A y Aᵀ`` of the gradient's, for consecutive tiles.

    Args:
        source: ``(B, H, W, C)`` float32.
        gradients: whether it is a gradient of outputs.
        begin: number of the first tile, over all images.
        out: ``(36, count, C)``, written.
        patches: ``(threads, 6, 6, C)`` scratch.
    """
    _, height, width, depth = source.shape
    tile_columns = -(-width // OUTPUTS)
    tiles = -(-height // OUTPUTS) * tile_columns
    count = out.shape[1]
    side = OUTPUTS if gradients else INPUTS
    rim = 0 if gradients else 1
    for number in prange(count):
        tile = np.int64(number)
        image, place = divmod(begin + tile, tiles)
        y, x = divmod(place, tile_columns)
        y, x = y * OUTPUTS - rim, x * OUTPUTS - rim
        thread = get_thread_id()
        row_stride, address = width * depth * FLOAT, np.int64(0)
        if y >= 0 and x >= 0 and y + side <= height and x + side <= width:
            address = source[image, y, x].ctypes.data
        else:
            patch = patches[thread].reshape(-1)[: side * side * depth].reshape(side, side, depth)
            _patch(source[image], y, x, side, patch)
            row_stride, address = side * depth * FLOAT, patch.ctypes.data
        to = out.ctypes.data + tile * depth * FLOAT
        if gradients:
            gradient_tile(address, row_stride, depth * FLOAT, to, count * depth * FLOAT, depth)
        else:
            input_tile(address, row_stride, depth * FLOAT, to, count * depth * FLOAT, depth)
