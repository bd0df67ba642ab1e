"""COCO's RLE beside pycocotools, and LabelMe's files: the same pixels again."""

import json

import numpy as np
import pytest
from pycocotools import mask as pycoco

from desra.coco import decode_rle, encode_rle, read_coco, write_coco
from desra.errors import InputError
from desra.labelme import read_labelme
from desra.labelme_writing import write_labelme


def masks():
    generator = np.random.default_rng(0)
    for number in range(60):
        height, width = generator.integers(1, 40, 2)
        yield generator.random((height, width)) < number / 59


def test_rle_is_that_of_pycocotools():
    for mask in masks():
        expected = pycoco.encode(np.asfortranarray(mask.astype(np.uint8)))
        rle = encode_rle(mask)
        assert rle == {"size": expected["size"], "counts": expected["counts"].decode()}
        assert np.array_equal(decode_rle(rle), mask)


def test_a_dataset_comes_back(tmp_path):
    given = {f"sub/{number}": mask for number, mask in enumerate(masks())}
    write_coco(tmp_path / "c.json", ((key, mask, "x.png") for key, mask in given.items()))
    found = read_coco(tmp_path / "c.json")
    assert found.keys() == given.keys()
    assert all(np.array_equal(found[key], given[key]) for key in given)


@pytest.mark.parametrize(
    "rle", [{}, {"size": [2, 2], "counts": "zzz"}, {"size": [2, 2], "counts": [1]}]
)
def test_what_is_no_rle_is_refused(rle):
    with pytest.raises(InputError):
        decode_rle(rle)


def test_damaged_files_are_refused(tmp_path):
    for text in ("{", "[]", json.dumps({"images": [{}], "annotations": []})):
        (tmp_path / "c.json").write_text(text)
        with pytest.raises(InputError, match=r"c\.json"):
            read_coco(tmp_path / "c.json")


@pytest.mark.parametrize("shapes", ["polygon", "mask"])
def test_labelme_reads_the_same_pixels(tmp_path, shapes):
    for mask in masks():
        write_labelme(tmp_path / "a.json", mask, tmp_path / "a.png", shapes)
        assert np.array_equal(read_labelme(tmp_path / "a.json"), mask)
