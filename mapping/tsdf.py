"""Truncated signed distance fusion into sparse blocks: a commutative sum that can be split, merged and undone."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from mapping import _tsdf_numpy as reference
from mapping._observation import FusionError, Observation, observe
from mapping.blocks import BlockMap, with_rows
from mapping.camera import Intrinsics
from mapping.config import TSDFConfig
from mapping.marching_cubes import isosurface
from mapping.mesh import Mesh
from mapping.volume_io import VolumeError, VolumeSums, read_volume, write_volume

SIDE = reference.SIDE
VOXELS = SIDE**3
UNIT = reference.WEIGHT_UNIT
HALF_CONFIDENCE_WEIGHT = 3.0
"""The weight at which a vertex has confidence 1/2."""


@dataclass(frozen=True, eq=False)
class VoxelBlocks:
    """Blocks of 8 x 8 x 8 voxels in the order of their coordinates.

    coords (B, 3) int32; distance (B, 8, 8, 8) float32 metres, positive in free space; weight (B, 8, 8, 8) float32, 0 never seen;
    labels (B, 8, 8, 8) uint16 label of most evidence, 0 unknown. Axes are x, y, z; the sample point of voxel (i, j, k) is
    `(8 * coords + (i, j, k) + 0.5) * voxel_size` in world metres.
    """

    coords: NDArray[np.int32]
    distance: NDArray[np.float32]
    weight: NDArray[np.float32]
    labels: NDArray[np.uint16]


class TSDFVolume:
    """A map of signed distance, colour and label evidence (see the module for what fusing means)."""

    def __init__(self, config: TSDFConfig | None = None) -> None:
        self.config = config or TSDFConfig()
        self._blocks, self._free_blocks, self._channels = BlockMap(), BlockMap(), BlockMap()
        self._tsdf = np.zeros((0, 2, VOXELS), np.int32)
        self._color = np.zeros((0, 4, VOXELS), np.int32)
        self._free = np.zeros((0, VOXELS), np.int32)
        self._evidence = np.zeros((0, VOXELS), np.int32)

    def integrate(
        self,
        depth: NDArray[np.float32],
        intrinsics: Intrinsics,
        T_world_camera: NDArray[np.float64],
        *,
        rgb: NDArray[np.uint8] | None = None,
        labels: NDArray[Any] | None = None,
        weight: NDArray[np.float32] | None = None,
    ) -> None:
        """Add a frame.

        depth (H, W) float32 metres along camera z, 0 unknown; rgb (H, W, 3) uint8; labels (H, W) uint8 or uint16, 0 unknown;
        weight (H, W) float32, 1 for a sure observation, None for all ones. Raises FusionError that names what is wrong.
        """
        self._fuse(observe(self.config, depth, intrinsics, T_world_camera, rgb=rgb, labels=labels, weight=weight), 1)

    def remove(
        self,
        depth: NDArray[np.float32],
        intrinsics: Intrinsics,
        T_world_camera: NDArray[np.float64],
        *,
        rgb: NDArray[np.uint8] | None = None,
        labels: NDArray[Any] | None = None,
        weight: NDArray[np.float32] | None = None,
    ) -> None:
        """Take a frame out again that was added with the same arguments: the map is then as if it had never been fused."""
        self._fuse(observe(self.config, depth, intrinsics, T_world_camera, rgb=rgb, labels=labels, weight=weight), -1)

    def _fuse(self, observation: Observation, sign: int) -> None:
        band = reference.band_blocks(observation, self.config)
        rows = self._blocks.insert(band)
        self._tsdf = with_rows(self._tsdf, self._blocks.count)
        self._color = with_rows(self._color, self._blocks.count)
        part = reference.contribution(observation, band, self.config)
        self._tsdf[rows, 0] += sign * part.distance
        self._tsdf[rows, 1] += sign * part.weight
        self._color[rows] += sign * part.color
        for label in np.unique(part.label):
            if label:
                here = part.label == label
                hit = here.any(axis=1)
                keys = np.stack([rows[hit], np.full(hit.sum(), label), np.zeros(hit.sum())], axis=1).astype(np.int32)
                channels = self._channels.insert(keys)
                self._evidence = with_rows(self._evidence, self._channels.count)
                self._evidence[channels] += sign * np.where(here, part.weight, 0)[hit]
        if self.config.carve:
            free = reference.free_blocks(observation, self.config)
            rows = self._free_blocks.insert(free)
            self._free = with_rows(self._free, self._free_blocks.count)
            self._free[rows] += sign * reference.free_weight(observation, free, band, self.config)

    def merge(self, other: TSDFVolume) -> None:
        """Add all that `other` has fused. Raises VolumeError when the two do not sample space alike."""
        for name in ("voxel_size", "truncation_distance"):
            if getattr(self.config, name) != getattr(other.config, name):
                raise VolumeError(
                    f"cannot merge volumes of different {name}: {getattr(self.config, name)}, {getattr(other.config, name)}"
                )
        self._add(other._sums())

    def save(self, path: str | Path) -> None:
        """Write the volume to an npz file."""
        write_volume(path, self.config, self._sums())

    @staticmethod
    def load(path: str | Path) -> TSDFVolume:
        """Read a volume. Raises VolumeError in one line for a file that is not a whole volume."""
        config, sums = read_volume(path)
        volume = TSDFVolume(config)
        volume._add(sums)
        return volume

    def _sums(self) -> VolumeSums:
        order = self._blocks.order()
        order = order[self._tsdf[order, 1].any(axis=1)]
        new_row = np.full(self._blocks.count, -1, np.int32)
        new_row[order] = np.arange(len(order))
        colored = order[self._color[order, 3].any(axis=1)]
        keys = self._channels.coords
        channels = np.lexsort((keys[:, 1], new_row[keys[:, 0]]))
        channels = channels[self._evidence[channels].any(axis=1)]
        free = self._free_blocks.order()
        free = free[self._free[free].any(axis=1)]
        return VolumeSums(
            coords=self._blocks.coords[order],
            tsdf=self._tsdf[order],
            color_row=new_row[colored],
            color=self._color[colored],
            label_row=new_row[keys[channels, 0]],
            label=keys[channels, 1].astype(np.uint16),
            evidence=self._evidence[channels],
            free_coords=self._free_blocks.coords[free],
            free=self._free[free],
        )

    def _add(self, sums: VolumeSums) -> None:
        rows = self._blocks.insert(sums.coords)
        self._tsdf = with_rows(self._tsdf, self._blocks.count)
        self._color = with_rows(self._color, self._blocks.count)
        self._tsdf[rows] += sums.tsdf
        self._color[rows[sums.color_row]] += sums.color
        keys = np.stack([rows[sums.label_row], sums.label, np.zeros_like(sums.label_row)], axis=1).astype(np.int32)
        channels = self._channels.insert(keys)
        self._evidence = with_rows(self._evidence, self._channels.count)
        self._evidence[channels] += sums.evidence
        rows = self._free_blocks.insert(sums.free_coords)
        self._free = with_rows(self._free, self._free_blocks.count)
        self._free[rows] += sums.free

    @property
    def memory_bytes(self) -> int:
        """Bytes in use."""
        arrays = (self._tsdf, self._color, self._free, self._evidence)
        return sum(a.nbytes for a in arrays)

    def blocks(self, *, carved: bool = True) -> VoxelBlocks:
        """All blocks that hold an observed voxel; with `carved`, free space along the rays too, at distance `truncation`."""
        coords = self._blocks.coords
        tsdf = self._tsdf[: len(coords)].astype(np.int64)
        labels = self._label_argmax()
        if carved:
            children = self._free_children()
            rows = BlockMap()
            rows.insert(coords)
            target = rows.insert(children[0])
            tsdf = np.concatenate([tsdf, np.zeros((rows.count - len(coords), 2, VOXELS), np.int64)])
            labels = np.concatenate([labels, np.zeros((rows.count - len(coords), VOXELS), np.uint16)])
            tsdf[target] += children[1][:, None]
            coords = rows.coords
        seen = tsdf[:, 1].any(axis=1)
        order = np.flatnonzero(seen)[np.lexsort(coords[seen].T[::-1])]
        weight = tsdf[order, 1]
        distance = self.config.truncation_distance * tsdf[order, 0] / np.maximum(weight, 1)
        shape = (len(order), SIDE, SIDE, SIDE)
        return VoxelBlocks(
            coords[order],
            distance.astype(np.float32).reshape(shape),
            (weight / UNIT).astype(np.float32).reshape(shape),
            labels[order].reshape(shape),
        )

    def _free_children(self) -> tuple[NDArray[np.int32], NDArray[np.int64]]:
        factor, half = reference.CELL_VOXELS, SIDE // reference.CELL_VOXELS
        n = self._free_blocks.count
        cells = self._free[:n].reshape(n, factor, half, factor, half, factor, half).transpose(0, 1, 3, 5, 2, 4, 6)
        fine = cells.repeat(factor, 4).repeat(factor, 5).repeat(factor, 6).reshape(-1, VOXELS)
        offset = np.stack(np.meshgrid(*[np.arange(factor)] * 3, indexing="ij"), -1).reshape(-1, 3)
        coords = (self._free_blocks.coords[:, None] * factor + offset).reshape(-1, 3).astype(np.int32)
        hit = fine.any(axis=1)
        return coords[hit], fine[hit].astype(np.int64)

    def _label_argmax(self) -> NDArray[np.uint16]:
        best = np.zeros((self._blocks.count, VOXELS), np.int32)
        labels = np.zeros((self._blocks.count, VOXELS), np.uint16)
        keys = self._channels.coords
        for channel in np.lexsort((keys[:, 1], keys[:, 0])):
            row, label, _ = keys[channel]
            more = self._evidence[channel] > best[row]
            labels[row][more] = label
            best[row][more] = self._evidence[channel][more]
        return labels

    def bounds(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Lower and upper corner (3,) in world metres of the blocks around observed surfaces."""
        coords = self.blocks(carved=False).coords
        if not len(coords):
            raise FusionError("the volume is empty")
        size = self.config.voxel_size * SIDE
        return coords.min(axis=0) * size, (coords.max(axis=0) + 1.0) * size

    def sample(self, points: ArrayLike) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Distance and weight (N,) at world points (N, 3), trilinear; weight 0 where one of the eight voxels was never seen."""
        blocks = self.blocks()
        index = BlockMap()
        index.insert(blocks.coords)
        grid = np.asarray(points, np.float64).reshape(-1, 3) / self.config.voxel_size - 0.5
        low = np.floor(grid).astype(np.int64)
        t = grid - low
        distance, weight, unseen = np.zeros(len(low)), np.zeros(len(low)), np.zeros(len(low), bool)
        for offset in np.ndindex(2, 2, 2):
            voxel = low + offset
            row = index.find((voxel // SIDE).astype(np.int32))
            local = tuple((voxel % SIDE).T)
            part = np.where(np.array(offset) == 1, t, 1 - t).prod(axis=1)
            w = np.where(row >= 0, blocks.weight[(row, *local)] if len(blocks.coords) else 0, 0)
            unseen |= w <= 0
            weight += part * w
            distance += part * (blocks.distance[(row, *local)] if len(blocks.coords) else 0)
        return np.where(unseen, 0, distance).astype(np.float32), np.where(unseen, 0, weight).astype(np.float32)

    def extract_mesh(self, *, min_weight: float = 1.0) -> Mesh:
        """The surface between voxels of at least `min_weight`, with colour, label and confidence per vertex."""
        blocks = self.blocks(carved=False)
        surface = isosurface(blocks.coords, blocks.distance, blocks.weight, min_weight)
        rows = self._blocks.find(blocks.coords)
        a, b, t = surface.ends[:, 0], surface.ends[:, 1], surface.fraction
        flat = rows.astype(np.int64)
        ends = [(flat[e >> 9], e & 511) for e in (a, b)]
        (row_a, voxel_a), (row_b, voxel_b) = ends
        color = self._color[row_a, :, voxel_a] * (1 - t[:, None]) + self._color[row_b, :, voxel_b] * t[:, None]
        rgb = (
            np.rint(color[:, :3] / np.maximum(color[:, 3:], 1e-9)).astype(np.uint8)
            if len(t)
            else np.zeros((0, 3), np.uint8)
        )
        weights = [blocks.weight.reshape(-1)[e] for e in (a, b)]
        labels = [blocks.labels.reshape(-1)[e] for e in (a, b)]
        first = ((1 - t) * weights[0] * (labels[0] > 0)) >= (t * weights[1] * (labels[1] > 0))
        mean = (1 - t) * weights[0] + t * weights[1]
        confidence = (mean / (mean + HALF_CONFIDENCE_WEIGHT)).astype(np.float32)
        return Mesh(
            surface.vertices * self.config.voxel_size,
            surface.faces,
            colors=rgb,
            labels=np.where(first, labels[0], labels[1]),
            confidence=confidence,
        )
