"""Storage of the voxels near surfaces: which they are, and their colour and label evidence."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from mapping.tsdf.blocks import FIRST_ROWS, with_rows
from mapping.tsdf.layout import (
    END,
    END_MORE,
    EVIDENCE,
    FIRST,
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
    PAINT,
    PLACES,
    SIZE,
    START,
    STEP,
    USED,
    Surface,
)
from mapping.tsdf.observation import FusionError
from mapping.tsdf.spill import RowMemory

MOST_RECORDS = (1 << 31) - 1
RECORDS_PER_TAKE, MORE_PER_TAKE = 1 << 16, 1 << 16


class SurfaceSums(NamedTuple):
    """Colour and evidence of voxels near surfaces, sorted by block and voxel.

    row (S,) int32 block, voxel (S,) uint16 0..511; color (S, 4) int32 sums of weight times red, green, blue, and of that weight;
    lost (S,) int32 evidence that labels may have beyond what is stated; label_voxel (L,) int32 increasing, which of the S voxels
    an entry of evidence belongs to; label (L,) uint16, increasing within a voxel; evidence (L,) int32.
    """

    row: NDArray[np.int32]
    voxel: NDArray[np.uint16]
    color: NDArray[np.int32]
    lost: NDArray[np.int32]
    label_voxel: NDArray[np.int32]
    label: NDArray[np.uint16]
    evidence: NDArray[np.int32]


class SurfaceStore:
    """Records of voxels near surfaces, by block; what a record holds is told in `layout`.

    Each thread takes new records from a room of its own, a stretch of the record arrays, and reuses what its blocks left behind.
    """

    def __init__(self, threads: int, memory: RowMemory) -> None:
        self._memory = memory
        self._slot, self._place = np.zeros((0, 64), np.uint8), np.zeros((0, 3), np.int32)
        self._records, self._more = np.zeros((0, 8), np.int32), np.zeros((0, 8), np.int32)
        self._taken, self._more_taken = 0, 1  # row 0 of `more` stands for none
        # Longer than they need to be, so that no two threads write to one cache line.
        self.rooms = np.zeros((threads, 16), np.int64)
        self.spares = np.full((threads, 64), -1, np.int32)

    def grow(self, blocks: int) -> None:
        """See that blocks up to this number can have records."""
        if len(self._slot) < blocks:  # few rows at a time: they are written
            grown = np.full((max(blocks, 2 * len(self._slot), FIRST_ROWS), 64), NO_SLOT, np.uint8)
            grown[: len(self._slot)] = self._slot
            self._slot = grown
        self._place = with_rows(self._place, blocks)

    def reserve(self, thread: int, records: int, more: int) -> None:
        """See that the room of a thread has so many records and rows of further labels left."""
        room = self.rooms[thread]
        if room[END] - room[NEXT] < records:
            size = max(records, RECORDS_PER_TAKE, self._taken // 8)
            if self._taken + size > MOST_RECORDS:
                raise FusionError(f"a volume holds at most {MOST_RECORDS} voxels near surfaces")
            self._records = self._memory.with_rows("records", self._records, self._taken + size)
            room[NEXT] = room[NEXT] if room[END] == self._taken else self._taken
            self._taken += size
            room[END] = self._taken
        if room[END_MORE] - room[NEXT_MORE] < more:
            size = max(more, MORE_PER_TAKE, self._more_taken // 8)
            self._more = with_rows(self._more, self._more_taken + size)
            room[NEXT_MORE] = room[NEXT_MORE] if room[END_MORE] == self._more_taken else self._more_taken
            self._more_taken += size
            room[END_MORE] = self._more_taken

    def for_kernels(self) -> Surface:
        """The arrays as compiled code takes them."""
        return Surface(self._slot, self._place, self._records, self._more)

    def touched(self, rows: NDArray[np.int32]) -> NDArray[np.int64]:
        """First and last record of the stretches of these blocks."""
        place = self._place[rows].astype(np.int64)
        place = place[place[:, SIZE] > 0]
        return np.concatenate([place[:, START], place[:, START] + OCTET * place[:, SIZE] - 1])

    def nbytes(self, blocks: int) -> int:
        """Bytes that so many blocks have taken, stretches that they left behind included, without what is reserved for growth."""
        left = (self.rooms[:, [END, END_MORE]] - self.rooms[:, [NEXT, NEXT_MORE]]).sum()
        records = self._taken + self._more_taken - int(left)
        return self._records[:1].nbytes * records + blocks * (self._slot[:1].nbytes + self._place[:1].nbytes)

    def sums(self, order: NDArray[np.int64]) -> SurfaceSums:
        """All records that hold something, of blocks in the given order, which numbers them anew."""
        slot = self._slot[order].astype(np.int64)
        row, voxel = np.nonzero(slot[:, PLACES >> 3] != NO_SLOT)
        record = self._place[order[row], START] + 8 * slot[row, PLACES[voxel] >> 3] + (PLACES[voxel] & 7)
        records = self._records[record]
        more = self._more[records[:, MORE]]
        label, evidence = _counters(records, more)
        lost = more[:, LOST]
        used = records[:, PAINT].astype(bool) | evidence.any(axis=1) | lost.astype(bool)
        row, voxel, records, lost, label, evidence = (a[used] for a in (row, voxel, records, lost, label, evidence))
        at, counter = np.nonzero(evidence)
        label, evidence = label[at, counter], evidence[at, counter]
        by_label = np.lexsort((label, at))
        return SurfaceSums(
            row=row.astype(np.int32),
            voxel=voxel.astype(np.uint16),
            color=np.ascontiguousarray(records[:, :4]),
            lost=np.ascontiguousarray(lost),
            label_voxel=at[by_label].astype(np.int32),
            label=label[by_label].astype(np.uint16),
            evidence=evidence[by_label],
        )

    def add(self, rows: NDArray[np.int32], sums: SurfaceSums) -> None:
        """Add the sums of other frames; block r of theirs is in row rows[r] here."""
        from mapping.tsdf.kernels import surface as kernels

        if not len(sums.row):
            return
        here = rows[sums.row]
        octets = np.unique(OCTETS * here.astype(np.int64) + (PLACES[sums.voxel] >> 3))
        blocks, new = np.unique(octets // OCTETS, return_counts=True)
        stretches = np.minimum(5 * (self._place[blocks, USED] + new) // 4 + STEP, OCTETS)
        self.reserve(0, OCTET * int(stretches.sum()), len(sums.row) + 1)
        first = np.searchsorted(sums.label_voxel, np.arange(len(sums.row) + 1)).astype(np.int64)
        evidence = (first, sums.label, sums.evidence)
        voxels, stores = (here, sums.voxel), (self.rooms[0], self.spares[0])
        kernels.add_records(self.for_kernels(), voxels, sums.color, sums.lost, evidence, *stores)


def _counters(records: NDArray[np.int32], more: NDArray[np.int32]) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
    """Label and evidence (S, 6) of all counters of records (S, 8) and their rows of `more` (S, 8)."""
    names = np.concatenate([records[:, NAMES : NAMES + 1], more[:, :EVIDENCE]], axis=1)
    label = np.stack([names & NAME, (names >> 16) & NAME], axis=2).reshape(len(records), KEPT)
    return label, np.concatenate([records[:, FIRST : FIRST + INLINE], more[:, EVIDENCE:LOST]], axis=1)
