"""Folders of images for prediction: what is served, what is refused."""

import os
import sys

import pytest

from datamodules.image_folders import ImageFolders, _end_with_parent
from desra.files import Match, write_text
from desra.images import read_rgb
from desra.ledger import Ledger

SETTINGS = {"a": 1}


class Reading:
    """A task that reads one image."""

    def inputs(self, match: Match):
        return list(match.paths.values())

    def load(self, match: Match):
        return read_rgb(match.paths["gan_sr"]).shape


@pytest.fixture
def bound(make_pairs, tmp_path):
    pairs = make_pairs(4)
    folders = ImageFolders({"mse_sr": pairs / "MSE-SR", "gan_sr": pairs / "GAN-SR"}, num_workers=0)
    folders.bind(Reading(), Ledger(tmp_path / "out", "read", SETTINGS))
    return folders


def samples(folders):
    return [sample for batch in folders.predict_dataloader() for sample in batch]


def test_each_image_is_served_once_in_order(bound):
    assert [sample.match.key for sample in samples(bound)] == [
        "set0/000",
        "set0/002",
        "set1/001",
        "set1/003",
    ]
    assert {sample.payload for sample in samples(bound)} == {(120, 160, 3)}


def test_finished_images_are_served_with_their_row_and_not_read(bound, tmp_path):
    first = samples(bound)[0]
    Ledger(tmp_path / "out", "read", SETTINGS).record(
        first.match.key, first.fingerprint, {"image": first.match.key}
    )
    first, second = samples(bound)[:2]
    assert (first.row, first.payload) == ({"image": "set0/000"}, None)
    assert (second.row, second.payload) == (None, (120, 160, 3))


def test_what_cannot_be_read_is_an_error_of_that_image(bound):
    write_text(bound.matches[1].paths["gan_sr"], "not an image")
    bound.matches[2].paths["gan_sr"].unlink()
    errors = [sample.error for sample in samples(bound)]
    assert errors[0] is errors[3] is None
    assert "not an image" in errors[1]
    assert "No such file" in errors[2]


@pytest.mark.skipif(sys.platform != "linux", reason="prctl is Linux's")
def test_a_reader_whose_parent_was_killed_before_it_began_ends():
    child = os.fork()
    if not child:
        _end_with_parent(os.getpid(), 0)  # another process than its parent
        os._exit(0)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 1
