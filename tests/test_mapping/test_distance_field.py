import numpy as np
import pytest
from apartments import Apartment, box, two_rooms
from helpers import box_mesh
from scipy.spatial import cKDTree

from mapping import distance_field
from mapping.distance_field import (
    FREE,
    OCCUPIED,
    UNKNOWN,
    FreeSpace,
    build_free_space,
    dense_surface_points,
    free_lookup,
    free_space_from_volume,
)
from mapping.mesh.mesh import Mesh


def room():
    return Apartment([(0, 0, 4, 3)], ceiling=2.5).free_space()


def random_grid(rng, shape=(14, 9, 11), share=0.02):
    state = np.where(rng.random(shape) < share, OCCUPIED, FREE).astype(np.uint8)
    centers = (np.argwhere(state == OCCUPIED) + 0.5) * 0.1
    return FreeSpace(np.zeros(3), 0.1, state, centers)


def test_clearance_in_a_room_is_the_distance_to_its_nearest_side():
    free = room()
    rng = np.random.default_rng(0)
    points = rng.uniform([0.2, 0.2, 0.2], [3.8, 2.8, 2.3], (500, 3))
    truth = np.minimum(points, np.array([4, 3, 2.5]) - points).min(axis=1)
    assert np.abs(free.clearance(points) - truth).max() < 0.05


def test_cells_are_free_inside_occupied_at_the_walls_and_unknown_behind():
    free = room()
    cells = free.cell_of([[2.0, 1.5, 1.2], [0.0, 1.5, 1.2], [-0.11, 1.5, 1.2]])
    assert [free.state[tuple(cell)] for cell in cells] == [FREE, OCCUPIED, UNKNOWN]
    assert free.is_free([[2.0, 1.5, 1.2], [0.0, 1.5, 1.2], [-3.0, 1.5, 1.2]]).tolist() == [True, False, False]


def test_the_distance_transform_is_exact():
    free = random_grid(np.random.default_rng(1))
    centers = free.centers(np.argwhere(np.ones(free.state.shape, bool)))
    expected, _ = cKDTree(free.surface_points).query(centers)
    assert np.allclose(free.distance.ravel(), expected, atol=1e-6)
    reached = np.linalg.norm(free.surface_points[free.nearest.ravel()] - centers, axis=1)
    assert np.allclose(reached, expected, atol=1e-6)


def test_tiles_give_the_same_distances(monkeypatch):
    grid = random_grid(np.random.default_rng(2), (60, 9, 11), 0.05)
    whole = FreeSpace(grid.origin, grid.cell_size, grid.state, grid.surface_points).distance
    monkeypatch.setattr(distance_field, "TILE_CELLS", 500)
    monkeypatch.setattr(distance_field, "TILE_REACH", 1.5)
    assert whole.max() < 1.5
    assert np.array_equal(grid.distance, whole)


def test_distances_are_measured_to_the_surface_inside_a_cell():
    points = np.array([[0.02, 0.05, 0.05], [0.06, 0.05, 0.05]])  # one cell, mean at x = 0.04
    free = build_free_space(points, lambda p: np.ones(len(p), bool), cell_size=0.1, include=[[2.0, 0.05, 0.05]])
    assert free.clearance([[1.04, 0.05, 0.05]]) == pytest.approx([1.0])


def test_clearance_along_a_line_is_its_least():
    free = Apartment([(0, 0, 4, 3)]).free_space()
    start, end = [[0.5, 1.5, 1.25], [1.0, 1.5, 1.25]], [[3.5, 1.5, 1.25], [3.0, 1.5, 1.25]]
    assert free.clearance_along(start, end) == pytest.approx([0.5, 1.0], abs=0.05)
    assert free.clearance_along(np.zeros((0, 3)), np.zeros((0, 3))).shape == (0,)


def test_without_a_surface_everything_is_infinitely_clear():
    free = build_free_space(np.zeros((0, 3)), lambda p: np.ones(len(p), bool), include=[[0.0, 0, 0], [1.0, 1, 1]])
    assert np.isinf(free.distance).all()
    assert np.isinf(free.clearance([[0.5, 0.5, 0.5]])).all()


def test_a_grid_of_nothing_is_refused():
    with pytest.raises(ValueError, match="at least one surface point"):
        build_free_space(np.zeros((0, 3)), lambda p: np.ones(len(p), bool))


