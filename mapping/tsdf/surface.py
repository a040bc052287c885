"""Storage of the colour and label evidence of voxels near surfaces."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from mapping.tsdf.blocks import FIRST_ROWS, with_rows
from mapping.tsdf.layout import (
    COLOR_WEIGHT,
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
    PLACES,
    SIZE,
    START,
    STEP,
    USED,
    Allocator,
    SurfaceRecords,
)
from mapping.tsdf.observation import FusionError
from mapping.tsdf.spill import RowMemory

MAX_RECORDS = (1 << 31) - 1
ARENA_RECORDS, ARENA_MORE = 1 << 16, 1 << 16  # smallest range by which an arena grows


class SurfaceSums(NamedTuple):
    """Colour and evidence of S voxels near surfaces, sorted by block and voxel."""

    row: NDArray[np.int32]
    """(S,) the block."""
    voxel: NDArray[np.uint16]
    """(S,) the voxel in it, 0..511."""
    color: NDArray[np.int32]
    """(S, 4) sums of weight times red, green, blue, and of that weight."""
    lost: NDArray[np.int32]
    """(S,) the most by which the evidence of a label is underestimated."""
    label_voxel: NDArray[np.int32]
    """(L,) increasing: which of the S voxels an entry of evidence belongs to."""
    label: NDArray[np.uint16]
    """(L,) increasing within a voxel."""
    evidence: NDArray[np.int32]
    """(L,) sums of weight."""


class SurfaceStore:
    """Records of voxels near surfaces, by block; `layout` describes them.

    Each thread allocates new records from its own arena, a range of the record arrays, and reuses segments that its blocks left.
    """

    def __init__(self, threads: int, memory: RowMemory) -> None:
        self._memory = memory
        self._slot, self._place = np.zeros((0, 64), np.uint8), np.zeros((0, 3), np.int32)
        self._records, self._more = np.zeros((0, 8), np.int32), np.zeros((0, 8), np.int32)
        self._taken, self._more_taken = 0, 1  # row 0 of `more` stands for none
        # Longer than necessary, so that no two threads write to the same cache line.
        self._arenas = np.zeros((threads, 16), np.int64)
        self._free_lists = np.full((threads, 64), -1, np.int32)

    def grow(self, blocks: int) -> None:
        """Make rows for at least this number of blocks."""
        if len(self._slot) < blocks:  # not by large steps: the new rows are written, so they take memory at once
            grown = np.full((max(blocks, 2 * len(self._slot), FIRST_ROWS), 64), NO_SLOT, np.uint8)
            grown[: len(self._slot)] = self._slot
            self._slot = grown
        self._place = with_rows(self._place, blocks)

    def reserve(self, thread: int, records: int, more: int) -> None:
        """Extend the arena of a thread to at least `records` unused records and `more` unused rows of further labels.

        Raises FusionError when the volume cannot hold more.
        """
        arena = self._arenas[thread]
        if arena[END] - arena[NEXT] < records:
            size = max(records, ARENA_RECORDS, self._taken // 8)
            if self._taken + size > MAX_RECORDS:
                raise FusionError(f"a volume has at most {MAX_RECORDS} voxels near surfaces")
            self._records = self._memory.with_rows("records", self._records, self._taken + size)
            arena[NEXT] = arena[NEXT] if arena[END] == self._taken else self._taken
            self._taken += size
            arena[END] = self._taken
        if arena[END_MORE] - arena[NEXT_MORE] < more:
            size = max(more, ARENA_MORE, self._more_taken // 8)
            self._more = with_rows(self._more, self._more_taken + size)
            arena[NEXT_MORE] = arena[NEXT_MORE] if arena[END_MORE] == self._more_taken else self._more_taken
            self._more_taken += size
            arena[END_MORE] = self._more_taken

    def for_kernels(self) -> SurfaceRecords:
        """The arrays as compiled code takes them; valid until the next call of `grow` or `reserve`."""
        return SurfaceRecords(self._slot, self._place, self._records, self._more)

    def allocator(self, thread: int) -> Allocator:
        """Where a thread allocates records."""
        return Allocator(self._arenas[thread], self._free_lists[thread])

    def touched(self, rows: NDArray[np.int32]) -> NDArray[np.int64]:
        """First and last record of the segments of these blocks."""
        place = self._place[rows].astype(np.int64)
        place = place[place[:, SIZE] > 0]
        return np.concatenate([place[:, START], place[:, START] + OCTET * place[:, SIZE] - 1])

    def nbytes(self, blocks: int) -> int:
        """Bytes that `blocks` blocks take, with segments that they have left, without what is reserved for growth."""
        left = (self._arenas[:, [END, END_MORE]] - self._arenas[:, [NEXT, NEXT_MORE]]).sum()
        records = self._taken + self._more_taken - int(left)
        return self._records[:1].nbytes * records + blocks * (self._slot[:1].nbytes + self._place[:1].nbytes)

    def sums(self, order: NDArray[np.int64]) -> SurfaceSums:
        """All non-zero records, of blocks in the given order, which are numbered by it."""
        slot = self._slot[order].astype(np.int64)
        row, voxel = np.nonzero(slot[:, PLACES >> 3] != NO_SLOT)
        record = self._place[order[row], START] + 8 * slot[row, PLACES[voxel] >> 3] + (PLACES[voxel] & 7)
        records = self._records[record]
        more = self._more[records[:, MORE]]
        label, evidence = _counters(records, more)
        lost = more[:, LOST]
        used = records[:, COLOR_WEIGHT].astype(bool) | evidence.any(axis=1) | lost.astype(bool)
        row, voxel, lost = row[used], voxel[used], lost[used]
        records, label, evidence = records[used], label[used], evidence[used]
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

    def evidence(
        self, rows: NDArray[np.int32], voxels: NDArray[np.int64]
    ) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
        """Labels and their evidence (N, KEPT), 0 for none, of voxels (N,) in the blocks of `rows` (N,), -1 for no block."""
        label, evidence = (np.zeros((len(rows), KEPT), np.int32) for _ in range(2))
        at = np.flatnonzero(rows >= 0)
        place = PLACES[voxels[at]].astype(np.int64)
        slot = self._slot[rows[at], place >> 3]
        at, place, slot = (array[slot != NO_SLOT] for array in (at, place, slot))
        records = self._records[self._place[rows[at], START] + OCTET * slot.astype(np.int64) + (place & 7)]
        label[at], evidence[at] = _counters(records, self._more[records[:, MORE]])
        return np.where(evidence > 0, label, 0), np.maximum(evidence, 0)

    def add(self, rows: NDArray[np.int32], sums: SurfaceSums) -> None:
        """Add the sums of other frames; block r of theirs is in row rows[r] here."""
        from mapping.tsdf.kernels import surface as kernels

        if not len(sums.row):
            return
        here = rows[sums.row]
        octets = np.unique(OCTETS * here.astype(np.int64) + (PLACES[sums.voxel] >> 3))
        blocks, new = np.unique(octets // OCTETS, return_counts=True)
        capacity = np.minimum(5 * (self._place[blocks, USED] + new) // 4 + STEP, OCTETS)
        self.reserve(0, OCTET * int(capacity.sum()), len(sums.row) + 1)
        first = np.searchsorted(sums.label_voxel, np.arange(len(sums.row) + 1)).astype(np.int64)
        voxels = kernels.VoxelSums(here, sums.voxel, sums.color, sums.lost, first, sums.label, sums.evidence)
        kernels.add_records(self.for_kernels(), voxels, self.allocator(0))


def _counters(records: NDArray[np.int32], more: NDArray[np.int32]) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
    """Label and evidence (S, 6) of all counters of records (S, 8) and their rows of `more` (S, 8)."""
    names = np.concatenate([records[:, NAMES : NAMES + 1], more[:, :EVIDENCE]], axis=1)
    label = np.stack([names & NAME, (names >> 16) & NAME], axis=2).reshape(len(records), KEPT)
    return label, np.concatenate([records[:, FIRST : FIRST + INLINE], more[:, EVIDENCE:LOST]], axis=1)
