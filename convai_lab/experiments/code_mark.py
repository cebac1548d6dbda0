"""Code mark: do somebody's own function, user or judge still do what they did?

A mark tells what can change a result: the code of a function, its defaults, and what it uses from around it, followed
through the user's own functions, classes and objects. Libraries go by their names. It is the same in every process,
for the same code and data: no address, no order of a set. What a run itself changed makes no other mark afterwards.
"""

from __future__ import annotations

import contextlib
import dis
import functools
import hashlib
import inspect
import json
import re
import sys
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import is_dataclass
from pathlib import PurePath
from types import BuiltinFunctionType, CodeType, FunctionType, MethodType, ModuleType
from typing import Any, NamedTuple, cast

from convai_lab.providers.base import LLM

MOST_VALUES = 300_000
"""So much is looked at for one mark; it takes a second."""
DEEPEST = 60
MOST_TABLE_CELLS = 200_000
LIBRARY_FOLDERS = ("site-packages", "dist-packages")
QUIET_MODULES = ("_thread", "threading", "logging", "_contextvars", "_io", "weakref", "typing", "builtins", "random")
"""Whose objects decide no answer, or say nothing a reader could act on."""
ADDRESS = re.compile(r"\bat 0x[0-9a-fA-F]+")
NOT_CLASS_CONTENT = ("__module__", "__doc__", "__firstlineno__", "__static_attributes__")

_PLAIN = (str, bytes, int, float, complex, bool, type(None), type(...))
_began_as: dict[str, str] = {}
"""Marks that came about by running, and those that they had before."""


def content_mark(value: Any) -> str:
    """Return a mark of what a function or an object does and holds; what a run changed counts as it was before it."""
    mark = _Look().mark(value)
    return _began_as.get(mark, mark)


def unmarked_in(value: Any) -> tuple[str, ...]:
    """Return what no mark tells, by name and type: connections, models, and what else only a library understands."""
    look = _Look()
    look.mark(value)
    return tuple(sorted(look.unmarked))


@contextlib.contextmanager
def same_after_running(values: Sequence[Any]) -> Iterator[None]:
    """Let what the body changes in lists, counters and objects of `values` make no other mark of them."""
    before = [_looked_at(value) for value in values]
    try:
        yield
    finally:
        for value, (mark, codes) in zip(values, before, strict=True):
            after = _looked_at(value)
            if after.mark != mark and after.codes == codes:  # else a cell was run again meanwhile
                _began_as[after.mark] = _began_as.get(mark, mark)


class _Looked(NamedTuple):
    mark: str
    codes: frozenset[str]


def _looked_at(value: Any) -> _Looked:
    look = _Look()
    return _Looked(look.mark(value), frozenset(look.codes))


