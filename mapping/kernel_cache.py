"""Compiled kernels on disk, each in a file that is named by a digest of everything that was compiled into it.

numba's own cache checks whether the source file of a function has changed, but not whether another file has whose functions or
constants are compiled into it. The digest here is of what the compiler reads: the function's bytecode, the values of the globals
that it uses, the same of all kernels among these, the options, and types and field names of the arguments. So it
depends on the code in memory alone, no file has to be read or watched, and an edited comment does not cause a compilation.

One file has one kernel for one set of argument types. It is written next to its name and then renamed: so a killed process, or
another one that writes the same, leaves a complete file or none. An unreadable file is compiled again, and without a writable
folder nothing is stored. numba chooses the folder: NUMBA_CACHE_DIR, `__pycache__` next to the source or, if that is not writable,
the cache folder of the user.
"""

from __future__ import annotations

import contextlib
import hashlib
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import BuiltinFunctionType, CodeType, FunctionType, ModuleType
from typing import Any

import llvmlite
import numba
import numpy as np
from numba import types
from numba.core.caching import FunctionCache, IndexDataCacheFile, NullCache
from numba.core.dispatcher import Dispatcher
from numba.core.sigutils import normalize_signature

LIBRARIES = ("numpy", "numba", "llvmlite", "math", "builtins")
"""Packages whose functions are known by their names; which version of numba compiles them is in every file's name."""
DIGITS = 16


class KernelCache(FunctionCache):  # type: ignore[misc]
    """The cache that numba reads before it compiles a kernel and writes afterwards."""

    def __init__(self, function: FunctionType, report: Callable[[str, Any], None]) -> None:
        super().__init__(function)
        self._report = report
        self._cache_file = _Files(self.cache_path, f"{_short_name(function)}.{sys.implementation.cache_tag}")

    @staticmethod
    def of(function: Any, report: Callable[[str, Any], None]) -> Any:
        """The cache of a kernel; one that stores nothing without a writable folder.

        `report` is called with the name of a kernel and "begins" before it is compiled, and "ends" afterwards.
        """
        try:
            return KernelCache(function, report)
        except RuntimeError:  # numba found no folder
            return NullCache()

    def load_overload(self, sig: Any, target_context: Any) -> Any:
        found = super().load_overload(sig, target_context)
        if found is None:
            self._report(_short_name(self._py_func), "begins")
        return found

    def save_overload(self, sig: Any, data: Any) -> None:
        self._report(_short_name(self._py_func), "ends")
        super().save_overload(sig, data)

    def _index_key(self, sig: Any, codegen: Any) -> tuple[str, str]:
        """(digest of the kernel, digest of the arguments' types, the machine and the compiler)."""
        arguments, _ = normalize_signature(sig)
        versions = (numba.__version__, llvmlite.__version__)
        return fingerprint(self._py_func), _digest((*map(_layout, arguments), repr(codegen.magic_tuple()), versions))


class _Files(IndexDataCacheFile):  # type: ignore[misc]
    """The files of one kernel; without an index, since the name of a file is the digest of its contents."""

    def __init__(self, folder: str, base: str) -> None:
        super().__init__(folder, base, None)
        self._base, self._folder = base, Path(folder)

    def save(self, key: tuple[str, str], data: Any) -> None:
        with contextlib.suppress(OSError):
            self._save_data(f"{self._base}.{key[0]}.{key[1]}.nbc", data)
            for path in self._folder.glob(f"{self._base}.*.nbc*"):
                if not path.name.startswith(f"{self._base}.{key[0]}."):
                    path.unlink(missing_ok=True)

    def load(self, key: tuple[str, str]) -> Any:
        try:
            return self._load_data(f"{self._base}.{key[0]}.{key[1]}.nbc")
        except Exception:  # absent, truncated, or of a class that no longer exists: compile it again
            return None

    def flush(self) -> None:
        for path in self._folder.glob(f"{self._base}.*.nbc*"):
            path.unlink(missing_ok=True)


