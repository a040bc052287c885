"""Where one levelled map lies in another one: near a first guess by their surfaces, or anywhere by their walls."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.spatial import cKDTree
from scipy.spatial.transform import Rotation

from mapping.mesh.mesh import Mesh, sample_surface
from mapping.se3 import from_rotation_translation, inverse, transform_points

Array = NDArray[np.float64]

SAMPLES = 6000
"""Points of the surface of either map."""
AGREES = 0.06
"""Metres within which two surfaces are the same."""
OVERLAPS = 0.4
"""Metres from the other map's surface up to which a point counts as seen by both."""
LEAST_AGREEMENT, LEAST_OVERLAP = {"poses": 0.6, "geometry": 0.7}, 0.05
"""Shares of the points seen by both that must agree, more where nothing else speaks for a place, and of all points that must be
seen by both."""
CLEARLY_BETTER = 0.08
"""By how much the best of several places must agree better than the next one that is different."""
DIFFERENT = 0.5
"""Metres or radians between places that are different."""
REACHES = (0.4, 0.2, 0.1, 0.06)
"""Metres within which points are paired, in the steps of refinement."""
MOST_CORRECTED = 0.5
"""Metres by which a guess may be corrected."""
CELL = 0.1
PEAKS = 6
TILT_STIFFNESS = 30.0
"""How much heavier a tilt of both maps against each other weighs than their turn: both are level already."""


class RegistrationError(ValueError):
    """Two maps whose place to each other is not found; the message says how well the best one fits."""


@dataclass(frozen=True, eq=False)
class Registration:
    """`T_a_b` (4, 4): points of map b to map a; `overlap`: the share of b's surface that lies near that of a; `agreement`: the
    share of it that coincides; how it was found."""

    T_a_b: Array
    overlap: float
    agreement: float
    source: Literal["poses", "geometry"]

    @property
    def is_accepted(self) -> bool:
        """Whether the two maps fit each other so."""
        return self.agreement >= LEAST_AGREEMENT[self.source] and self.overlap >= LEAST_OVERLAP


@dataclass(frozen=True, eq=False)
class _Surface:
    """Points (N, 3) with normals (N, 3), evenly over a mesh."""

    points: Array
    normals: Array

    @staticmethod
    def of(mesh: Mesh) -> _Surface:
        points, faces = sample_surface(mesh, SAMPLES, np.random.default_rng(0))
        return _Surface(points, mesh.face_normals()[faces])


def register(
    a: Mesh, b: Mesh, guess: ArrayLike, *, floors: tuple[Sequence[float], Sequence[float]] = ((0.0,), (0.0,))
) -> Registration:
    """Where map b lies in map a, both levelled. `guess` (4, 4), usually from the poses, is corrected by up to half a metre; if
    the surfaces contradict it, the walls are searched for another place. `floors` are the heights of the storeys of both.

    Raises RegistrationError when no place fits, or several do.
    """
    first, second = _Surface.of(a), _Surface.of(b)
    tree = cKDTree(first.points)
    T = np.asarray(guess, dtype=np.float64)
    near = _refined(T, first, second, tree)
    if np.linalg.norm((inverse(T) @ near)[:3, 3]) > MOST_CORRECTED:
        near = T
    by_pose = Registration(near, *_fit(near, first, second, tree), "poses")
    if by_pose.is_accepted:
        return by_pose
    found = [
        Registration(refined, *_fit(refined, first, second, tree), "geometry")
        for refined in (_refined(T, first, second, tree) for T in _places(first, second, floors))
    ]
    return _clearly_best([place for place in found if place.is_accepted], by_pose)


def _clearly_best(places: Sequence[Registration], by_pose: Registration) -> Registration:
    ranked = sorted(places, key=lambda place: -place.agreement * min(1.0, place.overlap / 0.3))
    if not ranked:
        raise RegistrationError(
            f"the two maps do not fit each other: by their poses {by_pose.agreement:.0%} of the common surface agrees, and "
            f"no other place was found where {LEAST_AGREEMENT['geometry']:.0%} does; do they show the same place?"
        )
    best = ranked[0]
    for other in ranked[1:]:
        apart = inverse(best.T_a_b) @ other.T_a_b
        turned = Rotation.from_matrix(apart[:3, :3]).magnitude()
        close = best.agreement - other.agreement < CLEARLY_BETTER and other.overlap > 0.7 * best.overlap
        if close and max(float(np.linalg.norm(apart[:3, 3])), turned) > DIFFERENT:
            raise RegistrationError(
                f"the two maps fit each other at several places, {best.agreement:.0%} and {other.agreement:.0%} of the common "
                "surface agree; expected recordings in the same world, or rooms that differ"
            )
    return best


def _fit(T: Array, a: _Surface, b: _Surface, tree: cKDTree) -> tuple[float, float]:
    """Overlap and agreement of `Registration`."""
    away, nearest = tree.query(transform_points(T, b.points))
    same_side = np.einsum("ij,ij->i", b.normals @ T[:3, :3].T, a.normals[nearest]) > 0.5
    common = away < OVERLAPS
    plane = np.abs(np.einsum("ij,ij->i", transform_points(T, b.points) - a.points[nearest], a.normals[nearest]))
    agrees = common & same_side & (plane < AGREES)
    return float(common.mean()), float(agrees.sum() / max(int(common.sum()), 1))


