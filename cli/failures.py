"""Users' mistakes as one line on stderr and an exit code."""

from __future__ import annotations

import difflib
import errno
import os
import re
import signal
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any

from desra.errors import DISK_FULL, DiskError, InputError

USAGE_ERROR = 2
SOME_FAILED = 1

_OF_THE_DISK = (*DISK_FULL, errno.EIO)

_OF_A_PLACE = (
    *(errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOTDIR, errno.EISDIR, errno.EEXIST),
    *(errno.ENAMETOOLONG, errno.ELOOP),
)
_ALIKE = 3  # causes that more images than this have in common are said once

_LOST = re.compile(r"Connection (closed|reset) by peer|Broken pipe|ProcessGroup|\bgloo\b", re.I)
"""What the collectives of PyTorch raise where another rank has died."""

_OF_TRAINER = re.compile(r"^full_key: trainer$", re.M)

_STOPPED_BY = (signal.SIGTERM, signal.SIGINT)
_ON_AGAIN = "start again to go on, train.py with ckpt_path=OUTPUT_DIR/checkpoints/last.ckpt"

_PARENT = os.getppid()  # of a rank that Lightning has started: rank 0
_children: list[Any] = []
_exit_code = 0


def exit_code() -> int:
    """The exit code of the run so far: 0, `SOME_FAILED` or `USAGE_ERROR`."""
    return _exit_code


def fail(code: int = SOME_FAILED) -> None:
    """Let the process exit with at least this code when the run is over."""
    global _exit_code
    _exit_code = max(_exit_code, code)


def report_failures(lines: Sequence[str], title: str = "not done") -> None:
    """List what failed on stderr; the process will exit with 1.

    One line each, and one for all where many have failed for the same reason.
    """
    if not lines:
        return
    say(f"{title} ({len(lines)}):")
    for line in _grouped(lines):
        say(f"  {line}")
    fail(SOME_FAILED)


def _grouped(lines: Sequence[str]) -> list[str]:
    alike: dict[str, list[str]] = {}
    for line in lines:
        alike.setdefault(line.partition(": ")[2], []).append(line)
    shown = []
    for reason, those in alike.items():
        if not reason or len(those) <= _ALIKE:
            shown += those
            continue
        names = ", ".join(line.partition(": ")[0] for line in those[:2])
        shown.append(f"{len(those)} images: {reason} ({names}, …)")
    return shown


def user_message(error: BaseException | None) -> str | None:
    """The line to show if a user's mistake caused ``error``; None if it is a bug."""
    from omegaconf.errors import MissingMandatoryValue, OmegaConfBaseException

    configuration = None
    while error is not None:
        if isinstance(error, InputError | DiskError):
            return str(error)
        if isinstance(error, MissingMandatoryValue):
            return f"{error.full_key}: no value given; add {error.full_key}=VALUE to the command"
        if isinstance(error, OSError) and error.errno in (*_OF_THE_DISK, *_OF_A_PLACE):
            return _place_message(error)
        if isinstance(error, RuntimeError) and _LOST.search(str(error)):
            return _lost_message()
        if isinstance(error, RuntimeError | MemoryError) and _is_out_of_memory(error):
            return (
                f"out of memory ({_first_line(error) or 'for an array'}); give less at a time: a "
                "smaller tile=, data.batch_size= or data.gt_crop="
            )
        if type(error).__name__ == "MisconfigurationException":  # Lightning's, not imported here
            return f"trainer: {_one_line(error)}; see conf/trainer for others"
        if type(error).__name__ == "InstantiationException" and _OF_TRAINER.search(str(error)):
            # What it refuses otherwise: an unknown accelerator, strategy, precision, …
            refused = error.__cause__ or error
            configuration = f"trainer: {_one_line(refused)}; see conf/trainer for others"
        if isinstance(error, OmegaConfBaseException):
            configuration = f"{error.full_key or 'configuration'}: {_first_line(error)}"
            if re.search("Interpolation|Grammar", type(error).__name__):
                configuration += "; ${ in a value means another setting, no path can hold it"
        error = error.__cause__
    return configuration


def _lost_message() -> str:
    """Which of the run's processes has ended, as far as this one can see."""
    deadline = time.monotonic() + 2  # its sockets close before it has ended
    while not _is_left_by_rank_zero() and all(child.poll() is None for child in _children):
        if time.monotonic() > deadline:
            break
        time.sleep(0.02)
    gone = [f"rank {rank}" for rank, child in enumerate(_children, 1) if child.poll() is not None]
    who = ", ".join(gone) or ("rank 0" if _is_left_by_rank_zero() else "another process")
    ended = [child.poll() for child in _children if child.poll() is not None]
    how = f" (killed by signal {-ended[0]})" if ended and ended[0] < 0 else ""
    return f"{who} was lost{how}; the others end, too; {_ON_AGAIN}"


