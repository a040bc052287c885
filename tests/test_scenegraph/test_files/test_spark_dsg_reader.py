import json
from pathlib import Path

import numpy as np
import pytest
from scenes import small_flat

from scenegraph import save_scene_graph
from scenegraph.files.json_io import NODE_FIELDS, graph_to_json
from scenegraph.files.json_values import GraphFormatError
from scenegraph.files.spark_dsg import export_spark_dsg, node_id_from_symbol
from scenegraph.files.spark_dsg_reader import load_spark_dsg

APARTMENT = Path(__file__).parents[3].parent / "shared" / "data" / "spark_dsg" / "apartment_dsg.json"


@pytest.fixture
def exported(tmp_path):
    export_spark_dsg(small_flat(), tmp_path / "dsg.json")
    return tmp_path / "dsg.json"


def test_our_own_file_comes_back(exported):
    graph, loaded = small_flat(), load_spark_dsg(exported)
    assert [key for key, _ in loaded.nodes()] == [key for key, _ in graph.nodes()]
    assert loaded.label_space == graph.label_space
    assert loaded.metadata == graph.metadata
    np.testing.assert_allclose(loaded.T_input_world, graph.T_input_world)
    for key, node in graph.nodes():
        for name in set(NODE_FIELDS[node.layer]) - {"box", "number"}:
            expected, got = getattr(node, name), getattr(loaded[key], name)
            if isinstance(expected, np.ndarray):
                np.testing.assert_allclose(got, expected, atol=1e-9)
            else:
                assert got == expected, (key, name)
    for key, node in graph.nodes("object"):
        np.testing.assert_allclose(loaded[key].box.corners(), node.box.corners(), atol=1e-9)
    # A track may be attached to a place there, so that it comes back in a room.
    assert [e for e in loaded.edges() if e.target != "T0"] == [e for e in graph.edges() if e.target != "T0"]


def test_what_was_read_can_be_written(exported, tmp_path):
    loaded = load_spark_dsg(exported)
    loaded.validate()
    save_scene_graph(loaded, tmp_path / "g.json")
    export_spark_dsg(loaded, tmp_path / "again.json")
    assert graph_to_json(load_spark_dsg(tmp_path / "again.json")) == graph_to_json(loaded)


def strip(data):
    """The file as another program would have written it: no metadata of ours."""
    data["metadata"].pop("m2h")
    for entry in data["nodes"]:
        entry["attributes"].pop("metadata")
    for entry in data["edges"]:
        entry["info"].pop("metadata")
    return data


def test_a_file_of_another_program(exported):
    exported.write_text(json.dumps(strip(json.loads(exported.read_text()))))
    loaded = load_spark_dsg(exported)
    assert loaded.counts() == {
        "building": 1,
        "storey": 0,
        "room": 2,
        "place": 4,
        "object": 4,
        "track": 1,
        "agent": 3,
    }
    assert loaded["O1"].label == "chair"
    assert loaded["O1"].presence == ((0.0, 4.0),)
    assert loaded.parent("O1") == "R0"
    assert loaded.parent("R1") == "B0"
    np.testing.assert_allclose(loaded["R1"].polygon, small_flat()["R1"].polygon)
    assert loaded["R1"].area == pytest.approx(12)
    assert [edge[:2] for edge in loaded.edges("room_edge")] == [("R0", "R1")]
    assert loaded.edges("place_edge")[0].attributes == {"clearance": 0.4}
    assert loaded.edges("on") == []  # the relation between two objects is not stored
    loaded.validate()


def test_a_room_without_a_box_is_the_hull_of_its_places(exported):
    data = strip(json.loads(exported.read_text()))
    for entry in data["nodes"]:
        if entry["layer"] == 4:
            entry["attributes"]["bounding_box"]["type"] = "INVALID"
    exported.write_text(json.dumps(data))
    room = load_spark_dsg(exported)["R0"]
    np.testing.assert_allclose(room.polygon.min(axis=0), [0.2, 0.7])
    np.testing.assert_allclose(room.polygon.max(axis=0), [3.8, 2.3])
    assert room.z_range == pytest.approx((0.2, 1.8))
    assert room.area == pytest.approx(2.0 * 1.6 + np.pi * 0.8**2, rel=0.03)