def test_the_grid_stays_on_the_same_lattice_when_points_are_added():
    few = build_free_space([[0.31, 0.2, 0.1], [1.0, 1.0, 1.0]], lambda p: np.ones(len(p), bool))
    more = build_free_space([[0.31, 0.2, 0.1], [1.0, 1.0, 1.0], [-0.77, 0, 0]], lambda p: np.ones(len(p), bool))
    shift = (few.origin - more.origin) / 0.1
    assert np.allclose(shift, np.round(shift))


def test_a_large_map_gets_larger_cells(monkeypatch):
    monkeypatch.setattr(distance_field, "MAX_CELLS", 1000)
    free = build_free_space([[0, 0, 0], [2.0, 2.0, 2.0]], lambda p: np.ones(len(p), bool), cell_size=0.1)
    assert free.state.size <= 1000
    assert free.cell_size > 0.2


@pytest.mark.parametrize(
    ("state", "points"),
    [
        (np.zeros((2, 2)), np.zeros((0, 3))),
        (np.zeros((2, 2, 2), int), np.zeros((0, 3))),
        (np.full((1, 1, 2), OCCUPIED), np.zeros((1, 3))),
    ],
)
def test_grids_that_do_not_fit_are_refused(state, points):
    with pytest.raises(ValueError, match=r"FreeSpace\.(state|surface_points) must be"):
        FreeSpace(np.zeros(3), 0.1, state, points)


def test_free_lookup_knows_the_voxels_of_blocks():
    coords = np.array([[0, 0, 0], [-1, 0, 0]], np.int32)
    distance, weight = np.full((2, 8, 8, 8), 0.1, np.float32), np.ones((2, 8, 8, 8), np.float32)
    distance[0, 1, 2, 3], weight[1, 7, 0, 0] = 0.01, 0.0
    is_free = free_lookup(coords, distance, weight, 0.05)
    points = np.array(
        [
            [0.075, 0.125, 0.175],  # the voxel at the surface
            [0.125, 0.125, 0.175],  # its neighbour
            [-0.025, 0.025, 0.025],  # never seen
            [-0.075, 0.025, 0.025],  # seen
            [5.0, 0.0, 0.0],  # no block
        ]
    )
    assert is_free(points).tolist() == [False, True, False, True, False]
    empty = free_lookup(coords[:0], distance[:0], weight[:0], 0.05)
    assert not empty(points).any()


def test_surface_points_leave_no_gap_wider_than_asked():
    mesh = box_mesh((2.0, 1.0, 0.5))
    points = dense_surface_points(mesh, 0.1)
    rng = np.random.default_rng(3)
    samples = rng.uniform(-0.5, 0.5, (2000, 3)) * [2.0, 1.0, 0.5]
    side = rng.integers(3, size=2000)
    samples[np.arange(2000), side] = np.sign(samples[np.arange(2000), side]) * np.array([1.0, 0.5, 0.25])[side]
    gap, _ = cKDTree(points).query(samples)
    assert gap.max() < 0.1
    assert len(dense_surface_points(Mesh.empty(), 0.1)) == 0


def test_free_space_of_a_fused_volume_is_what_its_rays_went_through():
    from mapping import Intrinsics, TSDFConfig, TSDFVolume
    from mapping.se3 import look_at

    volume = TSDFVolume(TSDFConfig(voxel_size=0.05, max_depth=4.0))
    camera = Intrinsics(60, 60, 39.5, 29.5, 80, 60)
    pose = look_at([0.0, 0, 0], [1.0, 0, 0])
    volume.integrate(np.full((60, 80), 2.0, np.float32), camera, pose)
    mesh = volume.extract_mesh(min_weight=0.1)
    free = free_space_from_volume(volume, mesh, include=[[0.0, 0, 0]])
    assert free.is_free([[1.0, 0, 0], [1.5, 0.3, 0.2]]).all()
    assert not free.is_free([[2.0, 0, 0], [2.6, 0, 0], [1.0, 2.5, 0]]).any()
    assert free.clearance([[1.0, 0, 0]]) == pytest.approx([1.0], abs=0.03)


def test_a_doorway_is_as_clear_as_half_its_width():
    free = two_rooms(width=0.9).free_space(cell_size=0.05)
    assert free.clearance([[4.06, 1.5, 1.0]]) == pytest.approx([0.45], abs=0.03)


def test_furniture_takes_clearance():
    flat = Apartment([(0, 0, 4, 3)]).furnish(box((1.5, 1.0, 0), (2.5, 2.0, 1.0), "cabinet"))
    assert flat.free_space().clearance([[2.0, 1.5, 1.6]]) == pytest.approx([0.6], abs=0.05)
