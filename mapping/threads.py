"""Work split over a few threads. Compiled code releases the interpreter lock while it runs, so plain threads suffice."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from functools import cache
from queue import SimpleQueue
from typing import Any, TypeVar, cast

MAX_THREADS = 4
Result = TypeVar("Result")


def thread_count(wanted: int | None) -> int:
    """The number of threads to use: `wanted`, or one per core that this process may use, at most four."""
    if wanted is not None:
        return wanted
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return min(cores, MAX_THREADS)


def split(count: int, parts: int) -> list[tuple[int, int]]:
    """range(count) cut into `parts` contiguous pieces (start, stop) of about the same length."""
    return [(count * part // parts, count * (part + 1) // parts) for part in range(parts)]


def run_parts(work: Callable[[int], Result], parts: int) -> list[Result]:
    """[work(0), ..., work(parts - 1)], each in a thread of its own; the caller's thread runs the first.

    Raises the exception of a part once all parts have ended, so that no thread still works on arrays that the caller may change.
    """
    if parts == 1:
        return [work(0)]
    ended: SimpleQueue[tuple[int, Result | None, BaseException | None]] = SimpleQueue()
    for part in range(1, parts):
        _worker(part).put((work, part, ended))
    results: dict[int, Result] = {}
    errors: list[BaseException] = []
    try:
        results[0] = work(0)
    except BaseException as error:
        errors.append(error)
    left = parts - 1
    while left:
        try:
            part, result, failure = ended.get()
        except BaseException as error:  # an interrupt: the others are still running
            errors.append(error)
            continue
        left -= 1
        if failure is not None:
            errors.append(failure)
        else:
            results[part] = cast(Result, result)
    if errors:
        raise errors[0]
    return [results[part] for part in range(parts)]


@cache
def _worker(number: int) -> SimpleQueue[Any]:
    """The tasks of a thread that runs as long as the process: starting a thread, or a future, takes longer than a small task."""
    tasks: SimpleQueue[Any] = SimpleQueue()

    def serve() -> None:
        while True:
            _serve(*tasks.get())

    threading.Thread(target=serve, name=f"mapping-{number}", daemon=True).start()
    return tasks


def _serve(work: Callable[[int], Any], part: int, ended: SimpleQueue[Any]) -> None:
    """Run a part; what it references is released when this function returns, not when the thread gets its next task."""
    try:
        ended.put((part, work(part), None))
    except BaseException as error:  # the caller raises it
        ended.put((part, None, error))
