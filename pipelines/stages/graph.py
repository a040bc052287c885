"""From the fused volume to mesh, scene graph and their files."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from mapping.mesh.io import write_glb, write_mesh
from mapping.mesh.mesh import Mesh
from mapping.reading.documents import read_json
from pipelines.checks.bounds import extent_problem
from pipelines.frame import SequenceError
from pipelines.sources.source import DepthOrigin
from pipelines.stages.context import RunContext
from pipelines.stages.presence import fill_presence
from pipelines.views.exporters import scene_glb_nodes
from pipelines.workspace import StageRecord, WorkspaceError
from scenegraph.build import CameraTrajectory, build_scene_graph
from scenegraph.faces import Faces
from scenegraph.files import json_values as values
from scenegraph.files.export import export_floorplan, export_objects_csv, write_trajectory_tum
from scenegraph.files.ground_file import write_ground
from scenegraph.files.json_io import save_scene_graph
from scenegraph.files.spark_dsg import export_spark_dsg
from scenegraph.graph import SceneGraph
from scenegraph.graph_config import SceneGraphConfig
from scenegraph.ground import build_ground
from scenegraph.labels import LabelSpace, nyu40
from scenegraph.nodes import TrackNode
from scenegraph.objects.evidence import EvidentMesh, NameEvidence
from scenegraph.rooms.storeys import doubtful_storeys
from scenegraph.tracks.dynamic import detections_from_json

if TYPE_CHECKING:
    from mapping.tsdf.volume import TSDFVolume

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
SURFACE_SAMPLES = 20_000
PREDICTED_EXTENT = 0.2
"""`graph.objects.least_extent` for depth that is not measured, whose errors are of that size."""
COMPLETED_SHARE = 0.04
"""`mesh.min_share` for a network that matches neighbouring frames, where the settings give none."""


def build_graph(context: RunContext) -> StageRecord:
    """Mesh and scene graph from the volume, in all the formats of the run folder."""
    from mapping.distance_field import free_space_from_volume
    from mapping.tsdf.volume import TSDFVolume

    volume = TSDFVolume.load(context.path("volume.npz"))
    weight = context.config.mesh.min_weight
    mesh = volume.extract_mesh(min_weight=weight, min_share=min_share_of(context))
    if not len(mesh.faces):
        raise SequenceError(f"{context.sequence.path}: no surface came out of fusion (mesh.min_weight={weight:g})")
    labelled = _labelled(context, volume, mesh)
    context.advance(1, 4)
    trajectory = _levelled_trajectory(context)
    covered = np.concatenate([mesh.vertices, trajectory.positions])
    if problem := extent_problem(np.ptp(covered, axis=0), context.config.graph):
        raise SequenceError(f"{context.sequence.path}: {problem}")
    cell_size = context.config.graph.places.cell_size
    free_space = free_space_from_volume(volume, mesh, cell_size=cell_size, include=trajectory.positions)
    context.advance(2, 4)
    graph, mesh = build_scene_graph(
        labelled,
        free_space,
        trajectory,
        context.source.label_space or nyu40(),
        tracks=_tracks(context),
        T_input_world=context.T_input_world,
        config=graph_config_of(context),
    )
    fill_presence(context, graph, mesh)
    context.advance(3, 4)
    _write_map(context.workspace.root, mesh, graph, trajectory)
    storeys = [node.z_range for _, node in graph.nodes("storey")]
    write_ground(build_ground(mesh, free_space, storeys), context.workspace.path("ground.npz"))
    context.advance(4, 4)
    counts = {layer: len(graph.nodes(layer)) for layer in ("storey", "room", "object", "place", "track", "agent")}
    labels = Counter(node.label for _, node in graph.nodes("object"))
    text = (
        f"{len(mesh.faces) / 1e3:.0f} k triangles, {counts['room']} rooms, {counts['object']} objects, "
        f"{counts['place']} places, {counts['track']} moving"
    )
    summary = {"faces": len(mesh.faces), "vertices": len(mesh.vertices), "counts": counts}
    summary |= {"objects": dict(sorted(labels.items())), **_surface_figures(mesh), "text": text}
    return StageRecord(summary, doubtful_storeys(Faces.of(mesh), storeys))


def graph_config_of(context: RunContext) -> SceneGraphConfig:
    """The settings, with what they leave to the source: whether geometry corrects the labels, and how small an object may be."""
    config, source = context.config.graph, context.source
    objects, structure = config.objects, config.structure
    if structure.corrects_labels is None:
        structure = replace(structure, corrects_labels=source.predicts_labels)
    if objects.least_extent is None:
        measured = source.depth_from is DepthOrigin.SENSOR
        objects = replace(objects, least_extent=0.0 if measured else PREDICTED_EXTENT)
    return replace(config, objects=objects, structure=structure)


def _labelled(context: RunContext, volume: TSDFVolume, mesh: Mesh) -> Mesh | EvidentMesh:
    """The mesh; where labels are predicted, with those that the evidence of all frames is for, and that evidence."""
    label_space = context.source.label_space
    if label_space is None or not context.source.predicts_labels:
        return mesh
    evidence = NameEvidence.of(volume.label_evidence(mesh.vertices), len(mesh.vertices), label_space)
    evidence = evidence.smoothed(mesh.faces)
    return EvidentMesh(evidence.labelled(mesh, label_space), evidence, _certainty(context, label_space))


def _certainty(context: RunContext, label_space: LabelSpace) -> dict[int, float]:
    """How sure the source was of each label on average, by id, as fusion noted it."""
    where = f"{context.workspace.path('manifest.json')}: stages.fuse.summary.label_confidence"
    noted = values.mapping(context.workspace.summary("fuse").get("label_confidence", {}), where)
    known = {str(label): label for label in label_space.by_id}
    return {known[name]: values.at_least_zero(mean, where, most=1.0) for name, mean in noted.items() if name in known}


def min_share_of(context: RunContext) -> float:
    """The setting, or what suits the source: see `COMPLETED_SHARE`."""
    given = context.config.mesh.min_share
    if given is not None:
        return given
    return COMPLETED_SHARE if context.source.predict_hinted is not None else 0.0


def _surface_figures(mesh: Mesh) -> dict[str, float]:
    """What the mesh says about itself: its area, how much of it is doubled, how open it is."""
    from mapping.mesh.mesh_metrics import doubled_share, rim_per_area

    doubled = doubled_share(mesh, np.random.default_rng(0), samples=SURFACE_SAMPLES)
    return {
        "area": round(float(mesh.face_areas().sum()), 2),
        "doubled_share": round(doubled, 4),
        "rim_per_area": round(rim_per_area(mesh), 3),
    }


def _levelled_trajectory(context: RunContext) -> CameraTrajectory:
    """The chosen frames' cameras in the levelled world."""
    infos = [context.sequence.infos[position] for position in context.positions]
    given = [info.T_world_camera for info in infos if info.T_world_camera is not None]
    poses = [context.levelled_pose(T_world_camera) for T_world_camera in given]
    return CameraTrajectory(np.array([info.timestamp for info in infos]), np.array(poses), context.camera)


def _tracks(context: RunContext) -> list[TrackNode]:
    from scenegraph.tracks.tracking import track

    path = context.path("detections.json")
    frames = detections_from_json(read_json(path, WorkspaceError), str(path))
    label_space = context.source.label_space or nyu40()
    return track(frames, label_space, context.config.dynamics.tracking)


def _write_map(root: Path, mesh: Mesh, graph: SceneGraph, trajectory: CameraTrajectory) -> None:
    write_mesh(mesh, root / "mesh.ply")
    write_glb(root / "mesh.glb", scene_glb_nodes(mesh, graph))
    save_scene_graph(graph, root / "scene_graph.json")
    export_spark_dsg(graph, root / "dsg.json", mesh=mesh)
    export_floorplan(graph, root / "floorplan.geojson")
    export_objects_csv(graph, root / "objects.csv")
    write_trajectory_tum(trajectory.times, trajectory.T_world_camera, root / "trajectory.tum")
