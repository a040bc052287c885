"""Sequences, graphs and runs as notebooks show them."""

import numpy as np
import pytest

from mapping.tsdf.tsdf_config import TSDFConfig
from pipelines import PipelineConfig, Run, open_sequence, run
from pipelines.settings import FramesConfig
from pipelines.workspace import WorkspaceError
from scenegraph import SceneGraph
from scenegraph.labels import nyu40
from scenegraph.nodes import ObjectNode, OrientedBox, RoomNode


def graph_with(name: str) -> SceneGraph:
    graph = SceneGraph(nyu40())
    room = graph.add(
        RoomNode(position=[0, 0, 1], label=name, polygon=[[0, 0], [2, 0], [2, 3], [0, 3]], z_range=(0, 2.5), area=6.0)
    )
    for x in (0.0, 1.0):
        box = OrientedBox([x, 0, 0.5], [0.5, 0.5, 1.0], np.eye(3))
        graph.add(ObjectNode(position=[x, 0, 0.5], label="chair", label_id=5, box=box, views=3), parent=room)
    return graph


def test_a_graph_lists_rooms_and_counts_objects():
    html = graph_with("living_room")._repr_html_()
    assert "<td>R0</td><td>living room</td><td>6.0</td><td>2 chair</td>" in html
    assert "1 room, 2 object" in html


def test_names_are_text_and_no_html():
    html = graph_with("<script>alert(1)</script>")._repr_html_()
    assert "<script>" not in html
    assert "&lt;script&gt;" in html


def test_a_sequence_shows_its_format_and_camera(box_room):
    html = open_sequence(box_room)._repr_html_()
    assert "<td>30 of 30 usable, 30 with depth</td>" in html
    assert "160x120" in html
    assert "nyu40" in html


@pytest.mark.slow
def test_a_run_reads_its_files_and_shows_its_stages(box_room, tmp_path):
    steps = []
    config = PipelineConfig(frames=FramesConfig(stride=3), tsdf=TSDFConfig(voxel_size=0.1))
    run(open_sequence(box_room), tmp_path / "run", config=config, progress=lambda *step: steps.append(step))
    finished = Run(tmp_path / "run")
    assert {what for what, _, total in steps if total} >= {"fuse", "graph"}
    assert len(finished.mesh.faces) > 100
    assert finished.graph.counts()["room"] == 1
    html = finished._repr_html_()
    assert all(f"<td>{name}</td>" in html for name in finished.manifest["stages"])
    assert all(line.split("<")[0][:20] in html for line in finished.manifest["trust"])


def test_a_folder_that_is_no_run_is_refused(tmp_path):
    with pytest.raises(WorkspaceError, match="is no run folder"):
        Run(tmp_path)
