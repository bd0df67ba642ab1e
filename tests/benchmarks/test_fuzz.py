"""A short form of `benchmarks.fuzz`: damaged files give one line, at once, in little memory."""

import pytest

from benchmarks.fuzz import fuzz


@pytest.mark.filterwarnings("ignore")
def test_damaged_files_of_every_kind_are_one_line(tmp_path):
    assert fuzz(400, 7, tmp_path) == []
