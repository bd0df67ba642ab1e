"""A rehearsal of reading a pickle of weights: what it asks for, before any of it is made.

PyTorch's restricted unpickler (``weights_only``) runs no code, but a small file can still ask it
for gigabytes (a storage, a bytearray) or for hours (a hash of tuples within tuples, which doubles
with each level). Here the same operations are carried out on stand-ins: tensors have sizes and no
memory, keys must be plain, and whatever a network's state has no use for is refused.
"""

from __future__ import annotations

import io
import math
import pickle
from _compat_pickle import IMPORT_MAPPING, NAME_MAPPING
from collections.abc import Callable, Mapping
from typing import IO, Any, ClassVar, NamedTuple

import torch
from torch._weights_only_unpickler import _get_allowed_globals

DEEPEST = 64
"""Levels of containers in containers; a checkpoint of training has about ten."""

_MOST_VISITS = 2_000_000  # values, each as often as it can be reached
_SHARED_BYTES = 2**26  # of tensors whose elements share memory, as an expanded one's do
_PLAIN_KEYS = (str, bytes, int, float, bool, type(None))


class Refused(ValueError):
    """The pickle asks for something that a file of weights has no use for.

    Attributes:
        name: of the function or class that would have to be run, if it is that.
    """

    def __init__(self, message: str, name: str | None = None) -> None:
        super().__init__(message)
        self.name = name


class _Global(NamedTuple):
    name: str


class _Storage(NamedTuple):
    elements: int
    width: int


class _Tensor(NamedTuple):
    bytes: int


class _Object:
    """An instance of a class that only holds values."""

    def __init__(self, name: str) -> None:
        self.name, self.state = name, None


class Rehearsal(pickle._Unpickler):  # the one in Python
    """Reads a pickle with nothing but stand-ins.

    Args:
        file: at the pickle's beginning; afterwards at its end.
        known: further classes that are harmless, by full name.
        room: bytes that the storages may have together, those of the file.
    """

    dispatch: ClassVar[dict[int, Any]] = dict(pickle._Unpickler.dispatch)

    stack: list[Any]  # the base class makes these when it loads
    append: Callable[[Any], None]
    pop_mark: Callable[[], list[Any]]

    def __init__(self, file: IO[bytes], known: frozenset[str], room: int) -> None:
        super().__init__(file, encoding="bytes")
        self.known, self.room, self.shared = known, room, _SHARED_BYTES
        self.storages: dict[Any, _Storage] = {}

    def find_class(self, module: str, name: str) -> _Global:
        if (module, name) in NAME_MAPPING:  # Python 2's names, as protocol 2 has them
            module, name = NAME_MAPPING[module, name]
        full = f"{IMPORT_MAPPING.get(module, module)}.{name}"
        if full not in _get_allowed_globals() and full not in self.known:
            raise Refused(f"it asks for {full}", full)
        return _Global(full)

    def persistent_load(self, pid: Any) -> _Storage:
        """A storage: ``("storage", type, key, device, elements)``."""
        if not isinstance(pid, tuple) or len(pid) < 5 or pid[0] not in ("storage", b"storage"):
            raise Refused("a reference to something that is no storage")
        kind, key, elements = pid[1], pid[2], pid[4]
        if not isinstance(kind, _Global) or not isinstance(elements, int) or elements < 0:
            raise Refused("a storage without type or size")
        _require_plain(key)
        if key not in self.storages:
            storage = _Storage(elements, _item_size(kind.name))
            self.room -= storage.elements * storage.width
            if self.room < 0:
                raise Refused("its tensors are larger than the file")
            self.storages[key] = storage
        return self.storages[key]

    def _call(self, function: Any, arguments: Any) -> Any:
        if not isinstance(function, _Global) or not isinstance(arguments, tuple):
            raise Refused("a call of something that is no function")
        name = function.name
        if call := _CALLS.get(name):
            return call(self, *arguments)
        if name in self.known:
            return _Object(name)
        raise Refused(f"it holds a {name.rpartition('.')[2]}, which no network's state has")

    # Operations, in the place of the standard library's

    def _reduce(self) -> None:
        arguments = self.stack.pop()
        self.stack[-1] = self._call(self.stack[-1], arguments)

    def _newobj(self) -> None:
        arguments = self.stack.pop()
        kind = self.stack.pop()
        if not isinstance(kind, _Global) or kind.name not in self.known:
            self.append(self._call(kind, arguments))
        else:
            self.append(_Object(kind.name))

    def _build(self) -> None:
        state = self.stack.pop()
        if isinstance(self.stack[-1], _Object):
            self.stack[-1].state = state

    def _setitem(self) -> None:
        value, key = self.stack.pop(), self.stack.pop()
        self._put(self.stack[-1], key, value)

    def _setitems(self) -> None:
        items = self.pop_mark()
        for place in range(0, len(items) - 1, 2):
            self._put(self.stack[-1], items[place], items[place + 1])

    @staticmethod
    def _put(target: Any, key: Any, value: Any) -> None:
        if not isinstance(target, dict):
            raise Refused("items of something that is no mapping")
        _require_plain(key)
        target[key] = value

    def _append(self) -> None:
        value = self.stack.pop()
        self._extend(self.stack[-1], [value])

    def _appends(self) -> None:
        items = self.pop_mark()
        self._extend(self.stack[-1], items)

    @staticmethod
    def _extend(target: Any, items: list[Any]) -> None:
        if not isinstance(target, list):
            raise Refused("items of something that is no list")
        target.extend(items)

    def _unknown(self) -> None:
        raise Refused("an operation that PyTorch does not write")