def fingerprint(function: FunctionType) -> str:
    """A digest of all that is compiled into a kernel: the same in every process until one of these parts changes."""
    return _digest(_describe(function, set()))


def _short_name(function: FunctionType) -> str:
    name = f"{function.__module__.rpartition('.')[2]}.{function.__qualname__}"
    return name.replace("<", "").replace(">", "")


def _digest(description: Any) -> str:
    return hashlib.sha256(repr(description).encode()).hexdigest()[:DIGITS]


def _layout(kind: Any) -> Any:
    """A type of numba as text, with the names of its fields, by which a kernel reads it and which its own text lacks."""
    if not isinstance(kind, types.BaseTuple):
        return str(kind)
    return str(kind), getattr(kind, "fields", ()), tuple(map(_layout, kind.types))


def _describe(value: Any, seen: set[int]) -> Any:
    """A value that a kernel uses, as nested tuples whose text is the same in every process; `seen` are functions described."""
    if isinstance(value, Dispatcher):
        return "kernel", _describe(value.targetoptions, seen), _describe(value.py_func, seen)
    if isinstance(value, type | BuiltinFunctionType | FunctionType) or hasattr(value, "__qualname__"):
        return _describe_named(value, seen)
    if isinstance(value, ModuleType):
        return "module", value.__name__
    if isinstance(value, np.ndarray | np.generic):
        return "array", str(value.dtype), value.shape, value.tobytes()
    if isinstance(value, dict):
        return "dict", tuple(sorted((repr(key), _describe(part, seen)) for key, part in value.items()))
    if isinstance(value, set | frozenset):
        return "set", tuple(sorted(repr(_describe(part, seen)) for part in value))
    if isinstance(value, tuple | list):
        return type(value).__name__, getattr(value, "_fields", ()), tuple(_describe(part, seen) for part in value)
    return type(value).__name__, repr(value)


def _describe_named(value: Any, seen: set[int]) -> Any:
    """A function or class; those of libraries and compiled ones by name, ours by what is in them, each once."""
    name = f"{value.__module__}.{value.__qualname__}"
    defined = getattr(value, "_defn", value)  # of an intrinsic
    if isinstance(value, type):  # a named tuple, an enumeration, or a type that the name says all about
        parts = (getattr(value, part, {}) for part in ("_field_defaults", "__members__"))
        return name, getattr(value, "_fields", ()), *(_describe(dict(part), seen) for part in parts)
    if name.partition(".")[0] in LIBRARIES or not isinstance(defined, FunctionType) or id(defined) in seen:
        return name
    seen.add(id(defined))
    return name, _describe_function(defined, seen)


def _describe_function(function: FunctionType, seen: set[int]) -> Any:
    cells = [cell.cell_contents for cell in function.__closure__ or ()]
    defaults = (function.__defaults__, function.__kwdefaults__, cells)
    return (
        _describe_code(function.__code__, function.__doc__),
        _describe(defaults, seen),
        tuple((name, _describe(value, seen)) for name, value in _used_globals(function)),
    )


def _describe_code(code: CodeType, doc: str | None = None) -> Any:
    constants = (
        _describe_code(c) if isinstance(c, CodeType) else _describe(c, set()) for c in code.co_consts if c != doc
    )
    variables = (code.co_varnames, code.co_freevars, code.co_cellvars, code.co_argcount)
    return code.co_code, code.co_names, variables, tuple(constants), getattr(code, "co_exceptiontable", b"")


def _used_globals(function: FunctionType) -> Iterator[tuple[str, Any]]:
    """Names and values of the globals that a function reads, and of what it reads in modules among these."""
    names = sorted(set(_names(function.__code__)))
    for name in names:
        if name not in function.__globals__:
            continue
        value = function.__globals__[name]
        yield name, value
        if isinstance(value, ModuleType) and value.__name__.partition(".")[0] not in LIBRARIES:
            yield from ((f"{name}.{part}", getattr(value, part)) for part in names if hasattr(value, part))


def _names(code: CodeType) -> Iterator[str]:
    yield from code.co_names
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield from _names(constant)
