"""Open addressing from integer block coordinates to row numbers, compiled."""

from __future__ import annotations

from typing import NamedTuple

import numba
import numpy as np

from mapping.arrays import Int32Array, Int64Array
from mapping.compiling import INNER, kernel
from mapping.tsdf.kernels.bits import fetch

REACH = 1 << 20  # blocks from the origin of a table along each axis, so that three coordinates fit into one key
BITS = np.int64(21)
_MIX = np.uint64(0x9E3779B97F4A7C15)  # 2^64 over the golden ratio: spreads adjacent keys
EMPTY = -1


class Table(NamedTuple):
    """A hash table from blocks to rows."""

    keys: Int64Array
    """(2^n,) coordinates as one number, EMPTY in unused slots, of which there is at least one."""
    rows: Int32Array
    """(2^n,) the row of each key."""
    origin: Int64Array
    """(3,) the block from which coordinates are counted."""


class BlockRows(NamedTuple):
    """Blocks and where their sums are."""

    coords: Int32Array
    """(B, 3) coordinates in blocks."""
    rows: Int32Array
    """(B,) rows of the arrays of sums."""


@numba.njit(**INNER)
def key_of(table: Table, x: int, y: int, z: int) -> np.int64:
    """Three coordinates as one key, EMPTY beyond the reach of the table."""
    i, j, k = x - table.origin[0] + REACH, y - table.origin[1] + REACH, z - table.origin[2] + REACH
    if (i | j | k) >> BITS:
        return np.int64(EMPTY)
    return (i << (2 * BITS)) | (j << BITS) | k


@numba.njit(**INNER)
def first_slot(table: Table, key: np.int64) -> np.uint64:
    """The slot at which the search for a key begins."""
    return ((np.uint64(key) * _MIX) >> np.uint64(20)) & np.uint64(len(table.keys) - 1)


@numba.njit(**INNER)
def slot_of(table: Table, key: np.int64) -> np.uint64:
    """The slot that contains `key` or the empty one where it belongs."""
    mask = np.uint64(len(table.keys) - 1)
    slot = first_slot(table, key)
    while table.keys[slot] != EMPTY and table.keys[slot] != key:
        slot = (slot + np.uint64(1)) & mask
    return slot


@numba.njit(**INNER)
def find(table: Table, x: int, y: int, z: int) -> np.int32:
    """The row of block (x, y, z), -1 when it is absent."""
    key = key_of(table, x, y, z)
    slot = slot_of(table, key)
    return table.rows[slot] if key != EMPTY and table.keys[slot] != EMPTY else np.int32(-1)


@kernel(nogil=True)
def find_rows(table: Table, coords: Int32Array, out: Int32Array) -> None:
    """The rows (B,) of blocks (B, 3), -1 for absent ones."""
    for i in range(len(coords)):
        out[i] = find(table, coords[i, 0], coords[i, 1], coords[i, 2])


@kernel(nogil=True)
def insert_rows(table: Table, coords: Int32Array, count: int, all_coords: Int32Array, out: Int32Array) -> int:
    """The rows (B,) of blocks (B, 3); new ones are numbered from `count` on and written to `all_coords`.

    Returns the number of rows afterwards, or -1, without any change, when a block is beyond reach.
    """
    for i in range(len(coords)):
        key = key_of(table, coords[i, 0], coords[i, 1], coords[i, 2])
        if key == EMPTY:
            return -1
        fetch(table.keys, first_slot(table, key))
        fetch(table.rows, first_slot(table, key))
    for i in range(len(coords)):
        x, y, z = coords[i, 0], coords[i, 1], coords[i, 2]
        key = key_of(table, x, y, z)
        slot = slot_of(table, key)
        if table.keys[slot] == EMPTY:
            table.keys[slot], table.rows[slot] = key, count
            all_coords[count, 0], all_coords[count, 1], all_coords[count, 2] = x, y, z
            count += 1
        out[i] = table.rows[slot]
    return count
