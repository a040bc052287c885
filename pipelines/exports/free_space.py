"""The free space of a map as a grid of cubes in one npz file."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from mapping.files import atomic_path
from pipelines.config import load_config
from pipelines.exports.export_input import ExportError, FinishedRun
from pipelines.settings import PipelineConfig
from pipelines.workspace import VOLUME_FILE, Workspace

FORMAT, VERSION = "m2h-free-space", 1


def write_free_space(run: FinishedRun, path: Path) -> None:
    """State of every cell and its distance to the nearest surface; docs/formats.md lists the arrays.

    Raises ExportError where the run has no volume.
    """
    from mapping.distance_field import free_space_from_volume
    from mapping.tsdf.volume import TSDFVolume

    workspace = Workspace.open(run.folder)
    volume = workspace.path(VOLUME_FILE)
    if not volume.is_file():
        raise ExportError(f"{volume}: is missing, and --to free_space needs it; run the run again")
    config = load_config(PipelineConfig, workspace.path("config.yaml"), ())
    cameras = np.array([agent.position for _, agent in run.graph.nodes("agent")]).reshape(-1, 3)
    space = free_space_from_volume(
        TSDFVolume.load(volume), run.mesh, cell_size=config.graph.places.cell_size, include=cameras
    )
    with atomic_path(path) as temporary, temporary.open("wb") as file:
        np.savez_compressed(
            file,
            format=np.array(FORMAT),
            version=np.array(VERSION),
            state=space.state,
            distance=space.distance,
            origin=space.origin,
            cell_size=np.array(space.cell_size),
            T_input_world=np.asarray(run.graph.T_input_world),
        )
