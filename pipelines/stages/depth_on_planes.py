"""Depth of floors, ceilings, walls and tables on the planes that a run found."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from m2h import Predictions
from mapping.camera import Intrinsics
from mapping.depth.depth_planes import Surface, SurfacePlane, SurfaceView, placed
from mapping.depth.depth_weights import normals_from_depth
from scenegraph.labels import LabelSpace

NAMES = {
    "floor": Surface.FLOOR,
    "floor_mat": Surface.FLOOR,
    "rug": Surface.FLOOR,
    "carpet": Surface.FLOOR,
    "ceiling": Surface.CEILING,
    "wall": Surface.WALL,
    "table": Surface.TABLE,
    "desk": Surface.TABLE,
    "counter": Surface.TABLE,
    "door": Surface.WALL,
}
"""The surface that each class is of."""
PLACED_CONFIDENCE = 0.5
"""Weight of fusion that depth on a plane has at least: five of six such pixels are within 5 % of the truth."""


def kinds_of(space: LabelSpace) -> NDArray[np.int64]:
    """The `Surface` of each label id."""
    kinds = np.zeros(max(space.by_id) + 1, np.int64)
    for each in space.classes:
        kinds[each.id] = NAMES.get(each.name, Surface.OTHER)
    return kinds


def normals_of(seen: Predictions, camera: Intrinsics) -> NDArray[np.floating]:
    """Normals (H, W, 3) in camera axes, as predicted or of the depth."""
    if seen.normals is not None:
        return seen.normals
    assert seen.depth is not None
    return normals_from_depth(seen.depth, camera)


def view_of(
    seen: Predictions, camera: Intrinsics, T_world_camera: NDArray[np.float64], kinds: NDArray[np.int64]
) -> SurfaceView:
    """Depth and labels of a frame for comparison with planes of the levelled world, in which `T_world_camera` (4, 4) is."""
    assert seen.depth is not None
    assert seen.labels is not None
    R = T_world_camera[:3, :3]
    return SurfaceView(
        seen.depth, normals_of(seen, camera) @ R.T, kinds[seen.labels], camera.rays() @ R.T, T_world_camera[:3, 3]
    )


def on_planes(
    seen: Predictions,
    camera: Intrinsics,
    T_world_camera: NDArray[np.float64],
    planes: Sequence[SurfacePlane],
    space: LabelSpace,
) -> Predictions:
    """The predictions with depth of plane surfaces on their planes, in the levelled world of `T_world_camera`."""
    if not planes or seen.labels is None:
        return seen
    depth, changed = placed(view_of(seen, camera, T_world_camera, kinds_of(space)), planes)
    confidence = seen.confidence
    if confidence is not None:
        confidence = np.where(changed, np.maximum(confidence, PLACED_CONFIDENCE), confidence).astype(np.float32)
    return replace(seen, depth=depth, confidence=confidence)
