"""One distance for each person, for depth that is not measured.

What moves between frames is no point that images can prove: networks that match neighbouring frames give a person several depths,
most of them too great, of which each would become a person of its own.
"""

from __future__ import annotations

from dataclasses import replace

import cv2
import numpy as np
from numpy.typing import NDArray

from scenegraph.tracks.detection import LabelledView

Mask = NDArray[np.bool_]

GAP = 0.01
"""Share of the image's width over which pixels of one thing are apart."""
NEAR = 0.25
"""Share of the pixels of a thing that are nearer than it is taken to be.

In three rendered worlds depth of people is right within 20 % for 6 of 10 by this, for 5.5 by the median (script not kept)."""


def at_one_distance(view: LabelledView, moving: Mask) -> LabelledView:
    """The view with one horizontal distance for each connected part of the moving pixels (H, W): people who overlap in the image
    are one."""
    rows, columns = np.nonzero(moving)
    if not len(rows):
        return view
    rays = view.intrinsics.pixel_rays(np.stack([columns, rows], axis=1)) @ view.T_world_camera[:3, :3].T
    across = np.maximum(np.linalg.norm(rays[:, :2], axis=1), 1e-6)
    depth = view.depth.copy()
    distance = depth[rows, columns] * across
    part = _parts(moving)[rows, columns]
    for number in range(1, int(part.max()) + 1):
        chosen = part == number
        depth[rows[chosen], columns[chosen]] = np.quantile(distance[chosen], NEAR) / across[chosen]
    return replace(view, depth=depth)


def _parts(moving: Mask) -> NDArray[np.int32]:
    """The number (H, W) of each part of a mask, of pixels that touch or nearly do; 0 outside."""
    side = 2 * max(1, round(GAP * moving.shape[1] / 2)) + 1
    closed = cv2.morphologyEx(moving.astype(np.uint8), cv2.MORPH_CLOSE, np.ones((side, side), np.uint8))
    return np.where(moving, cv2.connectedComponents(closed, connectivity=8)[1], 0)
