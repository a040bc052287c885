"""Presence of objects: evidence per frame from rays that reach an object's surface, stop before it or pass through it.

A frame observes some points of an object's surface from their front. Measured depth that ends at the point supports the object,
depth beyond it contradicts it; depth that ends before it, and points out of view, carry no evidence (Schmid et al., Khronos,
RSS 2024). The most likely sequence of presence and absence over time is chosen, in which each change has a cost.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from mapping.camera import Intrinsics
from mapping.mesh.mesh import Mesh
from mapping.se3 import inverse, transform_points
from scenegraph.labels import LabelSpace
from scenegraph.tracks.track_config import PresenceConfig

Array = NDArray[np.float64]
Counts = NDArray[np.int64]
Interval = tuple[float, float]

NEAREST = 0.1  # metres along z below which depth is not measured
THROUGH = 1.5  # tolerances behind a point from which a ray has passed through it
FRONT_COS = 0.2  # cosine of the angle of view from which a point counts as seen from its front


@dataclass(frozen=True, eq=False)
class SurfacePoints:
    """Points (N, 3) of the surfaces of objects with their normals (N, 3), the object of each (N,) from 0, and its label (N,)."""

    points: Array
    normals: Array
    owner: Counts
    labels: Counts
    count: int

    @staticmethod
    def of(mesh: Mesh, label_ids: ArrayLike, per_object: int) -> SurfacePoints:
        """Up to `per_object` vertices of each object 1 .. K of `mesh.objects`, evenly through its list; label_ids (K,)."""
        label_ids = np.asarray(label_ids, dtype=np.int64)
        numbers = np.zeros(len(mesh.vertices), np.int64) if mesh.objects is None else mesh.objects.astype(np.int64)
        vertices = np.flatnonzero((numbers > 0) & (numbers <= len(label_ids)))
        vertices = vertices[np.argsort(numbers[vertices], kind="stable")]
        owner = numbers[vertices] - 1
        size = np.bincount(owner, minlength=len(label_ids))
        rank = np.arange(len(owner)) - (np.cumsum(size) - size)[owner]
        wanted = np.minimum(size, per_object)[owner]
        chosen = (rank * wanted) // size[owner] != ((rank - 1) * wanted) // size[owner]
        vertices, owner = vertices[chosen], owner[chosen]
        normals = mesh.vertex_normals()[vertices]
        return SurfacePoints(mesh.vertices[vertices], normals, owner, label_ids[owner], len(label_ids))


def frame_evidence(
    surface: SurfacePoints,
    depth: NDArray[np.float32],
    intrinsics: Intrinsics,
    T_world_camera: ArrayLike,
    config: PresenceConfig,
    *,
    labels: NDArray[np.integer[Any]] | None = None,
    label_space: LabelSpace | None = None,
) -> tuple[Counts, Counts]:
    """(count,) points of each object that a frame confirms, and (count,) that it contradicts.

    depth (H, W) metres along z, 0 unknown. With labels (H, W) and their space, depth that ends at a point where the image shows
    floor, wall or ceiling contradicts it as well, the only evidence that a picture was taken off its wall.
    """
    T_camera_world = inverse(T_world_camera)
    local = transform_points(T_camera_world, surface.points)
    normals = surface.normals @ T_camera_world[:3, :3].T
    facing = -np.einsum("ij,ij->i", local, normals) > FRONT_COS * np.linalg.norm(local, axis=1)
    ahead = np.flatnonzero(facing & (local[:, 2] > NEAREST) & (local[:, 2] < config.max_depth))
    pixels = np.rint(intrinsics.project(local[ahead]))
    inside = ((pixels >= 0) & (pixels < [intrinsics.width, intrinsics.height])).all(axis=1)
    ahead, (u, v) = ahead[inside], pixels[inside].astype(np.int64).T
    z, measured = local[ahead, 2], depth[v, u]
    tolerance = config.tolerance + config.tolerance_share * z
    ends_there = (measured > 0) & (np.abs(measured - z) <= tolerance)
    contradicted = measured > z + THROUGH * tolerance
    if labels is not None and label_space is not None:
        bare = np.isin(labels[v, u], sorted(label_space.ids_of_kind("structure")))
        other = ends_there & bare & (labels[v, u] != surface.labels[ahead])
        ends_there, contradicted = ends_there & ~other, contradicted | other
    owner = surface.owner[ahead]
    confirmed, against = (np.bincount(owner[mask], minlength=surface.count) for mask in (ends_there, contradicted))
    return confirmed.astype(np.int64), against.astype(np.int64)


def presence_intervals(
    times: ArrayLike, confirmed: Counts, contradicted: Counts, least_points: ArrayLike, config: PresenceConfig
) -> list[tuple[Interval, ...]]:
    """The intervals [t0, t1] in which each of K objects was present, within times (T,) of the frames, increasing seconds.

    confirmed and contradicted (T, K) are what `frame_evidence` gives; frames with fewer than `least_points` (K,) of both carry
    no evidence on an object. A change is placed halfway between the last frame of one kind and the first of the other;
    before the first such frame and after the last the state is extended. No intervals without evidence, or where the
    object was never present.
    """
    times = np.asarray(times, dtype=np.float64)
    least = np.asarray(least_points, dtype=np.int64)
    result: list[tuple[Interval, ...]] = []
    for k in range(confirmed.shape[1]):
        total = confirmed[:, k] + contradicted[:, k]
        known = np.flatnonzero(total >= max(int(least[k]), 1))
        share = confirmed[known, k] / total[known]
        there = _most_likely_states(config.certainty * (2 * share - 1), config.change_cost)
        result.append(_intervals(times, times[known], there))
    return result


def _most_likely_states(odds: Array, cost: float) -> NDArray[np.bool_]:
    """(T,) presence: the two-state sequence of greatest total odds (T,) less `cost` per change.

    Viterbi (1967) over two states.
    """
    if not len(odds):
        return np.zeros(0, dtype=bool)
    gain = np.array([0.0, odds[0]])
    came_from = np.zeros((len(odds), 2), dtype=np.int64)
    for t in range(1, len(odds)):
        changed = gain[::-1] - cost
        came_from[t] = np.where(changed > gain, [1, 0], [0, 1])
        gain = np.maximum(gain, changed) + np.array([0.0, odds[t]])
    state = int(gain[1] >= gain[0])
    states = np.zeros(len(odds), dtype=bool)
    for t in range(len(odds) - 1, -1, -1):
        states[t] = bool(state)
        state = int(came_from[t, state])
    return states


def _intervals(times: Array, known: Array, there: NDArray[np.bool_]) -> tuple[Interval, ...]:
    """Intervals of presence from the states at the known times (T,)."""
    if not there.any():
        return ()
    changes = np.flatnonzero(there[1:] != there[:-1])
    limits = [float(times[0]), *((known[changes] + known[changes + 1]) / 2).tolist(), float(times[-1])]
    first = 0 if there[0] else 1
    return tuple((limits[k], limits[k + 1]) for k in range(first, len(limits) - 1, 2))
