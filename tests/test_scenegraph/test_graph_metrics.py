"""Scene graph metrics on cases whose numbers are known by hand."""

from __future__ import annotations

import numpy as np
import pytest
import shapely

from mapping.mesh.mesh_metrics import harmonic_mean
from mapping.se3 import yaw_rotation
from scenegraph.graph_metrics import (
    Change,
    change_metrics,
    changes_of,
    free_volume,
    match_objects,
    object_metrics,
    ratio,
    relation_metrics,
    room_metrics,
    storey_metrics,
)
from scenegraph.labels import nyu40
from scenegraph.nodes import ObjectNode, OrientedBox, RoomNode, StoreyNode, TrackNode
from scenegraph.track_metrics import ghost_area, in_swept_volume, swept_surface, track_metrics
from scenegraph.tracks.positions import positions_at, stretches


def box(center=(0.0, 0.0, 0.0), size=(1.0, 1.0, 1.0), yaw_deg=0.0) -> OrientedBox:
    return OrientedBox(np.array(center, float), np.array(size, float), yaw_rotation(np.deg2rad(yaw_deg)))


def thing(label: str, center=(0.0, 0.0, 0.0), presence=(), **shape) -> ObjectNode:
    place = box(center, **shape)
    return ObjectNode(label, nyu40().id_of(label), place.center, place, presence=presence)


def room(label: str, low, high, z_range=(0.0, 2.0)) -> RoomNode:
    (x0, y0), (x1, y1) = low, high
    polygon = np.array([(x0, y0), (x1, y0), (x1, y1), (x0, y1)], float)
    return RoomNode(label, np.zeros(3), polygon, z_range, (x1 - x0) * (y1 - y0))


def walker(times, positions, size=(0.5, 0.5, 1.8)) -> TrackNode:
    return TrackNode("person", 31, np.array(size), np.array(times, float), np.array(positions, float))


def test_ratio():
    assert (ratio(1, 4), ratio(0, 0), ratio(0, 3)) == (0.25, 1.0, 0.0)
    assert ratio(3, 3) == 1.0


def test_objects_by_hand():
    truth = {
        "O0": thing("chair"),
        "O1": thing("chair", (5, 0, 0)),
        "O2": thing("table", (10, 0, 0)),
        "O3": thing("sofa", (20, 0, 0)),
    }
    predicted = {
        "O0": thing("chair", (0.2, 0, 0)),  # IoU 0.8 / 1.2 = 2/3
        "O1": thing("chair", (5.5, 0, 0)),  # 0.5 / 1.5 = 1/3
        "O2": thing("desk", (10, 0, 0)),  # another label
        "O3": thing("chair", (0, 0.4, 0)),  # 0.6 / 1.4 = 0.43, but its chair is taken
        "O4": thing("sofa", (20.7, 0, 0)),  # 0.3 / 1.7 = 0.18
    }
    scores = object_metrics(predicted, truth)
    assert scores == {
        "precision_25": 2 / 5,
        "recall_25": 2 / 4,
        "f1_25": pytest.approx(4 / 9),
        "f1_50": pytest.approx(harmonic_mean(1 / 5, 1 / 4)),
        "count": 5,
        "count_true": 4,
    }
    assert match_objects(predicted, truth, min_iou=0.25) == {"O0": "O0", "O1": "O1"}


def test_objects_are_matched_by_the_best_overlap_first():
    truth = {"O0": thing("chair"), "O1": thing("chair", (0.5, 0, 0))}
    predicted = {"O7": thing("chair", (0.4, 0, 0)), "O8": thing("chair", (-0.3, 0, 0))}
    # O7 overlaps O1 by 0.9 / 1.1 and O0 by 0.6 / 1.4; it takes O1, and O0 stays for O8.
    assert match_objects(predicted, truth, min_iou=0.25) == {"O7": "O1", "O8": "O0"}


def test_no_objects():
    assert object_metrics({}, {"O0": thing("chair")})["f1_25"] == 0.0
    assert object_metrics({"O0": thing("chair")}, {})["precision_25"] == 0.0
    assert object_metrics({}, {})["f1_25"] == 1.0


def test_free_volume_by_hand():
    kitchen = shapely.box(0, 0, 2, 1)
    assert free_volume(kitchen, (0.0, 0.55), []) == pytest.approx(1.1)  # no multiple of any voxel
    low, high = box((0.5, 0.5, 0.1), (0.4, 0.4, 0.2)), box((0.5, 0.6, 0.3), (0.4, 0.4, 10))
    assert free_volume(kitchen, (0.0, 0.55), [low]) == pytest.approx(1.1 - 0.16 * 0.2)
    assert free_volume(kitchen, (0.0, 0.55), [high]) == pytest.approx(1.1 - 0.16 * 0.55)
    together = 0.16 * 0.55 + 0.4 * 0.1 * 0.2  # they overlap
    assert free_volume(kitchen, (0.0, 0.55), [low, high]) == pytest.approx(1.1 - together)
    assert free_volume(kitchen, (0.2, 0.55), [low]) == pytest.approx(0.7)
    assert free_volume(kitchen, (0.0, 0.55), [box((5, 5, 0))]) == pytest.approx(1.1)


