import json

import numpy as np
from click.testing import CliRunner

from mapping.mesh.io import write_mesh
from mapping.mesh.mesh import Mesh
from pipelines.cli import main
from pipelines.workspace import Workspace
from scenegraph.files.json_io import save_scene_graph
from scenegraph.graph import SceneGraph
from scenegraph.labels import nyu40
from scenegraph.nodes import ObjectNode, OrientedBox


def write_run(folder, *places):
    """A run folder with a chair at each place, in a world shifted by a metre against the input."""
    T_input_world = np.eye(4)
    T_input_world[0, 3] = 1.0
    graph = SceneGraph(nyu40(), T_input_world)
    for x, y in places:
        center = np.array([x, y, 0.45])
        box = OrientedBox(center, np.array([0.5, 0.5, 0.9]), np.eye(3))
        graph.add(ObjectNode("chair", nyu40().id_of("chair"), center, box, views=5))
    folder.mkdir()
    Workspace(folder).save()
    save_scene_graph(graph, folder / "scene_graph.json")
    write_mesh(Mesh(np.eye(3), np.array([[0, 1, 2]], dtype=np.int32)), folder / "mesh.ply")
    return str(folder)


def diff(*arguments):
    return CliRunner().invoke(main, ["diff", *arguments])


def test_changes_as_table_and_as_json(tmp_path):
    a, b = write_run(tmp_path / "a", (0, 0), (2, 0)), write_run(tmp_path / "b", (0, 0), (2, 3))
    result = diff(a, b)
    assert result.exit_code == 0
    assert "moved" in result.output
    assert "3.00" in result.output
    assert "1 changes, 1 objects unchanged" in result.output
    data = json.loads(diff(a, b, "--json").output)
    assert [(change["kind"], change["from"], change["to"]) for change in data["changes"]] == [
        ("moved", [2.0, 0.0, 0.45], [2.0, 3.0, 0.45])
    ]
    assert data["unchanged"] == [{"a": "O0", "b": "O0"}]
    assert data["unseen"] == {"a": [], "b": []}


def test_same_visit_and_settings(tmp_path):
    a, b = write_run(tmp_path / "a", (0, 0)), write_run(tmp_path / "b", (0.6, 0))
    assert "0 changes, 1 objects" in diff(a, a).output
    assert "1 changes" in diff(a, b).output
    assert "0 changes" in diff(a, b, "--set", "same_place=0.8").output
    assert diff(a, b, "--set", "same_place=-1").exit_code == 1


def test_what_is_no_run_is_rejected_in_one_line(tmp_path):
    result = diff(str(tmp_path), str(tmp_path))
    assert result.exit_code == 1
    assert "is no run folder" in result.output
