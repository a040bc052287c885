"""The metres in one unit by the heights of level surfaces above the floor: seats, tables and counters are made at a few."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mapping.gravity import level
from mapping.histogram_planes import weighted_peaks
from mapping.mesh.mesh import Mesh

Array = NDArray[np.float64]
STANDARD = ((0.45, 0.04, 0.25), (0.735, 0.025, 0.45), (0.91, 0.03, 0.30))
"""Metres above the floor, their standard deviation, and how frequent they are: of seats and low tables, of tables and desks, and
of kitchen counters. EN 1729, DIN 4551 and EN 527 have 0.43 to 0.46 m and 0.72 to 0.76 m for adults, kitchens 0.86 to 0.96 m."""
OTHERWISE = 0.2
"""Share of level surfaces that are at any other height."""
LOWEST, HIGHEST = 0.25, 1.6
"""Metres, by the scale that is to be corrected, between which level surfaces are furniture."""
LEAST_AREA, LEAST_SHARE, MOST_SURFACES = 0.2, 0.15, 4
"""Square metres of level surface at one height, its share of the largest, and how many of the largest are compared."""
LEAST_FLOOR = 0.15
"""Square metres of floor above which heights are measured."""
LEVEL = float(np.cos(np.deg2rad(15.0)))
GRID = np.linspace(-0.7, 0.7, 281)
"""Logarithms of the corrections that are weighed."""


@dataclass(frozen=True)
class ScaleCorrection:
    """The factor by which a scale is to be multiplied, and the relative standard deviation that it then has."""

    factor: float
    deviation: float


def level_heights(mesh: Mesh, poses: Array, floor_faces: NDArray[np.bool_] | None) -> list[float]:
    """The heights above the floor, in metres, of the largest level surfaces that cameras (N, 4, 4) saw from above.

    Empty where surfaces do not show what is level, or where the floor may be none.
    """
    if not len(mesh.faces):
        return []
    found = level(mesh, poses, floor_faces=floor_faces)
    if found.up.source == "cameras" or found.floor_area < LEAST_FLOOR or found.warnings:
        return []
    moved = mesh.transformed(found.T_world_input)
    heights, areas = moved.vertices[moved.faces].mean(axis=1)[:, 2], moved.face_areas()
    kept = (moved.face_normals()[:, 2] > LEVEL) & (heights > LOWEST) & (heights < HIGHEST)
    peaks = weighted_peaks(heights[kept], areas[kept], bin_size=0.02, separation=0.1, min_weight=LEAST_AREA)
    largest = sorted(peaks, key=lambda peak: -peak.weight)[:MOST_SURFACES]
    return [peak.position for peak in largest if peak.weight >= LEAST_SHARE * largest[0].weight]


def corrected_by_heights(heights: Sequence[float], deviation: float) -> ScaleCorrection | None:
    """What heights in metres, by a scale of a relative standard deviation, say of that scale; None without heights.

    The posterior mean and deviation of the logarithm: the scale is normal there, and each surface is of a standard height or, at
    a share of `OTHERWISE`, of any.
    """
    if not len(heights):
        return None
    log = -0.5 * (GRID / deviation) ** 2
    for height in heights:
        at = np.log(height) + GRID
        standard = sum(
            share * np.exp(-0.5 * ((at - np.log(m)) / (d / m)) ** 2) / (d / m * np.sqrt(2 * np.pi))
            for m, d, share in STANDARD
        )
        log = log + np.log((1 - OTHERWISE) * standard + OTHERWISE / np.log(HIGHEST / LOWEST))
    weights = np.exp(log - log.max())
    weights /= weights.sum()
    mean = float(weights @ GRID)
    return ScaleCorrection(float(np.exp(mean)), float(np.sqrt(weights @ (GRID - mean) ** 2)))
