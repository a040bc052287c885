"""The parts of a synthetic world, before anything is rendered. World axes: metres, z up, lowest floor at z = 0."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from scenegraph.nodes import OrientedBox

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Material:
    """Appearance of a surface: linear-light albedo, a procedural texture and how strongly and how finely it varies.

    color and color2 are linear RGB in [0, 1]; texture is a key of the renderer's table (`plain`, `wood`, `planks`, `tiles`,
    `carpet`, `fabric`, `stripes`, `checker`, `marble`, `brick`, `painting`, `books`, `noise`, ...); scale is metres per
    texture period; specular in [0, 1]; emission adds light of the surface's own colour (lamps, screens, windows); seed
    varies the pattern.
    """

    color: tuple[float, float, float]
    color2: tuple[float, float, float] = (0.0, 0.0, 0.0)
    texture: str = "plain"
    scale: float = 1.0
    strength: float = 0.5
    specular: float = 0.05
    emission: float = 0.0
    seed: int = 0


@dataclass(frozen=True, eq=False)
class Part:
    """Triangles of one material: vertices (V, 3) metres, faces (F, 3) int32 counter-clockwise from outside.

    In the body's frame. Textures are solid (3D) in this frame unless the renderer says otherwise.
    """

    vertices: Array
    faces: NDArray[np.int32]
    material: Material


@dataclass(frozen=True, eq=False)
class Body:
    """A thing with an instance number: furniture, or a piece of structure (wall, door leaf, window pane ...).

    number: 1..65534, unique in the world, the value in instance images; label_id: NYU40; parts in the body's frame (origin at
    the centre of the footprint, z = 0 its base); poses: T_world_body for each visit of the camera, None where it is absent then
    (so comparing visits shows moved, added and removed objects); is_object: counts as an object of the scene graph
    (False for structure).
    """

    number: int
    label_id: int
    parts: tuple[Part, ...]
    poses: tuple[Array | None, ...]
    is_object: bool
    name: str = ""
    supported_by: int = 0
    """Number of the body that supports it, 0 for the floor or a wall."""

    def box(self, visit: int) -> OrientedBox | None:
        """The upright box around the body at a visit; None when absent."""
        T = self.poses[visit]
        if T is None:
            return None
        points = np.concatenate([part.vertices for part in self.parts])
        low, high = points.min(axis=0), points.max(axis=0)
        center = T[:3, :3] @ ((low + high) / 2) + T[:3, 3]
        return OrientedBox(center, high - low, T[:3, :3])


@dataclass(frozen=True, eq=False)
class SynthRoom:
    """One room: floor polygon (N, 2) counter-clockwise along the inner faces of the walls, heights, kind (kitchen), storey."""

    number: int
    kind: str
    polygon: Array
    z_range: tuple[float, float]
    storey: int


@dataclass(frozen=True, eq=False)
class Opening:
    """A door or passage between two rooms (numbers; a stair has rooms on two storeys): centre on the floor (3,), width, height,
    direction (2,) unit vector through the opening from rooms[0] to rooms[1]; kind `door`, `passage` or `stair`;
    waypoints (N, 3) floor points to walk from one room to the other."""

    rooms: tuple[int, int]
    position: Array
    width: float
    height: float
    direction: Array
    kind: str
    waypoints: Array


@dataclass(frozen=True, eq=False)
class Light:
    """A point light: position (3,) metres, intensity in linear RGB (radiant intensity; irradiance = intensity / d^2)."""

    position: Array
    intensity: tuple[float, float, float]


@dataclass(frozen=True, eq=False)
class World:
    """Everything static of a synthetic world over `visits` visits of the camera."""

    seed: int
    visits: int
    rooms: tuple[SynthRoom, ...]
    openings: tuple[Opening, ...]
    bodies: tuple[Body, ...]
    lights: tuple[Light, ...]
    storeys: tuple[tuple[float, float], ...]
    """(floor z, ceiling z) of each storey, lowest first."""
    sun_direction: Array = field(default_factory=lambda: np.array([0.4, 0.3, -0.85]))
    credits: tuple[str, ...] = ()
    """Attribution of models taken from catalogues: title, author and licence of each."""
