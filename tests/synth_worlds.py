"""Hand-made worlds whose images can be computed by hand: a box of a room with boxes in it."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from pipelines.synth.base.shapes import Shape, block, merge
from pipelines.synth.base.world import Body, Light, Material, Part, SynthRoom, World
from scenegraph.labels import nyu40

Array = NDArray[np.float64]

WALL, FLOOR, CEILING = (nyu40().id_of(name) for name in ("wall", "floor", "ceiling"))
TABLE, BOX, WINDOW = (nyu40().id_of(name) for name in ("table", "box", "window"))
GREY = Material((0.5, 0.5, 0.5), specular=0.0)
RED = Material((0.6, 0.1, 0.1), specular=0.0)


def rectangle(*corners: Sequence[float]) -> Shape:
    """Four corners, counter-clockwise seen from the front."""
    return Shape(np.array(corners, dtype=np.float64), np.array([[0, 1, 2], [0, 2, 3]], dtype=np.int32))


def at(x: float, y: float, z: float = 0.0, yaw: float = 0.0) -> Array:
    """A pose on the floor."""
    c, s = np.cos(yaw), np.sin(yaw)
    T = np.eye(4)
    T[:2, :2], T[:3, 3] = [[c, -s], [s, c]], (x, y, z)
    return T


def body(number: int, label: int, shapes: Sequence[Shape], *poses: Array | None, material: Material = GREY) -> Body:
    """A body of one material with its poses; furniture counts as an object."""
    is_object = label not in (WALL, FLOOR, CEILING, WINDOW)
    merged = merge(shapes)
    return Body(number, label, (Part(merged.vertices, merged.faces, material),), poses, is_object)


def shell(size: Sequence[float], visits: int = 1, material: Material = GREY) -> list[Body]:
    """Floor (1), ceiling (2) and four walls (3 to 6: x = 0, x = X, y = 0, y = Y) that look into a room
    [0, X] x [0, Y] x [0, Z]."""
    x, y, z = size
    faces = [
        (FLOOR, rectangle((0, 0, 0), (x, 0, 0), (x, y, 0), (0, y, 0))),
        (CEILING, rectangle((0, 0, z), (0, y, z), (x, y, z), (x, 0, z))),
        (WALL, rectangle((0, 0, 0), (0, y, 0), (0, y, z), (0, 0, z))),
        (WALL, rectangle((x, y, 0), (x, 0, 0), (x, 0, z), (x, y, z))),
        (WALL, rectangle((x, 0, 0), (0, 0, 0), (0, 0, z), (x, 0, z))),
        (WALL, rectangle((0, y, 0), (x, y, 0), (x, y, z), (0, y, z))),
    ]
    poses = [np.eye(4)] * visits
    return [body(k + 1, label, [shape], *poses, material=material) for k, (label, shape) in enumerate(faces)]


def box_world(
    size: Sequence[float] = (5.0, 4.0, 2.5),
    furniture: Sequence[Body] = (),
    lights: Sequence[Light] = (),
    visits: int = 1,
) -> World:
    """One room of the given size with some furniture (numbered from 7) and lights."""
    x, y, z = size
    polygon = np.array([(0, 0), (x, 0), (x, y), (0, y)], dtype=np.float64)
    room = SynthRoom(1, "living_room", polygon, (0.0, float(z)), 0)
    return World(0, visits, (room,), (), (*shell(size, visits), *furniture), tuple(lights), ((0.0, float(z)),))


def cube(number: int, edge: float, *poses: Array | None, label: int = BOX, material: Material = RED) -> Body:
    """A cube that stands on its pose."""
    return body(number, label, [block((edge, edge, edge))], *poses, material=material)
