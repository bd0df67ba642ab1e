"""One image or a batch, arrays or tensors, either order: the same mask."""

import numpy as np
import pytest
import torch
from PIL import Image

import desra
from desra.errors import InputError
from desra.one_image import as_batch, detect
from models.generators import SRVGGNetCompact, write_generator
from tests.conftest import add_texture, place_artifact, smooth_photo

MSE_SR = smooth_photo(0, 96, 120)
GAN_SR = add_texture(MSE_SR, place_artifact((96, 120), 0), 0)


def test_every_form_gives_the_same_mask():
    pair = (MSE_SR, GAN_SR)
    expected = detect(*pair, min_area=100)
    assert expected.shape == (96, 120)
    assert expected.dtype == bool
    assert expected.any()
    first = tuple(image.transpose(2, 0, 1) for image in pair)
    tensors = tuple(torch.from_numpy(image.copy()) for image in first)
    for form in (first, tuple(image[None] for image in pair), tuple(i[None] for i in first)):
        assert np.array_equal(detect(*form, min_area=100).squeeze(), expected)
    for form in (tensors, tuple(image[None].float() / 255 for image in tensors)):
        found = detect(*form, min_area=100)
        assert isinstance(found, torch.Tensor)
        assert np.array_equal(found.squeeze().numpy(), expected)
    mask = desra.ArtifactDetector(min_area=100)(*pair).mask
    assert np.array_equal(mask[0, 0].numpy(), expected)


@pytest.mark.parametrize("shape", [(4, 5), (4, 5, 2), (2, 4, 5, 6), (1, 2, 3, 4, 5)])
def test_what_is_no_rgb_image_is_refused(shape):
    with pytest.raises(InputError, match="an image of shape"):
        as_batch(np.zeros(shape, np.uint8))


@pytest.mark.parametrize(
    "scaled",
    [
        lambda image: image.astype(np.float32),
        lambda image: image / 127.5 - 1,
        lambda image: image.astype(np.int64),
        lambda image: image > 100,
    ],
)
def test_other_ranges_and_types_are_refused(scaled):
    with pytest.raises(InputError, match=r"give floats in \[0, 1\]"):
        detect(scaled(MSE_SR), scaled(GAN_SR))
    upscaler = desra.Upscaler(SRVGGNetCompact(2, features=8, depth=2))
    with pytest.raises(InputError, match=r"give floats in \[0, 1\]"):
        upscaler(scaled(MSE_SR))


@pytest.mark.parametrize("image", ["photo.png", None, [[0]]])
def test_what_has_no_pixels_is_refused(image):
    with pytest.raises(InputError, match="is no image"):
        detect(image, image)
    with pytest.raises(InputError, match="is no image"):
        desra.Upscaler(SRVGGNetCompact(2, features=8, depth=2))(image)


def test_images_of_pillow_are_images():
    pair = [Image.fromarray(image) for image in (MSE_SR, GAN_SR)]
    found = detect(*pair, min_area=100)
    assert np.array_equal(found, detect(MSE_SR, GAN_SR, min_area=100))


def test_upscaler_takes_a_file_and_an_image(tmp_path):
    write_generator(tmp_path / "file.pth", SRVGGNetCompact(2, features=8, depth=2))
    upscaler = desra.Upscaler(str(tmp_path / "file.pth"))
    big = upscaler(MSE_SR)
    assert big.shape == (192, 240, 3)
    assert big.dtype == np.uint8
    assert np.array_equal(upscaler(MSE_SR.transpose(2, 0, 1)), big.transpose(2, 0, 1))
    assert np.array_equal(upscaler(MSE_SR[None]), big[None])
    tensor = torch.from_numpy(MSE_SR.transpose(2, 0, 1) / np.float32(255))
    levels = upscaler(tensor).clamp(0, 1).mul(255).round().numpy()
    assert np.abs(levels - big.transpose(2, 0, 1)).max() <= 1
    as_floats = upscaler(MSE_SR / 255)
    assert as_floats.dtype == np.float32
    assert np.abs(as_floats.clip(0, 1) * 255 - big).max() <= 1
    assert np.array_equal(upscaler(tensor), upscaler(torch.from_numpy(MSE_SR.transpose(2, 0, 1))))
    assert np.array_equal(upscaler(Image.fromarray(MSE_SR)), big)
    assert upscaler(MSE_SR[..., 0]).shape == (192, 240)
    with pytest.raises(AttributeError):
        _ = desra.nothing
