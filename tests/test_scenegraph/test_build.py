import json

import numpy as np
import pytest
import shapely
from apartments import LABELS, Apartment, Opening, box, table, two_rooms

from mapping import Intrinsics
from mapping.mesh.mesh import Mesh
from mapping.se3 import from_rotation_translation, inverse, look_at
from scenegraph.boxes import box_iou
from scenegraph.build import CameraTrajectory, agent_nodes, build_scene_graph
from scenegraph.files.json_io import graph_to_json
from scenegraph.graph_config import AgentConfig, SceneGraphConfig, StructureConfig
from scenegraph.nodes import OrientedBox, TrackNode

CAMERA = Intrinsics(80, 80, 79.5, 59.5, 160, 120)

CORRECTING = SceneGraphConfig(structure=StructureConfig(corrects_labels=True))


def flat():
    """A bedroom (0..4 m) and a kitchen (4.12..7.12 m) with a door between them."""
    rooms = two_rooms()
    for thing in (
        box((0.02, 0.5, 0), (2.02, 2.1, 0.5), "bed"),
        box((0.02, 2.3, 0), (0.42, 2.7, 0.5), "night_stand"),
        box((6.4, 0.1, 0), (7.05, 0.75, 1.8), "refrigerator"),
        table((5.6, 2.2, 0)),
    ):
        rooms.furnish(thing)
    return rooms


def trajectory(rooms, intrinsics=CAMERA):
    poses = rooms.cameras()
    return CameraTrajectory(np.arange(len(poses)) * 0.5, poses, intrinsics)


def person(positions, number=0):
    times = np.arange(len(positions), dtype=float)
    return TrackNode("person", LABELS.id_of("person"), np.array([0.5, 0.5, 1.8]), times, np.asarray(positions, float))


def build(rooms, **options):
    return build_scene_graph(rooms.mesh(), rooms.free_space(), trajectory(rooms), LABELS, **options)


@pytest.fixture(scope="module")
def built():
    tracks = [person([[1.5, 2.5, 0.9], [3.0, 2.5, 0.9]]), person([[3.0, 1.5, 0.9], [5.0, 1.5, 0.9]])]
    T = from_rotation_translation(np.eye(3), [1.0, 2.0, 3.0])
    return build(flat(), tracks=tracks, T_input_world=T)


def test_the_graph_holds_every_layer_and_keeps_its_rules(built):
    graph, _ = built
    graph.validate()
    counts = graph.counts()
    assert {layer: counts[layer] for layer in ("building", "storey", "room", "object", "track")} == {
        "building": 1,
        "storey": 1,
        "room": 2,
        "object": 4,
        "track": 2,
    }
    assert counts["place"] > 10
    assert counts["agent"] > 4
    assert np.allclose(graph.T_input_world[:3, 3], [1, 2, 3])


def test_rooms_have_their_shapes_and_names(built):
    graph, _ = built
    rooms = [room for _, room in graph.nodes("room")]
    for room, truth, name in zip(rooms, flat().polygons(), ("bedroom", "kitchen"), strict=True):
        a, b = shapely.Polygon(room.polygon), shapely.Polygon(truth)
        assert a.intersection(b).area / a.union(b).area > 0.98
        assert room.label == name
        assert room.z_range == pytest.approx((0.0, 2.5), abs=0.02)


def test_objects_are_in_their_rooms_with_boxes_and_views(built):
    graph, _ = built
    where = {node.label: (graph.parent(key), node) for key, node in graph.nodes("object")}
    assert {label: parent for label, (parent, _) in where.items()} == {
        "bed": "R0",
        "night_stand": "R0",
        "refrigerator": "R1",
        "table": "R1",
    }
    bed = where["bed"][1]
    truth = OrientedBox(np.array([1.02, 1.3, 0.25]), np.array([2.0, 1.6, 0.5]), np.eye(3))
    assert box_iou(bed.box, truth) > 0.93
    assert bed.views > 0
    assert all(node.views < 9 for _, node in where.values())  # eight cameras stand in each room


def test_mesh_vertices_bear_the_numbers_of_their_objects(built):
    graph, mesh = built
    numbers = {node.number: node for _, node in graph.nodes("object")}
    assert set(np.unique(mesh.objects)) == {0, *numbers}
    for number, node in numbers.items():
        assert (mesh.labels[mesh.objects == number] == node.label_id).all()


