"""OBJ models with MTL colours as furniture: true size, z up, closed pieces oriented outwards, boxes for collisions."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components

from pipelines.synth.base.materials import shade
from pipelines.synth.base.model import Model, SupportSurface
from pipelines.synth.base.shapes import signed_volume
from pipelines.synth.base.world import Material, Part

Array = NDArray[np.float64]
Color = tuple[float, float, float]

Y_UP_TO_Z_UP = np.array([[-1.0, 0, 0], [0, 0, 1.0], [0, 1.0, 0]])
"""From the files' axes (x right, y up, front towards +z) to a body's (front +y, z up): half a turn and a swap of axes,
no mirroring."""
COLLISION_CELL = 0.08
SURFACE_CELL = 0.04


class ObjError(ValueError):
    """Raised for an OBJ or MTL file that cannot be used; the message names the line and what was expected."""


@dataclass(frozen=True, eq=False)
class ObjMesh:
    """Triangles by material name: vertices (V, 3) in the file's units and axes, faces (F, 3) of each."""

    vertices: Array
    groups: tuple[tuple[str, NDArray[np.int32]], ...]
    libraries: tuple[str, ...]

    @property
    def triangles(self) -> int:
        """Number of triangles."""
        return sum(len(faces) for _, faces in self.groups)


def parse_obj(text: str) -> ObjMesh:
    """Vertices, triangulated faces and materials of an OBJ file; texture coordinates and normals are ignored.

    Raises ObjError with the line number for invalid numbers and for faces that refer to no vertex.
    """
    vertices: list[tuple[float, float, float]] = []
    groups: dict[str, list[tuple[int, int, int]]] = {}
    libraries: list[str] = []
    current = groups.setdefault("", [])
    for number, line in enumerate(text.splitlines(), start=1):
        word, _, rest = line.partition(" ")
        try:
            if word == "v":
                x, y, z = rest.split()[:3]
                vertices.append((float(x), float(y), float(z)))
            elif word == "f":
                corners = [_index(token, len(vertices)) for token in rest.split()]
                current += [(corners[0], b, c) for b, c in itertools.pairwise(corners)]
            elif word == "usemtl":
                current = groups.setdefault(rest.strip(), [])
            elif word == "mtllib":
                libraries.append(rest.strip())
        except (ValueError, IndexError) as error:
            raise ObjError(f"line {number}: {error or 'expected three numbers'}") from error
    if not vertices or not any(groups.values()):
        raise ObjError("expected vertices and faces, found none")
    points = np.array(vertices, dtype=np.float64)
    if not np.isfinite(points).all():
        raise ObjError("expected finite vertices")
    filled = tuple((name, np.array(faces, dtype=np.int32)) for name, faces in groups.items() if faces)
    return ObjMesh(points, filled, tuple(libraries))


def _index(token: str, count: int) -> int:
    """Zero-based vertex of a face's corner (`7`, `7/2`, `7/2/3`, negative from the end)."""
    value = int(token.split("/")[0])
    index = value - 1 if value > 0 else count + value
    if not 0 <= index < count:
        raise ValueError(f"face refers to vertex {value} of {count}")
    return index


def parse_mtl(text: str, texture_color: Callable[[str], Color | None]) -> dict[str, Material]:
    """Materials by name. Colours in the files are display (sRGB) values and are converted to linear light.

    `texture_color` gives the mean display colour of a texture file, None when there is none; it tints Kd.
    """
    materials: dict[str, Material] = {}
    name, color, specular = "", (0.7, 0.7, 0.7), 0.05

    def store() -> None:
        if name:
            linear = shade(np.clip(color, 0.0, 1.0) ** 2.2 * 0.9 + 0.01, 1.0)
            texture, second = ("wood", shade(linear, 0.65)) if _is_wood(name) else ("plain", linear)
            materials[name] = Material(linear, second, texture, 0.12, 0.5, specular)

    for line in text.splitlines():
        words = line.split()
        if not words:
            continue
        if words[0] == "newmtl":
            store()
            name, color, specular = " ".join(words[1:]), (0.7, 0.7, 0.7), 0.05
        elif words[0] in ("Kd", "Ks"):
            values = _three(words)
            if words[0] == "Kd":
                color = values
            else:
                specular = round(min(0.6, 0.05 + 0.5 * max(values)), 3)
        elif words[0] == "map_Kd":
            mean = texture_color(words[-1])
            if mean is not None:
                color = mean
    store()
    return materials


def _three(words: Sequence[str]) -> Color:
    try:
        r, g, b = (float(word) for word in (words[1:4] if len(words) >= 4 else [words[1]] * 3))
    except (ValueError, IndexError) as error:
        raise ObjError(f"{' '.join(words)}: expected one or three numbers") from error
    return (r, g, b)


def _is_wood(name: str) -> bool:
    return any(word in name.lower() for word in ("wood", "oak", "legno", "fusta", "madera", "bois", "pine", "teak"))


