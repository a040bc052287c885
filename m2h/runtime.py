"""Settings of the process that make a network run faster, without torch."""

from __future__ import annotations

import ctypes
import queue
import sys
import threading
from collections.abc import Generator, Iterable
from typing import TypeVar

T = TypeVar("T")

_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3  # glibc, malloc.h


def keep_freed_memory() -> bool:
    """Let glibc keep large freed blocks for the next allocation instead of giving them back; returns whether that could be set.

    A decoder on a CPU allocates and frees maps of 10-100 MB all the time. By default each is mapped anew, and first touching its
    pages costs several times as much as the arithmetic. The setting applies to the whole process, whose resident memory then
    stays at its peak. Elsewhere than on glibc nothing is changed.
    """
    if not sys.platform.startswith("linux"):
        return False
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (OSError, AttributeError):
        return False
    return bool(mallopt(_M_MMAP_THRESHOLD, 1 << 30)) and bool(mallopt(_M_TRIM_THRESHOLD, (1 << 31) - 1))


def prefetched(items: Iterable[T], depth: int = 2) -> Generator[T, None, None]:
    """The items, in order, made by a thread that stays at most `depth` items ahead.

    Chained (`for x in prefetched(network(prefetched(frames)))`) decoding, network and the loop's own body overlap. What the
    items raise is raised here. When the consumer stops early the thread ends after the item it is at.
    """
    line: queue.Queue[tuple[str, object]] = queue.Queue(maxsize=depth)
    stopped = threading.Event()

    def put(kind: str, value: object) -> bool:
        while not stopped.is_set():
            try:
                line.put((kind, value), timeout=0.1)
            except queue.Full:
                continue
            return True
        return False

    def produce() -> None:
        try:
            for item in items:
                if not put("item", item):
                    return
            put("end", None)
        except BaseException as error:  # handed to the consumer, which raises it
            put("error", error)

    thread = threading.Thread(target=produce, daemon=True, name="prefetch")
    thread.start()
    try:
        while True:
            kind, value = line.get()
            if kind == "end":
                return
            if kind == "error":
                assert isinstance(value, BaseException)
                raise value
            yield value  # type: ignore[misc]
    finally:
        stopped.set()
        thread.join()
