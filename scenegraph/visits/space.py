"""What a visit saw of points in space: surface, free space, or nothing; and a visit's objects with their surface."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.spatial import cKDTree

from mapping.mesh.mesh import Mesh
from mapping.se3 import inverse, transform_points
from scenegraph.graph import SceneGraph

if TYPE_CHECKING:
    from mapping.tsdf.volume import TSDFVolume

Array = NDArray[np.float64]
States = NDArray[np.int8]

CONFIRMED, UNKNOWN, CONTRADICTED = np.int8(1), np.int8(0), np.int8(-1)

AT_SURFACE, CLEAR = 1.25, 2.5
"""Voxels from the surface up to which a point lies on it, and from which it lies in free space; at least so many are needed
between two surfaces for one to be seen without the other."""
LEAST_WEIGHT = 0.05
"""Sum of the weights of observations from which a visit knows what is at a point."""


@dataclass(frozen=True, eq=False)
class VisitMap:
    """The map of one visit in its levelled world: its graph, and where they are known its mesh, with the objects' numbers,
    and its volume."""

    graph: SceneGraph
    mesh: Mesh | None = None
    volume: TSDFVolume | None = None

    @property
    def has_surface(self) -> bool:
        """Whether there is more than the graph."""
        return self.mesh is not None and self.mesh.objects is not None and self.volume is not None


@dataclass(frozen=True, eq=False)
class ObservedSpace:
    """What a visit saw, for points of a common world: `T_visit_world` (4, 4) takes them to the visit's own."""

    visit: VisitMap
    T_visit_world: Array

    @cached_property
    def _tree(self) -> cKDTree:
        assert self.visit.mesh is not None
        return cKDTree(self.visit.mesh.vertices)

    @cached_property
    def _is_bare(self) -> NDArray[np.bool_]:
        """(V,) vertices of floor, walls and ceiling."""
        mesh = self.visit.mesh
        assert mesh is not None
        if mesh.labels is None:
            return np.zeros(len(mesh.vertices), dtype=bool)
        bare = np.isin(mesh.labels, sorted(self.visit.graph.label_space.ids_of_kind("structure")))
        return bare if mesh.objects is None else np.asarray(bare & (mesh.objects == 0))

    def states(self, points: ArrayLike, *, of_object: bool = False) -> States:
        """(N,) CONFIRMED where there is surface at points (N, 3), CONTRADICTED where there is free space, UNKNOWN elsewhere.

        With `of_object` surface of floor, walls and ceiling contradicts a point of an object as well.
        """
        volume = self.visit.volume
        assert volume is not None
        local = transform_points(self.T_visit_world, np.asarray(points, dtype=np.float64).reshape(-1, 3))
        states = np.full(len(local), UNKNOWN)
        if not len(local):
            return states
        distance, weight = volume.sample(local)
        voxel, known = volume.config.voxel_size, weight >= LEAST_WEIGHT
        states[known & (distance >= CLEAR * voxel)] = CONTRADICTED
        states[known & (np.abs(distance) <= AT_SURFACE * voxel)] = CONFIRMED
        if of_object and self._is_bare.any():
            at = np.flatnonzero(states == CONFIRMED)
            away, nearest = self._tree.query(local[at], distance_upper_bound=2 * AT_SURFACE * voxel)
            found = np.isfinite(away)
            states[at[found][self._is_bare[nearest[found]]]] = CONTRADICTED
        return states


StatesOf = Callable[[Array], States]


def object_vertices(mesh: Mesh, number: int, most: int) -> NDArray[np.int64]:
    """Up to `most` vertices of object `number`, evenly through their list."""
    assert mesh.objects is not None
    at = np.flatnonzero(mesh.objects == number)
    return at if len(at) <= most else at[np.linspace(0, len(at) - 1, most).astype(np.int64)]


def common_spaces(a: VisitMap, b: VisitMap, T_a_b: Array) -> tuple[ObservedSpace, ObservedSpace]:
    """The spaces of two visits in the world of the first."""
    return ObservedSpace(a, np.eye(4)), ObservedSpace(b, inverse(T_a_b))
