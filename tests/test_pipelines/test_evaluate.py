"""The evaluation of run folders with known scores: the truth itself, transformed, and with known faults."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from helpers import box_mesh

from m2h import Predictions
from mapping.camera import Intrinsics
from mapping.mesh.io import write_mesh
from mapping.mesh.mesh import Mesh, concatenate
from mapping.mesh.raycast import MeshCaster
from mapping.se3 import from_rotation_translation, inverse, look_at, yaw_rotation
from pipelines import evaluate as evaluation
from pipelines.evaluate import EvaluationError, without_tilt
from pipelines.frame import Frame
from pipelines.network_evaluation import translated
from pipelines.sequences.ingest import CanonicalWriter
from pipelines.sources.predictions import write_predictions
from scenegraph import SceneGraph, save_scene_graph
from scenegraph.labels import LabelClass, LabelSpace, nyu40
from scenegraph.nodes import BuildingNode, ObjectNode, OrientedBox, RoomNode, StoreyNode, TrackNode

CAMERA = Intrinsics(30.0, 30.0, 31.5, 23.5, 64, 48)
SPACE = nyu40()
TABLE = OrientedBox(np.array([1.5, 0.5, 0.4]), np.array([1.0, 0.6, 0.8]), np.eye(3))
LAMP = OrientedBox(np.array([1.5, 0.5, 0.95]), np.array([0.3, 0.3, 0.3]), np.eye(3))
FRAMES = 12
KEYS = {
    "mesh": {
        *("accuracy_m", "completeness_m", "precision_5cm", "recall_5cm", "f_5cm", "f_10cm"),
        *("normal_consistency", "label_accuracy", "label_miou", "double_wall_rate"),
    },
    "objects": {"precision_25", "recall_25", "f1_25", "f1_50", "count", "count_true"},
    "rooms": {"precision", "recall", "f1", "count", "count_true", "label_accuracy"},
    "storeys": {"count", "count_true", "height_error_m"},
    "tracks": {
        *("precision", "recall", "recall_visible", "id_switches", "id_f1", "count", "count_true"),
        *("ghost_share", "ghost_area_m2"),
    },
    "changes": {"precision", "recall", "count", "count_true"},
    "relations": {"precision", "recall"},
    "network": {"abs_rel", "rmse", "delta_1", "miou", "normal_mean_deg", "edge_ods_f"},
}


def evaluate(run: Path, sequence: Path) -> dict[str, dict[str, float]]:
    return evaluation.evaluate(run, sequence, samples=20000)


def labelled(mesh: Mesh, label: str) -> Mesh:
    return replace(mesh, labels=np.full(len(mesh.vertices), SPACE.id_of(label), np.uint16))


def true_mesh() -> Mesh:
    room = labelled(box_mesh((6.0, 4.0, 2.5), (0, 0, 1.25), inward=True), "wall")
    return concatenate(
        [room, *(labelled(box_mesh(box.size, box.center), name) for box, name in ((TABLE, "table"), (LAMP, "lamp")))]
    )


def node(label: str, box: OrientedBox, **fields: object) -> ObjectNode:
    return ObjectNode(label, SPACE.id_of(label), box.center, box, **fields)


def true_graph() -> SceneGraph:
    """A room with a lamp that came to stand on a table, a sofa that no frame sees, and a person who walks along y = -1."""
    graph = SceneGraph(SPACE)
    graph.add(BuildingNode())
    graph.add(StoreyNode((0.0, 2.5)), parent="B0")
    polygon = np.array([(-3, -2), (3, -2), (3, 2), (-3, 2)], float)
    graph.add(RoomNode("living_room", np.array([0, 0, 1.25]), polygon, (0.0, 2.5), 24.0), parent="F0")
    graph.add(node("table", TABLE, views=9), parent="R0")
    graph.add(node("lamp", LAMP, views=9, presence=((6.0, 11.0),)), parent="R0")
    graph.add(node("sofa", OrientedBox(np.array([-2, 1, 0.4]), np.array([1, 0.5, 0.5]), np.eye(3))), parent="R0")
    graph.connect("O1", "O0", kind="on", score=1.0)
    times = np.arange(FRAMES, dtype=float)
    positions = np.stack([-1.5 + 0.2 * times, np.full(FRAMES, -1.0), np.full(FRAMES, 0.9)], axis=1)
    graph.add(TrackNode("person", 31, np.array([0.5, 0.5, 1.8]), times, positions), parent="B0")
    return graph


def recorded(caster: MeshCaster, T_world_camera: np.ndarray) -> Predictions:
    depth, faces = caster.cast(CAMERA, T_world_camera)
    mesh = caster.mesh
    normals = mesh.face_normals()[faces] @ T_world_camera[:3, :3]
    labels = mesh.labels[mesh.faces[faces, 0]].astype(np.uint8)
    edges = (np.abs(np.diff(faces // 2, axis=1, append=faces[:, -1:] // 2)) > 0).astype(np.float32)
    return Predictions(depth=depth, labels=labels, normals=normals.astype(np.float32), edges=edges)


@pytest.fixture(scope="module")
def sequence(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("truth") / "seq"
    caster = MeshCaster(true_mesh())
    with CanonicalWriter(folder, CAMERA, world_up=(0.0, 0.0, 1.0), label_space=SPACE) as writer:
        for i in range(FRAMES):
            turn = 2 * np.pi * i / FRAMES
            T = look_at([-0.5, 0.5, 1.2], [-0.5 + np.cos(turn), 0.5 + np.sin(turn), 1.1])
            writer.add(Frame(i, float(i), np.full((48, 64, 3), 100, np.uint8), CAMERA, T, recorded(caster, T)))
    (folder / "ground_truth").mkdir()
    write_mesh(true_mesh(), folder / "ground_truth" / "mesh.ply")
    save_scene_graph(true_graph(), folder / "ground_truth" / "scene_graph.json")
    return folder


def write_run(folder: Path, mesh: Mesh, graph: SceneGraph, T_input_run: np.ndarray | None = None) -> Path:
    """A run folder with the mesh and the graph, given in the truth's world, in its own levelled world."""
    T = np.eye(4) if T_input_run is None else T_input_run
    folder.mkdir()
    write_mesh(mesh.transformed(inverse(T)), folder / "mesh.ply")
    save_scene_graph(graph.transformed(inverse(T)), folder / "scene_graph.json")
    return folder


