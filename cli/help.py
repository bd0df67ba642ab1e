"""Groups and options that a command takes, as its ``--help`` lists them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from omegaconf import OmegaConf

CONF = Path(__file__).resolve().parents[1] / "conf"


def command_groups(command: str) -> dict[str, list[str]]:
    """Each group that a command takes, as overrides name it, and its options.

    Hydra would list every group of ``conf``, whichever command it belongs to.

    Args:
        command: the name of a root file of ``conf``, without suffix.
    """
    groups: dict[str, list[str]] = {}
    for group in _groups(CONF / f"{command}.yaml"):
        folder = CONF / group.partition("@")[0]
        options = sorted(path.stem for path in folder.glob("*.yaml"))
        groups[group] = [name for name in options if belongs(f"{folder.name}/{name}", command)]
    return dict(sorted(groups.items()))


def command_groups_text(command: str) -> str:
    """``${command_groups:COMMAND}``: a line a group, for the template of ``--help``."""
    return "\n".join(
        f"{group}: {', '.join(options)}" for group, options in command_groups(command).items()
    )


def belongs(option: str, command: str) -> bool:
    """Whether an option (``"task/select"``) is one of a command's.

    The options of ``task`` say so at their head: ``python prepare.py task=select …``.

    >>> belongs("task/masks", "evaluate"), belongs("task/masks", "prepare")
    (True, False)
    """
    group, _, name = option.partition("/")
    if group != "task":
        return True
    lines = (CONF / f"{option}.yaml").read_text().splitlines()
    head = " ".join(line for line in lines if line.startswith("#"))
    return f"python {command}.py task={name}" in head


def _groups(path: Path) -> Iterator[str]:
    """The groups in the defaults of a config, and of those that it takes."""
    here = path.parent
    for entry in OmegaConf.load(path).get("defaults") or []:
        if isinstance(entry, str):
            if entry != "_self_":
                yield from _groups(here / f"{entry}.yaml")
            continue
        ((key, option),) = entry.items()
        name = str(key).split()[-1]
        group, _, package = name.partition("@")
        folder = CONF / group[1:] if group.startswith("/") else here / group
        if folder.name == "hydra" or (CONF / "hydra") in folder.parents:
            continue
        if "override" not in str(key):
            relative = folder.relative_to(CONF).as_posix()
            yield f"{relative}@{package}" if package not in ("", "_global_") else relative
        if option is not None and (folder / f"{option}.yaml").is_file():
            yield from _groups(folder / f"{option}.yaml")
