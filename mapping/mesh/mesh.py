"""The triangle mesh that fusion makes and all later stages read."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from mapping.se3 import transform_points

VERTEX_FIELDS: dict[str, tuple[type, int]] = {
    "colors": (np.uint8, 3),
    "labels": (np.uint16, 0),
    "objects": (np.uint32, 0),
    "confidence": (np.float32, 0),
}


class MeshFormatError(ValueError):
    """An unusable mesh file; the message names the file, the position in it and what was expected."""


@dataclass(frozen=True, eq=False)
class Mesh:
    """A triangle mesh in world metres, counter-clockwise seen from free space.

    vertices (V, 3) float64; faces (F, 3) int32; per vertex, each None when unknown: colors (V, 3) uint8 RGB, labels (V,)
    uint16 (0 unknown), objects (V,) uint32 object or instance number (0 none), confidence (V,) float32 in [0, 1].

    Raises ValueError that names the field, the expected and the actual shape or dtype.
    """

    vertices: NDArray[np.float64]
    faces: NDArray[np.int32]
    colors: NDArray[np.uint8] | None = None
    labels: NDArray[np.uint16] | None = None
    objects: NDArray[np.uint32] | None = None
    confidence: NDArray[np.float32] | None = None

    def __post_init__(self) -> None:
        self._check("vertices", np.float64, (len(self.vertices), 3))
        self._check("faces", np.int32, (len(self.faces), 3))
        for name, (dtype, width) in VERTEX_FIELDS.items():
            if getattr(self, name) is not None:
                self._check(name, dtype, (len(self.vertices), width) if width else (len(self.vertices),))
        if len(self.faces) and (self.faces.min() < 0 or self.faces.max() >= len(self.vertices)):
            raise ValueError(
                f"Mesh.faces must index {len(self.vertices)} vertices, got {self.faces.min()}..{self.faces.max()}"
            )

    def _check(self, name: str, dtype: type, shape: tuple[int, ...]) -> None:
        array = getattr(self, name)
        if not isinstance(array, np.ndarray) or array.dtype != dtype or array.shape != shape:
            got = f"{array.dtype} {array.shape}" if isinstance(array, np.ndarray) else type(array).__name__
            raise ValueError(f"Mesh.{name} must be {np.dtype(dtype).name} {shape}, got {got}")

    @staticmethod
    def empty() -> Mesh:
        """A mesh without vertices."""
        return Mesh(np.zeros((0, 3)), np.zeros((0, 3), np.int32))

    def vertex_fields(self) -> dict[str, NDArray[Any]]:
        """The per-vertex arrays that are known, by field name."""
        return {name: getattr(self, name) for name in VERTEX_FIELDS if getattr(self, name) is not None}

    def face_vectors(self) -> NDArray[np.float64]:
        """(F, 3) cross products of the edges: the face normals times twice the area."""
        a, b, c = (self.vertices[self.faces[:, i]] for i in range(3))
        return np.cross(b - a, c - a)

    def face_areas(self) -> NDArray[np.float64]:
        """(F,) areas in square metres."""
        return np.asarray(0.5 * np.linalg.norm(self.face_vectors(), axis=1))

    def face_normals(self) -> NDArray[np.float64]:
        """(F, 3) unit normals; zero for a face without area."""
        vectors = self.face_vectors()
        length = np.linalg.norm(vectors, axis=1, keepdims=True)
        return np.divide(vectors, length, out=np.zeros_like(vectors), where=length > 0)

    def vertex_normals(self) -> NDArray[np.float64]:
        """(V, 3) unit normals, the area-weighted mean over the adjacent faces; zero for a vertex without a face."""
        vectors = self.face_vectors()
        sums = np.stack(
            [
                np.bincount(self.faces.ravel(), np.repeat(vectors[:, axis], 3), minlength=len(self.vertices))
                for axis in range(3)
            ],
            axis=1,
        ).astype(np.float64)  # bincount of an empty array is of integers
        length = np.linalg.norm(sums, axis=1, keepdims=True)
        return np.divide(sums, length, out=np.zeros_like(sums), where=length > 0)

    def transformed(self, T_new_world: ArrayLike) -> Mesh:
        """The mesh in another frame, `p_new = T_new_world @ p_world`."""
        return replace(self, vertices=transform_points(T_new_world, self.vertices))

    def submesh(self, face_mask: ArrayLike) -> Mesh:
        """The chosen faces (a mask or indices) with only the vertices that they use, in the same order."""
        chosen = np.asarray(face_mask)
        faces = self.faces[chosen if chosen.size else np.zeros(0, np.int64)]
        used = np.zeros(len(self.vertices), dtype=bool)
        used[faces.ravel()] = True
        renumber = (np.cumsum(used) - 1).astype(np.int32)
        fields = {name: array[used] for name, array in self.vertex_fields().items()}
        return Mesh(self.vertices[used], renumber[faces], **fields)


def concatenate(meshes: list[Mesh]) -> Mesh:
    """All meshes as one; a per-vertex field is kept when every mesh has it.

    Raises ValueError for an empty list.
    """
    if not meshes:
        raise ValueError("concatenate needs at least one mesh")
    offsets = np.cumsum([0, *(len(mesh.vertices) for mesh in meshes)])[:-1]
    shared = set.intersection(*(set(mesh.vertex_fields()) for mesh in meshes))
    fields = {
        name: np.concatenate([getattr(mesh, name) for mesh in meshes]) for name in VERTEX_FIELDS if name in shared
    }
    faces = np.concatenate([mesh.faces + np.int32(offset) for mesh, offset in zip(meshes, offsets, strict=True)])
    return Mesh(np.concatenate([mesh.vertices for mesh in meshes]), faces.astype(np.int32), **fields)


def sample_surface(mesh: Mesh, count: int, rng: np.random.Generator) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Area-weighted uniform samples of the surface: points (count, 3) and the face (count,) each lies on.

    Raises ValueError when the mesh has no area.
    """
    areas = mesh.face_areas()
    if not areas.sum() > 0:
        raise ValueError("cannot sample a mesh without area")
    # Stratified along the running sum of the areas: less variance than independent draws, still uniform.
    positions = (np.arange(count) + rng.random(count)) / count * areas.sum()
    chosen = np.minimum(np.searchsorted(np.cumsum(areas), positions, side="right"), len(areas) - 1)
    r1, r2 = np.sqrt(rng.random(count))[:, None], rng.random(count)[:, None]
    a, b, c = (mesh.vertices[mesh.faces[chosen, i]] for i in range(3))
    return (1 - r1) * a + r1 * (1 - r2) * b + r1 * r2 * c, chosen
