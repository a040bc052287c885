"""A map as a nerfstudio folder: the canonical sequence with the poses of the levelled world, and the surface as points."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from mapping.mesh.io import write_mesh
from mapping.mesh.mesh import Mesh
from pipelines.exports.export_input import ExportError, FinishedRun
from pipelines.exports.reopened_recording import open_recording
from pipelines.exports.surface_points import seen_points
from pipelines.sequences.ingest import CanonicalWriter

POINTS_FILE = "sparse_pc.ply"


def write_nerfstudio(run: FinishedRun, folder: Path) -> None:
    """`transforms.json`, `images/` and what else the recording has, and `sparse_pc.ply`, into an empty folder.

    Raises ExportError where the recording is missing or none of its frames can be read.
    """
    recording = open_recording(run)
    if not recording.cameras:
        raise ExportError(f"{recording.sequence.path}: none of its frames has a pose")
    first, _ = next(iter(recording.cameras.values()))
    seen = seen_points(run.mesh, recording.cameras)
    write_mesh(Mesh(seen.points, np.zeros((0, 3), np.int32), colors=seen.colors), folder / POINTS_FILE)
    writer = CanonicalWriter(
        folder,
        first,
        world_up=(0.0, 0.0, 1.0),
        label_space=recording.sequence.label_space,
        extra={
            "ply_file_path": POINTS_FILE,
            "source": {"name": recording.sequence.name, "format": recording.sequence.format},
            "T_input_world": np.asarray(run.graph.T_input_world).tolist(),
            **({} if recording.is_metric else {"is_metric": False}),
            **recording.evidence.header(),
        },
    )
    with writer:
        for position, frame in recording.frames():
            writer.add(frame, encoded=recording.encoded(position, frame))
