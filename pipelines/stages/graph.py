"""From the fused volume to mesh, scene graph and their files."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from mapping.reading.documents import read_json
from pipelines.checks.bounds import extent_problem
from pipelines.frame import SequenceError
from pipelines.sources.source import DepthOrigin
from pipelines.stages.context import RunContext
from pipelines.stages.graph_mesh import PredictedLabels, labelled_mesh
from pipelines.stages.map_files import graph_summary, write_map
from pipelines.stages.object_presence import fill_presence
from pipelines.stages.second_look import second_look
from pipelines.workspace import VOLUME_FILE, StageRecord, WorkspaceError
from scenegraph.build import CameraTrajectory, build_scene_graph
from scenegraph.corrections.corrected import corrected
from scenegraph.corrections.entries import CORRECTIONS_FILE, load_corrections
from scenegraph.faces import Faces
from scenegraph.graph_config import SceneGraphConfig
from scenegraph.labels import nyu40
from scenegraph.nodes import TrackNode
from scenegraph.rooms.storeys import doubtful_storeys
from scenegraph.tracks.detection import detections_from_json

PREDICTED_EXTENT = 0.2
"""`graph.objects.least_extent` for depth that is not measured, whose errors are of that size."""
COMPLETED_SHARE = 0.04
"""`mesh.min_share` for a network that matches neighbouring frames, where the settings give none."""


def build_graph(context: RunContext) -> StageRecord:
    """Mesh and scene graph from the volume, in all the formats of the run folder."""
    from mapping.distance_field import free_space_from_volume
    from mapping.tsdf.volume import TSDFVolume

    volume = TSDFVolume.load(context.path(VOLUME_FILE))
    weight = context.config.mesh.min_weight
    mesh = volume.extract_mesh(min_weight=weight, min_share=min_share_of(context))
    if not len(mesh.faces):
        raise SequenceError(f"{context.sequence.path}: no surface came out of fusion (mesh.min_weight={weight:g})")
    label_space = context.source.label_space
    look = second_look(context, volume, mesh)
    labelled = labelled_mesh(volume, mesh, _predicted(context), look.transient, look.sampled)
    labelled = replace(labelled, samples=look.samples)
    mesh = labelled.mesh
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
        label_space or nyu40(),
        tracks=_tracks(context),
        T_input_world=context.T_input_world,
        config=graph_config_of(context),
    )
    fill_presence(context, graph, mesh, look.views)
    corrections = load_corrections(context.workspace.path(CORRECTIONS_FILE))
    graph, mesh, problems = corrected(graph, mesh, corrections, context.config.graph.relations)
    context.advance(3, 4)
    write_map(context.workspace.root, mesh, graph, trajectory, free_space)
    context.advance(4, 4)
    summary = graph_summary(mesh, graph) | {"how": _how(context)}
    storeys = [node.z_range for _, node in graph.nodes("storey")]
    return StageRecord(summary, [*doubtful_storeys(Faces.of(mesh), storeys), *problems])


def graph_config_of(context: RunContext) -> SceneGraphConfig:
    """The settings, with what they leave to the source: whether geometry corrects the labels, and how small an object may be."""
    config, source = context.config.graph, context.source
    objects, structure = config.objects, config.structure
    if structure.corrects_labels is None:
        structure = replace(structure, corrects_labels=source.predicts_labels)
    if objects.least_extent is None:
        measured = source.depth_from is DepthOrigin.SENSOR
        objects = replace(objects, least_extent=0.0 if measured else PREDICTED_EXTENT)
    storeys = config.storeys
    if storeys.ground is None:
        storeys = replace(storeys, ground=context.ground)
    return replace(config, objects=objects, structure=structure, storeys=storeys)


def _predicted(context: RunContext) -> PredictedLabels | None:
    """What is known of the labels where they are predicted."""
    if context.source.label_space is None or not context.source.predicts_labels:
        return None
    where = f"{context.workspace.path('manifest.json')}: stages.fuse.summary.label_confidence"
    return PredictedLabels.of(context.source.label_space, _label_confidence(context), where)


def _label_confidence(context: RunContext) -> Any:
    return context.workspace.summary("fuse").get("label_confidence", {})


def _how(context: RunContext) -> dict[str, Any]:
    """What a merge of runs must know of how the graph was made, besides the settings: what they left to the source."""
    config = graph_config_of(context)
    camera = context.camera
    return {
        "camera": {name: getattr(camera, name) for name in ("fx", "fy", "cx", "cy", "width", "height")},
        "predicts_labels": _predicted(context) is not None,
        "label_confidence": _label_confidence(context),
        "corrects_labels": bool(config.structure.corrects_labels),
        "least_extent": config.objects.least_extent,
        "min_share": min_share_of(context),
    }


def min_share_of(context: RunContext) -> float:
    """The setting, or what suits the source: see `COMPLETED_SHARE`."""
    given = context.config.mesh.min_share
    if given is not None:
        return given
    return COMPLETED_SHARE if context.source.predict_hinted is not None else 0.0


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
