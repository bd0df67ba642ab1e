import json

import numpy as np
import pytest

from datamodules.mask_pairs import MaskPairs
from desra.errors import InputError
from desra.images import write_png

EMPTY = np.zeros((12, 12), bool)


@pytest.fixture
def roots(tmp_path):
    """A root of detected masks and one of labels: one pair, and one of each without a partner."""
    pred, gt = tmp_path / "pred", tmp_path / "gt"
    for path in (pred / "sub" / "both.png", pred / "only-pred.png", gt / "only-gt.png"):
        write_png(path, EMPTY)
    (gt / "sub").mkdir()
    label = {"shapes": [], "imageHeight": 12, "imageWidth": 12}
    (gt / "sub" / "both.json").write_text(json.dumps(label))
    write_png(gt / "sub" / "both.png", EMPTY)  # the picture that the JSON was drawn on
    return pred, gt


def test_pairs_by_relative_path_and_names_what_has_no_partner(roots):
    pred, gt = roots
    only_gt, only_pred, both = MaskPairs(pred, gt).matches
    assert (only_gt.key, only_pred.key, both.key) == ("only-gt", "only-pred", "sub/both")
    assert both.error is None
    assert both.paths == {"mask": pred / "sub/both.png", "gt_mask": gt / "sub/both.json"}
    assert only_gt.error.startswith(f"no detected mask in {pred}; ")
    assert only_pred.error.startswith(f"no label in {gt}; ")
    assert all("unmatched=skip" in match.error for match in (only_gt, only_pred))


def test_unmatched_images_can_be_left_out(roots):
    assert [match.key for match in MaskPairs(*roots, unmatched="skip").matches] == ["sub/both"]
    with pytest.raises(InputError, match="unmatched=drop: give error or skip"):
        MaskPairs(*roots, unmatched="drop")


def test_single_files_match_whatever_their_names(roots):
    pred, gt = roots
    (match,) = MaskPairs(pred / "only-pred.png", gt / "only-gt.png").matches
    assert match.error is None
    assert match.paths == {"mask": pred / "only-pred.png", "gt_mask": gt / "only-gt.png"}
    write_png(gt / "only-pred.png", EMPTY)
    (match,) = MaskPairs(pred / "only-pred.png", gt).matches
    assert match.paths["gt_mask"] == gt / "only-pred.png"


def test_pictures_are_found_beside(roots, tmp_path):
    write_png(tmp_path / "gan" / "sub" / "both.png", np.zeros((12, 12, 3), np.uint8))
    matches = {match.key: match for match in MaskPairs(*roots, gan_root=tmp_path / "gan").matches}
    assert matches["sub/both"].paths["gan_sr"] == tmp_path / "gan" / "sub" / "both.png"
    assert "gan_sr" not in matches["only-pred"].paths


def test_two_labels_of_one_name(roots):
    pred, gt = roots
    write_png(gt / "only-pred.png", EMPTY)
    (gt / "only-pred.jpg").write_bytes(b"")
    matches = {match.key: match for match in MaskPairs(pred, gt).matches}
    error = matches["only-pred"].error
    assert error == f"only-pred.jpg and only-pred.png share one name in {gt}; keep one of them"


def test_folders_without_a_common_name(roots, tmp_path):
    write_png(tmp_path / "other" / "both.png", EMPTY)
    with pytest.raises(InputError, match="no label has the relative path of a mask in"):
        MaskPairs(roots[0], tmp_path / "other")
    with pytest.raises(InputError, match="no such file or folder"):
        MaskPairs(roots[0], tmp_path / "none")


def test_roots_that_are_not_given(roots):
    with pytest.raises(InputError, match="pred_root: give the folder of detected masks"):
        MaskPairs(None, roots[1])
    with pytest.raises(InputError, match="gt_root: give the folder of labels"):
        MaskPairs(roots[0], None)
