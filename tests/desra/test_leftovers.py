"""Temporary files of processes that have ended, and of those that have not."""

import os
import subprocess
import sys
import time

from desra import leftovers
from desra.files import atomic_path, write_text
from desra.leftovers import remove_leftovers, temporary_name


def test_files_of_a_killed_process_go_and_others_stay(tmp_path):
    code = (
        "import os, signal; from desra.files import atomic_path\n"
        f"with atomic_path({str(tmp_path / 'sub' / 'a.tar.gz')!r}) as path:\n"
        "    path.write_text('half'); os.kill(os.getpid(), signal.SIGKILL)"
    )
    subprocess.run([sys.executable, "-c", code], check=False)
    with atomic_path(tmp_path / "sub" / "mine.png") as mine:
        mine.write_text("half")
        write_text(tmp_path / ".partial-notes.txt", "a user's own")
        assert len(list((tmp_path / "sub").iterdir())) == 2
        assert remove_leftovers(tmp_path) == 1
        assert mine.is_file()
    names = sorted(path.name for path in tmp_path.rglob("*") if path.is_file())
    assert names == [".partial-notes.txt", "mine.png"]


def test_files_of_another_machine_are_given_a_week(tmp_path, monkeypatch):
    monkeypatch.setattr(leftovers, "_HOST", "abcdef")
    path = tmp_path / temporary_name(".png")
    path.write_text("")
    monkeypatch.undo()
    assert remove_leftovers(tmp_path) == 0
    old = time.time() - 8 * 24 * 3600
    os.utime(path, (old, old))
    assert remove_leftovers(tmp_path) == 1
