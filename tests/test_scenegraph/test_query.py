import numpy as np
import pytest
from scenes import make_object, make_room, small_flat

from scenegraph import SceneGraph
from scenegraph.labels import nyu40
from scenegraph.nodes import PlaceNode
from scenegraph.query import (
    QueryError,
    distance_to_box,
    is_present,
    nearest,
    objects,
    path,
    position_at,
    room_at,
    tracks,
)


@pytest.fixture
def flat():
    return small_flat()


def keys(hits):
    return [hit.key for hit in hits]


def test_objects_by_label_room_and_both(flat):
    assert keys(objects(flat)) == ["O0", "O1", "O2", "O3"]
    assert keys(objects(flat, label="chair")) == ["O1", "O2"]
    assert keys(objects(flat, room="R1")) == ["O2"]
    assert keys(objects(flat, room="kitchen", label="chair")) == ["O1"]
    (hit,) = objects(flat, label="table")
    assert (hit.label, hit.room, hit.distance) == ("table", "R0", None)
    np.testing.assert_array_equal(hit.position, [1, 2, 0.4])


def test_a_name_may_mean_several_rooms(flat):
    flat.add(make_room("kitchen", 0, 3, 4, 6), parent="F0")
    flat.add(make_object("chair", [1, 5, 0.5]), parent="R2")
    assert keys(objects(flat, room="kitchen", label="chair")) == ["O1", "O4"]


def test_objects_at_a_time(flat):
    assert keys(objects(flat, label="chair", time=1.0)) == ["O1", "O2"]
    assert keys(objects(flat, label="chair", time=3.0)) == ["O1"]
    assert keys(objects(flat, label="chair", time=7.0)) == ["O2"]
    assert keys(objects(flat, time=100.0)) == ["O0", "O3"]  # the presence of these is unknown
    assert is_present(flat["O2"], 2.0)
    assert not is_present(flat["O2"], 2.001)


def test_objects_near_a_point_are_measured_to_their_boxes(flat):
    hits = objects(flat, near=[2.5, 1, 0.5], radius=2.0)
    assert keys(hits) == ["O1", "O0", "O3"]
    assert hits[0].distance == 0.0
    assert hits[2].distance == pytest.approx(np.linalg.norm([1.4, 0.9, 0.3]))
    assert keys(nearest(flat, [6, 1, 0.5], label="chair", count=1)) == ["O2"]
    assert keys(nearest(flat, [6, 1, 0.5], count=9)) == ["O2", "O1", "O0", "O3"]


@pytest.mark.parametrize(
    ("point", "expected"),
    [([0, 0, 0], 0.0), ([0.25, 0.3, 0.5], 0.0), ([1.25, 0, 0], 1.0), ([0, 0, -2.5], 2.0), ([1.25, 1.3, 0], np.sqrt(2))],
)
def test_distance_to_a_box(point, expected):
    assert distance_to_box(make_object("chair", [0, 0, 0]), point) == pytest.approx(expected)


def test_distance_to_a_turned_box():
    turned = make_object("chair", [0, 0, 0], (2, 1, 1), yaw=np.pi / 2)
    assert distance_to_box(turned, [0, 1.5, 0]) == pytest.approx(0.5)
    assert distance_to_box(turned, [1.5, 0, 0]) == pytest.approx(1.0)


def test_tracks_are_interpolated(flat):
    track = flat["T0"]
    np.testing.assert_allclose(position_at(track, 0.5), [1.5, 1.5, 0.9])
    np.testing.assert_allclose(position_at(track, 2.0), [3, 1.5, 0.9])
    np.testing.assert_allclose(position_at(track, 4.0, max_gap=4.0), [5, 1.5, 0.9])
    assert position_at(track, 4.0) is None
    assert position_at(track, -0.1) is None
    assert position_at(track, 6.1) is None
    np.testing.assert_allclose(position_at(track, 6.0), [7, 1.5, 0.9])


def test_tracks_at_a_time(flat):
    (hit,) = tracks(flat, time=1.5)
    assert (hit.key, hit.label, hit.room) == ("T0", "person", "R0")
    np.testing.assert_allclose(hit.position, [2.5, 1.5, 0.9])
    assert tracks(flat, time=4.0) == []
    assert keys(tracks(flat, time=6.0, room="bedroom")) == ["T0"]
    assert tracks(flat, time=6.0, room="kitchen") == []
    assert tracks(flat, time=6.0, label="chair") == []


