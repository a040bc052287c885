"""Meshes of a volume that goes on changing: each costs what has changed since the one before."""

from __future__ import annotations

from mapping.mesh.mesh import Mesh
from mapping.tsdf.meshing import Mesher
from mapping.tsdf.volume import TSDFVolume


class MeshUpdater:
    """Makes the mesh of a volume again after frames were fused, taken out or merged; for viewers and other loops.

    Each mesh equals that of `TSDFVolume.extract_mesh` to the last bit. Only the blocks that changed since the mesh before and
    those next to them are made anew; the others are copied. From mesh to mesh 2.1 to 2.5 kB are kept for each block that the
    surface passes (50 to 60 vertices at voxels of 5 to 1 cm); all but 0.5 kB of it are arrays of the last mesh, no copies. A
    volume may have several updaters, and one that is not asked costs nothing.
    """

    def __init__(self, volume: TSDFVolume) -> None:
        self._mesher = Mesher(volume.config, volume._store)

    @property
    def recomputed(self) -> int:
        """How many blocks were made anew for the last mesh; 0 when there was none yet or nothing had changed."""
        return self._mesher.recomputed

    @property
    def memory_bytes(self) -> int:
        """Bytes that are kept from the last mesh for the next one."""
        return self._mesher.nbytes

    def extract_mesh(self, *, min_weight: float = 1.0) -> Mesh:
        """The surface between voxels of at least `min_weight`, with colour, label and confidence per vertex.

        Everything is made anew when `min_weight` is another than last time. The arrays that have a value for each vertex are
        read-only: the next mesh is made from them.
        """
        mesh = self._mesher.mesh(min_weight)
        for array in (mesh.vertices, *mesh.vertex_fields().values()):
            array.setflags(write=False)
        return mesh
