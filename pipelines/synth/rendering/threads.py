"""Parallel kernels and frames.

Pieces of a kernel write to disjoint memory and frames share no mutable state, so results do not depend on the number
of threads. Where whole frames run in parallel, a frame's kernels are not split any further.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Generator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, TypeVar

from mapping.threads import run_parts, split, thread_count

GRAIN = 4096
"""Least length of a piece: below it a thread costs more than it saves."""
AHEAD = 2
"""Pieces of work per thread that may wait for an unfinished one."""

Result = TypeVar("Result")
_here = threading.local()


def spread(kernel: Callable[..., None], count: int, *args: Any, grain: int = GRAIN) -> None:
    """Call `kernel(first, last, *args)` over pieces of range(count), in parallel where that pays."""
    threads = 1 if getattr(_here, "is_worker", False) else thread_count(None)
    pieces = split(count, max(1, min(threads, count // grain)))
    run_parts(lambda part: kernel(*pieces[part], *args), len(pieces))


def in_order(work: Callable[[int], Result], count: int) -> Generator[Result, None, None]:
    """work(0), ..., work(count - 1), computed in parallel; only a few are computed ahead of the consumer.

    Close it when iteration ends early: running work is waited for, the rest is dropped.
    """
    threads = thread_count(None)
    pending: deque[Future[Result]] = deque()
    with ThreadPoolExecutor(threads, thread_name_prefix="synth", initializer=_become_worker) as pool:
        try:
            for index in range(count):
                pending.append(pool.submit(work, index))
                if len(pending) >= AHEAD * threads:
                    yield pending.popleft().result()
            while pending:
                yield pending.popleft().result()
        finally:
            for future in pending:
                future.cancel()


def _become_worker() -> None:
    _here.is_worker = True
