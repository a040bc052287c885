"""The coarse map by which a world is levelled."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from m2h import Predictions
from mapping.camera import Intrinsics
from scenegraph.labels import LabelSpace

if TYPE_CHECKING:
    from mapping.mesh.mesh import Mesh

Array = NDArray[np.float64]
FRAMES = 60
VOXEL_SIZE = 0.06
FLOORS = ("floor", "floor_mat")


def coarse_mesh(seen: Iterable[tuple[Predictions, Intrinsics, Array]], *, max_depth: float) -> Mesh:
    """The surface that predictions with depth show, of cameras with poses (4, 4) `T_world_camera`, with their labels."""
    from mapping import TSDFConfig, TSDFVolume

    volume = TSDFVolume(TSDFConfig(voxel_size=VOXEL_SIZE, max_depth=max_depth, carve=False))
    for predictions, camera, T_world_camera in seen:
        assert predictions.depth is not None
        volume.integrate(predictions.depth, camera, T_world_camera, labels=predictions.labels)
    return volume.extract_mesh(min_weight=1.0)


def floor_ids(space: LabelSpace) -> list[int]:
    """The ids of the classes that people walk on."""
    return [c.id for c in space.classes if c.name in FLOORS]


def faces_of_floor(mesh: Mesh, space: LabelSpace | None) -> NDArray[np.bool_] | None:
    """(F,) the faces that are labelled as floor; None without labels."""
    if mesh.labels is None or space is None:
        return None
    return np.asarray(np.isin(mesh.labels[mesh.faces], floor_ids(space)).all(axis=1))