def test_free_volume_of_a_turned_room_and_obstacle():
    turn = yaw_rotation(0.4)[:2, :2]
    polygon = np.array([(0, 0), (3, 0), (3, 1), (1, 1), (1, 2), (0, 2)]) @ turn.T  # an L of 4 square metres
    obstacle = box((*(turn @ (0.5, 0.5)), 0.5), (0.6, 0.3, 0.7), 50)
    assert free_volume(shapely.Polygon(polygon), (0.0, 1.0), [obstacle]) == pytest.approx(4.0 - 0.6 * 0.3 * 0.7)


def test_a_room_whose_floor_is_off_by_little_loses_little():
    truth = [room("kitchen", (0, 0), (4, 2), (0.0, 2.5))]
    scores = room_metrics([room("kitchen", (0, 0), (4, 2), (0.02, 2.48))], truth)
    assert scores["precision"] == 1.0
    assert scores["recall"] == pytest.approx(2.46 / 2.5)


def test_rooms_by_hand():
    truth = [room("kitchen", (0, 0), (4, 2)), room("bedroom", (4, 0), (6, 2))]
    # The first is found but for its right half, which is a separate room together with half of the second.
    predicted = [room("kitchen", (0, 0), (2, 2)), room("hall", (2, 0), (5, 2))]
    scores = room_metrics(predicted, truth)
    # Areas 8 and 4; overlaps 4, 4 and 2. Largest for the truth 4 and 2, for the prediction 4 (of 4) and 4 (of 6).
    assert scores["recall"] == pytest.approx(6 / 12)
    assert scores["precision"] == pytest.approx(8 / 10)
    assert scores["f1"] == pytest.approx(harmonic_mean(0.8, 0.5))
    assert (scores["count"], scores["count_true"]) == (2, 2)
    assert scores["label_accuracy"] == 0.5  # kitchen; of equal overlaps the first counts


def test_rooms_merged_and_storeys_apart():
    truth = [room("kitchen", (0, 0), (2, 2)), room("bath", (2, 0), (4, 2))]
    scores = room_metrics([room("kitchen", (0, 0), (4, 2))], truth)
    assert (scores["recall"], scores["precision"]) == (1.0, 0.5)
    upstairs = [room("kitchen", (0, 0), (2, 2), (3.0, 5.0)), room("bath", (2, 0), (4, 2), (3.0, 5.0))]
    scores = room_metrics(upstairs, truth)
    assert (scores["recall"], scores["precision"], scores["label_accuracy"]) == (0.0, 0.0, 0.0)


def test_furniture_is_free_space_of_nobody():
    truth = [room("kitchen", (0, 0), (2, 2))]
    wardrobe = box((1.5, 1.0, 1.0), (1.0, 2.0, 2.0))
    scores = room_metrics([room("kitchen", (0, 0), (1, 2))], truth, [wardrobe])
    assert (scores["recall"], scores["precision"]) == (1.0, 1.0)


def test_no_rooms():
    kitchen = room("kitchen", (0, 0), (2, 2))
    assert room_metrics([], [kitchen])["f1"] == 0.0
    assert room_metrics([kitchen], [])["precision"] == 0.0
    assert room_metrics([], [])["f1"] == 1.0


def test_storeys_by_hand():
    truth = [StoreyNode((0.0, 2.5)), StoreyNode((3.0, 5.5))]
    assert storey_metrics([StoreyNode((0.1, 2.6)), StoreyNode((2.8, 5))], truth) == {
        "count": 2,
        "count_true": 2,
        "height_error_m": pytest.approx(0.15),
    }
    assert storey_metrics([StoreyNode((0.1, 5.6))], truth)["height_error_m"] == pytest.approx((0.1 + 2.9) / 2)
    assert storey_metrics([], truth)["height_error_m"] is None


def test_relations_by_hand():
    truth = [("O0", "on", "O1"), ("O2", "next_to", "O1"), ("O3", "on", "O1")]
    matched = {"O10": "O0", "O11": "O1", "O12": "O2"}
    predicted = [
        ("O10", "on", "O11"),  # right
        ("O11", "next_to", "O12"),  # right, in the other direction
        ("O11", "on", "O10"),  # in the wrong direction
        ("O10", "on", "O99"),  # of an object that is not matched: said all the same
        ("O10", "part_of", "O12"),  # of a kind without truth
    ]
    scores = relation_metrics(predicted, truth, matched, symmetric=frozenset({"next_to"}))
    assert scores == {"precision": pytest.approx(2 / 4), "recall": pytest.approx(2 / 3)}
    assert relation_metrics([], truth, matched, symmetric=frozenset()) == {"precision": 1.0, "recall": 0.0}