_OPERATIONS: dict[bytes, Callable[[Rehearsal], None]] = {
    pickle.REDUCE: Rehearsal._reduce,
    pickle.NEWOBJ: Rehearsal._newobj,
    pickle.BUILD: Rehearsal._build,
    pickle.SETITEM: Rehearsal._setitem,
    pickle.SETITEMS: Rehearsal._setitems,
    pickle.APPEND: Rehearsal._append,
    pickle.APPENDS: Rehearsal._appends,
}
_AS_THEY_ARE = (
    *(pickle.PROTO, pickle.STOP, pickle.MARK, pickle.GLOBAL, pickle.BINPERSID),
    *(pickle.NONE, pickle.NEWTRUE, pickle.NEWFALSE, pickle.BININT, pickle.BININT1, pickle.BININT2),
    *(pickle.BINFLOAT, pickle.LONG1, pickle.BINUNICODE, pickle.SHORT_BINSTRING),
    *(pickle.EMPTY_TUPLE, pickle.TUPLE, pickle.TUPLE1, pickle.TUPLE2, pickle.TUPLE3),
    *(pickle.EMPTY_LIST, pickle.EMPTY_DICT, pickle.EMPTY_SET),
    *(pickle.BINGET, pickle.LONG_BINGET, pickle.BINPUT, pickle.LONG_BINPUT),
)
"""What PyTorch's unpickler knows: the operations of protocol 2."""

for _code in list(Rehearsal.dispatch):
    if bytes([_code]) not in _AS_THEY_ARE:
        Rehearsal.dispatch[_code] = _OPERATIONS.get(bytes([_code]), Rehearsal._unknown)


def rehearse(file: IO[bytes], known: frozenset[str], room: int) -> None:
    """Read a pickle with stand-ins, and look at how large and deep it is.

    Args:
        file: at the pickle's beginning; afterwards at its end.
        known: further classes that are harmless, by full name.
        room: bytes that its storages may have together, those of the file.

    Raises:
        Refused: it asks for what a file of weights has no use for.
        Exception: damaged; of whatever kind.
    """
    _require_bounded(Rehearsal(file, known, room).load())


def rehearse_all(file: IO[bytes], known: frozenset[str], room: int) -> None:
    """`rehearse` for each pickle of PyTorch's format before version 1.6: four and the state's.

    Raises:
        Refused: likewise, or not in that format.
        Exception: likewise.
    """
    magic = Rehearsal(file, known, room).load()
    if magic != torch.serialization.MAGIC_NUMBER:
        raise Refused("it does not begin as PyTorch's files do")
    for _ in range(2):  # protocol, system
        rehearse(file, known, room)
    rehearse(file, known, room)  # the state
    rehearse(file, known, room)  # names of the storages


def _require_plain(key: Any) -> None:
    parts = key if isinstance(key, tuple) else (key,)
    if not all(isinstance(part, _PLAIN_KEYS) for part in parts):
        raise Refused("a key that is no text or number")