def test_room_at_a_point(flat):
    assert room_at(flat, [1, 1, 1]) == "R0"
    assert room_at(flat, [7.9, 2.9, 2.4]) == "R1"
    assert room_at(flat, [1, 1, 2.6]) == "R0"  # a touch over the ceiling
    assert room_at(flat, [1, 1, 3.0]) is None
    assert room_at(flat, [-1, 1, 1]) is None
    closet = make_room("closet", 0, 0, 1, 1)
    flat.add(closet, parent="F0")
    assert room_at(flat, [0.5, 0.5, 1]) == "R2"


def test_path_between_rooms(flat):
    found = path(flat, "R0", "R1")
    assert found.places == ("P0", "P1", "P2")
    np.testing.assert_allclose(found.points, [[1, 1.5, 1], [3, 1.5, 1], [5, 1.5, 1]])
    assert found.length == pytest.approx(4.0)
    assert found.clearance == 0.4


def test_path_between_objects_and_points(flat):
    found = path(flat, "O1", [7, 2.5, 1])
    assert found.places == ("P1", "P2", "P3")
    np.testing.assert_allclose(found.points[0], flat["O1"].position)
    np.testing.assert_allclose(found.points[-1], [7, 2.5, 1])
    expected = np.linalg.norm(
        np.diff([[2.5, 1, 0.5], [3, 1.5, 1], [5, 1.5, 1], [7, 1.5, 1], [7, 2.5, 1]], axis=0), axis=1
    )
    assert found.length == pytest.approx(expected.sum())


def test_an_end_takes_a_place_of_its_own_room(flat):
    """Straight through the wall another place is nearer."""
    flat.add(make_object("lamp", [4.05, 2.9, 1]), parent="R1")
    flat.add(PlaceNode(np.array([3.9, 2.9, 1.0]), 0.3), parent="R0")
    assert path(flat, "O4", "P3").places[0] == "P2"


def test_path_to_itself(flat):
    found = path(flat, "P1", "P1")
    assert found.places == ("P1",)
    assert found.length == 0.0
    assert found.clearance == 0.8


def test_path_takes_the_shorter_of_two_paths(flat):
    flat.add(PlaceNode(np.array([4.0, 2.5, 1.0]), 0.8), parent="R0")
    flat.connect("P1", "P4", kind="place_edge", clearance=0.7)
    flat.connect("P4", "P2", kind="place_edge", clearance=0.7)
    assert path(flat, "P1", "P2").places == ("P1", "P2")
    wide = path(flat, "P1", "P2", min_clearance=0.5)
    assert wide.places == ("P1", "P4", "P2")
    assert wide.clearance == 0.7
    with pytest.raises(QueryError, match=r"no path leads from P1 to P2 with 0\.75 m of clearance"):
        path(flat, "P1", "P2", min_clearance=0.75)


@pytest.mark.parametrize(
    ("ask", "message"),
    [
        (lambda g: objects(g, label="chiar"), "no class 'chiar' in label space nyu40; did you mean chair?"),
        (lambda g: objects(g, room="kichen"), "no room 'kichen' in the scene graph; did you mean kitchen?"),
        (lambda g: objects(g, room="R9"), "no room 'R9'"),
        (lambda g: tracks(g, time=0.0, label="persom"), "did you mean person?"),
        (lambda g: path(g, "O99", "R0"), "no room, object or door 'O99' in the scene graph"),
        (lambda g: path(g, "B0", "R0"), "B0 is a building, which has no position"),
        (lambda g: path(g, [1, 2], "R0"), "expected a node's key or a point of three numbers"),
        (lambda g: path(g, [1, 2, np.nan], "R0"), "expected a node's key or a point of three numbers"),
        (lambda g: path(g, "F0", "R0"), "F0 is a storey"),
    ],
)
def test_questions_without_an_answer(flat, ask, message):
    with pytest.raises(QueryError, match=message.replace("?", r"\?")):
        ask(flat)


def test_no_path_and_no_places(flat):
    flat.nx.remove_edge("P1", "P2")
    with pytest.raises(QueryError, match=r"no path leads from R0 to \[7\.0, 1\.0, 1\.0\]"):
        path(flat, "R0", np.array([7.0, 1, 1]))
    empty = SceneGraph(nyu40())
    with pytest.raises(QueryError, match="no places"):
        path(empty, [0, 0, 0], [1, 1, 1])
