"""What a map has measured of its rooms, and what it only assumes: heights without a ceiling, areas without a floor."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import shapely
from numpy.typing import NDArray

from mapping.mesh.mesh import Mesh
from scenegraph.graph import SceneGraph

LEVEL_COS = np.cos(np.deg2rad(20.0))
CEILING_WINDOW = 0.08
"""Metres around a storey's ceiling within which surface that faces down belongs to it."""
CEILING_AREA = 0.5
"""Least square metres of it."""
REACH = 1.3
"""Metres above a floor up to which surface that faces up stands on it: beds and tables hide the floor, which is below them."""
CELL = 0.1
FLOOR_SHARE = 0.4
"""Least share of a room's cells over which there is such surface."""


@dataclass(frozen=True)
class Measured:
    """By key: the ceiling of each storey (z), the height and the area of each room; None where it was not measured."""

    ceilings: dict[str, float | None]
    heights: dict[str, float | None]
    areas: dict[str, float | None]


def measured_of(graph: SceneGraph, mesh: Mesh) -> Measured:
    """What the surface of the map shows of the heights and areas in its graph."""
    vectors = mesh.face_vectors()
    double = np.linalg.norm(vectors, axis=1)
    upright = np.divide(vectors[:, 2], double, out=np.zeros_like(double), where=double > 0)
    centers = mesh.vertices[mesh.faces].mean(axis=1) if len(mesh.faces) else np.zeros((0, 3))
    down, up = upright < -LEVEL_COS, upright > LEVEL_COS
    areas = double / 2

    def ceiling_area(z: float, where: NDArray[np.bool_]) -> float:
        return float(areas[where & down & (np.abs(centers[:, 2] - z) < CEILING_WINDOW)].sum())

    everywhere = np.ones(len(centers), dtype=bool)
    ceilings = {
        key: storey.z_range[1] if ceiling_area(storey.z_range[1], everywhere) >= CEILING_AREA else None
        for key, storey in graph.nodes("storey")
    }
    heights: dict[str, float | None] = {}
    room_areas: dict[str, float | None] = {}
    for key, room in graph.nodes("room"):
        outline = shapely.Polygon(room.polygon)
        low, high = room.z_range
        inside = np.zeros(len(centers), dtype=bool)
        near = ((centers[:, :2] > room.polygon.min(axis=0)) & (centers[:, :2] < room.polygon.max(axis=0))).all(axis=1)
        inside[near] = shapely.contains_xy(outline, *centers[near, :2].T)
        heights[key] = high - low if ceiling_area(high, inside) >= CEILING_AREA else None
        stands = inside & up & (centers[:, 2] > low - 0.2) & (centers[:, 2] < low + REACH)
        cells = np.unique(np.floor(centers[stands, :2] / CELL).astype(np.int64), axis=0)
        room_areas[key] = room.area if len(cells) * CELL**2 >= FLOOR_SHARE * room.area else None
    return Measured(ceilings, heights, room_areas)
