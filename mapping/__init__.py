"""Cameras, rigid transforms, sparse TSDF fusion, meshes and their files. Knows nothing of networks."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mapping.camera import Intrinsics as Intrinsics
    from mapping.mesh.mesh import Mesh as Mesh
    from mapping.tsdf.tsdf_config import TSDFConfig as TSDFConfig
    from mapping.tsdf.volume import TSDFVolume as TSDFVolume

_MODULES = {
    "Intrinsics": "mapping.camera",
    "Mesh": "mapping.mesh.mesh",
    "TSDFConfig": "mapping.tsdf.tsdf_config",
    "TSDFVolume": "mapping.tsdf.volume",
}


def __getattr__(name: str) -> Any:
    """Import what is asked for when it is asked for: who reads a scene graph needs none of it."""
    if name not in _MODULES:
        raise AttributeError(f"module 'mapping' has no attribute {name!r}")
    return getattr(importlib.import_module(_MODULES[name]), name)
