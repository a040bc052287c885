"""Synthetic sequences on disk: readable, correct, complete or absent, and deterministic."""

import hashlib
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import shapely
from pydantic import ValidationError

from mapping.mesh.io import read_mesh
from mapping.se3 import transform_points
from pipelines.sequences.detect import open_sequence
from pipelines.synth.generate import WorldConfig, generate_world
from pipelines.synth.rendering.lighting import LightingConfig
from pipelines.synth.rendering.render import Renderer
from pipelines.synth.simulate import SynthConfig, SynthError, simulate
from scenegraph import load_scene_graph
from scenegraph.labels import nyu40

LIGHTING = LightingConfig(step=0.25, rays=6, bounces=1)
CONFIG = SynthConfig(
    seed=3, people=1, frames=24, width=80, height=60, world=WorldConfig(rooms=2, clutter=0.3), lighting=LIGHTING
)

TINY = SynthConfig(frames=3, width=32, height=24, world=WorldConfig(rooms=1, clutter=0.0), lighting=LIGHTING)


def hashes(folder):
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(Path(folder).rglob("*"))
        if path.is_file()
    }


@pytest.fixture(scope="module")
def rendered(tmp_path_factory):
    out = tmp_path_factory.mktemp("synth") / "world"
    calls = []
    result = simulate(out, CONFIG, progress=lambda *call: calls.append(call))
    assert calls == [("prepare", k, 3) for k in range(4)] + [("render", k + 1, 24) for k in range(24)]
    assert result == {"frames": 24, "visits": 1, "sequences": [str(out)], "rendered": True}
    return out


@pytest.fixture(scope="module")
def two_visits(tmp_path_factory):
    out = tmp_path_factory.mktemp("synth") / "deep" / "world"
    world = WorldConfig(rooms=1, clutter=0.3, visits=2, moved=2, added=1, removed=1)
    config = SynthConfig(seed=4, frames=4, width=48, height=36, world=world, lighting=LIGHTING, image_format="jpg")
    assert simulate(out, config)["sequences"] == [str(out / "visit_0"), str(out / "visit_1")]
    return out, config


def test_a_sequence_reads_back_exactly(rendered):
    sequence = open_sequence(rendered)
    assert len(sequence) == 24
    assert sequence.world_up == (0.0, 0.0, 1.0)
    assert sequence.label_space == nyu40()
    renderer = Renderer(generate_world(CONFIG.world, CONFIG.seed), 0)
    for index in (0, 11, 23):
        frame = sequence[index]
        assert frame.rgb.std() > 5
        view = renderer.view(frame.intrinsics, frame.T_world_camera)
        still = frame.recorded.labels != nyu40().id_of("person")
        np.testing.assert_allclose(frame.recorded.depth[still], view.depth[still], atol=0.00051)
        np.testing.assert_array_equal(frame.recorded.labels[still], view.labels[still])
        np.testing.assert_array_equal(frame.recorded.instances[still], view.instances[still])
        np.testing.assert_allclose(frame.recorded.normals[still], view.normals[still], atol=0.01)
        assert set(np.unique(frame.recorded.edges)) <= {0.0, 1.0}
    assert np.diff([info.timestamp for info in sequence.infos]).min() > 0


