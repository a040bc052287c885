"""Boxes against shapely, and the walkable floor against areas computed by hand."""

import numpy as np
import pytest
import shapely
from synth_worlds import BOX, at, body, box_world, cube

from pipelines.synth.base.occupancy import BAND, RoomGrid, boxes_meet, footprint, turned_boxes, walkable_grid
from pipelines.synth.base.shapes import block

SIZE = (5.0, 4.0, 2.5)


def random_box(rng):
    low = rng.uniform(-1, 0, 3)
    solids = np.array([[*low, *(low + rng.uniform(0.2, 1.2, 3))]])
    return turned_boxes(solids, *rng.uniform(-1, 1, 2), rng.uniform(-0.5, 0.5), rng.uniform(-np.pi, np.pi))


def test_boxes_meet_as_their_outlines_do():
    rng = np.random.default_rng(0)
    outcomes = []
    for _ in range(400):
        a, b = random_box(rng), random_box(rng)
        level = min(a[0, 7], b[0, 7]) - max(a[0, 6], b[0, 6]) > 1e-6
        expected = level and footprint(a).distance(footprint(b)) <= 0
        assert boxes_meet(a, b) == boxes_meet(b, a) == expected
        outcomes.append(expected)
    assert 50 < sum(outcomes) < 350


def test_a_margin_keeps_boxes_apart():
    a = turned_boxes(np.array([[0, 0, 0, 1, 1, 1.0]]), 0, 0, 0, 0)
    b = turned_boxes(np.array([[0, 0, 0, 1, 1, 1.0]]), 1.01, 0, 0, 0)
    assert not boxes_meet(a, b)
    assert boxes_meet(a, b, 0.02)
    assert not boxes_meet(a, turned_boxes(np.array([[0, 0, 0, 1, 1, 1.0]]), 0.2, 0, 1.0, 0))


def test_a_room_grid_loses_what_a_box_blocks_and_notices_a_barrier():
    polygon = np.array([(0, 0), (4, 0), (4, 3), (0, 3)], dtype=float)
    grid = RoomGrid(polygon, 0.3)
    assert grid.start_count * 0.05**2 == pytest.approx(3.4 * 2.4, rel=0.05)
    wall = turned_boxes(np.array([[-0.05, -1.5, 0, 0.05, 1.5, 1.0]]), 2.0, 1.5, 0, 0)
    low = wall.copy()
    low[:, 7] = BAND[0]
    targets = [np.array([0.5, 1.5]), np.array([3.5, 1.5])]
    assert grid.connected(grid.free, targets, 0.5)
    assert not grid.connected(grid.free & ~grid.blocked_by(wall), targets, 0.0)
    assert grid.connected(grid.free & ~grid.blocked_by(low), targets, 0.5)


@pytest.mark.parametrize("yaw", [0.0, 0.6])
def test_walkable_area_of_a_room_with_a_cube(yaw):
    side, radius = 0.8, 0.25
    world = box_world(SIZE, [cube(7, side, at(2.5, 2.0, 0.0, yaw))])
    origin, cell, grid = walkable_grid(world, 0, 0, radius=radius)
    expected = (SIZE[0] - 2 * radius) * (SIZE[1] - 2 * radius) - (side**2 + 4 * side * radius + np.pi * radius**2)
    assert grid.sum() * cell**2 == pytest.approx(expected, rel=0.1)
    assert grid.sum() * cell**2 < expected  # on the safe side
    middles = origin + (np.argwhere(grid) + 0.5) * cell
    c, s = np.cos(yaw), np.sin(yaw)
    local = (middles - [2.5, 2.0]) @ np.array([[c, -s], [s, c]])
    clearance = np.linalg.norm(np.maximum(np.abs(local) - side / 2, 0), axis=1)
    assert clearance.min() >= radius - 0.01
    walls = np.minimum(middles, np.array(SIZE[:2]) - middles).min()
    assert walls >= radius - 0.01


def test_what_hangs_high_or_lies_flat_blocks_nothing_and_absence_counts():
    free = walkable_grid(box_world(SIZE), 0, 0)[2]
    flat = cube(7, 0.8, at(2.5, 2.0, -0.75))
    high = cube(8, 0.8, at(2.5, 2.0, 1.95))
    np.testing.assert_array_equal(walkable_grid(box_world(SIZE, [flat, high]), 0, 0)[2], free)
    gone = cube(7, 0.8, at(2.5, 2.0), None)
    assert walkable_grid(box_world(SIZE, [gone], visits=2), 0, 0)[2].sum() < free.sum()
    np.testing.assert_array_equal(walkable_grid(box_world(SIZE, [gone], visits=2), 0, 1)[2], free)


def test_the_inside_of_what_stands_through_the_whole_band_is_not_walkable():
    """A tall closed box whose top and bottom lie outside of the band shows only its sides in it."""
    box = body(7, BOX, [block((2.0, 1.6, 2.1))], at(2.5, 2.0, 0.05))
    origin, cell, grid = walkable_grid(box_world(SIZE, [box]), 0, 0)
    middles = origin + (np.argwhere(grid) + 0.5) * cell
    assert not ((np.abs(middles - [2.5, 2.0]) < [1.0, 0.8]).all(axis=1)).any()
    assert grid.any()


def test_footprints_are_rectangles_round_all_boxes():
    solids = np.array([[0, 0, 0, 1, 1, 1], [1, 0, 0, 3, 0.5, 1.0]])
    outline = footprint(turned_boxes(solids, 4.0, 5.0, 0.0, 0.7))
    assert outline.area == pytest.approx(3.0)
    expected = shapely.affinity.translate(
        shapely.affinity.rotate(shapely.box(0, 0, 3, 1), 0.7, (0, 0), use_radians=True), 4, 5
    )
    assert outline.symmetric_difference(expected).area < 1e-9
