"""A hand-held camera that walks through every room and looks around: times and poses of its frames."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray
from scipy import ndimage

from mapping.camera import Intrinsics
from mapping.se3 import from_rotation_translation
from pipelines.synth.base.world import World
from pipelines.synth.motion.routes import Navigator, Place, make_navigator, relax, tour
from pipelines.synth.motion.viewpoints import PITCHES, RoomView, Stand, choose_stands, sweep_arc
from pipelines.synth.rendering.casting import Caster
from pipelines.synth.rendering.surfaces import Surfaces

Array = NDArray[np.float64]

RATE = 25.0
"""Samples per second of the planned motion."""
WALK_SPEED = 0.7
TURN_RATE = float(np.deg2rad(60.0))
CLEARANCE = 0.2
"""Metres of clearance of the camera to every surface."""
PLANNED_CLEARANCE = CLEARANCE + 0.06
WALKER_RADIUS = 0.25
WALK_PITCH = np.deg2rad(-10.0)
LOOK_AHEAD = 0.9
"""Metres ahead on the path at which a walker looks."""


class CameraPathError(ValueError):
    """Raised for a world through which no camera can walk."""


@dataclass(frozen=True, eq=False)
class CameraPath:
    """The planned motion: times (M,) seconds from 0, eye positions (M, 3), yaw (counter-clockwise from +x), pitch (up) and roll
    (M,) radians; storeys (M,) of the floor below."""

    times: Array
    eyes: Array
    yaw: Array
    pitch: Array
    roll: Array
    storeys: NDArray[np.int64]

    @property
    def duration(self) -> float:
        """Seconds."""
        return float(self.times[-1])

    def frame_times(self, count: int) -> Array:
        """`count` times (seconds), evenly over the whole motion."""
        return np.linspace(0.0, self.duration, count)

    def poses(self, times: Array) -> Array:
        """`T_world_camera` (N, 4, 4) at times (N,)."""
        eyes = np.column_stack([np.interp(times, self.times, self.eyes[:, axis]) for axis in range(3)])
        yaw, pitch, roll = (np.interp(times, self.times, angle) for angle in (self.yaw, self.pitch, self.roll))
        return camera_poses(eyes, yaw, pitch, roll)

    def eyes_at(self, times: Array) -> Array:
        """Eye positions (N, 3) at times (N,)."""
        return np.column_stack([np.interp(times, self.times, self.eyes[:, axis]) for axis in range(3)])


def camera_poses(eyes: Array, yaw: Array, pitch: Array, roll: Array) -> Array:
    """`T_world_camera` (N, 4, 4) of cameras that look along yaw and pitch, rolled clockwise about the viewing axis."""
    forward = np.stack([np.cos(pitch) * np.cos(yaw), np.cos(pitch) * np.sin(yaw), np.sin(pitch)], axis=-1)
    right = np.stack([np.sin(yaw), -np.cos(yaw), np.zeros_like(yaw)], axis=-1)
    down = np.cross(forward, right)
    c, s = np.cos(roll)[:, None], np.sin(roll)[:, None]
    return from_rotation_translation(np.stack([c * right + s * down, c * down - s * right, forward], axis=-1), eyes)


def _wrapped(angle: float) -> float:
    """The same angle in [-pi, pi)."""
    return (angle + float(np.pi)) % (2 * float(np.pi)) - float(np.pi)


@dataclass
class _Motion:
    """Samples at RATE under construction: floor points, yaw, pitch."""

    feet: list[Array]
    storeys: list[int]
    yaw: list[float]
    pitch: list[float] = field(default_factory=lambda: [float(WALK_PITCH)])

    def step(self, feet: Array, storey: int, yaw: float, pitch: float) -> None:
        """One sample later: at a floor point, turned towards yaw and pitch as far as TURN_RATE allows."""
        most = TURN_RATE / RATE
        turn = _wrapped(yaw - self.yaw[-1])
        self.yaw.append(self.yaw[-1] + min(most, max(-most, turn)))
        self.pitch.append(self.pitch[-1] + min(most / 2, max(-most / 2, pitch - self.pitch[-1])))
        self.feet.append(feet)
        self.storeys.append(storey)

    def turn_to(self, yaw: float, pitch: float) -> None:
        """Stand still until the view is reached."""
        while True:
            left = _wrapped(yaw - self.yaw[-1])
            if abs(left) < 1e-6 and abs(pitch - self.pitch[-1]) < 1e-6:
                return
            self.step(self.feet[-1], self.storeys[-1], yaw, pitch)

    def sweep(self, extent: float) -> None:
        """Turn by `extent` radians (to the left when positive) at TURN_RATE."""
        count = max(1, int(np.ceil(abs(extent) / (TURN_RATE / RATE))))
        for _ in range(count):
            self.step(self.feet[-1], self.storeys[-1], self.yaw[-1] + extent / count, self.pitch[-1])


def plan_camera(
    world: World, visit: int, surfaces: Surfaces, caster: Caster, camera: Intrinsics, rng: Generator
) -> CameraPath:
    """The motion of a camera through every room of a world at a visit.

    Raises CameraPathError when there is no room that the camera can enter.
    """
    eye = float(rng.uniform(1.45, 1.65))
    navigator = make_navigator(world, visit, WALKER_RADIUS, lambda points: _eye_is_free(points, eye, caster, surfaces))
    view = RoomView(
        eye, float(np.arctan(camera.width / 2 / camera.fx)), float(np.arctan(camera.height / 2 / camera.fy))
    )
    rooms: list[list[Stand]] = []
    for room in world.rooms:
        floor = navigator.floors[room.storey]
        stands = choose_stands(floor, room, view, caster, surfaces, rng) if floor.free.any() else []
        if stands:
            rooms.append(stands)
    if not rooms:
        raise CameraPathError("the world has no room that a camera can enter")
    order = _room_order(navigator, rooms, rng)
    motion: _Motion | None = None
    at = rooms[order[0]][0].place
    for index in order:
        for stand in _stand_order(navigator, at, rooms[index]):
            if motion is None:
                start = _ground(navigator, stand.place)
                motion = _Motion([start], [stand.place.storey], [float(rng.uniform(-np.pi, np.pi))])
            else:
                _walk(motion, navigator, at, stand.place)
            _look_around(motion, stand, view.half_width)
            at = stand.place
    assert motion is not None
    return _finish(motion, navigator, eye, caster, rng)


def _eye_is_free(points: Array, eye: float, caster: Caster, surfaces: Surfaces) -> NDArray[np.bool_]:
    """Whether an eye over floor points (N, 3) has its clearance and is not inside a solid (where faces are seen from behind)."""
    ok = np.ones(len(points), np.bool_)
    for height in (eye - 0.05, eye + 0.05):
        ok &= caster.distance(points + np.array([0.0, 0.0, height])) >= PLANNED_CLEARANCE
    up = np.zeros((len(points), 6), np.float32)
    up[:, :3], up[:, 5] = points + np.array([0.0, 0.0, eye]), 1.0
    above = caster.cast(up)
    return ok & np.isfinite(above.t) & (surfaces.planes[above.face, 2] < 0)


def _ground(navigator: Navigator, place: Place) -> Array:
    floor = navigator.floors[place.storey]
    return np.append(floor.points(floor.nearest_free(place.xy)), floor.z)


def _room_order(navigator: Navigator, rooms: list[list[Stand]], rng: Generator) -> list[int]:
    """A short tour through the rooms from a random one on the lowest storey."""
    places = [stands[0].place for stands in rooms]
    lengths = np.stack([navigator.distances(place, places) for place in places])
    lowest = min(place.storey for place in places)
    starts = [k for k, place in enumerate(places) if place.storey == lowest]
    return tour(lengths, int(rng.choice(starts)))


def _stand_order(navigator: Navigator, at: Place, stands: list[Stand]) -> list[Stand]:
    """The viewpoints of a room, the nearest next each time."""
    left, order = list(stands), []
    while left:
        lengths = navigator.distances(at, [stand.place for stand in left])
        order.append(left.pop(int(np.argmin(lengths))))
        at = order[-1].place
    return order


def _walk(motion: _Motion, navigator: Navigator, start: Place, end: Place) -> None:
    path = navigator.path(start, end)
    along = np.concatenate([[0.0], np.cumsum(np.linalg.norm(np.diff(path, axis=0), axis=1))])
    middle = (navigator.floors[start.storey].z + navigator.floors[end.storey].z) / 2
    for s in np.arange(WALK_SPEED / RATE, along[-1] + WALK_SPEED / RATE, WALK_SPEED / RATE):
        here, ahead = (np.array([np.interp(x, along, path[:, k]) for k in range(3)]) for x in (s, s + LOOK_AHEAD))
        direction = ahead - here
        level = math.hypot(direction[0], direction[1])
        yaw = math.atan2(direction[1], direction[0]) if level > 0.15 else motion.yaw[-1]
        climb = math.atan2(direction[2], max(level, 0.3))
        lower = start.storey if (here[2] < middle) == (start.storey <= end.storey) else end.storey
        motion.step(here, lower, yaw, float(WALK_PITCH) + 0.4 * climb)


def _look_around(motion: _Motion, stand: Stand, half_view: float) -> None:
    """Turn over the arcs of the viewpoint, low first and high on the way back."""
    for pitch, wanted in zip(PITCHES, stand.wanted, strict=True):
        arc = sweep_arc(wanted, half_view)
        if arc is None:
            continue
        start, extent = arc
        to_start, to_end = (abs(_wrapped(a - motion.yaw[-1])) for a in (start, start + extent))
        if to_start <= to_end:
            motion.turn_to(start, float(pitch))
            motion.sweep(extent)
        else:
            motion.turn_to(start + extent, float(pitch))
            motion.sweep(-extent)


def _finish(motion: _Motion, navigator: Navigator, eye: float, caster: Caster, rng: Generator) -> CameraPath:
    """Smooth the samples and add the shake of a hand and of steps, as far as the clearance allows."""
    feet, storeys = np.array(motion.feet), np.array(motion.storeys, dtype=np.int64)

    def allowed(points: Array) -> NDArray[np.bool_]:
        ok = np.zeros(len(points), np.bool_)
        for floor in navigator.floors:
            level = (storeys == floor.storey) & (np.abs(points[:, 2] - floor.z) < 1e-6)
            ok[level] = floor.is_free(points[level, :2])
        return ok

    feet = relax(feet, allowed, 80)
    times = np.arange(len(feet)) / RATE
    yaw, pitch = (_smoothed(np.array(angle), 0.22) for angle in (motion.yaw, motion.pitch))
    speed = _smoothed(np.linalg.norm(np.gradient(feet, axis=0), axis=1) * RATE, 0.3) / WALK_SPEED
    gait = np.cumsum(speed) / RATE * 2 * np.pi * 1.75
    eyes = feet + np.array([0.0, 0.0, eye])
    shake = np.column_stack([_wander(times, rng, 0.012) for _ in range(3)])
    shake[:, 2] += 0.012 * np.sin(gait) * speed
    close = caster.distance(eyes + shake) < CLEARANCE + 0.01
    still = ndimage.maximum_filter1d(
        close.astype(np.float64), 2 * int(0.6 * RATE) + 1
    )  # a steady hand where surfaces are near
    shake *= 1.0 - _smoothed(still, 0.2)[:, None]
    return CameraPath(
        times,
        eyes + shake,
        yaw + _wander(times, rng, 0.015) + 0.012 * np.sin(gait / 2) * speed,
        pitch + _wander(times, rng, 0.012) + 0.006 * np.sin(gait) * speed,
        _wander(times, rng, 0.015),
        storeys,
    )


def _smoothed(values: Array, sigma: float) -> Array:
    """Gaussian mean over seconds, ends repeated."""
    radius = int(np.ceil(3 * sigma * RATE))
    weights = np.exp(-0.5 * (np.arange(-radius, radius + 1) / (sigma * RATE)) ** 2)
    return np.convolve(np.pad(values, radius, mode="edge"), weights / weights.sum(), mode="valid")


def _wander(times: Array, rng: Generator, size: float) -> Array:
    """A slow random motion about 0: a few sines of 0.1-0.6 Hz, standard deviation `size`."""
    frequency, phase = rng.uniform(0.1, 0.6, 5), rng.uniform(0, 2 * np.pi, 5)
    waves = np.sin(2 * np.pi * frequency[:, None] * times + phase[:, None])
    return np.asarray(size * np.sqrt(2 / 5) * waves.sum(axis=0))