def without(graph: SceneGraph, *keys: str) -> SceneGraph:
    graph.nx.remove_nodes_from(keys)
    return graph


@pytest.mark.parametrize("yaw_deg", [0.0, 130.0])
def test_the_truth_is_perfect_in_whatever_world_the_run_chose(tmp_path, sequence, yaw_deg):
    T = from_rotation_translation(yaw_rotation(np.deg2rad(yaw_deg)), [3.0, -1.0, 0.4])
    run = write_run(tmp_path / "run", true_mesh(), without(true_graph(), "O2"), T)
    result = evaluate(run, sequence)
    assert {name: set(section) for name, section in result.items()} == {k: v for k, v in KEYS.items() if k != "network"}
    json.dumps(result, allow_nan=False)
    mesh = result["mesh"]
    assert mesh["f_5cm"] == 1.0
    assert mesh["accuracy_m"] == pytest.approx(0, abs=1e-4)
    assert mesh["label_miou"] > 0.99  # the lamp touches the table
    assert mesh["double_wall_rate"] == 0.0
    assert result["objects"] == {"precision_25": 1, "recall_25": 1, "f1_25": 1, "f1_50": 1, "count": 2, "count_true": 2}
    assert result["rooms"]["f1"] == pytest.approx(1.0, abs=0.05)  # the lattice falls otherwise on a turned room
    assert result["rooms"]["label_accuracy"] == 1.0
    assert result["storeys"] == {"count": 1, "count_true": 1, "height_error_m": pytest.approx(0, abs=1e-3)}
    tracks = {"precision": 1.0, "recall": 1.0, "id_switches": 0, "id_f1": 1.0, "count": 1, "count_true": 1}
    assert result["tracks"] == {**tracks, "recall_visible": 1.0, "ghost_share": 0.0, "ghost_area_m2": 0.0}
    assert (result["changes"]["precision"], result["changes"]["recall"]) == (1.0, 1.0)
    assert result["relations"] == {"precision": 1.0, "recall": 1.0}


def test_the_same_run_gives_the_same_numbers(tmp_path, sequence):
    run = write_run(tmp_path / "run", true_mesh(), true_graph())
    assert evaluate(run, sequence) == evaluate(run, sequence)


