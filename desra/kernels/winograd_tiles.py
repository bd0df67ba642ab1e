"""Winograd's transforms of 3×3 convolutions, from 6×6 input tiles to 4×4 output tiles.

A convolution of 4×4 outputs with 3×3 taps takes 144 products a channel; Winograd's minimal
filtering F(4×4, 3×3) takes 36: ``Y = Aᵀ[(G g Gᵀ) ⊙ (Bᵀ d B)]A`` (Lavin and Gray, "Fast Algorithms
for Convolutional Neural Networks", CVPR 2016, equation 8). With several channels the products are
36 matrix multiplications.

``A``, ``B`` and ``G`` follow from six interpolation points (Cook–Toom). The usual ones, 0, ±1, ±2
and ∞, lose a decimal digit of float32. With 0, ±3/4, ±3/2 and ∞ the error is about that of summing
in another order (the reason for such points: Barabasz et al., "Error Analysis and Improving the
Accuracy of Winograd Convolution for Deep Neural Networks", ACM TOMS 2020).
"""

from __future__ import annotations

import numpy as np
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numpy.typing import NDArray

from desra.kernels.compilation import vector_code
from desra.kernels.vectors import FLOAT, INT, Vectors, emitting, integers, offset

INNER, OUTER = 0.75, 1.5
"""The points are 0, ±`INNER`, ±`OUTER` and ∞."""

TAPS = 3
OUTPUTS = 4
INPUTS = OUTPUTS + TAPS - 1
PRODUCTS = INPUTS**2

LANES = 8
"""Channels that a transform handles at once."""

_DOUBLED = (0, 1, 1, 2, 2, 3)
"""Rows that a tile of an image sees of the same image at half the size, nearest neighbours doubled:
a tile begins one row above a multiple of 4."""


def transform_weights(weight: NDArray[np.float32]) -> NDArray[np.float32]:
    """``G g Gᵀ`` of ``(out, in, 3, 3)`` weights, as ``(36, in, out)``; computed in float64."""
    points = np.array([0.0, INNER, -INNER, OUTER, -OUTER])
    gaps = points[:, None] - points[None, :]
    np.fill_diagonal(gaps, 1.0)
    g = points[:, None] ** np.arange(TAPS) / gaps.prod(axis=1, keepdims=True)
    g = np.vstack([g, [0.0, 0.0, 1.0]])  # the point at infinity
    both = np.einsum("ia,jb->ijab", g, g).reshape(PRODUCTS, TAPS * TAPS)
    outs, ins = weight.shape[:2]
    flat = weight.astype(np.float64).reshape(outs, ins, -1).transpose(2, 1, 0)
    return (both @ flat.reshape(TAPS * TAPS, -1)).reshape(PRODUCTS, ins, outs).astype(np.float32)


def _transform_inputs(v: Vectors, d: list[ir.Value]) -> list[ir.Value]:
    """``Bᵀ`` times a column of six: the polynomials of the points that are zero at all others."""
    near, far = INNER**2, OUTER**2
    # Of a point and its negative the odd parts differ in sign alone.
    even_near, odd_near = v.add_scaled(d[4], -far, d[2]), v.add_scaled(d[3], -far, d[1])
    even_far, odd_far = v.add_scaled(d[4], -near, d[2]), v.add_scaled(d[3], -near, d[1])
    return [
        v.add_scaled(v.add_scaled(d[4], -(near + far), d[2]), near * far, d[0]),
        v.add_scaled(even_near, INNER, odd_near),
        v.add_scaled(even_near, -INNER, odd_near),
        v.add_scaled(even_far, OUTER, odd_far),
        v.add_scaled(even_far, -OUTER, odd_far),
        v.add_scaled(v.add_scaled(d[5], -(near + far), d[3]), near * far, d[1]),
    ]


def _transform_outputs(v: Vectors, m: list[ir.Value]) -> list[ir.Value]:
    """``Aᵀ`` times a column of six: powers 0 to 3 of the points."""
    builder = v.builder
    near_sum, near_gap = builder.fadd(m[1], m[2]), builder.fsub(m[1], m[2])
    far_sum, far_gap = builder.fadd(m[3], m[4]), builder.fsub(m[3], m[4])

    def powers(near: ir.Value, far: ir.Value, exponent: int) -> ir.Value:
        scaled = builder.fmul(far, v.constant(OUTER**exponent))
        return v.add_scaled(scaled, INNER**exponent, near)

    return [
        builder.fadd(builder.fadd(m[0], near_sum), far_sum),
        powers(near_gap, far_gap, 1),
        powers(near_sum, far_sum, 2),
        builder.fadd(powers(near_gap, far_gap, 3), m[5]),
    ]


