"""Groups of sets as HGGT lays them out."""

import numpy as np
import pytest

from desra.errors import InputError
from desra.images import write_png
from tasks.regroup import Regroup


@pytest.fixture
def sets(tmp_path):
    for number in range(5):
        for version in ("original", "01"):
            suffix = "" if version == "original" else f"_{version}"
            path = tmp_path / "in" / version / f"p-{number}-0{suffix}.png"
            write_png(path, np.full((2, 2, 3), number, np.uint8))
    return tmp_path


def test_every_set_is_in_one_group(sets):
    assert Regroup(sets / "in", sets / "out", size=2).run() == []
    found = []
    for number, span in enumerate(("0-2", "2-4", "4-6"), start=1):
        group = sets / "out" / f"{number:02d}_subdir"
        assert (group / f"labels{span}/tagging").is_dir()
        names = (group / f"img_info_{span}.txt").read_text().splitlines()
        assert names == sorted(names)
        for version in ("original", "01"):
            there = sorted(path.name for path in (group / f"images{span}" / version).iterdir())
            assert [name.replace("_01", "") for name in there] == names
        found += names
    assert sorted(found) == [f"p-{number}-0.png" for number in range(5)]
    assert found != sorted(found)  # dealt out by chance
    (path,) = (sets / "out").rglob("original/p-3-0.png")
    assert path.samefile(sets / "in/original/p-3-0.png")


def test_a_stopped_run_goes_on_and_other_sets_are_refused(sets):
    Regroup(sets / "in", sets / "out", size=2, copy=True).run()
    (path,) = (sets / "out").rglob("original/p-3-0.png")
    (lost,) = (sets / "out").rglob("01/p-1-0_01.png")
    before = path.stat().st_mtime_ns
    assert not path.samefile(sets / "in/original/p-3-0.png")
    lost.unlink()
    Regroup(sets / "in", sets / "out", size=2, copy=True).run()
    assert lost.exists()
    assert path.stat().st_mtime_ns == before
    (sets / "in/original/p-3-0.png").unlink()
    with pytest.raises(InputError, match=r"sets 5 .*, not 4"):
        Regroup(sets / "in", sets / "out", size=2, copy=True).run()


def test_a_set_without_a_version_is_a_line_and_a_size_of_nothing_an_error(sets):
    (sets / "in/01/p-2-0_01.png").unlink()
    (problem,) = Regroup(sets / "in", sets / "out").run()
    assert "no file of p-2-0" in problem
    with pytest.raises(InputError, match="size=0"):
        Regroup(sets / "in", sets / "out", size=0)
