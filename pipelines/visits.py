"""Finished runs as visits to one place: their maps, where each lies in the first one's world, and what changed between them."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np
from numpy.typing import NDArray

from mapping.se3 import inverse
from pipelines.workspace import VOLUME_FILE, Workspace, load_graph

if TYPE_CHECKING:
    from mapping.registration import Registration
    from scenegraph.diff import GraphDiff
    from scenegraph.visits.diff_config import DiffConfig
    from scenegraph.visits.space import VisitMap

Register = Literal["auto", "poses"]
"""How runs are brought to one world: by their poses and, where those do not fit, by their surfaces; or by their poses alone."""


def load_visit(run_folder: Path) -> VisitMap:
    """The map of a run; without its mesh and volume where the folder no longer has both."""
    from mapping.mesh.io import read_mesh
    from mapping.tsdf.volume import TSDFVolume
    from scenegraph.visits.space import VisitMap

    graph = load_graph(run_folder)
    mesh, volume = (Workspace.open(run_folder).path(name) for name in ("mesh.ply", VOLUME_FILE))
    if not (mesh.is_file() and volume.is_file()):
        return VisitMap(graph)
    return VisitMap(graph, read_mesh(mesh), TSDFVolume.load(volume))


def place_by_poses(a: VisitMap, b: VisitMap) -> NDArray[np.float64]:
    """(4, 4) from b's levelled world to a's where both recordings were made in one world."""
    return np.asarray(inverse(a.graph.T_input_world) @ b.graph.T_input_world)


def place(a: VisitMap, b: VisitMap) -> Registration:
    """Where visit b lies in visit a, both with a mesh; raises RegistrationError."""
    from mapping.registration import register

    assert a.mesh is not None
    assert b.mesh is not None
    floors = [[node.z_range[0] for _, node in visit.graph.nodes("storey")] or [0.0] for visit in (a, b)]
    return register(a.mesh, b.mesh, place_by_poses(a, b), floors=(floors[0], floors[1]))


def compare_runs(
    run_a: Path, run_b: Path, config: DiffConfig | None = None, *, register: Register = "auto"
) -> GraphDiff:
    """What changed from run a to run b; raises DiffError, RegistrationError and WorkspaceError."""
    from scenegraph.diff import diff_visits

    a, b = load_visit(run_a), load_visit(run_b)
    T_a_b = place(a, b).T_a_b if register == "auto" and a.has_surface and b.has_surface else place_by_poses(a, b)
    return diff_visits(a, b, config, T_a_b=T_a_b)