def _refined(T: Array, a: _Surface, b: _Surface, tree: cKDTree) -> Array:
    """The transform after steps of least squares of distances to planes (Chen and Medioni 1992), each over closer points."""
    for reach in REACHES:
        for _ in range(4):
            points, normals = transform_points(T, b.points), b.normals @ T[:3, :3].T
            away, nearest = tree.query(points, distance_upper_bound=reach + 0.15)
            known = np.flatnonzero(np.isfinite(away))
            n = a.normals[nearest[known]]
            residual = np.einsum("ij,ij->i", a.points[nearest[known]] - points[known], n)
            good = (np.abs(residual) < reach) & (np.einsum("ij,ij->i", normals[known], n) > 0.7)
            if good.sum() < 50:
                return T
            T = _plane_step(points[known][good], n[good], residual[good]) @ T
    return T


def _plane_step(points: Array, normals: Array, residual: Array) -> Array:
    """The small motion (4, 4) that takes points (N, 3) to planes with these normals (N, 3) at signed distances (N,)."""
    centre = points.mean(axis=0)
    rows = np.concatenate([np.cross(points - centre, normals), normals], axis=1)
    spread = float(np.sqrt(len(points)))
    stiff = np.diag([TILT_STIFFNESS, TILT_STIFFNESS, 0.1, 0.01, 0.01, 0.01]) * spread / 10
    system, aim = np.concatenate([rows, stiff]), np.concatenate([residual, np.zeros(6)])
    step = np.linalg.lstsq(system, aim, rcond=None)[0]
    rotation = Rotation.from_rotvec(step[:3]).as_matrix()
    return from_rotation_translation(rotation, centre + step[3:] - rotation @ centre)


def _places(a: _Surface, b: _Surface, floors: tuple[Sequence[float], Sequence[float]]) -> list[Array]:
    """Transforms at which the walls of both coincide, best first: four yaws, the shifts of highest correlation, storey by storey.

    Walls of levelled maps are along x and y, so that of the yaws only quarter turns are possible.
    """
    found: list[tuple[float, Array]] = []
    heights = sorted({round(low - other, 2) for low in floors[0] for other in floors[1]})
    for quarter in range(4):
        R = np.round(Rotation.from_euler("z", quarter * np.pi / 2).as_matrix())
        turned = _Surface(b.points @ R.T, b.normals @ R.T)
        for score, shift in _shifts(a, turned):
            found += [(score, from_rotation_translation(R, [*shift, dz])) for dz in heights]
    return [T for _, T in sorted(found, key=lambda entry: -entry[0])[: 4 * PEAKS * len(heights)]]


def _shifts(a: _Surface, b: _Surface) -> list[tuple[float, Array]]:
    """Score and shift (2,) in metres from b to a of the highest peaks of the correlation of their wall plans, of walls that face
    each of the four directions apart."""
    low = np.minimum(a.points.min(axis=0), b.points.min(axis=0))[:2]
    size = np.maximum(np.ptp(a.points, axis=0), np.ptp(b.points, axis=0))[:2]
    reach = np.maximum(a.points.max(axis=0), b.points.max(axis=0))[:2] - low
    shape = tuple(int(n) for n in np.ceil((np.maximum(size, reach) * 2 + 1.0) / CELL))
    total = np.zeros(shape)
    for axis in (0, 1):
        for sign in (-1, 1):
            plans = [_plan(surface, axis, sign, low, shape) for surface in (a, b)]
            spectrum = np.fft.rfft2(plans[0]) * np.conj(np.fft.rfft2(plans[1]))
            total += np.fft.irfft2(spectrum, s=shape)
    peaks = []
    for _ in range(PEAKS):
        at = np.array(np.unravel_index(int(np.argmax(total)), shape))
        shift = np.where(at > np.array(shape) // 2, at - shape, at) * CELL
        peaks.append((float(total[tuple(at)]), shift))
        around = np.ix_(*((at[k] + np.arange(-3, 4)) % shape[k] for k in (0, 1)))
        total[around] = -np.inf
    return peaks


def _plan(surface: _Surface, axis: int, sign: int, low: Array, shape: tuple[int, ...]) -> Array:
    """(X, Y) amount of upright surface that faces along an axis, blurred over neighbouring cells, no cell counting much more
    than others."""
    facing = sign * surface.normals[:, axis] > 0.9
    cells = np.floor((surface.points[facing, :2] - low) / CELL).astype(np.int64)
    counts = np.zeros(shape)
    np.add.at(counts, tuple(cells.T), 1.0)
    counts = np.minimum(counts, 3.0)
    for along in (0, 1):
        counts = counts + 0.5 * (np.roll(counts, 1, axis=along) + np.roll(counts, -1, axis=along))
    return np.asarray(counts)
