"""The command line before Hydra parses it: paths quoted, so that any path works."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Sequence
from functools import lru_cache
from pathlib import Path
from typing import NoReturn

from desra.files import sayable

_PATH_NAMES = re.compile(
    r"(^|_)(root|dir|dirs|input|weights|finetuned|path|paths|checkpoint|list|scores|file|folder)$"
    r"|^(restored|hr|labels|old|new|run|before|table|config|prominence_model)$"
)
"""Names of settings that hold a path, by which the configs call them."""

_MORE_PATHS = ("detector.intervals", "task.model")
_PATHS_OF = ("roots.", "weights.")
"""Settings with paths that are called by other names, such as a set's own."""

_PERHAPS_PATHS = re.compile(r"(task\.)?(images|others|lr|kinds)|intervals")
"""Settings that hold a path in one task and something else in another."""

_NOT_PATHS = ("", "null", "???", "none")
_FUNCTIONS = re.compile(r"(choice|range|interval|glob|sort|shuffle|tag|extend_list)\(.*\)$", re.S)
_OVERRIDE = re.compile(r"(\+{0,2}[\w./@:-]+)=(.*)", re.S)


def quote_paths(arguments: Sequence[str]) -> list[str]:
    r"""Arguments in which the values of path settings are quoted for Hydra.

    Parentheses, ``=``, ``#``, ``~``, apostrophes, commas, numbers and words like ``true`` are then
    part of the path, as the shell has passed them. A ``~`` at the beginning is the home folder. In
    sweeps, commas stand between values.

    >>> quote_paths(["input=photos(1)", "weights=null", "detector.threshold=0.5"])
    ["input='photos(1)'", 'weights=null', 'detector.threshold=0.5']
    >>> quote_paths(["-m", "mse_root=a,b"])
    ['-m', "mse_root='a','b'"]
    """
    sweeping = any(argument in ("-m", "--multirun") for argument in arguments)
    return [_quoted(argument, sweeping) for argument in arguments]


def unusable_path(arguments: Sequence[str]) -> str | None:
    """Why a path on the command line cannot be used, in one line; None where all can.

    A path that is there with ``${…}`` in its name would be taken for a place of the configuration
    wherever the configuration passes it on.
    """
    for argument in arguments:
        if sayable(argument) != argument:
            return f"{sayable(argument)}: not UTF-8; rename the file or folder"
        match = _OVERRIDE.fullmatch(argument)
        if match and "${" in match[2] and _is_there(match[2]):
            return f"{argument}: ${{ in a path means a setting; rename it, or make a link to it"
    return None


def is_path_setting(name: str) -> bool:
    """Whether a setting, by its full name, holds a path."""
    last = name.rpartition(".")[2]
    if name in _MORE_PATHS or (name.startswith(_PATHS_OF) and name.count(".") == 1):
        return True
    return last != "drop_path" and bool(_PATH_NAMES.search(last))


def _quoted(argument: str, sweeping: bool) -> str:
    match = _OVERRIDE.fullmatch(argument)
    if match is None:
        return argument
    name, value = match.groups()
    setting = name.lstrip("+").partition("@")[0]
    perhaps = _PERHAPS_PATHS.fullmatch(setting) is not None and _is_there(value)
    if not perhaps and not is_path_setting(setting):
        return argument
    if value in _NOT_PATHS:
        return argument
    if _is_there(value):
        return f"{name}={_in_quotes(value)}"
    if _is_quoted(value) or (sweeping and _FUNCTIONS.match(value)):
        return argument
    if value[0] == "[" and value[-1] == "]" and not name.endswith("dir"):
        return f"{name}=[{','.join(map(_element, _parts(value[1:-1])))}]"
    parts = _parts(value) if sweeping else [value]
    return f"{name}={','.join(map(_element, parts))}"


def _parts(value: str) -> list[str]:
    """What stands between commas, those aside that belong to the name of a file that is there."""
    pieces, parts = value.split(","), []
    while pieces:
        ends = range(len(pieces), 1, -1)
        end = next((end for end in ends if _is_there(",".join(pieces[:end]))), 1)
        parts.append(",".join(pieces[:end]))
        del pieces[:end]
    return parts


