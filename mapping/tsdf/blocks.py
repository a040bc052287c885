"""Sparse storage: a hash map from block coordinates to rows, and arrays of rows that double when they are full."""

from __future__ import annotations

import math
import mmap
import sys
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from mapping.tsdf.kernels.blocks import Table

FIRST_ROWS = 256
LONG_ROW = 32
RESERVED_BYTES = 1 << 34
"""Bytes of address space that an array of rows of LONG_ROW bytes or more gets at first; few maps exceed it and are copied."""
NO_RESERVE = getattr(mmap, "MAP_NORESERVE", 0x4000)  # in Python from 3.13 on


def with_rows(array: NDArray[Any], count: int) -> NDArray[Any]:
    """The array itself if it has `count` rows, else a copy with at least twice the rows, the new ones 0.

    New zero pages take no memory until they are written, so capacity for growth is address space only.
    """
    if len(array) >= count:
        return array
    row_bytes = array.itemsize * math.prod(array.shape[1:])
    rows = max(count, 2 * len(array), FIRST_ROWS)
    grown = None
    if row_bytes >= LONG_ROW:
        grown = _reserved(max(rows, RESERVED_BYTES // row_bytes), array)
    if grown is None:
        grown = np.zeros((rows, *array.shape[1:]), array.dtype)
    grown[: len(array)] = array
    return grown


def _reserved(rows: int, like: NDArray[Any]) -> NDArray[Any] | None:
    """Rows of zeros that take no memory before they are written; None where the system does not support that."""
    if sys.platform != "linux":
        return None
    shape = (rows, *like.shape[1:])
    try:
        flags = mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | NO_RESERVE
        memory = mmap.mmap(-1, like.itemsize * math.prod(shape), flags=flags)
        memory.madvise(mmap.MADV_HUGEPAGE)
    except (AttributeError, OSError, ValueError, OverflowError):
        return None  # a limit of address space, or a system without huge pages
    return np.frombuffer(memory, like.dtype).reshape(shape)


class ReachError(ValueError):
    """Positions too far apart for one map."""


class BlockMap:
    """Numbers integer block coordinates (x, y, z) in the order in which they are first inserted.

    Coordinates may be anywhere, as in a national grid, but all within 2^20 blocks of the first one along each axis.
    """

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
    def table(self) -> Table:
        """The hash table for compiled code."""
        from mapping.tsdf.kernels.blocks import Table

        origin = self._coords[0] if self.count else np.zeros(3)
        return Table(self._keys, self._rows, origin.astype(np.int64))

    @property
    def nbytes(self) -> int:
        """Bytes of the table and the coordinates in use."""
        return self._keys.nbytes + self._rows.nbytes + self.coords.nbytes

    def order(self) -> NDArray[np.int64]:
        """Rows (count,) in the order of their coordinates: the same whatever the order of insertion."""
        x, y, z = self.coords.T
        return np.lexsort((z, y, x))

    def find(self, coords: NDArray[np.int32]) -> NDArray[np.int32]:
        """Rows (B,) of coordinates (B, 3), -1 for absent ones."""
        from mapping.tsdf.kernels import blocks as kernels

        rows = np.zeros(len(coords), np.int32)
        kernels.find_rows(self.table, coords, rows)
        return rows

    def insert(self, coords: NDArray[np.int32]) -> NDArray[np.int32]:
        """Rows (B,) of coordinates (B, 3), which get a row where they had none.

        Raises ReachError for coordinates too far apart; nothing is inserted then.
        """
        from mapping.tsdf.kernels import blocks as kernels

        if not len(coords):
            return np.zeros(0, np.int32)
        first = (self._coords if self.count else coords)[0].astype(np.int64)
        self._reserve(self.count + len(coords), first)
        self._coords = with_rows(self._coords, self.count + len(coords))
        rows = np.zeros(len(coords), np.int32)
        table = kernels.Table(self._keys, self._rows, first)
        count = kernels.insert_rows(table, coords, self.count, self._coords, rows)
        if count < 0:
            raise ReachError(f"positions must be within {kernels.REACH} blocks of 8 voxels of the first one fused")
        self.count = count
        return rows

    def _reserve(self, count: int, origin: NDArray[np.int64]) -> None:
        if 2 * count <= len(self._keys):
            return
        from mapping.tsdf.kernels import blocks as kernels

        size = 1 << int(2 * count - 1).bit_length()
        self._keys, self._rows = np.full(size, -1, np.int64), np.zeros(size, np.int32)
        table = kernels.Table(self._keys, self._rows, origin)
        kernels.insert_rows(table, self.coords, 0, self._coords, np.zeros(self.count, np.int32))
