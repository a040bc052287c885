"""Paths on the ground keep their distance from everything below the height of what moves."""

import numpy as np
import pytest
import shapely
from helpers import box_mesh

from mapping.distance_field import build_free_space, dense_surface_points
from mapping.mesh.mesh import concatenate
from scenegraph.files.ground_file import read_ground, write_ground
from scenegraph.ground import BAND, CELL, GroundEnd, GroundError, build_ground, ground_path, grown
from scenegraph.nodes import OrientedBox
from scenegraph.references import QueryError, Spot

DOOR = (0.9, 2.0)


def block(x0, y0, x1, y1, z0, z1):
    return box_mesh((x1 - x0, y1 - y0, z1 - z0), ((x0 + x1) / 2, (y0 + y1) / 2, (z0 + z1) / 2))


def two_rooms():
    """Rooms of 4 x 3 m side by side along x with a door 0.9 m wide at y = 1.5 in a wall 0.1 m thick; a table top on the way in
    the first room, a cabinet in the second."""
    low, high = 1.5 - DOOR[0] / 2, 1.5 + DOOR[0] / 2
    return concatenate(
        [
            box_mesh((8.0, 3.0, 2.5), (4, 1.5, 1.25), inward=True),
            block(3.95, 0, 4.05, low, 0, 2.5),
            block(3.95, high, 4.05, 3, 0, 2.5),
            block(1.6, 0.8, 2.6, 2.2, 0.7, 0.75),  # a table without legs
            block(6.0, 0.0, 6.6, 2.0, 0, 1.0),  # a cabinet
        ]
    )


@pytest.fixture(scope="module")
def ground():
    mesh = two_rooms()
    points = dense_surface_points(mesh, 0.05)

    def is_free(at):
        inside = ((at > 0) & (at < [8, 3, 2.5])).all(axis=-1)
        return inside & ~((at > [6, 0, 0]) & (at < [6.6, 2, 1])).all(axis=-1)

    return build_ground(mesh, build_free_space(points, is_free, cell_size=0.1), [(0.0, 2.5)])


def end(x, y, **fields):
    return GroundEnd(Spot("there", np.array([x, y, 0.5]), **fields))


def walked(ground, start, goal, **body):
    points, storey = ground_path(ground, [start], [goal], **body)
    assert storey == 0
    assert (points[:, 2] == 0).all()
    return points


def distance_to(points, x0, y0, x1, y1):
    return shapely.LineString(points[:, :2]).distance(shapely.box(x0, y0, x1, y1))


TABLE, CABINET = (1.6, 0.8, 2.6, 2.2), (6.0, 0.0, 6.6, 2.0)


def test_a_person_walks_around_the_furniture_and_through_the_door(ground):
    points = walked(ground, end(0.6, 1.5), end(7.4, 0.6), height=1.8, radius=0.25)
    np.testing.assert_allclose(points[[0, -1], :2], [[0.6, 1.5], [7.4, 0.6]], atol=0.05)
    for thing in (TABLE, CABINET, (3.95, 0, 4.05, 1.05), (3.95, 1.95, 4.05, 3)):
        assert distance_to(points, *thing) >= 0.25
    around = shapely.LineString(points[:, :2]).length
    assert around > 7.2
    assert 0.25 <= ground.clearance(points, 0, height=1.8) < 0.4


def test_a_robot_drives_under_the_table(ground):
    low = walked(ground, end(0.6, 1.5), end(3.4, 1.5), height=0.3, radius=0.25)
    assert distance_to(low, *TABLE) == 0
    assert len(low) == 2
    high = walked(ground, end(0.6, 1.5), end(3.4, 1.5), height=1.2, radius=0.25)
    assert distance_to(high, *TABLE) >= 0.25


def test_what_is_too_wide_for_the_door_stays(ground):
    with pytest.raises(
        QueryError, match=r"no path on the ground for something 1.8 m high and 1 m wide connects the two"
    ):
        walked(ground, end(0.6, 0.7), end(5.0, 2.4), height=1.8, radius=0.5)


def test_ends_are_reached_as_near_as_possible(ground):
    box = OrientedBox(np.array([6.3, 1.0, 0.5]), np.array([0.6, 2.0, 1.0]), np.eye(3))
    points = walked(ground, end(5.0, 1.5), end(6.3, 1.0, box=box), height=1.8, radius=0.25)
    assert distance_to(points[-1:].repeat(2, axis=0), *CABINET) == pytest.approx(0.3, abs=0.06)
    assert points[-1, 0] < 6.0  # on the side that it comes from
    outline = np.array([[4.05, 0], [8, 0], [8, 3], [4.05, 3]])
    by_the_wall = GroundEnd(Spot("by the wall", np.array([4.0, 0.5, 0.5])), outline)
    assert walked(ground, end(7.4, 2.6), by_the_wall, height=1.8, radius=0.25)[-1, 0] > 4.05
    with pytest.raises(QueryError, match=r"no floor within 1.5 m of the goal"):
        walked(ground, end(0.6, 1.5), end(20, 1.5), height=1.8, radius=0.25)


def test_the_shortest_of_several(ground):
    points, _ = ground_path(ground, [end(0.6, 0.4)], [end(7.4, 2.6), end(1.0, 0.4)], height=1.8, radius=0.25)
    np.testing.assert_allclose(points[-1, :2], [1.0, 0.4], atol=0.05)


def test_space_that_was_not_observed_is_not_walked(ground):
    assert not ground.passable(0, height=1.8, radius=0.05)[-1, -1]
    inside_cabinet = tuple(((np.array([6.3, 1.0]) - ground.origin) / CELL).astype(int))
    assert not ground.passable(0, height=0.5, radius=0.05)[inside_cabinet]


def test_grown_is_by_exact_distance():
    mask = np.zeros((41, 41), bool)
    mask[20, 20] = True
    i, j = np.indices(mask.shape)
    to_edge = CELL * np.hypot(np.maximum(np.abs(i - 20) - 0.5, 0), np.maximum(np.abs(j - 20) - 0.5, 0))
    for radius in (0.05, 0.2, 0.37):
        found = grown(mask, radius)
        assert found[to_edge < radius - 1e-9].all()
        assert not found[to_edge > radius + 1e-9].any()


def test_file_round_trip_and_rejections(ground, tmp_path):
    path = tmp_path / "ground.npz"
    write_ground(ground, path)
    before = path.read_bytes()
    write_ground(ground, path)
    assert path.read_bytes() == before
    after = read_ground(path)
    np.testing.assert_array_equal(after.occupied, ground.occupied)
    np.testing.assert_array_equal(after.free, ground.free)
    np.testing.assert_array_equal(after.origin, ground.origin)
    arrays = dict(np.load(path))
    for name, value, message in (
        ("floors", np.array([np.nan]), "floors must be float64"),
        ("free", arrays["free"][:, 1:], "of one shape"),
        ("free", arrays["free"] | np.uint32(1 << 30), "no more than 23 bands"),
        ("cell_size", np.array(0.1), "cell_size be 0.05"),
        ("occupied", arrays["occupied"].astype(np.int64), "must be uint32"),
    ):
        np.savez(path, **(arrays | {name: value}))
        with pytest.raises(GroundError, match=message):
            read_ground(path)
    np.savez(path, floors=arrays["floors"])
    with pytest.raises(GroundError, match="origin is missing"):
        read_ground(path)
    assert BAND == 0.1
