"""Fast convolutions against PyTorch's own in float64."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.nn import functional as F

from models.convolution import FastConvolutions, inputs_only, mode
from models.convolution.kernels import INPUTS, OUTPUTS, transform
from models.convolution.plain import PlainConvolution
from models.convolution.winograd import WinogradConvolution
from models.generators.cpu.winograd import numba_threads


def draw(*shape: int, seed: int = 0) -> Tensor:
    values = torch.randn(*shape, generator=torch.Generator().manual_seed(seed))
    return values.contiguous(memory_format=torch.channels_last) if len(shape) == 4 else values


def results(convolve: Callable, x: Tensor, weight: Tensor, bias: Tensor | None) -> list[Tensor]:
    """Output and all gradients, of a loss that weights each output differently."""
    given = [value for value in (x, weight, bias) if value is not None]
    given = [value.clone(memory_format=torch.preserve_format).requires_grad_() for value in given]
    y = convolve(*given)
    factors = draw(*y.shape, seed=7).to(y.dtype)
    return [y.detach(), *torch.autograd.grad(y, given, factors)]


def assert_near(found: list[Tensor], expected: list[Tensor], tolerance: float = 3e-6) -> None:
    """Root-mean-square error relative to the root mean square."""
    assert len(found) == len(expected)
    for ours, reference in zip(found, expected, strict=True):
        assert ours.shape == reference.shape
        assert (ours.double() - reference).norm() <= tolerance * reference.norm()


@settings(deadline=None, max_examples=25)
@given(
    images=st.integers(1, 3),
    inputs=st.sampled_from([8, 16, 40]),
    outputs=st.sampled_from([8, 16, 24]),
    height=st.integers(1, 19),
    width=st.integers(1, 19),
    with_bias=st.booleans(),
    threads=st.sampled_from([1, 2]),
)
def test_winograd_equals_plain_convolution(
    images: int, inputs: int, outputs: int, height: int, width: int, with_bias: bool, threads: int
) -> None:
    x, weight = draw(images, inputs, height, width), draw(outputs, inputs, 3, 3, seed=1)
    bias = draw(outputs, seed=2) if with_bias else None
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        ours = results(
            lambda *a: WinogradConvolution.apply(*a, *[None] * (3 - len(a))), x, weight, bias
        )
    finally:
        torch.set_num_threads(before)
    doubles = (None if value is None else value.double() for value in (x, weight, bias))
    assert_near(ours, results(lambda *a: F.conv2d(*a, padding=1), *doubles))


def test_winograd_sums_weight_gradients_over_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("models.convolution.winograd._CHUNK", 1)  # 16 tiles at a time
    x, weight = draw(2, 8, 21, 30), draw(8, 8, 3, 3, seed=1)
    ours = results(lambda *a: WinogradConvolution.apply(*a, None), x, weight, None)
    assert_near(
        ours, results(lambda *a: F.conv2d(*a, padding=1), x.double(), weight.double(), None)
    )


def test_gradient_tiles_are_the_adjoint_of_output_tiles() -> None:
    """``A y Aᵀ`` against the definition, with A from the points 0, ±3/4, ±3/2 and ∞."""
    points = [0, 0.75, -0.75, 1.5, -1.5]
    a = np.array([[point**power for power in range(4)] for point in points] + [[0, 0, 0, 1]])
    y = draw(1, 8, 6, 5)
    out = np.empty((INPUTS**2, 4, 8), np.float32)
    with numba_threads() as threads:
        scratch = np.zeros((threads, INPUTS**2 * 8), np.float32)
        transform(y.permute(0, 2, 3, 1).numpy(), True, 0, out, scratch)
    padded = F.pad(y, (0, 3, 0, 2))[0].double().numpy()
    for tile, (top, left) in enumerate([(0, 0), (0, 4), (4, 0), (4, 4)]):
        block = padded[:, top : top + OUTPUTS, left : left + OUTPUTS]
        expected = np.einsum("ia,cab,jb->ijc", a, block, a).reshape(INPUTS**2, 8)
        np.testing.assert_allclose(out[:, tile], expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(("kernel", "stride", "padding"), [(4, 2, 1), (3, 1, 1), (1, 1, 0)])
def test_plain_convolution_equals_pytorch(kernel: int, stride: int, padding: int) -> None:
    x, weight, bias = draw(2, 5, 12, 15), draw(7, 5, kernel, kernel, seed=1), draw(7, seed=2)
    steps, rim = (stride, stride), (padding, padding)
    ours = results(lambda *a: PlainConvolution.apply(*a, steps, rim), x, weight, bias)
    doubles = (x.double(), weight.double(), bias.double())
    assert_near(ours, results(lambda *a: F.conv2d(*a, stride, padding), *doubles))


def test_inputs_only_leaves_weights_out() -> None:
    for function, arguments in ((WinogradConvolution, ()), (PlainConvolution, ((1, 1), (1, 1)))):
        x, weight = draw(1, 8, 8, 8).requires_grad_(), draw(8, 8, 3, 3).requires_grad_()
        y = function.apply(x, weight, None, *arguments)
        with inputs_only():
            y.sum().backward(retain_graph=True)
        assert x.grad is not None
        assert weight.grad is None
        y.sum().backward()
        assert weight.grad is not None


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Names of the functions that the mode routes convolutions to."""
    seen: list[str] = []
    for function in (WinogradConvolution, PlainConvolution):
        original = function.apply

        def apply(*arguments, name=function.__name__, original=original):  # type: ignore[no-untyped-def]
            seen.append(name)
            return original(*arguments)

        monkeypatch.setattr(function, "apply", apply)
    return seen


