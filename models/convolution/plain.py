"""oneDNN's convolutions, with the gradient of weights in the layout that it computes fastest."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from models.convolution.winograd import wanted_gradients

Pair = tuple[int, int]


class PlainConvolution(torch.autograd.Function):
    """``F.conv2d(x, weight, bias, stride, padding)`` of channels-last images on the processor.

    oneDNN computes outputs and gradients of inputs fastest from channels-last images, but without
    AVX-512 gradients of weights take it up to three times as long as from copies with channels
    first, the copying included.
    """

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, weight: Tensor, bias: Tensor | None, stride: Pair, padding: Pair
    ) -> Tensor:
        ctx.save_for_backward(x, weight)
        ctx.stride, ctx.padding = stride, padding
        return torch.conv2d(x, weight, bias, stride, padding)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        x, weight = ctx.saved_tensors
        wanted = wanted_gradients(ctx)
        grad_x = grad_weight = grad_bias = None
        if wanted[0]:
            grad_x = _gradients(ctx, grad, x, weight, 0)
        if wanted[1]:
            grad_weight = _gradients(ctx, grad.contiguous(), x.contiguous(), weight.contiguous(), 1)
        if wanted[2]:
            grad_bias = grad.sum((0, 2, 3))
        return grad_x, grad_weight, grad_bias, None, None


def _gradients(ctx: Any, grad: Tensor, x: Tensor, weight: Tensor, at: int) -> Tensor:
    mask = [at == 0, at == 1, False]
    return torch.ops.aten.convolution_backward(
        *(grad, x, weight, None, ctx.stride, ctx.padding, (1, 1), False, (0, 0), 1, mask)
    )[at]
