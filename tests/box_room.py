"""A room of 4 x 3 x 2.5 m with a bed and a cabinet, rendered exactly: the smallest complete sequence."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
from helpers import box_mesh
from numpy.typing import NDArray

from m2h import Predictions
from mapping.camera import Intrinsics
from mapping.mesh.mesh import Mesh, concatenate
from mapping.mesh.raycast import MeshCaster
from mapping.se3 import look_at
from pipelines.frame import Frame
from pipelines.sequences.ingest import CanonicalWriter
from scenegraph.labels import nyu40

CAMERA = Intrinsics(90.0, 90.0, 79.5, 59.5, 160, 120)
FURNITURE = {
    "bed": ((2.0, 1.4, 0.5), (-0.8, 0.6, 0.25)),
    "cabinet": ((0.5, 1.0, 1.8), (1.65, -0.8, 0.9)),
}
ROOM_SIZE = (4.0, 3.0, 2.5)
Block = tuple[tuple[float, float, float], tuple[float, float, float]]


def room_mesh(furniture: Mapping[str, Block] = FURNITURE) -> Mesh:
    """The room from inside and its furniture (size and centre by name), labelled, with instance numbers."""
    space = nyu40()
    room = box_mesh(ROOM_SIZE, (0, 0, ROOM_SIZE[2] / 2), inward=True)
    names = ["floor", "floor", "ceiling", "ceiling", *["wall"] * 8]
    parts = [(room.submesh([i]), space.id_of(name), 0) for i, name in enumerate(names)]
    for number, (name, size_and_center) in enumerate(furniture.items(), 1):
        parts.append((box_mesh(*size_and_center), space.id_of(name), number))
    meshes = []
    for mesh, label, number in parts:
        count = len(mesh.vertices)
        meshes.append(
            Mesh(
                mesh.vertices,
                mesh.faces,
                np.full((count, 3), 60 + 4 * label, np.uint8),
                np.full(count, label, np.uint16),
                np.full(count, number, np.uint32),
            )
        )
    return concatenate(meshes)


def write_box_room(
    folder: Path,
    frames: int = 30,
    *,
    furniture: Mapping[str, Block] = FURNITURE,
    T_input_room: NDArray[np.float64] | None = None,
) -> None:
    """Write the sequence: the camera rotates about the centre of the room and looks a little down, then a little up.

    `T_input_room` (4, 4) is where the room lies in the world of the poses.
    """
    T_input_room = np.eye(4) if T_input_room is None else T_input_room
    mesh = room_mesh(furniture)
    caster = MeshCaster(mesh)
    with CanonicalWriter(folder, CAMERA, world_up=(0.0, 0.0, 1.0), label_space=nyu40()) as writer:
        for index in range(frames):
            angle = 4 * np.pi * index / frames
            pitch = -0.45 if index < frames / 2 else 0.15
            eye = np.array([-0.1 + 0.4 * np.cos(angle), -0.9 + 0.3 * np.sin(angle), 1.5])
            target = eye + np.array([np.cos(angle), np.sin(angle), pitch])
            T_world_camera = look_at(eye, target)
            depth, face = caster.cast(CAMERA, T_world_camera)
            corner = mesh.faces[face, 0]
            recorded = Predictions(
                depth=depth,
                labels=mesh.labels[corner].astype(np.uint8),
                instances=mesh.objects[corner].astype(np.uint16),
            )
            pose = T_input_room @ T_world_camera
            writer.add(Frame(index, index / 10, mesh.colors[corner], CAMERA, pose, recorded))
