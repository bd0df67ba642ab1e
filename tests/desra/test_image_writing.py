"""What is written is read back with its depth, alpha, colour profile and orientation."""

from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image, ImageCms

from desra.errors import InputError
from desra.image_writing import output_suffix, to_8_bit, write_image
from desra.images import Picture, read_image

SRGB = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
GREY = SRGB[:16] + b"GRAY" + SRGB[20:]
ORIENTATION, EXIF_FOLDER, PIXEL_WIDTH, PIXEL_HEIGHT = 0x0112, 0x8769, 0xA002, 0xA003


def exif_block(**extra: bytes) -> bytes:
    exif = Image.Exif()
    exif[ORIENTATION] = 6
    exif[0x010F] = "Maker"
    folder = exif.get_ifd(EXIF_FOLDER)
    folder[PIXEL_WIDTH], folder[PIXEL_HEIGHT] = 10, 7
    if extra:
        folder[0x927C] = extra["note"]
    return exif.tobytes()


def pixels(channels, dtype=np.uint8, height=28, width=40):
    rng = np.random.default_rng(channels)
    return rng.integers(0, np.iinfo(dtype).max, (height, width, channels), dtype, endpoint=True)


@pytest.mark.parametrize("channels", [1, 2, 3, 4])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize("suffix", [".png", ".tif", ".tiff"])
def test_lossless_formats_keep_every_bit_and_the_profile(tmp_path, channels, dtype, suffix):
    given = pixels(channels, dtype)
    profile = SRGB if channels > 2 else GREY
    path = tmp_path / f"deep/er/image{suffix}"
    write_image(path, Picture(given, profile))
    if dtype == np.uint16 and channels == 2:  # no library reads it: written as colour with alpha
        given, profile = given[..., [0, 0, 0, 1]], None
    back = read_image(path)
    assert back.pixels.dtype == dtype
    np.testing.assert_array_equal(back.pixels, given)
    assert back.icc == profile
    assert [file.name for file in path.parent.iterdir()] == [path.name]


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".jpeg", ".webp"])
def test_orientation_is_kept_and_the_size_in_the_exif_block_is_the_new_one(tmp_path, suffix):
    path = tmp_path / f"image{suffix}"
    write_image(path, Picture(pixels(3), SRGB, exif_block()))
    with Image.open(path) as image:
        exif = image.getexif()
        assert image.size == (40, 28), "pixels must not be turned"
        assert image.info["icc_profile"] == SRGB
    assert exif[ORIENTATION] == 6
    assert exif[0x010F] == "Maker"
    assert exif.get_ifd(EXIF_FOLDER)[PIXEL_WIDTH] == 40
    assert exif.get_ifd(EXIF_FOLDER)[PIXEL_HEIGHT] == 28
    again = tmp_path / f"again{suffix}"
    write_image(again, read_image(path))
    with Image.open(again) as image:
        assert image.getexif()[ORIENTATION] == 6


def test_orientation_of_a_tiff_is_its_own_tag(tmp_path):
    path = tmp_path / "image.tif"
    write_image(path, Picture(pixels(3), None, exif_block()))
    with Image.open(path) as image:
        assert image.getexif()[ORIENTATION] == 6


def test_an_exif_block_that_jpeg_cannot_hold_leaves_the_orientation(tmp_path):
    path = tmp_path / "image.jpg"
    write_image(path, Picture(pixels(3), None, exif_block(note=bytes(70_000))))
    with Image.open(path) as image:
        exif = image.getexif()
    assert dict(exif) == {ORIENTATION: 6}


@pytest.mark.parametrize("block", [b"", b"garbage", b"Exif\x00\x00", exif_block()[:20]])
def test_a_damaged_exif_block_is_left_out(tmp_path, block):
    path = tmp_path / "image.png"
    write_image(path, Picture(pixels(3), None, block))
    back = read_image(path)
    assert back.exif is None
    np.testing.assert_array_equal(back.pixels, pixels(3))


@pytest.mark.parametrize(("channels", "wrong"), [(1, SRGB), (3, GREY), (4, b"too short")])
def test_a_profile_of_another_kind_of_colour_is_left_out(tmp_path, channels, wrong):
    path = tmp_path / "image.png"
    write_image(path, Picture(pixels(channels), wrong))
    assert read_image(path).icc is None


def test_bmp_and_lossless_webp_keep_the_pixels(tmp_path):
    for suffix, channels in ((".bmp", 1), (".bmp", 3), (".webp", 3)):
        path = tmp_path / f"{channels}{suffix}"
        write_image(path, Picture(pixels(channels)), quality=100)
        np.testing.assert_array_equal(read_image(path).pixels, pixels(channels))


def test_lossy_formats_are_near_and_obey_quality(tmp_path):
    smooth = np.linspace(0, 255, 64 * 64 * 3).reshape(64, 64, 3).astype(np.uint8)
    for suffix in (".jpg", ".webp"):
        sizes = []
        for quality in (30, 95):
            path = tmp_path / f"{quality}{suffix}"
            write_image(path, Picture(smooth), quality)
            error = read_image(path).pixels.astype(int) - smooth
            assert np.abs(error).mean() < 4
            sizes.append(path.stat().st_size)
        assert sizes[0] < sizes[1]


def test_sixteen_bits_are_rounded_for_formats_of_eight(tmp_path):
    deep = pixels(3, np.uint16)
    write_image(tmp_path / "image.bmp", Picture(deep))
    expected = np.rint(deep / 65535 * 255).astype(np.uint8)
    np.testing.assert_array_equal(read_image(tmp_path / "image.bmp").pixels, expected)


def test_rounding_of_all_sixteen_bit_values():
    values = np.arange(65536, dtype=np.uint16)
    np.testing.assert_array_equal(to_8_bit(values), np.rint(values / 257).astype(np.uint8))


@pytest.mark.parametrize(("suffix", "side"), [(".webp", 16384), (".jpg", 65536)])
def test_more_than_a_format_can_hold_is_refused(tmp_path, suffix, side):
    path = tmp_path / f"image{suffix}"
    with pytest.raises(InputError, match="format=png"):
        write_image(path, Picture(np.zeros((1, side, 1), np.uint8)))
    assert not path.exists()


def test_an_unknown_suffix_is_refused(tmp_path):
    with pytest.raises(InputError, match="gif"):
        write_image(tmp_path / "image.gif", Picture(pixels(3)))
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("source", "channels", "form", "expected"),
    [
        ("a.PNG", 3, "auto", ".png"),
        ("a.jpeg", 3, "auto", ".jpeg"),
        ("a.tiff", 4, "auto", ".tiff"),
        ("a.webp", 4, "auto", ".webp"),
        ("a.bmp", 4, "auto", ".png"),
        ("a.png", 4, "jpg", ".png"),
        ("a.png", 2, "jpg", ".png"),
        ("a.png", 1, "jpg", ".jpg"),
        ("a.jpg", 3, "webp", ".webp"),
    ],
)
def test_suffix_follows_the_format_or_alpha(source, channels, form, expected):
    assert output_suffix(Path(source), pixels(channels), form) == expected


def test_opencv_sees_what_we_wrote(tmp_path):
    path = tmp_path / "image.png"
    write_image(path, Picture(pixels(4, np.uint16), SRGB, exif_block()))
    back = cv2.imread(str(path), cv2.IMREAD_UNCHANGED)
    np.testing.assert_array_equal(cv2.cvtColor(back, cv2.COLOR_BGRA2RGBA), pixels(4, np.uint16))
