"""Entry points in processes of their own that need not import PyTorch and Lightning each.

Such a process is forked from one that has imported them and nothing else (Python's fork server);
most of what a small command takes is saved. The project's own modules, Hydra's state, signals,
standard streams and the exit code are the process's own. What a start imports is not tested so.
"""

from __future__ import annotations

import atexit
import multiprocessing
import os
import runpy
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

_FORKED = multiprocessing.get_context("forkserver")
_FORKED.set_forkserver_preload(["tests.preloaded"])


def run_forked(
    script: Path, arguments: Sequence[str], cwd: Path | None = None, timeout: float | None = None
) -> subprocess.CompletedProcess[str]:
    """What ``subprocess.run([sys.executable, script, *arguments])`` returns, with its output.

    Raises:
        subprocess.TimeoutExpired: it took longer than ``timeout`` seconds, and was killed.
    """
    words = [str(script), *arguments]
    with tempfile.TemporaryDirectory() as folder:
        streams = [Path(folder, name) for name in ("stdout", "stderr")]
        where = (str(cwd or Path.cwd()), {**os.environ}, [str(path) for path in streams])
        process = _FORKED.Process(target=_main, args=(words, *where))
        process.start()
        process.join(timeout)
        if process.is_alive():
            process.kill()
            process.join()
            raise subprocess.TimeoutExpired(words, timeout or 0, *(s.read_text() for s in streams))
        assert process.exitcode is not None
        output = [path.read_text(errors="replace") for path in streams]
        return subprocess.CompletedProcess(words, process.exitcode, *output)


def call_forked(function: Callable[..., None], *arguments: object) -> None:
    """Call a function of a module in such a process, in which autograd has not run yet.

    A process in which it has cannot fork ranks that train.
    """
    process = _FORKED.Process(target=function, args=arguments)
    process.start()
    process.join()
    assert process.exitcode == 0, f"{function.__name__} ended with {process.exitcode}"


def _main(words: list[str], cwd: str, environment: dict[str, str], streams: list[str]) -> None:
    for descriptor, path in enumerate(streams, 1):
        file = os.open(path, os.O_WRONLY | os.O_CREAT)
        os.dup2(file, descriptor)
        os.close(file)
    sys.stdout = open(1, "w", encoding="utf-8", closefd=False)  # noqa: SIM115
    sys.stderr = open(2, "w", encoding="utf-8", closefd=False)  # noqa: SIM115
    os.environ.clear()
    os.environ.update(environment)
    os.chdir(cwd)
    sys.argv = words
    sys.path[:] = [str(Path(words[0]).parent), *(path for path in sys.path if path)]
    try:
        runpy.run_path(words[0], run_name="__main__")
    finally:
        atexit._run_exitfuncs()  # multiprocessing leaves without
