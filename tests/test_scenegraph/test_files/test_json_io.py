import json
from copy import deepcopy
from dataclasses import fields

import networkx as nx
import numpy as np
import pytest
from scenes import make_object, small_flat

from mapping.se3 import from_rotation_translation, rotation_from_quat_xyzw
from scenegraph import SceneGraph, load_scene_graph, save_scene_graph
from scenegraph.files.json_io import NODE_FIELDS, graph_from_json, graph_to_json, plain
from scenegraph.files.json_values import GraphFormatError
from scenegraph.labels import LabelClass, LabelSpace, nyu40
from scenegraph.nodes import NODE_TYPES, PlaceNode, TrackNode


def test_round_trip_keeps_everything(tmp_path):
    graph = small_flat()
    save_scene_graph(graph, tmp_path / "g.json")
    loaded = load_scene_graph(tmp_path / "g.json")
    assert [key for key, _ in loaded.nodes()] == [key for key, _ in graph.nodes()]
    assert loaded.edges() == graph.edges()
    assert loaded.label_space == nyu40()
    assert loaded.metadata == graph.metadata
    np.testing.assert_array_equal(loaded.T_input_world, graph.T_input_world)
    for key, node in graph.nodes():
        for name in NODE_FIELDS[node.layer]:
            expected, got = getattr(node, name), getattr(loaded[key], name)
            if name == "box":
                for part in ("center", "size", "rotation"):
                    np.testing.assert_allclose(getattr(got, part), getattr(expected, part), atol=1e-6)
            elif isinstance(expected, np.ndarray):
                np.testing.assert_allclose(got, expected, atol=1e-6)
            else:
                assert got == expected, (key, name)
                assert type(got) is type(expected)


def test_writing_what_was_read_gives_the_same_bytes(tmp_path):
    graph = small_flat()
    tilted = graph.transformed(from_rotation_translation(rotation_from_quat_xyzw([0, 0, 0.3, 1]), [0.1, 1 / 3, 2 / 7]))
    for number, each in enumerate((graph, tilted, SceneGraph(nyu40()))):
        first, second = tmp_path / f"{number}a.json", tmp_path / f"{number}b.json"
        save_scene_graph(each, first)
        save_scene_graph(load_scene_graph(first), second)
        assert first.read_bytes() == second.read_bytes()


def test_bytes_do_not_depend_on_the_order_of_building(tmp_path):
    a, b = SceneGraph(nyu40()), SceneGraph(nyu40())
    places = [PlaceNode(np.array([float(i), 0, 0]), 0.5) for i in range(12)]
    for graph, order in ((a, range(12)), (b, reversed(range(12)))):
        for i in order:
            graph.add(places[i], key=f"P{i}")
    for i in range(11):
        a.connect(f"P{i}", f"P{i + 1}", kind="place_edge", clearance=0.3)
        b.connect(f"P{10 - i}", f"P{11 - i}", kind="place_edge", clearance=0.3)
    save_scene_graph(a, tmp_path / "a.json")
    save_scene_graph(b, tmp_path / "b.json")
    assert (tmp_path / "a.json").read_bytes() == (tmp_path / "b.json").read_bytes()


def test_every_field_of_every_node_type_is_in_the_file():
    for layer, node_type in NODE_TYPES.items():
        assert set(NODE_FIELDS[layer]) == {field.name for field in fields(node_type)}


def test_layout_of_the_file(tmp_path):
    save_scene_graph(small_flat(), tmp_path / "g.json")
    data = json.loads((tmp_path / "g.json").read_text())
    assert data["format"] == "m2h-scene-graph"
    assert data["version"] == 1
    assert data["label_space"] == "nyu40"
    assert data["T_input_world"][0] == [1, 0, 0, 1]
    assert data["graph"] == {"method": "hand", "frames": 2}
    by_id = {node["id"]: node for node in data["nodes"]}
    assert by_id["B0"] == {"id": "B0", "layer": "building", "label": "building"}
    assert by_id["P1"] == {"id": "P1", "layer": "place", "position": [3.0, 1.5, 1.0], "radius": 0.8}
    assert by_id["O2"]["label_id"] == 5
    assert by_id["O2"]["presence"] == [[0.0, 2.0], [6.0, 9.0]]
    assert by_id["O0"]["box"]["rotation"][0] == [0.955336, -0.29552, 0.0]
    assert by_id["T0"]["times"] == [0.0, 1.0, 2.0, 6.0]
    assert {"source": "R0", "target": "O0", "kind": "contains"} in data["edges"]
    assert {"source": "R0", "target": "R1", "kind": "room_edge", "door": [4.0, 1.5, 0.0]} in data["edges"]
    assert {"source": "O3", "target": "O0", "kind": "on", "score": 0.9, "evidence": {"gap": 0.01}} in data["edges"]


