"""`m2h eval`: a run folder against the ground truth of its sequence, as one JSON-able object.

Everything is compared in the world of the true graph, which has z up (the sequence's world when there is only a true mesh): the
run is transformed by its own `T_input_world`. A section is absent when it has no ground truth; `tracks` and `changes`
only when the run has none either, since a world where nothing moves is valid truth. A number that is not defined is
None. The protocols are those of `mapping.mesh.mesh_metrics`, `scenegraph.graph_metrics`, `scenegraph.track_metrics` and
`m2h.metrics`.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mapping.camera import Intrinsics
from mapping.evenly import evenly
from mapping.mesh.io import read_mesh
from mapping.mesh.mesh import Mesh, sample_surface
from mapping.mesh.mesh_metrics import SAMPLES, TruthError, mesh_metrics
from mapping.mesh.raycast import MeshCaster
from mapping.se3 import from_rotation_translation, inverse, transform_points, yaw_rotation
from pipelines.frame import FrameSequence
from pipelines.network_evaluation import evaluate_network, translated
from pipelines.sequences.detect import open_sequence
from pipelines.track_views import LEAST_SHARE, BodyViews, pixels_of
from pipelines.workspace import Workspace, input_fingerprint
from scenegraph import SceneGraph, load_scene_graph
from scenegraph.boxes import upright
from scenegraph.graph import SYMMETRIC_KINDS
from scenegraph.graph_metrics import (
    Triple,
    change_metrics,
    changes_of,
    match_objects,
    object_metrics,
    ratio,
    relation_metrics,
    room_metrics,
    storey_metrics,
)
from scenegraph.labels import LabelSpace
from scenegraph.nodes import ObjectNode
from scenegraph.track_metrics import ghost_area, swept_surface, track_metrics

Array = NDArray[np.float64]
Section = dict[str, Any]

MAX_DEPTH = 10.0  # metres; surface further than this from every camera is not evaluated
VISIBILITY_FRAMES = 500  # frames, evenly spread, that determine the visible part
GHOST_SAMPLES = 100_000
SEED = 0


class EvaluationError(ValueError):
    """Raised for a run or sequence that cannot be compared; the message names the missing file and what was expected."""


def evaluate(run_folder: Path, sequence_folder: Path, *, samples: int = SAMPLES) -> dict[str, Section]:
    """Compare RUN with SEQ/ground_truth (mesh.ply, scene_graph.json) and RUN/predictions with the frames' recorded layers.

    Returns the sections `mesh`, `objects`, `rooms`, `storeys`, `tracks`, `changes`, `relations` and `network` as far as there is
    truth for them. True objects that no frame observes (`views` 0, unless all are) are not evaluated. `samples` is the number of
    points on either surface.

    Raises EvaluationError when the run is not finished or there is no truth at all, and the errors of the file readers.
    """
    run_folder, sequence_folder = Path(run_folder), Path(sequence_folder)
    truth_folder = sequence_folder / "ground_truth"
    for name in ("mesh.ply", "scene_graph.json"):
        if not (run_folder / name).is_file():
            raise EvaluationError(f"{run_folder / name}: is missing; finish the run with `m2h run` first")
    sequence = open_sequence(sequence_folder)
    comparison = _Comparison(run_folder, truth_folder, sequence)
    sections: dict[str, Section] = {}
    if comparison.true_caster is not None:
        sections["mesh"] = _mesh_section(comparison, samples)
    if comparison.true_graph is not None:
        sections |= _graph_sections(comparison)
    network = evaluate_network(run_folder / "predictions", sequence, comparison.run_graph.label_space)
    if network is not None:
        sections["network"] = network
    if not sections:
        raise EvaluationError(
            f"{truth_folder}: expected mesh.ply or scene_graph.json, and found neither; nor are there stored predictions "
            f"in {run_folder} with recorded layers to compare them with"
        )
    return sections


def foreign_input(run_folder: Path, sequence_folder: Path) -> str | None:
    """The name of the sequence of a run when it differs in name and files from the given one."""
    stated = Workspace.open(Path(run_folder)).manifest.get("input", {})
    sequence = open_sequence(Path(sequence_folder))
    same = stated.get("name") == sequence.name or stated.get("fingerprint") == input_fingerprint(sequence)
    return None if same or not stated else str(stated.get("name"))


@dataclass(frozen=True, eq=False)
class _Comparison:
    """The files of both sides, read when first needed and transformed to one world."""

    run_folder: Path
    truth_folder: Path
    sequence: FrameSequence

    @cached_property
    def run_graph(self) -> SceneGraph:
        return load_scene_graph(self.run_folder / "scene_graph.json")

    @cached_property
    def true_graph(self) -> SceneGraph | None:
        path = self.truth_folder / "scene_graph.json"
        return load_scene_graph(path) if path.is_file() else None

    @cached_property
    def T_true_input(self) -> Array:
        """(4, 4) from the sequence's world to that of the comparison."""
        return np.eye(4) if self.true_graph is None else inverse(self.true_graph.T_input_world)

    @cached_property
    def true_caster(self) -> MeshCaster | None:
        path = self.truth_folder / "mesh.ply"
        return MeshCaster(read_mesh(path).transformed(self.T_true_input)) if path.is_file() else None

    @cached_property
    def run_mesh(self) -> Mesh:
        """The run's mesh, with labels of the truth's label space."""
        mesh = read_mesh(self.run_folder / "mesh.ply").transformed(self.T_true_input @ self.run_graph.T_input_world)
        space = self.sequence.label_space if self.true_graph is None else self.true_graph.label_space
        if mesh.labels is None or space is None:
            return mesh
        return replace(mesh, labels=translated(mesh.labels, self.run_graph.label_space, space))

    @cached_property
    def aligned_graph(self) -> SceneGraph:
        """The run's graph. The small tilt between the two worlds is not applied: its floors stay level."""
        nodes = [node for layer in ("room", "object", "place") for _, node in self.run_graph.nodes(layer)]
        centre = np.mean([node.position for node in nodes], axis=0) if nodes else np.zeros(3)
        return self.run_graph.transformed(without_tilt(self.T_true_input @ self.run_graph.T_input_world, centre))

    @cached_property
    def cameras(self) -> tuple[Array, Array, Intrinsics]:
        """Times (N,), poses (N, 4, 4) and the one camera of the usable frames."""
        used = [i for i, info in enumerate(self.sequence.infos) if info.used]
        infos = [self.sequence.infos[i] for i in used]
        poses = np.array([info.T_world_camera for info in infos], dtype=np.float64)
        times = np.array([info.timestamp for info in infos])
        return times, self.T_true_input @ poses, self.sequence[used[0]].intrinsics


