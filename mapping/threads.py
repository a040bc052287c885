"""Work split over a few threads. Compiled code releases the interpreter lock while it runs, so plain threads suffice."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from functools import cache
from queue import SimpleQueue
from typing import Any, TypeVar, cast

from mapping.cores import available_cores

MAX_THREADS = 4
THREADS_VARIABLE = "M2H_THREADS"
"""Variable of the environment with the number of threads of this process, where it shares the machine with others of ours."""
Result = TypeVar("Result")


class ThreadsError(ValueError):
    """An unusable number of threads in the environment."""


def thread_count(wanted: int | None) -> int:
    """The number of threads to use: `wanted`, that of the environment, or one per core that this process may use, at most four.

    Raises ThreadsError where the environment has no number.
    """
    if wanted is not None:
        return wanted
    text = os.environ.get(THREADS_VARIABLE)
    if not text:
        return min(available_cores(), MAX_THREADS)
    if not text.isdecimal() or int(text) < 1:
        raise ThreadsError(f"{THREADS_VARIABLE}={text}: expected a whole number >= 1")
    return min(int(text), MAX_THREADS)


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
