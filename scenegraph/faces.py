"""A mesh with the geometry of its faces, computed once for all users."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from mapping.mesh.mesh import Mesh
from scenegraph.labels import LabelSpace

Array = NDArray[np.float64]
Mask = NDArray[np.bool_]

UPRIGHT_SIN = 0.35  # largest tilt of an upright face


@dataclass(frozen=True, eq=False)
class Faces:
    """A mesh with its faces' centers (F, 3), unit normals (F, 3) and areas (F,)."""

    mesh: Mesh
    centers: Array
    normals: Array
    areas: Array

    @staticmethod
    def of(mesh: Mesh) -> Faces:
        """The faces of a mesh."""
        vectors = mesh.face_vectors()
        length = np.linalg.norm(vectors, axis=1)
        normals = np.divide(vectors, length[:, None], out=np.zeros_like(vectors), where=length[:, None] > 0)
        a, b, c = (mesh.vertices[mesh.faces[:, i]] for i in range(3))
        return Faces(mesh, (a + b + c) / 3, normals, 0.5 * length)

    def with_mesh(self, mesh: Mesh) -> Faces:
        """The same geometry under another mesh, which differs in labels or object numbers alone."""
        return replace(self, mesh=mesh)

    def bearing(self, ids: Collection[int]) -> Mask:
        """Faces (F,) of which at least two corners have one of the labels; none without labels."""
        if self.mesh.labels is None:
            return np.zeros(len(self.areas), dtype=bool)
        bears = np.isin(self.mesh.labels, sorted(ids))
        a, b, c = (bears[self.mesh.faces[:, i]] for i in range(3))
        return np.asarray((a & b) | (b & c) | (a & c))

    def named(self, label_space: LabelSpace, names: Collection[str]) -> Mask:
        """Faces (F,) of the named classes."""
        return self.bearing([c.id for c in label_space.classes if c.name in names])

    @cached_property
    def upright(self) -> Mask:
        """Faces (F,) within about 20 degrees of upright."""
        return np.asarray(np.abs(self.normals[:, 2]) < UPRIGHT_SIN)

    def vertex_normals(self) -> Array:
        """(V, 3) unit normals, the area-weighted mean of the faces around; zero for a vertex without a face."""
        count, corners = len(self.mesh.vertices), self.mesh.faces.ravel()
        weighted = self.normals * self.areas[:, None]
        sums = np.stack(
            [np.bincount(corners, np.repeat(weighted[:, axis], 3), minlength=count) for axis in range(3)], 1
        )
        length = np.linalg.norm(sums, axis=1, keepdims=True)
        return np.divide(sums, length, out=np.zeros_like(sums), where=length > 0)

    def vertex_areas(self) -> Array:
        """(V,) a third of the area of the faces around each vertex."""
        thirds = np.repeat(self.areas / 3, 3)
        return np.asarray(
            np.bincount(self.mesh.faces.ravel(), thirds, minlength=len(self.mesh.vertices)), dtype=np.float64
        )
