"""Points of a map's surface and where its cameras see them: what structure from motion would have found there."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mapping.camera import Intrinsics
from mapping.mesh.mesh import Mesh, sample_surface
from mapping.mesh.raycast import MeshCaster
from mapping.se3 import inverse, transform_points

Array = NDArray[np.float64]

MOST_POINTS = 100_000
POINTS_PER_AREA = 400
"""Points per square metre: one every 5 cm."""
MOST_SEEN = 2000
"""Points that are noted of one image."""
DEPTH_AGREES = 0.02
"""Relative difference between a point's depth and that of the surface in its pixel up to which nothing is before it."""
LEAST_COSINE = 0.1


@dataclass(frozen=True, eq=False)
class SeenPoints:
    """Points (N, 3) in the world and their colours (N, 3) uint8, each seen by a camera; `seen` has by the number of a camera the
    rows of the points that it sees and their pixels (M, 2)."""

    points: Array
    colors: NDArray[np.uint8]
    seen: dict[int, tuple[NDArray[np.int64], Array]]


def seen_points(mesh: Mesh, cameras: Mapping[int, tuple[Intrinsics, Array]]) -> SeenPoints:
    """Points spread evenly over the surface that the cameras (without distortion, with their poses (4, 4)) see.

    The same map always gives the same points. A point is seen from its front, within the image, with nothing before it.
    """
    if not len(mesh.faces):
        return SeenPoints(np.zeros((0, 3)), np.zeros((0, 3), np.uint8), {})
    count = int(np.clip(POINTS_PER_AREA * mesh.face_areas().sum(), 100, MOST_POINTS))
    points, faces = sample_surface(mesh, count, np.random.default_rng(0))
    normals = mesh.face_normals()[faces]
    caster = MeshCaster(mesh)
    seen = {}
    for number, (camera, T_world_camera) in cameras.items():
        rows, pixels = _visible(caster, points, normals, camera, T_world_camera)
        if len(rows) > MOST_SEEN:
            chosen = np.sort(np.random.default_rng(number).choice(len(rows), MOST_SEEN, replace=False))
            rows, pixels = rows[chosen], pixels[chosen]
        seen[number] = (rows, pixels)
    kept = np.zeros(count, bool)
    for rows, _ in seen.values():
        kept[rows] = True
    renumbered = np.cumsum(kept) - 1
    return SeenPoints(
        points[kept],
        _colors(mesh, points[kept], faces[kept]),
        {number: (renumbered[rows], pixels) for number, (rows, pixels) in seen.items()},
    )


def _visible(
    caster: MeshCaster, points: Array, normals: Array, camera: Intrinsics, T_world_camera: Array
) -> tuple[NDArray[np.int64], Array]:
    """Rows of the points that a camera sees, and their pixels."""
    local = transform_points(inverse(T_world_camera), points)
    towards = T_world_camera[:3, 3] - points
    facing = np.einsum("ij,ij->i", normals, towards) > LEAST_COSINE * np.linalg.norm(towards, axis=1)
    uv = camera.project(local)
    rows = np.flatnonzero(facing & (local[:, 2] > 0) & camera.contains(uv))
    directions = points[rows] - T_world_camera[:3, 3]
    hit, _, _ = caster.cast_rays(np.broadcast_to(T_world_camera[:3, 3], directions.shape), directions)
    rows = rows[hit > 1 - DEPTH_AGREES]
    return rows, uv[rows]


def _colors(mesh: Mesh, points: Array, faces: NDArray[np.int64]) -> NDArray[np.uint8]:
    """The colours of points on faces, between those of the corners; grey where the mesh has none."""
    if mesh.colors is None or not len(points):
        return np.full((len(points), 3), 128, np.uint8)
    corners = mesh.vertices[mesh.faces[faces]]
    away = np.maximum(np.linalg.norm(corners - points[:, None], axis=2), 1e-6)
    weights = (1 / away) / (1 / away).sum(axis=1, keepdims=True)
    blended = (mesh.colors[mesh.faces[faces]] * weights[..., None]).sum(axis=1)
    return np.rint(blended).astype(np.uint8)