def test_networkx_reads_the_file(tmp_path):
    graph = small_flat()
    save_scene_graph(graph, tmp_path / "g.json")
    data = json.loads((tmp_path / "g.json").read_text())
    read = nx.node_link_graph(data, edges="edges")
    assert read.is_directed()
    assert not read.is_multigraph()
    assert set(read.nodes) == set(graph.nx.nodes)
    assert set(read.edges) == set(graph.nx.edges)
    assert read.nodes["O0"]["label"] == "table"
    assert read.graph == graph.metadata


def test_numbers_are_rounded(tmp_path):
    graph = SceneGraph(nyu40(), metadata={"share": np.float64(1 / 3), "shape": np.array([1, 2]), "zero": -0.0})
    graph.add(PlaceNode(np.array([1 / 3, -0.00001, 2.0]), 1 / 7))
    times = np.array([1311868164.3631238, 1311868165.0])
    graph.add(TrackNode("person", 31, np.ones(3), times, np.zeros((2, 3))))
    save_scene_graph(graph, tmp_path / "g.json")
    text = (tmp_path / "g.json").read_text()
    data = json.loads(text)
    assert data["nodes"][0] == {"id": "P0", "layer": "place", "position": [0.3333, 0.0, 2.0], "radius": 0.1429}
    assert "-0.0" not in text
    assert data["nodes"][1]["times"] == [1311868164.363124, 1311868165.0]
    assert data["graph"] == {"share": 0.333333333333, "shape": [1, 2], "zero": 0.0}


def test_own_label_space_travels_in_the_file(tmp_path):
    classes = (LabelClass(0, "void", (0, 0, 0), "unknown"), LabelClass(7, "forklift", (250, 200, 0), "dynamic"))
    graph = SceneGraph(LabelSpace("hall", classes))
    graph.add(TrackNode("forklift", 7, np.ones(3), np.array([0.0]), np.zeros((1, 3))))
    save_scene_graph(graph, tmp_path / "g.json")
    assert load_scene_graph(tmp_path / "g.json").label_space == graph.label_space
    data = json.loads((tmp_path / "g.json").read_text())
    del data["label_classes"]
    with pytest.raises(GraphFormatError, match="label_classes: missing"):
        graph_from_json(data, "g.json")


def test_fields_with_a_default_may_be_omitted():
    data = graph_to_json(small_flat())
    (entry,) = (node for node in data["nodes"] if node["id"] == "O0")
    for name in ("label_scores", "views", "confidence", "presence", "number"):
        del entry[name]
    del data["graph"], data["directed"], data["multigraph"]
    loaded = graph_from_json(data, "g.json")
    assert loaded["O0"].confidence == 1.0
    assert loaded["O0"].presence == ()


@pytest.mark.parametrize("invalid", [np.nan, np.inf])
def test_saving_rejects_what_json_cannot_hold(tmp_path, invalid):
    graph = SceneGraph(nyu40())
    graph.add(PlaceNode(np.array([0.0, invalid, 0]), 1.0))
    with pytest.raises(ValueError, match=r"P0\.position: expected 3 finite numbers"):
        save_scene_graph(graph, tmp_path / "g.json")
    with pytest.raises(ValueError, match=r"graph\.a\[1\]: must be finite"):
        save_scene_graph(SceneGraph(nyu40(), metadata={"a": [0.0, invalid]}), tmp_path / "g.json")
    assert list(tmp_path.iterdir()) == []