def test_everything_has_one_parent_down_to_the_building(built):
    graph, _ = built
    for key, node in graph.nodes():
        assert (graph.parent(key) is None) == (node.layer == "building")
        assert key == "B0" or graph.ancestor(key, "building") == "B0"
    for key, node in graph.nodes("place"):
        assert graph.parent(key) == ("R0" if node.position[0] < 4.06 else "R1")


def test_the_door_joins_the_rooms_where_it_is(built):
    graph, _ = built
    (edge,) = graph.edges("room_edge")
    assert (edge.source, edge.target) == ("R0", "R1")
    assert edge.attributes["door"] == pytest.approx([4.06, 1.5, 0.0], abs=0.12)
    assert edge.attributes["width"] == pytest.approx(0.9, abs=0.15)
    assert edge.attributes["evidence"]["lintel"] is True


def test_place_edges_carry_their_clearance(built):
    graph, _ = built
    edges = graph.edges("place_edge")
    assert len(edges) > 10
    for edge in edges:
        assert 0.2 < edge.attributes["clearance"] <= min(graph[edge.source].radius, graph[edge.target].radius) + 0.05


def test_a_track_belongs_to_the_room_it_never_leaves(built):
    graph, _ = built
    assert [graph.parent(key) for key, _ in graph.nodes("track")] == ["R0", "B0"]


def test_the_same_map_gives_the_same_file():
    first, second = (json.dumps(graph_to_json(build(flat())[0])) for _ in range(2))
    assert first == second


def test_a_map_without_labels_has_structure_and_unknown_objects():
    rooms = flat()
    mesh = rooms.mesh()
    bare = Mesh(mesh.vertices, mesh.faces)
    graph, labelled = build_scene_graph(bare, rooms.free_space(), trajectory(rooms), LABELS)
    graph.validate()
    assert graph.counts()["room"] == 2
    assert {node.label for _, node in graph.nodes("object")} == {"unknown"}
    assert len(graph.nodes("object")) >= 4
    assert {LABELS.name_of(int(i)) for i in np.unique(labelled.labels)} == {"unknown", "wall", "floor", "ceiling"}


def test_labels_that_are_to_be_corrected_but_are_missing_leave_unknown_objects():
    rooms = flat()
    mesh = rooms.mesh()
    blank = Mesh(mesh.vertices, mesh.faces, labels=np.zeros_like(mesh.labels))
    graph, _ = build_scene_graph(blank, rooms.free_space(), trajectory(rooms), LABELS, config=CORRECTING)
    assert {node.label for _, node in graph.nodes("object")} == {"unknown"}
    assert len(graph.nodes("object")) >= 4


def test_predicted_labels_do_not_decide_where_the_floor_is():
    """The floor is called sofa, and table tops are called floor: the storey begins at the floor all the same."""
    rooms = flat()
    mesh = rooms.mesh()
    labels = mesh.labels.copy()
    labels[mesh.labels == LABELS.id_of("floor")] = LABELS.id_of("sofa")
    labels[mesh.labels == LABELS.id_of("table")] = LABELS.id_of("floor")
    wrong = Mesh(mesh.vertices, mesh.faces, labels=labels)
    graph, corrected = build_scene_graph(wrong, rooms.free_space(), trajectory(rooms), LABELS, config=CORRECTING)
    ((_, storey),) = graph.nodes("storey")
    assert storey.z_range[0] == pytest.approx(0.0, abs=0.05)
    assert "sofa" not in {node.label for _, node in graph.nodes("object")}
    ground = mesh.labels == LABELS.id_of("floor")
    assert (corrected.labels[ground] == LABELS.id_of("floor")).mean() > 0.95


