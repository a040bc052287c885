"""Compilation of kernels: common options, where the compiled code is stored, and reports of compilations to the user."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Literal

FAST = {"contract", "nsz", "arcp"}
"""What `fastmath` may do: nothing that hides NaN."""
INNER = {"nogil": True, "_nrt": False}
"""Options of `numba.njit` for a kernel that only other kernels call and that makes no arrays of its own.

It counts no references to its array arguments, since its caller keeps them. Counting takes an atomic addition per array and call,
which waits for all pending reads and writes; in a function of a few nanoseconds this is most of the time.
"""
Event = Literal["begins", "ends"]
Listener = Callable[[str, Event], None]
_listeners: list[Listener] = []


def kernel(**options: Any) -> Callable[[Callable[..., Any]], Any]:
    """Decorate a function to be compiled by `numba.njit` with these options, and kept on disk for the next process.

    The stored code is reused only as long as all sources that were compiled into it are unchanged, in any file
    (`mapping.kernel_cache`). Without a writable folder every process compiles again.
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
def compilations_reported_to(listener: Listener) -> Iterator[None]:
    """Within, call `listener` with the name of each kernel that is not on disk, when its compilation begins and when it ends.

    The call comes from the thread that compiles; only one does at a time.
    """
    _listeners.append(listener)
    try:
        yield
    finally:
        _listeners.remove(listener)


def _report(name: str, event: Event) -> None:
    for listener in list(_listeners):
        listener(name, event)