LARGE = (1, 8, 32, 32)


@pytest.mark.parametrize(
    ("shape", "weight", "options", "expected"),
    [
        (LARGE, (8, 8, 3, 3), {"padding": 1}, ["WinogradConvolution"]),
        ((1, 8, 16, 16), (8, 8, 3, 3), {"padding": 1}, []),  # few tiles, few channels
        ((1, 32, 16, 16), (32, 32, 3, 3), {"padding": 1}, ["PlainConvolution"]),
        ((1, 32, 16, 16), (32, 32, 4, 4), {"stride": 2, "padding": 1}, ["PlainConvolution"]),
        (LARGE, (8, 8, 3, 3), {}, []),
        (LARGE, (8, 8, 3, 3), {"padding": "same"}, []),
        (LARGE, (8, 8, 3, 3), {"padding": 1, "stride": 2}, []),
        (LARGE, (8, 8, 3, 3), {"padding": 2, "dilation": 2}, []),
        (LARGE, (8, 4, 3, 3), {"padding": 1, "groups": 2}, []),
        (LARGE, (12, 8, 3, 3), {"padding": 1}, []),
    ],
)
def test_mode_takes_what_it_computes_faster_and_changes_no_result(
    calls: list[str],
    shape: tuple[int, ...],
    weight: tuple[int, ...],
    options: dict,
    expected: list[str],
) -> None:
    x, kernel = draw(*shape), draw(*weight, seed=1).requires_grad_()
    with FastConvolutions():
        found = F.conv2d(x, kernel, **options)
    assert calls == expected
    torch.testing.assert_close(found, F.conv2d(x, kernel, **options), rtol=1e-4, atol=1e-4)


def test_mode_leaves_other_types_layouts_and_autocast_alone(calls: list[str]) -> None:
    x, weight = draw(*LARGE), draw(8, 8, 3, 3, seed=1)
    with FastConvolutions():
        F.conv2d(x.double(), weight.double(), padding=1)
        F.conv2d(x.contiguous(), weight, padding=1)
        with torch.autocast("cpu", torch.bfloat16):
            F.conv2d(x, weight, padding=1)
        assert calls == []
        torch.nn.Conv2d(8, 8, 3, padding=1)(x)
    assert calls == ["WinogradConvolution"]
    assert mode.FEWEST_TILES == 64
