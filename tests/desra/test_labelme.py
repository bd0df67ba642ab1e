"""Labels from LabelMe's JSON and from mask images.

The expected masks come from OpenCV's exact point-in-polygon test and from plain coordinates. Only
pixels nearer to an outline than a pixel are left to the drawing routine, which is the one LabelMe
uses.
"""

import base64
import io
import json

import cv2
import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from PIL import Image, ImageOps

from desra.errors import InputError
from desra.images import write_png
from desra.labelme import find_gt_masks, read_gt_mask, read_labelme
from desra.masks import read_mask_image

WIDTH, HEIGHT = 40, 30
ROWS, COLUMNS = np.mgrid[:HEIGHT, :WIDTH]


def shape(points, kind="polygon", **more):
    return {"label": "artifact", "points": points, "shape_type": kind, "flags": {}, **more}


def write_json(path, *shapes, **more):
    record = {"version": "5.4.1", "flags": {}, "shapes": list(shapes), "imagePath": "a.png"}
    record |= {"imageData": None, "imageHeight": HEIGHT, "imageWidth": WIDTH, **more}
    path.write_text(json.dumps(record))
    return path


def png_base64(pixels):
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "PNG")
    return base64.b64encode(file.getvalue()).decode()


@pytest.fixture
def drawn(tmp_path):
    return lambda *shapes, **more: read_gt_mask(write_json(tmp_path / "a.json", *shapes, **more))


COORDINATE = st.tuples(st.floats(-5, WIDTH + 5), st.floats(-5, HEIGHT + 5))


@settings(deadline=None, max_examples=60)
@given(st.lists(COORDINATE, min_size=3, max_size=3), st.sampled_from(["polygon", None]))
def test_polygon_holds_what_lies_inside_it(tmp_path_factory, points, kind):
    path = tmp_path_factory.mktemp("labels") / "a.json"
    mask = read_labelme(write_json(path, shape(points, kind)))
    contour = np.array(points, np.float32)
    assume(cv2.contourArea(contour) > 1)  # of a line, the drawing routine paints what it likes
    signed = np.array(
        [
            [cv2.pointPolygonTest(contour, (float(x), float(y)), True) for x in range(WIDTH)]
            for y in range(HEIGHT)
        ]
    )
    assert mask.shape == (HEIGHT, WIDTH)
    assert mask[signed > 1].all()
    assert not mask[signed < -2].any()  # 1.66 at the tips of 4,000 random triangles


@pytest.mark.parametrize("corners", [[[4, 6], [20, 11]], [[20, 11], [4, 6]], [[20, 6], [4, 11]]])
def test_rectangle_includes_both_corners_in_any_order(drawn, corners):
    expected = (COLUMNS >= 4) & (COLUMNS <= 20) & (ROWS >= 6) & (ROWS <= 11)
    assert np.array_equal(drawn(shape(corners, "rectangle")), expected)


@pytest.mark.parametrize(
    ("kind", "points", "radius"),
    [("circle", [[18, 14], [18, 23]], 9), ("point", [[18, 14]], 5)],
)
def test_round_shapes(drawn, kind, points, radius):
    distance = np.hypot(COLUMNS - 18, ROWS - 14)
    mask = drawn(shape(points, kind))
    assert mask[distance <= radius - 1].all()
    assert not mask[distance > radius + 1].any()


def test_lines_are_ten_pixels_wide(drawn):
    line = drawn(shape([[10, 15], [30, 15]], "line"))
    assert np.array_equal(np.flatnonzero(line.any(0)), np.arange(10, 31))
    assert 10 <= line[:, 20].sum() <= 11
    corner = drawn(shape([[8, 8], [30, 8], [30, 24]], "linestrip"))
    assert corner[8, 8:30].all()
    assert corner[8:24, 30].all()
    assert not corner[5, 33]  # the outer side of the joint is notched, as LabelMe's export is


def test_oriented_rectangle(drawn):
    corners = [[20, 4], [30, 14], [20, 24], [10, 14]]
    distance = abs(COLUMNS - 20) + abs(ROWS - 14)
    assert np.array_equal(drawn(shape(corners, "oriented_rectangle")), distance <= 10)


def test_mask_shape_is_placed_and_cut_at_the_image(drawn):
    patch = np.array([[0, 1, 1], [1, 1, 0]], np.uint8)
    mask = drawn(shape([[5, 7], [7, 8]], "mask", mask=png_base64(patch)))
    expected = np.zeros((HEIGHT, WIDTH), bool)
    expected[7:9, 5:8] = patch
    assert np.array_equal(mask, expected)
    mask = drawn(shape([[-1, HEIGHT - 1], [1, HEIGHT]], "mask", mask=png_base64(patch)))
    assert np.array_equal(np.argwhere(mask), [[HEIGHT - 1, 0], [HEIGHT - 1, 1]])


