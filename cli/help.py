"""Groups and options that a command takes, as its ``--help`` lists them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from omegaconf import OmegaConf

CONF = Path(__file__).resolve().parents[1] / "conf"


def command_groups(command: str) -> dict[str, list[str]]:
    """Each group that a command takes, as overrides name it, and its options.

    Hydra would list every group of ``conf``, whichever command it belongs to.

    Args:
        command: the name of a root file of ``conf``, without suffix.
    """
    names = set(groups_of(CONF / f"{command}.yaml"))
    for task in options("task", command) if "task" in names else []:
        names |= set(groups_of(CONF / "task" / f"{task}.yaml"))
    return {name: options(name, command) for name in sorted(names)}


def command_groups_text(command: str) -> str:
    """``${command_groups:COMMAND}``: a line a group that offers a choice, for ``--help``."""
    groups = command_groups(command).items()
    lines = (f"{name}: {', '.join(found)}" for name, found in groups if len(found) > 1)
    return "\n".join(lines)


def options(group: str, command: str) -> list[str]:
    """The options of a group that belong to a command.

    Those of ``task`` say so at their head: ``# python prepare.py task=select …``.

    >>> "masks" in options("task", "evaluate"), "masks" in options("task", "prepare")
    (True, False)
    """
    files = sorted((CONF / group.partition("@")[0]).glob("*.yaml"))
    return [file.stem for file in files if group != "task" or _names(file, command)]


def groups_of(path: Path) -> Iterator[str]:
    """The groups in the defaults list of a config, and in those of the options that it takes."""
    for entry in _defaults(path):
        if isinstance(entry, str):
            yield from groups_of(path.with_name(f"{entry}.yaml")) if entry != "_self_" else ()
            continue
        ((key, option),) = entry.items()
        *words, name = str(key).split()
        group, _, package = name.partition("@")
        folder = CONF / group[1:] if group.startswith("/") else path.parent / group
        relative = folder.relative_to(CONF).as_posix()
        if relative.startswith("hydra"):
            continue
        if "override" not in words:
            yield f"{relative}@{package}" if package else relative
        if option is not None and relative != "task":
            yield from groups_of(folder / f"{option}.yaml")


def _defaults(path: Path) -> list[Any]:
    config: Any = OmegaConf.to_container(OmegaConf.load(path), resolve=False)
    return (config or {}).get("defaults", [])


def _names(file: Path, command: str) -> bool:
    head = [line for line in file.read_text().splitlines() if line.startswith("#")]
    return f"python {command}.py task={file.stem}" in " ".join(head)
