"""Truncated signed distance fusion into sparse blocks: a commutative sum that can be split, merged and undone."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from mapping.camera import Intrinsics
from mapping.mesh.mesh import Mesh
from mapping.threads import thread_count
from mapping.tsdf.grid import SIDE
from mapping.tsdf.observation import FusionError, observe
from mapping.tsdf.render import RayCaster, RayRange, RenderedView
from mapping.tsdf.store import VOXELS, SumStore
from mapping.tsdf.tsdf_config import TSDFConfig
from mapping.tsdf.volume_io import VolumeError, VolumeSums, read_volume, write_volume

if TYPE_CHECKING:
    from mapping.tsdf.label_evidence import LabelEvidence

MAX_WEIGHT_SUM = 1e5
"""The maximum sum of weights of a voxel, so that its sums fit into int32."""


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
    """A map of signed distance, colour, label evidence and free space, fused from depth images.

    The volume is a sum over frames (Curless and Levoy 1996) kept in integers, so it does not depend on their order, volumes of
    parts of a sequence merge into that of the whole, and a frame can be removed again, all exactly. Surfaces are
    measured in the blocks around them; with `TSDFConfig.carve` the space in front is recorded in cells of two voxels, and a voxel
    is free for every frame that looks through it without measuring its block. With `TSDFConfig.max_memory` the least recently
    used part moves to disk; the map is the same to the last bit. One thread at a time may change a volume.
    """

    def __init__(self, config: TSDFConfig | None = None) -> None:
        from mapping.tsdf.fusion import Fuser  # imports numba, which `import mapping` does not

        self.config = config or TSDFConfig()
        self._threads = thread_count(self.config.threads)
        self._store = SumStore(self._threads, self.config.max_memory)
        self._fuser = Fuser(self.config, self._store)
        self._weight_bound = 0.0

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

        Parameters
        ----------
        depth : (H, W) float metres along camera z, 0 unknown. Depth beyond `max_depth` marks the space up to there as free.
        intrinsics : the camera of the images, without lens distortion.
        T_world_camera : (4, 4) pose.
        rgb : (H, W, 3) uint8, or None.
        labels : (H, W) integers in 0..65535, 0 unknown, or None; uint8 and uint16 are not copied.
        weight : (H, W) float in 0..256, 1 for a certain observation; None means 1 everywhere.

        Raises FusionError that names the argument and what was expected.
        """
        frame = observe(self.config, depth, intrinsics, T_world_camera, rgb=rgb, labels=labels, weight=weight)
        self._reserve_weight(frame.max_weight)
        self._fuser.fuse(frame, 1)

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
        """Remove a frame that was added with the same arguments and settings: the volume is then as if it had never been fused.

        Raises FusionError, and changes nothing, when the volume cannot contain a frame of this geometry; its colours and labels
        cannot be checked.
        """
        frame = observe(self.config, depth, intrinsics, T_world_camera, rgb=rgb, labels=labels, weight=weight)
        shape = replace(frame, rgb=None, labels=None)
        rows, free_rows = self._fuser.fuse(shape, -1)
        refused = self._store.has_negative_weight(rows, free_rows)
        self._fuser.fuse(shape, 1)
        if refused:
            raise FusionError("this frame was not fused with these arguments, so it cannot be removed")
        self._fuser.fuse(frame, -1)

    def merge(self, other: TSDFVolume) -> None:
        """Add all frames of `other`.

        Raises VolumeError when the two sample space differently, FusionError when a voxel's weight would be too great.
        """
        for name in ("voxel_size", "truncation_distance"):
            mine, theirs = getattr(self.config, name), getattr(other.config, name)
            if mine != theirs:
                raise VolumeError(f"cannot merge volumes of different {name}: {mine} and {theirs}")
        other._weight_bound = other._store.greatest_weight()
        self._reserve_weight(other._weight_bound)
        self._store.add(other._store.sums())

    def transformed(self, T_new_world: ArrayLike) -> TSDFVolume:
        """The volume in another world, `p_new = T_new_world @ p_world`.

        Exact where the voxels of both worlds coincide; elsewhere sums are interpolated, see `resampling`.
        """
        from mapping.tsdf.resampling import moved_sums

        T = np.asarray(T_new_world, dtype=np.float64)
        return self._of_sums(moved_sums(self._store.sums(), T, self.config.voxel_size))

    def without(self, points: ArrayLike, reach: float) -> TSDFVolume:
        """The volume without what was measured at most `reach` metres from any of the points (N, 3); free space stays."""
        from mapping.tsdf.resampling import sums_without

        points = np.asarray(points, dtype=np.float64).reshape(-1, 3)
        return self._of_sums(sums_without(self._store.sums(), points, reach, self.config.voxel_size))

    def _of_sums(self, sums: VolumeSums) -> TSDFVolume:
        volume = TSDFVolume(self.config)
        volume._store.add(sums)
        volume._weight_bound = volume._store.greatest_weight()
        return volume

    def sums(self) -> VolumeSums:
        """All that the volume contains, in an order that does not depend on how it was made."""
        return self._store.sums()

    def save(self, path: str | Path) -> None:
        """Write the volume to an npz file; volumes with the same contents give the same bytes."""
        write_volume(path, self.config, self._store.sums())

    @staticmethod
    def load(path: str | Path, *, max_memory: int | None = None) -> TSDFVolume:
        """Read a volume, which may take `max_memory` bytes of memory from then on.

        Raises VolumeError in one line for a file that is not a complete volume.
        """
        config, sums = read_volume(path)
        return TSDFVolume(replace(config, max_memory=max_memory))._of_sums(sums)

    @property
    def memory_bytes(self) -> int:
        """Bytes of the map; with `max_memory` part of them is on disk."""
        return self._store.memory_bytes

    def blocks(self, *, carved: bool = True) -> VoxelBlocks:
        """The blocks that contain an observed voxel.

        With `carved` also those of free space only; their voxels are at distance `truncation`.
        """
        coords = self._store.observed_blocks(carved=carved)
        distance, weight = self._store.read_blocks(coords, self.config.truncation_distance, self._threads)
        labels = self._labels(self._store.blocks.find(coords))
        shape = (len(coords), SIDE, SIDE, SIDE)
        return VoxelBlocks(coords, distance.reshape(shape), weight.reshape(shape), labels.reshape(shape))

    def bounds(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Lower and upper corner (3,) in world metres of the blocks around surfaces. Raises FusionError without any."""
        coords = self._store.observed_blocks(carved=False)
        if not len(coords):
            raise FusionError("the volume is empty")
        size = self.config.voxel_size * SIDE
        return coords.min(axis=0) * size, (coords.max(axis=0) + 1.0) * size

    def sample(self, points: ArrayLike) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Distance in metres and weight (N,) at world points (N, 3), trilinear.

        Both are 0 where one of the eight voxels around was never seen.
        """
        grid = np.asarray(points, np.float64).reshape(-1, 3) / self.config.voxel_size - 0.5
        low = np.floor(grid).astype(np.int64)
        share = grid - low
        distance, weight, seen = np.zeros(len(grid)), np.zeros(len(grid)), np.ones(len(grid), bool)
        for corner in np.ndindex(2, 2, 2):
            voxel_distance, voxel_weight = self._store.read_voxels(low + corner)
            part = np.where(corner, share, 1 - share).prod(axis=1)
            distance += part * voxel_distance
            weight += part * voxel_weight
            seen &= voxel_weight > 0
        distance *= self.config.truncation_distance * seen
        return distance.astype(np.float32), (weight * seen).astype(np.float32)

    def render(
        self,
        intrinsics: Intrinsics,
        T_world_camera: NDArray[np.float64],
        *,
        min_weight: float = 0.0,
        max_depth: float | None = None,
    ) -> RenderedView:
        """Depth, labels, colour and normals of the surface as a camera would see it.

        `min_weight` is the minimum weight of a voxel that counts as seen; `max_depth` metres is the length of rays, by default
        the range in which depth was fused.
        """
        config = self.config
        farthest = config.max_depth + config.truncation_distance if max_depth is None else max_depth
        caster = RayCaster(self._store, config.voxel_size, config.truncation_distance, self._threads)
        return caster.render(intrinsics, T_world_camera, RayRange(config.min_depth, farthest, min_weight))

    def extract_mesh(self, *, min_weight: float = 1.0, min_share: float = 0.0) -> Mesh:
        """The surface between voxels of at least `min_weight`, with colour, label and confidence per vertex.

        Surface of less than `min_share` of the weight of well seen surface around it (the 90th percentile within 5 m) is left
        out: where depth is uncertain, frames that know little make surface everywhere, the more the longer the recording is.
        """
        from mapping.tsdf.meshing import extract_mesh

        return extract_mesh(self.config, self._store, min_weight, min_share)

    def label_evidence(self, vertices: NDArray[np.float64]) -> LabelEvidence:
        """The evidence of all labels at the vertices (V, 3) of the volume's mesh, in world metres."""
        from mapping.tsdf.label_evidence import label_evidence

        return label_evidence(self._store, vertices, self.config.voxel_size)

    def _reserve_weight(self, more: float) -> None:
        """Keep the sums of a voxel within int32."""
        if self._weight_bound + more > MAX_WEIGHT_SUM:
            self._weight_bound = self._store.greatest_weight()
        if self._weight_bound + more > MAX_WEIGHT_SUM:
            raise FusionError(
                f"a voxel has been seen with a weight of {self._weight_bound:g}; it can hold {MAX_WEIGHT_SUM:g}"
            )
        self._weight_bound += more

    def _labels(self, rows: NDArray[np.int32]) -> NDArray[np.uint16]:
        from mapping.tsdf.kernels import field as kernels

        labels = np.zeros((len(rows), VOXELS), np.uint16)
        kernels.block_labels(self._store.surface.for_kernels(), rows, labels)
        return labels
