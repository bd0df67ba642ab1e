"""Finding files: regular ones, each folder once."""

import os

import pytest

from desra.errors import InputError
from desra.files import find_images, match_folders, write_text
from desra.folders import files_below


def below(root):
    return [path.relative_to(root).as_posix() for path in files_below(root)]


def test_loops_and_links_are_entered_once(tmp_path):
    write_text(tmp_path / "b" / "x.png", "")
    write_text(tmp_path / "a.png", "")
    (tmp_path / "self").symlink_to(".")
    (tmp_path / "again").symlink_to(".")
    (tmp_path / "b" / "up").symlink_to("..")
    (tmp_path / "a-link").symlink_to("b")
    assert below(tmp_path) == ["a.png", "b/x.png"]


def test_links_out_of_the_folder_are_followed(tmp_path):
    write_text(tmp_path / "elsewhere" / "deep" / "x.png", "")
    (tmp_path / "root").mkdir()
    (tmp_path / "root" / "one").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "root" / "two").symlink_to(tmp_path / "elsewhere" / "deep")
    (tmp_path / "root" / "nowhere").symlink_to(tmp_path / "missing")
    (tmp_path / "root" / "y.png").symlink_to(tmp_path / "elsewhere" / "deep" / "x.png")
    assert below(tmp_path / "root") == ["y.png", "one/deep/x.png"]


def test_pipes_and_devices_are_no_images(tmp_path):
    os.mkfifo(tmp_path / "x.png")
    (tmp_path / "zero.png").symlink_to("/dev/zero")
    write_text(tmp_path / "a.png", "")
    assert list(find_images(tmp_path)) == ["a"]
    with pytest.raises(InputError, match="neither a file nor a folder"):
        find_images(tmp_path / "x.png")


def test_formats_that_are_not_read_are_named_once(tmp_path, caplog):
    for name in ("a.png", "b.heic", "c.jxl", "notes.txt"):
        write_text(tmp_path / name, "")
    find_images(tmp_path)
    find_images(tmp_path)
    assert [record.getMessage().partition(": ")[2] for record in caplog.records] == [
        "left out, in a format that is not read: b.heic, c.jxl"
    ]


def test_what_cannot_be_looked_at_is_named_once(tmp_path, caplog, monkeypatch):
    write_text(tmp_path / "a.png", "")
    write_text(tmp_path / "closed" / "b.png", "")
    (tmp_path / "c.png").symlink_to("missing.png")
    scandir = os.scandir

    def refused(folder):
        if folder == tmp_path / "closed":
            raise PermissionError(13, "Permission denied")
        return scandir(folder)

    monkeypatch.setattr(os, "scandir", refused)  # the tests may run as root, who reads everything
    assert below(tmp_path) == below(tmp_path) == ["a.png"]
    assert [record.getMessage() for record in caplog.records] == [
        f"{tmp_path / 'c.png'}: left out: a link that leads nowhere",
        f"{tmp_path / 'closed'}: left out: Permission denied",
    ]


def test_a_name_that_is_not_utf_8_is_an_error_of_that_image(tmp_path):
    write_text(tmp_path / "ok.png", "")
    with open(os.fsencode(tmp_path) + b"/caf\xe9.png", "w"):
        pass
    bad, good = match_folders({"lr": tmp_path})
    assert (bad.key, good.key) == (r"caf\xe9", "ok")
    assert "not UTF-8" in bad.error
    assert good.error is None
