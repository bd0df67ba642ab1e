import json
import shutil

import cv2
import numpy as np
import pytest

from datamodules.artifact_folders import find_artifact_set
from desra.errors import InputError
from desra.images import write_png
from desra.rim import read_mask_of

SIZES = {"a": (20, 24), "sub/b": (16, 30)}


def test_matches_by_relative_path_whatever_the_suffix(make_artifact_set):
    root = make_artifact_set(SIZES)
    picture = cv2.imread(str(root / "MSE-SR/a.png"))
    cv2.imwrite(str(root / "MSE-SR/a.webp"), picture)
    (root / "MSE-SR/a.png").unlink()
    shutil.rmtree(root / "GT-Mask")
    found = find_artifact_set(root)
    assert (found.errors, found.left_out) == ([], [])
    first, second = found.tuples
    assert (first.key, second.key) == ("a", "sub/b")
    assert first.paths["mse_sr"].name == "a.webp"
    assert (second.lr_size, second.sr_size, second.scale) == ((16, 30), (64, 120), 4)
    assert set(second.paths) == {"lr", "mse_sr", "gan_sr", "mask"}


def test_looks_one_level_deeper_for_methods(make_artifact_set, tmp_path):
    root = tmp_path / "release"
    shutil.move(make_artifact_set(SIZES), root / "LDL")
    assert len(find_artifact_set(root).tuples) == 2  # the only one there
    shutil.move(make_artifact_set({"c": (16, 16)}), root / "SwinIR")
    assert [item.key for item in find_artifact_set(root, "SwinIR").tuples] == ["c"]
    with pytest.raises(InputError, match=r"data\.method=LDL\|SwinIR"):
        find_artifact_set(root)
    with pytest.raises(InputError, match="no artifact set of method GAN; it has LDL, SwinIR"):
        find_artifact_set(root, "GAN")


def test_folders_may_have_other_names(make_artifact_set):
    root = make_artifact_set(SIZES)
    (root / "DeSRA-Mask").rename(root / "Final_Artifact_Map")
    found = find_artifact_set(root, folder_names={"mask": "Final_Artifact_Map"})
    assert all("mask" in item.paths for item in found.tuples)


def test_says_which_folders_are_missing(make_artifact_set, tmp_path):
    root = make_artifact_set(SIZES)
    shutil.rmtree(root / "GAN-SR")
    with pytest.raises(InputError, match="folders missing: GAN-SR"):
        find_artifact_set(root)
    with pytest.raises(InputError, match="no such folder"):
        find_artifact_set(tmp_path / "absent")


def test_leaves_out_what_has_no_partner_and_says_so(make_artifact_set):
    root = make_artifact_set(SIZES)
    (root / "GAN-SR/a.png").unlink()
    write_png(root / "GT-Mask/stray.png", np.zeros((8, 8), bool))
    found = find_artifact_set(root)
    assert [item.key for item in found.tuples] == ["sub/b"]
    assert len(found.left_out) == 2
    assert found.left_out[0].startswith("a: no partner in")
    assert found.left_out[1] == "stray: labelled, but not upscaled"


def test_gathers_wrong_sizes_and_scales(make_artifact_set):
    root = make_artifact_set(dict.fromkeys("abcdef", (16, 16)))
    write_png(root / "MSE-SR/a.png", np.zeros((64, 60, 3), np.uint8))
    write_png(root / "LR/b.png", np.zeros((15, 16, 3), np.uint8))
    write_png(root / "LR/c.png", np.zeros((32, 32, 3), np.uint8))
    (root / "LR/d.png").write_text("no image")
    write_png(root / "LR/f.png", np.zeros((65, 65, 3), np.uint8))
    errors = find_artifact_set(root).errors
    said = [
        "LR is 16x16, MSE-SR 60x64",
        "LR is 16x15",
        "not an image",
        "LR is 65x65",
        "upscaled ×2",
    ]
    assert len(errors) == len(said)
    assert all(part in line for part, line in zip(said, errors, strict=True))


def test_labels_may_be_labelme_json_or_doubled(make_artifact_set):
    root = make_artifact_set(SIZES)
    shape = {"label": "x", "points": [[8, 4], [15, 11]], "shape_type": "rectangle"}
    record = {"shapes": [shape], "imageWidth": 96, "imageHeight": 80}
    (root / "GT-Mask/a.json").write_text(json.dumps(record))
    item = find_artifact_set(root).tuples[0]
    assert item.paths["gt_mask"].name == "a.json"
    mask = read_mask_of(item.paths["gt_mask"], item.sr_size)
    assert mask.sum() == 64
    assert mask[4:12, 8:16].all()
    cv2.imwrite(str(root / "GT-Mask/sub/b.bmp"), np.zeros((64, 120), np.uint8))
    (error,) = find_artifact_set(root).errors
    assert "b.bmp and b.png share one name in" in error
