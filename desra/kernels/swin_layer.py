"""A Swin Transformer layer in one kernel, window by window, in float32.

A window's 64 positions with all that is computed from them fit a core's second-level cache, so
nothing but the features themselves goes through memory: no shifted or partitioned copies, no
attention matrices. Windows are disjoint, and the layer works in place.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from desra.kernels.activations import gelus, softmax_row
from desra.kernels.compilation import compiled
from desra.kernels.threads import run_parallel, scratch, thread_shares
from desra.kernels.vectors import FLOAT, PANEL, ROWS, multiply_panel, round_up

Array = NDArray[np.float32]

_FAST = frozenset({"reassoc", "contract", "nsz"})
"""Sums in vectors; NaN and infinity stay what they are."""


class SwinWeights(NamedTuple):
    """What a layer multiplies by and adds.

    Matrices are panels ``(outputs / PANEL, inputs, PANEL)``; the row behind the inputs of ``qkv``
    and ``fc1`` is their bias. Heads have a multiple of `PANEL` channels.

    Attributes:
        qkv: queries, keys and values of all heads, after the first normalisation.
        proj: the attention's projection.
        proj_bias: ``(dim,)``.
        fc1: the perceptron's first layer, after the second normalisation.
        fc2: its second layer.
        fc2_bias: ``(dim,)``.
        epsilons: ``(2,)``, of the normalisations.
        biases: ``(cases, heads, positions, columns)``, added to the attention. With a shift there
            are four cases: whether a window is the last of its column (2) and of its row (1).
    """

    qkv: Array
    proj: Array
    proj_bias: Array
    fc1: Array
    fc2: Array
    fc2_bias: Array
    epsilons: Array
    biases: Array


def apply_swin_layer(
    features: Array,
    size: tuple[int, int],
    window: int,
    shift: int,
    head_size: int,
    weights: SwinWeights,
) -> None:
    """Apply a layer to the first channels of an image, in place.

    Args:
        features: ``(rows, columns, channels)`` with a pixel around the image.
        size: height and width of the image, multiples of ``window``.
        window: side of the windows.
        shift: pixels that the image is shifted up and left in a circle, 0 for none.
        head_size: channels of a head, a multiple of `PANEL`.
        weights: of the layer.
    """
    height, width = size
    positions = round_up(window**2, ROWS)
    row = round_up(weights.proj_bias.size + 1, PANEL)
    heads, columns = weights.biases.shape[1], weights.biases.shape[-1]
    attended = heads * head_size
    shares = thread_shares((height // window) * (width // window))
    rooms = [
        scratch("normal", len(shares), positions, row),
        scratch("qkv", len(shares), positions, 3 * attended),
        scratch("keys", len(shares), head_size, columns),
        scratch("attention", len(shares), positions, columns),
        scratch("attended", len(shares), positions, attended),
        scratch("middle", len(shares), positions, row),
        scratch("hidden", len(shares), positions, weights.fc1.shape[0] * PANEL),
    ]
    run_parallel(
        _apply,
        [
            (
                *(features, height, width, window, shift, head_size),
                *weights,
                *(room[share] for room in rooms),
                *(start, stop),
            )
            for share, (start, stop) in enumerate(shares)
        ],
    )


@compiled(_FAST)
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


@compiled(_FAST)
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


@compiled(_FAST)
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


@compiled()
def _pixel(position, top, left, window, shift, height, width):  # type: ignore[no-untyped-def]  # pragma: no cover
    """Where a window's position lies in the map, the image having been shifted in a circle."""
    y = (top * window + position // window + shift) % height
    x = (left * window + position % window + shift) % width
    return y + 1, x + 1


@compiled(_FAST)
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
    normal,
    qkv,
    keys,
    attention,
    attended,
    middle,
    hidden,
    start,
    stop,
):
    dim = proj_bias.shape[0]
    rows, columns = height // window, width // window
    for index in range(start, stop):
        top, left = divmod(index, columns)
        case = 0
        if shift:
            case = 2 * (top == rows - 1) + (left == columns - 1)
        for position in range(window * window):
            y, x = _pixel(position, top, left, window, shift, height, width)
            _normalise(features[y, x], dim, epsilons[0], normal[position])
        _multiply(normal, qkv_panels, qkv)
        _attend(qkv, size, biases[case], keys, attention, attended)
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
