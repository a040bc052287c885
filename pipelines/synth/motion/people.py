"""People who walk about during the camera's visit: their paths, and their bodies at any time.

Each person follows goals in rooms, most of them where the camera is looking, and finds a path by dynamic programming over space
and time, in which the camera and the people planned before are obstacles whose future is known. So nobody is ever trapped.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray
from scipy import ndimage

from pipelines.synth.base.world import World
from pipelines.synth.motion.camera_path import CameraPath
from pipelines.synth.motion.figure import LIMBS, STRIDE, Figure, make_figure, pose_figure
from pipelines.synth.motion.routes import Floor, make_floor, relax
from pipelines.synth.motion.routing import best_in_time, travel
from pipelines.synth.rendering.surfaces import Surfaces, local_surfaces

Array = NDArray[np.float64]

LEAST_DISTANCE = 0.62
"""Least metres between a person and the camera, and between two people."""
STEP = 0.14
"""Seconds of a planning step; a step is a move by one cell of the floor grid or none."""
GRID = 0.1
DISTANCES = ((0.34, 1.0, 0.9), (0.34, 0.8, 0.8), (0.28, 0.7, 0.7), (0.25, LEAST_DISTANCE + 0.02, LEAST_DISTANCE + 0.02))
"""Candidate distances in metres from the centre of a person to furniture, the camera and other people; the first
feasible ones are used."""
DWELL = (4.0, 10.0)
"""Seconds for which a goal is valid."""
IN_VIEW = 0.6
"""Share of goals chosen in the camera's view."""
VIEW_RANGE = (1.7, 4.5)


class PeopleError(ValueError):
    """Raised for a world without room for so many people besides the camera."""


@dataclass(frozen=True, eq=False)
class Walker:
    """One person: figure, times (T,) seconds, floor points (T, 3), heading, gait phase and stride (T,) (see `pose_figure`)."""

    figure: Figure
    times: Array
    feet: Array
    heading: Array
    phase: Array
    stride: Array

    def limb_poses(self, time: float) -> Array:
        """`T_world_limb` (10, 4, 4) at a time in seconds."""
        feet = np.array([np.interp(time, self.times, self.feet[:, axis]) for axis in range(3)])
        heading, phase, stride = (
            float(np.interp(time, self.times, x)) for x in (self.heading, self.phase, self.stride)
        )
        return pose_figure(self.figure, feet, heading, phase, stride, idle=1.7 * time)


@dataclass(frozen=True, eq=False)
class People:
    """All walkers of a visit."""

    walkers: tuple[Walker, ...]

    @cached_property
    def _local(self) -> Surfaces:
        return local_surfaces([body for walker in self.walkers for body in walker.figure.bodies])

    def surfaces(self, time: float) -> Surfaces:
        """Their bodies in the world at a time: ten limbs each, which share the person's number."""
        return self._local.posed(np.concatenate([walker.limb_poses(time) for walker in self.walkers]))

    def centers(self, time: float) -> Array:
        """(P, 3) the approximate centre of each person at a time."""
        feet = [[np.interp(time, w.times, w.feet[:, axis]) for axis in range(3)] for w in self.walkers]
        return np.array(feet) + np.array([[0.0, 0.0, w.figure.height / 2] for w in self.walkers])

    def balls(self, time: float) -> Array:
        """(3 P, 4) balls (centre, radius) that dim the light around as legs, hips and chest do."""
        rows = []
        for walker, center in zip(self.walkers, self.centers(time), strict=True):
            low, s = center[2] - walker.figure.height / 2, walker.figure.height / 1.75
            rows += [(*center[:2], low + h * s, r * s) for h, r in ((0.3, 0.15), (0.85, 0.2), (1.3, 0.2))]
        return np.array(rows)


def person_boxes(surfaces: Surfaces) -> Array:
    """(P, 2, 3) lowest and highest corner in world axes of each person of `People.surfaces`, in order."""
    first = np.arange(0, len(surfaces.numbers), len(LIMBS))
    starts = np.searchsorted(surfaces.vertex_body, first)
    low, high = (np.minimum.reduceat(surfaces.vertices, starts), np.maximum.reduceat(surfaces.vertices, starts))
    return np.stack([low, high], axis=1)


def plan_people(world: World, visit: int, count: int, camera: CameraPath, first_number: int, rng: Generator) -> People:
    """`count` people with instance numbers from `first_number`, who walk for the whole duration of the visit.

    They keep LEAST_DISTANCE from the camera and from each other, and their centre at least 0.25 m from furniture. Each
    stays on one storey, one where the camera spends time.

    Raises PeopleError when there is not enough space for them.
    """
    times = np.arange(0.0, camera.duration + STEP, STEP)
    eyes = camera.eyes_at(times)
    storeys = camera.storeys[np.minimum(np.searchsorted(camera.times, times), len(camera.times) - 1)]
    walkers: list[Walker] = []
    for k in range(count):
        storey = int(rng.choice(storeys))
        others = [walker.feet for walker in walkers if abs(walker.feet[0, 2] - world.storeys[storey][0]) < 0.5]
        figure = make_figure(rng, first_number + k)
        for distances in DISTANCES:
            floor = _coarse(make_floor(world, visit, storey, distances[0]))
            goals, goal_of = _goals(floor, camera, times, storeys, rng)
            route = _find_route(floor, goals, goal_of, _Obstacles(eyes, others, *distances[1:]))
            if route is not None:
                walkers.append(_animate(figure, times, route, floor, rng))
                break
        else:
            raise PeopleError(f"there is no room for person {k + 1} of {count}: ask for fewer people or larger rooms")
    return People(tuple(walkers))


