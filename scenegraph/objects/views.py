"""In how many frames each object was visible."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from mapping.camera import Intrinsics
from mapping.distance_field import FreeSpace
from mapping.mesh.mesh import Mesh
from mapping.se3 import inverse, transform_points

Array = NDArray[np.float64]
Counts = NDArray[np.int64]

SAMPLES = 16  # points of an object that are tested
SEEN_SHARE = 0.25  # share of them that must be visible
BEFORE = 0.25  # metres in front of a point in which its own surroundings do not hide it
GRAZED = 1  # occupied samples on the ray that a view may graze, since a cell is occupied as a whole


def count_views(
    mesh: Mesh,
    count: int,
    T_world_camera: ArrayLike,
    intrinsics: Intrinsics,
    free_space: FreeSpace,
    max_depth: float = 5.0,
) -> Counts:
    """(count,) frames that see each object 1 .. count of `mesh.objects`.

    An object is seen by a camera (poses (N, 4, 4)) when a quarter of some points spread over its surface lie in the image,
    nearer than `max_depth` metres, with no more than a grazed surface on the ray to them.
    """
    points, owner = _samples(mesh, count)
    views = np.zeros(count, np.int64)
    if not len(points):
        return views
    total = np.maximum(np.bincount(owner, minlength=count), 1)
    for T in np.asarray(T_world_camera, dtype=np.float64).reshape(-1, 4, 4):
        camera = transform_points(inverse(T), points)
        uv = intrinsics.project(camera)
        with np.errstate(invalid="ignore"):
            inside = (uv > -0.5).all(axis=1) & (uv < [intrinsics.width - 0.5, intrinsics.height - 0.5]).all(axis=1)
        candidate = np.flatnonzero(inside & (camera[:, 2] > 0.05) & (camera[:, 2] < max_depth))
        seen = candidate[~_hidden(T[:3, 3], points[candidate], free_space)]
        views += np.bincount(owner[seen], minlength=count) >= SEEN_SHARE * total
    return views


def _samples(mesh: Mesh, count: int) -> tuple[Array, Counts]:
    """Up to `SAMPLES` vertices of each object, evenly through its list, and the object (from 0) each belongs to."""
    if mesh.objects is None:
        return np.zeros((0, 3)), np.zeros(0, np.int64)
    vertices = np.flatnonzero(mesh.objects > 0)
    owner = mesh.objects[vertices].astype(np.int64) - 1
    order = np.argsort(owner, kind="stable")
    vertices, owner = vertices[order], owner[order]
    size = np.bincount(owner, minlength=count)
    rank = np.arange(len(owner)) - (np.cumsum(size) - size)[owner]
    wanted = np.minimum(size, SAMPLES)[owner]
    chosen = (rank * wanted) // size[owner] != ((rank - 1) * wanted) // size[owner]
    return mesh.vertices[vertices[chosen]], owner[chosen]


def _hidden(eye: Array, points: Array, free_space: FreeSpace) -> NDArray[np.bool_]:
    """Which points (N, 3) have an occupied cell between them and the eye."""
    rays = points - eye
    length = np.linalg.norm(rays, axis=1)
    hits = np.zeros(len(points), np.int64)
    occupied = free_space.occupied
    for distance in np.arange(BEFORE, float(length.max(initial=0.0)), free_space.cell_size):
        left = np.flatnonzero((hits <= GRAZED) & (distance < length - BEFORE))
        if not len(left):
            break
        at = eye + rays[left] * (distance / length[left])[:, None]
        hits[left] += occupied[tuple(free_space.cell_of(at).T)]
    return np.asarray(hits > GRAZED)
