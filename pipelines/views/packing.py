"""A mesh as one compressed text for a web page: quantised vertices, differences of neighbouring numbers, bytes sorted by rank.

Marching cubes emits neighbouring vertices after one another, so differences are small, and their bytes of one rank compress well.
`page/unpack.js` reads it.
"""

from __future__ import annotations

import base64
import zlib
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mapping.mesh.mesh import Mesh

MOST_FACES = 2_500_000
"""Triangles of a page; larger meshes are simplified."""
COARSE_FACES = 80_000
"""Triangles that are drawn while the view moves where all take long, of meshes with more than twice as many."""
FIRST_CELL, CELL_GROWTH = 0.02, 1.3
LEVELS = 65535
"""Steps of a coordinate over the extent of the mesh: 0.3 mm over 20 m."""
COMPRESSION = 6


@dataclass(frozen=True, eq=False)
class PackedMesh:
    """`header`: JSON-ready names, places and extents; `text`: base64 of the deflated numbers; `cell`: metres between vertices
    that were merged, 0 where none were."""

    header: dict[str, Any]
    text: str
    cell: float


def pack_mesh(mesh: Mesh, label_slots: NDArray[np.int64], object_slots: NDArray[np.int64]) -> PackedMesh:
    """The mesh for a page, with at most `MOST_FACES` triangles, and a coarse list of triangles for views in motion.

    label_slots, object_slots : by label and by object number of a vertex, what the page knows it by (below 65536).
    """
    mesh, cell = _within_budget(mesh)
    coarse = np.zeros((0, 3), np.int32)
    if len(mesh.faces) > 2 * COARSE_FACES:
        coarse = _at_most(mesh, COARSE_FACES)[0]
    low = mesh.vertices.min(axis=0) if len(mesh.vertices) else np.zeros(3)
    size = np.maximum(np.ptp(mesh.vertices, axis=0), 1e-6) if len(mesh.vertices) else np.ones(3)
    count = len(mesh.vertices)
    grey = np.full((count, 3), 180, np.uint8)
    confidence = np.ones(count, np.float32) if mesh.confidence is None else mesh.confidence
    arrays: dict[str, NDArray[Any]] = {
        "positions": np.rint((mesh.vertices - low) / size * LEVELS).astype(np.uint16),
        "colors": grey if mesh.colors is None else mesh.colors,
        "labels": _slots(mesh.labels, label_slots, count),
        "objects": _slots(mesh.objects, object_slots, count),
        "confidence": np.rint(np.clip(confidence, 0, 1) * 255).astype(np.uint8)[:, None],
        "faces": mesh.faces.reshape(-1, 1).astype(np.uint32),
        "coarse": coarse.reshape(-1, 1).astype(np.uint32),
    }
    places, pieces, start = {}, [], 0
    for name, array in arrays.items():
        data = _planes(array)
        places[name] = {
            "start": start,
            "count": len(array),
            "width": array.shape[1],
            "bytes": array.itemsize,
        }
        pieces.append(data)
        start += len(data)
    header = {"arrays": places, "low": low.tolist(), "size": size.tolist(), "bytes": start}
    text = base64.b64encode(zlib.compress(b"".join(pieces), COMPRESSION)).decode("ascii")
    return PackedMesh(header, text, cell)


def _slots(values: NDArray[Any] | None, table: NDArray[np.int64], count: int) -> NDArray[np.uint16]:
    if values is None:
        return np.zeros((count, 1), np.uint16)
    known = np.minimum(values, len(table) - 1)
    return np.where(values < len(table), table[known], 0).astype(np.uint16)[:, None]


def _planes(array: NDArray[Any]) -> bytes:
    """Of each column: differences of neighbours modulo the type's range, all lowest bytes, then all next ones."""
    pieces = []
    for column in array.T:
        steps = np.diff(column, prepend=column.dtype.type(0))
        pieces.append(np.ascontiguousarray(steps).view(np.uint8).reshape(len(column), column.itemsize).T.tobytes())
    return b"".join(pieces)


def _within_budget(mesh: Mesh) -> tuple[Mesh, float]:
    if len(mesh.faces) <= MOST_FACES:
        return mesh, 0.0
    faces, cell = _at_most(mesh, MOST_FACES)
    return Mesh(mesh.vertices, faces, **mesh.vertex_fields()).submesh(np.arange(len(faces))), cell


def _at_most(mesh: Mesh, count: int) -> tuple[NDArray[np.int32], float]:
    """Faces with vertices merged in cubic cells just large enough that no more than `count` are left; metres of the cells."""
    cell = FIRST_CELL
    while True:
        faces = clustered(mesh, cell)
        if len(faces) <= count:
            return faces, cell
        cell *= max(CELL_GROWTH, float(np.sqrt(len(faces) / count)))


def clustered(mesh: Mesh, cell: float) -> NDArray[np.int32]:
    """Faces (N, 3) of the mesh with all vertices in a cubic cell taken as the first of them; what has no area left is dropped
    (Rossignac and Borrel 1993)."""
    places = np.floor((mesh.vertices - mesh.vertices.min(axis=0)) / cell).astype(np.int64)
    extent = places.max(axis=0) + 1
    keys = (places[:, 0] * extent[1] + places[:, 1]) * extent[2] + places[:, 2]
    _, first, inverse = np.unique(keys, return_index=True, return_inverse=True)
    faces = first[inverse.reshape(-1)][mesh.faces].astype(np.int32)
    a, b, c = faces.T
    faces = faces[(a != b) & (b != c) & (c != a)]
    return np.asarray(faces[np.unique(np.sort(faces, axis=1), axis=0, return_index=True)[1]], dtype=np.int32)
