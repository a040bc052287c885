"""Presence of an object, from rays that end at it or pass through its position."""

import numpy as np
import pytest
from walkers import CHAIR, FLOOR, INTRINSICS, WALL, Block, camera, render

from mapping.mesh.mesh import Mesh
from scenegraph.labels import nyu40
from scenegraph.tracks.presence import SurfacePoints, frame_evidence, presence_intervals
from scenegraph.tracks.track_config import PresenceConfig

CONFIG = PresenceConfig()
FRONT = camera((0, -3, 1.0), (0, 2, 0.6))
LOW, HIGH = (-0.4, 0.0, 0.0), (0.4, 0.6, 0.9)
THING = Block(LOW, HIGH, CHAIR)


def front_face(number=1, low=LOW, high=HIGH, side=8):
    """The face of a block towards the camera (-y), as object `number`."""
    x, z = np.meshgrid(
        np.linspace(low[0] + 0.03, high[0] - 0.03, side), np.linspace(low[2], high[2] - 0.03, side), indexing="ij"
    )
    vertices = np.stack([x.ravel(), np.full(x.size, low[1]), z.ravel()], axis=1)
    i = (np.arange(side - 1)[:, None] * side + np.arange(side - 1)).ravel()
    faces = np.concatenate([np.stack([i, i + side, i + side + 1], axis=1), np.stack([i, i + side + 1, i + 1], axis=1)])
    return Mesh(vertices, faces.astype(np.int32), objects=np.full(len(vertices), number, np.uint32))


SURFACE = SurfacePoints.of(front_face(), [CHAIR], per_object=64)


def evidence(blocks, pose=FRONT, **labelled):
    view = render([], blocks, 0.0, pose)
    confirmed, contradicted = frame_evidence(SURFACE, view.depth, INTRINSICS, pose, CONFIG, **labelled)
    return int(confirmed[0]), int(contradicted[0])


def test_points_are_spread_over_each_object():
    both = front_face(2)
    some = SurfacePoints.of(both, [FLOOR, CHAIR], per_object=10)
    assert (some.count, len(some.points)) == (2, 10)
    assert set(some.owner.tolist()) == {1}
    assert set(some.labels.tolist()) == {CHAIR}
    np.testing.assert_allclose(some.normals, np.tile([0.0, -1.0, 0.0], (10, 1)), atol=1e-12)
    assert len(SurfacePoints.of(both, [FLOOR], per_object=10).points) == 0  # objects beyond the list are ignored


def test_rays_end_at_it_pass_through_it_or_say_nothing():
    confirmed, contradicted = evidence([THING])
    assert confirmed > 40
    assert contradicted == 0
    confirmed, contradicted = evidence([])
    assert confirmed < 10  # where it touches the floor, depth is the same without it
    assert contradicted > 40
    screen = Block((-1, -1.5, 0), (1, -1.4, 2), WALL)
    assert evidence([screen]) == (0, 0)
    assert evidence([THING, screen]) == (0, 0)
    assert evidence([THING], camera((0, -3, 1.0), (0, -5, 1.0))) == (0, 0)  # behind the camera
    assert evidence([THING], camera((0, 5, 1.0), (0, 0, 0.6))) == (0, 0)  # from its back
    assert evidence([THING], camera((0, -5.5, 1.0), (0, 2, 0.6))) == (0, 0)  # too far away


def test_labels_tell_what_depth_cannot():
    """A picture taken off its wall does not change the depth."""
    space = nyu40()
    view = render([], [Block(LOW, HIGH, WALL)], 0.0, FRONT)
    without = frame_evidence(SURFACE, view.depth, INTRINSICS, FRONT, CONFIG)
    assert without[0][0] > 40
    confirmed, contradicted = frame_evidence(
        SURFACE, view.depth, INTRINSICS, FRONT, CONFIG, labels=view.labels, label_space=space
    )
    assert (confirmed[0], contradicted[0]) == (without[1][0], without[0][0])
    labelled = render([], [THING], 0.0, FRONT).labels
    assert evidence([THING], labels=labelled, label_space=space)[1] <= 8


def intervals(says, times=None, config=CONFIG, *, least=4):
    """Intervals of one object from one letter per frame: + confirms, - contradicts, o half and half, . no evidence."""
    points = {"+": (10, 0), "-": (0, 10), "o": (5, 5), ".": (0, 0), "f": (3, 0)}
    counts = np.array([points[letter] for letter in says])
    times = np.arange(len(says), dtype=float) if times is None else times
    return presence_intervals(times, counts[:, :1], counts[:, 1:], [least], config)[0]


@pytest.mark.parametrize(
    ("says", "expected"),
    [
        ("++++++++", ((0, 7),)),
        ("..++..++..", ((0, 9),)),  # unobserved times are as the nearest ones
        ("++++++----------", ((0, 5.5),)),
        ("------++++++", ((5.5, 11),)),
        ("++++++......------", ((0, 8.5),)),  # halfway through the unobserved time
        ("++++++---------++++++", ((0, 5.5), (14.5, 20))),
        ("------+++++++++------", ((5.5, 14.5),)),
        ("+++++-+++++++-++++", ((0, 17),)),  # single frames are mistaken
        ("................", ()),
        ("ffffffffff", ()),  # too few points
        ("--------", ()),
    ],
)
def test_courses(says, expected):
    assert intervals(says) == expected


def test_where_frames_contradict_themselves_either_may_hold():
    ((start, end),) = intervals("++++++oooooo------")
    assert start == 0
    assert 5 <= end <= 12


def test_a_change_has_its_price():
    assert intervals("+++++--") == ((0, 6),)
    assert intervals("+++++--", config=PresenceConfig(change_cost=3)) == ((0, 4.5),)


def test_objects_do_not_mix():
    confirmed = np.array([[10, 0]] * 6 + [[0, 10]] * 6)
    found = presence_intervals(np.arange(12.0), confirmed, 10 - confirmed, [4, 4], CONFIG)
    assert found == [((0, 5.5),), ((5.5, 11),)]