def _coarse(floor: Floor) -> Floor:
    """The floor on cells of GRID, each free where one of its fine cells is; still connected."""
    step = round(GRID / floor.cell)
    nx, ny = (size // step for size in floor.free.shape)
    blocks = floor.free[: nx * step, : ny * step].reshape(nx, step, ny, step)
    free = np.asarray(blocks.any(axis=(1, 3)))
    numbers, pieces = ndimage.label(free)
    if pieces > 1:
        free = numbers == 1 + int(np.argmax(np.bincount(numbers.ravel())[1:]))
    clearance = ndimage.distance_transform_edt(np.pad(free, 1))[1:-1, 1:-1] * GRID
    return Floor(floor.storey, floor.z, floor.origin, GRID, free, clearance)


def _goals(
    floor: Floor, camera: CameraPath, times: Array, storeys: NDArray[np.int64], rng: Generator
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Goal cells (G, 2), and the goal at each time (T,)."""
    cells = np.argwhere(floor.free)
    xy = floor.points(cells)
    goals: list[NDArray[np.int64]] = []
    goal_of, at = np.zeros(len(times), np.int64), 0
    while at < len(times):
        until = min(len(times), at + round(float(rng.uniform(*DWELL)) / STEP))
        goal = cells[int(rng.integers(len(cells)))]
        if storeys[(at + until) // 2] == floor.storey and rng.random() < IN_VIEW:
            tries = rng.integers(len(cells), size=24)
            # From the time at which the person may have arrived there.
            shown = _times_in_view(xy[tries], camera, times[at + (until - at) // 3 : until])
            goal = cells[tries[int(np.argmax(shown))]]
        goal_of[at:until] = len(goals)
        goals.append(goal)
        at = until
    return np.array(goals), goal_of


def _times_in_view(xy: Array, camera: CameraPath, times: Array) -> NDArray[np.int64]:
    """(N,) at how many of the times the camera looks towards points (N, 2) at a good distance (walls are ignored)."""
    eyes = camera.eyes_at(times)
    yaw = np.interp(times, camera.times, camera.yaw)
    to_point = xy[:, None] - eyes[None, :, :2]
    distance = np.linalg.norm(to_point, axis=2)
    ahead = to_point[..., 0] * np.cos(yaw) + to_point[..., 1] * np.sin(yaw)
    good = (distance > VIEW_RANGE[0]) & (distance < VIEW_RANGE[1]) & (ahead > np.cos(0.45) * distance)
    return np.asarray(good.sum(axis=1))


class _Obstacles(NamedTuple):
    """Moving obstacles: the camera's eyes (T, 3), others' floor points (T, 3) each, and metres to keep from the camera
    and from others."""

    eyes: Array
    others: list[Array]
    camera_distance: float
    person_distance: float


def _find_route(
    floor: Floor, goals: NDArray[np.int64], goal_of: NDArray[np.int64], obstacles: _Obstacles
) -> Array | None:
    """Positions (T, 2) on the floor that follow the goals and avoid moving obstacles; None when there are none."""
    eyes = obstacles.eyes
    price = np.where(floor.free, 0.3 * np.maximum(0.0, 1 - floor.clearance / 0.4), np.inf)
    walk = np.where(floor.free, 1.0, np.inf)
    goal_price = np.stack([np.minimum(travel(walk, int(i), int(j))[0] * GRID, 9.0) for i, j in goals])
    on_storey = (eyes[:, 2] > floor.z) & (eyes[:, 2] < floor.z + 3.0)
    discs = [(eyes[:, :2], np.where(on_storey, obstacles.camera_distance, 0.0))]
    discs += [(other[:, :2], np.full(len(other), obstacles.person_distance)) for other in obstacles.others]
    blocked = np.zeros((len(eyes), len(discs), 3))
    for k, (center, radius) in enumerate(discs):
        blocked[:, k, :2] = (center - floor.origin) / GRID - 0.5
        blocked[:, k, 2] = radius / GRID
    cells = best_in_time(price, goal_of, goal_price, blocked, 0.12)
    if cells[0, 0] < 0:
        return None
    keep_off = [(center, np.minimum(radius, LEAST_DISTANCE)) for center, radius in discs]

    def allowed(points: Array) -> NDArray[np.bool_]:
        ok = floor.is_free(points)
        for center, radius in keep_off:
            ok &= np.linalg.norm(points - center, axis=1) >= radius
        return ok

    return relax(floor.points(cells), allowed, 25)


def _animate(figure: Figure, times: Array, route: Array, floor: Floor, rng: Generator) -> Walker:
    """Gait and heading from the position of a person at each time."""
    velocity = np.gradient(route, axis=0) / STEP
    speed = ndimage.gaussian_filter1d(np.linalg.norm(velocity, axis=1), 2.0, mode="nearest")
    moving = speed > 0.18
    heading = np.full(len(times), float(rng.uniform(-np.pi, np.pi)))
    if moving.any():
        known = np.flatnonzero(moving)
        angle = np.unwrap(np.arctan2(velocity[known, 1], velocity[known, 0]))
        heading = np.interp(np.arange(len(times)), known, angle)
    heading = ndimage.gaussian_filter1d(heading, 2.2, mode="nearest")
    stride = np.clip(speed / 0.75, 0.0, 1.15)
    stride = stride * np.clip((speed - 0.05) / 0.15, 0.0, 1.0)
    length = STRIDE * figure.height / 1.75 * np.maximum(stride, 0.35)
    phase = float(rng.uniform(0, 2 * np.pi)) + np.cumsum(np.pi * speed / length) * STEP
    feet = np.column_stack([route, np.full(len(route), floor.z)])
    return Walker(figure, times, feet, heading, phase, stride)
