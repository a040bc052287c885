"""The graph of several visits, built from the sum of their maps."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from mapping.se3 import transform_points
from pipelines.merged_surface import ChangingSurface
from pipelines.settings import PipelineConfig
from pipelines.stages.graph_mesh import PredictedLabels, labelled_mesh
from pipelines.stages.map_files import graph_summary, write_map
from pipelines.workspace import StageRecord, Workspace
from scenegraph.build import CameraTrajectory, build_scene_graph
from scenegraph.corrections.corrected import corrected
from scenegraph.corrections.entries import CORRECTIONS_FILE, load_corrections
from scenegraph.graph import SceneGraph
from scenegraph.graph_config import SceneGraphConfig
from scenegraph.labels import LabelSpace
from scenegraph.nodes import TrackNode
from scenegraph.visits.joined_presence import PlacedVisit, fill_visit_presence

if TYPE_CHECKING:
    from mapping.tsdf.volume import TSDFVolume


@dataclass(frozen=True, eq=False)
class MergedMap:
    """The sum of the volumes, the visits in its world, their cameras, what changes between them, and how the graph is made."""

    volume: TSDFVolume
    visits: Sequence[PlacedVisit]
    trajectory: CameraTrajectory
    changing: Sequence[ChangingSurface]
    how: GraphMaking


@dataclass(frozen=True)
class GraphMaking:
    """How a run makes its mesh and graph: its settings with what they left to the source of its predictions."""

    graph: SceneGraphConfig
    min_weight: float
    min_share: float
    predicted: PredictedLabels | None

    @staticmethod
    def of(config: PipelineConfig, how: dict[str, Any], label_space: LabelSpace) -> GraphMaking:
        """From the settings of a run and what its manifest says of how its graph was made."""
        noted = how.get("label_confidence", {})
        predicted = PredictedLabels.of(label_space, noted, "label_confidence") if how["predicts_labels"] else None
        structure = replace(config.graph.structure, corrects_labels=bool(how["corrects_labels"]))
        objects = replace(config.graph.objects, least_extent=float(how["least_extent"]))
        graph = replace(config.graph, structure=structure, objects=objects)
        return GraphMaking(graph, config.mesh.min_weight, float(how["min_share"]), predicted)


def build_merged_graph(
    workspace: Workspace, merged: MergedMap, names: list[dict[str, Any]], progress: Callable[[int, int], None]
) -> StageRecord:
    """Mesh and scene graph of a merged map, in all the formats of a run folder. `names` has an entry for each visit, which the
    graph keeps under `visits`, with the keys of its tracks."""
    from mapping.distance_field import free_space_from_volume

    how, first = merged.how, merged.visits[0].visit.graph
    mesh = merged.volume.extract_mesh(min_weight=how.min_weight, min_share=how.min_share)
    transient = [each.surface for each in merged.changing]
    labelled = labelled_mesh(merged.volume, mesh, how.predicted, transient)
    mesh = labelled.mesh
    progress(1, 4)
    free_space = free_space_from_volume(
        merged.volume, mesh, cell_size=how.graph.places.cell_size, include=merged.trajectory.positions
    )
    progress(2, 4)
    tracks = [visit_tracks(visit) for visit in merged.visits]
    graph, mesh = build_scene_graph(
        labelled,
        free_space,
        merged.trajectory,
        first.label_space,
        tracks=[track for some in tracks for track in some],
        T_input_world=first.T_input_world,
        config=how.graph,
    )
    fill_visit_presence(graph, mesh, merged.visits)
    graph.metadata["visits"] = _visits(graph, names, [len(some) for some in tracks])
    corrections = load_corrections(workspace.path(CORRECTIONS_FILE))
    graph, mesh, problems = corrected(graph, mesh, corrections, how.graph.relations)
    progress(3, 4)
    write_map(workspace.root, mesh, graph, merged.trajectory, free_space)
    progress(4, 4)
    summary = graph_summary(mesh, graph) | {"changing": len(merged.changing)}
    return StageRecord(summary, problems)


def visit_tracks(visit: PlacedVisit) -> list[TrackNode]:
    """The tracks of a visit in the common world and time."""
    return [
        replace(
            track, times=track.times + visit.shift, positions=transform_points(visit.T_world_visit, track.positions)
        )
        for _, track in visit.visit.graph.nodes("track")
    ]


def _visits(graph: SceneGraph, names: Sequence[dict[str, Any]], counts: Sequence[int]) -> list[dict[str, Any]]:
    """The entries of visits with the keys of their tracks, which are in the graph in the order of the visits."""
    keys = [key for key, _ in graph.nodes("track")]
    ends = np.cumsum([0, *counts]).tolist()
    return [{**entry, "tracks": keys[ends[k] : ends[k + 1]]} for k, entry in enumerate(names)]
