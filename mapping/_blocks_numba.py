"""Open addressing from integer block coordinates to row numbers, compiled."""

from __future__ import annotations

from typing import Any

import numba
import numpy as np
from numpy.typing import NDArray

COORDINATE_BITS = 21
_OFFSET = 1 << (COORDINATE_BITS - 1)
_MIX = np.uint64(0x9E3779B97F4A7C15)  # 2^64 over the golden ratio: spreads neighbouring keys
EMPTY = -1


@numba.njit(inline="always")
def pack(x: Any, y: Any, z: Any) -> Any:
    """Three coordinates as one key that is never negative."""
    shift = np.int64(COORDINATE_BITS)
    return ((np.int64(x) + _OFFSET) << (2 * shift)) | ((np.int64(y) + _OFFSET) << shift) | (np.int64(z) + _OFFSET)


@numba.njit(inline="always")
def slot_of(keys: Any, key: Any) -> Any:
    """The slot that holds `key` or the empty one where it belongs; the table is a power of two long and never full."""
    mask = np.uint64(len(keys) - 1)
    slot = ((np.uint64(key) * _MIX) >> np.uint64(20)) & mask
    while keys[slot] != EMPTY and keys[slot] != key:
        slot = (slot + np.uint64(1)) & mask
    return slot


@numba.njit(inline="always")
def find(keys: Any, rows: Any, x: Any, y: Any, z: Any) -> Any:
    """The row of block (x, y, z), -1 where there is none."""
    slot = slot_of(keys, pack(x, y, z))
    return rows[slot] if keys[slot] != EMPTY else np.int32(-1)


@numba.njit(cache=True, nogil=True)
def find_rows(
    keys: NDArray[np.int64], rows: NDArray[np.int32], coords: NDArray[np.int32], out: NDArray[np.int32]
) -> None:
    """The rows (B,) of blocks (B, 3), -1 where there is none."""
    for i in range(len(coords)):
        out[i] = find(keys, rows, coords[i, 0], coords[i, 1], coords[i, 2])


@numba.njit(cache=True, nogil=True)
def insert_rows(
    keys: NDArray[np.int64], rows: NDArray[np.int32], coords: NDArray[np.int32], count: int, out: NDArray[np.int32]
) -> int:
    """The rows (B,) of blocks (B, 3); new ones are numbered from `count` on. Returns the number of rows afterwards."""
    for i in range(len(coords)):
        key = pack(coords[i, 0], coords[i, 1], coords[i, 2])
        slot = slot_of(keys, key)
        if keys[slot] == EMPTY:
            keys[slot] = key
            rows[slot] = count
            count += 1
        out[i] = rows[slot]
    return count
