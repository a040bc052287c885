"""What the report says, and that it has no empty sections."""

import re
from dataclasses import replace

import numpy as np
import pytest
from flat_scene import flat_keyframes, flat_mesh
from helpers import box_mesh
from scenes import small_flat

from mapping.mesh.mesh import concatenate
from pipelines.views.measured import Measured, measured_of
from pipelines.views.pictures import Picture, ReportPictures, chosen_frames, make_pictures
from pipelines.views.report import MANY_OBJECTS, write_report
from pipelines.views.scene_page import _extent
from pipelines.views.summary_text import advice_of, sentences
from scenegraph import SceneGraph
from scenegraph.labels import nyu40
from scenegraph.nodes import BuildingNode, ObjectNode, OrientedBox, RoomNode, StoreyNode

STAGES = {
    "sequence": {"used": 3, "unused": {"image file is missing": 2}},
    "check": {"lines": ["conventions: right, <98> % agree"]},
    "poses": {"text": "as given: they fit the images (0.31 px)"},
    "fuse": {"frames": 3},
    "graph": {"faces": 12},
}
MANIFEST = {
    "input": {"name": "<office>", "format": "tum"},
    "source": "recorded",
    "versions": {"numpy": "2"},
    "stages": {
        name: {"seconds": 1.0, "peak_memory_mb": 10.0, "warnings": [], "summary": summary}
        for name, summary in STAGES.items()
    },
}


KNOWN = Measured({"F0": 2.5}, {"R0": 2.5}, {"R0": 48.0})
NO_PICTURES = ReportPictures([], [], [])


def room_with(labels):
    """A room of 8 x 6 m with things of 0.8 m that stand a third of a metre apart."""
    graph = SceneGraph(nyu40(), np.eye(4))
    graph.add(BuildingNode())
    graph.add(StoreyNode((0.0, 2.5)), parent="B0")
    square = np.array([[0, 0], [8, 0], [8, 6], [0, 6.0]])
    graph.add(RoomNode("kitchen", np.array([4, 3, 0]), square, (0.0, 2.5), 48.0), parent="F0")
    for i, label in enumerate(labels):
        center = np.array([4, 3, 0.5]) if i == len(labels) - 1 else np.array([1 + 0.33 * i, 1, 0.5])
        box = OrientedBox(center, np.array([0.8, 0.8, 1.0]), np.eye(3))
        graph.add(ObjectNode(label, nyu40().id_of(label), center, box), parent="R0")
    return graph


def test_the_report_has_no_empty_sections_and_folds_long_lists(tmp_path):
    write_report(tmp_path / "few.html", room_with(["chair"]), MANIFEST, KNOWN, NO_PICTURES)
    text = (tmp_path / "few.html").read_text()
    assert "<h2>Pictures" not in text
    assert "<h2>Tracks" not in text
    assert "<details>" not in text
    assert "&lt;office&gt;" in text
    assert "<office>" not in text
    assert "<b>1</b>room<" in text
    pictures = ReportPictures([Picture(np.zeros((4, 4, 3), np.uint8), "from above")], [], [])
    write_report(tmp_path / "many.html", room_with(["chair"] * (MANY_OBJECTS + 1)), MANIFEST, KNOWN, pictures)
    text = (tmp_path / "many.html").read_text()
    assert f"<summary>All {MANY_OBJECTS + 1} objects</summary>" in text
    assert "<h2>Pictures" in text


def test_stray_triangles_do_not_make_the_scene_small():
    room = concatenate([box_mesh((4, 3, 2.5))] * 50)
    stray = box_mesh((0.1, 0.1, 0.1), (90, 0, 0)).submesh([0])
    alone, together = _extent(room), _extent(concatenate([room, stray]))
    for corner in ("low", "high"):
        np.testing.assert_allclose(together[corner], alone[corner], atol=0.2)


def test_the_check_of_the_input_is_reported(tmp_path):
    write_report(tmp_path / "report.html", room_with(["chair"]), MANIFEST, KNOWN, NO_PICTURES)
    text = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert (
        "<li>conventions: right, &lt;98&gt; % agree</li><li>poses: as given: they fit the images (0.31 px)</li>" in text
    )


@pytest.fixture(scope="module")
def report(tmp_path_factory):
    """The report of the small flat, as text, with two warnings."""
    mesh, graph, keyframes = flat_mesh(), small_flat(), flat_keyframes()
    keyframes["frames"][1]["shows"] = ["O0", "O3"]
    stages = {name: dict(stage) for name, stage in MANIFEST["stages"].items()}
    stages["fuse"]["warnings"] = ["a <hole> was left", "the unit is off; give --scale"]
    manifest = {**MANIFEST, "stages": stages}
    path = tmp_path_factory.mktemp("report") / "r.html"
    write_report(path, graph, manifest, measured_of(graph), make_pictures(mesh, graph, keyframes))
    return path.read_text(encoding="utf-8")


def test_it_begins_with_what_was_found(report):
    assert '<p class="lead">One storey of two rooms with 24 m² of floor: a bedroom and a kitchen.</p>' in report
    assert "It contains four objects, two chairs, a box and a table; a person moved through it." in report