def test_shapes_of_any_label_are_united_and_no_shape_is_an_empty_mask(drawn):
    both = drawn(shape([[1, 1], [3, 3]], "rectangle"), shape([[9, 9], [9, 9]], "rectangle"))
    assert both.sum() == 10
    assert not drawn().any()


def test_size_of_old_files_is_that_of_the_picture_within(drawn):
    data = png_base64(np.zeros((12, 21, 3), np.uint8))
    mask = drawn(
        shape([[1, 1], [3, 3]], "rectangle"), imageData=data, imageHeight=None, imageWidth=None
    )
    assert mask.shape == (12, 21)


def test_size_in_numbers_that_are_whole(drawn):
    assert drawn(imageHeight=12.0, imageWidth=21.0).shape == (12, 21)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (b"", "damaged JSON"),
        (b"\xff\xfe{}", "damaged JSON"),
        (b'{"shapes": [', "damaged JSON"),
        (b"[1, 2]", "no list of shapes"),
        (b'{"annotations": []}', "no list of shapes"),
        (b'{"shapes": []}', "imageWidth and imageHeight are None and None"),
        (b'{"shapes": [], "imageWidth": "4", "imageHeight": 4}', "are 4 and 4"),
        (b'{"shapes": [], "imageData": "bm90IGFuIGltYWdl"}', "imageData is not an image"),
        (b'{"shapes": [], "imageWidth": 99999999, "imageHeight": 99999999}', "more than max"),
        (b'{"shapes": ["a"], "imageWidth": 4, "imageHeight": 4}', "shape 1: not an object"),
    ],
)
def test_files_that_are_not_labels(tmp_path, text, message):
    path = tmp_path / "bad.json"
    path.write_bytes(text)
    with pytest.raises(InputError, match=message) as raised:
        read_gt_mask(path)
    assert str(path) in str(raised.value)
    assert "\n" not in str(raised.value)


PATCH = png_base64(np.ones((2, 2), np.uint8))


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        (shape([[1, 1], [3, 3], [4, 1]], "spline"), "unknown type 'spline'"),
        (shape([[1, 1], [3, 3]]), "a polygon of 2 points"),
        (shape([[1, 1]], "rectangle"), "a rectangle of 1 points"),
        (shape([[1, 1], [2, 2]], "point"), "a point of 2 points"),
        (shape([[1, 1], [2]], "line"), "not pairs of numbers"),
        (shape(None), "not pairs of numbers"),
        (shape([[1, 1], [float("nan"), 2]], "line"), "not finite"),
        (shape([[1, 1], [2, 2]], "mask"), "its mask is not an image"),
        (shape([[1, 1], [2, 2]], "mask", mask=PATCH[:60]), "its mask is not an image"),
        (
            shape([[1, 1], [2, 2]], "mask", mask=png_base64(np.ones((2, 2, 3), np.uint8))),
            "not grey",
        ),
    ],
)
def test_shapes_that_labelme_would_not_draw(drawn, bad, message):
    with pytest.raises(InputError, match=f"shape 2: .*{message}"):
        drawn(shape([[1, 1], [3, 3]], "rectangle"), bad)


@pytest.mark.parametrize("label", ["__ignore__", "_background_", "background"])
def test_what_is_called_no_artifact_is_none_and_covers_earlier_shapes(drawn, label):
    whole, part = shape([[2, 2], [20, 20]], "rectangle"), shape([[5, 5], [9, 9]], "rectangle")
    expected = np.zeros((HEIGHT, WIDTH), bool)
    expected[2:21, 2:21] = True
    assert np.array_equal(drawn({**part, "label": label}, whole), expected)
    expected[5:10, 5:10] = False
    assert np.array_equal(drawn(whole, {**part, "label": label}), expected)
    patch = png_base64(np.ones((5, 5), np.uint8))
    ignored = {**shape([[5, 5], [9, 9]], "mask", mask=patch), "label": label}
    assert np.array_equal(drawn(whole, ignored), expected)


@pytest.mark.parametrize("turn", range(1, 9))
@pytest.mark.parametrize("beside", [True, False])
@pytest.mark.parametrize("size", [(WIDTH, HEIGHT), (40, 40)])
def test_labels_are_turned_back_onto_the_pixels_of_a_picture_that_exif_turns(
    tmp_path, turn, beside, size
):
    exif = Image.Exif()
    exif[0x0112] = turn
    file_pixels = np.zeros((size[1], size[0]), np.uint8)
    file_pixels[3:11, 5:18] = 255
    picture = (tmp_path if beside else tmp_path.parent) / f"turned{turn}.png"
    Image.fromarray(file_pixels).save(picture, exif=exif)
    upright = np.asarray(ImageOps.exif_transpose(Image.open(picture)))
    (top, left), (bottom, right) = (
        end(np.argwhere(upright), 0).tolist() for end in (np.min, np.max)
    )
    label = write_json(
        tmp_path / "label.json",
        shape([[left, top], [right, bottom]], "rectangle"),
        imageWidth=upright.shape[1],
        imageHeight=upright.shape[0],
        imagePath=picture.name,
    )
    mask = read_gt_mask(label, drawn_on=None if beside else picture)
    assert np.array_equal(mask, file_pixels > 0)


