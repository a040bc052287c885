"""Sparse storage: a hash map from block coordinates to rows, and arrays of rows that double when they are full."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

MAX_COORDINATE = (1 << 20) - 1
FIRST_ROWS = 256


def with_rows(array: NDArray[Any], count: int) -> NDArray[Any]:
    """The array itself if it has `count` rows, else a copy with at least twice the rows, the new ones 0.

    Fresh zero pages cost no memory until they are written, so doubling reserves address space only.
    """
    if len(array) >= count:
        return array
    grown = np.zeros((max(count, 2 * len(array), FIRST_ROWS), *array.shape[1:]), array.dtype)
    grown[: len(array)] = array
    return grown


class BlockMap:
    """Numbers integer block coordinates (x, y, z) in the order in which they are first inserted."""

    def __init__(self) -> None:
        self.count = 0
        self._coords = np.zeros((0, 3), np.int32)
        self._keys = np.full(2 * FIRST_ROWS, -1, np.int64)
        self._rows = np.zeros(2 * FIRST_ROWS, np.int32)

    @property
    def coords(self) -> NDArray[np.int32]:
        """The coordinates (count, 3) by row."""
        return self._coords[: self.count]

    @property
    def table(self) -> tuple[NDArray[np.int64], NDArray[np.int32]]:
        """The hash table for compiled code: keys and rows."""
        return self._keys, self._rows

    @property
    def nbytes(self) -> int:
        """Bytes of the table and the coordinates in use."""
        return self._keys.nbytes + self._rows.nbytes + self.coords.nbytes

    def order(self) -> NDArray[np.int64]:
        """Rows (count,) in the order of their coordinates: the same whatever the order of insertion."""
        x, y, z = self.coords.T
        return np.lexsort((z, y, x))

    def find(self, coords: NDArray[np.int32]) -> NDArray[np.int32]:
        """Rows (B,) of coordinates (B, 3), -1 where there is none."""
        from mapping import _blocks_numba as kernels

        rows = np.zeros(len(coords), np.int32)
        kernels.find_rows(self._keys, self._rows, coords, rows)
        return rows

    def insert(self, coords: NDArray[np.int32]) -> NDArray[np.int32]:
        """Rows (B,) of coordinates (B, 3), which get a row where they had none.

        Raises OverflowError beyond 2^20 blocks from the origin.
        """
        from mapping import _blocks_numba as kernels

        if len(coords) and max(int(coords.max()), -int(coords.min())) > MAX_COORDINATE:
            raise OverflowError(f"block coordinates must be within {MAX_COORDINATE} of the origin")
        self._reserve(self.count + len(coords))
        rows, before = np.zeros(len(coords), np.int32), self.count
        self.count = kernels.insert_rows(self._keys, self._rows, coords, self.count, rows)
        new = rows >= before
        self._coords = with_rows(self._coords, self.count)
        self._coords[rows[new]] = coords[new]
        return rows

    def _reserve(self, count: int) -> None:
        if 2 * count <= len(self._keys):
            return
        from mapping import _blocks_numba as kernels

        size = 1 << int(2 * count - 1).bit_length()
        self._keys, self._rows = np.full(size, -1, np.int64), np.zeros(size, np.int32)
        kernels.insert_rows(self._keys, self._rows, self.coords, 0, np.zeros(self.count, np.int32))
