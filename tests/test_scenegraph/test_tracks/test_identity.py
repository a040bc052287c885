"""Identities over long absences, with hand-made detections."""

from dataclasses import replace

import numpy as np
import pytest
from walkers import as_frames, walk

from scenegraph.labels import nyu40
from scenegraph.tracks.appearance import log_odds_same, summarise_looks
from scenegraph.tracks.identity import group_stays
from scenegraph.tracks.track_config import TrackingConfig
from scenegraph.tracks.tracking import track

SPACE = nyu40()
RED, BLUE, GREEN = (
    (np.array(upper), np.array(lower))
    for upper, lower in (
        ((0.9, -0.2, 0.0), (0.1, -0.4, 0.0)),
        ((-0.3, 0.5, 0.0), (0.2, 0.1, -0.1)),
        ((-0.4, -0.6, 0.0), (0.4, -0.2, 0.1)),
    )
)


def times(start, end):
    return [round(start + 0.25 * k, 2) for k in range(int((end - start) / 0.25))]


def stay(start, end, place, look=(None, None), velocity=(0.0, 0.0), *, seed=0):
    """Detections of someone who passes `place` at `start`, each view with slightly different light."""
    rng = np.random.default_rng(seed)
    found = walk(times(start, end), np.asarray(place) - np.asarray(velocity) * start, velocity)
    if look[0] is None:
        return found
    return {
        time: replace(d, look=tuple(band + 0.03 * rng.normal(size=3) for band in look)) for time, d in found.items()
    }


def tracks(*stays, config=None):
    every = sorted({time for found in stays for time in found})
    merged = as_frames(every, *stays)
    return track(merged, SPACE, config)


def spans(nodes):
    return sorted((float(node.times[0]), float(node.times[-1]), len(node.times)) for node in nodes)


@pytest.mark.parametrize("look", [RED, (None, None)])
def test_one_person_is_one_track_over_any_absence(look):
    stays = [
        stay(start, start + 4, (4 + k, k - 2.0), look, (0, 0.5), seed=k) for k, start in enumerate((0, 30, 90, 400))
    ]
    (node,) = tracks(*stays)
    assert len(node.times) == 4 * 16
    assert (np.diff(node.times) > 20).sum() == 3  # nothing is interpolated in between


def test_red_and_blue_who_come_alternately_are_two():
    stays = [stay(20 * k, 20 * k + 4, (4, 0.2 * k), (RED, BLUE)[k % 2], seed=k) for k in range(6)]
    nodes = tracks(*stays)
    assert len(nodes) == 2
    starts = [sorted({float(time // 20) for time in node.times}) for node in nodes]
    assert starts == [[0, 2, 4], [1, 3, 5]]


def test_people_seen_at_once_are_never_one_and_look_alikes_stay_separate():
    """Two in red are together at first; which of them returns later is unknown."""
    together = [stay(0, 5, (4, -1), RED), stay(0, 5, (4, 1), RED, seed=1)]
    later = [stay(60, 64, (4, 0), RED, seed=2), stay(120, 124, (4, 0.3), RED, seed=3)]
    nodes = tracks(*together, *later)
    assert len(nodes) == 4
    # With the clothes of one of them known, it is unambiguous.
    nodes = tracks(together[0], stay(0, 5, (4, 1), BLUE), *later)
    assert [len(node.times) for node in nodes] == [20 + 16 + 16, 20]


def test_a_short_absence_is_bridged_also_among_look_alikes():
    """Two in red walk apart, and each is lost for a second."""
    left = [stay(0, 3, (4, -1), RED, (0, -0.7)), stay(4, 7, (4, -3.8), RED, (0, -0.7), seed=1)]
    right = [stay(0, 3, (4, 1), RED, (0, 0.7), seed=2), stay(4, 7, (4, 3.8), RED, (0, 0.7), seed=3)]
    nodes = tracks(*left, *right)
    assert len(nodes) == 2
    for node in nodes:
        assert np.ptp(node.times) == pytest.approx(6.75)
        assert len({np.sign(y) for y in node.positions[:, 1]}) == 1


def test_nobody_is_in_two_places_faster_than_a_runner():
    near, far = (4.0, 0.0), (4.0, 30.0)
    assert len(tracks(stay(0, 4, near, RED), stay(8, 12, far, RED))) == 2
    assert len(tracks(stay(0, 4, near, RED), stay(20, 24, far, RED))) == 1
    assert len(tracks(stay(0, 4, near, RED), stay(20, 24, far, RED), config=TrackingConfig(max_speed=1.0))) == 2


def test_another_class_is_another_thing():
    person, chair = stay(0, 4, (4, 0), RED), stay(20, 24, (4, 0), RED)
    chair = {time: replace(d, label_id=5) for time, d in chair.items()}
    assert len(tracks(person, chair)) == 2


def test_height_decides_where_clothes_leave_it_open():
    """A shirt between the two of a tall person, on somebody tall and on somebody small."""
    tall = stay(0, 4, (4, 0), RED)
    pink = (RED[0] + [0.4, 0.1, 0.0], RED[1] + [0.0, 0.4, 0.0])
    late = stay(30, 34, (4, 0), pink, seed=1)
    small = {time: replace(d, high=d.high * [1, 1, 1.45 / 1.8]) for time, d in late.items()}
    assert len(tracks(tall, late)) == 1
    assert len(tracks(tall, small)) == 2


def test_three_people_in_any_order_of_the_input():
    stays = [stay(15 * k, 15 * k + 4, (4, 0.1 * k), (RED, BLUE, GREEN)[k % 3], seed=k) for k in range(9)]
    expected = spans(tracks(*stays))
    assert [count for _, _, count in expected] == [48, 48, 48]
    assert spans(tracks(*stays[::-1])) == expected


def test_how_likely_people_return_is_a_setting():
    """With a prior against returning, absence divides."""
    stays = [stay(0, 4, (4, 0)), stay(40, 44, (4, 0))]
    assert len(tracks(*stays)) == 1
    assert len(tracks(*stays, config=TrackingConfig(return_odds=-1.0))) == 2
    assert group_stays([], TrackingConfig()) == []


def test_odds_of_looks():
    red, blue, nothing = (summarise_looks([look] * 10) for look in (RED, BLUE, (None, None)))
    assert log_odds_same(red, red) > 3
    assert log_odds_same(red, blue) < -3
    assert log_odds_same(red, nothing) == 0
    once = summarise_looks([RED])
    assert log_odds_same(red, once) < log_odds_same(red, red)  # a single view has less evidence
    stray = summarise_looks([RED] * 9 + [BLUE] * 2)
    np.testing.assert_allclose(stray.middle, red.middle)
