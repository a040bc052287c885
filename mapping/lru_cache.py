"""Values that are costly to make, kept for when they are asked for again, within a limit of memory."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from typing import Generic, TypeVar

V = TypeVar("V")


class LruCache(Generic[V]):
    """Values by frame number; the least recently used are dropped when all together take more than `max_bytes`.

    `size` says how many bytes a value takes. The latest value is always kept. For one thread at a time.
    """

    def __init__(self, max_bytes: int, size: Callable[[V], int]) -> None:
        self._max_bytes, self._size = max_bytes, size
        self._values: OrderedDict[int, V] = OrderedDict()
        self._bytes = 0

    def get(self, number: int, make: Callable[[], V]) -> V:
        """The value of that number, made now where it is not known; what `make` raises is not remembered."""
        if number in self._values:
            self._values.move_to_end(number)
            return self._values[number]
        value = make()
        self._values[number] = value
        self._bytes += self._size(value)
        while self._bytes > self._max_bytes and len(self._values) > 1:
            self._bytes -= self._size(self._values.popitem(last=False)[1])
        return value

    def clear(self) -> None:
        """Drop all values."""
        self._values.clear()
        self._bytes = 0
