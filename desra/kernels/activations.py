"""Softmax and GELU in vector instructions, for use in kernels."""

from __future__ import annotations

import math
from collections.abc import Callable

from llvmlite import ir
from numba.core import cgutils

from desra.kernels.compilation import vector_code
from desra.kernels.vectors import FLOAT, INT, Vectors, emitting, integers

LANES = 8
"""Values handled at once; counts are multiples of this."""


def _each(
    builder: ir.IRBuilder, start: ir.Value, count: ir.Value, body: Callable[[ir.Value], None]
) -> None:
    """Call ``body`` with the address of each vector."""
    zero, step = ir.Constant(INT, 0), ir.Constant(INT, LANES)
    with cgutils.for_range_slice(builder, zero, count, step, intp=INT) as (index, _):
        body(builder.add(start, builder.mul(index, ir.Constant(INT, FLOAT))))


def _fold(v: Vectors, values: ir.Value, join: Callable[[ir.Value, ir.Value], ir.Value]) -> ir.Value:
    """Lanes joined to one, in all lanes: halves are swapped and joined, quarters, and so on."""
    index = ir.IntType(32)
    shuffle = ir.VectorType(index, v.lanes)
    distance = v.lanes // 2
    while distance:
        order = ir.Constant(shuffle, [lane ^ distance for lane in range(v.lanes)])
        swapped = v.builder.shuffle_vector(values, ir.Constant(v.type, ir.Undefined), order)
        values = join(values, swapped)
        distance //= 2
    return values


def _emit_softmax(builder: ir.IRBuilder, row: ir.Value, bias: ir.Value, count: ir.Value) -> None:
    v = Vectors(builder, LANES)
    distance = builder.sub(bias, row)
    largest = cgutils.alloca_once_value(builder, v.constant(-math.inf))
    total = cgutils.alloca_once_value(builder, v.constant(0.0))
    # Entry blocks run once a call of the kernel, this once a row.
    builder.store(v.constant(-math.inf), largest)
    builder.store(v.constant(0.0), total)

    def add_bias(place: ir.Value) -> None:
        value = builder.fadd(v.load(place), v.load(builder.add(place, distance)))
        v.store(value, place)
        builder.store(v.larger(value, builder.load(largest)), largest)

    def exponentiate(place: ir.Value) -> None:
        value = v.exp(builder.fsub(v.load(place), top))
        v.store(value, place)
        builder.store(builder.fadd(builder.load(total), value), total)

    _each(builder, row, count, add_bias)
    top = _fold(v, builder.load(largest), v.larger)
    _each(builder, row, count, exponentiate)
    part = builder.fdiv(v.constant(1.0), _fold(v, builder.load(total), builder.fadd))
    _each(builder, row, count, lambda place: v.store(builder.fmul(v.load(place), part), place))


@vector_code
def softmax_row(_, row, bias, count):  # type: ignore[no-untyped-def]
    """Softmax of ``count`` floats plus as many biases, in place.

    A bias of −∞ leaves a value out, if there is another.

    Args:
        row: address of the values.
        bias: address of the biases.
    """
    return emitting(_emit_softmax, *integers(3))


def _emit_gelu(builder: ir.IRBuilder, values: ir.Value, count: ir.Value) -> None:
    v = Vectors(builder, LANES)

    def apply(place: ir.Value) -> None:
        x = v.load(place)
        negative = builder.fsub(v.constant(0.0), x)
        size = v.larger(x, negative)
        z = builder.fmul(size, v.constant(math.sqrt(0.5)))
        t = builder.fdiv(v.constant(1.0), v.add_scaled(v.constant(1.0), 0.3275911, z))
        series = v.polynomial(
            t, [1.061405429, -1.453152027, 1.421413741, -0.284496736, 0.254829592, 0.0]
        )
        decay = v.exp(builder.fmul(builder.fsub(v.constant(0.0), z), z))
        beyond = builder.fmul(series, decay)  # 1 − erf(z)
        half = builder.fmul(builder.fmul(size, v.constant(0.5)), beyond)
        v.store(builder.fsub(v.larger(x, v.constant(0.0)), half), place)

    _each(builder, values, count, apply)


@vector_code
def gelus(_, values, count):  # type: ignore[no-untyped-def]
    """GELU of ``count`` floats in place: ``x·Φ(x) = max(x, 0) − |x|/2 · (1 − erf(|x|/√2))``.

    The error function is Abramowitz and Stegun's 7.1.26, whose error is below 1.5e-7.

    Args:
        values: address of the values.
    """
    return emitting(_emit_gelu, *integers(2))
