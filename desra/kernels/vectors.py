"""Vector instructions for kernels, written as LLVM IR where Numba's loops leave them to luck.

Numba's ``@intrinsic`` lets a function emit LLVM's vector instructions, which the compiler maps to
the registers of the processor at hand (AVX2, AVX-512, NEON, …). Only what the fast kernels spend
their time in is written so; the loops around it are ordinary Numba. Addresses are integers; they
and strides count bytes.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import llvmlite.binding
from llvmlite import ir
from numba import types
from numba.core import cgutils

from desra.kernels.compilation import vector_code

PANEL = 16
"""Columns of a matrix that are stored side by side, and multiplied at once."""

FLOAT = 4  # bytes
INT = ir.IntType(64)

_FLOAT = ir.FloatType()
_INDEX = ir.IntType(32)

ROWS = 12 if llvmlite.binding.get_host_cpu_features().get("avx512f") else 6
"""Rows that `multiply_panel` keeps in registers, the panel beside them: AVX2 has 16 registers of 8
floats, AVX-512 has 32 of 16 and NEON 32 of 4."""


class Vectors:
    """LLVM's instructions on vectors of so many floats."""

    def __init__(self, builder: ir.IRBuilder, lanes: int) -> None:
        self.builder = builder
        self.lanes = lanes
        self.type = ir.VectorType(_FLOAT, lanes)

    def constant(self, value: float) -> ir.Value:
        return ir.Constant(self.type, [value] * self.lanes)

    def load(self, address: ir.Value) -> ir.Value:
        value = self.builder.load(self.builder.inttoptr(address, self.type.as_pointer()))
        value.align = FLOAT  # a pixel may begin anywhere
        return value

    def store(self, value: ir.Value, address: ir.Value) -> None:
        store = self.builder.store(value, self.builder.inttoptr(address, self.type.as_pointer()))
        store.align = FLOAT

    def broadcast(self, scalar: ir.Value) -> ir.Value:
        """A float in all lanes."""
        undefined = ir.Constant(self.type, ir.Undefined)
        first = self.builder.insert_element(undefined, scalar, ir.Constant(_INDEX, 0))
        zeros = ir.Constant(ir.VectorType(_INDEX, self.lanes), [0] * self.lanes)
        return self.builder.shuffle_vector(first, undefined, zeros)

    def load_broadcast(self, address: ir.Value) -> ir.Value:
        """The float at an address in all lanes."""
        return self.broadcast(
            self.builder.load(self.builder.inttoptr(address, _FLOAT.as_pointer()))
        )

    def multiply_add(self, a: ir.Value, b: ir.Value, c: ir.Value) -> ir.Value:
        """``a · b + c``, fused where the processor can."""
        name = f"llvm.fmuladd.v{self.lanes}f32"
        signature = ir.FunctionType(self.type, [self.type] * 3)
        function = cgutils.get_or_insert_function(self.builder.module, signature, name)
        return self.builder.call(function, [a, b, c])

    def add_scaled(self, total: ir.Value, factor: float, value: ir.Value) -> ir.Value:
        """``total + factor · value``."""
        return self.multiply_add(value, self.constant(factor), total)

    def polynomial(self, x: ir.Value, coefficients: Sequence[float]) -> ir.Value:
        """Horner's scheme; the highest power's coefficient first."""
        total = self.constant(coefficients[0])
        for coefficient in coefficients[1:]:
            total = self.multiply_add(total, x, self.constant(coefficient))
        return total

    def larger(self, a: ir.Value, b: ir.Value) -> ir.Value:
        """The larger of two values; ``a`` if one is NaN."""
        return self.builder.select(self.builder.fcmp_ordered(">", b, a), b, a)

    def exp(self, x: ir.Value) -> ir.Value:
        """``eˣ`` to 2 units in the last place, for ``x ≤ 0``; as e⁻⁸⁷ below −87.

        ``x = n·ln 2 + r`` with integer n and ``|r| ≤ ln 2 / 2``: Taylor's series of ``eʳ``, and n
        in the exponent's bits.
        """
        builder = self.builder
        x = self.larger(x, self.constant(-87.0))
        signature = ir.FunctionType(self.type, [self.type])
        name = f"llvm.rint.v{self.lanes}f32"
        rint = cgutils.get_or_insert_function(builder.module, signature, name)
        n = builder.call(rint, [builder.fmul(x, self.constant(1 / math.log(2)))])
        # ln 2 in two parts, of which the first times n is exact.
        high = 0.693359375
        r = self.add_scaled(self.add_scaled(x, -high, n), high - math.log(2), n)
        series = self.polynomial(r, [1 / math.factorial(power) for power in range(7, -1, -1)])
        integers = ir.VectorType(_INDEX, self.lanes)
        biased = builder.add(builder.fptosi(n, integers), ir.Constant(integers, [127] * self.lanes))
        power = builder.shl(biased, ir.Constant(integers, [23] * self.lanes))
        return builder.fmul(series, builder.bitcast(power, self.type))


