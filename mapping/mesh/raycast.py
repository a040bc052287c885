"""Ray casting against a mesh: visible depth and faces, distances of points, visibility of points.

A thin layer over Open3D's `RaycastingScene` (Embree), which is loaded with the first `MeshCaster`. It works in float32, so
coordinates are relative to the middle of the mesh.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from mapping.camera import Intrinsics
from mapping.mesh.mesh import Mesh

Array = NDArray[np.float64]

RAYS_AT_ONCE = 1 << 20  # bounds the memory of large pictures


class MeshCaster:
    """A mesh prepared for ray casting and closest-point queries; faces are visible from both sides."""

    def __init__(self, mesh: Mesh) -> None:
        o3d = _open3d()
        self.mesh = mesh
        self._tensor = o3d.core.Tensor
        self._scene: Any = None
        self._middle = np.zeros(3)
        if len(mesh.faces):
            self._middle = (mesh.vertices.min(axis=0) + mesh.vertices.max(axis=0)) / 2
            self._scene = o3d.t.geometry.RaycastingScene()
            vertices = np.ascontiguousarray(mesh.vertices - self._middle, dtype=np.float32)
            self._scene.add_triangles(self._tensor(vertices), self._tensor(mesh.faces.astype(np.uint32)))

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
        distance = np.full(len(rays), np.inf, np.float32)
        faces = np.full(len(rays), -1, np.int32)
        uv = np.zeros((len(rays), 2), np.float32)
        for start in range(0, len(rays) if self._scene is not None else 0, RAYS_AT_ONCE):
            block = slice(start, start + RAYS_AT_ONCE)
            hits = self._scene.cast_rays(self._tensor(rays[block]))
            distance[block] = hits["t_hit"].numpy()
            faces[block] = hits["primitive_ids"].numpy().view(np.int32)  # the invalid id is all ones: -1
            uv[block] = hits["primitive_uvs"].numpy()
        shape = np.shape(directions)[:-1]
        return distance.reshape(shape), faces.reshape(shape), _corner_weights(uv).reshape(*shape, 3)

    def all_hits(
        self, origins: ArrayLike, directions: ArrayLike
    ) -> tuple[NDArray[np.int64], NDArray[np.float32], NDArray[np.int32]]:
        """Every crossing of rays (N, 3) with the mesh: ray index, distance in lengths of the direction, face; by ray."""
        rays = self._rays(origins, directions)
        found: list[tuple[NDArray[Any], ...]] = [
            (np.zeros(0, np.int64), np.zeros(0, np.float32), np.zeros(0, np.int32))
        ]
        for start in range(0, len(rays) if self._scene is not None else 0, RAYS_AT_ONCE):
            hits = self._scene.list_intersections(self._tensor(rays[start : start + RAYS_AT_ONCE]))
            ids, t, faces = (hits[name].numpy() for name in ("ray_ids", "t_hit", "primitive_ids"))
            found.append((ids.astype(np.int64) + start, t, faces.astype(np.int32)))
        ids, t, faces = (np.concatenate(parts) for parts in zip(*found, strict=True))
        return ids, t, faces

    def closest(self, points: ArrayLike) -> tuple[Array, NDArray[np.int32], NDArray[np.float32]]:
        """The nearest surface of points (N, 3): distance (N,) metres, inf without any face; face (N,), -1 without any; weights
        (N, 3) of the face's corners."""
        points = np.asarray(points, dtype=np.float64)
        if self._scene is None or len(points) == 0:
            count = len(points)
            return np.full(count, np.inf), np.full(count, -1, np.int32), np.zeros((count, 3), np.float32)
        local = np.ascontiguousarray(points - self._middle, dtype=np.float32)
        found = self._scene.compute_closest_points(self._tensor(local))
        distance = np.linalg.norm(found["points"].numpy() + self._middle - points, axis=1)
        return distance, found["primitive_ids"].numpy().view(np.int32), _corner_weights(found["primitive_uvs"].numpy())

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

    def _rays(self, origins: ArrayLike, directions: ArrayLike) -> NDArray[np.float32]:
        local = np.asarray(origins, dtype=np.float64) - self._middle
        rays = np.concatenate([local, np.asarray(directions, dtype=np.float64)], axis=-1)
        return np.ascontiguousarray(rays.reshape(-1, 6), dtype=np.float32)


def _open3d() -> Any:
    """Open3D, imported late because that takes a second; Any because its stubs reject a Tensor of one array."""
    import open3d

    return open3d


def _corner_weights(uv: NDArray[np.float32]) -> NDArray[np.float32]:
    return np.stack([1 - uv[:, 0] - uv[:, 1], uv[:, 0], uv[:, 1]], axis=1)