def without_tilt(T: Array, centre: Array) -> Array:
    """The transform (4, 4) nearest to `T` that only rotates about z and translates, with the same image of `centre` (3,)."""
    yaw = np.arctan2(T[1, 0] - T[0, 1], T[0, 0] + T[1, 1])
    rotation = yaw_rotation(float(yaw))
    return from_rotation_translation(rotation, transform_points(T, centre) - rotation @ centre)


def _mesh_section(comparison: _Comparison, samples: int) -> Section:
    caster = comparison.true_caster
    assert caster is not None
    _, poses, intrinsics = comparison.cameras
    rng = np.random.default_rng(SEED)
    # Views from all over first: the surface visible in most frames is known after a few of them.
    chosen = poses[rng.permutation(evenly(range(len(poses)), VISIBILITY_FRAMES))]

    def is_visible(points: Array, normals: Array) -> NDArray[np.bool_]:
        return caster.visible_points(points, normals, chosen, intrinsics, max_depth=MAX_DEPTH)

    try:
        return dict(mesh_metrics(comparison.run_mesh, caster.mesh, rng, is_visible=is_visible, samples=samples))
    except TruthError as error:
        raise EvaluationError(f"{comparison.truth_folder / 'mesh.ply'}: {error}") from error


def _graph_sections(comparison: _Comparison) -> dict[str, Section]:
    run, truth = comparison.aligned_graph, comparison.true_graph
    assert truth is not None
    found, wanted = _objects(run, truth.label_space), _objects(truth, truth.label_space)
    some_seen = any(node.views > 0 for node in wanted.values())
    asked = {key: node for key, node in wanted.items() if node.views > 0 or not some_seen}
    true_rooms, true_storeys = ([node for _, node in truth.nodes(layer)] for layer in ("room", "storey"))
    sections: dict[str, Section] = {}
    if asked:
        sections["objects"] = dict(object_metrics(found, asked))
    if true_rooms:
        obstacles = [node.box for node in wanted.values()]
        sections["rooms"] = dict(room_metrics([node for _, node in run.nodes("room")], true_rooms, obstacles))
    if true_storeys:
        sections["storeys"] = dict(storey_metrics([node for _, node in run.nodes("storey")], true_storeys))
    if run.nodes("track") or truth.nodes("track"):
        sections["tracks"] = _track_section(comparison)
    times, _, _ = comparison.cameras
    time_range = float(times[0]), float(times[-1])
    predicted, true = (changes_of(list(objects.values()), time_range) for objects in (found, asked))
    if predicted or true:
        sections["changes"] = dict(change_metrics(predicted, true))
    true_relations = _relations(truth, asked)
    if true_relations:
        matched = match_objects(found, asked, min_iou=0.25)
        sections["relations"] = dict(
            relation_metrics(_relations(run, found), true_relations, matched, symmetric=SYMMETRIC_KINDS)
        )
    return sections


