"""Prefetching, and the allocator setting."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest

from m2h.runtime import keep_freed_memory, prefetched


def test_items_come_in_order() -> None:
    assert list(prefetched(iter(range(50)), depth=3)) == list(range(50))
    assert list(prefetched([])) == []


def test_the_thread_stays_at_most_depth_ahead() -> None:
    made: list[int] = []

    def items() -> Iterator[int]:
        for i in range(20):
            made.append(i)
            yield i

    for i in prefetched(items(), depth=2):
        assert made[-1] <= i + 4  # two in the queue, one handed over, one being made


def test_errors_arrive_after_the_items_before_them() -> None:
    def items() -> Iterator[int]:
        yield 1
        raise KeyError("broken")

    stream = prefetched(items())
    assert next(stream) == 1
    with pytest.raises(KeyError, match="broken"):
        next(stream)


def test_stopping_early_ends_the_thread() -> None:
    stream = prefetched(iter(range(10**9)))
    assert next(stream) == 0
    stream.close()  # type: ignore[attr-defined]
    assert not [thread for thread in threading.enumerate() if thread.name == "prefetch"]


def test_memory_setting_reports_whether_it_holds() -> None:
    assert keep_freed_memory() in (True, False)
