"""Colour and label evidence of the voxels near surfaces, compiled. `mapping.tsdf.layout` describes the layout in memory.

About one voxel in four of a block ever lies near a surface. Records are allocated by octets, cubes of 2 x 2 x 2 voxels, when the
first of the eight comes near one: a block has a segment of records, an octet eight of them, and 64 bytes per block give the
position of each octet in the segment. A block that outgrows its segment moves to a larger one.

The labels of a voxel are the summary of Misra and Gries (1982) with `KEPT` counters, which is mergeable (Agarwal et al.,
Mergeable Summaries, 2012): of up to KEPT labels the evidence is exact, in any order, and what was added can be subtracted. For
one more label, all counters and the new evidence are reduced by their minimum; `lost` is the sum of these reductions. The
evidence of a label is never overestimated, is underestimated by at most `lost`, and `lost` is at most the evidence of all labels
over KEPT + 1.
"""

from __future__ import annotations

from typing import NamedTuple

import numba
import numpy as np

from mapping.arrays import Int32Array, Int64Array, UInt8Array, UInt16Array
from mapping.compiling import INNER, kernel
from mapping.tsdf.layout import (
    EVIDENCE,
    FIRST,
    FURTHER,
    FURTHER_NAMES,
    INLINE,
    KEPT,
    LOST,
    MORE,
    NAME,
    NAMES,
    NEXT,
    NEXT_MORE,
    NO_SLOT,
    OCTET,
    OCTETS,
    PLACES,
    SECOND,
    SIZE,
    START,
    STEP,
    USED,
    Allocator,
    SurfaceRecords,
)


@numba.njit(**INNER)
def record_of(slot: UInt8Array, place: Int32Array, row: int, voxel: int) -> np.int64:
    """The record of a voxel of the block in `row`, -1 where it has none."""
    at = np.int64(PLACES[voxel])
    octet = slot[row, at >> 3]
    return np.int64(place[row, START]) + 8 * np.int64(octet) + (at & 7) if octet != NO_SLOT else np.int64(-1)


