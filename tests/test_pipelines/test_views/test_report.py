"""Readability of the report: names that do not overlap, and no empty sections."""

import itertools
import re

import numpy as np
from helpers import box_mesh

from mapping.mesh.mesh import concatenate
from pipelines.views.floorplan import OBJECT_NAME_PX, floor_plan_svg
from pipelines.views.report import MANY_OBJECTS, Picture, write_report
from pipelines.views.viewer import _first_camera
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


def crowded_room(labels):
    """A room of 8 x 6 m with things of 0.8 m that stand a third of a metre apart, the last on the name of the room."""
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


def object_names(svg):
    """Text, x and y of the names of objects."""
    found = re.findall(rf'<text x="([\d.]+)" y="([\d.]+)" font-size="{OBJECT_NAME_PX}"[^>]*>([^<]*)</text>', svg)
    return [(text, float(x), float(y)) for x, y, text in found]


def test_names_in_the_plan_do_not_overlap_and_unknown_things_have_none():
    svg = floor_plan_svg(crowded_room(["chair", "table", "refrigerator", "unknown", "chair", "chair", "sofa"]))
    names = object_names(svg)
    assert len(names) >= 2
    assert not {"unknown", "sofa"} & {text for text, _, _ in names}
    for pair in itertools.combinations(names, 2):
        texts, xs, ys = zip(*pair, strict=True)
        assert abs(ys[0] - ys[1]) > 1.2 * OBJECT_NAME_PX or abs(xs[0] - xs[1]) > 0.25 * OBJECT_NAME_PX * len(
            "".join(texts)
        )
    assert svg.count("<title>O") == 7


def test_the_report_has_no_empty_sections_and_folds_long_lists(tmp_path):
    write_report(tmp_path / "few.html", crowded_room(["chair"]), MANIFEST, [])
    text = (tmp_path / "few.html").read_text()
    assert "<h2>Pictures" not in text
    assert "<h2>Tracks" not in text
    assert "<details>" not in text
    assert "&lt;office&gt;" in text
    assert "<office>" not in text
    assert "<b>1</b>room<" in text
    picture = Picture(np.zeros((4, 4, 3), np.uint8), "from above")
    write_report(tmp_path / "many.html", crowded_room(["chair"] * (MANY_OBJECTS + 1)), MANIFEST, [picture])
    text = (tmp_path / "many.html").read_text()
    assert f"<summary>All {MANY_OBJECTS + 1} objects</summary>" in text
    assert "<h2>Pictures" in text


def test_stray_triangles_do_not_make_the_scene_small():
    room = concatenate([box_mesh((4, 3, 2.5))] * 50)
    stray = box_mesh((0.1, 0.1, 0.1), (90, 0, 0)).submesh([0])
    alone, together = _first_camera(room)[0], _first_camera(concatenate([room, stray]))[0]
    np.testing.assert_allclose(together, alone, atol=0.2)


def test_the_check_of_the_input_is_reported(tmp_path):
    write_report(tmp_path / "report.html", crowded_room(["chair"]), MANIFEST, [])
    text = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert (
        "<li>conventions: right, &lt;98&gt; % agree</li><li>poses: as given: they fit the images (0.31 px)</li>" in text
    )
