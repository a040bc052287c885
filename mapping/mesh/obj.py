"""Wavefront OBJ: `v x y z [r g b]` and `f`; the colours after the position are an extension that most viewers read."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, TextIO

import numpy as np
from numpy.typing import NDArray

from mapping.files import atomic_path
from mapping.mesh.mesh import Mesh, MeshFormatError
from mapping.mesh.ply import fan_triangles


def write_obj(mesh: Mesh, path: Path, *, names: Mapping[int, str] | None = None) -> None:
    """Write positions to a micrometre, colours in [0, 1], and triangles; labels and confidence cannot be stored.

    `names` are those of object numbers: each becomes a group (`o`), faces of other numbers the group `structure`. A face belongs
    to an object when all its corners do.
    """
    values, line = mesh.vertices, "v %.6f %.6f %.6f\n"
    if mesh.colors is not None:
        values, line = np.hstack([mesh.vertices, mesh.colors / 255.0]), "v %.6f %.6f %.6f %.4f %.4f %.4f\n"
    with atomic_path(path) as temporary, temporary.open("w", encoding="ascii") as file:
        _write_rows(file, values, line)
        if names is None or mesh.objects is None:
            _write_rows(file, mesh.faces + 1, "f %d %d %d\n")
            return
        corners = mesh.objects[mesh.faces]
        owner = np.where((corners == corners[:, :1]).all(axis=1), corners[:, 0], 0)
        owner[~np.isin(owner, list(names))] = 0
        for number in np.unique(owner).tolist():
            file.write(f"o {names[number] if number else 'structure'}\n")
            _write_rows(file, mesh.faces[owner == number] + 1, "f %d %d %d\n")


def _write_rows(file: TextIO, rows: NDArray[Any], form: str) -> None:
    for start in range(0, len(rows), 65536):  # one format call per block: much faster than one per line
        block = rows[start : start + 65536]
        file.write(form * len(block) % tuple(block.ravel()))


def read_obj(path: Path) -> Mesh:
    """Read positions, vertex colours and faces (polygons become fans); everything else is skipped.

    Raises MeshFormatError that names file and line.
    """
    vertices: list[list[float]] = []
    counts: list[int] = []
    corners: list[int] = []
    with path.open(encoding="utf-8", errors="replace") as file:
        for number, line in enumerate(file, start=1):
            words = line.split()
            try:
                if words[:1] == ["v"]:
                    vertices.append(_vertex(words[1:]))
                elif words[:1] == ["f"]:
                    indices = [_corner(word, len(vertices)) for word in words[1:]]
                    counts.append(len(indices))
                    corners += indices
            except ValueError as error:
                raise MeshFormatError(f"{path}: line {number}: {error}, got {line.strip()[:60]!r}") from error
    if not vertices:
        raise MeshFormatError(f"{path}: expected lines 'v x y z', got none")
    if corners and max(corners) >= len(vertices):
        raise MeshFormatError(f"{path}: a face uses vertex {max(corners) + 1} of {len(vertices)}")
    colored = all(len(vertex) == 6 for vertex in vertices)
    array = np.array(vertices if colored else [vertex[:3] for vertex in vertices])
    colors = np.rint(np.clip(array[:, 3:], 0, 1) * 255).astype(np.uint8) if colored else None
    faces = fan_triangles(np.array(counts, np.int64), np.array(corners, np.int64))
    return Mesh(np.ascontiguousarray(array[:, :3]), faces, colors)


def _vertex(words: list[str]) -> list[float]:
    values = [float(word) for word in words]
    if len(values) not in (3, 4, 6, 7) or not np.isfinite(values).all():  # 4 and 7 with a weight
        raise ValueError("expected 'v x y z' or 'v x y z r g b' with finite numbers")
    return values[:3] + values[-3:] if len(values) >= 6 else values[:3]


def _corner(word: str, known: int) -> int:
    """Index from `7`, `7/1/2` or, counted from the last vertex so far, `-1`."""
    index = int(word.partition("/")[0])
    if index == 0 or index < -known:
        raise ValueError("expected vertex numbers that count from 1, or from -1 backwards")
    return index - 1 if index > 0 else known + index
