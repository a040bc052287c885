"""The up direction: gravity from a map and its cameras, and the transform to a levelled world.

A levelled world has z up, the lowest large floor at z = 0 and its walls along x and y.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from mapping.histogram_planes import dominant_yaw, weighted_peaks
from mapping.mesh.mesh import Mesh
from mapping.se3 import from_rotation_translation, inverse, yaw_rotation

Array = NDArray[np.float64]

UpSource = Literal["given", "floor labels", "level surfaces", "cameras"]
UpState = Literal["given", "found", "contradicted"]

CAMERA_PITCH = np.deg2rad(15.0)  # hand-held and head-worn cameras look down rather than up
MAX_CAMERA_TILT = np.deg2rad(65.0)  # tilt of the mean camera from gravity
MAX_CORRECTION = np.deg2rad(10.0)  # a given up vector is corrected by the map up to this angle ...
MIN_CORRECTION = np.deg2rad(1.0)  # ... and kept below this one
MIN_SUPPORT = 0.25  # share of the surface that must be level or upright
DISTINCT = 1.2  # ... or so many times the share that any other direction near the cameras' up makes so
LABELLED_SHARE = 0.8  # of that surface must be level or upright for the up direction of labelled floor too
MIN_FLOOR_AREA = 0.3  # m^2 of labelled floor that suffice without other evidence
CONTRADICTION = np.deg2rad(20.0)  # a given up vector is contradicted by one that is found farther from it than this ...
CONTRADICTING_SUPPORT = 0.5  # ... with this support ...
CONTRADICTING_GAIN = 1.5  # ... which is so many times that of the given one
ROLLED_CAMERA = np.deg2rad(35.0)  # from the camera's x axis to an up that a camera on its side (portrait) explains
LOW_CAMERA = 1.2  # m; cameras that are lower above a floor may look at a table top ...
BELOW_FLOOR = 0.3  # ... when there is surface so many metres below it
SURFACE_BELOW = 0.05  # share of all surface so far below the floor, from which a warning says that it may not be one
MIN_LOWER_AREA = 0.1  # m^2 of level surface there that make it the floor ...
MIN_LOWER_SHARE = 0.02  # ... with so much of the area of the largest


@dataclass(frozen=True, eq=False)
class UpEstimate:
    """The up direction in the input's world: unit vector (3,), its source, the share of the surface that is then level or
    upright within 5 degrees, and a sentence for the report.

    `state` is that of what was given: kept, nothing given so that it was found, or contradicted by the surfaces or the cameras,
    and then `warning` says by what.
    """

    up: Array
    source: UpSource
    support: float
    evidence: str
    state: UpState = "found"
    warning: str = ""


@dataclass(frozen=True, eq=False)
class Levelling:
    """How the input's world was levelled: `p_input = T_input_world @ p_world`, and the evidence for it.

    floor_area: square metres of the surface at z = 0; wall_share: share of upright surface along x or y; warnings: sentences.
    """

    T_input_world: Array
    up: UpEstimate
    floor_area: float
    wall_share: float
    warnings: tuple[str, ...] = ()

    @property
    def T_world_input(self) -> Array:
        """(4, 4) transform of points of the input's world to the levelled one."""
        return inverse(self.T_input_world)


def level(
    mesh: Mesh,
    T_world_camera: ArrayLike,
    *,
    world_up: ArrayLike | None = None,
    keep_up: bool = False,
    floor_faces: NDArray[np.bool_] | None = None,
) -> Levelling:
    """Find the levelled world of a mesh and the cameras (N, 4, 4) that saw it, both in the input's world.

    `world_up` is the up vector that the input states, with `keep_up` one that the user gave; `floor_faces` (F,) marks faces that
    are labelled as floor; both may be None. Of the four directions along the walls the one nearest to the input's own axes is
    taken, so that an input that is already level keeps its axes.
    """
    normals, areas = mesh.face_normals(), mesh.face_areas()
    up = estimate_up(normals, areas, T_world_camera, world_up=world_up, keep_up=keep_up, floor_faces=floor_faces)
    R_level_input = _rotation_to_z(up.up)
    yaw, wall_share = dominant_yaw(normals @ R_level_input.T, areas)
    if wall_share < 0.2:  # round or cluttered: no dominant direction
        yaw = 0.0
    R_world_input = yaw_rotation(-yaw) @ R_level_input
    heights = mesh.vertices[mesh.faces].mean(axis=1) @ R_world_input[2]
    level_up = normals @ R_world_input[2] > np.cos(np.deg2rad(15.0))
    if floor_faces is not None and areas[floor_faces & level_up].sum() >= MIN_FLOOR_AREA:
        level_up &= floor_faces
    poses = np.asarray(T_world_camera, dtype=np.float64).reshape(-1, 4, 4)
    camera_heights = poses[:, :3, 3] @ R_world_input[2]
    floor, floor_area, warning = _floor_height(heights, areas, level_up, camera_heights)
    warnings = [text for text in (up.warning, warning) if text]
    if up.source == "cameras":
        warnings.append(up.evidence)
    T_world_input = from_rotation_translation(R_world_input, [0.0, 0.0, -floor])
    return Levelling(inverse(T_world_input), up, floor_area, wall_share, tuple(warnings))


