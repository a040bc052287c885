"""Floor plans: names that do not overlap, doors and walls where they are, and files that other programs read."""

import io
import itertools
import re
from dataclasses import replace

import ezdxf
import ezdxf.recover
import numpy as np
import pypdfium2
import pytest
import shapely
from scenes import make_object, make_room, small_flat

from pipelines.views.measured import Measured
from pipelines.views.plan.compose import storey_drawing, storey_drawings
from pipelines.views.plan.dimensions import add_dimensions
from pipelines.views.plan.drawing import Drawing, Label, overlaps, text_width
from pipelines.views.plan.dxf import drawings_dxf
from pipelines.views.plan.paths import smoothed
from pipelines.views.plan.pdf import POINTS_PER_METRE, drawings_pdf, paper_of
from pipelines.views.plan.svg import drawing_svg, drawings_svg
from pipelines.views.plan.walls import doorways, wall_areas
from scenegraph import SceneGraph
from scenegraph.labels import nyu40
from scenegraph.nodes import BuildingNode, StoreyNode


def all_known(graph):
    """Everything in the graph was measured."""
    rooms = graph.nodes("room")
    return Measured(
        {key: node.z_range[1] for key, node in graph.nodes("storey")},
        {key: room.z_range[1] - room.z_range[0] for key, room in rooms},
        {key: room.area for key, room in rooms},
    )


def flat_drawing(graph=None):
    graph = graph or flat_with_walls()
    return storey_drawing(graph, all_known(graph), "F0")


def flat_with_walls():
    """The small flat with a wall of 12 cm between its rooms and a door of 0.9 m in it."""
    graph = small_flat()
    graph.replace("R0", make_room("kitchen", 0, 0, 3.94, 3))
    graph.replace("R1", make_room("bedroom", 4.06, 0, 8, 3))
    graph.nx.edges["R0", "R1"].update(width=0.9, evidence={"door": True, "lintel": True})
    return graph


def two_storeys():
    graph = SceneGraph(nyu40(), np.eye(4))
    graph.add(BuildingNode())
    for number in range(2):
        graph.add(StoreyNode((3.0 * number, 3.0 * number + 2.5)), parent="B0")
        room = make_room("office", 0, 0, 5 + number, 4, 3.0 * number, 3.0 * number + 2.5)
        graph.add(room, parent=f"F{number}")
        graph.add(make_object("desk", [2, 2, 3.0 * number + 0.4], (1.4, 0.7, 0.8)), parent=f"R{number}")
    return graph


