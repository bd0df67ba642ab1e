"""Decoding and encoding images, whole or not at all."""

import io
import resource
import struct
import zlib

import cv2
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from PIL import Image as PILImage

from desra.errors import InputError
from desra.images import (
    image_size,
    quantize,
    read_image,
    read_rgb,
    rgb8,
    to_tensor,
    to_uint8,
    write_png,
)


@pytest.fixture
def rgb():
    return np.random.default_rng(0).integers(0, 256, (13, 17, 3), dtype=np.uint8)


# BMP has neither 16 bits nor an alpha channel that all readers agree on.
FORMATS = [("bmp", 1, np.uint8), ("bmp", 3, np.uint8)] + [
    (suffix, channels, dtype)
    for suffix in ("png", "tif")
    for channels in (1, 3, 4)
    for dtype in (np.uint8, np.uint16)
]


@pytest.mark.parametrize(("suffix", "channels", "dtype"), FORMATS)
def test_read_image_keeps_channels_and_depth(tmp_path, suffix, channels, dtype):
    top = np.iinfo(dtype).max
    pixels = np.random.default_rng(1).integers(0, top, (9, 7, channels), dtype=dtype, endpoint=True)
    order = {1: slice(None), 3: [2, 1, 0], 4: [2, 1, 0, 3]}[channels]
    assert cv2.imwrite(str(tmp_path / f"a.{suffix}"), pixels[..., order])
    read = read_image(tmp_path / f"a.{suffix}").pixels
    assert read.dtype == dtype
    np.testing.assert_array_equal(read, pixels)


def test_read_image_expands_palettes_and_keeps_their_transparency(tmp_path, rgb):
    image = PILImage.fromarray(rgb).quantize(16)
    image.save(tmp_path / "p.png")
    np.testing.assert_array_equal(read_rgb(tmp_path / "p.png"), np.asarray(image.convert("RGB")))
    image.save(tmp_path / "t.png", transparency=0)
    assert read_image(tmp_path / "t.png").pixels.shape == (13, 17, 4)


def test_read_image_converts_cmyk(tmp_path, rgb):
    PILImage.fromarray(rgb).convert("CMYK").save(tmp_path / "c.jpg")
    assert read_rgb(tmp_path / "c.jpg").shape == (13, 17, 3)


def test_read_image_keeps_profile_and_exif_and_does_not_rotate(tmp_path, rgb):
    exif = PILImage.Exif()
    exif[0x0112] = 6  # orientation: rotate by 90 degrees
    PILImage.fromarray(rgb).save(tmp_path / "o.png", exif=exif, icc_profile=b"profile")
    picture = read_image(tmp_path / "o.png")
    assert picture.icc == b"profile"
    assert picture.exif is not None
    np.testing.assert_array_equal(picture.pixels, rgb)


@pytest.mark.parametrize("suffix", ["png", "jpg", "webp", "tif", "bmp"])
@pytest.mark.parametrize("share", [0.0, 0.02, 0.5, 0.95])
def test_truncated_files_are_errors_of_one_line(tmp_path, suffix, share):
    path = tmp_path / f"t.{suffix}"
    noise = np.random.default_rng(2).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    PILImage.fromarray(noise).save(path)
    data = path.read_bytes()
    path.write_bytes(data[: int(len(data) * share)])
    with pytest.raises(InputError, match=str(path)) as caught:
        read_image(path)
    assert "\n" not in str(caught.value)


def test_truncated_16_bit_png_is_an_error(tmp_path):
    path = tmp_path / "t.png"
    cv2.imwrite(
        str(path), np.random.default_rng(3).integers(0, 65536, (64, 64, 3)).astype("uint16")
    )
    path.write_bytes(path.read_bytes()[:-9000])
    with pytest.raises(InputError, match="damaged"):
        read_image(path)


def test_other_files_folders_and_missing_ones_are_errors(tmp_path):
    (tmp_path / "text.png").write_text("not an image")
    for path in (tmp_path / "text.png", tmp_path, tmp_path / "missing.png"):
        with pytest.raises(InputError, match=str(path)):
            read_image(path)


def test_bombs_are_refused_before_they_are_decoded(tmp_path):
    PILImage.new("L", (300, 300)).save(tmp_path / "b.png")
    with pytest.raises(InputError, match=r"more than 89999 pixels.*DESRA_MAX_PIXELS"):
        read_image(tmp_path / "b.png", max_pixels=89999)
    assert read_image(tmp_path / "b.png", max_pixels=90000).pixels.shape == (300, 300, 1)


def test_rgb8_repeats_grey_drops_alpha_and_rounds_16_bits():
    values = np.arange(65536, dtype=np.uint16).reshape(256, 256, 1)
    reduced = rgb8(np.concatenate([values, values], axis=2))
    assert reduced.shape == (256, 256, 3)
    np.testing.assert_array_equal(reduced[..., 2], np.round(values[..., 0] / 257.0))


@given(
    hnp.arrays(
        st.sampled_from([np.uint8, np.uint16]),
        st.tuples(st.integers(1, 9), st.integers(1, 9), st.sampled_from([3, 4])),
    )
)
@settings(max_examples=20, deadline=None)
def test_png_round_trip(tmp_path_factory, pixels):
    path = tmp_path_factory.mktemp("png") / "a.png"
    write_png(path, pixels)
    np.testing.assert_array_equal(read_image(path).pixels, pixels)


