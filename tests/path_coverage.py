"""Coverage: how much of the visible surface of a world a camera path has observed."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from mapping.camera import Intrinsics
from mapping.mesh.mesh import Mesh, sample_surface
from mapping.se3 import inverse, transform_points
from pipelines.synth.rendering.casting import Caster
from pipelines.synth.rendering.surfaces import Surfaces

Array = NDArray[np.float64]

REACH = 6.0
"""Metres beyond which a surface does not count as observed."""
FLATTEST = 0.1
"""Least cosine between the line of sight and the surface's normal."""


def surface_coverage(
    surfaces: Surfaces, eyes: Array, camera: Intrinsics, poses: Iterable[Array], rng: Generator, samples: int = 4000
) -> float:
    """Share of the surface visible from some of `eyes` (N, 3), in any direction, that is observed by some of the frames.

    A surface point is observed from a position when it is not occluded, nearer than REACH and not at a flatter angle
    than FLATTEST. The points are area-weighted samples; frames are given by their camera and poses `T_world_camera`.
    """
    points, faces = sample_surface(Mesh(surfaces.vertices, surfaces.faces), samples, rng)
    normals = surfaces.planes[faces, :3]
    caster = Caster(surfaces)
    visible = np.zeros(samples, np.bool_)
    for eye in eyes:
        visible[~visible] = _in_sight(eye, points[~visible], normals[~visible], caster)
    seen = np.zeros(samples, np.bool_)
    for pose in poses:
        open_points = np.flatnonzero(visible & ~seen)
        in_camera = transform_points(inverse(pose), points[open_points])
        uv = camera.project(in_camera)
        with np.errstate(invalid="ignore"):
            inside = (uv > -0.5).all(axis=1) & (uv < [camera.width - 0.5, camera.height - 0.5]).all(axis=1)
        mine = open_points[inside]
        seen[mine] = _in_sight(pose[:3, 3], points[mine], normals[mine], caster)
    return float(seen.sum() / max(1, visible.sum()))


def _in_sight(eye: Array, points: Array, normals: Array, caster: Caster) -> NDArray[np.bool_]:
    to_eye = eye - points
    distance = np.linalg.norm(to_eye, axis=1)
    near = (distance < REACH) & (np.einsum("ij,ij->i", to_eye, normals) > FLATTEST * distance)
    segments = np.concatenate([points + 2e-3 * normals, to_eye - 2e-3 * normals], axis=1).astype(np.float32)
    result = np.zeros(len(points), np.bool_)
    result[near] = ~caster.blocked(segments[near])
    return result
