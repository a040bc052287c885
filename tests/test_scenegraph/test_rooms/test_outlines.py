import numpy as np
import pytest
import shapely
from helpers import box_mesh

from scenegraph.faces import Faces
from scenegraph.rooms.polygons import region_polygon, snap_to_walls
from scenegraph.rooms.room_segmentation import basins


def test_basins_follow_the_ascent():
    depth = np.array([[1.0, 2.0, 1.0, 3.0, 1.0, 9.0]])
    inside = np.array([[True, True, True, True, True, False]])
    assert basins(depth, inside).tolist() == [[0, 0, 1, 1, 1, -1]]


def test_basins_of_a_plateau_are_separated_identically_each_time():
    first, second = (basins(np.ones((5, 7)), np.ones((5, 7), bool)) for _ in range(2))
    assert (first >= 0).all()
    assert np.array_equal(first, second)


def test_the_outline_of_a_rectangle_is_its_corners():
    mask = np.zeros((40, 30), bool)
    mask[5:25, 10:28] = True
    polygon = region_polygon(mask, np.array([1.0, 2.0]), 0.1)
    assert polygon == pytest.approx(np.array([[1.5, 3.0], [3.5, 3.0], [3.5, 4.8], [1.5, 4.8]]))


def test_a_ragged_outline_with_a_hole_is_straightened_and_filled():
    rng = np.random.default_rng(0)
    mask = np.zeros((60, 80), bool)
    mask[5:55, 5:75] = True
    mask[30:55, 40:75] = False  # an L
    ragged = mask.copy()
    ragged[4, 5:75] |= rng.random(70) < 0.2
    ragged[5:55, 5] &= rng.random(50) < 0.8
    ragged[12:18, 20:30] = False
    polygon = region_polygon(ragged, np.zeros(2), 0.05)
    assert len(polygon) == 6
    truth = np.array([[0.25, 0.25], [2.75, 0.25], [2.75, 2.0], [1.5, 2.0], [1.5, 3.75], [0.25, 3.75]])
    assert polygon == pytest.approx(truth, abs=0.03)


def test_the_outline_of_a_disc_stays_round():
    i, j = np.mgrid[:80, :80]
    polygon = region_polygon((i - 40) ** 2 + (j - 40) ** 2 < 35**2, np.zeros(2), 0.05)
    assert len(polygon) > 6
    assert shapely.Polygon(polygon).area == pytest.approx(np.pi * 1.75**2, rel=0.05)


def test_sides_move_onto_the_walls():
    walls = Faces.of(box_mesh((4.0, 3.0, 2.5), (2.0, 1.5, 1.25), inward=True))
    rough = np.array([[0.06, 0.05], [3.92, 0.05], [3.92, 2.95], [0.06, 2.95]])
    snapped = snap_to_walls(rough, walls.centers, walls.normals, walls.areas)
    assert snapped == pytest.approx(np.array([[0, 0], [4, 0], [4, 3], [0, 3]]), abs=1e-9)
    far = rough + 1.0
    assert np.array_equal(snap_to_walls(far, walls.centers, walls.normals, walls.areas)[:1], far[:1])
