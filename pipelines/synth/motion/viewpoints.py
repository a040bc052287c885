"""Viewpoints and viewing directions in a room from which all of it is observed."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from mapping.mesh.mesh import Mesh, sample_surface
from pipelines.synth.base.world import SynthRoom
from pipelines.synth.motion.routes import Floor, Place
from pipelines.synth.rendering.casting import Caster
from pipelines.synth.rendering.surfaces import Surfaces

Array = NDArray[np.float64]

YAW_BINS = 24
PITCHES = (float(np.deg2rad(-22.0)), float(np.deg2rad(9.0)))
"""The two heights of a sweep: floor and furniture, or walls and ceiling (radians, up is positive)."""
SAMPLES_PER_ROOM = 1500
REACH = 5.5
"""Greatest distance in metres at which a surface counts as observed."""
FLATTEST = 0.12
"""Least cosine between the line of sight and a surface's normal."""
ENOUGH = 0.95
"""Share of the visible surface of a room after which it is left."""
LEAST_GAIN = 0.03
MOST_LOOKS = 5


@dataclass(frozen=True)
class RoomView:
    """The camera of a walker: eye height in metres, half angles of view in radians."""

    eye: float
    half_width: float
    half_height: float


@dataclass(frozen=True, eq=False)
class Stand:
    """A viewpoint: for each of PITCHES which bins of yaw show something new, (2, YAW_BINS) bool."""

    place: Place
    wanted: NDArray[np.bool_]


@dataclass(frozen=True, eq=False)
class _Sight:
    """Visibility of samples (S) from positions (C): visible (C, S), elevation and yaw (C, S) radians from the position
    to the sample."""

    visible: NDArray[np.bool_]
    elevation: Array
    yaw: Array


def choose_stands(
    floor: Floor, room: SynthRoom, view: RoomView, caster: Caster, surfaces: Surfaces, rng: Generator
) -> list[Stand]:
    """Few viewpoints and sweeps that together observe a room; empty for a room that cannot be entered.

    Greedy set cover over area-weighted samples of the surfaces, one sweep from one position at a time: within 1 - 1/e of the
    best for its number of sweeps (Nemhauser et al. 1978). A position already in use is preferred to a slightly better one.
    """
    places = _candidates(floor, room, rng)
    if len(places) == 0:
        return []
    sight = _look(np.column_stack([places, np.full(len(places), floor.z + view.eye)]), room, caster, surfaces, rng)
    seen_by = np.stack(
        [sight.visible & (np.abs(sight.elevation - p) < view.half_height - 0.03) for p in PITCHES], axis=1
    )
    goal = np.count_nonzero(seen_by.any(axis=(0, 1)))
    known = np.zeros(seen_by.shape[2], np.bool_)
    wanted: dict[int, NDArray[np.bool_]] = {}
    for _ in range(MOST_LOOKS):
        gains = (seen_by & ~known).sum(axis=2)
        bonus = np.array([[1.3 if place in wanted else 1.0] for place in range(len(places))])
        place, look = (int(k) for k in np.unravel_index(int(np.argmax(gains * bonus)), gains.shape))
        if wanted and gains[place, look] < LEAST_GAIN * goal:
            break
        new = seen_by[place, look] & ~known
        bins = _wanted_bins(sight.yaw[place, new])
        wanted.setdefault(place, np.zeros((len(PITCHES), YAW_BINS), np.bool_))[look] = bins
        known |= seen_by[place, look]
        if known.sum() >= ENOUGH * goal:
            break
    return [Stand(Place(floor.storey, places[place]), bins) for place, bins in wanted.items()]


def _candidates(floor: Floor, room: SynthRoom, rng: Generator, spacing: float = 0.45) -> Array:
    """(C, 2) positions on a lattice of the room's free cells, with some clearance where possible."""
    inside = floor.inside(room)
    roomy = inside & (floor.clearance >= min(0.15, float(floor.clearance[inside].max(initial=0.0))))
    cells = np.argwhere(roomy)
    if len(cells) == 0:
        return np.zeros((0, 2))
    step = max(1, round(spacing / floor.cell))
    shift = rng.integers(step, size=2)
    chosen = cells[((cells + shift) % step == 0).all(axis=1)]
    middle = cells[[int(np.argmax(floor.clearance[tuple(cells.T)]))]]
    return floor.points(np.concatenate([middle, chosen]))


def _look(eyes: Array, room: SynthRoom, caster: Caster, surfaces: Surfaces, rng: Generator) -> _Sight:
    """Visibility of a room's surfaces from eyes (C, 3)."""
    corners = surfaces.vertices[surfaces.faces]
    low, high = room.polygon.min(axis=0) - 0.15, room.polygon.max(axis=0) + 0.15
    near = (corners[..., :2].max(axis=1) > low).all(axis=1) & (corners[..., :2].min(axis=1) < high).all(axis=1)
    near &= (corners[..., 2].max(axis=1) > room.z_range[0] - 0.01) & (
        corners[..., 2].min(axis=1) < room.z_range[1] + 0.01
    )
    chosen = np.flatnonzero(near)
    points, face = sample_surface(Mesh(surfaces.vertices, surfaces.faces[chosen]), SAMPLES_PER_ROOM, rng)
    normals = surfaces.planes[chosen[face], :3]
    to_point = points[None] - eyes[:, None]
    distance = np.linalg.norm(to_point, axis=2)
    facing = -np.einsum("cij,ij->ci", to_point, normals)
    candidates = (distance < REACH) & (facing > FLATTEST * distance)
    c, s = np.nonzero(candidates)
    start = points[s] + 2e-3 * normals[s]
    segments = np.concatenate([start, eyes[c] - start], axis=1).astype(np.float32)
    visible = np.zeros(distance.shape, np.bool_)
    visible[c, s] = ~caster.blocked(segments)
    elevation = np.arcsin(np.clip(to_point[..., 2] / np.maximum(distance, 1e-9), -1.0, 1.0))
    return _Sight(visible, elevation, np.arctan2(to_point[..., 1], to_point[..., 0]))


def _wanted_bins(yaw: Array) -> NDArray[np.bool_]:
    """(YAW_BINS,) bins that hold the yaws (N,) except the emptiest that hold less than a tenth together."""
    bins = np.floor(yaw % (2 * np.pi) / (2 * np.pi) * YAW_BINS).astype(np.int64) % YAW_BINS
    count = np.bincount(bins, minlength=YAW_BINS)
    order = np.argsort(count, kind="stable")
    spared = np.cumsum(count[order]) <= 0.1 * len(yaw)
    wanted = np.ones(YAW_BINS, np.bool_)
    wanted[order[spared]] = False
    return wanted


def sweep_arc(wanted: NDArray[np.bool_], half_view: float) -> tuple[float, float] | None:
    """(start, extent) in radians of the shortest turn to the left that shows all wanted bins; None for none.

    `half_view` is half of the camera's horizontal angle of view: the turn starts and ends by that much inside the bins.
    """
    bins = np.flatnonzero(wanted)
    if len(bins) == 0:
        return None
    width = 2 * np.pi / len(wanted)
    gaps = np.diff(np.append(bins, bins[0] + len(wanted)))
    after = int(np.argmax(gaps))
    first = bins[(after + 1) % len(bins)]
    extent = (len(wanted) - gaps[after] + 1) * width
    margin = min(0.75 * half_view, 0.5 * extent)
    if gaps[after] == 1:  # full turn: both ends together must close the circle
        margin = 0.5 * half_view
    return float(first * width + margin), float(extent - 2 * margin)
