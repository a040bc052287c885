"""The files of a map and its scene graph, and what a run notes of them."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np

from mapping.distance_field import FreeSpace
from mapping.mesh.glb import write_glb
from mapping.mesh.io import write_mesh
from mapping.mesh.mesh import Mesh
from pipelines.views.scene_nodes import scene_nodes
from scenegraph.build import CameraTrajectory
from scenegraph.corrections.entries import CORRECTIONS_FILE
from scenegraph.files.export import export_floorplan, export_objects_csv, write_trajectory_tum
from scenegraph.files.ground_file import write_ground
from scenegraph.files.json_io import save_scene_graph
from scenegraph.files.spark_dsg import export_map_dsg
from scenegraph.graph import SceneGraph
from scenegraph.ground import build_ground

GRAPH_FILES = (
    "mesh.ply",
    "mesh.glb",
    "scene_graph.json",
    "dsg.json",
    "floorplan.geojson",
    "objects.csv",
    "trajectory.tum",
    "ground.npz",
)
GRAPH_INPUTS = (CORRECTIONS_FILE,)
"""Files of the run folder that users write and the graph is built with."""
SURFACE_SAMPLES = 20_000


def write_map(root: Path, mesh: Mesh, graph: SceneGraph, trajectory: CameraTrajectory, free_space: FreeSpace) -> None:
    """All of `GRAPH_FILES` into a run folder."""
    write_mesh(mesh, root / "mesh.ply")
    write_glb(root / "mesh.glb", scene_nodes(mesh, graph))
    save_scene_graph(graph, root / "scene_graph.json")
    export_map_dsg(graph, root / "dsg.json", mesh)
    export_floorplan(graph, root / "floorplan.geojson")
    export_objects_csv(graph, root / "objects.csv")
    write_trajectory_tum(trajectory.times, trajectory.T_world_camera, root / "trajectory.tum")
    storeys = [node.z_range for _, node in graph.nodes("storey")]
    write_ground(build_ground(mesh, free_space, storeys), root / "ground.npz")


def graph_summary(mesh: Mesh, graph: SceneGraph) -> dict[str, Any]:
    """Counts of what was found, figures of the surface, and both as text."""
    counts = {layer: len(graph.nodes(layer)) for layer in ("storey", "room", "object", "place", "track", "agent")}
    labels = Counter(node.label for _, node in graph.nodes("object"))
    text = (
        f"{len(mesh.faces) / 1e3:.0f} k triangles, {counts['room']} rooms, {counts['object']} objects, "
        f"{counts['place']} places, {counts['track']} moving"
    )
    summary = {"faces": len(mesh.faces), "vertices": len(mesh.vertices), "counts": counts}
    return summary | {"objects": dict(sorted(labels.items())), **_surface_figures(mesh), "text": text}


def _surface_figures(mesh: Mesh) -> dict[str, float]:
    """What the mesh says about itself: its area, how much of it is doubled, how open it is."""
    from mapping.mesh.mesh_metrics import doubled_share, rim_per_area

    doubled = doubled_share(mesh, np.random.default_rng(0), samples=SURFACE_SAMPLES)
    return {
        "area": round(float(mesh.face_areas().sum()), 2),
        "doubled_share": round(doubled, 4),
        "rim_per_area": round(rim_per_area(mesh), 3),
    }