class _Look:
    """One look at a value and at all that it uses."""

    def __init__(self) -> None:
        self.unmarked: set[str] = set()
        self.codes: set[str] = set()
        self._found: dict[int, str] = {}
        self._kept: list[Any] = []
        self._open: dict[int, int] = {}
        self._count = 0

    def mark(self, value: Any, name: str = "", *, is_own: bool = True) -> str:
        """Return a mark of a value; `is_own` says that the user's code itself names it."""
        if isinstance(value, _PLAIN) and type(value) in _PLAIN:
            return f"{type(value).__name__} {value!r}"
        if id(value) in self._found:
            return self._found[id(value)]
        if id(value) in self._open:
            return f"round {len(self._open) - self._open[id(value)]}"
        self._count += 1
        if self._count > MOST_VALUES or len(self._open) > DEEPEST:
            return self._only_type(value, name, is_own)
        self._open[id(value)] = len(self._open)
        told = list(self._told(value, name, is_own))
        del self._open[id(value)]
        self._found[id(value)] = digest = hashlib.blake2b(
            "\n".join(told).encode("utf-8", "surrogatepass"), digest_size=16
        ).hexdigest()
        self._kept.append(value)  # its id is nobody else's meanwhile
        if isinstance(value, CodeType):
            self.codes.add(digest)
        return digest

    def _told(self, value: Any, name: str, is_own: bool) -> Iterable[str]:
        """Return the lines that tell a value from others."""
        match value:
            case FunctionType():
                return self._function(value)
            case CodeType():
                return self._code(value)
            case MethodType():
                return ["method", self.mark(value.__func__), self.mark(value.__self__, name, is_own=is_own)]
            case functools.partial():
                return ["partial", *(self.mark(part, name) for part in (value.func, value.args, value.keywords))]
            case BuiltinFunctionType():
                holder = value.__self__
                held = () if holder is None or isinstance(holder, ModuleType | type) else (self.mark(holder, name),)
                return ["builtin", str(value.__module__), value.__qualname__, *held]
            case ModuleType():
                return ["module", value.__name__]
            case property():
                return ["property", *(self.mark(part) for part in (value.fget, value.fset, value.fdel))]
            case staticmethod() | classmethod():
                return [type(value).__name__, self.mark(value.__func__)]
            case type():
                return self._class(value)
        wrapped = inspect.getattr_static(value, "func" if _is_cached(value) else "__wrapped__", None)
        if callable(wrapped) and not _is_own(type(value).__module__):  # a cache, or a tool: it does what it wraps
            return [_type_name(value), self.mark(wrapped, name)]
        return self._data(value, name, is_own)

    def _data(self, value: Any, name: str, is_own: bool) -> Iterable[str]:
        kind = _type_name(value)
        if own := _is_own(type(value).__module__):
            kind += f" {self.mark(type(value))}"
        if (plain := next((one for one in _PLAIN if isinstance(value, one)), None)) is not None:
            return [kind, cast(Any, plain).__repr__(value)]
        if type(value) in (dict, list):
            with contextlib.suppress(TypeError, ValueError, RuntimeError):  # fifty times as fast as one by one
                return [kind, json.dumps(value, sort_keys=True)]
        if isinstance(value, dict):
            pairs = (f"{self.mark(k, name)}: {self.mark(v, name, is_own=is_own)}" for k, v in list(value.items()))
            return [kind, *sorted(pairs)]
        if isinstance(value, list | tuple | deque):
            return [kind, *(self.mark(one, name, is_own=is_own) for one in list(value))]
        if isinstance(value, set | frozenset):
            return [kind, *sorted(self.mark(one, name, is_own=is_own) for one in list(value))]
        if own or _is_ours(value):
            return [kind, *(f"{key}: {self.mark(inner, key)}" for key, inner in sorted(_held(value).items()))]
        if (table := _table(value)) is not None:
            return [kind, table]
        if cast(Any, type(value)).__repr__ is not object.__repr__ and not ADDRESS.search(said := _said(value)):
            return [kind, said]
        return [self._only_type(value, name, is_own)]

    def _only_type(self, value: Any, name: str, is_own: bool) -> str:
        module = type(value).__module__
        if is_own and module.partition(".")[0] not in (*QUIET_MODULES, "convai_lab"):
            self.unmarked.add(f"{name} ({type(value).__name__})" if name else type(value).__name__)
        return f"only {_type_name(value)}"

    def _function(self, function: FunctionType) -> Iterable[str]:
        """Return what a function does; one of a library by its name, with what of the user's it was given."""
        own = _is_own(function.__globals__.get("__name__", ""))
        told = [] if own else [function.__module__ or "", function.__qualname__]
        for name, cell in zip(function.__code__.co_freevars, function.__closure__ or (), strict=False):
            with contextlib.suppress(ValueError):  # not filled yet
                told.append(f"{name}: {self.mark(cell.cell_contents, name, is_own=own)}")
        if not own:
            return ["function", *told]
        defaults = self.mark(function.__defaults__), self.mark(function.__kwdefaults__)
        return ["function", self.mark(function.__code__), *defaults, *told, *self._around(function)]

    def _around(self, function: FunctionType) -> Iterator[str]:
        """Yield what a function uses of its module, and what it uses of the user's other modules."""
        names, attributes = _used(function.__code__)
        for name in sorted(names & function.__globals__.keys()):
            value = function.__globals__[name]
            yield f"{name}: {self.mark(value, name)}"
            yield from self._of_module(value, attributes)
        for name in sorted(_imported(function.__code__) & sys.modules.keys()):
            yield from self._of_module(sys.modules[name], attributes)

    def _of_module(self, module: Any, attributes: frozenset[str]) -> Iterator[str]:
        if isinstance(module, ModuleType) and _is_own(module.__name__):
            for name in sorted(attributes & vars(module).keys()):
                yield f"{module.__name__}.{name}: {self.mark(vars(module)[name], name)}"

    def _code(self, code: CodeType) -> Iterable[str]:
        constants = (self.mark(constant) for constant in code.co_consts)
        return ["code", code.co_code.hex(), *constants, " ".join((*code.co_names, "/", *code.co_varnames))]

    def _class(self, kind: type) -> Iterable[str]:
        if not _is_own(kind.__module__):
            return ["class", kind.__module__, kind.__qualname__]
        content = [
            f"{name}: {self.mark(value, name, is_own=False)}"
            for name, value in sorted(vars(kind).items())
            if name not in NOT_CLASS_CONTENT and (not name.startswith("__") or callable(value))
        ]
        return ["class", kind.__qualname__, *map(self.mark, kind.__bases__), *content]