def test_changes_from_presence():
    objects = [
        thing("chair"),  # always there
        thing("box", (1, 0, 0), presence=((0.3, 99.5),)),
        thing("lamp", (2, 0, 0), presence=((50.0, 100.0),)),
        thing("bag", (3, 0, 0), presence=((0.0, 20.0),)),
        thing("pillow", (4, 0, 0), presence=((60.0, 100.0), (0.0, 30.0))),
    ]
    found = [(change.kind, change.label) for change in changes_of(objects, (0.0, 100.0))]
    assert found == [("appeared", "lamp"), ("disappeared", "bag"), ("appeared", "pillow"), ("disappeared", "pillow")]


def test_changes_by_hand():
    def change(kind: str, label: str, x: float) -> Change:
        return Change(kind, label, np.array([x, 0, 0]))

    truth = [change("appeared", "box", 0), change("disappeared", "box", 3), change("appeared", "bag", 6)]
    predicted = [
        change("appeared", "box", 0.4),
        change("appeared", "box", -0.3),  # a second claim on the same change
        change("disappeared", "box", 3.6),  # too far
        change("disappeared", "bag", 6),  # the wrong kind
        change("appeared", "lamp", 6),  # the wrong label
    ]
    assert change_metrics(predicted, truth) == {
        "precision": 1 / 5,
        "recall": pytest.approx(1 / 3),
        "count": 5,
        "count_true": 3,
    }
    assert change_metrics([], []) == {"precision": 1.0, "recall": 1.0, "count": 0, "count_true": 0}
    assert change_metrics([], truth) == {"precision": 1.0, "recall": 0.0, "count": 0, "count_true": 3}


def test_positions_between_samples_and_in_gaps():
    track = walker([0, 1, 5, 6], [(0, 0, 1), (2, 0, 1), (8, 0, 1), (8, 3, 1)])
    got = positions_at(track, [-1, 0, 0.5, 1, 3, 5, 5.5, 6, 6.1])
    expected = [None, (0, 0, 1), (1, 0, 1), (2, 0, 1), None, (8, 0, 1), (8, 1.5, 1), (8, 3, 1), None]
    for row, value in zip(got, expected, strict=True):
        np.testing.assert_allclose(row, np.full(3, np.nan) if value is None else value)
    assert np.isnan(positions_at(walker([], np.zeros((0, 3))), [0.0])).all()


TIMES = np.arange(10) / 10.0


def still(x: float, times=TIMES) -> TrackNode:
    return walker(times, [(x, 0, 1)] * len(times))


def test_tracks_by_hand():
    truth = [still(0), still(5)]
    # The first is followed by one track and then by another; the second is missed; a third one is invented for 4 stamps.
    predicted = [still(0.3, TIMES[:6]), still(-0.3, TIMES[6:]), still(9, TIMES[:4])]
    # For good, the first can only be one of the two tracks that follow it, for 6 of its 10 stamps; 14 were predicted,
    # 20 are true.
    expected = {"precision": 10 / 14, "recall": 10 / 20, "id_switches": 1, "id_f1": 2 * 6 / (14 + 20)}
    assert track_metrics(predicted, truth, TIMES) == {**expected, "count": 3, "count_true": 2}


def test_tracks_too_far_do_not_count():
    found = track_metrics([still(0.6)], [still(0)], TIMES)
    assert (found["precision"], found["recall"], found["id_switches"], found["id_f1"]) == (0.0, 0.0, 0, 0.0)


def test_earlier_partners_are_kept():
    # Two people pass; the nearest partner changes in the middle, the identity does not.
    a = walker(TIMES, [(0, 0, 1)] * 10)
    b = walker(TIMES, [(0.3, 0, 1)] * 10)
    predicted = [
        walker(TIMES, [(0.02 * k, 0, 1) for k in range(10)]),
        walker(TIMES, [(0.3 - 0.02 * k, 0, 1) for k in range(10)]),
    ]
    assert track_metrics(predicted, [a, b], TIMES)["id_switches"] == 0


def test_swapped_tracks_switch_twice():
    a, b = still(0), still(3)
    swap = [
        walker(TIMES, [(0 if k < 5 else 3, 0, 1) for k in range(10)]),
        walker(TIMES, [(3 if k < 5 else 0, 0, 1) for k in range(10)]),
    ]
    found = track_metrics(swap, [a, b], TIMES)
    assert (found["precision"], found["recall"], found["id_switches"], found["id_f1"]) == (1.0, 1.0, 2, 0.5)