def _is_there(path: str) -> bool:
    try:
        return os.path.lexists(path)
    except ValueError:  # a null byte
        return False


def _is_quoted(value: str) -> bool:
    return len(value) > 1 and value[0] == value[-1] and value[0] in "'\""


def _element(value: str) -> str:
    if value.strip() in _NOT_PATHS or _is_quoted(value.strip()):
        return value
    return _in_quotes(value if _is_there(value) else os.path.expanduser(value))


def _in_quotes(value: str) -> str:
    from hydra.core.override_parser.types import Quote, QuotedString

    return QuotedString(value, Quote.single).with_quotes()


def unknown_flag(arguments: Sequence[str]) -> str | None:
    """What is wrong with a flag, in one line; None where Hydra knows all of them.

    argparse would print the usage, with all of Hydra's own flags.
    """
    from hydra._internal.utils import get_args_parser

    class Wrong(Exception):
        pass

    def complain(message: str) -> NoReturn:
        raise Wrong(message)

    parser = get_args_parser()
    parser.error = complain  # type: ignore[method-assign]
    if "--version" in arguments:
        return None  # ends the process as soon as it is parsed
    try:
        parser.parse_args(list(arguments))
    except Wrong as problem:
        return f"{problem}; settings are given as NAME=VALUE, --help lists them"
    return None


def mistyped(arguments: Sequence[str], config_dir: Path) -> str | None:
    """The first setting that has a word where its defaults are numbers or null, in one line.

    What is made of the configuration fails on these with an error of Python's. Numbers first: null
    may stand for a word, too.
    """
    return _mistyped(arguments, config_dir, (int, float)) or _mistyped(
        [a for a in arguments if not is_path_setting(a.partition("=")[0].lstrip("+"))],
        config_dir,
        (int, float, type(None)),
    )


def _mistyped(arguments: Sequence[str], config_dir: Path, kinds: tuple[type, ...]) -> str | None:
    defaults = _defaults(config_dir)
    for argument in arguments:
        match = _OVERRIDE.fullmatch(argument)
        given = [*defaults.get(match[1].lstrip("+"), {}).values()] if match else []
        given = [value for value in given if not str(value).startswith("${")]
        if match and given and match[2] != "null" and {*map(type, given)} <= {*kinds}:
            try:
                float(match[2])
            except ValueError:
                shown = "null" if given[0] is None else given[0]
                return f"{argument}: give a number, as {match[1].lstrip('+')}={shown}"
    return None


def setting_names(config_dir: Path) -> tuple[str, ...]:
    """Names of settings and groups, as the command line has them, for suggestions."""
    return tuple(sorted(_defaults(config_dir)))


def owners(name: str, config_dir: Path) -> tuple[str, ...]:
    """Where a setting stands: commands (``upscale.py``) and options (``trainer=ddp``)."""
    return tuple(_defaults(config_dir).get(name, ()))


@lru_cache(maxsize=1)
def _defaults(config_dir: Path) -> dict[str, dict[str, object]]:
    """Settings and groups by name, with the value that each command and option gives them."""
    from omegaconf import DictConfig, OmegaConf

    def below(node: object, prefix: str) -> Iterator[tuple[str, object]]:
        if not isinstance(node, DictConfig):
            return
        for key in map(str, node):
            if key not in ("defaults", "hydra") and not key.startswith("_"):
                child = node._get_node(key)
                yield f"{prefix}{key}", getattr(child, "_value", lambda: None)()
                yield from below(child, f"{prefix}{key}.")

    found: dict[str, dict[str, object]] = {}
    for path in sorted(config_dir.rglob("*.yaml")):
        group = path.parent.relative_to(config_dir).as_posix()
        inside = group not in (".", "hydra")
        whole = "@package _global_" in path.read_text("utf-8")[:200]
        prefix = f"{group}." if inside and not whole else ""
        owner = f"{group}={path.stem}" if inside else f"{path.stem}.py"
        if inside:
            found.setdefault(group, {})[owner] = path.stem
        for name, value in below(OmegaConf.load(path), prefix):
            found.setdefault(name, {})[owner] = value
    return found