@numba.njit(**INNER)
def allocate_segment(size: int, records: Int32Array, allocator: Allocator) -> np.int64:
    """The first record of a segment of `size` octets, all zero: one that a block has left, or a part of the thread's arena."""
    arena, free_lists = allocator
    first = np.int64(free_lists[size // STEP])
    if first >= 0:
        free_lists[size // STEP] = records[first, 0]
        for record in range(first, first + OCTET * size):
            for column in range(8):
                records[record, column] = 0
        return first
    first = arena[NEXT]
    arena[NEXT] += OCTET * size
    return first


@numba.njit(**INNER)
def ensure_records(surface: SurfaceRecords, row: int, octets: UInt8Array, count: int, allocator: Allocator) -> None:
    """Allocate zero records to those of the first `count` listed octets of block `row` that have none."""
    slot, place, records = surface.slot, surface.place, surface.records
    new = 0
    for m in range(count):
        new += slot[row, octets[m]] == NO_SLOT
    if new == 0:
        return
    used, size = np.int64(place[row, USED]), np.int64(place[row, SIZE])
    if used + new > size:
        larger = min(int(5 * (used + new) // 4 + STEP - 1) // STEP * STEP, OCTETS)
        old, first = np.int64(place[row, START]), allocate_segment(larger, records, allocator)
        for record in range(OCTET * used):
            for column in range(8):
                records[first + record, column] = records[old + record, column]
        if size > 0:
            records[old, 0] = allocator.free_lists[size // STEP]
            allocator.free_lists[size // STEP] = old
        place[row, START], place[row, SIZE] = first, larger
    for m in range(count):
        if slot[row, octets[m]] == NO_SLOT:
            slot[row, octets[m]] = used
            used += 1
    place[row, USED] = used


@numba.njit(**INNER)
def name_of(records: Int32Array, record: int, more: Int32Array, row: int, m: int) -> np.int32:
    """The label of the m-th counter of a voxel, of its record and row of `more` together."""
    if m < INLINE:
        return (records[record, NAMES] >> np.int32(16 * m)) & NAME
    m -= INLINE
    return (more[row, FURTHER_NAMES + (m >> 1)] >> np.int32(16 * (m & 1))) & NAME


@numba.njit(**INNER)
def evidence_of(records: Int32Array, record: int, more: Int32Array, row: int, m: int) -> np.int32:
    """The evidence in the m-th counter of a voxel."""
    return records[record, FIRST + m] if m < INLINE else more[row, EVIDENCE + m - INLINE]


@numba.njit(**INNER)
def set_counter(records: Int32Array, record: int, more: Int32Array, m: int, label: np.int32, weight: np.int32) -> None:
    """Set label and evidence of the m-th counter of a voxel."""
    row, shift = records[record, MORE], np.int32(16 * (m & 1))
    if m < INLINE:
        records[record, NAMES] = (records[record, NAMES] & ~(NAME << shift)) | (np.int32(label) << shift)
        records[record, FIRST + m] = weight
    else:
        column = FURTHER_NAMES + ((m - INLINE) >> 1)
        more[row, column] = (more[row, column] & ~(NAME << shift)) | (np.int32(label) << shift)
        more[row, EVIDENCE + m - INLINE] = weight


@numba.njit(**INNER)
def subtract_minimum(records: Int32Array, record: int, more: Int32Array, weight: np.int32) -> tuple[np.int32, int]:
    """Reduce all counters and `weight` by their minimum; returns the rest of the weight and a counter that is then unused.

    A counter below 0, of which more was subtracted than was kept, is unused without that.
    """
    row, least = records[record, MORE], weight
    for m in range(KEPT):
        least = min(least, evidence_of(records, record, more, row, m))
    least, free = max(least, np.int32(0)), 0
    for m in range(INLINE):
        records[record, FIRST + m] -= least
        free = m if records[record, FIRST + m] <= 0 else free
    for m in range(FURTHER):
        more[row, EVIDENCE + m] -= least
        free = INLINE + m if more[row, EVIDENCE + m] <= 0 else free
    more[row, LOST] += least
    return weight - least, free


@numba.njit(**INNER)
def set_further_evidence(
    records: Int32Array, record: int, more: Int32Array, m: int, label: np.int32, evidence: np.int32
) -> None:
    """Set the evidence of a label beyond those in the record; if it exceeds one of those, the two labels are exchanged.

    So most observations are of labels in the record itself, in whatever order labels came.
    """
    least = 0 if records[record, FIRST] <= records[record, SECOND] else 1
    other = records[record, FIRST + least]
    if evidence > other:
        set_counter(records, record, more, m, (records[record, NAMES] >> np.int32(16 * least)) & NAME, other)
        set_counter(records, record, more, least, label, evidence)
    else:
        more[records[record, MORE], EVIDENCE + m - INLINE] = evidence


@numba.njit(**INNER)
def add_evidence(
    records: Int32Array, record: int, more: Int32Array, label: np.int32, weight: np.int32, arena: Int64Array
) -> None:
    """Add to the evidence of a label, not 0, in the record of a voxel."""
    row = records[record, MORE]
    free = -1
    for m in range(KEPT if row != 0 else INLINE):
        evidence = evidence_of(records, record, more, row, m)
        if evidence == 0:
            free = m if free < 0 else free
        elif name_of(records, record, more, row, m) == label:
            if m < INLINE:
                records[record, FIRST + m] = evidence + weight
            else:
                set_further_evidence(records, record, more, m, label, evidence + weight)
            return
    if free < 0 and row == 0:
        records[record, MORE], free = np.int32(arena[NEXT_MORE]), INLINE
        arena[NEXT_MORE] += 1
    if free >= 0:
        set_counter(records, record, more, free, label, weight)
    elif weight > 0:  # what is subtracted from a label that is not kept was lost before
        rest, unused = subtract_minimum(records, record, more, weight)
        if rest > 0:
            set_counter(records, record, more, unused, label, rest)


@numba.njit(**INNER)
def best_label(records: Int32Array, more: Int32Array, record: int) -> tuple[np.uint16, np.int32]:
    """The label of most evidence and its evidence, 0 without any or for record -1; of equal ones the smaller label."""
    best, most = np.int32(0), np.int32(0)
    if record < 0:
        return np.uint16(best), most
    row = records[record, MORE]
    for m in range(KEPT if row != 0 else INLINE):
        name, evidence = name_of(records, record, more, row, m), evidence_of(records, record, more, row, m)
        if evidence > most or (evidence == most and evidence > 0 and name < best):
            best, most = name, evidence
    return np.uint16(best), most


class VoxelSums(NamedTuple):
    """Sums of S voxels near surfaces, block by block."""

    rows: Int32Array
    """(S,) the row of the block."""
    voxels: UInt16Array
    """(S,) the number of the voxel in it."""
    color: Int32Array
    """(S, 4) sums of weight times red, green, blue, and of that weight."""
    lost: Int32Array
    """(S,) evidence that was lost."""
    first: Int64Array
    """(S + 1,) where the label evidence of a voxel begins in the next two, and the end of the last."""
    label: UInt16Array
    """(L,)."""
    evidence: Int32Array
    """(L,)."""


@kernel(nogil=True)
def add_records(surface: SurfaceRecords, sums: VoxelSums, allocator: Allocator) -> None:
    """Add the sums of other frames; the allocator must have enough unused records."""
    slot, place = surface.slot, surface.place
    records, more, arena = surface.records, surface.more, allocator.arena
    rows, numbers, color = sums.rows, sums.voxels, sums.color
    lost, first = sums.lost, sums.first
    label, evidence = sums.label, sums.evidence
    wanted, octets = np.zeros(OCTETS, np.uint8), np.zeros(OCTETS, np.uint8)
    start = 0
    while start < len(rows):
        row, stop = rows[start], start
        wanted[:] = 0
        while stop < len(rows) and rows[stop] == row:
            wanted[PLACES[numbers[stop]] >> 3] = 1
            stop += 1
        count = 0
        for octet in range(OCTETS):
            if wanted[octet] != 0:
                octets[count] = octet
                count += 1
        ensure_records(surface, row, octets, count, allocator)
        for s in range(start, stop):
            record = record_of(slot, place, row, numbers[s])
            for column in range(4):
                records[record, column] += color[s, column]
            for entry in range(first[s], first[s + 1]):
                add_evidence(records, record, more, np.int32(label[entry]), evidence[entry], arena)
            if lost[s] != 0:
                if records[record, MORE] == 0:
                    records[record, MORE] = np.int32(arena[NEXT_MORE])
                    arena[NEXT_MORE] += 1
                more[records[record, MORE], LOST] += lost[s]
        start = stop