@contextmanager
def stoppable() -> Iterator[None]:
    """Let SIGTERM and Ctrl-C end the run with a line and 128 plus the signal's number.

    Lightning finishes all images first where it predicts, and where it validates leaves with 0.
    Its handlers call those that they find.
    """
    here = os.getpid()

    def stop(number: int, frame: FrameType | None) -> None:
        for each in _STOPPED_BY:  # once more ends it at once
            signal.signal(each, signal.SIG_DFL)
        if os.getpid() != here:  # a process for reading
            os.kill(os.getpid(), number)
        say(f"signal {number}: stopped; {_ON_AGAIN}")
        raise SystemExit(128 + number)

    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {number: signal.signal(number, stop) for number in _STOPPED_BY}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def watch(children: Sequence[Any]) -> None:
    """Remember the processes of the other ranks on this machine, in their order."""
    _children[:] = children


def error_code(error: BaseException | None) -> int:
    """The exit code for an error that `user_message` has a line for."""
    while error is not None:
        if isinstance(error, DiskError):
            return SOME_FAILED
        if isinstance(error, OSError) and error.errno in _OF_THE_DISK:
            return SOME_FAILED
        if isinstance(error, RuntimeError) and _LOST.search(str(error)):
            return SOME_FAILED
        error = error.__cause__
    return USAGE_ERROR


def _is_out_of_memory(error: BaseException) -> bool:
    from desra.memory import is_out_of_memory  # imports PyTorch, which has raised it

    return is_out_of_memory(error)


def _place_message(error: OSError) -> str:
    place = error.filename or "output_dir"
    if error.errno in _OF_THE_DISK:
        return str(DiskError(place, error))
    return f"{place}: {error.strerror}; give another place"


def hydra_message(error: BaseException, config_dir: Path, arguments: Sequence[str]) -> str | None:
    """The line for what Hydra could not parse or compose; None if it is something else."""
    from hydra.errors import (
        ConfigCompositionException,
        HydraException,
        MissingConfigException,
        OverrideParseException,
    )

    from cli.arguments import owners, setting_names

    if not isinstance(error, HydraException):
        return None
    text = str(error)
    if match := re.search(r"Could not (?:override|delete)[^']*'([^']+)'", text):
        name = match[1].lstrip("+")
        if (config_dir / name).is_dir():
            meant = re.search(r"Did you mean to override ([^\s?]+)", text)
            hint = f"did you mean {meant[1]}=…?" if meant else "--help lists them"
            return f"{name}: no choice of this command; {hint}"
        if known := owners(name, config_dir):
            return f"{name}: no setting of this command as it is given, but of {_some(known)}"
        return f"{name}: no such setting{_like(name, setting_names(config_dir))}"
    if match := re.search(r"Could not find '([^']+)'", text):
        group, _, option = match[1].rpartition("/")
        options = re.findall(r"^\t(\S+)$", text, re.M)
        near = difflib.get_close_matches(option, options, n=2, cutoff=0.3)
        hint = f"did you mean {' or '.join(near)}? " if near else ""
        return f"{group}={option}: no such option; {hint}there are {', '.join(options)}"
    if isinstance(error, OverrideParseException):
        shown = _misread(text, arguments)
        name, equals, value = shown.partition("=")
        if equals:
            return f"{shown}: not understood; quote the value: {name}='\"{value}\"'"
        return f"{shown}: not understood; give settings as NAME=VALUE (see --help)"
    if isinstance(error, ConfigCompositionException | MissingConfigException):
        return user_message(error) or _one_line(error)
    return None  # what was made of the configuration has failed, perhaps by a mistake of ours


def _misread(text: str, arguments: Sequence[str]) -> str:
    """The argument that the parser's message is about."""
    quoted = re.findall(r"(?:override|input) '([^']+)", text)
    for part in quoted:
        for argument in arguments:
            if part in argument:
                return argument
    return quoted[0] if quoted else text.strip().partition("\n")[0]


def _like(name: str, known: Sequence[str]) -> str:
    near = difflib.get_close_matches(name, known, n=3, cutoff=0.75)
    last = name.rpartition(".")[2]
    near += [other for other in known if other.rpartition(".")[2] == last and other not in near]
    return f"; did you mean {', '.join(near[:3])}?" if near else "; --help lists them"


def _some(names: Sequence[str], count: int = 3) -> str:
    more = f" and {len(names) - count} more" if len(names) > count else ""
    return f"{', '.join(names[:count])}{more}"


def _first_line(error: BaseException) -> str:
    return str(error).strip().partition("\n")[0]


def _one_line(error: BaseException) -> str:
    return " ".join(str(error).split())


def is_rank_zero() -> bool:
    """Whether this process speaks for the run, by what torchrun, SLURM and Lightning set."""
    return not any(int(os.environ.get(name, 0)) for name in ("RANK", "SLURM_PROCID", "LOCAL_RANK"))


def _is_left_by_rank_zero() -> bool:
    return not is_rank_zero() and os.getppid() != _PARENT


def say(line: str) -> None:
    """Print a line on stderr, once a run: by rank zero, or where that was lost by rank 1."""
    if is_rank_zero() or (os.environ.get("LOCAL_RANK") == "1" and _is_left_by_rank_zero()):
        print(line, file=sys.stderr, flush=True)
