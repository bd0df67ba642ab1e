import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torchmetrics.functional.image import structural_similarity_index_measure

from desra.detectors import SSIMDetector
from desra.detectors.ssim import local_ssim
from desra.detectors.tiles import map_tiles
from desra.errors import InputError

from .pairs import pair, planes


def torchmetrics_ssim(mse_sr: torch.Tensor, gan_sr: torch.Tensor) -> torch.Tensor:
    _, image = structural_similarity_index_measure(
        gan_sr.double(), mse_sr.double(), data_range=255.0, return_full_image=True
    )
    return image.mean(1, keepdim=True).clamp(0, 1)


@settings(max_examples=8, deadline=None)
@given(st.integers(11, 40), st.integers(11, 40), st.integers(0, 2**31))
def test_map_is_torchmetrics_full_image(height, width, seed):
    mse_sr, gan_sr, _ = pair(height, width, seed)
    gan_sr[: height // 3] = 255 - gan_sr[: height // 3]  # dissimilar, to below zero
    expected = torchmetrics_ssim(planes(mse_sr), planes(gan_sr))
    distance = SSIMDetector().distance(planes(mse_sr), planes(gan_sr))
    torch.testing.assert_close(distance, expected, rtol=0, atol=1e-9)


def test_tiles_leave_no_seams():
    mse_sr, gan_sr, marked = pair(260, 280)  # more than one tile each way
    found = SSIMDetector(min_area=200)(planes(mse_sr), planes(gan_sr))
    whole = local_ssim(planes(mse_sr), planes(gan_sr)).clamp(0, 1)
    torch.testing.assert_close(found.distance, whole, rtol=0, atol=1e-9)
    assert (found.mask[0, 0].numpy() & marked).sum() > 0.8 * marked.sum()


@settings(max_examples=20, deadline=None)
@given(
    st.integers(1, 40), st.integers(1, 40), st.integers(1, 17), st.integers(0, 9),
    st.integers(1, 2),
)  # fmt: skip
def test_every_pixel_is_of_its_place(height, width, tile, margin, batch):
    images = torch.arange(batch * 3 * height * width).view(batch, 3, height, width)
    found = map_tiles(lambda x, y: (x - 2 * y)[:, :1], images, images, margin, tile)
    np.testing.assert_array_equal(found, -images[:, :1].double())


def test_images_smaller_than_the_window_are_refused():
    tiny = torch.zeros(1, 3, 10, 20, dtype=torch.uint8)
    with pytest.raises(InputError, match="smaller than the window of 11x11"):
        SSIMDetector()(tiny, tiny)
