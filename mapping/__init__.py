"""Cameras, rigid transforms, sparse TSDF fusion, meshes and their files. Knows nothing of networks."""

from mapping.camera import Intrinsics as Intrinsics
from mapping.mesh import Mesh as Mesh