def test_saving_rejects_an_unknown_label_id_and_broken_graphs(tmp_path):
    graph = SceneGraph(nyu40())
    graph.add(TrackNode("forklift", 99, np.ones(3), np.array([0.0]), np.zeros((1, 3))))
    with pytest.raises(ValueError, match=r"T0\.label_id: expected an id of label space nyu40, got 99"):
        save_scene_graph(graph, tmp_path / "g.json")
    graph = small_flat()
    graph.nx.add_edge("R1", "O0", kind="contains")
    with pytest.raises(ValueError, match="two parents"):
        save_scene_graph(graph, tmp_path / "g.json")
    graph = SceneGraph(nyu40())
    graph.add(PlaceNode(None, 1.0))
    with pytest.raises(ValueError, match="P0"):
        save_scene_graph(graph, tmp_path / "g.json")


def test_plain_names_what_it_cannot_write():
    with pytest.raises(ValueError, match=r"x\.a: set"):
        plain({"a": {1, 2}}, "x")
    with pytest.raises(ValueError, match="names must be text"):
        plain({1: 2}, "x")


def node(data, key):
    return next(entry for entry in data["nodes"] if entry["id"] == key)


def edge(data, kind):
    return next(entry for entry in data["edges"] if entry["kind"] == kind)


REJECTIONS = {
    "no object": (lambda d: [d], r"expected an object"),
    "format": (lambda d: d.update(format="gltf"), r"format: expected 'm2h-scene-graph', got 'gltf'"),
    "no format": (lambda d: d.pop("format"), r"format: expected 'm2h-scene-graph', got None"),
    "future version": (
        lambda d: d.update(version=2),
        r"version: expected 1, got 2 \(the file was written by a newer m2h\)",
    ),
    "version 0": (lambda d: d.update(version=0), r"version: expected 1, got 0"),
    "version text": (lambda d: d.update(version="1"), r"version: expected a whole number"),
    "version true": (lambda d: d.update(version=True), r"version: expected a whole number"),
    "no version": (lambda d: d.pop("version"), r"field version is missing"),
    "unknown section": (lambda d: d.update(vertices=[]), r"unknown field 'vertices'"),
    "undirected": (lambda d: d.update(directed=False), r"directed: expected true"),
    "multigraph": (lambda d: d.update(multigraph="yes"), r"multigraph: expected true or false"),
    "no label space": (lambda d: d.pop("label_space"), r"field label_space is missing"),
    "unknown label space": (lambda d: d.update(label_space="coco"), r"label_classes: missing"),
    "bad label classes": (lambda d: d.update(label_classes=[{"id": "x"}]), r"label_classes: classes\[0\]: id must be"),
    "bad colour": (
        lambda d: d.update(label_classes=[{"id": 0, "name": "a", "kind": "unknown", "color": 5}]),
        r"label_classes: classes\[0\]\.color",
    ),
    "no transform": (lambda d: d.pop("T_input_world"), r"T_input_world is missing"),
    "transform shape": (lambda d: d.update(T_input_world=[[1]]), r"T_input_world: expected 4 x 4 finite numbers"),
    "scaled transform": (
        lambda d: d.update(T_input_world=(2 * np.eye(4)).tolist()),
        r"T_input_world: expected a rigid",
    ),
    "graph": (lambda d: d.update(graph=[]), r"graph: expected an object"),
    "no nodes": (lambda d: d.pop("nodes"), r"field nodes is missing"),
    "nodes": (lambda d: d.update(nodes={}), r"nodes: expected a list"),
    "node": (lambda d: d["nodes"].append(3), r"nodes\[16\]: expected an object"),
    "no id": (lambda d: d["nodes"][2].pop("id"), r"nodes\[2\]: the field id is missing"),
    "number id": (lambda d: d["nodes"][2].update(id=7), r"nodes\[2\]\.id: expected text, got 7"),
    "id of another layer": (lambda d: d["nodes"][2].update(id="O9"), r"nodes\[2\] O9: key 'O9' is not one of a room"),
    "duplicate id": (lambda d: node(d, "O1").update(id="O0"), r"nodes\[9\] O0: key 'O0' is already in the graph"),
    "no layer": (lambda d: node(d, "O0").pop("layer"), r"O0: the field layer is missing"),
    "unknown layer": (
        lambda d: node(d, "O0").update(layer="wall"),
        r"O0\.layer: expected one of building, .*, got 'wall'",
    ),
    "missing field": (lambda d: node(d, "O0").pop("box"), r"nodes\[8\] O0: the field box is missing"),
    "unknown field": (
        lambda d: node(d, "O0").update(presense=[]),
        r"O0: unknown field 'presense'; known are id, layer",
    ),
    "empty label": (lambda d: node(d, "O0").update(label=""), r"O0\.label: expected text"),
    "label id": (lambda d: node(d, "O0").update(label_id=41), r"O0\.label_id: expected an id of label space nyu40"),
    "negative id": (lambda d: node(d, "O0").update(label_id=-1), r"O0\.label_id: expected a whole number >= 0"),
    "short position": (lambda d: node(d, "O0").update(position=[1, 2]), r"O0\.position: expected 3 finite numbers"),
    "null in position": (lambda d: node(d, "O0").update(position=[1, 2, None]), r"O0\.position: expected 3 finite"),
    "text in position": (lambda d: node(d, "O0").update(position=[1, 2, "3"]), r"O0\.position: expected 3 finite"),
    "position not a list": (lambda d: node(d, "O0").update(position=1), r"O0\.position: expected 3 finite"),
    "box": (lambda d: node(d, "O0").update(box=[0, 1]), r"O0\.box: expected an object"),
    "box field": (lambda d: node(d, "O0")["box"].pop("size"), r"O0\.box: the field size is missing"),
    "box unknown": (lambda d: node(d, "O0")["box"].update(yaw=1), r"O0\.box: unknown field 'yaw'"),
    "box size": (lambda d: node(d, "O0")["box"].update(size=[1, 1, -1]), r"O0\.box: .*size must not be negative"),
    "box rotation": (lambda d: node(d, "O0")["box"].update(rotation=[[1, 0, 0]]), r"rotation: expected 3 x 3 finite"),
    "box shear": (lambda d: node(d, "O0")["box"].update(rotation=np.ones((3, 3)).tolist()), r"orthonormal"),
    "confidence": (lambda d: node(d, "O0").update(confidence=1.5), r"O0\.confidence: expected a number in \[0, 1\]"),
    "scores": (
        lambda d: node(d, "O0").update(label_scores={"bed": "x"}),
        r"label_scores\.bed: expected a finite number",
    ),
    "presence": (
        lambda d: node(d, "O2").update(presence=[[3, 2]]),
        r"presence\[0\]: expected two numbers in ascending",
    ),
    "presence flat": (lambda d: node(d, "O2").update(presence=[3, 2]), r"presence\[0\]: expected 2 finite numbers"),
    "presence number": (lambda d: node(d, "O2").update(presence=3), r"presence: expected a list of \[start, end\]"),
    "polygon": (
        lambda d: node(d, "R0").update(polygon=[[0, 0], [1, 1]]),
        r"R0\.polygon: expected 3 or more x 2 finite",
    ),
    "ragged polygon": (
        lambda d: node(d, "R0").update(polygon=[[0, 0], [1], [2, 2]]),
        r"R0\.polygon: expected 3 or more",
    ),
    "heights": (lambda d: node(d, "F0").update(z_range=[3, 0]), r"F0\.z_range: expected two numbers in ascending"),
    "area": (lambda d: node(d, "R0").update(area=-1), r"R0\.area: expected a number >= 0"),
    "radius": (lambda d: node(d, "P0").update(radius=-0.1), r"P0\.radius: expected a number >= 0"),
    "radius true": (lambda d: node(d, "P0").update(radius=True), r"P0\.radius: expected a finite number"),
    "times": (lambda d: node(d, "T0").update(times=[0, 1, 1, 2]), r"T0\.times: expected increasing numbers"),
    "track length": (
        lambda d: node(d, "T0").update(times=[0, 1]),
        r"T0\.positions: expected 2 points, one per time, got 4",
    ),
    "empty track": (lambda d: node(d, "T0").update(times=[], positions=[]), r"T0\.times: expected 1 or more finite"),
    "track size": (lambda d: node(d, "T0").update(size=[1, -1, 1]), r"T0\.size: expected 3 numbers >= 0"),
    "quaternion": (
        lambda d: node(d, "A0").update(rotation_xyzw=[0, 0, 0, 2]),
        r"A0\.rotation_xyzw: expected a quaternion",
    ),
    "no edges": (lambda d: d.pop("edges"), r"field edges is missing"),
    "edge": (lambda d: d["edges"].insert(0, "O0"), r"edges\[0\]: expected an object"),
    "edge without kind": (lambda d: d["edges"][0].pop("kind"), r"edges\[0\]: the field kind is missing"),
    "edge to nowhere": (lambda d: edge(d, "on").update(target="O99"), r"edges\[19\]: unknown node 'O99'"),
    "edge from nowhere": (lambda d: edge(d, "on").update(source="O99"), r"edges\[19\]: unknown node 'O99'"),
    "edge kind": (lambda d: edge(d, "on").update(kind="On Top"), r"edges\[19\]: kind of edge"),
    "edge twice": (lambda d: d["edges"].append(d["edges"][0]), r"edges\[20\]: B0 and F0 are already connected"),
    "two parents": (
        lambda d: d["edges"].append({"source": "R1", "target": "O0", "kind": "contains"}),
        r"edges\[20\]: O0 already has the parent R0",
    ),
    "upside down": (
        lambda d: d["edges"].append({"source": "O0", "target": "R1", "kind": "contains"}),
        r"edges\[20\]: contains cannot connect object O0 to room R1",
    ),
}