def test_masks_are_written_as_0_and_255(tmp_path):
    mask = np.eye(6, dtype=bool)
    write_png(tmp_path / "m.png", mask)
    np.testing.assert_array_equal(
        cv2.imread(str(tmp_path / "m.png"), cv2.IMREAD_UNCHANGED), np.where(mask, 255, 0)
    )
    np.testing.assert_array_equal(read_rgb(tmp_path / "m.png")[..., 0] > 0, mask)


def test_tensors_and_pixels_are_inverse(rgb):
    tensor = to_tensor(rgb)
    assert tensor.shape == (1, 3, 13, 17)
    assert tensor.max() <= 1
    np.testing.assert_array_equal(to_uint8(tensor), rgb)


def test_quantize_clamps_rounds_and_refuses_nan():
    values = torch.tensor([-0.3, 0.0, 0.4999 / 255, 0.5001 / 255, 1.0, 1.7])
    assert quantize(values).tolist() == [0, 0, 0, 1, 255, 255]
    with pytest.raises(InputError, match="NaN"):
        quantize(torch.tensor([0.5, float("nan")]))


@pytest.mark.parametrize("values", [[0.0, 200.0], [-40.0, 0.5], [-1e9, 1e9]])
def test_floats_that_are_not_in_0_to_1_are_refused(values):
    with pytest.raises(InputError, match=r"give floats in \[0, 1\], or uint8"):
        quantize(torch.tensor(values))
    assert quantize(torch.tensor(values).to(torch.uint8)).dtype == torch.uint8


@pytest.mark.parametrize("options", [{}, {"progressive": True}, {"subsampling": 0}])
@pytest.mark.parametrize("mode", ["RGB", "L", "CMYK"])
@pytest.mark.parametrize("cut", [0.3, 0.98])
def test_a_jpeg_cut_short_is_damaged_though_it_ends_as_a_whole_one(tmp_path, mode, options, cut):
    pixels = np.random.default_rng(0).integers(0, 256, (90, 120, 3), dtype=np.uint8)
    PILImage.fromarray(pixels).convert(mode).save(tmp_path / "a.jpg", quality=90, **options)
    data = (tmp_path / "a.jpg").read_bytes()
    assert read_image(tmp_path / "a.jpg").pixels.shape[:2] == (90, 120)
    (tmp_path / "a.jpg").write_bytes(data + b"some bytes after the end")
    assert read_image(tmp_path / "a.jpg").pixels.shape[:2] == (90, 120)
    (tmp_path / "a.jpg").write_bytes(data[: int(cut * len(data))] + b"\xff\xd9")
    with pytest.raises(InputError, match=r"a\.jpg: damaged image"):
        read_image(tmp_path / "a.jpg")


def png_that_says(width, height, content=b""):
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    chunks = [(b"IHDR", header), (b"IDAT", zlib.compress(content)), (b"IEND", b"")]
    body = b"".join(
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        for kind, data in chunks
    )
    return b"\x89PNG\r\n\x1a\n" + body


def jpeg_that_says(width, height):
    file = io.BytesIO()
    PILImage.new("RGB", (16, 16)).save(file, "JPEG")
    data = file.getvalue()
    place = data.index(b"\xff\xc0") + 5
    return data[:place] + struct.pack(">HH", height, width) + data[place + 4 :]


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (png_that_says(16000, 16000), "cannot be in"),
        (png_that_says(60000, 60000), "DESRA_MAX_PIXELS"),
        (png_that_says(1, 2**27), "longer than"),
        (jpeg_that_says(16000, 16000), "cannot be in"),
        (jpeg_that_says(65000, 65000), "DESRA_MAX_PIXELS"),
    ],
)
def test_bombs_are_refused_by_their_headers(tmp_path, data, message):
    (tmp_path / "a.png").write_bytes(data)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(InputError, match=message):
        read_image(tmp_path / "a.png")
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss < before + 100_000  # KiB


@pytest.mark.parametrize("form", ["GIF", "AVIF", "JPEG2000", "PPM", "JPEG", "WEBP"])
def test_content_says_what_a_file_is(tmp_path, rgb, form):
    PILImage.fromarray(rgb).save(tmp_path / "a.png", form)
    assert read_rgb(tmp_path / "a.png").shape == rgb.shape


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"<html>", "a web page"),
        (b"\0\0\0\x18ftypheic" + bytes(40), "a HEIC picture"),
        (
            b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n",
            "not an image this program can read",
        ),
        (b"\0\0\0\x20ftypavif" + bytes(60), "damaged"),
        (b"", "empty"),
    ],
)
def test_what_is_no_image_is_one_line(tmp_path, content, message):
    (tmp_path / "a.jpg").write_bytes(content)
    with pytest.raises(InputError, match=message):
        read_image(tmp_path / "a.jpg")


def test_reads_sizes_from_headers(tmp_path, rgb):
    write_png(tmp_path / "a.png", rgb)
    assert image_size(tmp_path / "a.png") == (13, 17)
    (tmp_path / "text.png").write_text("no image")
    with pytest.raises(InputError, match="not an image"):
        image_size(tmp_path / "text.png")
    with pytest.raises(InputError, match="No such file"):
        image_size(tmp_path / "absent.png")


@pytest.mark.parametrize(("height", "width"), [(0, 5), (5, 0)])
def test_an_image_without_pixels_is_damaged(tmp_path, height, width):
    (tmp_path / "a.png").write_bytes(png_that_says(width, height))
    with pytest.raises(InputError, match=r"a\.png: "):
        read_image(tmp_path / "a.png")
