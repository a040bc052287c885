"""Work split over a few threads. Compiled code frees the interpreter while it runs, so plain threads are enough."""

from __future__ import annotations

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from typing import TypeVar

MOST_THREADS = 4
Result = TypeVar("Result")


def thread_count(wanted: int | None) -> int:
    """The number of threads to use: what is wanted, or one for each core this process may use, at most four."""
    if wanted is not None:
        return wanted
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return min(cores, MOST_THREADS)


def split(count: int, parts: int) -> list[tuple[int, int]]:
    """range(count) cut into `parts` contiguous pieces (start, stop) of about the same length."""
    return [(count * part // parts, count * (part + 1) // parts) for part in range(parts)]


def run_parts(work: Callable[[int], Result], parts: int) -> list[Result]:
    """[work(0), ..., work(parts - 1)], each in a thread of its own; the caller's thread does the first."""
    if parts == 1:
        return [work(0)]
    futures = [_executor(parts - 1).submit(work, part) for part in range(1, parts)]
    try:
        first = work(0)
    finally:
        rest = [
            future.result() for future in futures
        ]  # never leave a thread at work on arrays that the caller may change
    return [first, *rest]


@cache
def _executor(threads: int) -> ThreadPoolExecutor:
    return ThreadPoolExecutor(threads, thread_name_prefix="mapping")
