import csv
import json

import apartments
import networkx as nx
import numpy as np
import pytest
from helpers import box_mesh
from scenes import make_object, small_flat
from shapely.geometry import shape

from mapping.mesh.mesh import Mesh, concatenate
from mapping.se3 import from_rotation_translation, rotation_from_quat_xyzw
from scenegraph import SceneGraph
from scenegraph.files.export import (
    export_floorplan,
    export_graphml,
    export_objects_csv,
    write_trajectory_tum,
    yaw_deg,
)
from scenegraph.files.spark_dsg import export_map_dsg, export_spark_dsg, node_id_from_symbol
from scenegraph.labels import LabelClass, LabelSpace, nyu40
from scenegraph.nodes import ObjectNode, OrientedBox

EXPORTERS = {
    "graphml": export_graphml,
    "csv": export_objects_csv,
    "geojson": export_floorplan,
    "json": export_spark_dsg,
}


@pytest.mark.parametrize("name", EXPORTERS)
def test_exporters_write_the_same_bytes_again_and_leave_nothing_else(name, tmp_path):
    for graph in (small_flat(), SceneGraph(nyu40())):
        first, second = tmp_path / f"a.{name}", tmp_path / f"b.{name}"
        EXPORTERS[name](graph, first)
        EXPORTERS[name](graph, second)
        assert first.read_bytes() == second.read_bytes()
        assert first.stat().st_size > 0
    assert len(list(tmp_path.iterdir())) == 2


@pytest.mark.parametrize("name", EXPORTERS)
def test_exporters_name_a_missing_folder(name, tmp_path):
    with pytest.raises(FileNotFoundError, match="does not exist"):
        EXPORTERS[name](small_flat(), tmp_path / "none" / f"a.{name}")


def test_graphml_is_read_back_with_its_attributes(tmp_path):
    graph = small_flat()
    graph.add(make_object("chair", [0, 0, 0]), parent="R0")
    export_graphml(graph, tmp_path / "g.graphml")
    read = nx.read_graphml(tmp_path / "g.graphml")
    assert set(read.nodes) == set(graph.nx.nodes)
    assert set(read.edges) == set(graph.nx.edges)
    table = read.nodes["O0"]
    assert table["label"] == "table"
    assert table["layer"] == "object"
    assert (table["x"], table["y"], table["z"]) == (1.0, 2.0, 0.4)
    assert (table["size_x"], table["size_y"], table["size_z"]) == (1.2, 0.8, 0.8)
    assert table["yaw_deg"] == pytest.approx(np.rad2deg(0.3), abs=1e-3)
    assert read.nodes["R1"]["polygon"] == "POLYGON ((4.0 0.0, 8.0 0.0, 8.0 3.0, 4.0 3.0, 4.0 0.0))"
    assert read.nodes["T0"]["times"] == "[0.0, 1.0, 2.0, 6.0]"
    assert read.edges["O3", "O0"] == {"kind": "on", "score": 0.9, "evidence": '{"gap": 0.01}'}
    assert read.edges["R0", "O0"] == {"kind": "contains"}


