"""Closed triangle meshes of simple solids, the building blocks of furniture and structure.

Every function returns a `Shape` in metres whose surface is closed and counter-clockwise seen from outside, so that its
signed volume is positive. Sizes are full edge lengths; z is up.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import ArrayLike, NDArray

Array = NDArray[np.float64]
Triangles = NDArray[np.int32]


@dataclass(frozen=True, eq=False)
class Shape:
    """Vertices (V, 3) float64 metres and faces (F, 3) int32."""

    vertices: Array
    faces: Triangles

    def moved(self, x: float = 0.0, y: float = 0.0, z: float = 0.0) -> Shape:
        """Shifted by (x, y, z) metres."""
        return Shape(self.vertices + np.array([x, y, z]), self.faces)

    def rotated(self, axis: str, angle: float) -> Shape:
        """Rotated about the x, y or z axis through the origin by `angle` radians, counter-clockwise seen against the axis."""
        i, j = {"x": (1, 2), "y": (2, 0), "z": (0, 1)}[axis]
        c, s = np.cos(angle), np.sin(angle)
        vertices = self.vertices.copy()
        vertices[:, i] = c * self.vertices[:, i] - s * self.vertices[:, j]
        vertices[:, j] = s * self.vertices[:, i] + c * self.vertices[:, j]
        return Shape(vertices, self.faces)

    def scaled(self, x: float = 1.0, y: float = 1.0, z: float = 1.0) -> Shape:
        """Scaled along the axes by positive factors."""
        return Shape(self.vertices * [x, y, z], self.faces)

    @property
    def bounds(self) -> tuple[Array, Array]:
        """Lowest and highest corner, (3,) each."""
        return self.vertices.min(axis=0), self.vertices.max(axis=0)


def merge(shapes: Iterable[Shape]) -> Shape:
    """All triangles in one shape; nothing is welded, so closed shapes stay closed."""
    shapes = list(shapes)
    offsets = np.cumsum([0, *(len(shape.vertices) for shape in shapes)])
    faces = [shape.faces + offset for shape, offset in zip(shapes, offsets, strict=False)]
    return Shape(np.concatenate([s.vertices for s in shapes]), np.concatenate(faces).astype(np.int32))


def signed_volume(vertices: ArrayLike, faces: ArrayLike) -> float:
    """Volume in cubic metres enclosed by a closed mesh, positive when its faces point outwards (divergence theorem)."""
    a, b, c = np.moveaxis(np.asarray(vertices, dtype=np.float64)[np.asarray(faces)], 1, 0)
    return float(np.einsum("ij,ij->", a, np.cross(b, c)) / 6)


def _shape(vertices: ArrayLike, faces: ArrayLike) -> Shape:
    return Shape(np.asarray(vertices, dtype=np.float64), np.asarray(faces, dtype=np.int32).reshape(-1, 3))


def _quads(quads: NDArray[np.integer]) -> NDArray[np.integer]:
    """(Q, 4) corners to (2 Q, 3) triangles."""
    return np.concatenate([quads[:, [0, 1, 2]], quads[:, [0, 2, 3]]])


def box(low: Sequence[float], high: Sequence[float]) -> Shape:
    """The box between two opposite corners (3,)."""
    return Shape(np.where(_BOX_CORNERS, np.asarray(high, np.float64), np.asarray(low, np.float64)), _BOX_FACES)


_BOX_CORNERS = np.array(
    [[0, 0, 0], [1, 0, 0], [1, 1, 0], [0, 1, 0], [0, 0, 1], [1, 0, 1], [1, 1, 1], [0, 1, 1]], dtype=bool
)
_BOX_FACES = np.array(
    [
        [0, 2, 1],
        [0, 3, 2],
        [4, 5, 6],
        [4, 6, 7],
        [0, 1, 5],
        [0, 5, 4],
        [1, 2, 6],
        [1, 6, 5],
        [2, 3, 7],
        [2, 7, 6],
        [3, 0, 4],
        [3, 4, 7],
    ],
    dtype=np.int32,
)


def block(size: Sequence[float], center: Sequence[float] = (0.0, 0.0, 0.0)) -> Shape:
    """A box of the given size (3,) with the centre of its base at `center`."""
    w, d, h = size
    x, y, z = center
    return box((x - w / 2, y - d / 2, z), (x + w / 2, y + d / 2, z + h))


def prism(polygon: ArrayLike, z0: float, z1: float) -> Shape:
    """A convex polygon (N, 2), counter-clockwise, extruded from z0 to z1."""
    points = np.asarray(polygon, dtype=np.float64)
    n = len(points)
    vertices = np.concatenate([np.column_stack((points, np.full(n, z0))), np.column_stack((points, np.full(n, z1)))])
    i = np.arange(n)
    j = (i + 1) % n
    fan = np.column_stack((np.zeros(n - 2, int), i[1:-1], i[2:]))
    return _shape(vertices, np.concatenate([fan[:, ::-1], fan + n, _quads(np.column_stack((i, j, j + n, i + n)))]))


def extrude_x(profile_yz: ArrayLike, x0: float, x1: float) -> Shape:
    """A convex profile (N, 2) of (y, z), counter-clockwise seen from +x, extruded along x."""
    shape = prism(profile_yz, x0, x1)
    return Shape(np.ascontiguousarray(shape.vertices[:, [2, 0, 1]]), shape.faces)


def lathe(profile: ArrayLike, segments: int = 20) -> Shape:
    """A profile (N, 2) of (radius, z) revolved about the z axis.

    The profile runs so that the solid lies to its left (up along the outside, down along an inside). Ends away from the axis
    are closed by discs; points on the axis become poles.
    """
    points = [(float(r), float(z)) for r, z in np.asarray(profile, dtype=np.float64)]
    if points[0][0] > 0:
        points.insert(0, (0.0, points[0][1]))
    if points[-1][0] > 0:
        points.append((0.0, points[-1][1]))
    angles = 2 * np.pi * np.arange(segments) / segments
    vertices: list[Array] = []
    rings: list[NDArray[np.integer]] = []
    count = 0
    for r, z in points:
        size = segments if r > 0 else 1
        ring = np.column_stack((r * np.cos(angles), r * np.sin(angles), np.full(segments, z)))[:size]
        vertices.append(ring)
        rings.append(np.resize(np.arange(count, count + size), segments))
        count += size
    faces = []
    for lower, upper in itertools.pairwise(rings):
        next_lower, next_upper = np.roll(lower, -1), np.roll(upper, -1)
        if lower[0] != lower[1]:
            faces.append(np.column_stack((lower, next_lower, next_upper)))
        if upper[0] != upper[1]:
            faces.append(np.column_stack((lower, next_upper, upper)))
    return _shape(np.concatenate(vertices), np.concatenate(faces))


def ring(profile: ArrayLike, segments: int = 28) -> Shape:
    """A closed profile (N, 2) of (radius, z) off the z axis revolved about it: tubes, rims, lamp shades. Solid to its left."""
    angles = 2 * np.pi * np.arange(segments) / segments
    c, s = np.cos(angles), np.sin(angles)
    points = np.asarray(profile, dtype=np.float64)
    return loft([np.column_stack((r * c, r * s, np.full(segments, z))) for r, z in points], closed=True)


def cylinder(radius: float, z0: float, z1: float, segments: int = 18, top_radius: float | None = None) -> Shape:
    """An upright cylinder, or a cone frustum when `top_radius` differs."""
    top = radius if top_radius is None else top_radius
    return lathe([(radius, z0), (top, z1)], segments)


def sphere(radius: float, center: Sequence[float] = (0.0, 0.0, 0.0), segments: int = 14) -> Shape:
    """A sphere of latitude and longitude lines."""
    angles = np.linspace(-np.pi / 2, np.pi / 2, max(segments // 2, 3) + 1)
    profile = np.column_stack((radius * np.cos(angles), radius * np.sin(angles)))
    profile[[0, -1], 0] = 0.0
    return lathe(profile, segments).moved(*center)


def tube(path: ArrayLike, radius: float | Sequence[float], segments: int = 8) -> Shape:
    """A round bar along a polyline (N, 3), bent without twist; `radius` in metres, one value or one per point.

    Frames are carried along the path by the smallest rotation between neighbouring tangents (parallel transport).
    """
    points = np.asarray(path, dtype=np.float64)
    radii = np.broadcast_to(np.asarray(radius, dtype=np.float64), len(points))
    steps = np.diff(points, axis=0)
    steps /= np.linalg.norm(steps, axis=1, keepdims=True)
    tangents = np.concatenate([steps[:1], steps[:-1] + steps[1:], steps[-1:]])
    tangents /= np.linalg.norm(tangents, axis=1, keepdims=True)
    normal = np.cross(tangents[0], [0.0, 0.0, 1.0] if abs(tangents[0][2]) < 0.9 else [1.0, 0.0, 0.0])
    angles = 2 * np.pi * np.arange(segments) / segments
    rings = []
    for point, tangent, r in zip(points, tangents, radii, strict=True):
        normal = normal - np.dot(normal, tangent) * tangent
        normal = normal / np.linalg.norm(normal)
        binormal = np.cross(tangent, normal)
        rings.append(point + r * (np.cos(angles)[:, None] * normal + np.sin(angles)[:, None] * binormal))
    return loft(rings)


def loft(rings: Sequence[Array], *, closed: bool = False) -> Shape:
    """Rings (K, 3) of equal size connected one after the other; the ends are capped by fans, or connected when `closed`
    (a torus).

    The rings turn counter-clockwise about the direction in which they follow each other.
    """
    n, m = len(rings), len(rings[0])
    i = np.arange(m)
    j = (i + 1) % m
    steps = [(k * m, (k + 1) % n * m) for k in range(n if closed else n - 1)]
    faces = [_quads(np.column_stack((i + low, j + low, j + high, i + high))) for low, high in steps]
    if closed:
        return _shape(np.concatenate(rings), np.concatenate(faces))
    vertices = np.concatenate([*rings, [rings[0].mean(axis=0)], [rings[-1].mean(axis=0)]])
    faces.append(np.column_stack((j, i, np.full(m, n * m))))
    faces.append(np.column_stack((i + (n - 1) * m, j + (n - 1) * m, np.full(m, n * m + 1))))
    return _shape(vertices, np.concatenate(faces))


@lru_cache
def _cube_lattice(count: int) -> tuple[NDArray[np.integer], NDArray[np.integer]]:
    """Lattice points (V, 3) on the surface of a cube with `count` points per edge, and its faces (F, 3)."""
    number: dict[tuple[int, int, int], int] = {}
    quads = []
    last = count - 1
    for axis in range(3):
        for level in (0, last):
            for i in range(last):
                for j in range(last):
                    corners = [(i, j), (i + 1, j), (i + 1, j + 1), (i, j + 1)]
                    quad = []
                    for a, b in corners if level else corners[::-1]:
                        point = [0, 0, 0]
                        point[axis], point[(axis + 1) % 3], point[(axis + 2) % 3] = level, a, b
                        quad.append(number.setdefault((point[0], point[1], point[2]), len(number)))
                    quads.append(quad)
    return np.array(list(number)), _quads(np.array(quads))


def rounded_box(size: Sequence[float], radius: float, segments: int = 1, center: Sequence[float] = (0, 0, 0)) -> Shape:
    """A box of full `size` with rounded edges and the centre of its base at `center`.

    `segments` facets a quarter turn; 108 triangles with one, 300 with two.
    """
    half = np.asarray(size, dtype=np.float64) / 2
    radius = min(radius, float(half.min()) * 0.999)
    lattice, faces = _cube_lattice(2 * (segments + 1))
    arc = np.tan(np.linspace(0, np.pi / 4, segments + 1))
    offsets = np.concatenate([-arc[::-1], arc])
    direction = offsets[lattice]
    side = np.where(lattice > segments, 1.0, -1.0)
    direction /= np.linalg.norm(direction, axis=1, keepdims=True)
    vertices = side * (half - radius) + radius * direction
    return _shape(vertices, faces).moved(center[0], center[1], center[2] + half[2])


def cushion(
    size: Sequence[float], center: Sequence[float] = (0, 0, 0), exponent: float = 5.0, segments: int = 7
) -> Shape:
    """A soft, filled box: a superellipsoid of full `size`, the centre of its base at `center`; exponent 2 is an ellipsoid."""
    lattice, faces = _cube_lattice(segments + 1)
    points = np.tan((lattice / segments * 2 - 1) * np.pi / 4)
    points = points / np.sum(np.abs(points) ** exponent, axis=1, keepdims=True) ** (1 / exponent)
    points /= np.abs(points).max(axis=0)  # an odd number of segments has no vertex on the axes
    half = np.asarray(size, dtype=np.float64) / 2
    return _shape(points * half, faces).moved(center[0], center[1], center[2] + half[2])


def tray(size: Sequence[float], wall: float, floor: float, center: Sequence[float] = (0, 0, 0)) -> Shape:
    """A box that is open at the top: full `size`, `wall` and `floor` thickness, the centre of its base at `center`."""
    w, d, h = np.asarray(size, dtype=np.float64)
    outer = np.array([(-w / 2, -d / 2), (w / 2, -d / 2), (w / 2, d / 2), (-w / 2, d / 2)])
    inner = outer - wall * np.sign(outer)
    levels = [(outer, 0.0), (outer, h), (inner, h), (inner, floor)]
    rings = [np.column_stack((ring, np.full(4, z))) for ring, z in levels]
    return loft(rings).moved(*center)


def ribbon(path: ArrayLike, thickness: float, z0: float, z1: float) -> Shape:
    """An upright sheet along a plane curve (N, 2), of a thickness in metres (curtains, bent panels)."""
    points = np.asarray(path, dtype=np.float64)
    along = np.gradient(points, axis=0)
    normal = np.column_stack((-along[:, 1], along[:, 0])) / np.linalg.norm(along, axis=1, keepdims=True)
    left, right = points + normal * thickness / 2, points - normal * thickness / 2
    rings = []
    for p, q in zip(left, right, strict=True):
        rings.append(np.array([(*q, z0), (*p, z0), (*p, z1), (*q, z1)]))
    return loft(rings)


def blade(path: ArrayLike, widths: ArrayLike, thickness: float) -> Shape:
    """A leaf: a flat strip along a path (N, 3) with one width per point, perpendicular to the vertical plane of the path."""
    points, widths = np.asarray(path, dtype=np.float64), np.asarray(widths, dtype=np.float64)
    along = np.gradient(points, axis=0)
    along /= np.linalg.norm(along, axis=1, keepdims=True)
    side = np.cross(along, [0.0, 0.0, 1.0])
    bad = np.linalg.norm(side, axis=1) < 1e-6
    side[bad] = [1.0, 0.0, 0.0]
    side /= np.linalg.norm(side, axis=1, keepdims=True)
    up = np.cross(side, along)
    right, above = side * widths[:, None] / 2, up * thickness / 2
    return loft(list(np.stack([points + right, points - above, points - right, points + above], axis=1)))
