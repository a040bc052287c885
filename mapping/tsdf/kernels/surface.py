"""Colour and label evidence of the voxels near surfaces, compiled. Where it lies in memory is told in `mapping.tsdf.layout`.

About one voxel in four of a block ever lies near a surface. Memory is given to them by octets, cubes of 2 x 2 x 2 voxels, when
the first of the eight comes near one: a block has a stretch of records, an octet eight of them, and 64 bytes tell where in the
stretch each octet is. A block that outgrows its stretch moves to a larger one.

The labels of a voxel are the summary of Misra and Gries (1982) with `KEPT` counters, which merges (Agarwal et al., Mergeable
Summaries, 2012): of up to KEPT labels the evidence is exact, whatever the order, and what was added can be taken out. When one
more comes, all counters and the new evidence lose the least of them; `lost` sums that up. A label's evidence is never stated too
high, nor too low by more than `lost`, and lost is at most the evidence of all labels over KEPT + 1.
"""

from __future__ import annotations

from typing import Any

import numba
import numpy as np
from numpy.typing import NDArray

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
    Surface,
)


@numba.njit(**INNER)
def record_of(slot: Any, place: Any, row: Any, voxel: Any) -> Any:
    """The record of a voxel of a block, -1 where there is none."""
    at = np.int64(PLACES[voxel])
    octet = slot[row, at >> 3]
    return np.int64(place[row, START]) + 8 * np.int64(octet) + (at & 7) if octet != NO_SLOT else np.int64(-1)