def test_two_storeys_have_their_own_rooms_and_objects():
    low, high = Apartment([(0, 0, 4, 3)]), Apartment([(0, 0, 4, 3)], z=2.8)
    low.furnish(box((1, 1, 0), (2, 2, 0.5), "sofa"))
    high.furnish(box((1, 1, 2.8), (2.9, 2, 3.3), "bed"))
    from mapping.distance_field import build_free_space
    from mapping.mesh.mesh import concatenate

    mesh = concatenate([low.mesh(), high.mesh()])
    free = build_free_space(mesh.vertices, lambda p: low.is_free(p) | high.is_free(p))
    poses = np.concatenate([low.cameras(), high.cameras()])
    graph, _ = build_scene_graph(mesh, free, CameraTrajectory(np.arange(16.0), poses, CAMERA), LABELS)
    assert [node.z_range for _, node in graph.nodes("storey")] == [
        pytest.approx((0, 2.5), abs=0.02),
        pytest.approx((2.8, 5.3), abs=0.02),
    ]
    assert {node.label: graph.ancestor(key, "storey") for key, node in graph.nodes("object")} == {
        "sofa": "F0",
        "bed": "F1",
    }


def test_without_intrinsics_views_are_not_counted():
    rooms = flat()
    graph, _ = build_scene_graph(rooms.mesh(), rooms.free_space(), trajectory(rooms, None), LABELS)
    assert all(node.views == 0 for _, node in graph.nodes("object"))


def test_settings_reach_their_stages():
    config = SceneGraphConfig(objects={"min_area": 3.0}, agents={"min_distance": 100.0})
    graph, _ = build(flat(), config=config)
    assert {node.label for _, node in graph.nodes("object")} == {"bed", "refrigerator"}
    assert graph.counts()["agent"] == 1


def test_an_empty_map_is_a_building_with_a_storey():
    rooms = Apartment([(0, 0, 4, 3)])
    free = rooms.free_space()
    graph, mesh = build_scene_graph(Mesh.empty(), free, trajectory(rooms), LABELS)
    graph.validate()
    assert graph.counts()["storey"] == 1
    assert graph.counts()["object"] == 0
    assert len(mesh.vertices) == 0


# --- the agent layer ---


def poses_along_x(steps):
    return np.array([from_rotation_translation(np.eye(3), [x, 0, 1.5]) for x in np.cumsum(steps)])


def test_poses_become_agents_when_the_camera_has_moved_and_time_has_passed():
    poses = poses_along_x([0.0, 0.3, 0.3, 0.6, 0.6, 0.1])
    times = np.array([0.0, 1.0, 2.0, 2.1, 2.2, 3.0])
    nodes = agent_nodes(CameraTrajectory(times, poses), AgentConfig())
    assert [node.time for node in nodes] == [0.0, 2.0, 2.2]
    assert [node.position[0] for node in nodes] == pytest.approx([0.0, 0.6, 1.8])


def test_turning_counts_as_moving():
    turned = from_rotation_translation(np.diag([-1.0, -1.0, 1.0]), [0.3, 0, 1.5])  # Frobenius distance sqrt(8)
    poses = np.array([from_rotation_translation(np.eye(3), [0, 0, 1.5]), turned])
    assert len(agent_nodes(CameraTrajectory(np.array([0.0, 1.0]), poses), AgentConfig())) == 2
    assert len(agent_nodes(CameraTrajectory(np.array([0.0, 1.0]), poses), AgentConfig(turn_weight=0.0))) == 1


def test_agents_face_where_the_camera_did():
    pose = look_at([0, 0, 1.5], [1.0, 2.0, 1.2])
    (node,) = agent_nodes(CameraTrajectory(np.zeros(1), pose[None]), AgentConfig())
    from mapping.se3 import rotation_from_quat_xyzw

    assert np.allclose(rotation_from_quat_xyzw(node.rotation_xyzw), pose[:3, :3])
    assert agent_nodes(CameraTrajectory(np.zeros(0), np.zeros((0, 4, 4))), AgentConfig()) == []


def test_trajectories_that_do_not_fit_are_rejected():
    with pytest.raises(ValueError, match=r"CameraTrajectory\.T_world_camera must be \(2, 4, 4\)"):
        CameraTrajectory(np.zeros(2), np.zeros((3, 4, 4)))
    with pytest.raises(ValueError, match=r"CameraTrajectory\.times must not decrease"):
        CameraTrajectory(np.array([1.0, 0.0]), np.zeros((2, 4, 4)))


def test_an_open_plan_is_one_room():
    rooms = Apartment([(0, 0, 4, 3), (4, 0, 8, 3)], [Opening(0, 4.0, 1.5, 2.999, 2.5)])
    graph, _ = build(rooms)
    assert graph.counts()["room"] == 1
    assert np.allclose(inverse(graph.T_input_world), np.eye(4))
