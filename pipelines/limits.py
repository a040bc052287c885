"""A limit on the address space (`ulimit -v`): libraries end a process in their own ways where it is too small."""

from __future__ import annotations

import os
import sys

try:
    import resource
except ImportError:  # of the standard library, and not on Windows
    sys.exit("m2h: needs Linux or macOS; on Windows, install it in WSL 2")

LEAST = 1 << 30
"""Bytes of address space below which not even the libraries of a command can be loaded."""
NEEDED = 4 << 30
"""Bytes with which a small map is made; most of it is reserved by libraries and never used."""
MEMORY_WORDS = (
    "failed to map segment",
    "shared object",
    "annot allocate memory",
    "can't start new thread",
    "bad_alloc",
    "nsufficient memory",
)
"""What libraries say where they cannot be loaded, start a thread or get memory."""


def limit_message() -> str | None:
    """How much address space is allowed, and how much a run needs; None where there is no limit."""
    limit = _limit()
    if limit is None:
        return None
    return f"ulimit -v allows {limit >> 20} MiB of address space, a run needs about {NEEDED >> 20} MiB"


def check_limit() -> None:
    """Before libraries are loaded: raises MemoryError where the limit is too small for them, otherwise prepares them for it."""
    limit = _limit()
    if limit is None:
        return
    if limit < LEAST:
        raise MemoryError(f"less than {LEAST >> 20} MiB")
    # Each of its threads reserves memory, and where one cannot be started it interrupts the process as Ctrl-C would.
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")


def is_lack_of_memory(error: BaseException) -> bool:
    """Whether memory was lacking; what libraries say counts where there is a limit."""
    if isinstance(error, MemoryError):
        return True
    return _limit() is not None and any(words in str(error) for words in MEMORY_WORDS)


def _limit() -> int | None:
    soft, _ = resource.getrlimit(resource.RLIMIT_AS)
    return None if soft == resource.RLIM_INFINITY else soft