def test_a_label_of_the_files_own_size_was_not_turned(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.new("L", (WIDTH, HEIGHT)).save(tmp_path / "a.png", exif=exif)
    label = write_json(tmp_path / "a.json", shape([[1, 1], [3, 2]], "rectangle"))
    assert read_gt_mask(label).sum() == 6
    assert read_gt_mask(label)[1:3, 1:4].all()


@pytest.mark.parametrize(
    ("shapes", "more", "message"),
    [
        ([shape([[5, 5], [5, 1e6]], "circle")], {}, "shape 1: it reaches far outside"),
        ([shape([[0, 0], [1e300, 2], [5, 5]])], {}, "shape 1: it reaches far outside"),
        ([shape([[0, 0], [10**400, 2], [5, 5]])], {}, "not pairs of numbers"),
        ([shape([[0, 0], [9, 9]], "rectangle")] * 300_000, {}, "more than a person draws"),
        ([shape([[i % 40, i % 29] for i in range(2_000_000)])], {}, "more than a person draws"),
        ([], {"imageWidth": 1, "imageHeight": 2**27}, "more than max_pixels"),
        ([], {"imageWidth": 10**30, "imageHeight": 1}, "imageWidth and imageHeight"),
        ([shape([[1, 1], [2, 2]], {"a": 1})], {}, "its type is no text"),
        ([shape(None)], {}, "not pairs"),
        ([shape([[1, 1], [9, 9]], "mask", mask=7)], {}, "not an image in base64"),
    ],
)
def test_what_would_draw_for_minutes_is_refused(drawn, shapes, more, message):
    with pytest.raises(InputError, match=message):
        drawn(*shapes, **more)


def test_json_nested_too_deeply(tmp_path):
    path = tmp_path / "a.json"
    path.write_text('{"shapes": ' + "[" * 100_000 + "]" * 100_000 + "}")
    with pytest.raises(InputError, match="nested too deeply"):
        read_gt_mask(path)


def test_missing_file(tmp_path):
    with pytest.raises(InputError, match="No such file"):
        read_gt_mask(tmp_path / "none.json")


MASK = np.random.default_rng(0).random((9, 13)) < 0.4


@pytest.mark.parametrize(
    "pixels",
    [
        MASK.astype(np.uint8) * 255,
        MASK.astype(np.uint8),
        MASK.astype(np.uint16) * 65535,
        MASK.astype(np.uint16),
        MASK[..., None] * np.uint8([0, 128, 0]),
        np.dstack([MASK * np.uint8(255)] * 3 + [np.full(MASK.shape, 255, np.uint8)]),
        np.where(MASK, np.uint8(200), np.uint8(40)) + np.arange(13, dtype=np.uint8),
    ],
    ids=["0/255", "0/1", "16 bit", "16 bit 0/1", "one colour", "alpha", "grey levels"],
)
def test_mask_images_of_other_programs(tmp_path, pixels):
    write_png(tmp_path / "mask.png", pixels)
    assert np.array_equal(read_gt_mask(tmp_path / "mask.png"), MASK)


@pytest.mark.parametrize("value", [False, True])
def test_mask_images_of_one_value(tmp_path, value):
    write_png(tmp_path / "mask.png", np.full((4, 5), value))
    assert np.array_equal(read_mask_image(tmp_path / "mask.png"), np.full((4, 5), value))


def test_palette_mask(tmp_path):
    image = Image.fromarray(MASK.astype(np.uint8), "L").convert("P")
    image.putpalette([0, 0, 0, 128, 0, 0])
    image.save(tmp_path / "label.png")
    assert np.array_equal(read_gt_mask(tmp_path / "label.png"), MASK)


def test_a_photo_is_no_mask(tmp_path):
    photo = np.random.default_rng(1).integers(0, 256, (8, 8, 3), dtype=np.uint8)
    write_png(tmp_path / "photo.png", photo)
    with pytest.raises(InputError, match=r"photo\.png: a picture in colour, not a mask"):
        read_gt_mask(tmp_path / "photo.png")


def test_json_beside_the_picture_it_was_drawn_on_is_the_label(tmp_path):
    (tmp_path / "sub").mkdir()
    label = write_json(tmp_path / "sub" / "1.json")
    write_png(tmp_path / "sub" / "1.png", np.zeros((3, 3), np.uint8))
    write_png(tmp_path / "2.png", np.zeros((3, 3), np.uint8))
    Image.new("L", (3, 3)).save(tmp_path / "2.bmp")
    assert find_gt_masks(tmp_path) == {
        "2": [tmp_path / "2.bmp", tmp_path / "2.png"],
        "sub/1": [label],
    }
    assert find_gt_masks(label) == {"1": [label]}
    with pytest.raises(InputError, match="no images found"):
        find_gt_masks((tmp_path / "empty").mkdir() or tmp_path / "empty")