def crowded(count=60):
    """A room full of chairs that stand closer than their names are long."""
    graph = SceneGraph(nyu40(), np.eye(4))
    graph.add(BuildingNode())
    graph.add(StoreyNode((0.0, 2.5)), parent="B0")
    graph.add(make_room("kitchen", 0, 0, 8, 6), parent="F0")
    for i in range(count):
        graph.add(make_object("chair", [0.6 + 0.7 * (i % 10), 0.6 + 0.9 * (i // 10), 0.5], (0.5, 0.5, 1)), parent="R0")
    return graph


def test_names_and_dimensions_never_overlap():
    for graph in (flat_with_walls(), crowded()):
        drawing = flat_drawing(graph)
        for a, b in itertools.combinations(drawing.labels, 2):
            assert not overlaps(a.box, b.box), (a.text, b.text)
    texts = [label.text for label in flat_drawing().labels]
    assert {"R0 kitchen", "11.8 m²", "R1 bedroom", "table", "3.94", "3.00", "8.00 m", "3.00 m"} <= set(texts)
    assert sum(label.text == "chair" for label in flat_drawing(crowded()).labels) > 10


def test_only_whole_lengths_of_a_ragged_outline_are_written():
    """A room of 6 x 4 m whose one side was seen in steps: the lengths of the steps are those of nothing."""
    steps = [[6, 4], [5, 4], [5, 3.2], [4.2, 3.2], [4.2, 4], [3, 4], [3, 3.3], [2.2, 3.3], [2.2, 4]]
    graph = small_flat()
    ragged = np.array([[0, 0], [6, 0], *steps, [0, 4]], dtype=float)
    drawing = Drawing("", np.zeros(2), np.array([6.0, 4.0]), 0.2)
    add_dimensions(drawing, [("R0", replace(graph["R0"], polygon=ragged))])
    assert {label.text for label in drawing.labels} == {"6.00", "4.00", "6.00 m", "4.00 m"}


def test_what_was_not_measured_is_a_dash():
    graph = flat_with_walls()
    measured = all_known(graph)
    measured.areas["R0"] = None
    texts = [label.text for label in storey_drawing(graph, measured, "F0").labels]
    assert "– m²" in texts
    assert "11.8 m²" in texts  # the other room


def test_clutter_and_unnamed_things_have_no_names():
    graph = flat_with_walls()
    graph.add(make_object("otherprop", [3, 2.5, 0.4], (0.6, 0.6, 0.6)), parent="R0")
    graph.add(make_object("picture", [2, 2.98, 1.5], (0.6, 0.04, 0.5)), parent="R0")
    drawing = flat_drawing(graph)
    shown = {shape.key for shape in drawing.shapes if shape.layer == "FURNITURE"}
    assert shown == {"O0", "O1", "O2", "O4", "O5"}  # a box of 20 cm on the table is omitted
    assert not {"other thing", "otherprop", "picture", "box"} & {label.text for label in drawing.labels}


def test_walls_are_what_lies_between_rooms_and_doors_are_gaps_in_them():
    rooms = {"R0": shapely.box(0, 0, 3.94, 3), "R1": shapely.box(4.06, 0, 8, 3)}
    (wall,) = wall_areas(list(rooms.values()))
    assert wall.area == pytest.approx(0.12 * 3, rel=0.02)
    (door,) = doorways(flat_with_walls(), rooms)
    np.testing.assert_allclose(door.middle, [4, 1.5], atol=1e-6)
    assert abs(door.along[1]) == pytest.approx(1)
    assert door.thickness == pytest.approx(0.12)
    assert shapely.Polygon(door.gap).bounds == pytest.approx((3.94, 1.05, 4.06, 1.95))
    drawing = flat_drawing()
    walls = [shapely.Polygon(shape.rings[0]) for shape in drawing.shapes if shape.layer == "WALLS" and shape.fill]
    assert len(walls) == 2
    assert not any(wall.intersects(shapely.Polygon(door.gap)) for wall in walls)
    lines = [
        shapely.LineString(shape.rings[0]) for shape in drawing.shapes if shape.layer == "WALLS" and not shape.fill
    ]
    assert sum(line.length for line in lines) == pytest.approx(2 * (3.94 + 3) * 2 - 2 * 0.9, abs=0.1)


def test_a_leaf_hangs_where_it_has_room():
    rooms = {"R0": shapely.box(0, 0, 3.94, 3), "R1": shapely.box(4.06, 0, 8, 3)}
    cupboard = shapely.box(4.06, 0, 5, 3)
    (door,) = doorways(flat_with_walls(), rooms, [cupboard])
    leaf, arc = door.leaf
    assert (leaf[:, 0] < 4).all()  # it opens into the kitchen
    assert np.linalg.norm(leaf[1] - leaf[0]) == pytest.approx(0.9)
    np.testing.assert_allclose(np.linalg.norm(arc - leaf[0], axis=1), 0.9)
    graph = flat_with_walls()
    graph.nx.edges["R0", "R1"].update(width=2.5)
    assert doorways(graph, rooms)[0].leaf is None  # a passage
    graph.nx.edges["R0", "R1"].update(width=0.9, evidence={"door": False, "lintel": False, "ratio": 0.3})
    assert doorways(graph, rooms)[0].leaf is None


def test_paths_are_smooth_and_stay_on_the_floor():
    rng = np.random.default_rng(0)
    times = np.arange(0, 20, 0.2)
    straight = np.stack([times * 0.4, np.full(len(times), 1.0)], axis=1)
    noisy = straight + rng.normal(scale=0.05, size=straight.shape)
    (line,) = smoothed(times, noisy, shapely.box(-1, 0, 10, 3))
    assert np.abs(line[:, 1] - 1).max() < 0.06
    assert np.std(line[:, 1]) < 0.5 * np.std(noisy[:, 1])
    np.testing.assert_allclose(line[[0, -1]], straight[[0, -1]], atol=0.15)
    corner = np.array([[0, 0.5], [1, 0.5], [2, 0.5], [2, 1.5], [2, 2.5]])
    room = shapely.Polygon([(-1, 0.3), (2.2, 0.3), (2.2, 3), (1.8, 3), (1.8, 0.7), (-1, 0.7)])
    (line,) = smoothed(np.arange(5) * 0.3, corner, room)
    assert shapely.contains_xy(room, line).all()
    assert len(smoothed(np.array([0, 1, 9, 10.0]), np.zeros((4, 2)), room)) == 2
    assert len(smoothed(np.array([0, 1, 9, 10.0]), np.zeros((4, 2)), room, longest_gap=np.inf)) == 1
    assert smoothed(np.array([3.0]), np.zeros((1, 2)), room) == []


def test_svg_has_links_titles_and_no_markup_of_others():
    graph = flat_with_walls()
    graph.replace("R0", make_room("<b>&kitchen", 0, 0, 3.94, 3))
    svg = drawing_svg(flat_drawing(graph), link="scene.html")
    assert svg.count('<a href="scene.html#O1">') == 1
    assert "<title>O0 table, 1.20 × 0.80 × 0.80 m, 12 views</title>" in svg
    assert "<title>door R0 - R1, 0.90 m</title>" in svg
    assert "&lt;b&gt;&amp;kitchen" in svg
    assert "<b>" not in svg
    assert "<a " not in drawings_svg([flat_drawing(graph)])


def test_every_storey_is_drawn_once():
    graph = two_storeys()
    drawings = storey_drawings(graph, all_known(graph))
    assert [drawing.title for drawing in drawings] == ["storey F0", "storey F1"]
    assert [[s.key for s in d.shapes if s.layer == "FURNITURE"] for d in drawings] == [["O0"], ["O1"]]
    svg = drawings_svg(drawings)
    assert svg.index("storey F1") < svg.index("storey F0")  # as they stand
    heights = re.search(r'viewBox="0 0 (\d+) (\d+)"', svg)
    assert int(heights[2]) > 1000


def test_dxf_opens_in_another_reader_with_the_right_lengths():
    text = drawings_dxf([flat_drawing()])
    document, auditor = ezdxf.recover.read(io.BytesIO(text.encode("ascii")))
    assert not auditor.has_errors
    assert document.header["$INSUNITS"] == 6  # metres
    space = document.modelspace()
    rooms = [entity for entity in space if entity.dxf.layer == "ROOMS"]
    outlines = [shapely.Polygon([(p.x, p.y) for p in entity.points()]) for entity in rooms]
    assert [outline.area for outline in outlines] == pytest.approx([3.94 * 3, 3.94 * 3])
    texts = {entity.dxf.text for entity in space if entity.dxftype() == "TEXT"}
    assert {"R0 kitchen", "11.8 m²", "8.00 m"} <= texts
    upright = [entity for entity in space.query("TEXT") if entity.dxf.rotation == 90]
    assert "3.00" in {entity.dxf.text for entity in upright}
    assert {"WALLS", "DOORS", "FURNITURE", "DIMENSIONS"} <= {layer.dxf.name for layer in document.layers}
    two = drawings_dxf(storey_drawings(two_storeys(), all_known(two_storeys())))
    assert "STOREY_F1_ROOMS" in {layer.dxf.name for layer in ezdxf.read(io.StringIO(two)).layers}


def test_dxf_takes_no_name_for_a_command():
    graph = flat_with_walls()
    graph.replace("R0", make_room("a%%u^J\\P\nEOF é", 0, 0, 3.94, 3))
    document, _ = ezdxf.recover.read(io.BytesIO(drawings_dxf([flat_drawing(graph)]).encode("ascii")))
    (name,) = [e.dxf.text for e in document.modelspace().query("TEXT") if e.dxf.text.startswith("R0")]
    assert name == "R0 a% %u^ J/P?EOF é"


def test_pdf_opens_in_another_reader_at_the_scale_it_says():
    drawing = flat_drawing()
    document = pypdfium2.PdfDocument(drawings_pdf([drawing], "a (small) flat, überall"))
    assert len(document) == 1
    page = document[0]
    assert page.get_size() == pytest.approx((0.297 * POINTS_PER_METRE, 0.210 * POINTS_PER_METRE), abs=0.1)
    text = page.get_textpage().get_text_range()
    for expected in ("a (small) flat, überall", "R0 kitchen", "11.8 m²", "8.00 m", "1 : 50"):
        assert expected in text
    assert document.get_metadata_value("Title") == "a (small) flat, überall"
    image = page.render(scale=2).to_numpy()
    assert (np.ptp(image.reshape(-1, image.shape[-1]).astype(int), axis=0) > 150).all()
    # The extent of 8 m at 1 : 50 is 160 mm of paper: the dimension's line is that long.
    line = next(s for s in drawing.shapes if s.layer == "DIMENSIONS").rings[0]
    assert np.linalg.norm(line[1] - line[0]) / 50 == pytest.approx(0.160)
    paths = [obj for obj in page.get_objects() if obj.type == pypdfium2.raw.FPDF_PAGEOBJ_PATH]
    widths = [right - left for left, _, right, _ in (obj.get_bounds() for obj in paths)]
    assert any(width == pytest.approx(0.160 * POINTS_PER_METRE, abs=2.0) for width in widths)


@pytest.mark.parametrize(
    ("size", "paper", "scale"),
    [
        ((8, 4), (0.297, 0.210), 50),
        ((4, 8), (0.210, 0.297), 50),
        ((19, 12), (0.420, 0.297), 50),
        ((900, 20), (0.297, 0.210), 5000),
    ],
)
def test_the_paper_suits_the_plan(size, paper, scale):
    page, chosen = paper_of(np.array(size, dtype=float))
    assert (page, chosen) == (paper, scale)


def test_several_storeys_are_several_pages():
    document = pypdfium2.PdfDocument(drawings_pdf(storey_drawings(two_storeys(), all_known(two_storeys())), "office"))
    texts = [page.get_textpage().get_text_range() for page in document]
    assert len(texts) == 2
    assert "office, storey F0" in texts[0]
    assert "office, storey F1" in texts[1]


def test_files_are_the_same_each_time_and_an_empty_map_has_some():
    graph = SceneGraph(nyu40(), np.eye(4))
    assert storey_drawings(graph, all_known(graph)) == []
    assert len(pypdfium2.PdfDocument(drawings_pdf([], "nothing"))) == 1
    assert len(ezdxf.read(io.StringIO(drawings_dxf([]))).modelspace()) == 0
    assert drawings_svg([]).startswith("<svg")
    for write in (drawings_svg, drawings_dxf, lambda d: drawings_pdf(d, "flat")):
        assert write([flat_drawing()]) == write([flat_drawing()])


def test_text_widths_are_those_of_the_font():
    assert text_width("mmm", 1.0) == pytest.approx(2.499)
    assert text_width("0123456789", 0.1) == pytest.approx(0.556)
    box = Label("NAMES", np.zeros(2), "3.00", 0.2, angle=90.0).box
    assert np.ptp(box, axis=0)[1] > np.ptp(box, axis=0)[0]
