"""Storeys from the heights of floors and ceilings."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from mapping.histogram_planes import Peak, weighted_peaks
from scenegraph.faces import Faces
from scenegraph.graph_config import StoreyConfig
from scenegraph.labels import LabelSpace

Array = NDArray[np.float64]

FLOOR_NAMES = frozenset({"floor", "floor_mat", "rug", "carpet"})
UP_COS = np.cos(np.deg2rad(15.0))
RAISED, HEADROOM = 0.3, 1.8
"""Metres above the lowest floor between which there is none: steps are lower, and people walk upright below an upper storey."""
LOW, HIGH = HEADROOM, 6.0
"""Heights in metres of a storey, or of a ceiling above its floor, beyond which the map's unit or its floor may be wrong."""
CEILING_SHARE = 0.5
"""Share of the storey's floor that surface at one height covers as its ceiling would."""


def find_storeys(
    faces: Faces, label_space: LabelSpace, camera_positions: ArrayLike, config: StoreyConfig
) -> list[tuple[float, float]]:
    """(floor z, ceiling z) of each storey, lowest first; always at least one.

    Floors are large level surfaces, labelled as floor where there are labels, at least a storey apart, with cameras (N, 3) over
    them. Where the height of the lowest one is known, tables that hide it are none. A ceiling is the largest downward-facing
    surface between two floors; without one a storey ends where its surfaces do.
    """
    heights, normals, areas = faces.centers[:, 2], faces.normals, faces.areas
    cameras = np.asarray(camera_positions, dtype=np.float64).reshape(-1, 3)
    if not len(heights):
        floor = float(np.median(cameras[:, 2])) - 1.5 if len(cameras) else 0.0
        return [(floor, floor + config.default_height)]
    level = normals[:, 2] > UP_COS
    labelled = level & faces.named(label_space, FLOOR_NAMES)
    if areas[labelled].sum() >= config.min_floor_area:
        level = labelled
    floors = _floors(heights[level], areas[level], cameras[:, 2], config)
    if not floors:
        floors = [float(np.quantile(heights, 0.005))]
    if config.ground is not None and is_raised(floors[0], config.ground):
        floors = [config.ground, *(floor for floor in floors[1:] if floor - config.ground >= config.min_height)]
    down = normals[:, 2] < -UP_COS
    return [
        (floor, _ceiling(floor, above, heights, areas, down, config))
        for floor, above in zip(floors, [*floors[1:], np.inf], strict=True)
    ]


def is_raised(heights: ArrayLike, ground: float = 0.0) -> NDArray[np.bool_]:
    """Where (...) heights are too high above the lowest floor for that and too low for an upper one: nothing there is floor."""
    above = np.asarray(heights) - ground
    return np.asarray((above > RAISED) & (above < HEADROOM))


def doubtful_storeys(faces: Faces, storeys: list[tuple[float, float]]) -> list[str]:
    """A sentence for each storey that is lower or higher than buildings have them, which the unit of a map may explain."""
    heights, areas = faces.centers[:, 2], faces.areas
    down, level = faces.normals[:, 2] < -UP_COS, faces.normals[:, 2] > UP_COS
    found = []
    for floor, ceiling in storeys:
        ground = areas[level & (np.abs(heights - floor) < 0.1)].sum()
        below = down & (heights > floor + 0.1) & (heights < floor + LOW)
        peaks = weighted_peaks(heights[below], areas[below], bin_size=0.02, separation=0.3, min_weight=0.0)
        low = [peak for peak in peaks if ground > 0 and peak.weight >= CEILING_SHARE * ground]
        height = max(low, key=lambda peak: peak.weight).position - floor if low else ceiling - floor
        if not LOW <= height <= HIGH:
            found.append(
                f"the ceiling of the storey at {floor:.1f} m is {height:.1f} m above its floor, expected {LOW:g} to {HIGH:g} m: "
                "check the unit of the poses against a known length (--scale), and which surface is the floor"
            )
    return found


def storey_of(heights: ArrayLike, storeys: list[tuple[float, float]]) -> NDArray[np.int64]:
    """Index (...) of the storey of each height (...): the highest whose floor lies at or below it, the lowest for heights
    below all."""
    floors = np.array([floor for floor, _ in storeys])
    return np.asarray(np.clip(np.searchsorted(floors, np.asarray(heights) + 0.15, side="right") - 1, 0, None))


def _floors(heights: Array, areas: Array, camera_heights: Array, config: StoreyConfig) -> list[float]:
    peaks = weighted_peaks(heights, areas, bin_size=0.02, separation=0.3, min_weight=config.min_floor_area)
    if len(peaks) > 0:
        least = config.min_floor_share * max(peak.weight for peak in peaks)
        peaks = [peak for peak in peaks if peak.weight >= least]
    floors: list[Peak] = []
    for peak in peaks:  # lowest first: a table is not a storey above the floor that it stands on
        above = camera_heights - peak.position
        walked = not len(camera_heights) or bool(((above > 0.3) & (above < 2.5)).any())
        if walked and (not floors or peak.position - floors[-1].position >= config.min_height):
            floors.append(peak)
    return [peak.position for peak in floors]


def _ceiling(
    floor: float, next_floor: float, heights: Array, areas: Array, down: NDArray[np.bool_], config: StoreyConfig
) -> float:
    within = (heights > floor + config.min_height - 0.2) & (heights < next_floor)
    peaks = weighted_peaks(heights[within & down], areas[within & down], bin_size=0.02, separation=0.3, min_weight=1.0)
    if peaks:
        return max(peaks, key=lambda peak: peak.weight).position
    if np.isfinite(next_floor):
        return next_floor - 0.2
    top = float(np.quantile(heights[heights >= floor], 0.995)) if (heights >= floor).any() else floor
    return max(top, floor + config.default_height)
