"""The growing arrays of a volume: sums by block, voxels near surfaces, free space."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from mapping.threads import run_parts, split
from mapping.tsdf.blocks import BlockMap
from mapping.tsdf.grid import CELL_VOXELS, SIDE, WEIGHT_UNIT
from mapping.tsdf.layout import OCTET, OCTETS, PLACES, SLICE, by_octets, by_voxel
from mapping.tsdf.spill import RowMemory
from mapping.tsdf.surface import SurfaceStore
from mapping.tsdf.volume_io import VolumeSums

VOXELS = SIDE**3


class SumStore:
    """Rows of sums for measured blocks, their voxels near surfaces, and rows for free-space blocks.

    Rows of `tsdf` (64, 2, 8) are in the order of octets, see `layout`; rows of `free` (512,) in that of coordinates.
    `VolumeSums` describes their contents.
    """

    def __init__(self, threads: int, max_bytes: int | None = None) -> None:
        self.memory = RowMemory(max_bytes)
        self.blocks, self.free_blocks = BlockMap(), BlockMap()
        self.tsdf = np.zeros((0, OCTETS, 2, OCTET), np.int32)
        self.free = np.zeros((0, VOXELS), np.int32)
        self.surface = SurfaceStore(threads, self.memory)

    def insert(self, coords: NDArray[np.int32]) -> NDArray[np.int32]:
        """Rows (B,) of measured blocks (B, 3), new ones all zero."""
        capacity = self.blocks.count + len(coords)  # memory first: if it is not available, no block is inserted
        self.tsdf = self.memory.with_rows("tsdf", self.tsdf, capacity)
        self.surface.grow(capacity)
        return self.blocks.insert(coords)

    def insert_free(self, coords: NDArray[np.int32]) -> NDArray[np.int32]:
        """Rows (F,) of free-space blocks (F, 3), new ones all zero."""
        capacity = self.free_blocks.count + len(coords)
        self.free = self.memory.with_rows("free", self.free, capacity)
        return self.free_blocks.insert(coords)

    def find(self, coords: NDArray[np.int32]) -> NDArray[np.int32]:
        """Rows (B, 2) of measured blocks (B, 3) and of the free-space blocks around them, -1 for absent ones."""
        return np.stack([self.blocks.find(coords), self.free_blocks.find(coords // CELL_VOXELS)], axis=1)

    def read_blocks(
        self, coords: NDArray[np.int32], truncation: float, threads: int
    ) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Distance in metres and weight (B, 512) of blocks (B, 3); weight 0 where never seen."""
        from mapping.tsdf.kernels import field as kernels

        distance, weight = np.zeros((len(coords), VOXELS), np.float32), np.zeros((len(coords), VOXELS), np.float32)
        arrays, rows = kernels.DistanceArrays(self.tsdf, self.free), self.find(coords)
        spans = split(len(coords), threads)

        def read(part: int) -> None:
            kernels.read_blocks(arrays, coords, rows, spans[part], truncation, distance, weight)

        run_parts(read, threads)
        return distance, weight

    def read_voxels(self, voxels: NDArray[np.int64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Distance in truncations and weight (N,) of voxels (N, 3), both 0 where never seen."""
        rows = self.find((voxels // SIDE).astype(np.int32))
        distance, weight = np.zeros(len(voxels), np.int64), np.zeros(len(voxels), np.int64)
        measured, passed = (np.flatnonzero(rows[:, i] >= 0) for i in range(2))
        place = PLACES[_numbers(voxels[measured])]
        read = self.tsdf[rows[measured, 0], place >> 3, :, place & 7]
        distance[measured], weight[measured] = read.T
        free = self.free[rows[passed, 1], _numbers(voxels[passed] // CELL_VOXELS)]
        distance[passed] += free
        weight[passed] += free
        return distance / np.maximum(weight, 1), weight / WEIGHT_UNIT

    def read_labels(self, voxels: NDArray[np.int64]) -> tuple[NDArray[np.int32], NDArray[np.float64]]:
        """Labels and the weight behind each (N, 6) of voxels (N, 3), 0 for none."""
        rows = self.blocks.find((voxels // SIDE).astype(np.int32))
        labels, evidence = self.surface.evidence(rows, _numbers(voxels))
        return labels, evidence / WEIGHT_UNIT

    def used(self, rows: NDArray[np.int32], free_rows: NDArray[np.int32]) -> None:
        """Note that these rows of measured and free-space blocks were just used, so that they stay in memory."""
        if self.memory.spills:
            self.memory.touch({"tsdf": rows, "records": self.surface.touched(rows), "free": free_rows})

    @property
    def memory_bytes(self) -> int:
        """Bytes in use by blocks and records, without the address space reserved for growth."""
        used = 8 * VOXELS * self.blocks.count + 4 * VOXELS * self.free_blocks.count
        return used + self.surface.nbytes(self.blocks.count) + self.blocks.nbytes + self.free_blocks.nbytes

    def has_negative_weight(self, rows: NDArray[np.int32], free_rows: NDArray[np.int32]) -> bool:
        """Whether more was subtracted from a voxel in these rows of measured or free-space blocks than was added."""
        return min(int(w.min(initial=0)) for w in (self.tsdf[rows, :, 1], self.free[free_rows])) < 0

    def greatest_weight(self) -> float:
        """The greatest sum of weights of a voxel, with that of the free-space cell around it, or of a cell alone."""
        most = float(self.free[: self.free_blocks.count].max(initial=0)) / WEIGHT_UNIT
        for start in range(0, self.blocks.count, SLICE):
            _, weight = self.read_blocks(self.blocks.coords[start : start + SLICE], 1.0, 1)
            most = max(most, float(weight.max(initial=0)))
        return most

    def is_measured(self, rows: NDArray[np.int32]) -> NDArray[np.bool_]:
        """Whether blocks (B,) contain a measured voxel."""
        from mapping.tsdf.kernels import field as kernels

        measured = np.zeros(len(rows), bool)
        kernels.find_measured(self.tsdf, rows, measured)
        return measured

    def observed_blocks(self, *, carved: bool) -> NDArray[np.int32]:
        """Coordinates (B, 3), sorted, of blocks that contain a measured voxel or, with `carved`, a free cell."""
        coords = self.blocks.coords[self.is_measured(np.arange(self.blocks.count, dtype=np.int32))]
        if carved:
            count, half = self.free_blocks.count, SIDE // CELL_VOXELS
            parts = self.free[:count].reshape(count, *(CELL_VOXELS, half) * 3)
            row, *child = np.nonzero(parts.any(axis=(2, 4, 6)))
            free = CELL_VOXELS * self.free_blocks.coords[row] + np.stack(child, axis=1).astype(np.int32)
            coords = np.unique(np.concatenate([coords, free]), axis=0)
        return np.ascontiguousarray(coords[np.lexsort(coords.T[::-1])])

    def sums(self) -> VolumeSums:
        """All sums that are not zero, sorted."""
        order = self.blocks.order()
        order = order[self.is_measured(order.astype(np.int32))]
        free = self.free_blocks.order()
        free = free[self.free[free].any(axis=1)]
        return VolumeSums(
            coords=self.blocks.coords[order],
            tsdf=by_voxel(self.tsdf, order),
            surface=self.surface.sums(order),
            free_coords=self.free_blocks.coords[free],
            free=self.free[free],
        )

    def add(self, sums: VolumeSums) -> None:
        """Add the sums of other frames."""
        rows, free = self.insert(sums.coords), self.insert_free(sums.free_coords)
        self.surface.add(rows, sums.surface)  # first, because it may run out of memory
        for start in range(0, max(len(rows), len(free)), SLICE):  # no second copy of all sums
            part = slice(start, start + SLICE)
            self.tsdf[rows[part]] += by_octets(sums.tsdf[part])
            self.free[free[part]] += sums.free[part]
        self.used(rows, free)


def _numbers(voxels: NDArray[np.int64]) -> NDArray[np.int64]:
    """The numbers (N,) of voxels or cells (N, 3) within their blocks."""
    i, j, k = voxels.T & 7
    return (i << 6) | (j << 3) | k