def offset(builder: ir.IRBuilder, base: ir.Value, *steps: tuple[ir.Value, int]) -> ir.Value:
    """``base`` plus strides times constant counts."""
    for stride, count in steps:
        base = builder.add(base, builder.mul(stride, ir.Constant(INT, count)))
    return base


def emitting(emit: Callable[..., None], *arguments: types.Type) -> tuple[Any, Any]:
    """What an ``@intrinsic`` returns for a function that emits instructions and gives no value.

    Args:
        emit: called with the builder and a value per argument.
        arguments: the Numba types that values are converted to.
    """

    def generate(context: Any, builder: ir.IRBuilder, _: Any, values: Sequence[ir.Value]) -> Any:
        emit(builder, *values)
        return context.get_dummy_value()

    return types.void(*arguments), generate


def round_up(count: int, multiple: int) -> int:
    """The least multiple that is not below a count."""
    return -(-count // multiple) * multiple


def integers(count: int) -> tuple[types.Type, ...]:
    """The types of so many addresses, strides or counts."""
    return (types.int64,) * count


@vector_code
def multiply_panel(_, rows, row_stride, panel, panel_stride, out, out_stride, depth):  # type: ignore[no-untyped-def]
    """``out[ROWS, PANEL] = rows[ROWS, depth] @ panel[depth, PANEL]``, all float32.

    Args:
        rows: address of the left matrix; its rows are ``row_stride`` apart.
        panel: address of the right one; its rows are ``panel_stride`` apart.
        out: address of the result; its rows are ``out_stride`` apart.
    """

    def emit(
        builder: ir.IRBuilder,
        rows: ir.Value,
        row_stride: ir.Value,
        panel: ir.Value,
        panel_stride: ir.Value,
        out: ir.Value,
        out_stride: ir.Value,
        depth: ir.Value,
    ) -> None:
        vectors = Vectors(builder, PANEL)
        starts = [offset(builder, rows, (row_stride, row)) for row in range(ROWS)]
        zero = vectors.constant(0.0)
        sums = [cgutils.alloca_once(builder, vectors.type) for _ in starts]
        for total in sums:
            builder.store(zero, total)
        with cgutils.for_range(builder, depth, intp=INT) as loop:
            here = builder.mul(loop.index, ir.Constant(INT, FLOAT))
            line = vectors.load(builder.add(panel, builder.mul(loop.index, panel_stride)))
            for start, total in zip(starts, sums, strict=True):
                factor = vectors.load_broadcast(builder.add(start, here))
                builder.store(vectors.multiply_add(factor, line, builder.load(total)), total)
        for row, total in enumerate(sums):
            vectors.store(builder.load(total), offset(builder, out, (out_stride, row)))

    return emitting(emit, *integers(7))
