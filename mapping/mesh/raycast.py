"""Ray casting against a mesh: visible depth and faces, distances of points, visibility of points.

Triangles lie in a tree of boxes (`mapping/mesh/kernels.py`), built with the first use of a `MeshCaster`. Coordinates are relative
to the middle of the mesh, so that nothing is lost far from the origin.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import cached_property

import numpy as np
from numpy.typing import ArrayLike, NDArray

from mapping.camera import Intrinsics
from mapping.mesh import kernels
from mapping.mesh.mesh import Mesh
from mapping.threads import run_parts, split, thread_count

Array = NDArray[np.float64]

ONE_THREAD = 1 << 10  # rays that are not worth a second thread


class MeshCaster:
    """A mesh prepared for ray casting and closest-point queries; faces are visible from both sides."""

    def __init__(self, mesh: Mesh) -> None:
        self.mesh = mesh
        self._middle = np.zeros(3)
        if len(mesh.faces):
            self._middle = (mesh.vertices.min(axis=0) + mesh.vertices.max(axis=0)) / 2

    @cached_property
    def _tree(self) -> kernels.BoxTree:
        """The triangles of a mesh that has any."""
        corners = (self.mesh.vertices - self._middle)[self.mesh.faces]
        count = len(corners)
        order = np.arange(count, dtype=np.int32)
        boxes, links = np.zeros((2 * count, 2, 3)), np.zeros((2 * count, 2), np.int32)
        bounds = np.stack([corners.min(axis=1), corners.max(axis=1)], axis=1)
        used = kernels.build(bounds, order, boxes, links)
        return kernels.BoxTree(boxes[:used].copy(), links[:used].copy(), corners[order], order)

    def cast(self, intrinsics: Intrinsics, T_world_camera: ArrayLike) -> tuple[NDArray[np.float32], NDArray[np.int32]]:
        """Depth along z (H, W) in metres, 0 where nothing is hit, and the face index (H, W), -1 where nothing is hit."""
        T = np.asarray(T_world_camera, dtype=np.float64)
        # Rays of z = 1: the parameter of the hit is the depth.
        directions = intrinsics.rays() @ T[:3, :3].T
        depth, faces, _ = self.cast_rays(np.broadcast_to(T[:3, 3], directions.shape), directions)
        return np.where(faces >= 0, depth, 0).astype(np.float32), faces

    def cast_rays(
        self, origins: ArrayLike, directions: ArrayLike
    ) -> tuple[NDArray[np.float32], NDArray[np.int32], NDArray[np.float32]]:
        """First hits of rays (..., 3): distance (...) in lengths of the direction, inf for none; face (...), -1 for none;
        weights (..., 3) of the face's three corners at the hit."""
        rays = self._rays(origins, directions)
        found = kernels.RayHits(
            np.full(len(rays), np.inf, np.float32),
            np.full(len(rays), -1, np.int32),
            np.zeros((len(rays), 2), np.float32),
        )
        if len(self.mesh.faces):
            tree = self._tree
            _in_parts(len(rays), lambda rows: kernels.first_hits(tree, rays, rows, found))
        shape = np.shape(directions)[:-1]
        weights = _corner_weights(found.uv).reshape(*shape, 3)
        return found.distance.reshape(shape), found.face.reshape(shape), weights

    def all_hits(
        self, origins: ArrayLike, directions: ArrayLike
    ) -> tuple[NDArray[np.int64], NDArray[np.float32], NDArray[np.int32]]:
        """Every crossing of rays (N, 3) with the mesh: ray index, distance in lengths of the direction, face; by ray."""
        rays = self._rays(origins, directions)
        ends = np.zeros(len(rays), np.int64)
        t, faces = np.zeros(0, np.float32), np.zeros(0, np.int32)
        if not len(self.mesh.faces):
            return ends[:0], t, faces
        tree = self._tree
        _in_parts(len(rays), lambda rows: kernels.crossings(tree, rays, rows, ends, t, faces))
        counts, ends = ends, np.cumsum(ends)
        if counts.any():
            t, faces = np.zeros(int(ends[-1]), np.float32), np.zeros(int(ends[-1]), np.int32)
            _in_parts(len(rays), lambda rows: kernels.crossings(tree, rays, rows, ends, t, faces))
        return np.repeat(np.arange(len(rays)), counts), t, faces

    def closest(self, points: ArrayLike) -> tuple[Array, NDArray[np.int32], NDArray[np.float32]]:
        """The nearest surface of points (N, 3): distance (N,) metres, inf without any face; face (N,), -1 without any; weights
        (N, 3) of the face's corners."""
        local = np.ascontiguousarray(np.asarray(points, dtype=np.float64) - self._middle)
        found = kernels.NearestHits(
            np.full(len(local), np.inf), np.full(len(local), -1, np.int32), np.zeros((len(local), 2), np.float32)
        )
        if len(self.mesh.faces):
            tree = self._tree
            _in_parts(len(local), lambda rows: kernels.nearest_hits(tree, local, rows, found))
        return found.distance, found.face, _corner_weights(found.uv)

    def distance(self, points: ArrayLike) -> Array:
        """Metres (N,) from points (N, 3) to the nearest surface, never negative; inf for an empty mesh."""
        return self.closest(points)[0]

    def visible_points(
        self,
        points: ArrayLike,
        normals: ArrayLike,
        poses: Iterable[ArrayLike],
        intrinsics: Intrinsics,
        *,
        max_depth: float = np.inf,
    ) -> NDArray[np.bool_]:
        """(N,) which surface points (N, 3) some pose sees from their front: inside the image, nearer than `max_depth` metres
        along z, `normals` (N, 3) towards the camera, and not occluded by the mesh."""
        points, normals = np.asarray(points, dtype=np.float64), np.asarray(normals, dtype=np.float64)
        seen = np.zeros(len(points), dtype=bool)
        for T_world_camera in poses:
            T = np.asarray(T_world_camera, dtype=np.float64)
            rest = np.flatnonzero(~seen)
            depth = (points[rest] - T[:3, 3]) @ T[:3, 2]
            rest = rest[(depth > 0) & (depth <= max_depth)]
            rest = rest[np.einsum("ij,ij->i", points[rest] - T[:3, 3], normals[rest]) < 0]
            rest = rest[intrinsics.contains(intrinsics.project((points[rest] - T[:3, 3]) @ T[:3, :3]))]
            seen[rest[self.is_clear(T[:3, 3], points[rest])]] = True
        return seen

    def is_clear(self, eye: ArrayLike, points: ArrayLike) -> NDArray[np.bool_]:
        """(N,) whether the line of sight from an eye (3,) to points (N, 3) is free; the surface of a point itself is ignored."""
        origin = np.asarray(eye, dtype=np.float64)
        towards = np.asarray(points, dtype=np.float64) - origin
        hit, _, _ = self.cast_rays(np.broadcast_to(origin, towards.shape), towards)
        return np.asarray(hit > 1 - 1e-3)  # the point itself is at 1, up to float32

    def _rays(self, origins: ArrayLike, directions: ArrayLike) -> Array:
        local = np.asarray(origins, dtype=np.float64) - self._middle
        rays = np.concatenate([local, np.asarray(directions, dtype=np.float64)], axis=-1)
        return np.ascontiguousarray(rays.reshape(-1, 6))


def _in_parts(count: int, work: Callable[[tuple[int, int]], None]) -> None:
    """Do work on the rows from 0 to before `count`, in threads where they are many."""
    rows = split(count, thread_count(None) if count > ONE_THREAD else 1)
    run_parts(lambda part: work(rows[part]), len(rows))


def _corner_weights(uv: NDArray[np.float32]) -> NDArray[np.float32]:
    return np.stack([1 - uv[:, 0] - uv[:, 1], uv[:, 0], uv[:, 1]], axis=1)
