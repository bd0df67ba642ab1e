"""A stand-in for ``mmcv._ext``, the compiled part of mmcv, where mmcv came without it.

``import mmseg.models`` imports ``mmcv.ops``, whose modules look up about a hundred functions in
``mmcv._ext`` when they are imported. The package index has no build of that extension, and its
sources do not build under current setuptools; mmcv-lite is mmcv without it. Most networks of
mmsegmentation, SegFormer among them, call none of the functions: they only have to be found.
The stand-in lets them be found, and says what is missing when one is called.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from importlib.machinery import ModuleSpec
from importlib.util import find_spec
from types import ModuleType
from typing import NoReturn

from desra.errors import InputError

_NAME = "mmcv._ext"


class _StandIn(ModuleType):
    """A module in which every function is found and none can be called."""

    def __init__(self) -> None:
        super().__init__(_NAME, __doc__)
        # Without a loader, mmcv's own `check_ops_exist` rightly answers no.
        self.__spec__ = ModuleSpec(_NAME, loader=None)

    def __getattr__(self, name: str) -> Callable[..., NoReturn]:
        if name.startswith("__"):  # what Python asks of modules is not a function of mmcv
            raise AttributeError(name)

        def missing(*_args: object, **_kwargs: object) -> NoReturn:
            raise InputError(
                f"this network needs mmcv's compiled function {name}, and mmcv is installed "
                "without compiled functions; install the full mmcv 2.1, or choose a network that "
                "needs none, such as SegFormer"
            )

        return missing


def install_stand_in() -> bool:
    """Let ``mmcv.ops`` be imported where mmcv has no compiled extension.

    Returns:
        whether the stand-in is in use; where mmcv has its own extension, nothing is changed.

    Raises:
        ImportError: mmcv is not installed.
    """
    present = sys.modules.get(_NAME)
    if present is None:
        if find_spec(_NAME) is not None:
            return False
        present = sys.modules[_NAME] = _StandIn()
    return isinstance(present, _StandIn)