def _require_bounded(root: Any) -> None:
    """Raise Refused for values in themselves, too deep, or too many counted by their paths."""
    counts: dict[int, tuple[int, int]] = {}  # of a container: values in it, levels
    open_ones: set[int] = set()
    waiting: list[tuple[Any, bool]] = [(root, False)]
    while waiting:
        value, seen = waiting.pop()
        parts = _parts(value)
        if parts is None or (not seen and id(value) in counts):
            continue
        if not seen:
            if id(value) in open_ones:
                raise Refused("a container that holds itself")
            open_ones.add(id(value))
            waiting.append((value, True))
            waiting += [(part, False) for part in parts if _parts(part) is not None]
            continue
        open_ones.discard(id(value))
        inside = [counts.get(id(part), (1, 0)) for part in parts]
        count = 1 + sum(number for number, _ in inside)
        depth = 1 + max((levels for _, levels in inside), default=0)
        if count > _MOST_VISITS or depth > DEEPEST:
            raise Refused("containers in containers without end")
        counts[id(value)] = count, depth


def _parts(value: Any) -> list[Any] | None:
    if isinstance(value, dict):
        return list(value.values())
    if isinstance(value, _Object):
        return [value.state]
    if isinstance(value, (_Storage, _Tensor, _Global)):
        return None
    return list(value) if isinstance(value, (list, tuple)) else None


def _item_size(storage: str) -> int:
    """Bytes of an element of a storage, by the full name of its class."""
    name = storage.rpartition(".")[2].removesuffix("Storage").lower()
    dtypes = {
        "half": "float16",
        "untyped": "uint8",
        "byte": "uint8",
        "char": "int8",
        "long": "int64",
    }
    dtype = getattr(torch, dtypes.get(name, name), None)
    return dtype.itemsize if isinstance(dtype, torch.dtype) else 16


# Functions, by what they make of stand-ins


def _tensor(
    rehearsal: Rehearsal, storage: Any, offset: Any, size: Any, stride: Any, *_: Any
) -> Any:
    if not isinstance(storage, _Storage):
        raise Refused("a tensor without storage")
    sizes = [side for part in (size, stride) for side in part]
    if not all(isinstance(side, int) for side in (offset, *sizes)) or len(size) > DEEPEST:
        raise Refused("a tensor whose size is not told in whole numbers")
    elements = math.prod(size)
    if elements > storage.elements:
        rehearsal.shared -= elements * storage.width
        if rehearsal.shared < 0:
            raise Refused("its tensors are larger than the file")
    return _Tensor(elements * storage.width)


def _first(_: Rehearsal, value: Any, *__: Any) -> Any:
    return value


def _typed_tensor(rehearsal: Rehearsal, function: Any, _kind: Any, arguments: Any, *_: Any) -> Any:
    return rehearsal._call(function, arguments)


def _mapping(_: Rehearsal, items: Any = ()) -> dict[Any, Any]:
    found: dict[Any, Any] = {}
    for key, value in items.items() if isinstance(items, Mapping) else items:
        Rehearsal._put(found, key, value)
    return found


def _listing(_: Rehearsal, items: Any = ()) -> list[Any]:
    for item in items:
        _require_plain(item)
    return list(items)


def _bytes(_: Rehearsal, content: Any = b"", *__: Any) -> bytes:
    if not isinstance(content, (str, bytes)):
        raise Refused("memory of a size that is only told")
    return b""


def _value(_: Rehearsal, *arguments: Any) -> _Global:
    for argument in arguments:
        if not isinstance(argument, _Global):
            _require_plain(argument)
    return _Global("value")


_CALLS: dict[str, Callable[..., Any]] = {
    "collections.OrderedDict": _mapping,
    "collections.Counter": _mapping,
    "builtins.set": _listing,
    "builtins.bytearray": _bytes,
    "builtins.complex": _value,
    "_codecs.encode": _bytes,
    "torch.Size": _listing,
    "torch.device": _value,
    "torch.serialization._get_layout": _value,
    "torch.nn.parameter.Parameter": _first,
    "torch._utils._rebuild_tensor": _tensor,
    "torch._utils._rebuild_tensor_v2": _tensor,
    "torch._utils._rebuild_tensor_v3": _tensor,
    "torch._utils._rebuild_parameter": _first,
    "torch._utils._rebuild_parameter_with_state": _first,
    "torch._tensor._rebuild_from_type_v2": _typed_tensor,
}


def as_file(data: bytes) -> IO[bytes]:
    """Bytes as what `rehearse` reads."""
    return io.BytesIO(data)
