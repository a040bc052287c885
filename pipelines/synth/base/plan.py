"""Floor plans as plain numbers: the output of the layout and the input of the structure. Metres, building frame, z up."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Construction:
    """Thicknesses and heights (metres) that all storeys of a building share."""

    inner_wall: float
    slab: float
    ceiling: float

    @property
    def storey_height(self) -> float:
        """Height from floor to floor."""
        return self.ceiling + self.slab


@dataclass(frozen=True, eq=False)
class RoomPlan:
    """A room: kind and rectilinear polygon (N, 2), counter-clockwise along the inner faces of its walls."""

    kind: str
    polygon: Array

    @property
    def area(self) -> float:
        """Square metres."""
        x, y = self.polygon.T
        return float(0.5 * np.sum(x * np.roll(y, -1) - np.roll(x, -1) * y))

    def edges(self) -> tuple[WallEdge, ...]:
        """The sides in order; side i runs from corner i to the next."""
        return tuple(WallEdge(p, q) for p, q in zip(self.polygon, np.roll(self.polygon, -1, axis=0), strict=True))


@dataclass(frozen=True, eq=False)
class WallEdge:
    """A side of a room from `start` to `end` (2,), the room on its left."""

    start: Array
    end: Array

    @property
    def length(self) -> float:
        """Metres."""
        return float(np.linalg.norm(self.end - self.start))

    @property
    def along(self) -> Array:
        """Unit vector from start to end."""
        return np.round((self.end - self.start) / self.length)

    @property
    def inward(self) -> Array:
        """Unit vector into the room."""
        x, y = self.along
        return np.array([-y, x])

    def point(self, distance: float, inside: float = 0.0) -> Array:
        """The point `distance` metres along the side and `inside` metres into the room."""
        return np.asarray(self.start + distance * self.along + inside * self.inward)


@dataclass(frozen=True, eq=False)
class DoorPlan:
    """An opening in the wall between rooms[0] and rooms[1] (indices into the storey's rooms).

    center (2,) lies in the middle of the wall, `direction` (2,) points from rooms[0] to rooms[1]; leaf_room is the index of the
    room into which a leaf opens (-1 for a passage without a leaf), hinge +1 or -1: the jamb to the left or right when
    looking along `direction`; angle (radians) is how far the leaf stands open.
    """

    rooms: tuple[int, int]
    center: Array
    direction: Array
    width: float
    height: float
    leaf_room: int = -1
    hinge: int = 1
    angle: float = 0.0

    @property
    def kind(self) -> str:
        """`door` with a leaf, `passage` without."""
        return "door" if self.leaf_room >= 0 else "passage"


@dataclass(frozen=True, eq=False)
class WallOpening:
    """A window or the entrance in an outer wall: room index, its middle on the inner face (2,), outward unit vector."""

    room: int
    center: Array
    outward: Array
    width: float
    bottom: float
    top: float


@dataclass(frozen=True, eq=False)
class StairPlan:
    """A straight flight along an outer wall that rises along +x.

    x0 is the foot of the first riser and x1 the edge of the upper floor; y0 < y1 are its sides (y1 against the wall); the hole in
    the upper floor spans hole_x0..x1 and y0..y1; rooms are indices on the lower and on the upper storey.
    """

    x0: float
    x1: float
    y0: float
    y1: float
    hole_x0: float
    steps: int
    rooms: tuple[int, int]


@dataclass(frozen=True, eq=False)
class StoreyPlan:
    """One storey: its rooms, doors, windows, and on the lowest the entrance."""

    rooms: tuple[RoomPlan, ...]
    doors: tuple[DoorPlan, ...] = ()
    windows: tuple[WallOpening, ...] = ()
    entrance: WallOpening | None = None


@dataclass(frozen=True, eq=False)
class BuildingPlan:
    """Storeys from the lowest up; stairs[k] joins storey k and k + 1."""

    construction: Construction
    storeys: tuple[StoreyPlan, ...]
    stairs: tuple[StairPlan, ...] = field(default=())

    def floor_z(self, storey: int) -> float:
        """Height of a storey's floor."""
        return storey * self.construction.storey_height