@pytest.mark.parametrize("name", REJECTIONS)
def test_reading_refuses(name, tmp_path):
    corrupt, message = REJECTIONS[name]
    data = deepcopy(graph_to_json(small_flat()))
    result = corrupt(data)
    path = tmp_path / "g.json"
    path.write_text(json.dumps(result if name == "no object" else data))
    with pytest.raises(GraphFormatError, match=message) as caught:
        load_scene_graph(path)
    assert str(caught.value).startswith(str(path))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "not readable as JSON"),
        ("{", "not readable as JSON"),
        ('{"format": NaN}', "NaN is not a JSON number"),
        ('{"format": -Infinity}', "-Infinity is not a JSON number"),
        ('{"graph": 1e999}', "1e999 is too large"),
        ('{"format": "a", "format": "b"}', "'format' appears twice"),
        ('{"version": ' + "1" * 5000 + "}", "not readable as JSON"),
        ("[" * 100_000, "not readable as JSON"),
    ],
)
def test_reading_rejects_text_that_is_no_clean_json(text, message, tmp_path):
    path = tmp_path / "g.json"
    path.write_text(text)
    with pytest.raises(GraphFormatError, match=message) as caught:
        load_scene_graph(path)
    assert str(caught.value).startswith(str(path))
    assert "\n" not in str(caught.value)


