"""The ``desra`` command: one name for all entry points, from a checkout or an installed wheel."""

from __future__ import annotations

import ast
import importlib
import runpy
import sys
from pathlib import Path
from types import ModuleType

_LIBRARY = Path(__file__).resolve().parent


def app_folder() -> Path:
    """The folder of the entry points, ``conf`` and ``samples``: in a wheel ``desra/app``."""
    packed = _LIBRARY / "app"
    return packed if packed.is_dir() else _LIBRARY.parent


def app_module(name: str) -> ModuleType:
    """A module of the application, as ``"models.upscaler"``, for use from Python.

    The library imports none of them itself; whoever asks for one has the application's folder added
    to the places that modules are looked for.

    Raises:
        ImportError: another package of that name was found first.
    """
    app = str(app_folder())
    if app not in sys.path:
        sys.path.append(app)
    module = importlib.import_module(name)
    if not str(module.__file__).startswith(app):
        package = name.partition(".")[0]
        raise ImportError(
            f"{module.__file__} is imported as {package!r}, the name of a package of desra in "
            f"{app}; rename it, or import desra's first"
        )
    return module


def commands() -> dict[str, str]:
    """The entry points by name, with the first sentence of their docstrings."""
    found = {}
    for path in sorted(app_folder().glob("*.py")):
        summary = (ast.get_docstring(ast.parse(path.read_text())) or "").partition(
            " See ``--help``"
        )
        if summary[1]:
            found[path.stem] = summary[0]
    return found


def main() -> None:
    """Run ``desra COMMAND OVERRIDES`` as ``python COMMAND.py OVERRIDES``."""
    known = commands()
    name = sys.argv[1] if len(sys.argv) > 1 else "--help"
    if name in known:
        app = app_folder()
        # As `python detect.py` does, and the other ranks of DDP.
        sys.path.insert(0, str(app))
        sys.argv = [str(app / f"{name}.py"), *sys.argv[2:]]
        runpy.run_path(sys.argv[0], run_name="__main__")
        return
    width = max(map(len, known))
    lines = [f"  {command:{width}}  {summary}" for command, summary in known.items()]
    usage = "\n".join(["usage: desra COMMAND OVERRIDES; desra COMMAND --help", "", *lines])
    if name in ("--help", "-h", "help"):
        print(usage)
    else:
        print(f"error: {name}: no such command\n{usage}", file=sys.stderr)
        sys.exit(2)
