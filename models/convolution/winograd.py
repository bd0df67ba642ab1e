"""A 3×3 convolution that trains: outputs, gradients of inputs, gradients of weights."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.autograd.function import once_differentiable

from models.convolution.kernels import GAP, convolve, transform, transform_weights
from models.generators.cpu import winograd_tiles as tiles
from models.generators.cpu.simd import FLOAT, PANEL, ROWS
from models.generators.cpu.winograd import numba_threads, round_up, scratch
from models.generators.cpu.winograd_tiles import INPUTS, OUTPUTS, PRODUCTS, TAPS

Array = NDArray[np.float32]

_BLOCK = round_up(24, ROWS)
"""Tiles that are multiplied together: so many that reading the weights costs little beside it, and
so few that what they become stays in the cache."""
_CHUNK = 8 * 2**20
"""Bytes of transformed tiles that a gradient of weights is summed over at once."""

_UNITS = np.eye(TAPS * TAPS, dtype=np.float32).reshape(-1, 1, 1, TAPS, TAPS)
_PRODUCTS_OF_TAPS = np.stack([tiles.transform_weights(tap).ravel() for tap in _UNITS], axis=1)
"""``G ⊗ G``, ``(36, 9)``: what each tap adds to each product."""
# The last row of G has a one at its end, and zeros.
_MATRIX = np.ascontiguousarray(_PRODUCTS_OF_TAPS[INPUTS - 1 :: INPUTS, TAPS - 1 :: TAPS])

_weights_wanted = True


@contextmanager
def inputs_only() -> Iterator[None]:
    """Within the block, backward passes leave gradients of weights out.

    PyTorch's own convolutions see which gradients a pass with ``inputs=`` asks for. Functions in
    Python see only which could be asked for.
    """
    global _weights_wanted
    _weights_wanted = False
    try:
        yield
    finally:
        _weights_wanted = True


def wanted_gradients(ctx: Any) -> tuple[bool, bool, bool]:
    """Whether a backward pass wants the gradients of input, weight and bias."""
    x, weight, bias = ctx.needs_input_grad[:3]
    return x, weight and _weights_wanted, bias and _weights_wanted


class WinogradConvolution(torch.autograd.Function):
    """``F.conv2d(x, weight, bias, padding=1)`` for channels-last float32 on the processor.

    Channels in and out must be multiples of 8. Sums are in another order than a plain
    convolution's, and the error is about that of such a change.
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        ctx.save_for_backward(x, weight)
        return _convolve(x, weight.detach().permute(2, 3, 1, 0).numpy(), bias)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        x, weight = ctx.saved_tensors
        wanted = wanted_gradients(ctx)
        grad = grad.contiguous(memory_format=torch.channels_last)
        grad_x = grad_weight = grad_bias = None
        if wanted[0]:
            grad_x = _convolve(grad, weight.numpy()[:, :, ::-1, ::-1].transpose(2, 3, 0, 1), None)
        if wanted[1]:
            grad_weight = _weight_gradient(x, grad)
        if wanted[2]:
            grad_bias = grad.sum((0, 2, 3))
        return grad_x, grad_weight, grad_bias


def _convolve(x: Tensor, taps: Array, bias: Tensor | None) -> Tensor:
    """Convolve ``(B, C, H, W)`` with weights ``(3, 3, C, outputs)``."""
    images, inputs, height, width = x.shape
    outputs = taps.shape[3]
    y = torch.empty(images, outputs, height, width, memory_format=torch.channels_last)
    with numba_threads() as threads:
        columns = round_up(outputs, PANEL)
        panels = scratch("panels", 1, PRODUCTS, columns // PANEL, inputs, PANEL)[0]
        transform_weights(taps, _MATRIX, panels)
        biases = np.zeros(columns, np.float32)
        if bias is not None:
            biases[:outputs] = bias.detach().numpy()
        convolve(
            _pixels(x),
            panels,
            biases,
            np.ones(columns, np.float32),
            _pixels(y),
            _BLOCK,
            scratch("inputs", threads, PRODUCTS * (_BLOCK * inputs + GAP)),
            scratch("products", threads, PRODUCTS * (_BLOCK * columns + GAP)),
            scratch("patches", threads, INPUTS * INPUTS * max(inputs, outputs)),
        )
    return y


def _weight_gradient(x: Tensor, grad: Tensor) -> Tensor:
    """Gradient of the weights, ``(outputs, inputs, 3, 3)``."""
    inputs, outputs = x.shape[1], grad.shape[1]
    count = tile_count(x)
    chunk = min(count, max(_CHUNK // (PRODUCTS * FLOAT * (inputs + outputs)), 16))
    total = torch.empty(PRODUCTS, outputs, inputs)
    with numba_threads() as threads:
        patches = scratch("patches", threads, INPUTS * INPUTS * max(inputs, outputs))
        for begin in range(0, count, chunk):
            length = min(chunk, count - begin)
            seen = torch.empty(PRODUCTS, length, inputs)
            wanted = torch.empty(PRODUCTS, length, outputs)
            transform(_pixels(x), False, begin, seen.numpy(), patches)
            transform(_pixels(grad), True, begin, wanted.numpy(), patches)
            total.baddbmm_(wanted.transpose(1, 2), seen, beta=1 if begin else 0)  # 0: overwrite
    taps = torch.from_numpy(_PRODUCTS_OF_TAPS).t() @ total.view(PRODUCTS, -1)
    gradient = taps.view(TAPS, TAPS, outputs, inputs).permute(2, 3, 0, 1)
    return gradient.contiguous(memory_format=torch.channels_last)


def tile_count(x: Tensor) -> int:
    """Output tiles of ``(B, C, H, W)`` images."""
    return x.shape[0] * -(-x.shape[2] // OUTPUTS) * -(-x.shape[3] // OUTPUTS)


def _pixels(image: Tensor) -> Array:
    """A channels-last image as ``(B, H, W, C)``, sharing its memory."""
    return image.detach().permute(0, 2, 3, 1).numpy()
