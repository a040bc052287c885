"""The map as a recording for the Rerun viewer (`.rrd`): mesh, objects, rooms, places, tracks, the camera path, the graph.

Seconds of the sequence are the timeline `time`; static content has no time.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mapping.files import atomic_path
from mapping.mesh.mesh import Mesh
from mapping.se3 import quat_xyzw_from_rotation
from pipelines.exports.export_input import ExportError, FinishedRun
from pipelines.views.summary_text import area_text
from scenegraph.graph import SceneGraph
from scenegraph.tracks.positions import stretches

LAYER_COLORS = {
    "building": (110, 80, 160),
    "storey": (60, 140, 130),
    "room": (230, 140, 30),
    "object": (70, 130, 180),
    "track": (220, 50, 50),
}
"""Layers of the graph that are drawn as a graph, from the root down; places and camera poses would be too many."""
CAMERA_COLOR = (60, 110, 190)
VIEW_LENGTH = 0.4
"""Metres of the arrow along the camera's view."""


def write_rerun(run: FinishedRun, path: Path) -> None:
    """A finished run as a recording."""
    export_rerun(run.mesh, run.graph, path)


def export_rerun(mesh: Mesh, graph: SceneGraph, path: Path) -> None:
    """Write the recording; raises ExportError with the command that installs what is missing."""
    rr = _import_rerun()
    recording = rr.RecordingStream("m2h", recording_id="map")
    with atomic_path(path) as temporary:
        recording.save(temporary)
        recording.log("world", rr.ViewCoordinates.RIGHT_HAND_Z_UP, static=True)
        if len(mesh.faces):
            shape = rr.Mesh3D(
                vertex_positions=mesh.vertices.astype(np.float32),
                triangle_indices=mesh.faces,
                vertex_colors=mesh.colors,
                vertex_normals=mesh.vertex_normals().astype(np.float32),
            )
            recording.log("world/mesh", shape, static=True)
        _log_objects(rr, recording, graph)
        _log_rooms(rr, recording, graph)
        _log_places(rr, recording, graph)
        _log_tracks(rr, recording, graph)
        _log_camera(rr, recording, graph)
        _log_graph(rr, recording, graph)
        recording.flush()
        recording.disconnect()


def _import_rerun() -> Any:
    try:
        import rerun
    except ImportError as error:
        raise ExportError(f"--to rerun: needs an extra ({error}): pip install 'm2h-mapping[rerun]'") from error
    return rerun


def _log_objects(rr: Any, recording: Any, graph: SceneGraph) -> None:
    palette = {c.name: c.color for c in graph.label_space.classes}
    for key, node in graph.nodes("object"):
        box = rr.Boxes3D(
            centers=[node.box.center],
            half_sizes=[node.box.size / 2],
            quaternions=[quat_xyzw_from_rotation(node.box.rotation)],
            colors=[palette.get(node.label, (128, 128, 128))],
            labels=[f"{key} {_words(node.label)}"],
        )
        facts = rr.AnyValues(
            label=node.label, confidence=node.confidence, views=node.views, room=graph.parent(key) or ""
        )
        recording.log(f"world/objects/{key}", box, facts, static=True)


def _log_rooms(rr: Any, recording: Any, graph: SceneGraph) -> None:
    for key, room in graph.nodes("room"):
        ring = np.column_stack([room.polygon, np.full(len(room.polygon), room.z_range[0] + 0.03)])
        outline = rr.LineStrips3D(
            [np.vstack([ring, ring[:1]])],
            colors=[LAYER_COLORS["room"]],
            radii=[0.02],
            labels=[f"{key} {_words(room.label)}, {area_text(room)}"],
            show_labels=True,
        )
        recording.log(f"world/rooms/{key}", outline, static=True)


def _log_places(rr: Any, recording: Any, graph: SceneGraph) -> None:
    places = dict(graph.nodes("place"))
    if not places:
        return
    points = rr.Points3D([node.position for node in places.values()], radii=[0.04], colors=[(70, 130, 180)])
    recording.log("world/places", points, static=True)
    pairs = [(edge.source, edge.target) for edge in graph.edges("place_edge")]
    if pairs:
        strips = [np.array([places[a].position, places[b].position]) for a, b in pairs]
        recording.log("world/places/edges", rr.LineStrips3D(strips, colors=[(120, 160, 200)]), static=True)


def _log_tracks(rr: Any, recording: Any, graph: SceneGraph) -> None:
    """The whole path of each track, and its box while it is observed."""
    for key, track in graph.nodes("track"):
        strip = rr.LineStrips3D(stretches(track), colors=[LAYER_COLORS["track"]], radii=[0.015])
        recording.log(f"world/tracks/{key}/path", strip, static=True)
        for time, position in zip(track.times, track.positions, strict=True):
            recording.set_time("time", duration=float(time))
            box = rr.Boxes3D(
                centers=[position],
                half_sizes=[track.size / 2],
                colors=[LAYER_COLORS["track"]],
                labels=[f"{key} {_words(track.label)}"],
            )
            recording.log(f"world/tracks/{key}/box", box)
        recording.set_time("time", duration=float(track.times[-1]) + 0.5)
        recording.log(f"world/tracks/{key}/box", rr.Clear(recursive=False))
    recording.reset_time()


def _log_camera(rr: Any, recording: Any, graph: SceneGraph) -> None:
    agents = [node for _, node in graph.nodes("agent")]
    if not agents:
        return
    centers: NDArray[np.float64] = np.array([agent.position for agent in agents])
    recording.log("world/camera_path", rr.LineStrips3D([centers], colors=[CAMERA_COLOR], radii=[0.015]), static=True)
    view = rr.Arrows3D(vectors=[[0, 0, VIEW_LENGTH]], colors=[CAMERA_COLOR], radii=[0.02])
    recording.log("world/camera", view, static=True)
    for agent in agents:
        recording.set_time("time", duration=float(agent.time))
        pose = rr.Transform3D(translation=agent.position, quaternion=rr.Quaternion(xyzw=agent.rotation_xyzw))
        recording.log("world/camera", pose)
    recording.reset_time()


def _log_graph(rr: Any, recording: Any, graph: SceneGraph) -> None:
    """Building, storeys, rooms, objects and tracks with the containment hierarchy."""
    shown = {key: node for layer in LAYER_COLORS for key, node in graph.nodes(layer)}
    if not shown:
        return
    nodes = rr.GraphNodes(
        list(shown),
        labels=[f"{key} {_words(getattr(node, 'label', node.layer))}" for key, node in shown.items()],
        colors=[LAYER_COLORS[node.layer] for node in shown.values()],
    )
    edges = [(parent, key) for key in shown if (parent := graph.parent(key)) in shown]
    recording.log("graph", nodes, rr.GraphEdges(edges, graph_type="directed"), static=True)


def _words(label: str) -> str:
    return label.replace("_", " ")
