import numpy as np
import pytest
from apartments import WALL, Apartment, box, two_rooms
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components

from mapping.distance_field import build_free_space
from scenegraph.graph_config import PlaceConfig
from scenegraph.rooms.places import extract_places, voronoi_cells

CONFIG = PlaceConfig()


def pieces(places):
    n = len(places)
    return connected_components(
        coo_matrix((np.ones(len(places.edges)), tuple(places.edges.T)), shape=(n, n)), directed=False
    )


def test_the_skeleton_of_a_long_box_is_its_middle():
    free = Apartment([(0, 0, 10, 2)], ceiling=2.0).free_space()
    cells = free.centers(voronoi_cells(free, CONFIG))
    middle = cells[(cells[:, 0] > 2) & (cells[:, 0] < 8)]
    # Between four equal walls the medial axis is the line in the middle and the diagonals to the four edges.
    off = np.abs(middle[:, 1:] - 1.0)
    assert (np.abs(off[:, 0] - off[:, 1]) <= 0.11).all()
    assert (off.max(axis=1) < 0.06).any()


def test_places_are_free_and_as_clear_as_they_say():
    flat = two_rooms().furnish(box((1, 1, 0), (2, 2, 0.8), "table"))
    free = flat.free_space()
    places = extract_places(free, CONFIG)
    assert len(places) > 10
    assert flat.is_free(places.positions).all()
    assert np.allclose(free.clearance(places.positions), places.radii, atol=1e-6)
    assert (places.radii >= CONFIG.min_place_clearance).all()


def test_edges_keep_clear_of_everything():
    free = two_rooms().free_space()
    places = extract_places(free, CONFIG)
    a, b = places.edges.T
    assert (a < b).all()
    assert (places.clearances >= CONFIG.min_edge_clearance).all()
    assert (places.clearances <= np.minimum(places.radii[a], places.radii[b]) + 0.05).all()
    halfway = free.clearance((places.positions[a] + places.positions[b]) / 2)
    assert (halfway >= places.clearances - 0.05).all()


def test_rooms_are_joined_through_a_door_no_wider_than_it():
    places = extract_places(two_rooms(width=1.0).free_space(), CONFIG)
    left = places.positions[:, 0] < 4 + WALL / 2
    across = left[places.edges[:, 0]] != left[places.edges[:, 1]]
    assert pieces(places)[0] == 1
    assert across.any()
    assert places.clearances[across].max() < 0.56


def test_a_wall_without_a_door_keeps_rooms_separate():
    flat = two_rooms()
    flat.openings.clear()
    count, piece = pieces(extract_places(flat.free_space(), CONFIG))
    assert count == 2
    assert np.bincount(piece).min() >= CONFIG.min_component


def test_small_pockets_are_no_places():
    flat = Apartment([(0, 0, 4, 3), (6, 0, 6.9, 0.9)])
    places = extract_places(flat.free_space(), PlaceConfig(min_component=5))
    assert (places.positions[:, 0] < 4).all()


def test_the_same_space_gives_the_same_places():
    first, second = (extract_places(two_rooms().free_space(), CONFIG) for _ in range(2))
    for name in ("positions", "radii", "edges", "clearances"):
        assert getattr(first, name).tobytes() == getattr(second, name).tobytes()


@pytest.mark.parametrize("free", [True, False])
def test_space_without_a_skeleton_has_no_places(free):
    points = np.argwhere(np.ones((6, 6, 6), bool)) * 0.1
    surface = points if not free else points[:1]
    places = extract_places(build_free_space(surface, lambda p: np.full(len(p), free), include=points), CONFIG)
    assert len(places) == 0
    assert places.edges.shape == (0, 2)