def estimate_up(
    normals: ArrayLike,
    areas: ArrayLike,
    T_world_camera: ArrayLike,
    *,
    world_up: ArrayLike | None = None,
    keep_up: bool = False,
    floor_faces: NDArray[np.bool_] | None = None,
) -> UpEstimate:
    """The up direction from surface normals (N, 3) towards free space with their areas (N,), and camera poses (M, 4, 4).

    In this order: the given vector, which the surfaces may correct by 1 to 10 degrees; the mean normal of faces labelled
    as floor, unless less than 0.8 of the surface is level then that is by the next; the direction near the cameras' mean up
    for which most surface is level or upright; the cameras alone.

    A given vector of which the surfaces are clearly not level gives way to what is found without it; with `keep_up` it stays,
    with a warning.
    """
    normals, areas = np.asarray(normals, dtype=np.float64), np.asarray(areas, dtype=np.float64)
    poses = np.asarray(T_world_camera, dtype=np.float64).reshape(-1, 4, 4)
    found = None if len(areas) == 0 and world_up is not None else _found(normals, areas, poses, floor_faces)
    if world_up is None:
        assert found is not None
        return found
    given = _corrected(_unit(np.asarray(world_up, dtype=np.float64)), normals, areas)
    return given if found is None else _checked(given, found, poses, keep_up=keep_up)


def _found(normals: Array, areas: Array, poses: Array, floor_faces: NDArray[np.bool_] | None) -> UpEstimate:
    """The up direction as if none was given."""
    cameras_up = _mean_camera_up(poses)
    up = _refined(_most_level_direction(cameras_up, normals, areas), normals, areas)
    support = _support(up, normals, areas)
    if floor_faces is not None and areas[floor_faces].sum() >= MIN_FLOOR_AREA:
        labelled = _refined(_unit(areas[floor_faces] @ normals[floor_faces]), normals, areas)
        level_then = _support(labelled, normals, areas)
        if level_then >= LABELLED_SHARE * support:
            text = f"up from {areas[floor_faces].sum():.1f} m2 labelled as floor"
            return UpEstimate(labelled, "floor labels", level_then, text)
    if support < MIN_SUPPORT and not _is_distinct(up, cameras_up, normals, areas):
        text = (
            "no direction makes the surfaces level, so up is the mean of the cameras: give it with --up if it is wrong"
        )
        return UpEstimate(cameras_up, "cameras", support, text)
    tilt = np.rad2deg(np.arccos(np.clip(up @ cameras_up, -1, 1)))
    text = f"up makes {support:.0%} of the surface level or upright, {tilt:.0f} deg from the cameras' mean"
    return UpEstimate(up, "level surfaces", support, text)


def _corrected(given: Array, normals: Array, areas: Array) -> UpEstimate:
    refined = _refined(given, normals, areas)
    support = _support(refined, normals, areas)
    turn = np.arccos(np.clip(refined @ given, -1, 1))
    if MIN_CORRECTION < turn < MAX_CORRECTION and support >= MIN_SUPPORT:
        text = f"given up vector corrected by {np.rad2deg(turn):.1f} deg to the level surfaces"
        return UpEstimate(refined, "given", support, text, "given")
    return UpEstimate(given, "given", _support(given, normals, areas), "up vector as given", "given")


def _checked(given: UpEstimate, found: UpEstimate, poses: Array, *, keep_up: bool) -> UpEstimate:
    """The given up direction, or the one that is found without it where surfaces contradict the given one.

    In a room of right angles a wall is as good a floor as the floor. There the cameras (M, 4, 4) decide, but no more than a
    warning: that they lie on their side or hang upside down may be true.
    """
    if found.support < CONTRADICTING_SUPPORT or _angle(given.up, found.up) < CONTRADICTION:
        return given
    stated, better = _named(given.up), _named(found.up)
    shares = f"{given.support:.0%} of the surface level or upright, {better} {found.support:.0%}"
    if found.support < CONTRADICTING_GAIN * given.support:
        if _is_possible(given.up, poses):
            return given
        text = f"up {stated} is kept, but the cameras are held as if up were {better}; if it is, give it with --up"
    elif keep_up:
        text = f"up {stated} is kept as given with --up, but it makes only {shares}"
    else:
        text = (
            f"stated up {stated} contradicts the surfaces, it makes only {shares}: taken as {better}; give it with --up"
        )
        return replace(found, state="contradicted", warning=text)
    return replace(given, state="contradicted", warning=text)