def test_who_did_not_move_did_not_move_through_it():
    graph = small_flat()
    (key, node), *_ = graph.nodes("track")
    still = replace(node, positions=np.tile(node.positions[:1], (len(node.positions), 1)))
    graph.replace(key, still)
    text = " ".join(sentences(graph, measured_of(graph)))
    assert "a person stayed in one place." in text
    assert "moved through" not in text


def test_warnings_say_what_to_do(report):
    assert "a &lt;hole&gt; was left<em>Look for holes and doubled walls in scene.html.</em></div>" in report
    assert "the unit is off; give --scale</div>" in report


def test_the_total_is_of_all_stages(report):
    assert "<b>5.0 s</b>in all" in report
    assert re.search(r'<tr class="total"><td>total</td><td class="n">5.00</td>', report)


def test_strips_have_the_image_what_was_made_of_it_and_the_map(report):
    strips = re.findall(r'<div class="strip">(.*?)</div><p class="legend">(.*?)</p>', report)
    assert len(strips) == 3  # all frames there are
    for figures, _ in strips:
        assert re.findall(r'alt="(\w+)"', figures) == ["image", "depth", "map"]
    assert strips[1][1] == ('at 1.0 s: <a href="scene.html#O0">table O0</a>, <a href="scene.html#O3">box O3</a>')
    assert "wall 53 %" in report


def test_items_lead_into_the_scene(report):
    for key in ("R0", "O2", "T0"):
        assert f'href="scene.html#{key}"' in report
    assert 'href="floorplan.pdf"' in report


def test_what_was_not_measured_is_a_dash_with_a_reason(tmp_path):
    unknown = Measured({"F0": None}, {"R0": None}, {"R0": None})
    graph = room_with(["chair"])
    write_report(tmp_path / "r.html", graph, MANIFEST, unknown, NO_PICTURES)
    text = (tmp_path / "r.html").read_text(encoding="utf-8")
    assert '<td class="n">–</td><td class="n">8.00 × 6.00</td><td class="n">–</td>' in text
    assert "–: not measured." in text
    assert "<b>–</b>floor in rooms" in text
    assert sentences(graph, unknown)[0] == "One storey of one room: a kitchen."
    graph.replace("R0", replace(graph["R0"], label="room"))
    assert sentences(graph, KNOWN)[0] == "One storey of one room with 48 m² of floor."


@pytest.mark.parametrize(
    ("labels", "sentence"),
    [
        ([], "No objects were found."),
        (["unknown", "unknown"], "Two objects without names stand in it."),
        (["sofa", "otherprop"], "It contains two objects, among them a sofa."),
        (["shelves", "box", "box"], "It contains three objects, two boxes and shelves."),
    ],
)
def test_the_contents_in_a_sentence(labels, sentence):
    assert sentences(room_with(labels), KNOWN)[1] == sentence


def test_frames_are_chosen_for_what_they_show():
    graph = small_flat()
    pose = {"position": [0, 0, 1.5], "rotation": [0, 0, 0, 1]}
    frames = [pose | {"shows": shows} for shows in (["O3"], ["O0"], ["O0", "O1"], ["O2"], [], ["O9"])]
    assert chosen_frames(graph, frames, count=1) == [2]
    assert chosen_frames(graph, frames, count=2) == [2, 3]
    assert chosen_frames(graph, frames, count=9) == list(range(6))


def test_without_objects_frames_show_different_places():
    """Five that stand together, and one each that has gone on or turned around."""
    here, turned = [0, 0, 0, 1], [0, 1, 0, 0]
    places = [([0.1 * k, 0, 1.5], here) for k in range(5)] + [([6, 0, 1.5], here), ([0, 0, 1.5], turned)]
    frames = [{"position": p, "rotation": r, "far": 4.0 + 0.01 * k} for k, (p, r) in enumerate(places)]
    chosen = chosen_frames(SceneGraph(nyu40(), np.eye(4)), frames, count=3)
    assert {5, 6} <= set(chosen)
    assert chosen == sorted(chosen)


def test_times_count_from_the_first_frame_and_that_is_told(tmp_path):
    graph = small_flat()
    for key, node in [*graph.nodes("agent"), *graph.nodes("track")]:
        times = {"time": node.time + 100.5} if hasattr(node, "time") else {"times": node.times + 100.5}
        graph.replace(key, replace(node, **times))
    measured = Measured({"F0": 2.5}, {"R0": 2.5, "R1": 2.5}, {"R0": 12.0, "R1": 12.0})
    write_report(tmp_path / "report.html", graph, MANIFEST, measured, NO_PICTURES)
    text = (tmp_path / "report.html").read_text()
    assert "0.0 to 6.0" in text
    assert "Times count from the first frame that was used" in text
    assert "the recording's clock has as 100.50 s" in text


def test_advice_is_for_the_stage():
    assert advice_of("first fuse", "x") == advice_of("fuse", "x") != ""
    assert advice_of("graph", "check the unit (--scale)") == ""
