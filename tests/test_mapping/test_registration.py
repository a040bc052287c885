"""Where one levelled map lies in another one."""

import numpy as np
import pytest
from helpers import box_mesh

from mapping.mesh.mesh import concatenate
from mapping.registration import RegistrationError, register
from mapping.se3 import from_rotation_translation, inverse, transform_points

CORNERS = np.array([[0.0, 0.0, 0.0], [4.0, 3.0, 2.0]])


def flat():
    """Two rooms of different size side by side, with furniture."""
    rooms = [box_mesh((5, 4, 2.5), (0, 0, 1.25), inward=True), box_mesh((3, 3, 2.5), (4.1, 0.5, 1.25), inward=True)]
    things = [box_mesh((2.0, 0.9, 0.8), (-1.2, -1.4, 0.4)), box_mesh((0.6, 0.6, 1.9), (2.0, 1.5, 0.95))]
    return concatenate([*rooms, *things, box_mesh((0.8, 1.6, 0.5), (4.8, 1.0, 0.25))])


def yawed(degrees, shift):
    c, s = np.cos(np.deg2rad(degrees)), np.sin(np.deg2rad(degrees))
    return from_rotation_translation([[c, -s, 0], [s, c, 0], [0, 0, 1]], shift)


def error_of(T, expected):
    """The largest distance between where two transforms take the corners of the flat."""
    return float(np.linalg.norm(transform_points(T, CORNERS) - transform_points(expected, CORNERS), axis=1).max())


def test_poses_that_fit_are_corrected_a_little():
    a, T_a_b = flat(), yawed(0.7, [0.08, -0.06, 0.03])
    found = register(a, a.transformed(inverse(T_a_b)), np.eye(4))
    assert found.source == "poses"
    assert error_of(found.T_a_b, T_a_b) < 0.02
    assert found.agreement > 0.9
    assert found.overlap > 0.9


CASES = [(90, [3.0, -2.0, 0.0]), (181, [-6.0, 4.0, 0.02]), pytest.param(-91, [0.5, 7.0, 0.0], marks=pytest.mark.full)]


@pytest.mark.parametrize(("turn", "shift"), CASES)
def test_where_poses_do_not_fit_walls_say_where(turn, shift):
    a, T_a_b = flat(), yawed(turn, shift)
    found = register(a, a.transformed(inverse(T_a_b)), np.eye(4))
    assert found.source == "geometry"
    assert error_of(found.T_a_b, T_a_b) < 0.03


def test_another_place_is_rejected():
    other = concatenate([box_mesh((9, 2.2, 3.4), (0, 0, 1.7), inward=True), box_mesh((1, 1, 1), (3, 0, 2.0))])
    with pytest.raises(RegistrationError, match="do not fit each other"):
        register(flat(), other, yawed(0, [0.0, 1.3, 0.9]))


def test_a_room_that_fits_in_several_ways_is_rejected():
    square = box_mesh((4, 4, 2.5), (0, 0, 1.25), inward=True)
    with pytest.raises(RegistrationError, match="at several places"):
        register(square, square, yawed(45, [9.0, 0.0, 0.0]))
