"""What of a room was observed: a height without a ceiling in view, or an area without a floor, is no measurement."""

from __future__ import annotations

import numpy as np
import shapely
from numpy.typing import NDArray

from scenegraph.faces import Faces
from scenegraph.rooms.storeys import UP_COS

Array = NDArray[np.float64]

CELL = 0.2
"""Edge in metres of the cells in which a room's floor and ceiling are counted: larger than faces are."""
NEAR = 0.25
"""Metres around the height of a ceiling within which surface belongs to it."""


def observed_shares(polygon: Array, z_range: tuple[float, float], faces: Faces) -> dict[str, float]:
    """The shares of a room's polygon (N, 2) over which level surface was observed, on the floor or on furniture
    (`floor_seen`), and under which its ceiling was (`ceiling_seen`)."""
    shape = shapely.Polygon(polygon)
    low, high = np.min(polygon, axis=0), np.max(polygon, axis=0)
    heights, normals = faces.centers[:, 2], faces.normals[:, 2]
    inside = ((faces.centers[:, :2] >= low) & (faces.centers[:, :2] <= high)).all(axis=1)
    chosen = np.flatnonzero(inside & (heights > z_range[0] - NEAR) & (heights < z_range[1] + NEAR))
    chosen = chosen[shapely.contains_xy(shape, faces.centers[chosen, :2])]
    under = heights[chosen] < z_range[1] - NEAR
    up, down = chosen[under & (normals[chosen] > UP_COS)], chosen[~under & (normals[chosen] < -UP_COS)]
    area = max(float(shape.area), CELL**2)
    return {
        "floor_seen": round(min(_covered(faces, up) / area, 1.0), 3),
        "ceiling_seen": round(min(_covered(faces, down) / area, 1.0), 3),
    }


def _covered(faces: Faces, chosen: NDArray[np.int64]) -> float:
    """Square metres of the cells that faces lie in; of faces that are larger than a cell their own."""
    large = faces.areas[chosen] > CELL**2
    cells = np.floor(faces.centers[chosen[~large], :2] / CELL).astype(np.int64)
    return len(np.unique(cells, axis=0)) * CELL**2 + float(faces.areas[chosen[large]].sum())