def test_segments_and_mesh_places_are_ignored(exported):
    data = json.loads(exported.read_text())
    extra = {
        "id": node_id_from_symbol("Q", 0),
        "layer": 3,
        "partition": 1,
        "attributes": {"type": "Place2dNodeAttributes"},
    }
    data["nodes"].append(extra)
    data["edges"].append({"source": extra["id"], "target": data["nodes"][0]["id"], "info": {"type": "EdgeAttributes"}})
    exported.write_text(json.dumps(data))
    assert len(load_spark_dsg(exported)) == len(small_flat())


def node(data, symbol, number):
    return next(entry for entry in data["nodes"] if entry["id"] == node_id_from_symbol(symbol, number))["attributes"]


@pytest.mark.parametrize(
    ("corrupt", "message"),
    [
        (lambda d: d.pop("layer_keys"), "layer_keys: missing; this is not a spark_dsg file"),
        (lambda d: d.pop("nodes"), "nodes: expected a list"),
        (lambda d: d.pop("edges"), "edges: expected a list"),
        (lambda d: d["nodes"][3].pop("attributes"), r"nodes\[3\]\.attributes: expected an object"),
        (lambda d: node(d, "p", 1).pop("distance"), r"attributes\.distance: expected a finite number"),
        (lambda d: node(d, "p", 1).update(position=[0, 1]), r"attributes\.position: expected 3 finite numbers"),
        (lambda d: node(d, "O", 0)["bounding_box"].update(dimensions=[1, 1]), r"dimensions: expected 3 finite numbers"),
        (lambda d: node(d, "O", 0).update(semantic_label="chair"), r"semantic_label: expected a whole number"),
        (
            lambda d: node(d, "O", 4).update(trajectory_timestamps=[3, 2, 1, 0]),
            r"trajectory_timestamps: expected increasing",
        ),
        (lambda d: node(d, "O", 4).update(trajectory_positions=[[0, 0, 0]]), r"trajectory_positions: expected 4 x 3"),
        (lambda d: node(d, "a", 0).update(world_R_body={"w": 2}), r"world_R_body: expected 4 finite numbers"),
        (lambda d: node(d, "O", 1)["metadata"]["m2h"].update(id="O0"), "key 'O0' is already in the graph"),
        (lambda d: d["edges"][0].update(source="B0"), r"edges\[0\]\.source: expected a whole number"),
    ],
)
def test_broken_files_are_rejected(exported, corrupt, message):
    data = json.loads(exported.read_text())
    corrupt(data)
    exported.write_text(json.dumps(data))
    with pytest.raises(GraphFormatError, match=message) as caught:
        load_spark_dsg(exported)
    assert str(caught.value).startswith(str(exported))


def test_text_that_is_no_json_is_rejected(tmp_path):
    (tmp_path / "dsg.json").write_text("{")
    with pytest.raises(GraphFormatError, match="not readable as JSON"):
        load_spark_dsg(tmp_path / "dsg.json")
    with pytest.raises(FileNotFoundError):
        load_spark_dsg(tmp_path / "none.json")


@pytest.mark.skipif(not APARTMENT.is_file(), reason="the recorded Hydra graph is not here")
def test_a_real_graph_of_hydra_in_the_old_layout(tmp_path):
    graph = load_spark_dsg(APARTMENT)
    counts = graph.counts()
    assert {layer: counts[layer] for layer in ("building", "room", "place", "object", "agent")} == {
        "building": 1,
        "room": 1,
        "place": 185,
        "object": 7,
        "agent": 102,
    }
    assert len(graph.edges("place_edge")) == 396
    assert len(graph.children("R0", "place")) == 135
    np.testing.assert_allclose(graph["O0"].box.center, [-13.2113, -3.8005, 1.487], atol=1e-3)
    np.testing.assert_allclose(graph["O0"].box.size, [1.0182, 1.0183, 0.9755], atol=1e-3)
    (first,) = (p for _, p in graph.nodes("place") if np.allclose(p.position, [-13.15, -2.45, 1.75], atol=1e-6))
    assert first.radius == pytest.approx(0.8)
    assert graph["A0"].time == pytest.approx(3.64791)
    graph.validate()
    save_scene_graph(graph, tmp_path / "g.json")
    spark_dsg = pytest.importorskip("spark_dsg", reason="the dsg extra is not installed")
    export_spark_dsg(graph, tmp_path / "dsg.json")
    again = spark_dsg.DynamicSceneGraph.load(str(tmp_path / "dsg.json"))
    original = spark_dsg.DynamicSceneGraph.load(str(APARTMENT))
    assert again.num_nodes() == original.num_nodes()
    assert again.num_edges() == original.num_edges()
