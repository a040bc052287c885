"""Typed nodes of the scene graph and the oriented box. Arrays are world metres, z up."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

LEAST_CEILING, LEAST_FLOOR = 0.05, 0.4
"""Shares of a room's ceiling, and of its floor with the furniture on it, from which its height and area count as measured."""


@dataclass(frozen=True, eq=False)
class OrientedBox:
    """A box: center (3,), size (3,) full edge lengths, rotation (3, 3) world-from-box. Boxes of maps are upright
    (rotated about z only)."""

    center: Array
    size: Array
    rotation: Array

    def __post_init__(self) -> None:
        for name, shape in (("center", (3,)), ("size", (3,)), ("rotation", (3, 3))):
            value = np.asarray(getattr(self, name), dtype=np.float64)
            if value.shape != shape or not np.isfinite(value).all():
                raise ValueError(f"OrientedBox.{name} must be {shape} finite numbers, got {getattr(self, name)!r}")
            object.__setattr__(self, name, value)
        if (self.size < 0).any() or not np.allclose(self.rotation @ self.rotation.T, np.eye(3), atol=1e-4):
            raise ValueError("OrientedBox: size must not be negative and rotation must be orthonormal")

    def corners(self) -> Array:
        """(8, 3) corners in the world; the first four are the bottom, counter-clockwise seen from above."""
        signs = np.array(
            [[-1, -1, -1], [1, -1, -1], [1, 1, -1], [-1, 1, -1], [-1, -1, 1], [1, -1, 1], [1, 1, 1], [-1, 1, 1]]
        )
        return np.asarray(self.center + (signs * self.size / 2) @ self.rotation.T)

    @property
    def volume(self) -> float:
        """Cubic metres."""
        return float(np.prod(self.size))


@dataclass(frozen=True, eq=False)
class BuildingNode:
    """The root."""

    layer: ClassVar[str] = "building"
    prefix: ClassVar[str] = "B"
    label: str = "building"


@dataclass(frozen=True, eq=False)
class StoreyNode:
    """One storey between two heights (metres)."""

    layer: ClassVar[str] = "storey"
    prefix: ClassVar[str] = "F"
    z_range: tuple[float, float]


@dataclass(frozen=True, eq=False)
class RoomNode:
    """A room: floor polygon (N, 2) counter-clockwise, heights, area in square metres, name and the scores behind it.

    `z_range` and `area` are always there; how far they were measured is in `evidence`: `measured_height`, `measured_area`.
    """

    layer: ClassVar[str] = "room"
    prefix: ClassVar[str] = "R"
    label: str
    position: Array
    polygon: Array
    z_range: tuple[float, float]
    area: float
    label_scores: dict[str, float] = field(default_factory=dict)
    evidence: dict[str, Any] = field(default_factory=dict)

    @property
    def measured_height(self) -> float | None:
        """Metres from floor to ceiling; None where too little of the ceiling was in view."""
        if _share(self.evidence, "ceiling_seen") < LEAST_CEILING:
            return None
        return self.z_range[1] - self.z_range[0]

    @property
    def measured_area(self) -> float | None:
        """The area in square metres; None where too little of the floor was in view."""
        return None if _share(self.evidence, "floor_seen") < LEAST_FLOOR else self.area


def _share(evidence: dict[str, Any], name: str) -> float:
    """A share in the evidence; 1 where nothing is said of it, as in true graphs."""
    share = evidence.get(name, 1.0)
    return float(share) if isinstance(share, int | float) else 1.0


@dataclass(frozen=True, eq=False)
class PlaceNode:
    """A sphere of free space; `radius` is the clearance to the nearest surface in metres."""

    layer: ClassVar[str] = "place"
    prefix: ClassVar[str] = "P"
    position: Array
    radius: float


@dataclass(frozen=True, eq=False)
class ObjectNode:
    """A static object; `number` is its value in the mesh's object field, `presence` the intervals [t0, t1] in which it was there.

    confidence in [0, 1] : the share of its surface that had its label, times n / (n + 1) for n views. Where labels are predicted
    it is the share of its label in what all frames said of its surface, or the probability of a name that was found for it as a
    whole, times how sure their source was of that label on average.
    """

    layer: ClassVar[str] = "object"
    prefix: ClassVar[str] = "O"
    label: str
    label_id: int
    position: Array
    box: OrientedBox
    label_scores: dict[str, float] = field(default_factory=dict)
    views: int = 0
    confidence: float = 1.0
    presence: tuple[tuple[float, float], ...] = ()
    number: int = 0


@dataclass(frozen=True, eq=False)
class TrackNode:
    """Something that moves: times (T,) increasing seconds, positions (T, 3) centre of its box, size (3,)."""

    layer: ClassVar[str] = "track"
    prefix: ClassVar[str] = "T"
    label: str
    label_id: int
    size: Array
    times: Array
    positions: Array
    confidence: float = 1.0


@dataclass(frozen=True, eq=False)
class AgentNode:
    """A camera pose of the sequence."""

    layer: ClassVar[str] = "agent"
    prefix: ClassVar[str] = "A"
    time: float
    position: Array
    rotation_xyzw: Array


Node = BuildingNode | StoreyNode | RoomNode | PlaceNode | ObjectNode | TrackNode | AgentNode
NODE_TYPES: dict[str, type[Node]] = {
    node.layer: node for node in (BuildingNode, StoreyNode, RoomNode, PlaceNode, ObjectNode, TrackNode, AgentNode)
}