@dataclass(frozen=True, eq=False)
class Target:
    """Target of an OBJ file: name and NYU40 class, true size (width, depth, height in metres).

    `rotation` (3, 3) rotates the file's vertices, in the file's axes, before they are scaled; `top` is the height in
    metres of the level on which objects can stand, None for none; a model with more than `most` triangles is simplified.
    """

    name: str
    label: str
    size: tuple[float, float, float]
    rotation: Array
    top: float | None
    most: int


def to_model(mesh: ObjMesh, materials: dict[str, Material], target: Target) -> Model:
    """A model of a true size whose front faces +y. Raises ObjError when no triangle of the mesh has an area."""
    points = mesh.vertices @ target.rotation.T @ Y_UP_TO_Z_UP.T
    used = points[np.unique(np.concatenate([faces.ravel() for _, faces in mesh.groups]))]
    low, high = used.min(axis=0), used.max(axis=0)
    extent = np.where(high - low > 1e-9, high - low, 1.0)
    points = (points - [*((low + high) / 2)[:2], low[2]]) / extent * np.asarray(target.size)
    points = coarser(points, np.concatenate([faces for _, faces in mesh.groups]), target.most)
    default = Material((0.5, 0.5, 0.5))
    mirrored = float(np.linalg.det(target.rotation)) < 0
    points, groups = _clean(points, [faces[:, ::-1] if mirrored else faces for _, faces in mesh.groups])
    parts = []
    for (group, _), faces in zip(mesh.groups, groups, strict=True):
        if len(faces):
            used, inverse = np.unique(faces, return_inverse=True)
            own = _outwards(points[used], inverse.reshape(-1, 3).astype(np.int32))
            parts.append(Part(points[used], own, materials.get(group, default)))
    if not parts:
        raise ObjError("expected triangles with an area, found none")
    solids = collision_boxes(np.concatenate([part.vertices[part.faces] for part in parts]), COLLISION_CELL)
    surface = None if target.top is None else level_surface(parts, target.top)
    return Model(target.name, target.label, tuple(parts), solids, (surface,) if surface else ())


def coarser(points: Array, faces: NDArray[np.int32], most: int) -> Array:
    """Vertices (V, 3) merged in cells until at most `most` faces (F, 3) keep three different corners.

    Vertex clustering (Rossignac and Borrel, 1993) with the mean of each cell; cells grow from 4 mm until that is so.
    """
    cell, moved = 0.004, points
    while len(faces) > most and cell < 0.2:
        _, cluster = np.unique(np.floor(points / cell).astype(np.int64), axis=0, return_inverse=True)
        cluster = cluster.ravel()
        count = np.bincount(cluster)
        mean = np.stack([np.bincount(cluster, weights=points[:, k]) / count for k in range(3)], axis=1)
        corners = cluster[faces]
        kept = (corners[:, 0] != corners[:, 1]) & (corners[:, 1] != corners[:, 2]) & (corners[:, 0] != corners[:, 2])
        moved = mean[cluster]
        if int(kept.sum()) <= most:
            break
        cell *= 1.4
    return moved


def _clean(points: Array, groups: Sequence[NDArray[np.int32]]) -> tuple[Array, list[NDArray[np.int32]]]:
    """Vertices welded where they coincide, and faces with an area, each position used once over all groups (the first wins)."""
    welded, inverse = np.unique(np.round(points, 6), axis=0, return_inverse=True)
    inverse = inverse.ravel()
    faces = inverse[np.concatenate(groups)]
    owner = np.repeat(np.arange(len(groups)), [len(group) for group in groups])
    a, b, c = (welded[faces[:, k]] for k in range(3))
    solid = np.flatnonzero(np.linalg.norm(np.cross(b - a, c - a), axis=1) > 1e-10)
    once = solid[np.sort(np.unique(np.sort(faces[solid], axis=1), axis=0, return_index=True)[1])]
    return welded, [faces[once][owner[once] == k].astype(np.int32) for k in range(len(groups))]


def _outwards(points: Array, faces: NDArray[np.int32]) -> NDArray[np.int32]:
    """The faces (F, 3), those of closed pieces oriented outwards."""
    ends = faces[:, [0, 1]].ravel(), faces[:, [1, 2]].ravel()
    graph = coo_matrix((np.ones(len(ends[0])), ends), shape=(len(points),) * 2)
    piece_of_face = connected_components(graph, directed=False)[1][faces[:, 0]]
    faces = faces.copy()
    for number in np.unique(piece_of_face):
        mine = piece_of_face == number
        if _is_closed(faces[mine]) and signed_volume(points - points[faces[mine][0, 0]], faces[mine]) < 0:
            faces[mine] = faces[mine][:, ::-1]
    return faces


def _is_closed(faces: NDArray[np.int32]) -> bool:
    """Whether each edge of faces (F, 3) is used by as many faces in one direction as in the other."""
    edges = np.concatenate([faces[:, [0, 1]], faces[:, [1, 2]], faces[:, [2, 0]]])
    both, sign = np.sort(edges, axis=1), np.where(edges[:, 0] < edges[:, 1], 1, -1)
    _, which = np.unique(both, axis=0, return_inverse=True)
    return not np.bincount(which.ravel(), weights=sign).any()


