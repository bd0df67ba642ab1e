import cv2
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from datamodules.degradations.filters import UnsharpMask, filter_images, mirror


@settings(deadline=None, max_examples=30)
@given(
    st.integers(1, 5),
    st.sampled_from([1, 3]),
    st.integers(11, 50),
    st.integers(11, 50),
    st.sampled_from([1, 3, 7, 21]),
    st.integers(0, 99),
)
def test_equals_opencvs_direct_sum(batch, channels, height, width, side, seed):
    rng = np.random.default_rng(seed)
    images = rng.random((batch, channels, height, width), np.float32)
    kernels = rng.random((batch, side, side), np.float32) - 0.3
    kernels /= np.abs(kernels).sum((1, 2), keepdims=True)
    filtered = filter_images(torch.from_numpy(images), torch.from_numpy(kernels)).numpy()
    for image, kernel, result in zip(images, kernels, filtered, strict=True):
        for plane, found in zip(image, result, strict=True):
            expected = cv2.filter2D(
                plane.astype(np.float64),
                -1,
                kernel.astype(np.float64),
                borderType=cv2.BORDER_REFLECT_101,
            )
            np.testing.assert_allclose(found, expected, atol=1e-6)


def test_one_kernel_for_all_and_batches_larger_than_a_cache():
    images = torch.rand(9, 3, 220, 230)
    kernel = torch.rand(1, 5, 5)
    filtered = filter_images(images, kernel)
    assert torch.equal(filtered, filter_images(images, kernel.expand(9, -1, -1)))
    alone = torch.cat([filter_images(image[None], kernel) for image in images])
    torch.testing.assert_close(filtered, alone)


@settings(deadline=None, max_examples=30)
@given(st.integers(1, 9), st.integers(1, 9), st.integers(0, 25))
def test_mirrors_small_images_as_often_as_needed(height, width, reach):
    image = np.random.default_rng(0).random((1, 1, height, width), np.float32)
    extended = mirror(torch.from_numpy(image), reach)
    expected = image
    for axis in (2, 3):
        pads = [(reach, reach) if axis == each else (0, 0) for each in range(4)]
        mode = "reflect" if image.shape[axis] > 1 else "edge"
        expected = np.pad(expected, pads, mode=mode)
    assert np.array_equal(extended.numpy(), expected)


@pytest.mark.parametrize("shape", [(64, 80), (200, 130)])
def test_unsharp_mask_equals_opencvs_gaussian(shape):
    rng = np.random.default_rng(1)
    image = cv2.resize(rng.random((8, 8, 3)), shape[::-1], interpolation=cv2.INTER_NEAREST)
    blurred = cv2.GaussianBlur(image, (51, 51), 0)
    residual = image - blurred
    share = cv2.GaussianBlur((np.abs(residual) * 255 > 10).astype(np.float64), (51, 51), 0)
    expected = image + share * (np.clip(image + 0.5 * residual, 0, 1) - image)
    planes = torch.from_numpy(image.transpose(2, 0, 1)[None].astype(np.float32))
    sharp = UnsharpMask()(planes)[0].permute(1, 2, 0).numpy()
    # A pixel whose residual is at the threshold may fall on either side of it.
    np.testing.assert_allclose(sharp, expected, atol=2e-4)
    flat = torch.full((1, 3, 60, 60), 0.4)
    torch.testing.assert_close(UnsharpMask()(flat), flat)
