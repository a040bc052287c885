"""How kernels are compiled: options that they share, where what is compiled is kept, and who is told that it takes a while."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

FAST = {"contract", "nsz", "arcp"}
"""What `fastmath` may do: nothing that hides a value that is not a number."""
INNER = {"nogil": True, "_nrt": False}
"""Options of `numba.njit` for a kernel that only other kernels call and that makes no arrays of its own.

It counts no references to the arrays that it is given, since its caller holds them. To count them takes an atomic addition an
array and call, and that waits for all reads and writes under way; in a function of a few nanoseconds this is most of the time.
"""
_listeners: list[Callable[[str], None]] = []


def kernel(**options: Any) -> Callable[[Callable[..., Any]], Any]:
    """Decorate a function to be compiled by `numba.njit` with these options, and kept on disk for the next process.

    What is kept is used again only as long as everything that was compiled into it is the same, in whichever file
    (`mapping.kernel_cache`). Where no folder can be written every process compiles anew.
    """
    import numba

    from mapping.kernel_cache import KernelCache

    def compiled(function: Callable[..., Any]) -> Any:
        result: Any = numba.njit(**options)(function)
        if result is not function:  # as it is with NUMBA_DISABLE_JIT
            result._cache = KernelCache.of(function, _report)
        return result

    return compiled


@contextmanager
def compilations_reported_to(listener: Callable[[str], None]) -> Iterator[None]:
    """Within, call `listener` with the name of each kernel that is not on disk, before it is compiled, from any thread."""
    _listeners.append(listener)
    try:
        yield
    finally:
        _listeners.remove(listener)


def _report(name: str) -> None:
    for listener in list(_listeners):
        listener(name)
