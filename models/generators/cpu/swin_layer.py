"""A whole Swin Transformer layer in one kernel, window by window, in float32 on the processor.

A window's 64 positions with all that is computed from them fit a core's second-level cache, so
nothing but the features themselves goes through memory: no shifted or partitioned copies, no
attention matrices. Windows are disjoint, and the layer works in place.
"""

from __future__ import annotations

import math

import numpy as np
import torch
from numba import get_thread_id, prange
from torch import Tensor, nn

from models.generators.cpu.activations import gelus, softmax_row
from models.generators.cpu.simd import FLOAT, PANEL, ROWS, kernel, multiply_panel
from models.generators.cpu.winograd import Array, FeatureMap, numba_threads, round_up, scratch
from models.generators.swinir_blocks import MASKED, SwinLayer

_FAST = frozenset(
    {"reassoc", "contract", "nsz"}
)  # sums in vectors; NaN and infinity stay what they are


class FastSwinLayer:
    """A `SwinLayer` for inference.

    What can be is put into the weights: the normalisations' own weights, the attention's scale, and
    biases as one more row, which meets a one in the input. Heads are filled up with zeros to a
    multiple of `PANEL` channels.
    """

    def __init__(self, layer: SwinLayer) -> None:
        attention = layer.attn
        self.window = layer.window
        self.shift = layer.shift
        self.heads = attention.heads
        self.dim = attention.proj.out_features
        size = self.dim // self.heads
        self.size = round_up(size, PANEL)
        weight, bias = _normalised(attention.qkv, layer.norm1)
        qkv = torch.zeros(3, self.heads, self.size, self.dim + 1, dtype=torch.float64)
        qkv[:, :, :size, :-1] = weight.view(3, self.heads, size, self.dim)
        qkv[:, :, :size, -1] = bias.view(3, self.heads, size)
        qkv[0] *= attention.scale
        proj = torch.zeros(self.dim, self.heads, self.size, dtype=torch.float64)
        proj[:, :, :size] = attention.proj.weight.detach().view(self.dim, self.heads, size)
        weight, bias = _normalised(layer.mlp.fc1, layer.norm2)
        self.qkv = _panels(qkv.flatten(0, 2))
        self.proj = _panels(proj.flatten(1))
        self.fc1 = _panels(torch.cat([weight, bias[:, None]], dim=1))
        self.fc2 = _panels(layer.mlp.fc2.weight.detach().double())
        self.proj_bias = attention.proj.bias.detach().float().numpy().copy()
        self.fc2_bias = layer.mlp.fc2.bias.detach().float().numpy().copy()
        self.epsilons = np.array([layer.norm1.eps, layer.norm2.eps], np.float32)
        self.biases = self._biases(attention.bias()[0].detach().float())

    def _biases(self, bias: Tensor) -> Array:
        """What is added to the attention, ``(cases, heads, positions, columns)``.

        The case says whether a window is the last of its column (2) and of its row (1), where the
        cyclic shift has brought opposite edges together. Columns beyond the positions are −∞.
        """
        positions = self.window**2
        cases = 4 if self.shift else 1
        table = torch.full((cases, self.heads, positions, round_up(positions, PANEL)), -math.inf)
        wrapped = torch.arange(self.window) >= self.window - self.shift
        for case in range(cases):
            below, right = wrapped & bool(case & 2), wrapped & bool(case & 1)
            side = (2 * below.int()[:, None] + right.int()[None, :]).flatten()
            mask = torch.where(side[:, None] == side[None, :], 0.0, MASKED)
            table[case, :, :, :positions] = bias + mask
        return table.numpy()

    def __call__(self, features: FeatureMap) -> None:
        """Apply the layer to the first channels of a map, in place."""
        positions = round_up(self.window**2, ROWS)
        width = round_up(self.dim + 1, PANEL)
        columns = self.biases.shape[-1]
        attended = self.heads * self.size
        hidden = self.fc1.shape[0] * PANEL
        with numba_threads() as threads:
            _apply(
                features.pixels,
                features.height,
                features.width,
                self.window,
                self.shift,
                self.size,
                self.qkv,
                self.proj,
                self.proj_bias,
                self.fc1,
                self.fc2,
                self.fc2_bias,
                self.epsilons,
                self.biases,
                scratch("normal", threads, positions, width),
                scratch("qkv", threads, positions, 3 * attended),
                scratch("keys", threads, self.size, columns),
                scratch("attention", threads, positions, columns),
                scratch("attended", threads, positions, attended),
                scratch("middle", threads, positions, width),
                scratch("hidden", threads, positions, hidden),
            )


def _normalised(linear: nn.Linear, norm: nn.LayerNorm) -> tuple[Tensor, Tensor]:
    """Weight and bias in float64 of a linear layer with the affine part of a norm before it."""
    weight = linear.weight.detach().double()
    bias = weight @ norm.bias.detach().double()
    if linear.bias is not None:
        bias += linear.bias.detach().double()
    return weight * norm.weight.detach().double(), bias


def _panels(weight: Tensor) -> Array:
    """``(out, in)`` weights as ``(panels, in, PANEL)`` float32, filled up with zeros."""
    out, inputs = weight.shape
    filled = weight.new_zeros(round_up(out, PANEL), inputs)
    filled[:out] = weight
    return filled.float().view(-1, PANEL, inputs).transpose(1, 2).contiguous().numpy()


