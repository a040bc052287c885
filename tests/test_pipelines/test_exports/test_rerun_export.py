"""The recording for Rerun is valid for Rerun's own tool; without the extra there is one clear error line."""

import subprocess
import sys

import numpy as np
import pytest
from helpers import box_mesh

from pipelines.exports.export_input import ExportError
from pipelines.exports.exporters import export_run
from pipelines.exports.rerun_export import export_rerun
from scenegraph import SceneGraph
from scenegraph.labels import nyu40
from scenegraph.nodes import (
    AgentNode,
    BuildingNode,
    ObjectNode,
    OrientedBox,
    PlaceNode,
    RoomNode,
    StoreyNode,
    TrackNode,
)


@pytest.fixture
def graph():
    graph = SceneGraph(nyu40(), np.eye(4))
    graph.add(BuildingNode())
    graph.add(StoreyNode((0.0, 2.5)), parent="B0")
    square = np.array([[0, 0], [4, 0], [4, 3], [0, 3.0]])
    graph.add(RoomNode("kitchen", np.array([2, 1.5, 0]), square, (0.0, 2.5), 12.0), parent="F0")
    for x in (1.0, 2.0):
        graph.add(PlaceNode(np.array([x, 1.5, 1.0]), 0.5), parent="R0")
    graph.connect("P0", "P1", kind="place_edge", clearance=0.4)
    center = np.array([3.0, 1, 0.4])
    box = OrientedBox(center, np.array([0.5, 0.5, 0.8]), np.eye(3))
    graph.add(ObjectNode("chair", 5, center, box), parent="R0")
    times, positions = np.array([0.0, 0.5]), np.array([[1, 1, 0.9], [1.5, 1, 0.9]])
    graph.add(TrackNode("person", 31, np.array([0.5, 0.5, 1.8]), times, positions), parent="B0")
    graph.add(AgentNode(0.0, np.array([1.0, 1, 1.5]), np.array([0, 0, 0, 1.0])), parent="B0")
    return graph


def test_without_the_extra_one_line_says_what_to_do(graph, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "rerun", None)
    with pytest.raises(ExportError, match=r"--to rerun: .*pip install 'm2h-mapping\[rerun\]'"):
        export_rerun(box_mesh(), graph, tmp_path / "map.rrd")
    assert list(tmp_path.iterdir()) == []


def test_the_recording_holds_every_layer(graph, tmp_path):
    pytest.importorskip("rerun", reason="needs the extra [rerun]")
    path = tmp_path / "map.rrd"
    export_rerun(box_mesh(), graph, path)
    assert [p.name for p in tmp_path.iterdir()] == ["map.rrd"]
    rrd = [sys.executable, "-m", "rerun", "rrd"]
    subprocess.run([*rrd, "verify", path], check=True, capture_output=True)
    text = subprocess.run([*rrd, "print", "-vvv", path], check=True, capture_output=True, text=True).stdout
    for entity in (
        "world/mesh", "world/objects/O0", "world/rooms/R0", "world/places/edges", "world/tracks/T0/path",
        "world/tracks/T0/box", "world/camera", "world/camera_path", "graph",
    ):  # fmt: skip
        assert f"/{entity}" in text
    for label in ("O0 chair", "R0 kitchen, 12.0 m²", "T0 person"):
        assert label in text


def test_an_empty_map_is_a_recording_too(tmp_path):
    pytest.importorskip("rerun", reason="needs the extra [rerun]")
    mesh = box_mesh()
    export_rerun(mesh.submesh([]), SceneGraph(nyu40(), np.eye(4)), tmp_path / "map.rrd")
    assert (tmp_path / "map.rrd").stat().st_size > 0


def test_rerun_is_a_format_of_the_command(tmp_path):
    with pytest.raises(ValueError, match="no run folder"):
        export_run(tmp_path, "rerun")
