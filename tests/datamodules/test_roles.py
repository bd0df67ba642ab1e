"""Roles: which folder each has, and how their files match."""

import json

import numpy as np
import pytest

from datamodules.roles import Role, locate_roles, match_roles
from desra.errors import InputError
from desra.images import write_png

EMPTY = np.zeros((12, 12), bool)


def mask_pairs(pred, gt, gan_root=None, unmatched="error"):
    roles = {
        "mask": Role(pred, "mask"),
        "gt_mask": Role(gt, "label"),
        "gan_sr": Role(gan_root, required=False),
    }
    return match_roles(locate_roles(roles), unmatched)


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
    only_gt, only_pred, both = mask_pairs(pred, gt)
    assert (only_gt.key, only_pred.key, both.key) == ("only-gt", "only-pred", "sub/both")
    assert both.error is None
    assert both.paths == {"mask": pred / "sub/both.png", "gt_mask": gt / "sub/both.json"}
    assert only_gt.error.startswith(f"no partner in {pred}; ")
    assert only_pred.error.startswith(f"no partner in {gt}; ")
    assert "with no shape if it is clean" in only_pred.error
    assert all("unmatched=skip" in match.error for match in (only_gt, only_pred))


def test_unmatched_images_can_be_left_out(roots):
    assert [match.key for match in mask_pairs(*roots, unmatched="skip")] == ["sub/both"]
    with pytest.raises(InputError, match="unmatched=drop: give error or skip"):
        mask_pairs(*roots, unmatched="drop")


def test_single_files_match_whatever_their_names(roots):
    pred, gt = roots
    (match,) = mask_pairs(pred / "only-pred.png", gt / "only-gt.png")
    assert match.error is None
    assert match.paths == {"mask": pred / "only-pred.png", "gt_mask": gt / "only-gt.png"}
    write_png(gt / "only-pred.png", EMPTY)
    (match,) = mask_pairs(pred / "only-pred.png", gt)
    assert match.paths["gt_mask"] == gt / "only-pred.png"


def test_pictures_are_found_beside(roots, tmp_path):
    write_png(tmp_path / "gan" / "sub" / "both.png", np.zeros((12, 12, 3), np.uint8))
    matches = {match.key: match for match in mask_pairs(*roots, gan_root=tmp_path / "gan")}
    assert matches["sub/both"].paths["gan_sr"] == tmp_path / "gan" / "sub" / "both.png"
    assert "gan_sr" not in matches["only-pred"].paths


def test_two_labels_of_one_name(roots):
    pred, gt = roots
    write_png(gt / "only-pred.png", EMPTY)
    (gt / "only-pred.jpg").write_bytes(b"")
    matches = {match.key: match for match in mask_pairs(pred, gt)}
    error = matches["only-pred"].error
    assert error == f"only-pred.jpg and only-pred.png share one name in {gt}; keep one of them"


def test_folders_without_a_common_name(roots, tmp_path):
    write_png(tmp_path / "other" / "both.png", EMPTY)
    with pytest.raises(InputError, match="no label has the relative path of a file in"):
        mask_pairs(roots[0], tmp_path / "other")
    with pytest.raises(InputError, match="no such file or folder"):
        mask_pairs(roots[0], tmp_path / "none")


def test_roots_that_are_not_given(roots):
    with pytest.raises(InputError, match="no DeSRA-Mask: give pred_root=DIR"):
        mask_pairs(None, roots[1])
    with pytest.raises(InputError, match="no GT-Mask: give gt_root=DIR"):
        mask_pairs(roots[0], None)


def upscalings(root=None, more=None, **given):
    roles = {
        "mse_sr": {"root": given.get("mse_root"), "made_by": given.get("mse_weights")},
        "gan_sr": {"root": given.get("gan_root"), "made_by": given.get("gan_weights")},
        "lr": {"root": given.get("lr_root"), "required": False},
        **(more or {}),
    }
    return match_roles(locate_roles(roles, root))


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({}, "mse_root=DIR"),
        ({"mse_root": "m"}, "gan_root=DIR"),
        (
            {"mse_root": "m", "gan_root": "g", "gan_weights": "w"},
            "GAN-SR: give either gan_root=DIR",
        ),
        ({"mse_root": "m", "gan_weights": "w"}, "lr_root"),
    ],
)
def test_each_upscaling_is_given_or_made_and_not_both(given, says):
    with pytest.raises(InputError, match=says):
        upscalings(**given)


def test_roles_that_are_made_need_no_folder(make_pairs):
    pairs = make_pairs(1)
    (made,) = upscalings(lr_root=pairs / "LR", mse_weights="a", gan_weights="b")
    assert set(made.paths) == {"lr"}
    (half,) = upscalings(lr_root=pairs / "LR", mse_root=pairs / "MSE-SR", gan_weights="b")
    assert set(half.paths) == {"lr", "mse_sr"}
    (of_set,) = upscalings(pairs, gan_weights="b")
    assert set(of_set.paths) == {"lr", "mse_sr"}


def test_images_say_which_there_are_and_an_own_folder_goes_before_the_sets(make_pairs, tmp_path):
    root = make_pairs(2)
    for name in ("000", "stray"):
        write_png(tmp_path / "labels" / "set0" / f"{name}.png", EMPTY)
    labels = Role(tmp_path / "labels", "label")
    labelled, unlabelled = upscalings(root, {"gt_mask": labels})
    assert labelled.paths["gt_mask"] == tmp_path / "labels/set0/000.png"
    assert labelled.paths["lr"] == root / "LR/set0/000.png"
    assert (labelled.error, unlabelled.missing) == (None, ("gt_mask",))
    one = {"gan_sr": root / "GAN-SR/set0/000.png", "gt_mask": Role(root / "GT-Mask/set0", "label")}
    (match,) = match_roles(locate_roles(one))
    assert (match.key, set(match.paths)) == ("000", {"gan_sr", "gt_mask"})