def test_the_true_mesh_is_what_the_depth_shows(rendered):
    mesh = read_mesh(rendered / "ground_truth" / "mesh.ply")
    assert mesh.labels is not None
    assert mesh.objects is not None
    assert mesh.colors is not None
    assert (mesh.face_areas() > 0).all()
    world = generate_world(CONFIG.world, CONFIG.seed)
    for body in world.bodies[:: len(world.bodies) // 6]:
        mine = mesh.objects == body.number
        assert set(mesh.labels[mine]) == {body.label_id}
        box = body.box(0)
        local = (mesh.vertices[mine] - box.center) @ box.rotation
        np.testing.assert_allclose(np.abs(local).max(axis=0), box.size / 2, atol=1e-4)
    frame = open_sequence(rendered)[5]
    seen = np.unique(frame.recorded.instances)
    assert set(seen) - {world.bodies[-1].number + 1} <= set(mesh.objects)


def test_the_true_graph_tells_rooms_objects_and_supports(rendered):
    world = generate_world(CONFIG.world, CONFIG.seed)
    graph = load_scene_graph(rendered / "ground_truth" / "scene_graph.json")
    assert [node.label for _, node in graph.nodes("room")] == [room.kind for room in world.rooms]
    assert len(graph.nodes("storey")) == 1
    assert len(graph.nodes("agent")) == 24
    assert graph.metadata["changes"] == []
    for key, node in graph.nodes("room"):
        assert graph.ancestor(key, "building") == "B0"
        assert node.area == pytest.approx(shapely.Polygon(node.polygon).area, rel=1e-3)
    bodies = {body.number: body for body in world.bodies if body.is_object}
    objects = {node.number: (key, node) for key, node in graph.nodes("object")}
    assert set(objects) == set(bodies)
    for number, (key, node) in objects.items():
        np.testing.assert_allclose(node.box.corners(), bodies[number].box(0).corners(), atol=2e-4)
        assert node.label_id == bodies[number].label_id
        room = graph[graph.parent(key)]
        assert shapely.Polygon(room.polygon).buffer(0.3).contains(shapely.Point(node.position[:2]))
    supports = {(edge.source, edge.target) for edge in graph.edges("on")}
    wanted = {(objects[b.number][0], objects[b.supported_by][0]) for b in bodies.values() if b.supported_by in bodies}
    assert supports == wanted
    (edge,) = graph.edges("room_edge")
    np.testing.assert_allclose(edge.attributes["door"], world.openings[0].position, atol=1e-4)


def test_views_are_the_frames_that_see_an_object(rendered):
    sequence = open_sequence(rendered)
    graph = load_scene_graph(rendered / "ground_truth" / "scene_graph.json")
    images = np.stack([sequence[k].recorded.instances for k in range(len(sequence))])
    views = {node.number: node.views for _, node in graph.nodes("object")}
    for number, count in views.items():
        assert count == ((images == number).sum(axis=(1, 2)) >= 40).sum()
    assert sum(count > 0 for count in views.values()) > 0.5 * len(views)


def test_the_true_track_is_where_the_person_is_seen(rendered):
    sequence = open_sequence(rendered)
    graph = load_scene_graph(rendered / "ground_truth" / "scene_graph.json")
    ((key, track),) = graph.nodes("track")
    assert track.label == "person"
    np.testing.assert_allclose(track.times, [info.timestamp for info in sequence.infos], atol=1e-5)
    pixels = graph.metadata["visibility"][key]
    number = max(body.number for body in generate_world(CONFIG.world, CONFIG.seed).bodies) + 1
    assert max(pixels) > 40
    for k, count in enumerate(pixels):
        frame = sequence[k]
        mine = frame.recorded.instances == number
        assert mine.sum() == count
        if count > 40:
            points = (frame.intrinsics.rays() * frame.recorded.depth[..., None])[mine]
            local = np.abs(transform_points(frame.T_world_camera, points) - track.positions[k])
            assert (local.max(axis=0) < [0.6, 0.6, 1.05]).all()
    assert 1.4 < track.size[2] < 2.0
    assert 0.3 < track.size[0] == track.size[1] < 0.9


def test_agents_are_the_cameras(rendered):
    sequence = open_sequence(rendered)
    graph = load_scene_graph(rendered / "ground_truth" / "scene_graph.json")
    for (_, agent), info in zip(graph.nodes("agent"), sequence.infos, strict=True):
        np.testing.assert_allclose(agent.position, info.T_world_camera[:3, 3], atol=1e-4)
        assert agent.time == pytest.approx(info.timestamp, abs=1e-5)


def test_the_same_settings_give_the_same_bytes(rendered, tmp_path):
    simulate(tmp_path / "again", CONFIG)
    assert hashes(tmp_path / "again") == hashes(rendered)


def test_other_noise_leaves_the_truth_alone(tmp_path):
    simulate(tmp_path / "noisy", TINY)
    simulate(tmp_path / "clean", replace(TINY, optics=replace(TINY.optics, noise=0.0, shutter=0.0)))
    first, second = hashes(tmp_path / "noisy"), hashes(tmp_path / "clean")
    same = {name for name in first if first[name] == second[name]}
    assert all(name in same for name in first if not name.startswith("images") and "json" not in name)
    assert not any(name in same for name in first if name.startswith("images"))


def test_a_finished_folder_is_left_as_it_is(rendered):
    before = {path: path.stat().st_mtime_ns for path in rendered.rglob("*")}
    assert simulate(rendered, CONFIG) == {"frames": 24, "visits": 1, "sequences": [str(rendered)], "rendered": False}
    assert before == {path: path.stat().st_mtime_ns for path in rendered.rglob("*")}


def test_a_folder_with_anything_else_is_rejected(rendered, tmp_path):
    with pytest.raises(SynthError, match="made with other settings"):
        simulate(rendered, replace(CONFIG, seed=5))
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(SynthError, match="not empty"):
        simulate(tmp_path, CONFIG)
    with pytest.raises(SynthError, match="is a file"):
        simulate(tmp_path / "notes.txt", CONFIG)
    (tmp_path / "synth.json").write_text("{")
    with pytest.raises(SynthError, match="not empty"):
        simulate(tmp_path, CONFIG)
    assert (tmp_path / "notes.txt").read_text() == "mine"


def test_nothing_is_left_when_rendering_fails(tmp_path):
    def fail(what, done, total):
        if (what, done) == ("render", 2):
            raise RuntimeError("stop here")

    with pytest.raises(RuntimeError, match="stop here"):
        simulate(tmp_path / "world", TINY, progress=fail)
    assert list(tmp_path.iterdir()) == []


def test_an_empty_folder_is_taken(tmp_path):
    (tmp_path / "world").mkdir()
    simulate(tmp_path / "world", TINY)
    assert (tmp_path / "world" / "transforms.json").is_file()


def test_the_credits_of_catalogue_models_are_in_the_sequence(tmp_path, monkeypatch):
    credits = ("Chair by Somebody (CC-BY)",)
    monkeypatch.setattr(
        "pipelines.synth.simulate.generate_world", lambda *given: replace(generate_world(*given), credits=credits)
    )
    simulate(tmp_path / "world", TINY)
    assert json.loads((tmp_path / "world" / "transforms.json").read_text())["credits"] == list(credits)


def test_without_a_number_frames_follow_the_walk(tmp_path):
    result = simulate(tmp_path / "world", replace(TINY, frames=None, width=16, height=16))
    times = [info.timestamp for info in open_sequence(tmp_path / "world").infos]
    assert len(times) == result["frames"]
    np.testing.assert_allclose(np.diff(times), 1 / 3, rtol=0.05)


def test_two_visits_are_two_sequences_with_their_changes(two_visits):
    out, config = two_visits
    world = generate_world(config.world, config.seed)
    first, second = (load_scene_graph(out / f"visit_{k}" / "ground_truth" / "scene_graph.json") for k in (0, 1))
    assert first.metadata["changes"] == []
    changes = second.metadata["changes"]
    kinds = [change["kind"] for change in changes]
    assert kinds.count("appeared") == 1
    assert kinds.count("disappeared") >= 1
    assert kinds.count("moved") >= 2
    bodies = {body.number: body for body in world.bodies}
    for change in changes:
        body = bodies[change["number"]]
        for key, visit in (("from", 0), ("to", 1)):
            box = body.box(visit)
            assert (change[key] is None) == (box is None)
            if box is not None:
                np.testing.assert_allclose(change[key], box.center, atol=1e-3)
        assert (change["object"] is None) == (change["kind"] == "disappeared")
        if change["object"] is not None:
            assert second[change["object"]].number == change["number"]
            assert second[change["object"]].label == change["label"]
    paths = [open_sequence(out / f"visit_{k}") for k in (0, 1)]
    assert np.abs(paths[0].infos[0].T_world_camera - paths[1].infos[0].T_world_camera).max() > 0.01
    assert (out / "visit_0" / "images" / "000000.jpg").is_file()


def test_two_visits_are_recognised_as_finished(two_visits):
    out, config = two_visits
    assert simulate(out, config)["rendered"] is False
    assert json.loads((out / "synth.json").read_text())["frames"] == 8


def test_settings_are_checked():
    for bad in ({"width": 4}, {"people": -1}, {"frames": 1}, {"fov_deg": 190.0}, {"seed": -1}, {"colour": "red"}):
        with pytest.raises(ValidationError):
            SynthConfig(**bad)
    with pytest.raises(ValueError, match="LightingConfig"):
        LightingConfig(step=0.0)
    camera = SynthConfig(width=200, height=100, fov_deg=90.0).camera
    assert (camera.fx, camera.fy, camera.cx, camera.cy) == (pytest.approx(100.0), pytest.approx(100.0), 99.5, 49.5)
