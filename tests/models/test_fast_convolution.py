import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.nn import functional as F

from models.generators.fast_convolution import Addend, FeatureMap, WinogradConvolution


def image(generator, *shape):
    return torch.randn(shape, generator=generator)


def convolution(generator, ins, outs, size=3, bias=True):
    conv = nn.Conv2d(ins, outs, size, padding=size // 2, bias=bias)
    with torch.no_grad():
        for parameter in conv.parameters():
            parameter.copy_(
                torch.randn(parameter.shape, generator=generator) / (ins * size**2) ** 0.5
            )
    return conv


def exact(conv, x):
    bias = None if conv.bias is None else conv.bias.double()
    padding = conv.kernel_size[0] // 2
    with torch.no_grad():
        return F.conv2d(x[None].double(), conv.weight.double(), bias, padding=padding)[0]


def rim(features):
    around = features.tensor.clone()
    around[1 : features.height + 1, 1 : features.width + 1] = 0
    return around


@given(
    seed=st.integers(0, 2**16),
    height=st.integers(1, 14),
    width=st.integers(1, 14),
    ins=st.integers(1, 20),
    outs=st.integers(1, 40),
    size=st.sampled_from([1, 3]),
    doubled=st.booleans(),
)
@settings(max_examples=60, deadline=None)
def test_same_as_a_direct_convolution(seed, height, width, ins, outs, size, doubled):
    generator = torch.Generator().manual_seed(seed)
    conv = convolution(generator, ins, outs, size, bias=bool(seed % 2))
    x = image(generator, ins, height, width)
    factor = 2 if doubled else 1
    target = FeatureMap.empty(height * factor, width * factor, outs)
    WinogradConvolution(conv, doubled=doubled)(FeatureMap.of(x), target)
    larger = x.repeat_interleave(factor, 1).repeat_interleave(factor, 2)
    expected = exact(conv, larger)
    assert (target.image[:outs] - expected).abs().max() < 1e-5
    assert (target.image[outs:] == 0).all()
    # The next convolution reads what is around the image as zeros.
    assert (rim(target) == 0).all()


def test_error_is_near_that_of_a_direct_convolution():
    generator = torch.Generator().manual_seed(0)
    conv = convolution(generator, 192, 64)
    x = image(generator, 192, 60, 61)
    target = FeatureMap.empty(60, 61, 64)
    WinogradConvolution(conv)(FeatureMap.of(x), target)
    expected = exact(conv, x)
    with torch.no_grad():
        direct = conv(x[None].contiguous(memory_format=torch.channels_last))[0]
    ours = (target.image - expected).square().mean().sqrt()
    assert ours < 3 * (direct - expected).square().mean().sqrt()


def test_slopes_scale_and_addends():
    generator = torch.Generator().manual_seed(0)
    conv = convolution(generator, 8, 12)
    x, first, second = (image(generator, count, 9, 10) for count in (8, 12, 12))
    slopes = torch.rand(12, generator=generator)
    target = FeatureMap.of(second)
    WinogradConvolution(conv, slope=slopes, scale=0.5)(
        FeatureMap.of(x), target, addends=(Addend(FeatureMap.of(first), 0.25), Addend(target, 2.0))
    )
    value = exact(conv, x) / 2
    value = torch.where(value > 0, value, value * slopes.double()[:, None, None])
    torch.testing.assert_close(
        target.image[:12].double(), value + first / 4 + 2 * second, atol=1e-5, rtol=0
    )


def test_outputs_behind_inputs_in_one_map():
    generator = torch.Generator().manual_seed(0)
    x = image(generator, 10, 7, 9)
    features = FeatureMap.empty(7, 9, 16 + 8 + 8)
    features.image[:] = 0
    features.image[:10] = x
    first, second = convolution(generator, 10, 6), convolution(generator, 16, 6)
    WinogradConvolution(first)(features, features, at=16)
    WinogradConvolution(second, parts=(10, 6))(features, features, at=24)
    grown = exact(first, x)
    torch.testing.assert_close(features.image[16:22].double(), grown, atol=1e-5, rtol=0)
    expected = exact(second, torch.cat([x.double(), grown]))
    torch.testing.assert_close(features.image[24:30].double(), expected, atol=1e-5, rtol=0)
    assert torch.equal(features.image[:10], x)


@pytest.mark.parametrize(("top", "bottom"), [(0, 3), (2, 7), (5, 6), (4, 11)])
@pytest.mark.parametrize("doubled", [False, True])
def test_rows_of_a_map_see_the_rows_around_them(top, bottom, doubled):
    generator = torch.Generator().manual_seed(0)
    conv = convolution(generator, 8, 8)
    x = image(generator, 8, 11, 6)
    factor = 2 if doubled else 1
    target = FeatureMap.empty((bottom - top) * factor, 6 * factor, 8)
    WinogradConvolution(conv, doubled=doubled)(FeatureMap.of(x).rows(top, bottom), target)
    larger = x.repeat_interleave(factor, 1).repeat_interleave(factor, 2)
    expected = exact(conv, larger)[:, top * factor : bottom * factor]
    torch.testing.assert_close(target.image.double(), expected, atol=1e-5, rtol=0)
    assert (rim(target) == 0).all()


def test_any_number_of_threads_gives_the_same():
    generator = torch.Generator().manual_seed(0)
    conv = WinogradConvolution(convolution(generator, 16, 16))
    x = FeatureMap.of(image(generator, 16, 40, 50))
    before = torch.get_num_threads()
    results = []
    try:
        for threads in (1, 2):
            torch.set_num_threads(threads)
            target = FeatureMap.empty(40, 50, 16)
            conv(x, target)
            results.append(target.tensor)
    finally:
        torch.set_num_threads(before)
    assert torch.equal(*results)


@pytest.mark.parametrize(
    "conv",
    [
        nn.Conv2d(8, 8, 5, padding=2),
        nn.Conv2d(8, 8, 3),
        nn.Conv2d(8, 8, 3, padding=1, stride=2),
        nn.Conv2d(8, 8, 3, padding=1, groups=2),
        nn.Conv2d(8, 8, 3, padding=1, padding_mode="reflect"),
    ],
)
def test_other_convolutions_are_refused(conv):
    with pytest.raises(ValueError, match="plain 3×3 or 1×1"):
        WinogradConvolution(conv)