def _is_possible(up: Array, poses: Array) -> bool:
    """Whether cameras (M, 4, 4) that are held upright, or turned by a quarter about their axis, may have this up direction."""
    if _angle(up, _mean_camera_up(poses)) < MAX_CAMERA_TILT:
        return True
    sideways = poses[:, :3, 0].mean(axis=0) if len(poses) else np.zeros(3)
    length = float(np.linalg.norm(sideways))
    return length > 0.5 and bool(abs(up @ sideways) / length > np.cos(ROLLED_CAMERA))


def _angle(a: Array, b: Array) -> float:
    return float(np.arccos(np.clip(a @ b, -1, 1)))


def _named(direction: Array) -> str:
    """A direction as words: +z, or its components where it is along no axis."""
    axis = int(np.argmax(np.abs(direction)))
    if abs(direction[axis]) > np.cos(np.deg2rad(2.0)):
        return f"{'+' if direction[axis] > 0 else '-'}{'xyz'[axis]}"
    return f"({', '.join(f'{x + 0.0:.2f}' for x in direction)})"


def _mean_camera_up(poses: Array) -> Array:
    """The mean up of the cameras (M, 4, 4), allowing for their usual pitch; -y when there is none."""
    up = -poses[:, :3, 1] * np.cos(CAMERA_PITCH) - poses[:, :3, 2] * np.sin(CAMERA_PITCH)
    mean = up.sum(axis=0) if len(poses) else np.zeros(3)
    return _unit(mean) if np.linalg.norm(mean) > 1e-6 else np.array([0.0, -1.0, 0.0])


def _most_level_direction(cameras_up: Array, normals: Array, areas: Array) -> Array:
    """Among directions near the cameras' up, the one with most level and upright surface; cameras_up without a surface.

    Surface seen from above counts twice as much as surface seen from below, since a wall ahead of a tilted camera would be
    taken for a ceiling.
    """
    binned, weights = _binned_directions(normals, areas)
    if len(binned) == 0:
        return cameras_up
    candidates = _sphere_points(10000)
    cos_tilt = candidates @ cameras_up
    candidates, cos_tilt = candidates[cos_tilt > np.cos(MAX_CAMERA_TILT)], cos_tilt[cos_tilt > np.cos(MAX_CAMERA_TILT)]
    cos = candidates @ binned.T
    sigma = np.deg2rad(3.0)
    above = np.exp(-((1 - cos) * 2) / (2 * sigma**2))
    below = np.exp(-((1 + cos) * 2) / (2 * sigma**2))
    upright = np.exp(-(cos**2) / (2 * sigma**2))
    score = (above + 0.5 * below + 0.3 * upright) @ weights * (0.5 + 0.5 * cos_tilt)
    return np.asarray(candidates[int(np.argmax(score))])


def _refined(start: Array, normals: Array, areas: Array) -> Array:
    """The direction near `start` that level normals are most parallel and upright ones most perpendicular to.

    Minimises sum_upright w (n . d)^2 - sum_level w (n . d)^2 over unit d, an eigenvector problem, with a narrowing gate.
    """
    direction = start
    for gate in np.deg2rad([12.0, 9.0, 7.0, 5.0, 5.0, 5.0]):
        cos = normals @ direction
        level_faces, upright = np.abs(cos) > np.cos(gate), np.abs(cos) < np.sin(gate)
        if areas[level_faces].sum() <= 0:
            return direction
        sign = np.where(level_faces, -1.0, 1.0)
        used = level_faces | upright
        moment = np.einsum("n,ni,nj->ij", (sign * areas)[used], normals[used], normals[used])
        smallest = np.linalg.eigh(moment)[1][:, 0]
        direction = smallest * np.sign(smallest @ direction)
    return np.asarray(direction)


def _support(up: Array, normals: Array, areas: Array) -> float:
    """Share of the area that is level or upright within 5 degrees."""
    cos = np.abs(normals @ up)
    fits = (cos > np.cos(np.deg2rad(5.0))) | (cos < np.sin(np.deg2rad(5.0)))
    return float(areas[fits].sum() / max(areas.sum(), 1e-12))


