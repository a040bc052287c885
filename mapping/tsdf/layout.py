"""Where what a volume knows lies in memory; docs/voxel_storage.md draws it.

The voxels of a block are in the order of octets, cubes of 2 x 2 x 2 voxels. The sums of an octet fill a cache line. What a frame
does not see, or does not find near a surface, comes in lumps: so by octets much memory need not be touched that in the order of
coordinates would be.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

OCTET, OCTETS = 8, 64
SLICE = 4096  # blocks that are read at a time, so that little is held twice
NO_SLOT = np.uint8(255)
INLINE, FURTHER = 2, 4
KEPT = INLINE + FURTHER
"""Labels of a voxel whose evidence is kept: the first two in its record, the others in a row of `Surface.more`."""
STEP = 4
"""Stretches have room for a multiple of this many octets."""
RED, GREEN, BLUE, PAINT, NAMES, FIRST, SECOND, MORE = range(8)  # columns of Surface.records
FURTHER_NAMES, EVIDENCE, LOST = 0, 2, 6  # columns of Surface.more from which on these lie
NEXT, END, NEXT_MORE, END_MORE = range(4)  # columns of a thread's room
START, USED, SIZE = range(3)  # columns of Surface.place
NAME = np.int32(0xFFFF)


def _places() -> NDArray[np.uint16]:
    i, j, k = np.indices((8, 8, 8)).reshape(3, -1)
    octet = (i >> 1) << 4 | (j >> 1) << 2 | k >> 1
    return (octet << 3 | (i & 1) << 2 | (j & 1) << 1 | k & 1).astype(np.uint16)


PLACES = _places()
"""(512,) by voxel 64 i + 8 j + k of a block: eight times the number of its octet, plus its number there."""
VOXEL_AT = np.argsort(PLACES).astype(np.uint16)
"""(512,) the voxel at each of these places."""


class Surface(NamedTuple):
    """slot (B, 64) uint8: where in its block's stretch an octet is, NO_SLOT where it has no records.

    place (B, 3) int32: the first record of the block's stretch, and how many octets it holds and has room for. records (S, 8)
    int32: sums of weight times red, green and blue, and of that weight; two label names of 16 bits in one number, the evidence of
    both; the row in `more`, 0 for none. more (M, 8) int32: four more names, two in a number, their evidence, and what was lost.
    A counter of 0 is not in use.
    """

    slot: NDArray[np.uint8]
    place: NDArray[np.int32]
    records: NDArray[np.int32]
    more: NDArray[np.int32]


def by_octets(sums: NDArray[np.int32]) -> NDArray[np.int32]:
    """(B, 64, 2, 8) of sums (B, 2, 512) by voxel."""
    return sums[:, :, VOXEL_AT].reshape(-1, 2, OCTETS, OCTET).transpose(0, 2, 1, 3)


def by_voxel(sums: NDArray[np.int32], rows: NDArray[np.int64]) -> NDArray[np.int32]:
    """(B, 2, 512) of `rows` (B,) of sums (R, 64, 2, 8) by octet."""
    found = np.zeros((len(rows), 2, OCTETS * OCTET), np.int32)
    for start in range(0, len(rows), SLICE):
        part = sums[rows[start : start + SLICE]].transpose(0, 2, 1, 3).reshape(-1, 2, OCTETS * OCTET)
        found[start : start + SLICE] = part[:, :, PLACES]
    return found