def test_reading_rejects_bytes_that_are_no_text(tmp_path):
    path = tmp_path / "g.json"
    path.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(GraphFormatError, match="is not text"):
        load_scene_graph(path)


def test_missing_file(tmp_path):
    with pytest.raises(FileNotFoundError):
        load_scene_graph(tmp_path / "none.json")


def test_scores_stand_highest_first():
    graph = SceneGraph(nyu40())
    graph.add(make_object("chair", [0, 0, 0], label_scores={"bed": 0.2, "table": 0.5, "box": 0.2}))
    assert list(graph_to_json(graph)["nodes"][0]["label_scores"]) == ["table", "bed", "box"]


def test_a_multigraph_of_another_writer_and_the_place_of_its_building_are_read():
    graph = small_flat()
    data = graph_to_json(graph)
    data["multigraph"] = True
    for number, edge in enumerate(data["edges"]):
        edge["key"] = number
    next(node for node in data["nodes"] if node["layer"] == "building")["position"] = [1.0, 2.0, 0.5]
    assert graph_to_json(graph_from_json(data, "other.json")) == graph_to_json(graph)
    data["edges"].append(dict(data["edges"][0], key=99))
    with pytest.raises(GraphFormatError, match="already connected"):
        graph_from_json(data, "other.json")
