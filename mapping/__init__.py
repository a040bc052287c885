"""Cameras, rigid transforms, sparse TSDF fusion, meshes and their files. Knows nothing of networks."""

from mapping.camera import Intrinsics as Intrinsics
from mapping.mesh.mesh import Mesh as Mesh
from mapping.tsdf.tsdf_config import TSDFConfig as TSDFConfig
from mapping.tsdf.volume import TSDFVolume as TSDFVolume