def test_a_run_that_leans_a_little_is_compared_level(tmp_path, sequence):
    lean = np.deg2rad(0.8)
    tilt = np.array([[1, 0, 0], [0, np.cos(lean), -np.sin(lean)], [0, np.sin(lean), np.cos(lean)]])
    run = write_run(tmp_path / "run", true_mesh(), without(true_graph(), "O2"))
    data = json.loads((run / "scene_graph.json").read_text())
    data["T_input_world"] = from_rotation_translation(tilt, [0, 0, 0]).tolist()
    (run / "scene_graph.json").write_text(json.dumps(data))
    result = evaluate(run, sequence)
    assert result["objects"]["f1_50"] == 1.0
    assert result["rooms"]["f1"] > 0.95
    assert result["mesh"]["accuracy_m"] > 0.005  # the mesh is unchanged


def test_faults_are_seen_in_their_sections(tmp_path, sequence):
    ghost = labelled(box_mesh((0.3, 0.3, 1.0), (-0.5, -1.0, 0.9)), "otherprop")
    doubled = labelled(box_mesh((0.01, 4.0, 2.5), (2.85, 0, 1.25)), "wall")
    graph = without(true_graph(), "O1", "O2", "T0")
    graph.replace("R0", replace(graph["R0"], label="kitchen"))
    graph.add(node("chair", TABLE))
    graph.add(TrackNode("person", 31, np.array([0.5, 0.5, 1.8]), np.arange(3.0), np.full((3, 3), [2.5, 1.5, 0.9])))
    result = evaluate(write_run(tmp_path / "run", concatenate([true_mesh(), ghost, doubled]), graph), sequence)
    assert result["mesh"]["precision_5cm"] < 0.97
    assert result["mesh"]["recall_5cm"] == 1.0
    assert result["mesh"]["double_wall_rate"] > 0.1
    assert (result["objects"]["precision_25"], result["objects"]["recall_25"]) == (0.5, 0.5)
    assert result["rooms"]["label_accuracy"] == 0.0
    assert (result["tracks"]["precision"], result["tracks"]["recall"]) == (0.0, 0.0)
    assert result["tracks"]["ghost_area_m2"] == pytest.approx(ghost.face_areas().sum(), rel=0.05)
    assert result["tracks"]["ghost_share"] > 0.2  # the person was in view in a few frames and swept little
    assert (result["changes"]["precision"], result["changes"]["recall"], result["changes"]["count"]) == (1.0, 0.0, 0)
    assert result["relations"] == {"precision": 1.0, "recall": 0.0}


def test_a_person_that_no_frame_sees_is_not_asked_for(tmp_path, sequence):
    # The camera turns once; the person is in view in a few frames only, and tracked in just those.
    run = write_run(tmp_path / "run", true_mesh(), without(true_graph(), "O2"))
    full = true_graph()["T0"]
    seen = slice(8, 11)
    graph = without(true_graph(), "O2")
    graph.replace("T0", replace(full, times=full.times[seen], positions=full.positions[seen]))
    partial = write_run(tmp_path / "partial", true_mesh(), graph)
    assert evaluate(run, sequence)["tracks"]["precision"] == 1.0
    assert evaluate(partial, sequence)["tracks"]["recall"] >= 0.5


def test_tracks_are_asked_for_in_every_frame_with_enough_pixels(tmp_path, sequence):
    def scores(pixels: list[int]) -> dict[str, float]:
        graph = true_graph()
        graph.metadata["visibility"] = {"T0": pixels}
        folder = tmp_path / "-".join(map(str, pixels))
        shutil.copytree(sequence, folder)
        save_scene_graph(graph, folder / "ground_truth" / "scene_graph.json")
        return evaluate(run, folder)["tracks"]

    full = true_graph()["T0"]
    graph = without(true_graph(), "O2")
    graph.replace("T0", replace(full, times=full.times[:9], positions=full.positions[:9]))
    run = write_run(tmp_path / "run", true_mesh(), graph)
    least = int(np.ceil(CAMERA.width * CAMERA.height / 1500))
    assert scores([least] * FRAMES)["recall"] == pytest.approx(9 / 12)
    assert scores([least] * 9 + [least - 1] * 3)["recall"] == 1.0
    assert scores([0] * 9 + [least] * 3)["recall"] == 0.0


