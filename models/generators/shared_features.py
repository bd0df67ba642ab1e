"""Dense blocks in training, without a copy of the features for every convolution."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn import functional as F


class SharedFeatures(torch.autograd.Function):
    """The convolutions of a dense block, whose features lie in one tensor.

    Where features are concatenated before each convolution, autograd keeps every concatenation:
    640 channels a block of 64 features that grow by 32, of which 192 differ. Here the block's input
    and the outputs of its convolutions share one tensor, of which each convolution reads the first
    channels. Convolutions and their gradients are those of the plain formulation, bit for bit but
    for the order in which gradients of the same features are added.

    Example:
        >>> weights = torch.rand(2, 4, 3, 3), torch.rand(2), torch.rand(4, 6, 3, 3), torch.rand(4)
        >>> SharedFeatures.apply(torch.rand(1, 4, 5, 5), 0.2, *weights).shape
        torch.Size([1, 4, 5, 5])
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor, slope: float, *parameters: Tensor) -> Tensor:
        """Output of the last convolution.

        Args:
            ctx: autograd's.
            x: ``(B, features, H, W)``.
            slope: of the leaky ReLU after all convolutions but the last.
            parameters: weight and bias of each convolution in turn, 3×3, of the dtype of ``x``.
        """
        weights, biases = parameters[::2], parameters[1::2]
        layout = torch.channels_last if _is_channels_last(x) else torch.contiguous_format
        size = (len(x), weights[-1].shape[1], *x.shape[2:])
        seen = torch.empty(size, dtype=x.dtype, device=x.device, memory_format=layout)
        seen[:, : x.shape[1]] = x
        for weight, bias in zip(weights[:-1], biases[:-1], strict=True):
            at, grown = weight.shape[1], weight.shape[0]
            convolved = F.conv2d(seen[:, :at], weight, bias, padding=1)
            seen[:, at : at + grown] = F.leaky_relu_(convolved, slope)
        ctx.save_for_backward(seen, *weights)
        ctx.slope = slope
        return F.conv2d(seen, weights[-1], biases[-1], padding=1)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        """Gradients of the input and of all parameters, as far as they are wanted."""
        seen, *weights = ctx.saved_tensors
        gradients: list[Tensor | None] = []
        of_seen, *of_last = _convolution_gradients(ctx, gradient, seen, weights, len(weights) - 1)
        gradients += of_last
        for place in reversed(range(len(weights) - 1)):
            at, grown = weights[place].shape[1], weights[place].shape[0]
            of_output = torch.ops.aten.leaky_relu_backward(
                of_seen[:, at : at + grown], seen[:, at : at + grown], ctx.slope, True
            )
            of_input, *of_parameters = _convolution_gradients(
                ctx, of_output, seen[:, :at], weights, place
            )
            of_seen[:, :at] += of_input
            gradients = [*of_parameters, *gradients]
        return of_seen[:, : weights[0].shape[1]], None, *gradients


def _convolution_gradients(
    ctx: Any, gradient: Tensor, image: Tensor, weights: list[Tensor], place: int
) -> tuple[Tensor, Tensor | None, Tensor | None]:
    weight = weights[place]
    wanted = [True, *ctx.needs_input_grad[2 + 2 * place : 4 + 2 * place]]
    one, none = [1, 1], [0, 0]
    return torch.ops.aten.convolution_backward(
        gradient, image, weight, [len(weight)], one, one, one, False, none, 1, wanted
    )


def _is_channels_last(x: Tensor) -> bool:
    return not x.is_contiguous() and x.is_contiguous(memory_format=torch.channels_last)