def _emit_input(rows: tuple[int, ...]):  # type: ignore[no-untyped-def]
    def emit(
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
            pixels = {
                (i, j): v.load(offset(builder, base, (row_stride, i), (column_stride, j)))
                for i in sorted(set(rows))
                for j in sorted(set(rows))
            }
            columns = {
                j: _transform_inputs(v, [pixels[i, j] for i in rows]) for j in sorted(set(rows))
            }
            for i in range(INPUTS):
                for j, value in enumerate(_transform_inputs(v, [columns[k][i] for k in rows])):
                    v.store(value, offset(builder, to, (out_stride, i * INPUTS + j)))

    return emit


@vector_code
def input_tile(_, source, row_stride, column_stride, out, out_stride, channels):  # type: ignore[no-untyped-def]
    """``Bᵀ d B`` of a 6×6 tile of a channels-last image.

    Args:
        source: address of its upper left pixel; pixels are ``column_stride`` apart, and their rows
            ``row_stride``.
        out: address of the first product's channels; those of the next are ``out_stride`` on.
        channels: a multiple of `LANES`.
    """
    return emitting(_emit_input(tuple(range(INPUTS))), *integers(6))


@vector_code
def doubled_input_tile(_, source, row_stride, column_stride, out, out_stride, channels):  # type: ignore[no-untyped-def]
    """As `input_tile`, of the image doubled by nearest neighbours, which need not exist.

    Args:
        source: address of the upper left of the tile's 4×4 pixels in the image before doubling.
    """
    return emitting(_emit_input(_DOUBLED), *integers(6))


def _emit_output(
    builder: ir.IRBuilder,
    source: ir.Value,
    source_stride: ir.Value,
    out: ir.Value,
    out_pixel: ir.Value,
    width: ir.Value,
    bias: ir.Value,
    slope: ir.Value,
    first: ir.Value,
    first_pixel: ir.Value,
    first_factor: ir.Value,
    second: ir.Value,
    second_pixel: ir.Value,
    second_factor: ir.Value,
    channels: ir.Value,
) -> None:
    v = Vectors(builder, LANES)
    zero, step = ir.Constant(INT, 0), ir.Constant(INT, LANES)
    addends = (
        (first, first_pixel, v.broadcast(first_factor)),
        (second, second_pixel, v.broadcast(second_factor)),
    )

    def pixel(address: ir.Value, size: ir.Value, row: int, column: int) -> ir.Value:
        return offset(builder, address, (builder.mul(size, width), row), (size, column))

    total = cgutils.alloca_once(builder, v.type)  # becomes a register
    with cgutils.for_range_slice(builder, zero, channels, step, intp=INT) as (channel, _):
        shift = builder.mul(channel, ir.Constant(INT, FLOAT))
        base, to = builder.add(source, shift), builder.add(out, shift)
        biases, slopes = v.load(builder.add(bias, shift)), v.load(builder.add(slope, shift))
        columns = []
        for j in range(INPUTS):
            places = [offset(builder, base, (source_stride, i * INPUTS + j)) for i in range(INPUTS)]
            columns.append(_transform_outputs(v, [v.load(place) for place in places]))
        for i in range(OUTPUTS):
            for j, value in enumerate(_transform_outputs(v, [column[i] for column in columns])):
                value = builder.fadd(value, biases)
                positive = builder.fcmp_ordered(">", value, v.constant(0.0))
                value = builder.select(positive, value, builder.fmul(value, slopes))
                builder.store(value, total)
                for address, size, factor in addends:
                    with builder.if_then(builder.icmp_signed("!=", address, zero)):
                        other = v.load(pixel(builder.add(address, shift), size, i, j))
                        builder.store(v.multiply_add(other, factor, builder.load(total)), total)
                v.store(builder.load(total), pixel(to, out_pixel, i, j))


@vector_code
def output_tile(  # type: ignore[no-untyped-def]
    _,
    source,
    source_stride,
    out,
    out_pixel,
    width,
    bias,
    slope,
    first,
    first_pixel,
    first_factor,
    second,
    second_pixel,
    second_factor,
    channels,
):
    """``Aᵀ m A`` as a 4×4 tile of a channels-last image, and what follows the convolution.

    Each value gets its channel's bias; where it is not positive it is multiplied by its channel's
    slope; then up to two other images are added, each times a factor. Either may be the image that
    is written.

    Args:
        source: address of the first product's channels; those of the next are ``source_stride`` on.
        out: address of the tile's upper left pixel; pixels are ``out_pixel`` apart.
        width: pixels in a row of this and the other images.
        bias: address of a float per channel.
        slope: address of a float per channel.
        first: address of the same tile in an image to add, or 0; its pixels are ``first_pixel``
            apart, and its values times ``first_factor``, a float32.
        second: likewise.
        channels: a multiple of `LANES`.
    """
    image = (*integers(2), types.float32)
    return emitting(_emit_output, *integers(7), *image, *image, *integers(1))
