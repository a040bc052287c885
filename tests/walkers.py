"""People who walk through a room of boxes and poles, observed by a camera: exact depth, labels and instances by analytic rays."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mapping.camera import Intrinsics
from mapping.se3 import look_at
from scenegraph.labels import nyu40
from scenegraph.tracks.detection import Detection, LabelledView

Array = NDArray[np.float64]

WALL, FLOOR = nyu40().id_of("wall"), nyu40().id_of("floor")
CHAIR, TABLE, PERSON = (nyu40().id_of(name) for name in ("chair", "table", "person"))
THICKNESS, WIDTH, HEIGHT = 0.3, 0.5, 1.75
INTRINSICS = Intrinsics(130.0, 130.0, 79.5, 59.5, 160, 120)


@dataclass(frozen=True, eq=False)
class Walker:
    """A person: path(time) is its position (2,) on the floor, None while it is absent; heading follows the path."""

    path: Callable[[float], tuple[float, float] | None]
    width: float = WIDTH
    height: float = HEIGHT
    floor: float = 0.0

    def center(self, time: float) -> Array | None:
        place = self.path(time)
        return None if place is None else np.array([*place, self.floor + self.height / 2])

    def heading(self, time: float) -> float:
        before, after = self.path(time - 0.05), self.path(time + 0.05)
        if before is None or after is None:
            return 0.0
        return float(np.arctan2(after[1] - before[1], after[0] - before[0]))


@dataclass(frozen=True, eq=False)
class Block:
    """A static upright box from low (3,) to high (3,)."""

    low: tuple[float, float, float]
    high: tuple[float, float, float]
    label: int = TABLE


def straight(
    start: Sequence[float], end: Sequence[float], t0: float, t1: float
) -> Callable[[float], tuple[float, float]]:
    """A path that walks from start to end between two times and stands before and after."""

    def path(time: float) -> tuple[float, float]:
        share = np.clip((time - t0) / (t1 - t0), 0, 1)
        x, y = (1 - share) * np.asarray(start) + share * np.asarray(end)
        return float(x), float(y)

    return path


def render(
    walkers: Sequence[Walker],
    blocks: Sequence[Block],
    time: float,
    T_world_camera: Array,
    *,
    intrinsics: Intrinsics = INTRINSICS,
    half_room: float = 6.0,
) -> LabelledView:
    """What the camera sees at a time in a square room around the origin, floor at 0, without a ceiling in reach."""
    rays = intrinsics.rays().reshape(-1, 3) @ T_world_camera[:3, :3].T
    origin = T_world_camera[:3, 3]
    depth, labels, instances = _room(origin, rays, half_room)
    for block in blocks:
        hit = _box_hit(origin, rays, np.array(block.low), np.array(block.high))
        nearer = hit < depth
        depth[nearer], labels[nearer], instances[nearer] = hit[nearer], block.label, 0
    for number, walker in enumerate(walkers, start=1):
        center = walker.center(time)
        if center is not None:
            hit = _cylinder_hit(origin, rays, center, walker, walker.heading(time))
            nearer = hit < depth
            depth[nearer], labels[nearer], instances[nearer] = hit[nearer], PERSON, number
    shape = (intrinsics.height, intrinsics.width)
    known = np.isfinite(depth)
    return LabelledView(
        time,
        np.where(known, depth, 0).reshape(shape).astype(np.float32),
        labels.reshape(shape).astype(np.uint8),
        intrinsics,
        T_world_camera,
        instances.reshape(shape).astype(np.uint16),
    )


def camera(eye: Sequence[float], target: Sequence[float]) -> Array:
    """T_world_camera at `eye` looking at `target`."""
    return look_at(eye, target)


def _room(origin: Array, rays: Array, half: float) -> tuple[Array, Array, Array]:
    with np.errstate(divide="ignore", invalid="ignore"):
        floor = np.where(rays[:, 2] < 0, -origin[2] / rays[:, 2], np.inf)
        walls = np.where(rays[:, :2] > 0, (half - origin[:2]) / rays[:, :2], (-half - origin[:2]) / rays[:, :2])
    wall = np.nanmin(np.where(np.isfinite(walls) & (walls > 0), walls, np.inf), axis=1)
    return np.minimum(floor, wall), np.where(floor < wall, FLOOR, WALL), np.zeros(len(rays), dtype=np.int64)


def _box_hit(origin: Array, rays: Array, low: Array, high: Array) -> Array:
    safe = np.where(np.abs(rays) < 1e-12, 1e-12, rays)
    a, b = (low - origin) / safe, (high - origin) / safe
    enter, leave = np.minimum(a, b).max(axis=1), np.maximum(a, b).min(axis=1)
    return np.where((enter < leave) & (enter > 0), enter, np.inf)


def _cylinder_hit(origin: Array, rays: Array, center: Array, walker: Walker, heading: float) -> Array:
    """Elliptic cylinder: thickness along the heading, width across it; the top is a disc."""
    c, s = np.cos(heading), np.sin(heading)
    axes = np.array([[c, -s], [s, c]]) / [THICKNESS / 2, walker.width / 2]
    o, r = (origin[:2] - center[:2]) @ axes, rays[:, :2] @ axes
    qa, qb, qc = (r**2).sum(axis=1), r @ o, o @ o - 1
    root = qb**2 - qa * qc
    with np.errstate(invalid="ignore", divide="ignore"):
        side = np.where(root > 0, (-qb - np.sqrt(np.maximum(root, 0))) / qa, np.inf)
        z = origin[2] + side * rays[:, 2]
        bottom, top = center[2] - walker.height / 2, center[2] + walker.height / 2
        side = np.where((side > 0) & (z >= bottom) & (z <= top), side, np.inf)
        lid = (top - origin[2]) / rays[:, 2]
        on_lid = (lid > 0) & (((o + lid[:, None] * r) ** 2).sum(axis=1) <= 1)
    return np.minimum(side, np.where(on_lid, lid, np.inf))


def detection(
    low: Sequence[float],
    high: Sequence[float],
    cut: Iterable[str] = (),
    *,
    time: float = 0.0,
    floor: float | None = None,
    bearing: float = 0.0,
    label_id: int = PERSON,
    pixels: int = 500,
) -> Detection:
    """A detection with these bounds along its own axes, seen from the origin."""
    bounds = np.array(low, dtype=np.float64), np.array(high, dtype=np.float64)
    return Detection(time, label_id, pixels, bearing, abs(float(low[0])), *bounds, frozenset(cut), floor)


def walk(
    times: Iterable[float], start: Sequence[float], velocity: Sequence[float], **fields: Any
) -> dict[float, Detection]:
    """Detections of an upright body 0.5 m wide that is seen from far along x, without noise."""
    found = {}
    for time in times:
        x, y = np.asarray(start) + np.asarray(velocity) * time
        found[time] = detection([x - 0.15, y - 0.25, 0], [x, y + 0.25, 1.8], time=time, floor=0.0, **fields)
    return found


def as_frames(times: Iterable[float], *walks: dict[float, Detection]) -> list[tuple[float, list[Detection]]]:
    """The detections of each time in all walks."""
    return [(time, [found[time] for found in walks if time in found]) for time in times]
