"""Softmax and GELU against PyTorch's own in float64."""

import numpy as np
import torch
from torch.nn import functional as F

from desra.kernels.activations import gelus, softmax_row
from desra.kernels.compilation import compiled


@compiled()
def _softmax(values, biases):
    for row in range(values.shape[0]):
        softmax_row(values[row].ctypes.data, biases[row].ctypes.data, values.shape[1])


@compiled()
def _gelu(values):
    gelus(values.ctypes.data, values.size)


def test_softmax_with_biases():
    rng = np.random.default_rng(0)
    values = (40 * rng.normal(size=(50, 24))).astype(np.float32)
    biases = rng.normal(size=(50, 24)).astype(np.float32)
    biases[:, 20:] = -np.inf
    expected = torch.from_numpy(values).double().add(torch.from_numpy(biases)).softmax(1)
    _softmax(values, biases)
    np.testing.assert_allclose(values, expected.numpy(), atol=2e-6)
    np.testing.assert_allclose(values.sum(1), 1, atol=1e-6)


def test_gelu():
    values = np.concatenate([np.linspace(-12, 12, 4001), np.zeros(7)]).astype(np.float32)
    values = np.ascontiguousarray(values[: values.size // 8 * 8])
    expected = F.gelu(torch.from_numpy(values).double()).numpy()
    _gelu(values)
    np.testing.assert_allclose(values, expected, atol=1e-6)
