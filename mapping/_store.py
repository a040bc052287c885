"""The arrays of a volume: sums by block, colour and label evidence, free space; they grow as blocks are added."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from mapping._spill import RowMemory
from mapping._threads import run_parts, split
from mapping._tsdf_numpy import CELL_VOXELS, SIDE, WEIGHT_UNIT
from mapping.blocks import BlockMap, with_rows
from mapping.volume_io import VolumeSums

if TYPE_CHECKING:
    from mapping._tsdf_numba import Sums

VOXELS = SIDE**3
CHANNELS_PER_TAKE = 4096
LINK_COLUMNS = 3
FIRST_LABELS = 4
"""Labels of a block that compiled code finds without walking the list of its channels."""


class SumStore:
    """Rows of sums for measured blocks and for free-space blocks. What a row holds is told in `VolumeSums`.

    Evidence for a label exists only in blocks that have seen the label: as channels, listed from `head[row]` through `link`, with
    channel 0 as the end. Each thread takes new channels from an arena of its own, a stretch of the channel arrays.
    """

    def __init__(self, threads: int, max_bytes: int | None = None) -> None:
        self.memory = RowMemory(max_bytes)
        self.blocks, self.free_blocks = BlockMap(), BlockMap()
        self.tsdf = np.zeros((0, 2, VOXELS), np.int32)
        self.color = np.zeros((0, VOXELS, 4), np.int32)
        self.free = np.zeros((0, VOXELS), np.int32)
        self.evidence = np.zeros((0, VOXELS), np.int32)
        self._head, self._link = np.zeros(0, np.int32), np.zeros((0, LINK_COLUMNS), np.int32)
        self._first = np.zeros((0, FIRST_LABELS, 2), np.int32)
        self._channels_taken = 1
        self.arenas = np.zeros((threads, 2), np.int64)

    def insert(self, coords: NDArray[np.int32], *, color: bool) -> NDArray[np.int32]:
        """Rows (B,) of measured blocks (B, 3), new ones all zero; with `color` they can hold colour."""
        rows = self.blocks.insert(coords)
        count = self.blocks.count
        self.tsdf = self.memory.with_rows("tsdf", self.tsdf, count)
        self._head, self._first = with_rows(self._head, count), with_rows(self._first, count)
        if color:
            self.color = self.memory.with_rows("color", self.color, len(self.tsdf))
        return rows

    def insert_free(self, coords: NDArray[np.int32]) -> NDArray[np.int32]:
        """Rows (F,) of free-space blocks (F, 3), new ones all zero."""
        rows = self.free_blocks.insert(coords)
        self.free = self.memory.with_rows("free", self.free, self.free_blocks.count)
        return rows

    def find(self, coords: NDArray[np.int32]) -> NDArray[np.int32]:
        """Rows (B, 2) of measured blocks (B, 3) and of the free-space blocks around them, -1 where there is none."""
        return np.stack([self.blocks.find(coords), self.free_blocks.find(coords // CELL_VOXELS)], axis=1)

    def read_blocks(
        self, coords: NDArray[np.int32], truncation: float, threads: int
    ) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Distance in metres and weight (B, 512) of blocks (B, 3); weight 0 where never seen."""
        from mapping import _field_numba as kernels

        distance, weight = np.zeros((len(coords), VOXELS), np.float32), np.zeros((len(coords), VOXELS), np.float32)
        arrays, rows, spans = (self.tsdf, self.free), self.find(coords), split(len(coords), threads)

        def read(part: int) -> None:
            kernels.read_blocks(arrays, coords, rows, spans[part], truncation, distance, weight)

        run_parts(read, threads)
        return distance, weight

    def read_voxels(self, voxels: NDArray[np.int64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Distance in truncations and weight (N,) of voxels (N, 3), both 0 where never seen."""
        rows = self.find((voxels // SIDE).astype(np.int32))
        distance, weight = np.zeros(len(voxels), np.int64), np.zeros(len(voxels), np.int64)
        for row, grid, sums in (
            (rows[:, 0], voxels, self.tsdf),
            (rows[:, 1], voxels // CELL_VOXELS, self.free[:, None]),
        ):
            known = np.flatnonzero(row >= 0)
            i, j, k = grid[known].T & 7
            read = sums[row[known], :, (i << 6) | (j << 3) | k]
            distance[known] += read[:, 0]
            weight[known] += read[:, -1]
        return distance / np.maximum(weight, 1), weight / WEIGHT_UNIT

    def reserve_channels(self, thread: int, count: int) -> None:
        """See that the arena of a thread has at least `count` channels left; what an old one had left stays unused."""
        if self.arenas[thread, 1] - self.arenas[thread, 0] >= count:
            return
        size = max(count, CHANNELS_PER_TAKE, self._channels_taken // 4)
        self.arenas[thread] = self._channels_taken, self._channels_taken + size
        self._channels_taken += size
        self.evidence = self.memory.with_rows("evidence", self.evidence, self._channels_taken)
        self._link = with_rows(self._link, self._channels_taken)

    def used(self, rows: NDArray[np.int32], free_rows: NDArray[np.int32]) -> None:
        """Note that a frame changed these rows of measured and free-space blocks: what was used last stays in memory."""
        if self.memory.spills:
            colored = rows[rows < len(self.color)]
            channels = self._first[rows, :, 1].ravel()
            self.memory.touch({"tsdf": rows, "color": colored, "evidence": channels[channels > 0], "free": free_rows})

    def for_kernels(self) -> Sums:
        """The arrays as compiled code takes them."""
        from mapping._tsdf_numba import Sums

        return Sums(self.tsdf, self.color, self.evidence, self._head, self._link, self._first)

    @property
    def memory_bytes(self) -> int:
        """Bytes in use: of blocks and channels that were given out, without the address space reserved for growth."""
        channels = len(self.channels()[0])
        per_block = VOXELS * 4 * (2 + (4 if len(self.color) else 0)) + 4 + FIRST_LABELS * 8
        used = self.blocks.count * per_block + self.free_blocks.count * VOXELS * 4 + channels * (VOXELS * 4 + 12)
        return used + self.blocks.nbytes + self.free_blocks.nbytes

    def has_negative_weight(self, rows: NDArray[np.int32], free_rows: NDArray[np.int32]) -> bool:
        """Whether more was taken out of a voxel in these rows of measured or free-space blocks than was put in."""
        return min(int(w.min(initial=0)) for w in (self.tsdf[rows, 1], self.free[free_rows])) < 0

    def greatest_weight(self) -> float:
        """The greatest sum of weights of a voxel or cell."""
        weights = self.tsdf[: self.blocks.count, 1], self.free[: self.free_blocks.count]
        return max(int(w.max(initial=0)) for w in weights) / WEIGHT_UNIT

    def observed_blocks(self, *, carved: bool) -> NDArray[np.int32]:
        """Coordinates (B, 3), sorted, of blocks that hold a measured voxel or, with `carved`, a free cell."""
        coords = self.blocks.coords[self.tsdf[: self.blocks.count, 1].any(axis=1)]
        if carved:
            count, half = self.free_blocks.count, SIDE // CELL_VOXELS
            parts = self.free[:count].reshape(count, *(CELL_VOXELS, half) * 3)
            row, *child = np.nonzero(parts.any(axis=(2, 4, 6)))
            free = CELL_VOXELS * self.free_blocks.coords[row] + np.stack(child, axis=1).astype(np.int32)
            coords = np.unique(np.concatenate([coords, free]), axis=0)
        return np.ascontiguousarray(coords[np.lexsort(coords.T[::-1])])

    def channels(self) -> tuple[NDArray[np.int64], NDArray[np.int32], NDArray[np.uint16]]:
        """Channels in use with their row and label, (L,) each."""
        label, _, row = self._link.T
        used = np.flatnonzero(label)
        return used, row[used], label[used].astype(np.uint16)

    def sums(self) -> VolumeSums:
        """Everything that is not zero, sorted."""
        order = self.blocks.order()
        order = order[self.tsdf[order, 1].any(axis=1)]
        new_row = np.full(self.blocks.count, -1, np.int32)
        new_row[order] = np.arange(len(order))
        colored = order[order < len(self.color)]
        colored = colored[self.color[colored, :, 3].any(axis=1)]
        channels, rows, labels = self.channels()
        by_block = np.lexsort((labels, new_row[rows]))
        by_block = by_block[self.evidence[channels[by_block]].any(axis=1)]
        free = self.free_blocks.order()
        free = free[self.free[free].any(axis=1)]
        return VolumeSums(
            coords=self.blocks.coords[order],
            tsdf=self.tsdf[order],
            color_row=new_row[colored],
            color=self.color[colored],
            label_row=new_row[rows[by_block]],
            label=labels[by_block],
            evidence=self.evidence[channels[by_block]],
            free_coords=self.free_blocks.coords[free],
            free=self.free[free],
        )

    def add(self, sums: VolumeSums) -> None:
        """Add the sums of other frames."""
        from mapping import _tsdf_numba as kernels

        rows = self.insert(sums.coords, color=len(sums.color) > 0)
        self.tsdf[rows] += sums.tsdf
        if len(sums.color):
            self.color[rows[sums.color_row]] += sums.color
        free = self.insert_free(sums.free_coords)
        self.free[free] += sums.free
        if len(sums.label):
            self.reserve_channels(0, len(sums.label))
            kernels.add_evidence(self.for_kernels(), rows[sums.label_row], sums.label, sums.evidence, self.arenas[0])
        self.used(rows, free)
