"""The layout of a volume in memory; docs/voxel_storage.md draws it.

The voxels of a block are in the order of octets, cubes of 2 x 2 x 2 voxels. The sums of an octet fill a cache line. Voxels that a
frame does not see, or that are not near a surface, are clustered, so in this order fewer cache lines are touched than in the
order of coordinates.

Voxels near surfaces also have a record of colour and label evidence. Records are allocated by octets: a block has a segment, a
contiguous range of records, with eight for each of its octets that ever came near a surface. Each thread allocates segments from
its own arena, a range of unused records, and from its own lists of segments that blocks have left.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from mapping.arrays import Int32Array, Int64Array, UInt8Array

OCTET, OCTETS = 8, 64
SLICE = 4096  # blocks that are copied at a time, which limits the additional memory
NO_SLOT = np.uint8(255)
INLINE, FURTHER = 2, 4
KEPT = INLINE + FURTHER
"""Labels of a voxel whose evidence is kept: the first two in its record, the others in a row of `SurfaceRecords.more`."""
STEP = 4
"""Segments have a capacity of a multiple of this many octets."""

# Columns of SurfaceRecords.records
RED, GREEN, BLUE = range(3)
COLOR_WEIGHT, NAMES, FIRST = range(3, 6)
SECOND, MORE = 6, 7

FURTHER_NAMES, EVIDENCE, LOST = 0, 2, 6  # first columns of each kind in SurfaceRecords.more

# Columns of Allocator.arena: the next unused record and row of `more`, and the ends of the range.
NEXT, END = 0, 1
NEXT_MORE, END_MORE = 2, 3

START, USED, SIZE = range(3)  # columns of SurfaceRecords.place
NAME = np.int32(0xFFFF)


def _places() -> NDArray[np.uint16]:
    i, j, k = np.indices((8, 8, 8)).reshape(3, -1)
    octet = (i >> 1) << 4 | (j >> 1) << 2 | k >> 1
    return (octet << 3 | (i & 1) << 2 | (j & 1) << 1 | k & 1).astype(np.uint16)


PLACES = _places()
"""(512,) by voxel 64 i + 8 j + k of a block: its position in the order of octets, 8 times its octet plus its number there."""
VOXEL_AT = np.argsort(PLACES).astype(np.uint16)
"""(512,) the voxel at each of these positions."""


class SurfaceRecords(NamedTuple):
    """Colour and label evidence of the voxels near surfaces. Evidence of 0 marks an unused counter."""

    slot: UInt8Array
    """(B, 64) where in the segment of its block an octet is, NO_SLOT where it has no records."""
    place: Int32Array
    """(B, 3) the first record of the segment of a block, the octets in it, and the octets that it has capacity for."""
    records: Int32Array
    """(S, 8) sums of weight times red, green and blue, and of that weight; two labels of 16 bits in one number, the evidence of
    both; the row in `more`, 0 for none."""
    more: Int32Array
    """(M, 8) four more labels, two in a number, their evidence, and the evidence that was lost."""


class Allocator(NamedTuple):
    """Where a thread allocates records."""

    arena: Int64Array
    """(16,) the next unused record and the end of its range, the same of rows of `more`; the rest is padding."""
    free_lists: Int32Array
    """(64,) by size in steps: the first record of a segment that a block has left, which contains the next one; -1 for none."""


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