def test_sections_without_truth_are_absent(tmp_path, sequence):
    bare = tmp_path / "seq"
    bare.mkdir()
    for part in sequence.iterdir():
        if part.name != "ground_truth":
            (bare / part.name).symlink_to(part)
    run = write_run(tmp_path / "run", true_mesh(), true_graph())
    with pytest.raises(EvaluationError, match="and found neither"):
        evaluate(run, bare)
    (bare / "ground_truth").mkdir()
    write_mesh(true_mesh(), bare / "ground_truth" / "mesh.ply")
    assert set(evaluate(run, bare)) == {"mesh"}
    write_mesh(true_mesh().transformed(look_at([0, 0, 50], [0, 0, 99])), bare / "ground_truth" / "mesh.ply")
    with pytest.raises(EvaluationError, match="no frame sees any"):
        evaluate(run, bare)
    (bare / "ground_truth" / "mesh.ply").unlink()
    save_scene_graph(without(true_graph(), "O0", "O1", "O2", "F0", "R0"), bare / "ground_truth" / "scene_graph.json")
    result = evaluate(run, bare)
    assert set(result) == {"tracks", "changes"}
    assert result["tracks"]["ghost_share"] is None
    graph = without(true_graph(), "O0", "O1", "O2", "T0")
    save_scene_graph(graph, bare / "ground_truth" / "scene_graph.json")
    quiet = write_run(tmp_path / "quiet", true_mesh(), graph)
    assert set(evaluate(quiet, bare)) == {"rooms", "storeys"}  # nothing moves or changes, and the run reports so
    assert "tracks" in evaluate(run, bare)


@pytest.mark.parametrize("missing", ["mesh.ply", "scene_graph.json"])
def test_an_unfinished_run_is_rejected(tmp_path, sequence, missing):
    run = write_run(tmp_path / "run", true_mesh(), true_graph())
    (run / missing).unlink()
    with pytest.raises(EvaluationError, match=f"{missing}: is missing; finish the run"):
        evaluate(run, sequence)


def test_stored_predictions_are_compared_with_the_frames(tmp_path, sequence):
    from pipelines import open_sequence

    run = write_run(tmp_path / "run", true_mesh(), true_graph())
    (run / "predictions").mkdir()
    frames = open_sequence(sequence)
    for i in (0, 3, 7):
        truth = frames[i].recorded
        labels = truth.labels.copy()
        labels[labels == SPACE.id_of("wall")] = SPACE.id_of("picture")
        write_predictions(run / "predictions", i, replace(truth, depth=truth.depth * np.float32(1.1), labels=labels))
    network = evaluate(run, sequence)["network"]
    assert set(network) == KEYS["network"]
    assert network["abs_rel"] == pytest.approx(0.1, abs=1e-3)
    assert network["delta_1"] == 1.0
    assert network["normal_mean_deg"] < 0.1
    assert network["edge_ods_f"] > 0.95
    assert 0.0 < network["miou"] < 1.0  # table and lamp right, wall wrong


def test_tasks_that_nobody_predicted_are_none(tmp_path, sequence):
    run = write_run(tmp_path / "run", true_mesh(), true_graph())
    (run / "predictions").mkdir()
    write_predictions(run / "predictions", 0, Predictions(depth=np.ones((48, 64), np.float32)))
    network = evaluate(run, sequence)["network"]
    assert network["rmse"] > 0
    assert network["miou"] is None


def test_labels_are_translated_by_name():
    other = LabelSpace(
        "other", (LabelClass(0, "void", (0, 0, 0), "unknown"), LabelClass(7, "table", (1, 1, 1), "object"))
    )
    labels = np.array([SPACE.id_of("table"), SPACE.id_of("chair"), 0, 60000], np.uint16)
    assert translated(labels, SPACE, other).tolist() == [7, 0, 0, 0]
    assert translated(np.array([7, 3], np.uint8), other, SPACE).tolist() == [SPACE.id_of("table"), 0]


def test_without_lean_keeps_the_yaw_and_the_centre():
    centre = np.array([1.0, 2.0, 0.5])
    T = from_rotation_translation(yaw_rotation(0.7), [1, 2, 3])
    np.testing.assert_allclose(without_tilt(T, centre), T, atol=1e-12)
    lean = from_rotation_translation(
        [[1, 0, 0], [0, np.cos(0.05), -np.sin(0.05)], [0, np.sin(0.05), np.cos(0.05)]], [0, 0, 0]
    )
    level = without_tilt(lean @ T, centre)
    np.testing.assert_allclose(level[2, :3], [0, 0, 1])
    np.testing.assert_allclose(level[:3, :3] @ centre + level[:3, 3], (lean @ T)[:3, :3] @ centre + (lean @ T)[:3, 3])
