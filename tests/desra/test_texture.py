import cv2
import numpy as np
import pytest
import torch

from desra.errors import InputError
from desra.images import to_tensor
from desra.texture import gaussian_window, texture_distance, texture_distance_torch
from tests.reference.plain_detection import plain_distance


def pair(height: int, width: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Two noisy images that differ in texture from place to place, ``(H, W, 3)`` uint8."""
    rng = np.random.default_rng(seed)
    base = cv2.resize(rng.uniform(90, 165, (5, 6, 3)), (width, height))
    strength = cv2.resize(rng.uniform(0, 20, (4, 4)), (width, height))[..., None]
    invented = strength * rng.normal(0, 1, base.shape)
    images = (base + rng.normal(0, 4, base.shape) + texture for texture in (0, invented))
    mse_sr, gan_sr = (image.clip(0, 255).astype(np.uint8) for image in images)
    return mse_sr, gan_sr


def planes(image: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(image).permute(2, 0, 1)[None]


@pytest.mark.parametrize("size", [3, 7, 11, 31])
def test_window_equals_opencv(size):
    np.testing.assert_allclose(
        gaussian_window(size), cv2.getGaussianKernel(size, 1.5)[:, 0], rtol=1e-12, atol=1e-300
    )


# One position; less than a tile; several tiles and bands with a rest, an odd number of rows.
@pytest.mark.parametrize("shape", [(11, 11), (12, 300), (45, 37), (331, 23), (177, 550)])
@pytest.mark.parametrize("size", [3, 11])
def test_equals_plain_float64(shape, size):
    mse_sr, gan_sr = pair(*shape)
    rim = size // 2
    distance = texture_distance(planes(mse_sr), planes(gan_sr), size)
    assert distance.dtype == torch.float64
    assert distance.shape == (1, 1, *shape)
    inside = distance[0, 0, rim:-rim, rim:-rim].numpy()
    np.testing.assert_allclose(inside, plain_distance(mse_sr, gan_sr, size), rtol=0, atol=1e-9)
    assert inside.std() > 0 or shape == (11, 11)
    outside = torch.ones(shape, dtype=torch.bool)
    outside[rim:-rim, rim:-rim] = False
    assert (distance[0, 0][outside] == 1).all()


@pytest.mark.parametrize("size", [3, 7, 11])
@pytest.mark.parametrize("chunk_pixels", [1, 4000, 10**9])
@pytest.mark.parametrize("direction", ["both", "rougher"])
def test_gpu_implementation_equals_cpu(size, chunk_pixels, direction):
    pairs = [pair(61, 83, seed) for seed in range(3)]
    mse_sr, gan_sr = (torch.cat([planes(p[i]) for p in pairs]) for i in range(2))
    found = texture_distance_torch(
        mse_sr, gan_sr, gaussian_window(size), direction == "rougher", chunk_pixels
    )
    expected = texture_distance(mse_sr, gan_sr, size, direction)
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-9)


def test_batch_equals_single_images():
    pairs = [pair(50, 60, seed) for seed in range(3)]
    mse_sr, gan_sr = (torch.cat([planes(p[i]) for p in pairs]) for i in range(2))
    whole = texture_distance(mse_sr, gan_sr)
    single = [texture_distance(planes(a), planes(b)) for a, b in pairs]
    assert torch.equal(whole, torch.cat(single))


def test_memory_layout_and_type_make_no_difference():
    mse_sr, gan_sr = (planes(image) for image in pair(70, 90))
    expected = texture_distance(mse_sr.contiguous(), gan_sr.contiguous())
    assert torch.equal(texture_distance(mse_sr, gan_sr), expected)
    sliced = torch.stack([mse_sr, gan_sr], -1)
    assert torch.equal(texture_distance(sliced[..., 0], sliced[..., 1]), expected)
    assert torch.equal(texture_distance(mse_sr, gan_sr.contiguous()), expected)
    floats = [to_tensor(image) for image in pair(70, 90)]
    assert torch.equal(texture_distance(*floats), expected)
    # As a network gives it: between the levels, beyond the range, with a gradient.
    off = floats[1] + 0.3 / 255 * torch.rand_like(floats[1]).sub(0.5)
    assert torch.equal(texture_distance(floats[0], off.requires_grad_()), expected)


def test_number_of_threads_makes_no_difference():
    mse_sr, gan_sr = (planes(image) for image in pair(150, 90))
    threads, results = torch.get_num_threads(), []
    try:
        for count in (1, 3):
            torch.set_num_threads(count)
            results.append(texture_distance(mse_sr, gan_sr))
    finally:
        torch.set_num_threads(threads)
    assert torch.equal(*results)


def test_distance_is_one_where_textures_agree_and_low_where_one_lacks_texture():
    flat = torch.full((1, 3, 40, 40), 200, dtype=torch.uint8)
    noise = torch.randint(0, 256, flat.shape, generator=torch.Generator().manual_seed(0))
    noise = noise.to(torch.uint8)
    assert (texture_distance(flat, flat // 2) == 1).all()
    assert (texture_distance(noise, noise) == 1).all()
    inside = texture_distance(flat, noise)[..., 5:-5, 5:-5]
    assert inside.max() < 0.1
    assert torch.equal(inside, texture_distance(noise, flat)[..., 5:-5, 5:-5])


@pytest.mark.parametrize("size", [2, 10, 1, -3])
def test_even_and_small_windows_are_refused(size):
    with pytest.raises(InputError, match="window_size"):
        gaussian_window(size)


@pytest.mark.parametrize(
    ("shapes", "complaint"),
    [
        (((1, 3, 40, 50), (1, 3, 50, 40)), "MSE-SR is 50x40, GAN-SR is 40x50"),
        (((2, 3, 40, 50), (1, 3, 40, 50)), "MSE-SR is 2 of 50x40, GAN-SR is 50x40"),
        (((1, 3, 10, 50), (1, 3, 10, 50)), "50x10, smaller than the window of 11x11"),
        (((1, 1, 40, 50), (1, 1, 40, 50)), "give RGB"),
        (((3, 40, 50), (3, 40, 50)), "give RGB"),
    ],
)
def test_pairs_that_cannot_be_compared_are_refused(shapes, complaint):
    with pytest.raises(InputError, match=complaint):
        texture_distance(*(torch.zeros(shape, dtype=torch.uint8) for shape in shapes))


def test_nan_is_refused():
    image = torch.rand(1, 3, 20, 20)
    broken = image.clone()
    broken[0, 1, 5, 5] = torch.nan
    with pytest.raises(InputError, match="NaN"):
        texture_distance(image, broken)
