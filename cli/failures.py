"""Users' mistakes: a line on stderr and an exit code, no traceback."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence

USAGE_ERROR = 2
SOME_FAILED = 1

_exit_code = 0


def exit_code() -> int:
    """The exit code of the run so far: 0, `SOME_FAILED` or `USAGE_ERROR`."""
    return _exit_code


def fail(code: int = SOME_FAILED) -> None:
    """Let the process exit with at least this code when the run is over."""
    global _exit_code
    _exit_code = max(_exit_code, code)


def report_failures(lines: Sequence[str], title: str = "not done") -> None:
    """List what failed on stderr, one line each; the process will exit with 1."""
    if not lines:
        return
    say(f"{title} ({len(lines)}):")
    for line in lines:
        say(f"  {line}")
    fail(SOME_FAILED)


def user_message(error: BaseException | None) -> str | None:
    """The line to show if a user's mistake caused ``error``; None if it is a bug."""
    from omegaconf.errors import MissingMandatoryValue

    from desra.errors import InputError

    while error is not None:
        if isinstance(error, InputError):
            return str(error)
        if isinstance(error, MissingMandatoryValue):
            return f"{error.full_key}: no value given; add {error.full_key}=VALUE to the command"
        error = error.__cause__
    return None


def is_rank_zero() -> bool:
    """Whether this process speaks for the run, by what torchrun, SLURM and Lightning set."""
    return not any(int(os.environ.get(name, 0)) for name in ("RANK", "SLURM_PROCID", "LOCAL_RANK"))


def say(line: str) -> None:
    if is_rank_zero():
        print(line, file=sys.stderr, flush=True)
