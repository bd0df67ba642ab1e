"""Packages that Lightning imports in case they are used, imported when they are used.

It imports PyTorch's compiler to recognise what was compiled, and torchmetrics, which imports
Matplotlib for its plots, SciPy's signals for metrics of sound and torchvision for those of boxes.
Commands that use nothing of it would spend half of their start on it.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence
from functools import cached_property, partial
from importlib import import_module
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder
from types import ModuleType
from typing import Any

DEFERRED = {
    "torchmetrics": ("matplotlib", "scipy.signal", "torchvision"),
    "lightning.fabric.wrappers": ("torch._dynamo",),  # PyTorch's compiler
    "lightning.pytorch.utilities.compile": ("torch._dynamo",),
    "lightning.pytorch.trainer.connectors.logger_connector.result": ("torch._dynamo",),
}
"""Modules, and what waits that they import."""


def defer_imports(deferred: Mapping[str, Sequence[str]] = DEFERRED) -> None:
    """Let modules get stand-ins for packages while they are imported, now or later.

    A stand-in imports what it stands for when something of it is inherited from, or called or
    looked into later. Whoever else imports those packages gets themselves.

    Args:
        deferred: module that gets stand-ins, unless it is imported already, to the packages that
            they stand for, where those are not.
    """
    for importer, packages in deferred.items():
        if importer not in sys.modules:
            sys.meta_path.insert(0, _Deferral(importer, packages))


class _Deferral(MetaPathFinder, Loader):
    """Finds the importer, and stand-ins as long as that is being imported."""

    def __init__(self, importer: str, packages: Sequence[str]) -> None:
        self.importer, self.packages = importer, packages
        self.deferred: tuple[str, ...] = ()

    def find_spec(
        self, name: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """Part of the import system, as are the two methods below."""
        if name == self.importer:
            spec = PathFinder.find_spec(name, path, target)
            if spec is not None and spec.loader is not None:
                execute = spec.loader.exec_module
                spec.loader.exec_module = partial(self._run, execute)  # type: ignore[method-assign]
            return spec
        if any(f"{name}.".startswith(f"{package}.") for package in self.deferred):
            return ModuleSpec(name, self, is_package=True)
        return None

    def create_module(self, spec: ModuleSpec) -> ModuleType:
        return _StandIn(spec.name, self)

    def exec_module(self, module: ModuleType) -> None:
        pass

    def _run(self, execute: Callable[[ModuleType], None], module: ModuleType) -> None:
        self.deferred = tuple(name for name in self.packages if name not in sys.modules)
        try:
            execute(module)
        finally:
            self.end()

    def end(self) -> None:
        """From now on, there are the packages themselves."""
        self.deferred = ()
        if self in sys.meta_path:
            sys.meta_path.remove(self)
        for name, module in list(sys.modules.items()):
            if isinstance(module, _StandIn) and module.deferral is self:
                del sys.modules[name]
                parent, _, child = name.rpartition(".")
                vars(sys.modules.get(parent, module)).pop(child, None)


class _StandIn(ModuleType):
    """A module of a deferred package."""

    def __init__(self, name: str, deferral: _Deferral) -> None:
        super().__init__(name)
        self.deferral = deferral
        self._itself = _Later(self, partial(import_module, name))

    def __getattr__(self, name: str) -> Any:
        return getattr(self._itself, name)


class _Later:
    """A value that the importer got from a stand-in, or made of such values."""

    def __init__(self, module: _StandIn, get: Callable[[], Any]) -> None:
        self._module, self._get = module, get

    @cached_property
    def _itself(self) -> Any:
        self._module.deferral.end()
        return self._get()

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):  # Python asks for those, of anything
            raise AttributeError(name)
        if self._module.deferral.deferred:
            return _Later(self._module, lambda: getattr(self._itself, name))
        return getattr(self._itself, name)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        if self._module.deferral.deferred:  # as a decorator
            return _Later(self._module, lambda: self._itself(*args, **kwargs))
        return self._itself(*args, **kwargs)

    def __get__(self, instance: object, owner: type | None = None) -> Any:
        return self._itself.__get__(instance, owner)  # a method that was decorated

    def __instancecheck__(self, instance: object) -> bool:
        # Of a package that nobody has imported there are no instances.
        return self._module.__name__ in sys.modules and isinstance(instance, self._itself)

    def __mro_entries__(self, bases: tuple[Any, ...]) -> tuple[type, ...]:
        return (self._itself,)