def _objects(graph: SceneGraph, space: LabelSpace) -> dict[str, ObjectNode]:
    """The objects with upright boxes and the label ids of a label space."""
    nodes = graph.nodes("object")
    ids = translated(np.array([node.label_id for _, node in nodes], np.int64), graph.label_space, space).tolist()
    return {key: replace(node, box=upright(node.box), label_id=i) for (key, node), i in zip(nodes, ids, strict=True)}


def _relations(graph: SceneGraph, objects: dict[str, ObjectNode]) -> list[Triple]:
    return [(e.source, e.kind, e.target) for e in graph.edges() if e.source in objects and e.target in objects]


def _track_section(comparison: _Comparison) -> Section:
    truth = comparison.true_graph
    assert truth is not None
    keys, true_tracks = [key for key, _ in truth.nodes("track")], [node for _, node in truth.nodes("track")]
    tracks = [node for _, node in comparison.aligned_graph.nodes("track")]
    times, poses, intrinsics = comparison.cameras
    views = BodyViews(true_tracks, times, poses, intrinsics, comparison.true_caster)
    counted = pixels_of(truth, keys, times)
    shown = (views.pixels() if counted is None else counted) >= LEAST_SHARE * intrinsics.width * intrinsics.height
    section: Section = dict(track_metrics(tracks, true_tracks, times, visible=shown))
    section["recall_visible"] = track_metrics(tracks, true_tracks, times, visible=views.clear())["recall"]
    if comparison.true_caster is None:
        return {**section, "ghost_share": None, "ghost_area_m2": None}
    ghosts, area = 0.0, float(comparison.run_mesh.face_areas().sum())
    if area > 0:
        points, _ = sample_surface(comparison.run_mesh, GHOST_SAMPLES, np.random.default_rng(SEED))
        ghosts = ghost_area(points, area, true_tracks, comparison.true_caster.distance)
    swept = swept_surface(true_tracks, [times[row] for row in shown])
    return {**section, "ghost_share": ratio(ghosts, swept) if ghosts > 0 else 0.0, "ghost_area_m2": ghosts}