def _is_distinct(up: Array, cameras_up: Array, normals: Array, areas: Array) -> bool:
    """Whether clearly more surface is level or upright for this up direction than for others near the cameras' up."""
    others = _sphere_points(2000)
    others = others[(others @ cameras_up > np.cos(MAX_CAMERA_TILT)) & (others @ up < np.cos(CONTRADICTION))]
    binned, weights = _binned_directions(normals, areas)
    if not len(binned) or not len(others):
        return False
    rival = others[int(np.argmax([_support(direction, binned, weights) for direction in others]))]
    refined = _refined(rival, normals, areas)  # as the other is; it may have turned to that
    rival = refined if refined @ up < np.cos(CONTRADICTION) else rival
    return _support(up, normals, areas) > DISTINCT * _support(rival, normals, areas)


def _floor_height(
    heights: Array, areas: Array, level_up: NDArray[np.bool_], camera_heights: Array
) -> tuple[float, float, str]:
    """Height and area of the lowest large surface seen from above, and a warning when it may not be a floor.

    heights, areas (F,) are those of all faces, level_up (F,) marks those that may be floor. Of a floor below a table often less
    is in view than of the table top: where the cameras are low above what would be the floor, less of it suffices.
    """
    peaks = weighted_peaks(heights[level_up], areas[level_up], bin_size=0.02, separation=0.12, min_weight=0.0)
    if not peaks:
        lowest = float(heights[level_up].min()) if level_up.any() else 0.0
        return lowest, 0.0, "no level surface was seen, so z = 0 is arbitrary"
    largest = max(peak.weight for peak in peaks)
    floor = next(peak for peak in peaks if peak.weight >= min(max(0.15 * largest, 0.1), largest))
    cameras = float(np.median(camera_heights)) if len(camera_heights) else np.inf
    if cameras - floor.position < LOW_CAMERA:
        least = max(MIN_LOWER_AREA, MIN_LOWER_SHARE * largest)
        lower = [peak for peak in peaks if peak.weight >= least and peak.position < floor.position - BELOW_FLOOR]
        floor = max(lower, key=lambda peak: peak.weight, default=floor)
    above = cameras - floor.position
    if above < 0.9:
        text = (
            f"the lowest level surface is {above:.1f} m below the cameras: it may be a table top rather than the floor"
        )
        return floor.position, floor.weight, text
    below = heights < floor.position - BELOW_FLOOR
    if areas[below].sum() >= SURFACE_BELOW * areas.sum():
        depth = floor.position - float(np.quantile(heights[below], 0.1))
        text = f"surface reaches {depth:.1f} m below the floor at z = 0: that may be a table top or an upper floor"
        return floor.position, floor.weight, text
    return floor.position, floor.weight, ""


def _rotation_to_z(up: Array) -> Array:
    """(3, 3) the smallest rotation that takes `up` to z; about x when it points straight down."""
    cross, cos = np.cross(up, [0.0, 0.0, 1.0]), float(up[2])
    if cos < -1 + 1e-9:
        return np.diag([1.0, -1.0, -1.0])
    skew = np.array([[0, -cross[2], cross[1]], [cross[2], 0, -cross[0]], [-cross[1], cross[0], 0]])
    return np.asarray(np.eye(3) + skew + skew @ skew / (1 + cos))


def _binned_directions(normals: Array, areas: Array) -> tuple[Array, Array]:
    """Mean directions and summed areas of normals that fall into the same cell of a 0.08 grid."""
    known = np.linalg.norm(normals, axis=1) > 0.5
    _, index = np.unique(np.round(normals[known] / 0.08).astype(np.int64), axis=0, return_inverse=True)
    index = index.ravel()
    weights = np.asarray(np.bincount(index, areas[known]), dtype=np.float64)
    sums = np.stack([np.bincount(index, areas[known] * normals[known, axis]) for axis in range(3)], axis=1)
    kept = weights > 0
    return sums[kept] / np.linalg.norm(sums[kept], axis=1, keepdims=True), weights[kept]


def _sphere_points(count: int) -> Array:
    """(count, 3) evenly spread unit vectors, a Fibonacci spiral."""
    z = 1 - (2 * np.arange(count) + 1) / count
    angle = np.arange(count) * np.pi * (3 - np.sqrt(5.0))
    radius = np.sqrt(1 - z**2)
    return np.stack([radius * np.cos(angle), radius * np.sin(angle), z], axis=1)


def _unit(vector: Array) -> Array:
    """The vector at length 1; raises ValueError when it is zero or not finite."""
    length = float(np.linalg.norm(vector))
    if vector.shape != (3,) or not np.isfinite(length) or length < 1e-9:
        raise ValueError(f"up must be three finite numbers that are not all 0, got {vector.tolist()}")
    return vector / length
