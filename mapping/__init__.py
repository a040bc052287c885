"""Cameras, rigid transforms, sparse TSDF fusion, meshes and their files. Knows nothing of networks."""

from mapping.camera import Intrinsics as Intrinsics
from mapping.config import TSDFConfig as TSDFConfig
from mapping.mesh.mesh import Mesh as Mesh
from mapping.tsdf import TSDFVolume as TSDFVolume
