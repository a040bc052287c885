"""Rays against triangles (Embree through Open3D)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple, cast

import numpy as np
from numpy.typing import NDArray

from mapping.packages import require
from pipelines.synth.rendering.surfaces import Surfaces


class Hits(NamedTuple):
    """Per ray (K,): t in units of the ray's direction (inf for a miss), face index (0 for a miss), barycentric uv (K, 2)."""

    t: NDArray[np.float32]
    face: NDArray[np.int32]
    uv: NDArray[np.float32]


class Caster:
    """The faces of some surfaces (all, or those of a mask) ready for ray casting; face indices are those of the surfaces."""

    def __init__(self, surfaces: Surfaces, mask: NDArray[np.bool_] | None = None) -> None:
        o3d = require("open3d", extra="synth", purpose="rendering a synthetic world")

        self._tensor = cast("Callable[[NDArray[Any]], Any]", o3d.core.Tensor)
        self._scene = o3d.t.geometry.RaycastingScene()
        self._chosen: NDArray[np.int32] | None = None if mask is None else np.flatnonzero(mask).astype(np.int32)
        faces = surfaces.faces if self._chosen is None else surfaces.faces[self._chosen]
        self._empty = len(faces) == 0
        if not self._empty:
            vertices = np.ascontiguousarray(surfaces.vertices, dtype=np.float32)
            self._scene.add_triangles(
                self._tensor(vertices), self._tensor(np.ascontiguousarray(faces, dtype=np.uint32))
            )

    def cast(self, rays: NDArray[np.float32]) -> Hits:
        """The first faces along rays (K, 6) of origin and direction (of any length)."""
        count = len(rays)
        if self._empty or count == 0:
            return Hits(np.full(count, np.inf, np.float32), np.zeros(count, np.int32), np.zeros((count, 2), np.float32))
        answer: Any = self._scene.cast_rays(self._tensor(np.ascontiguousarray(rays)))
        t = answer["t_hit"].numpy()
        face = np.where(np.isfinite(t), answer["primitive_ids"].numpy(), 0).astype(np.int32)
        if self._chosen is not None:
            face = self._chosen[face]
        return Hits(t, face, answer["primitive_uvs"].numpy())

    def blocked(self, segments: NDArray[np.float32]) -> NDArray[np.bool_]:
        """(K,) whether something lies within the segments (K, 6) from origin to origin + direction."""
        if self._empty or len(segments) == 0:
            return np.zeros(len(segments), np.bool_)
        answer: Any = self._scene.test_occlusions(self._tensor(np.ascontiguousarray(segments)), tnear=0.0, tfar=1.0)
        return np.asarray(answer.numpy(), dtype=np.bool_)

    def distance(self, points: NDArray[Any]) -> NDArray[np.float64]:
        """(K,) metres from points (K, 3) to the nearest surface."""
        if self._empty or len(points) == 0:
            return np.full(len(points), np.inf)
        answer: Any = self._scene.compute_distance(self._tensor(np.ascontiguousarray(points, dtype=np.float32)))
        return np.asarray(answer.numpy(), dtype=np.float64)