@kernel(fastmath=_FAST)
def _multiply(rows, panels, out):  # type: ignore[no-untyped-def]  # pragma: no cover - compiled
    """``out[:, :16·panels] = rows[:, :depth] @ panels``."""
    depth = panels.shape[1]
    for panel in range(panels.shape[0]):
        for row in range(0, rows.shape[0], ROWS):
            multiply_panel(
                rows[row].ctypes.data,
                rows.shape[1] * FLOAT,
                panels[panel].ctypes.data,
                PANEL * FLOAT,
                out[row].ctypes.data + panel * PANEL * FLOAT,
                out.shape[1] * FLOAT,
                depth,
            )


@kernel(fastmath=_FAST)
def _normalise(values, count, epsilon, out):  # type: ignore[no-untyped-def]  # pragma: no cover
    """Layer normalisation of the first ``count`` values, and a one behind them."""
    total = np.float32(0)
    for channel in range(count):
        total += values[channel]
    mean = total / np.float32(count)
    total = np.float32(0)
    for channel in range(count):
        total += (values[channel] - mean) * (values[channel] - mean)
    scale = np.float32(1) / np.sqrt(total / np.float32(count) + epsilon)
    for channel in range(count):
        out[channel] = (values[channel] - mean) * scale
    out[count] = np.float32(1)


@kernel(fastmath=_FAST)
def _attend(qkv, size, biases, keys, attention, attended):  # type: ignore[no-untyped-def]  # pragma: no cover
    """All heads of one window: ``(positions, 3·heads·size)`` to ``(positions, heads·size)``."""
    heads, positions, columns = biases.shape
    row = qkv.shape[1] * FLOAT
    for head in range(heads):
        query, key, value = (head * size, (heads + head) * size, (2 * heads + head) * size)
        for position in range(positions):
            for channel in range(size):
                keys[channel, position] = qkv[position, key + channel]
        keys[:, positions:] = 0  # whatever an earlier kernel left there must not be NaN
        for panel in range(0, columns, PANEL):
            for position in range(0, attention.shape[0], ROWS):
                multiply_panel(
                    qkv[position].ctypes.data + query * FLOAT,
                    row,
                    keys.ctypes.data + panel * FLOAT,
                    columns * FLOAT,
                    attention[position].ctypes.data + panel * FLOAT,
                    columns * FLOAT,
                    size,
                )
        for position in range(positions):
            softmax_row(
                attention[position].ctypes.data,
                biases[head, position].ctypes.data,
                columns,
            )
        for panel in range(0, size, PANEL):
            for position in range(0, attention.shape[0], ROWS):
                multiply_panel(
                    attention[position].ctypes.data,
                    columns * FLOAT,
                    qkv.ctypes.data + (value + panel) * FLOAT,
                    row,
                    attended[position].ctypes.data + (query + panel) * FLOAT,
                    attended.shape[1] * FLOAT,
                    positions,
                )


@kernel()
def _pixel(position, top, left, window, shift, height, width):  # type: ignore[no-untyped-def]  # pragma: no cover
    """Where a window's position lies in the map, the image having been shifted in a circle."""
    y = (top * window + position // window + shift) % height
    x = (left * window + position % window + shift) % width
    return y + 1, x + 1


@kernel(parallel=True, fastmath=_FAST)
def _apply(  # type: ignore[no-untyped-def]  # pragma: no cover - compiled
    features,
    height,
    width,
    window,
    shift,
    size,
    qkv_panels,
    proj_panels,
    proj_bias,
    fc1_panels,
    fc2_panels,
    fc2_bias,
    epsilons,
    biases,
    normals,
    qkvs,
    keys,
    attentions,
    attendeds,
    middles,
    hiddens,
):
    dim = proj_bias.shape[0]
    rows, columns = height // window, width // window
    for number in prange(rows * columns):
        index = np.int64(number)  # Numba counts without sign, and such a number less one is a float
        thread = get_thread_id()
        normal, qkv, middle, hidden = (
            normals[thread],
            qkvs[thread],
            middles[thread],
            hiddens[thread],
        )
        attended = attendeds[thread]
        top, left = divmod(index, columns)
        case = 0
        if shift:
            case = 2 * (top == rows - 1) + (left == columns - 1)
        for position in range(window * window):
            y, x = _pixel(position, top, left, window, shift, height, width)
            _normalise(features[y, x], dim, epsilons[0], normal[position])
        _multiply(normal, qkv_panels, qkv)
        _attend(qkv, size, biases[case], keys[thread], attentions[thread], attended)
        _multiply(attended, proj_panels, normal)
        for position in range(window * window):
            y, x = _pixel(position, top, left, window, shift, height, width)
            for channel in range(dim):
                added = normal[position, channel] + proj_bias[channel]
                middle[position, channel] = features[y, x, channel] + added
            _normalise(middle[position], dim, epsilons[1], normal[position])
        _multiply(normal, fc1_panels, hidden)
        gelus(hidden.ctypes.data, hidden.size)
        _multiply(hidden, fc2_panels, normal)
        for position in range(window * window):
            y, x = _pixel(position, top, left, window, shift, height, width)
            for channel in range(dim):
                added = normal[position, channel] + fc2_bias[channel]
                features[y, x, channel] = middle[position, channel] + added
