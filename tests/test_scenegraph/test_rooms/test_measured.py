"""A height without a ceiling in view, and an area without a floor, count as not measured."""

import numpy as np
import pytest

from mapping.mesh.mesh import Mesh
from scenegraph.faces import Faces
from scenegraph.nodes import RoomNode
from scenegraph.rooms.measured import observed_shares

ROOM = np.array([[0.0, 0.0], [4.0, 0.0], [4.0, 3.0], [0.0, 3.0]])
HEIGHTS = (0.0, 2.4)


def sheet(x, y, z, *, up, step=0.1):
    """A level surface of small triangles over [0, x] x [0, y] at height z."""
    i, j = np.meshgrid(np.arange(0, x, step), np.arange(0, y, step), indexing="ij")
    corners = np.stack([i, j, np.full_like(i, z)], axis=-1).reshape(-1, 1, 3)
    triangle = np.array([[0, 0, 0], [step, 0, 0], [0, step, 0]])
    points = corners + (triangle if up else triangle[::-1])
    return points.reshape(-1, 3)


def faces_of(*sheets):
    points = np.concatenate(sheets)
    return Faces.of(Mesh(points, np.arange(len(points)).reshape(-1, 3).astype(np.int32)))


def room_of(shares):
    return RoomNode("room", np.zeros(3), ROOM, HEIGHTS, 12.0, evidence=shares)


def test_all_that_was_in_view():
    shares = observed_shares(ROOM, HEIGHTS, faces_of(sheet(4, 3, 0, up=True), sheet(4, 3, 2.4, up=False)))
    assert shares == {"floor_seen": pytest.approx(1, abs=0.1), "ceiling_seen": pytest.approx(1, abs=0.1)}
    assert (room_of(shares).measured_height, room_of(shares).measured_area) == (pytest.approx(2.4), 12.0)


def test_a_room_of_which_the_ceiling_was_not_seen_has_no_height():
    shares = observed_shares(ROOM, HEIGHTS, faces_of(sheet(4, 1.5, 0, up=True), sheet(1, 1, 0.8, up=False)))
    assert shares == {"floor_seen": pytest.approx(0.5, abs=0.1), "ceiling_seen": 0}
    assert (room_of(shares).measured_height, room_of(shares).measured_area) == (None, 12.0)


def test_a_desk_is_no_room():
    shares = observed_shares(ROOM, HEIGHTS, faces_of(sheet(1.5, 1, 0.75, up=True)))
    assert shares["floor_seen"] == pytest.approx(0.125, abs=0.05)
    assert (room_of(shares).measured_height, room_of(shares).measured_area) == (None, None)


def test_furniture_hides_the_floor_and_counts_once_with_it():
    shares = observed_shares(ROOM, HEIGHTS, faces_of(sheet(4, 3, 0, up=True), sheet(4, 3, 0.8, up=True)))
    assert shares["floor_seen"] == pytest.approx(1, abs=0.1)


def test_large_faces_count_by_their_area():
    corners = np.array([[0, 0, 0], [4, 0, 0], [4, 3, 0], [0, 3, 0]], dtype=float)
    floor = Mesh(corners, np.array([[0, 1, 2], [0, 2, 3]], np.int32))
    assert observed_shares(ROOM, HEIGHTS, Faces.of(floor))["floor_seen"] == 1


def test_true_graphs_say_nothing_and_are_measured():
    assert room_of({}).measured_height == pytest.approx(2.4)
    assert room_of({"ceiling_seen": "?"}).measured_area == 12.0
