"""Every form of mask that a user may have: read right, or refused with the levels it has."""

import io

import cv2
import numpy as np
import pytest
from PIL import Image

from desra.errors import InputError
from desra.images import Picture
from desra.masks import mask_of, read_mask_image

TRUTH = np.zeros((64, 80), bool)
TRUTH[8:38, 10:50] = True
OTHER = np.zeros_like(TRUTH)
OTHER[45:60, 55:75] = True


def levels(true, other=0, dtype=np.uint8):
    return (TRUTH * dtype(true) + OTHER * dtype(other))[..., None]


def painted(colour, alpha=255):
    pixels = np.zeros((*TRUTH.shape, 4), np.uint8)
    pixels[...] = (*colour, 0)
    pixels[TRUTH] = (*colour, alpha)
    return pixels


def read(pixels, **options):
    return mask_of(Picture(pixels), **options)


@pytest.mark.parametrize("level", [1, 7, 100, 128, 254, 255])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_black_and_any_one_level(level, dtype):
    assert np.array_equal(read(levels(level, dtype=dtype)), TRUTH)


def test_all_black_and_all_white():
    assert not read(levels(0) * 0).any()
    assert read(np.full((4, 5, 1), 255, np.uint8)).all()


@pytest.mark.parametrize("colour", [(255, 255, 255), (255, 0, 0), (0, 0, 0), (12, 200, 7)])
@pytest.mark.parametrize("alpha", [255, 200, 90])
def test_paint_of_one_colour_on_a_transparent_layer(colour, alpha):
    assert np.array_equal(read(painted(colour, alpha)), TRUTH)
    assert not read(painted(colour, 0)).any()


def test_soft_paint_is_cut_at_half_of_its_opacity():
    alpha = cv2.GaussianBlur(TRUTH.astype(np.float32), (0, 0), 2)
    pixels = np.full((*TRUTH.shape, 4), 255, np.uint8)
    pixels[..., 3] = np.round(alpha * 255)
    assert np.array_equal(read(pixels), pixels[..., 3] > 127)


def test_black_and_white_paint_with_transparent_places():
    pixels = np.zeros((*TRUTH.shape, 4), np.uint8)
    pixels[..., 3] = ~OTHER * np.uint8(255)
    pixels[TRUTH, :3] = 255
    assert np.array_equal(read(pixels), TRUTH)


def test_opaque_alpha_says_nothing():
    pixels = np.concatenate([levels(255).repeat(3, 2), np.full((64, 80, 1), 255, np.uint8)], 2)
    assert np.array_equal(read(pixels), TRUTH)


@pytest.mark.parametrize(
    ("pixels", "expected"),
    [
        (levels(1, 2), TRUTH | OTHER),
        (levels(3, 17), TRUTH | OTHER),
        (levels(1, 255), TRUTH),  # 255: to be ignored
        (levels(1, 65535, np.uint16), TRUTH),
    ],
)
def test_classes_by_index(pixels, expected):
    assert np.array_equal(read(pixels), expected)


@pytest.mark.parametrize(("index", "expected"), [(2, TRUTH | OTHER), (255, TRUTH)])
def test_classes_in_the_palette_that_labelme_exports(tmp_path, index, expected):
    image = Image.fromarray(levels(1, index)[..., 0], "P")
    colours = np.zeros((256, 3), np.uint8)
    colours[1], colours[2], colours[255] = (128, 0, 0), (0, 128, 0), (224, 224, 192)
    image.putpalette(colours.tobytes())
    image.save(tmp_path / "label.png")
    assert np.array_equal(read_mask_image(tmp_path / "label.png"), expected)


@pytest.mark.parametrize("level", [60, 100, 140, 255])
@pytest.mark.parametrize("quality", [30, 95])
def test_dim_masks_as_jpeg(tmp_path, level, quality):
    Image.fromarray(levels(level, level)[..., 0]).save(tmp_path / "a.jpg", quality=quality)
    wrong = read_mask_image(tmp_path / "a.jpg") ^ (TRUTH | OTHER)
    inside = cv2.erode((TRUTH | OTHER).astype(np.uint8), np.ones((5, 5))).astype(bool)
    outside = ~cv2.dilate((TRUTH | OTHER).astype(np.uint8), np.ones((5, 5))).astype(bool)
    assert not (wrong & (inside | outside)).any()


@pytest.mark.parametrize("level", [80, 255])
@pytest.mark.parametrize("sigma", [1, 3])
def test_smoothed_outlines(level, sigma):
    soft = cv2.GaussianBlur(TRUTH.astype(np.float32), (0, 0), sigma) * level
    found = read(np.round(soft).astype(np.uint8)[..., None])
    assert (found ^ TRUTH).sum() < 0.1 * TRUTH.sum()


def test_probabilities_are_cut_at_half():
    ramp = np.zeros((40, 200, 1), np.uint8)
    ramp[10:14, :, 0] = np.linspace(0, 200, 200)
    assert np.array_equal(read(ramp), ramp[..., 0] > 127)


@pytest.mark.parametrize(
    ("pixels", "message"),
    [
        (levels(100, 200), "more than two levels.*0: .*100: .*200: "),
        (levels(1, 100), "more than two levels"),
        (np.arange(256, dtype=np.uint8).repeat(20).reshape(64, 80, 1), "like those of a picture"),
        (levels(50, 100) + np.uint8(90), "no black"),
        (np.random.default_rng(0).integers(0, 256, (8, 8, 3), dtype=np.uint8), "colour"),
        (np.stack([TRUTH, OTHER, TRUTH & OTHER], -1).astype(np.uint8) * 255, "colour"),
    ],
)
def test_what_is_no_mask_is_refused_with_its_levels(pixels, message):
    with pytest.raises(InputError, match=message) as raised:
        read(pixels)
    assert "give a mask in black (0) and white (255)" in str(raised.value)


def test_small_numbers_in_jpeg_are_refused(tmp_path):
    file = io.BytesIO()
    Image.fromarray(levels(12, 6)[..., 0]).save(file, "JPEG", quality=95)
    (tmp_path / "a.jpg").write_bytes(file.getvalue())
    with pytest.raises(InputError, match=r"a\.jpg: not a mask"):
        read_mask_image(tmp_path / "a.jpg")


@pytest.mark.parametrize("options", [{"quality": 90}, {"quality": 60, "subsampling": 2}])
def test_paint_of_one_colour_that_jpeg_has_changed(tmp_path, options):
    pixels = np.zeros((*TRUTH.shape, 3), np.uint8)
    pixels[TRUTH] = (230, 20, 10)
    Image.fromarray(pixels).save(tmp_path / "a.png", "JPEG", **options)  # whatever it is called
    read = read_mask_image(tmp_path / "a.png")
    assert (read & TRUTH).sum() / (read | TRUTH).sum() > 0.97
    pixels[OTHER] = (20, 230, 10)
    Image.fromarray(pixels).save(tmp_path / "two.jpg", **options)
    with pytest.raises(InputError, match="in colour"):
        read_mask_image(tmp_path / "two.jpg")


def test_an_index_map_that_its_palette_hides(tmp_path):
    image = Image.fromarray(TRUTH.astype(np.uint8)).convert("P")
    image.putpalette([0] * 768)
    image.save(tmp_path / "a.png")
    with pytest.raises(InputError, match=r"a\.png: not a mask: an index map .* \(0: 76.6%, "):
        read_mask_image(tmp_path / "a.png")