def test_one_track_for_two_who_come_one_after_the_other_is_seen_by_the_identity_alone():
    """CLEAR MOT has no switch here: each of the two only ever had one partner."""
    found = track_metrics([still(0)], [still(0, TIMES[:5]), still(0, TIMES[5:])], TIMES)
    assert (found["precision"], found["recall"], found["id_switches"], found["id_f1"]) == (1.0, 1.0, 0, 0.5)


def test_most_pairs_come_before_least_distance():
    # P0 is nearest to T0, but only P0 reaches T1: the pairs are (T0, P1), (T1, P0).
    truth, predicted = [still(0), still(0.5)], [still(0.1), still(-0.4)]
    assert track_metrics(predicted, truth, TIMES)["recall"] == 1.0


def test_what_cannot_be_seen_is_not_asked_for():
    visible = np.array([[True] * 5 + [False] * 5])
    found = track_metrics([still(0)], [still(0)], TIMES, visible=visible)
    assert (found["precision"], found["recall"], found["id_switches"], found["id_f1"]) == (1.0, 1.0, 0, 1.0)
    hidden = track_metrics([], [still(0), still(3)], TIMES, visible=np.array([[True] * 10, [False] * 10]))
    assert hidden["count_true"] == 1
    seen_half = track_metrics([still(0, TIMES[:5])], [still(0)], TIMES, visible=visible)
    assert seen_half["recall"] == 1.0
    nothing = track_metrics([still(4)], [still(0)], TIMES, visible=visible)
    assert (nothing["precision"], nothing["recall"]) == (0.0, 0.0)


def test_no_tracks():
    none = {"precision": 1.0, "recall": 1.0, "id_switches": 0, "id_f1": 1.0, "count": 0, "count_true": 0}
    assert track_metrics([], [], TIMES) == none
    assert track_metrics([still(0)], [], TIMES)["precision"] == 0.0
    assert track_metrics([], [still(0)], TIMES)["recall"] == 0.0


def test_swept_volume_is_a_tube():
    track = walker([0, 1, 9, 10], [(0, 0, 1), (2, 0, 1), (8, 0, 1), (8, 0, 1)], size=(0.6, 0.4, 1.8))
    points = np.array([(1, 0.29, 1), (1, 0.31, 1), (1, 0, 0.11), (1, 0, 0.09), (-0.29, 0, 1), (5, 0, 1), (8, 0.2, 1.8)])
    assert in_swept_volume(points, [track]).tolist() == [True, False, True, False, True, False, True]
    assert not in_swept_volume(points, []).any()
    assert in_swept_volume(np.zeros((0, 3)), [track]).shape == (0,)


def test_ghosts_by_hand():
    track = walker([0, 1], [(0, 0, 0.9), (1, 0, 0.9)])
    points = np.array([(0.5, 0, 1.0), (0.5, 0, 0.05), (0.5, 0, 0.3), (3, 0, 1.0)])

    def above_floor(queried):
        return queried[:, 2]  # the true static surface is the floor

    # The first and the third are ghosts, the second is floor, the fourth is elsewhere.
    assert ghost_area(points, 8.0, [track], above_floor) == 4.0
    assert ghost_area(points, 8.0, [], above_floor) == 0.0
    assert ghost_area(np.zeros((0, 3)), 8.0, [track], above_floor) == 0.0


def test_swept_surface_by_hand():
    times = np.arange(5.0) / 2
    places = np.stack([times, np.zeros(5), np.full(5, 0.9)], axis=1)
    track = TrackNode("person", 31, np.array([0.5, 0.4, 1.8]), times, places)
    around, above = np.pi * 0.5, np.pi * 0.25**2
    assert swept_surface([track], [times[:1]]) == pytest.approx(1.8 * around + above, rel=0.01)
    assert swept_surface([track], [times]) == pytest.approx(1.8 * (around + 4) + above + 1.0, rel=0.01)
    assert swept_surface([track], [[0.0, 2.0]]) == pytest.approx(2 * (1.8 * around + above), rel=0.01)  # seen twice
    assert swept_surface([track], [[]]) == 0.0


def test_stretches_end_where_a_track_is_out_of_view():
    places = np.stack([np.arange(5.0), np.zeros(5), np.ones(5)], axis=1)
    pieces = stretches(walker([0.0, 0.5, 1.0, 4.0, 4.9], places))
    assert [piece[:, 0].tolist() for piece in pieces] == [[0, 1, 2], [3, 4]]
    assert stretches(walker([0.0], places[:1]))[0].tolist() == [[0, 0, 1]]
