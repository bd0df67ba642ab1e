"""Finding, matching and writing files."""

import csv
import os
from pathlib import Path

import pytest

from desra.errors import DiskError, InputError
from desra.files import (
    atomic_path,
    file_digest,
    find_images,
    link_or_copy,
    match_folders,
    plain_text,
    write_table,
    write_text,
)
from tests.conftest import files_of_at_most


def touch(root: Path, *names: str) -> Path:
    for name in names:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(name.encode())
    return root


def test_find_images_at_any_depth_sorted_by_key(tmp_path):
    touch(tmp_path, "b.png", "a/2.JPG", "a/1.tif", "a/notes.txt", ".hidden/x.png", ".y.png")
    assert list(find_images(tmp_path)) == ["a/1", "a/2", "b"]


def test_find_images_takes_a_single_file(tmp_path):
    touch(tmp_path, "photo.v2.webp")
    assert find_images(tmp_path / "photo.v2.webp") == {"photo.v2": [tmp_path / "photo.v2.webp"]}


@pytest.mark.parametrize(("name", "says"), [("missing", "no such file"), ("empty", "no images")])
def test_find_images_says_what_is_wrong_with_the_root(tmp_path, name, says):
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match=says):
        find_images(tmp_path / name)


def test_match_folders_ignores_suffixes_and_names_missing_partners(tmp_path):
    mse = touch(tmp_path / "mse", "x/1.png", "2.png")
    gan = touch(tmp_path / "gan", "x/1.jpg", "3.png")
    lr = touch(tmp_path / "lr", "x/1.bmp")
    matches = {m.key: m for m in match_folders({"mse_sr": mse, "gan_sr": gan}, {"lr": lr})}
    assert list(matches) == ["2", "3", "x/1"]
    assert matches["x/1"].error is None
    assert {role: path.name for role, path in matches["x/1"].paths.items()} == {
        "mse_sr": "1.png",
        "gan_sr": "1.jpg",
        "lr": "1.bmp",
    }
    assert str(gan) in matches["2"].error
    assert str(mse) in matches["3"].error


def test_match_folders_refuses_two_files_of_one_key(tmp_path):
    mse, gan = touch(tmp_path / "mse", "1.png", "1.jpg"), touch(tmp_path / "gan", "1.png")
    (match,) = match_folders({"mse_sr": mse, "gan_sr": gan})
    assert "1.jpg and 1.png" in match.error


def test_match_folders_takes_two_single_files_of_any_name(tmp_path):
    touch(tmp_path, "m.png", "g.png")
    (match,) = match_folders({"mse_sr": tmp_path / "m.png", "gan_sr": tmp_path / "g.png"})
    assert match.key == "m"
    assert match.paths["gan_sr"].name == "g.png"


def test_atomic_path_leaves_nothing_when_the_writer_fails(tmp_path):
    target = tmp_path / "deep" / "file.png"
    write_text(target, "whole")

    def fail() -> None:
        with atomic_path(target) as temporary:
            temporary.write_text("half")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fail()
    assert target.read_text() == "whole"
    assert [path.name for path in target.parent.iterdir()] == ["file.png"]


def test_atomic_path_keeps_the_suffix_for_writers_that_go_by_it(tmp_path):
    with atomic_path(tmp_path / "a.webp") as temporary:
        assert temporary.suffix == ".webp"
        assert temporary.parent == tmp_path
        temporary.touch()


def test_a_disk_that_takes_no_more_is_no_fault_of_one_image(tmp_path):
    write_text(tmp_path / "table.csv", "before")
    with files_of_at_most(10), pytest.raises(DiskError) as caught:
        write_text(tmp_path / "table.csv", "longer than that")
    assert "table.csv: File too large; allow larger files" in str(caught.value)
    assert not isinstance(caught.value, InputError | OSError)
    assert [path.name for path in tmp_path.iterdir()] == ["table.csv"]
    assert (tmp_path / "table.csv").read_text() == "before"


def test_file_digest_follows_the_bytes(tmp_path):
    path = tmp_path / "a"
    path.write_bytes(b"one")
    first = file_digest(path)
    write_text(path, "two")
    second = file_digest(path)
    write_text(path, "one")
    assert first == file_digest(path) != second


@pytest.mark.parametrize("copy", [False, True])
def test_link_or_copy(tmp_path, copy):
    touch(tmp_path, "a.png")
    link_or_copy(tmp_path / "a.png", tmp_path / "to" / "b.png", copy=copy)
    assert (tmp_path / "to" / "b.png").read_bytes() == b"a.png"
    assert os.path.samefile(tmp_path / "a.png", tmp_path / "to" / "b.png") is not copy
    link_or_copy(tmp_path / "a.png", tmp_path / "a.png", copy=copy)
    assert (tmp_path / "a.png").read_bytes() == b"a.png"


def test_write_table_leaves_missing_values_empty(tmp_path):
    write_table(tmp_path / "t.csv", [{"a": 1, "x": 9}, {"b": 'say "hi", twice'}], ["a", "b"])
    assert (tmp_path / "t.csv").read_bytes() == b'a,b\n1,\n,"say ""hi"", twice"\n'


def test_names_in_tables_are_no_formulas(tmp_path):
    names = ["=1+1", "+a", "-a", "@a", "'=a", "a=b", "'a"]
    write_table(
        tmp_path / "t.csv", [{"image": name, "share": -0.5} for name in names], ["image", "share"]
    )
    rows = list(csv.DictReader((tmp_path / "t.csv").open()))
    assert [row["image"] for row in rows] == ["'=1+1", "'+a", "'-a", "'@a", "''=a", "a=b", "'a"]
    assert [plain_text(row["image"]) for row in rows] == names
    assert {row["share"] for row in rows} == {"-0.5"}
