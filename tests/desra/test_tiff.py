"""TIFF of 16 bits in every arrangement: its pixels, or what kind it is."""

import numpy as np
import pytest
import tifffile

from desra.errors import InputError
from desra.images import image_size, read_image

RNG = np.random.default_rng(0)
GREY = RNG.integers(0, 65536, (20, 28), dtype=np.uint16)
RGB = RNG.integers(0, 65536, (20, 28, 3), dtype=np.uint16)
ALPHA = RNG.integers(0, 65536, (20, 28, 4), dtype=np.uint16)


@pytest.mark.parametrize(
    ("stored", "options", "expected"),
    [
        (GREY, {"photometric": "minisblack"}, GREY[..., None]),
        (GREY, {"photometric": "miniswhite"}, 65535 - GREY[..., None]),
        (RGB, {"photometric": "rgb"}, RGB),
        (RGB, {"photometric": "rgb", "bigtiff": True, "byteorder": ">"}, RGB),
        (RGB, {"photometric": "rgb", "compression": "zlib", "predictor": True}, RGB),
        (RGB, {"photometric": "rgb", "tile": (16, 16)}, RGB),
        (np.moveaxis(RGB, -1, 0), {"photometric": "rgb", "planarconfig": "separate"}, RGB),
        (ALPHA, {"photometric": "rgb", "extrasamples": ["unassalpha"]}, ALPHA),
        (
            ALPHA[..., :2],
            {
                "photometric": "minisblack",
                "planarconfig": "contig",
                "extrasamples": ["unassalpha"],
            },
            ALPHA[..., :2],
        ),
    ],
)
def test_pixels_are_those_stored(tmp_path, stored, options, expected):
    tifffile.imwrite(tmp_path / "a.tif", stored, **options)
    read = read_image(tmp_path / "a.tif").pixels
    assert read.dtype == np.uint16
    np.testing.assert_array_equal(read, expected)
    assert image_size(tmp_path / "a.tif") == (20, 28)


def test_colours_that_were_multiplied_by_alpha_are_restored_as_at_8_bits(tmp_path):
    colours = np.random.default_rng(3).integers(0, 256, (20, 28, 3), dtype=np.uint8)
    alpha = np.full((20, 28, 1), 128, np.uint8)
    alpha[:4] = 0
    stored = np.concatenate([np.round(colours * (alpha / 255)).astype(np.uint8), alpha], -1)
    for name, pixels in (("8.tif", stored), ("16.tif", stored.astype(np.uint16) * 257)):
        options = {"photometric": "rgb", "extrasamples": ["assocalpha"]}
        tifffile.imwrite(tmp_path / name, pixels, **options)
    shallow, deep = (read_image(tmp_path / name).pixels for name in ("8.tif", "16.tif"))
    np.testing.assert_allclose(deep / 257, shallow, atol=2)
    assert abs(deep[4:, :, :3] / 257 - colours[4:]).max() <= 2


@pytest.mark.parametrize("photometric", ["minisblack", "miniswhite"])
def test_lzw_is_read_by_libtiff(tmp_path, photometric):
    from PIL import Image

    code = {"minisblack": 1, "miniswhite": 0}[photometric]
    Image.fromarray(GREY).save(tmp_path / "a.tif", compression="tiff_lzw", tiffinfo={262: code})
    read = read_image(tmp_path / "a.tif").pixels[..., 0]
    with tifffile.TiffFile(tmp_path / "a.tif") as file:
        stored_white = file.pages.first.photometric == tifffile.PHOTOMETRIC.MINISWHITE
    np.testing.assert_array_equal(read, 65535 - GREY if stored_white else GREY)


@pytest.mark.parametrize(
    ("stored", "options", "message"),
    [
        (GREY.astype(np.float32), {}, "floating point"),
        (GREY.astype(np.int16), {}, "signed numbers"),
        (GREY.astype(np.uint32), {}, "32 bits"),
        (GREY.astype(np.int8), {}, "signed numbers"),
        (ALPHA, {"photometric": "separated"}, "SEPARATED"),
    ],
)
def test_what_is_not_read_is_whole_and_said_to_be_of_its_kind(tmp_path, stored, options, message):
    tifffile.imwrite(tmp_path / "a.tif", stored, **options)
    with pytest.raises(InputError, match=message) as raised:
        read_image(tmp_path / "a.tif")
    assert "damaged" not in str(raised.value)


def test_a_compression_that_nobody_here_knows_is_named(tmp_path):
    tifffile.imwrite(tmp_path / "a.tif", RGB, photometric="rgb", compression="zlib")
    with tifffile.TiffFile(tmp_path / "a.tif", mode="r+b") as file:
        file.pages.first.tags["Compression"].overwrite(34712)
    with pytest.raises(InputError, match="a TIFF of JPEG2000 compression, which is not read"):
        read_image(tmp_path / "a.tif")


@pytest.mark.parametrize("planar", ["contig", "separate"])
def test_a_cut_file_is_damaged(tmp_path, planar):
    stored = RGB if planar == "contig" else np.moveaxis(RGB, -1, 0)
    tifffile.imwrite(tmp_path / "a.tif", stored, photometric="rgb", planarconfig=planar)
    data = (tmp_path / "a.tif").read_bytes()
    (tmp_path / "a.tif").write_bytes(data[: len(data) - 900])
    with pytest.raises(InputError, match=r"a\.tif: damaged"):
        read_image(tmp_path / "a.tif")