def test_objects_table(tmp_path):
    graph = small_flat()
    graph.add(make_object("lamp", [-1, 0, 2]))
    export_objects_csv(graph, tmp_path / "o.csv")
    with (tmp_path / "o.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["id"] for row in rows] == ["O0", "O1", "O2", "O3", "O4"]
    assert rows[0] == {
        "id": "O0",
        "label": "table",
        "label_id": "7",
        "room": "R0",
        "room_label": "kitchen",
        "storey": "F0",
        "x": "1.0000",
        "y": "2.0000",
        "z": "0.4000",
        "size_x": "1.2000",
        "size_y": "0.8000",
        "size_z": "0.8000",
        "yaw_deg": "17.19",
        "views": "12",
        "confidence": "0.9000",
        "presence": "",
    }
    assert rows[2]["presence"] == "0.000/2.000;6.000/9.000"
    assert (rows[4]["room"], rows[4]["room_label"], rows[4]["storey"]) == ("", "", "")


@pytest.mark.parametrize("angle", [-180.0, -90.0, 0.0, 17.0, 135.0])
def test_yaw_of_a_box(angle):
    assert yaw_deg(make_object("chair", [0, 0, 0], yaw=np.deg2rad(angle)).box) == pytest.approx(angle)


@pytest.mark.parametrize("label", ["=cmd|'/C calc'!A0", "+1", "-1", "@SUM(1)"])
def test_no_class_name_is_a_formula(tmp_path, label):
    space = LabelSpace("hostile", (*nyu40().classes, LabelClass(99, label, (0, 0, 0), "object")))
    graph = SceneGraph(space)
    center = np.array([-1.0, -2.0, -0.4])
    graph.add(ObjectNode(label, 99, center, OrientedBox(center, np.ones(3), np.eye(3))))
    export_objects_csv(graph, tmp_path / "objects.csv")
    with (tmp_path / "objects.csv").open(encoding="utf-8", newline="") as file:
        (row,) = csv.DictReader(file)
    assert row["label"] == f"'{label}"
    assert float(row["x"]) == -1.0  # a number is no formula, whatever its sign


def test_any_class_name_is_valid_in_every_format(tmp_path):
    label = '[2J<b>&"]]>/x'
    space = LabelSpace("hostile", (*nyu40().classes, LabelClass(99, label, (0, 0, 0), "object")))
    graph = SceneGraph(space)
    graph.add(ObjectNode(label, 99, np.zeros(3), OrientedBox(np.zeros(3), np.ones(3), np.eye(3))))
    for name, export in EXPORTERS.items():
        export(graph, tmp_path / f"a.{name}")
    assert nx.read_graphml(tmp_path / "a.graphml").nodes["O0"]["label"] == label
    for name in ("geojson", "json"):
        json.loads((tmp_path / f"a.{name}").read_text(encoding="utf-8"))


def test_floorplan(tmp_path):
    graph = small_flat()
    graph.replace("R1", graph["R1"].__class__(**{**vars(graph["R1"]), "polygon": graph["R1"].polygon[::-1]}))
    export_floorplan(graph, tmp_path / "f.geojson")
    data = json.loads((tmp_path / "f.geojson").read_text())
    assert data["type"] == "FeatureCollection"
    assert data["crs"]["type"] == "name"
    assert data["crs"]["properties"]["name"].startswith(
        'LOCAL_CS["m2h map",UNIT["metre",1]'
    )  # which GDAL reads as such
    features = data["features"]
    shapes = [shape(feature["geometry"]) for feature in features]
    assert all(each.is_valid for each in shapes)
    assert all(each.exterior.is_ccw for each in shapes if each.geom_type == "Polygon")
    by_kind = {}
    for feature, each in zip(features, shapes, strict=True):
        by_kind.setdefault(feature["properties"]["kind"], []).append((feature["properties"], each))
    assert {kind: len(found) for kind, found in by_kind.items()} == {
        "room": 2,
        "door": 1,
        "object": 4,
        "track": 1,
        "camera": 1,
    }
    assert [each.area for _, each in by_kind["room"]] == [12.0, 12.0]
    assert by_kind["door"][0][0] == {"kind": "door", "rooms": ["R0", "R1"], "z": 0.0, "storey": "F0"}
    assert by_kind["door"][0][1].coords[0] == (4.0, 1.5)
    table, footprint = by_kind["object"][0]
    assert table == {
        "kind": "object",
        "id": "O0",
        "label": "table",
        "room": "R0",
        "z_min": 0.0,
        "z_max": 0.8,
        "storey": "F0",
    }
    assert footprint.area == pytest.approx(1.2 * 0.8, abs=1e-3)
    assert footprint.centroid.coords[0] == pytest.approx((1, 2), abs=1e-3)
    assert by_kind["track"][0][1].length == pytest.approx(6.0)
    assert by_kind["camera"][0][0]["times"] == [0.0, 1.0, 2.0]


def test_trajectory_has_the_hand_computed_line(tmp_path):
    quarter_turn = from_rotation_translation(rotation_from_quat_xyzw([0, 0, np.sqrt(0.5), np.sqrt(0.5)]), [1, 2, 3])
    write_trajectory_tum([10.5, 11.0], [np.eye(4), quarter_turn], tmp_path / "t.tum")
    assert (tmp_path / "t.tum").read_text().splitlines() == [
        "# timestamp tx ty tz qx qy qz qw",
        "10.500000 0.000000 0.000000 0.000000 0.000000 0.000000 0.000000 1.000000",
        "11.000000 1.000000 2.000000 3.000000 0.000000 0.000000 0.707107 0.707107",
    ]
    write_trajectory_tum([], np.zeros((0, 4, 4)), tmp_path / "empty.tum")
    assert len((tmp_path / "empty.tum").read_text().splitlines()) == 1


def test_trajectory_rejects_what_does_not_match(tmp_path):
    for times, poses in (([0.0], np.zeros((0, 4, 4))), ([np.nan], [np.eye(4)]), ([0.0], [np.full((4, 4), np.nan)])):
        with pytest.raises(ValueError, match="one finite pose per time"):
            write_trajectory_tum(times, poses, tmp_path / "t.tum")


# ---- spark_dsg ------------------------------------------------------------------------------------------------------


def map_mesh():
    """Two boxes: object 3 with 8 vertices, then object 1 with 8 vertices."""
    boxes = [box_mesh((1.2, 0.8, 0.8), (1, 2, 0.4)), box_mesh((0.5, 0.6, 1.0), (2.5, 1, 0.5))]
    fields = [
        {"colors": np.full((8, 3), color, np.uint8), "labels": np.full(8, label, np.uint16)}
        | {"objects": np.full(8, number, np.uint32)}
        for color, label, number in ((200, 7, 3), (50, 5, 1))
    ]
    return concatenate([Mesh(box.vertices, box.faces, **each) for box, each in zip(boxes, fields, strict=True)])


@pytest.fixture
def dsg(tmp_path):
    """The small flat through spark_dsg: as loaded from its JSON, and once more through its binary format."""
    spark_dsg = pytest.importorskip("spark_dsg", reason="the dsg extra is not installed")
    export_spark_dsg(small_flat(), tmp_path / "g.json", map_mesh())
    loaded = spark_dsg.DynamicSceneGraph.load(str(tmp_path / "g.json"))
    loaded.save(str(tmp_path / "g.sparkdsg"))
    binary = spark_dsg.DynamicSceneGraph.load(str(tmp_path / "g.sparkdsg"))
    return spark_dsg, [loaded, binary]


def test_spark_dsg_loads_every_node(dsg):
    spark_dsg, graphs = dsg
    for graph in graphs:
        layers = spark_dsg.DsgLayers
        counts = {name: graph.get_layer(name).num_nodes() for name in (layers.OBJECTS, layers.PLACES, layers.ROOMS)}
        assert counts == {layers.OBJECTS: 5, layers.PLACES: 4, layers.ROOMS: 2}  # four objects and a track
        assert graph.get_layer(layers.BUILDINGS).num_nodes() == 1
        assert graph.get_layer(2, "a").num_nodes() == 3
        assert graph.num_nodes() == 15


def test_spark_dsg_hierarchy_has_one_parent_per_node(dsg):
    spark_dsg, graphs = dsg
    symbol = spark_dsg.NodeSymbol
    expected = {
        symbol("O", 0): symbol("p", 0),
        symbol("O", 1): symbol("p", 1),
        symbol("O", 2): symbol("p", 2),
        symbol("O", 4): symbol("p", 0),
        symbol("a", 2): symbol("p", 1),
        symbol("p", 3): symbol("R", 1),
        symbol("R", 0): symbol("B", 0),
    }
    for graph in graphs:
        for child, parent in expected.items():
            assert graph.get_node(child).get_parent() == parent.value
        for node in graph.nodes:
            assert node.has_parent() == (node.id.category != "B")


def test_spark_dsg_attributes(dsg):
    spark_dsg, graphs = dsg
    symbol = spark_dsg.NodeSymbol
    for graph in graphs:
        table = graph.get_node(symbol("O", 0)).attributes
        assert type(table).__name__ == "ObjectNodeAttributes"
        assert (table.name, table.semantic_label) == ("table", 7)
        np.testing.assert_allclose(table.position, [1, 2, 0.4])
        assert table.bounding_box.type == spark_dsg.BoundingBoxType.RAABB
        np.testing.assert_allclose(table.bounding_box.dimensions, [1.2, 0.8, 0.8], atol=1e-6)
        np.testing.assert_allclose(table.bounding_box.world_P_center, [1, 2, 0.4], atol=1e-6)
        yaw = np.arctan2(table.bounding_box.world_R_center[1, 0], table.bounding_box.world_R_center[0, 0])
        assert yaw == pytest.approx(0.3, abs=1e-5)
        assert list(table.mesh_connections) == list(range(8))
        assert table.metadata.get()["m2h"]["id"] == "O0"
        assert table.metadata.get()["m2h"]["room"] == "R0"
        assert list(graph.get_node(symbol("O", 1)).attributes.mesh_connections) == list(range(8, 16))
        room = graph.get_node(symbol("R", 0)).attributes
        assert room.name == "kitchen"
        assert room.semantic_class_probabilities == {"kitchen": 0.75, "office": 0.25}
        assert graph.get_labelspace(4, 0).labels_to_names[room.semantic_label] == "kitchen"
        assert room.bounding_box.type == spark_dsg.BoundingBoxType.AABB
        np.testing.assert_allclose(room.bounding_box.dimensions, [4, 3, 2.5])
        place = graph.get_node(symbol("p", 1)).attributes
        assert place.distance == pytest.approx(0.8)
        agent = graph.get_node(symbol("a", 2)).attributes
        assert agent.timestamp.total_seconds() == 2.0
        assert agent.external_key == symbol("a", 2).value
        assert graph.get_labelspace(2, 0).labels_to_names[5] == "chair"


def test_spark_dsg_has_presence_and_trajectory(dsg):
    spark_dsg, graphs = dsg
    symbol = spark_dsg.NodeSymbol
    for graph in graphs:
        chair = graph.get_node(symbol("O", 2)).attributes
        assert type(chair).__name__ == "KhronosObjectAttributes"
        assert list(chair.first_observed_ns) == [0, 6_000_000_000]
        assert list(chair.last_observed_ns) == [2_000_000_000, 9_000_000_000]
        person = graph.get_node(symbol("O", 4)).attributes
        assert person.name == "person"
        assert list(person.trajectory_timestamps) == [0, 1_000_000_000, 2_000_000_000, 6_000_000_000]
        np.testing.assert_allclose(person.trajectory_positions[3], [7, 1.5, 0.9], atol=1e-6)
        assert person.metadata.get()["m2h"]["id"] == "T0"


def test_spark_dsg_edges_and_mesh(dsg):
    spark_dsg, graphs = dsg
    symbol = spark_dsg.NodeSymbol
    for graph in graphs:
        clearance = graph.get_edge(symbol("p", 0), symbol("p", 1)).info
        assert clearance.weighted
        assert clearance.weight == pytest.approx(0.4)
        assert graph.has_edge(symbol("R", 0), symbol("R", 1))
        assert graph.has_edge(symbol("a", 0), symbol("a", 1))
        (relation,) = graph.get_edge(symbol("O", 3), symbol("O", 0)).info.metadata.get()["m2h"]["relations"]
        assert relation == {"kind": "on", "source": "O3", "target": "O0", "score": 0.9, "evidence": {"gap": 0.01}}
        # building 2, places 4, objects and track 5, poses 3; then place_edge 3, room_edge 1, on 1, consecutive poses 2
        assert graph.num_edges() == 21
        assert graph.mesh.num_vertices() == 16
        assert graph.mesh.num_faces() == 24
        assert graph.metadata.get()["m2h"]["storeys"] == {"F0": [0.0, 2.5]}


def test_spark_dsg_with_two_relations_between_the_same_objects(tmp_path):
    spark_dsg = pytest.importorskip("spark_dsg", reason="the dsg extra is not installed")
    graph = small_flat()
    graph.connect("O0", "O3", kind="part_of")
    graph.connect("O0", "R1", kind="next_to")
    export_spark_dsg(graph, tmp_path / "g.json")
    loaded = spark_dsg.DynamicSceneGraph.load(str(tmp_path / "g.json"))
    symbol = spark_dsg.NodeSymbol
    found = loaded.get_edge(symbol("O", 3), symbol("O", 0)).info.metadata.get()["m2h"]["relations"]
    assert {relation["kind"] for relation in found} == {"on", "part_of"}
    table = loaded.get_node(symbol("O", 0))
    assert table.get_parent() == symbol("p", 0).value
    assert table.attributes.metadata.get()["m2h"]["relations"][0]["kind"] == "next_to"


def test_spark_dsg_without_rooms_or_places(tmp_path):
    spark_dsg = pytest.importorskip("spark_dsg", reason="the dsg extra is not installed")
    graph = SceneGraph(nyu40())
    graph.add(small_flat()["B0"])
    graph.add(make_object("chair", [1, 2, 3]), parent="B0")
    graph.add(small_flat()["A0"])
    export_spark_dsg(graph, tmp_path / "g.json")
    loaded = spark_dsg.DynamicSceneGraph.load(str(tmp_path / "g.json"))
    symbol = spark_dsg.NodeSymbol
    assert loaded.get_node(symbol("O", 0)).get_parent() == symbol("B", 0).value
    assert not loaded.get_node(symbol("a", 0)).has_parent()


def test_node_symbol_is_the_one_of_the_golden_sample():
    assert node_id_from_symbol("R", 0) == 5908722711110090752
    assert node_id_from_symbol("p", 2) == 8070450532247928834


def test_agent_rotation_is_the_camera_pose(tmp_path):
    export_spark_dsg(small_flat(), tmp_path / "g.json")
    data = json.loads((tmp_path / "g.json").read_text())
    (agent,) = (node["attributes"] for node in data["nodes"] if node["id"] == node_id_from_symbol("a", 0))
    quaternion = [agent["world_R_body"][axis] for axis in "xyzw"]
    np.testing.assert_allclose(quaternion, small_flat()["A0"].rotation_xyzw)


def test_the_mesh_of_a_map_is_coarser_in_spark_dsg_and_objects_still_have_their_vertices(tmp_path):
    spark_dsg = pytest.importorskip("spark_dsg", reason="the dsg extra is not installed")
    graph = small_flat()
    top = box("table", 3, (1, 2, 0.4), (1.2, 0.8, 0.8))
    rest = box("wall", 0, (4, 1.5, 1.25), (0.1, 3, 2.5))
    mesh = concatenate([top, rest])
    export_map_dsg(graph, tmp_path / "coarse.json", mesh)
    export_spark_dsg(graph, tmp_path / "fine.json", mesh)
    assert (tmp_path / "coarse.json").stat().st_size < (tmp_path / "fine.json").stat().st_size / 3
    loaded = spark_dsg.DynamicSceneGraph.load(str(tmp_path / "coarse.json"))
    table = loaded.get_node(spark_dsg.NodeSymbol("O", 0)).attributes
    vertices = np.array(loaded.mesh.get_vertices())[:3].T
    chosen = vertices[list(table.mesh_connections)]
    assert len(chosen) > 50
    assert np.abs(chosen - [1, 2, 0.4]).max(axis=0) == pytest.approx([0.6, 0.4, 0.4], abs=0.05)


def box(label, number, center, size):
    """A box of small triangles of one label and object."""
    mesh = apartments.box(np.subtract(center, np.divide(size, 2)), np.add(center, np.divide(size, 2)), label, step=0.02)
    return Mesh(mesh.vertices, mesh.faces, None, mesh.labels, np.full(len(mesh.vertices), number, np.uint32))
