"""Apartments of boxes with exact truth: labelled meshes, free space and cameras for tests of the scene graph."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from mapping.distance_field import FreeSpace, build_free_space
from mapping.mesh.mesh import Mesh, concatenate
from mapping.se3 import look_at
from scenegraph.labels import nyu40

Array = NDArray[np.float64]
LABELS = nyu40()
WALL = 0.12  # metres


def patch(corner: Array, u: Array, v: Array, label: str, step: float) -> Mesh:
    """A rectangle from a corner along u and v, in triangles of about `step` metres that face along u x v."""
    nu, nv = (max(1, round(np.linalg.norm(side) / step)) for side in (u, v))
    i, j = np.meshgrid(np.arange(nu + 1), np.arange(nv + 1), indexing="ij")
    vertices = corner + i.reshape(-1, 1) / nu * u + j.reshape(-1, 1) / nv * v
    a = (i[:-1, :-1] * (nv + 1) + j[:-1, :-1]).ravel()
    b, c, d = a + nv + 1, a + nv + 2, a + 1
    faces = np.concatenate([np.stack([a, b, c], axis=1), np.stack([a, c, d], axis=1)]).astype(np.int32)
    return Mesh(vertices, faces, labels=np.full(len(vertices), LABELS.id_of(label), np.uint16))


def welded(mesh: Mesh) -> Mesh:
    """The mesh with vertices of equal position and label merged."""
    keys = np.concatenate([np.round(mesh.vertices / 1e-6), mesh.labels[:, None]], axis=1)
    _, first, index = np.unique(keys, axis=0, return_index=True, return_inverse=True)
    return Mesh(mesh.vertices[first], index.ravel()[mesh.faces].astype(np.int32), labels=mesh.labels[first])


def box(low, high, label: str, *, yaw: float = 0.0, step: float = 0.05, without: str = "") -> Mesh:
    """A closed box that faces outwards, rotated about the z axis through its centre; `without` names open sides (b, t)."""
    low, high = np.asarray(low, dtype=float), np.asarray(high, dtype=float)
    x, y, z = np.diag(high - low)
    sides = {
        "b": (low, y, x),
        "t": (low + z, x, y),
        "s": (low, x, z),
        "n": (low + y, z, x),
        "w": (low, z, y),
        "e": (low + x, y, z),
    }
    mesh = welded(concatenate([patch(*side, label, step) for name, side in sides.items() if name not in without]))
    middle = (low + high) / 2
    c, s = np.cos(yaw), np.sin(yaw)
    rotation = np.array([[c, -s, 0], [s, c, 0], [0, 0, 1.0]])
    return Mesh((mesh.vertices - middle) @ rotation.T + middle, mesh.faces, labels=mesh.labels)


def chair(x: float, y: float, yaw: float = 0.0) -> Mesh:
    """Seat, four legs and a back, in the middle of a 45 cm square around (x, y)."""
    seat = box((x - 0.225, y - 0.225, 0.4), (x + 0.225, y + 0.225, 0.45), "chair", yaw=yaw, step=0.03)
    legs = [
        box(
            (x + i * 0.2 - 0.02, y + j * 0.2 - 0.02, 0),
            (x + i * 0.2 + 0.02, y + j * 0.2 + 0.02, 0.4),
            "chair",
            without="bt",
            step=0.03,
        )
        for i in (-1, 1)
        for j in (-1, 1)
    ]
    back = box((x - 0.225, y + 0.18, 0.45), (x + 0.225, y + 0.225, 0.9), "chair", step=0.03)
    return concatenate([seat, *legs, back])


def table(center, size=(1.2, 0.8, 0.74), label="table") -> Mesh:
    """A table top on four legs, around a point on the floor."""
    x, y, z = center
    w, d, h = size
    parts = [box((x - w / 2, y - d / 2, z + h - 0.05), (x + w / 2, y + d / 2, z + h), label)]
    for i in (-1, 1):
        for j in (-1, 1):
            cx, cy = x + i * (w / 2 - 0.05), y + j * (d / 2 - 0.05)
            parts.append(box((cx - 0.03, cy - 0.03, z), (cx + 0.03, cy + 0.03, z + h - 0.05), label, without="bt"))
    return concatenate(parts)


@dataclass(frozen=True)
class Opening:
    """A hole through the wall that runs across `axis` at the coordinate `at`: its middle along the wall, width and height."""

    axis: int
    at: float
    middle: float
    width: float
    height: float


@dataclass
class Apartment:
    """Rectangular rooms (x0, y0, x1, y1) along the inner faces of their walls, on one floor at height `z`."""

    rooms: list[tuple[float, float, float, float]]
    openings: list[Opening] = field(default_factory=list)
    ceiling: float = 2.5
    z: float = 0.0
    things: list[Mesh] = field(default_factory=list)
    solids: list[tuple[Array, Array]] = field(default_factory=list)

    def furnish(self, mesh: Mesh) -> Apartment:
        """Add an object; the box around it is not free space."""
        self.things.append(mesh)
        self.solids.append((mesh.vertices.min(axis=0), mesh.vertices.max(axis=0)))
        return self

    def mesh(self, step: float = 0.08) -> Mesh:
        """Floors, ceilings and walls seen from inside, reveals of the openings, and the things."""
        parts = []
        for x0, y0, x1, y1 in self.rooms:
            size_x, size_y, up = np.array([x1 - x0, 0, 0]), np.array([0, y1 - y0, 0]), np.array([0, 0, self.ceiling])
            corner = np.array([x0, y0, self.z])
            parts.append(patch(corner, size_x, size_y, "floor", step))
            parts.append(patch(corner + up, size_y, size_x, "ceiling", step))
            for axis, at, inward in ((0, x0, 1), (0, x1, -1), (1, y0, 1), (1, y1, -1)):
                span = (y0, y1) if axis == 0 else (x0, x1)
                parts += self._wall(axis, at, inward, span, step)
        for opening in self.openings:
            parts += self._reveal(opening, step)
        return concatenate([welded(concatenate(parts)), *self.things])

    def _wall(self, axis: int, at: float, inward: int, span: tuple[float, float], step: float) -> list[Mesh]:
        here = [o for o in self.openings if o.axis == axis and abs(o.at - at) < WALL and span[0] < o.middle < span[1]]
        pieces, start = [], span[0]
        for o in sorted(here, key=lambda o: o.middle):
            low, high = o.middle - o.width / 2, o.middle + o.width / 2
            pieces += [((start, low), (0.0, self.ceiling)), ((low, high), (o.height, self.ceiling))]
            start = high
        pieces.append(((start, span[1]), (0.0, self.ceiling)))
        meshes = []
        for across, upwards in pieces:
            low, high = across
            bottom, top = upwards
            if high - low < 1e-6 or top - bottom < 1e-6:
                continue
            corner, along = np.zeros(3), np.zeros(3)
            corner[axis], corner[1 - axis], corner[2] = at, low, self.z + bottom
            along[1 - axis] = high - low
            up = np.array([0, 0, top - bottom])
            facing = np.cross(along, up)[axis]
            meshes.append(patch(corner, *((along, up) if facing * inward > 0 else (up, along)), "wall", step))
        return meshes

    def _reveal(self, o: Opening, step: float) -> list[Mesh]:
        thick, along, up = np.zeros(3), np.zeros(3), np.array([0, 0, o.height])
        thick[o.axis], along[1 - o.axis] = WALL, o.width
        corner = np.zeros(3)
        corner[o.axis], corner[1 - o.axis], corner[2] = o.at - WALL / 2, o.middle - o.width / 2, self.z
        sides = [patch(corner, thick, up, "wall", step), patch(corner + along, up, thick, "wall", step)]
        sides.append(patch(corner, thick, along, "floor", step))
        if o.height < self.ceiling:
            sides.append(patch(corner + up, along, thick, "wall", step))
        return sides

    def is_free(self, points: Array) -> NDArray[np.bool_]:
        """Which points (N, 3) lie in a room or an opening and in no object."""
        x, y, z = points.T
        free = np.zeros(len(points), dtype=bool)
        for x0, y0, x1, y1 in self.rooms:
            free |= (x > x0) & (x < x1) & (y > y0) & (y < y1) & (z > self.z) & (z < self.z + self.ceiling)
        for o in self.openings:
            across = np.abs(points[:, o.axis] - o.at) <= WALL / 2
            along = np.abs(points[:, 1 - o.axis] - o.middle) < o.width / 2
            free |= across & along & (z > self.z) & (z < self.z + o.height)
        for low, high in self.solids:
            free &= ~((points > low) & (points < high)).all(axis=1)
        return free

    def free_space(self, cell_size: float = 0.1) -> FreeSpace:
        """The free-space grid of the apartment."""
        return build_free_space(self.mesh().vertices, self.is_free, cell_size=cell_size)

    def cameras(self, per_room: int = 8, height: float = 1.5) -> Array:
        """Poses (N, 4, 4) on a small circle in every room that look outwards and a little down."""
        poses = []
        for x0, y0, x1, y1 in self.rooms:
            middle = np.array([(x0 + x1) / 2, (y0 + y1) / 2, self.z + height])
            for angle in np.arange(per_room) * 2 * np.pi / per_room:
                out = np.array([np.cos(angle), np.sin(angle), -0.2])
                poses.append(look_at(middle + 0.2 * out * [1, 1, 0], middle + 2 * out))
        return np.array(poses)

    def polygons(self) -> list[Array]:
        """True room polygons (4, 2), counter-clockwise."""
        return [np.array([[x0, y0], [x1, y0], [x1, y1], [x0, y1]]) for x0, y0, x1, y1 in self.rooms]


def two_rooms(width: float = 0.9, height: float = 2.05) -> Apartment:
    """A room of 4 x 3 m and one of 3 x 3 m with an opening between them at (4.06, 1.5)."""
    return Apartment([(0, 0, 4, 3), (4 + WALL, 0, 7 + WALL, 3)], [Opening(0, 4 + WALL / 2, 1.5, width, height)])
