"""Boxes fitted to the pixels of an object, which are more exact than voxels."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from mapping.se3 import yaw_rotation
from scenegraph.boxes import smallest_rectangle_yaw
from scenegraph.nodes import OrientedBox
from scenegraph.objects.samples import PlacedSamples

Array = NDArray[np.float64]
Indices = NDArray[np.int64]

LEAST_SAMPLES = 60
"""Pixels from which a box is fitted to them."""
SHARP = 0.012
"""Metres that a pixel may cover to count, where there are enough of those."""
YAW_SLACK = 1.06
"""How much larger than the smallest footprint one along the sides of the given box may be."""


def sampled_box(placed: PlacedSamples, vertices: Indices, points: Array, box: OrientedBox, trim: float) -> OrientedBox:
    """The box of an object's vertices (N,) at points (N, 3), its sides placed where pixels show them.

    A side moves by no more than the reach of the samples: a side farther off was not in view of the frames that were sampled.
    A share `trim` of the pixels at either end of an axis may be wrong. The box stays as it is where there are few pixels.
    """
    chosen = placed.of_vertices(vertices)[0]
    spans = placed.samples.spans[chosen]
    if (spans < SHARP).sum() >= LEAST_SAMPLES:
        chosen = chosen[spans < SHARP]
    if len(chosen) < LEAST_SAMPLES:
        return box
    pixels = placed.samples.points[chosen].astype(np.float64)
    along = _extent(pixels @ box.rotation, trim)
    rotation = yaw_rotation(smallest_rectangle_yaw(pixels[:, :2]))
    smallest = _extent(pixels @ rotation, trim)
    known = _extent(points @ rotation, trim)
    # Pixels of few frames may show a corner of the whole, whose smallest rectangle is turned.
    is_turned = _footprint(along) > YAW_SLACK * _footprint(smallest) and _footprint(known) < np.prod(box.size[:2])
    if not is_turned:
        rotation, smallest = box.rotation, along
        known = box.center @ rotation - box.size / 2, box.center @ rotation + box.size / 2
    low, high = (np.where(np.abs(a - b) <= placed.reach, a, b) for a, b in zip(smallest, known, strict=True))
    if (high <= low).any():
        return box
    return OrientedBox(rotation @ ((low + high) / 2), high - low, rotation)


def _footprint(extent: tuple[Array, Array]) -> float:
    return float(np.prod((extent[1] - extent[0])[:2]))


def _extent(local: Array, trim: float) -> tuple[Array, Array]:
    """Lowest and highest coordinates (3,) of points (N, 3) without a share `trim` at either end of each axis."""
    return np.quantile(local, trim, axis=0), np.quantile(local, 1 - trim, axis=0)
