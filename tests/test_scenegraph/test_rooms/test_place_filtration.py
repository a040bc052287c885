import numpy as np

from scenegraph.graph_config import RoomConfig
from scenegraph.rooms.place_filtration import component_counts, filter_places
from scenegraph.rooms.places import Places

CONFIG = RoomConfig()


def ring(center, radius, count=8):
    angle = np.arange(count) * 2 * np.pi / count
    return np.stack([center + radius * np.cos(angle), radius * np.sin(angle), np.ones(count)], axis=1)


def two_rings(neck, inner=1.0):
    """Two rings of eight places with clearance `inner`, joined by one edge with clearance `neck`."""
    positions = np.concatenate([ring(0, 1), ring(5, 1)])
    edges = [(k, (k + 1) % 8) for k in range(8)] + [(8 + k, 8 + (k + 1) % 8) for k in range(8)] + [(0, 12)]
    edges = np.sort(np.array(edges), axis=1)
    clearances = np.array([inner] * 16 + [neck])
    return Places(positions, np.full(16, inner), edges, clearances)


def test_the_filtration_cuts_at_the_neck():
    found = filter_places(two_rings(0.45), CONFIG)
    assert found.count == 2
    assert 0.45 <= found.dilation < 1.0
    assert found.rooms.tolist() == [0] * 8 + [1] * 8


def test_components_are_counted_at_each_dilation():
    counts = component_counts(two_rings(0.45), np.array([0.0, 0.44, 0.45, 0.99, 1.0]), 5)
    assert counts.tolist() == [1, 1, 2, 2, 0]
    assert component_counts(two_rings(0.45), np.array([0.5]), 9).tolist() == [0]


def test_a_graph_without_a_neck_is_one_room():
    found = filter_places(two_rings(1.0), CONFIG)
    assert (found.count, set(found.rooms)) == (1, {0})


def test_too_few_places_are_one_room():
    few = Places(ring(0, 1, 3), np.ones(3), np.array([[0, 1]]), np.ones(1))
    assert filter_places(few, CONFIG).count == 1
    none = Places(np.zeros((0, 3)), np.zeros(0), np.zeros((0, 2), np.int64), np.zeros(0))
    assert filter_places(none, CONFIG).count == 0
