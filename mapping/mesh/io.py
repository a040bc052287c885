"""Mesh files by suffix: `read_mesh` for .ply, `write_mesh` for .ply, .obj and .glb.

PLY keeps everything and is the format of run folders; OBJ and GLB are for other programs. Files are written under a
temporary name and then renamed, so a reader never sees a partial one.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

from mapping.mesh.glb import GlbNode as GlbNode
from mapping.mesh.glb import GlbTexture as GlbTexture
from mapping.mesh.glb import write_glb as write_glb
from mapping.mesh.mesh import Mesh
from mapping.mesh.mesh import MeshFormatError as MeshFormatError
from mapping.mesh.obj import write_obj as write_obj
from mapping.mesh.ply import ObjectProperty, read_ply
from mapping.mesh.ply import write_ply as write_ply

WRITERS: dict[str, Callable[[Mesh, Path], None]] = {
    ".ply": write_ply,
    ".obj": lambda mesh, path: write_obj(mesh, path),
    ".glb": lambda mesh, path: write_glb(path, [GlbNode("mesh", mesh)]),
}


def read_mesh(path: str | os.PathLike[str]) -> Mesh:
    """The mesh in a .ply file, in the file's own axes.

    Raises MeshFormatError that names file, position and what was expected; FileNotFoundError when there is no such file.
    """
    path = Path(path)
    if path.suffix.lower() != ".ply":
        raise MeshFormatError(f"{path}: meshes are read from .ply, got {path.suffix or 'no suffix'!r}")
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no such mesh file")
    return read_ply(path)


def write_mesh(mesh: Mesh, path: str | os.PathLike[str], *, object_property: ObjectProperty = "object") -> None:
    """Write the mesh in the format of the suffix; PLY keeps every field, OBJ and GLB the shape and the colours.

    `object_property` names the column of `mesh.objects` in PLY: `object` in maps, `instance` in ground truth.
    Raises MeshFormatError for an unknown suffix and OSError when the file cannot be written.
    """
    path = Path(path)
    if path.suffix.lower() not in WRITERS:
        raise MeshFormatError(f"{path}: meshes are written to {', '.join(WRITERS)}, got {path.suffix or 'no suffix'!r}")
    if path.suffix.lower() == ".ply":
        write_ply(mesh, path, object_property=object_property)
    else:
        WRITERS[path.suffix.lower()](mesh, path)