def collision_boxes(triangles: Array, cell: float) -> Array:
    """Boxes (K, 6) that hold all triangles (F, 3, 3) in metres: cells crossed by a surface, merged into bars and plates.

    Cells are `cell` metres wide or a tenth of the extent for small things; the boxes are trimmed to the bounds.
    """
    low, high = triangles.min(axis=(0, 1)), triangles.max(axis=(0, 1))
    step = np.minimum(cell, np.maximum((high - low) / 3, 1e-3))
    cells = np.unique(
        np.floor((_surface_points(triangles, max(float(step.min()) / 2, 0.015)) - low) / step).astype(int), axis=0
    )
    cells = np.minimum(cells, np.maximum(np.ceil((high - low) / step).astype(int) - 1, 0))
    boxes = [(*c, *(c + 1)) for c in np.unique(cells, axis=0)]
    for axis in (0, 1, 2):
        boxes = _join(boxes, axis)
    corners = np.array(boxes, dtype=np.float64)
    return np.concatenate(
        [np.maximum(low + corners[:, :3] * step, low), np.minimum(low + corners[:, 3:] * step, high)], axis=1
    )


def _join(boxes: list[tuple[int, ...]], axis: int) -> list[tuple[int, ...]]:
    """Integer boxes that touch along an axis and agree in the others are merged."""
    others = [k for k in range(6) if k % 3 != axis]
    boxes = sorted(boxes, key=lambda b: ([b[k] for k in others], b[axis]))
    joined: list[tuple[int, ...]] = []
    for box in boxes:
        last = joined[-1] if joined else None
        if last is not None and all(last[k] == box[k] for k in others) and last[axis + 3] == box[axis]:
            joined[-1] = tuple(box[axis + 3] if k == axis + 3 else last[k] for k in range(6))
        else:
            joined.append(box)
    return joined


def _surface_points(triangles: Array, spacing: float) -> Array:
    """Points on triangles (F, 3, 3) at most about `spacing` apart."""
    sides = np.linalg.norm(triangles - np.roll(triangles, 1, axis=1), axis=2).max(axis=1)
    steps = np.minimum(2 ** np.ceil(np.log2(np.maximum(sides / spacing, 1.0))).astype(int), 128)
    points = []
    for count in np.unique(steps):
        i, j = np.meshgrid(np.arange(count + 1), np.arange(count + 1), indexing="ij")
        keep = i + j <= count
        weights = np.stack([i[keep], j[keep], count - i[keep] - j[keep]], axis=1) / count
        points.append(np.einsum("wk,fkd->fwd", weights, triangles[steps == count]).reshape(-1, 3))
    return np.concatenate(points)


def level_surface(parts: Sequence[Part], top: float) -> SupportSurface | None:
    """The rectangle around the centre on which objects can stand at a height, None when it is not closed and level there."""
    points = _surface_points(np.concatenate([part.vertices[part.faces] for part in parts]), SURFACE_CELL / 2)
    low, high = points.min(axis=0), points.max(axis=0)
    shape = np.maximum(((high - low)[:2] / SURFACE_CELL).astype(int), 1)
    cells = np.minimum(((points[:, :2] - low[:2]) / SURFACE_CELL).astype(int), shape - 1)
    height = np.full(shape, -np.inf)
    np.maximum.at(height, (cells[:, 0], cells[:, 1]), points[:, 2])
    level = np.abs(height - top) < 0.012
    x, y = _around_middle(level)
    if x is None or y is None:
        return None
    edges = [(float(low[k] + r[0] * SURFACE_CELL), float(low[k] + r[1] * SURFACE_CELL)) for k, r in ((0, x), (1, y))]
    inset = [(a + 0.02, b - 0.02) for a, b in edges]
    highest = float(height[x[0] : x[1], y[0] : y[1]].max())
    if min(b - a for a, b in inset) < 0.12:
        return None
    return SupportSurface(inset[0], inset[1], highest, 0.8)


def _around_middle(level: NDArray[np.bool_]) -> tuple[tuple[int, int] | None, tuple[int, int] | None]:
    """The largest rectangle of True cells that grows evenly from the centre of a grid, as ranges along both axes."""
    nx, ny = level.shape
    x, y = [nx // 2, nx // 2 + 1], [ny // 2, ny // 2 + 1]
    if not level[x[0] : x[1], y[0] : y[1]].all():
        return None, None
    grown = True
    while grown:
        grown = False
        for span, limit in ((x, nx), (y, ny)):
            for end, step in ((0, -1), (1, 1)):
                moved = span[end] + step
                if not 0 <= moved <= limit:
                    continue
                old, span[end] = span[end], moved
                if level[x[0] : x[1], y[0] : y[1]].all():
                    grown = True
                else:
                    span[end] = old
    return (x[0], x[1]), (y[0], y[1])