@functools.lru_cache(maxsize=1024)
def _used(code: CodeType) -> tuple[frozenset[str], frozenset[str]]:
    """Return the names of a module, and those of attributes, that a code uses; those of the functions in it too."""
    names, attributes = set(), set()
    for one in _codes(code):
        loaded = {i.argval for i in dis.get_instructions(one) if i.opname in ("LOAD_GLOBAL", "LOAD_NAME")}
        names |= loaded
        attributes |= {*one.co_names} - loaded
    return frozenset(names), frozenset(attributes)


@functools.lru_cache(maxsize=1024)
def _imported(code: CodeType) -> frozenset[str]:
    return frozenset(i.argval for one in _codes(code) for i in dis.get_instructions(one) if i.opname == "IMPORT_NAME")


def _codes(code: CodeType) -> Iterator[CodeType]:
    yield code
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield from _codes(constant)


@functools.lru_cache(maxsize=4096)
def _is_own(module: str) -> bool:
    """Say whether a module is the user's: a notebook, a script, a file beside them, and no library."""
    root = module.partition(".")[0]
    if root == "__main__":
        return True
    if root in sys.stdlib_module_names or root in ("", "convai_lab"):
        return False
    file = getattr(sys.modules.get(module), "__file__", None)
    return file is None or not any(part in LIBRARY_FOLDERS for part in PurePath(file).parts)


def _is_ours(value: Any) -> bool:
    """Say whether it is a record of this package's, such as a judge, whose fields say what it does."""
    return type(value).__module__.startswith("convai_lab.") and (is_dataclass(value) or isinstance(value, LLM))


def _is_cached(value: Any) -> bool:
    return isinstance(value, functools.cached_property)


def _held(value: Any) -> dict[str, Any]:
    """Return the attributes of an object, also of one with slots; of a model of ours, which one it is."""
    if isinstance(value, LLM) and not _is_own(type(value).__module__):
        return {"provider": value.provider, "model": value.model}
    held = {}
    for name in (name for kind in type(value).__mro__ for name in _slots(kind)):
        with contextlib.suppress(AttributeError):
            held[name] = getattr(value, name)
    return {**held, **getattr(value, "__dict__", {})}


def _slots(kind: type) -> tuple[str, ...]:
    slots = vars(kind).get("__slots__", ())
    names = (slots,) if isinstance(slots, str) else tuple(slots)
    return tuple(name for name in names if name not in ("__dict__", "__weakref__"))


def _table(value: Any) -> str | None:
    """Return the content of a dataframe or an array that is not too large; None of what is none."""
    write: Callable[[], Any] | None = getattr(value, "to_csv", None) or getattr(value, "tobytes", None)
    size = getattr(value, "size", None)
    is_of_objects = str(getattr(value, "dtype", "")) == "object" and not hasattr(value, "to_csv")
    if not callable(write) or not isinstance(size, int) or size > MOST_TABLE_CELLS or is_of_objects:
        return None
    try:
        return f"{getattr(value, 'shape', '')} {write()!r}"
    except Exception:  # the edge: somebody else's object
        return None


def _said(value: Any) -> str:
    """Return how an object describes itself, or an address when it cannot."""
    try:
        return repr(value)
    except Exception:  # the edge: somebody else's object
        return object.__repr__(value)


def _type_name(value: Any) -> str:
    return f"{type(value).__module__}.{type(value).__qualname__}"
