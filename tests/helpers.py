"""Small shapes, random transforms, commands and copies of sequences that several tests use."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from click.testing import CliRunner, Result
from numpy.typing import NDArray

from mapping.mesh.mesh import Mesh
from mapping.se3 import from_rotation_translation, rotation_from_quat_xyzw
from pipelines.cli import main

BOX_FACES = np.array(
    [
        *([0, 2, 1], [0, 3, 2]),  # bottom
        *([4, 5, 6], [4, 6, 7]),  # top
        *([0, 1, 5], [0, 5, 4]),
        *([1, 2, 6], [1, 6, 5]),
        *([2, 3, 7], [2, 7, 6]),
        *([3, 0, 4], [3, 4, 7]),
    ],
    np.int32,
)


def random_se3(rng: np.random.Generator) -> NDArray[np.float64]:
    """(4, 4): a rotation uniform over SO(3) and a translation of a few metres."""
    return from_rotation_translation(rotation_from_quat_xyzw(rng.normal(size=4)), rng.normal(size=3, scale=2.0))


def box_mesh(
    size: Sequence[float] = (1.0, 1.0, 1.0), center: Sequence[float] = (0.0, 0.0, 0.0), *, inward: bool = False
) -> Mesh:
    """A closed box of 12 triangles that face outwards, or inwards like the walls of a room."""
    x, y, z = np.asarray(size) / 2
    corners = np.array(
        [(-x, -y, -z), (x, -y, -z), (x, y, -z), (-x, y, -z), (-x, -y, z), (x, -y, z), (x, y, z), (-x, y, z)]
    )
    faces = BOX_FACES[:, ::-1] if inward else BOX_FACES
    return Mesh(corners + np.asarray(center, dtype=np.float64), np.ascontiguousarray(faces))


def sphere_mesh(radius: float = 1.0, center: Sequence[float] = (0.0, 0.0, 0.0), subdivisions: int = 3) -> Mesh:
    """An icosahedron split `subdivisions` times with its corners on the sphere; faces look outwards."""
    golden = (1 + 5**0.5) / 2
    vertices = np.array(
        [(s, t * golden, 0) for s in (-1, 1) for t in (-1, 1)]
        + [(0, s, t * golden) for s in (-1, 1) for t in (-1, 1)]
        + [(t * golden, 0, s) for s in (-1, 1) for t in (-1, 1)],
        dtype=np.float64,
    )
    distance = np.linalg.norm(vertices[:, None] - vertices, axis=-1)
    near = np.isclose(distance, 2.0)
    faces = [
        (i, j, k) for i in range(12) for j in range(i) for k in range(j) if near[i, j] and near[j, k] and near[i, k]
    ]
    vertices /= np.linalg.norm(vertices[0])
    for _ in range(subdivisions):
        vertices, faces = _split(vertices, faces)
    triangles = np.array(faces, np.int32)
    a, b, c = (vertices[triangles[:, i]] for i in range(3))
    inward = np.einsum("ij,ij->i", np.cross(b - a, c - a), a) < 0
    triangles[inward] = triangles[inward][:, ::-1]
    return Mesh(vertices * radius + np.asarray(center, dtype=np.float64), triangles)


def _split(
    vertices: NDArray[np.float64], faces: list[tuple[int, int, int]]
) -> tuple[NDArray[np.float64], list[tuple[int, int, int]]]:
    """Every triangle into four; the new corners in the middle of the sides, pushed out to the unit sphere."""
    points = list(vertices)
    middle: dict[tuple[int, int], int] = {}

    def between(i: int, j: int) -> int:
        key = (min(i, j), max(i, j))
        if key not in middle:
            point = points[i] + points[j]
            points.append(point / np.linalg.norm(point))
            middle[key] = len(points) - 1
        return middle[key]

    split = []
    for i, j, k in faces:
        a, b, c = between(i, j), between(j, k), between(k, i)
        split += [(i, a, c), (a, j, b), (c, b, k), (a, b, c)]
    return np.array(points), split


def m2h(*arguments: object, code: int = 0) -> Result:
    """The result of a command in this process, which must end with this exit code and without a traceback."""
    result = CliRunner().invoke(main, [str(a) for a in arguments])
    if result.exception and not isinstance(result.exception, SystemExit):
        raise result.exception
    assert result.exit_code == code, result.output
    return result


def copy_sequence(source: Path, folder: Path) -> Path:
    """A copy of a sequence that a test may corrupt."""
    return Path(shutil.copytree(source, folder))