@numba.njit(**INNER)
def take_stretch(size: Any, records: Any, room: Any, spare: Any) -> Any:
    """The first record of a stretch of `size` octets, all zero: one that a block left behind, or of the thread's room."""
    first = np.int64(spare[size // STEP])
    if first >= 0:
        spare[size // STEP] = records[first, 0]
        for record in range(first, first + OCTET * size):
            for column in range(8):
                records[record, column] = 0
        return first
    first = room[NEXT]
    room[NEXT] += OCTET * size
    return first


@numba.njit(**INNER)
def admit(place: Any, slot: Any, row: Any, octets: Any, count: Any, records: Any, room: Any, spare: Any) -> None:
    """Give the first `count` of the listed octets of block `row` records of zeros where they have none."""
    new = 0
    for m in range(count):
        new += slot[row, octets[m]] == NO_SLOT
    if new == 0:
        return
    used, size = np.int64(place[row, USED]), np.int64(place[row, SIZE])
    if used + new > size:
        larger = min((5 * (used + new) // 4 + STEP - 1) // STEP * STEP, OCTETS)
        old, first = np.int64(place[row, START]), take_stretch(larger, records, room, spare)
        for record in range(OCTET * used):
            for column in range(8):
                records[first + record, column] = records[old + record, column]
        if size > 0:
            records[old, 0] = spare[size // STEP]
            spare[size // STEP] = old
        place[row, START], place[row, SIZE] = first, larger
    for m in range(count):
        if slot[row, octets[m]] == NO_SLOT:
            slot[row, octets[m]] = used
            used += 1
    place[row, USED] = used


@numba.njit(**INNER)
def name_of(records: Any, record: Any, more: Any, row: Any, m: Any) -> Any:
    """The label of the m-th counter of a voxel, of its record and row of `more` together."""
    if m < INLINE:
        return (records[record, NAMES] >> np.int32(16 * m)) & NAME
    m -= INLINE
    return (more[row, FURTHER_NAMES + (m >> 1)] >> np.int32(16 * (m & 1))) & NAME


@numba.njit(**INNER)
def evidence_of(records: Any, record: Any, more: Any, row: Any, m: Any) -> Any:
    """The evidence that the m-th counter of a voxel holds."""
    return records[record, FIRST + m] if m < INLINE else more[row, EVIDENCE + m - INLINE]


@numba.njit(**INNER)
def keep(records: Any, record: Any, more: Any, m: Any, label: Any, weight: Any) -> None:
    """Make the m-th counter of a voxel that of a label."""
    row, shift = records[record, MORE], np.int32(16 * (m & 1))
    if m < INLINE:
        records[record, NAMES] = (records[record, NAMES] & ~(NAME << shift)) | (np.int32(label) << shift)
        records[record, FIRST + m] = weight
    else:
        column = FURTHER_NAMES + ((m - INLINE) >> 1)
        more[row, column] = (more[row, column] & ~(NAME << shift)) | (np.int32(label) << shift)
        more[row, EVIDENCE + m - INLINE] = weight


@numba.njit(**INNER)
def lose_least(records: Any, record: Any, more: Any, weight: Any) -> Any:
    """Take the least of all counters and `weight` from each of them; returns what is left of the weight and a free counter.

    A counter below 0, of which more was taken out than was kept, is free as it is.
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
def raise_further(records: Any, record: Any, more: Any, m: Any, label: Any, evidence: Any) -> None:
    """Set the evidence of a label beyond those in the record; with more than one of them has, they change places.

    So most votes are for labels that stand in the record itself, whichever came first.
    """
    least = 0 if records[record, FIRST] <= records[record, SECOND] else 1
    other = records[record, FIRST + least]
    if evidence > other:
        keep(records, record, more, m, (records[record, NAMES] >> np.int32(16 * least)) & NAME, other)
        keep(records, record, more, least, label, evidence)
    else:
        more[records[record, MORE], EVIDENCE + m - INLINE] = evidence


@numba.njit(**INNER)
def support(records: Any, record: Any, more: Any, label: Any, weight: Any, room: Any) -> None:
    """Add to the evidence of a label, not 0, in a voxel's record."""
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
                raise_further(records, record, more, m, label, evidence + weight)
            return
    if free < 0 and row == 0:
        records[record, MORE], free = np.int32(room[NEXT_MORE]), INLINE
        room[NEXT_MORE] += 1
    if free >= 0:
        keep(records, record, more, free, label, weight)
    elif weight > 0:  # what is taken out of a label that is not kept was lost before
        left, lost_one = lose_least(records, record, more, weight)
        if left > 0:
            keep(records, record, more, lost_one, label, left)


@numba.njit(**INNER)
def best_label(records: Any, more: Any, record: Any) -> Any:
    """The label of most evidence and its evidence, 0 without any; of equals the smaller label."""
    best, most = np.int32(0), np.int32(0)
    if record < 0:
        return np.uint16(best), most
    row = records[record, MORE]
    for m in range(KEPT if row != 0 else INLINE):
        name, evidence = name_of(records, record, more, row, m), evidence_of(records, record, more, row, m)
        if evidence > most or (evidence == most and evidence > 0 and name < best):
            best, most = name, evidence
    return np.uint16(best), most


@kernel(nogil=True)
def add_records(
    surface: Surface,
    voxels: tuple[NDArray[np.int32], NDArray[np.uint16]],
    color: NDArray[np.int32],
    lost: NDArray[np.int32],
    evidence: tuple[NDArray[np.int64], NDArray[np.uint16], NDArray[np.int32]],
    room: NDArray[np.int64],
    spare: NDArray[np.int32],
) -> None:
    """Add colour (S, 4), what was lost (S,) and label evidence of other frames to `voxels`, (row, voxel) (S,), block by block.

    evidence is (first, label, weight): entries first[s] .. first[s + 1] are those of the s-th voxel.
    """
    slot, place, records, more = surface.slot, surface.place, surface.records, surface.more
    rows, numbers = voxels
    first, label, weight = evidence
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
        admit(place, slot, row, octets, count, records, room, spare)
        for s in range(start, stop):
            record = record_of(slot, place, row, numbers[s])
            for column in range(4):
                records[record, column] += color[s, column]
            for entry in range(first[s], first[s + 1]):
                support(records, record, more, np.int32(label[entry]), weight[entry], room)
            if lost[s] != 0:
                if records[record, MORE] == 0:
                    records[record, MORE] = np.int32(room[NEXT_MORE])
                    room[NEXT_MORE] += 1
                more[records[record, MORE], LOST] += lost[s]
        start = stop
