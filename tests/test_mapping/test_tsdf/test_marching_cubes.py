"""Marching cubes by topology: closed, oriented and without doubled edges, for known shapes and for noise."""

from __future__ import annotations

import numpy as np
import pytest

from mapping.tsdf.blocks import BlockMap
from mapping.tsdf.marching_cubes import isosurface
from mapping.tsdf.marching_cubes_table import CORNERS, EDGES, case_table, cut_edges, grid_edges

GRID = np.stack(np.meshgrid(*[np.arange(8)] * 3, indexing="ij"), axis=-1)


def blocks_around(half):
    """Coordinates of a cube of (2 half)^3 blocks and the sample points (B, 8, 8, 8, 3) in voxels."""
    axis = np.arange(-half, half)
    coords = np.stack(np.meshgrid(axis, axis, axis, indexing="ij"), axis=-1).reshape(-1, 3).astype(np.int32)
    return coords, coords[:, None, None, None] * 8 + GRID + 0.5


def surface(coords, distance, weight=None, min_weight=0.5):
    distance = distance.astype(np.float32).reshape(len(coords), 512)
    weight = np.ones_like(distance) if weight is None else weight.reshape(len(coords), 512)
    blocks = BlockMap()
    return isosurface(blocks, blocks.insert(coords), distance, weight, min_weight)


def edge_uses(faces):
    """How often each directed edge is used, by edge."""
    directed = np.concatenate([faces[:, [0, 1]], faces[:, [1, 2]], faces[:, [2, 0]]])
    undirected, uses = np.unique(np.sort(directed, axis=1), axis=0, return_counts=True)
    return directed, undirected, uses


def assert_closed(mesh):
    """Every edge belongs to two faces, which run along it in opposite directions; every vertex is used."""
    directed, _, uses = edge_uses(mesh.faces)
    assert (uses == 2).all()
    assert len(np.unique(directed, axis=0)) == len(directed)
    assert len(np.unique(mesh.faces)) == len(mesh.vertices)


def euler(mesh):
    return len(mesh.vertices) - len(edge_uses(mesh.faces)[1]) + len(mesh.faces)


def area_vectors(mesh):
    a, b, c = (mesh.vertices[mesh.faces[:, i]] for i in range(3))
    return np.cross(b - a, c - a)


def test_sphere():
    coords, points = blocks_around(3)
    mesh = surface(coords, np.linalg.norm(points, axis=-1) - 15.3)
    assert_closed(mesh)
    assert euler(mesh) == 2
    assert np.abs(np.linalg.norm(mesh.vertices, axis=1) - 15.3).max() < 0.02
    assert (np.einsum("ij,ij->i", area_vectors(mesh), mesh.vertices[mesh.faces].mean(axis=1)) > 0).all()


def test_torus_and_two_spheres():
    coords, points = blocks_around(3)
    x, y, z = np.moveaxis(points, -1, 0)
    torus = surface(coords, np.hypot(np.hypot(x, y) - 13.7, z) - 5.2)
    assert_closed(torus)
    assert euler(torus) == 0
    apart = np.minimum(np.linalg.norm(points - [10, 0, 0], axis=-1), np.linalg.norm(points - [-10, 0, 0], axis=-1)) - 7
    assert euler(surface(coords, apart)) == 4


@pytest.mark.parametrize("seed", range(4))
def test_noise_is_closed(seed):
    """Every case of the table, next to every other."""
    coords, points = blocks_around(2)
    distance = np.random.default_rng(seed).standard_normal(points.shape[:-1])
    distance[(np.abs(points) > 15).any(axis=-1)] = 1
    mesh = surface(coords, distance)
    assert_closed(mesh)
    assert np.linalg.norm(area_vectors(mesh), axis=1).min() > 0


def test_integer_distances_make_no_degenerate_triangles():
    coords, points = blocks_around(2)
    distance = np.random.default_rng(0).integers(-1, 2, points.shape[:-1]).astype(float)
    distance[(np.abs(points) > 15).any(axis=-1)] = 1
    mesh = surface(coords, distance)
    assert_closed(mesh)
    assert np.linalg.norm(area_vectors(mesh), axis=1).min() > 0


def test_plane_is_exact_across_blocks():
    coords, points = blocks_around(2)
    normal = np.array([0.3, -0.5, 0.81])
    mesh = surface(coords, points @ normal - 1.234)
    np.testing.assert_allclose(mesh.vertices @ normal, 1.234, atol=1e-3)
    vectors = area_vectors(mesh)
    cosine = vectors @ normal / np.linalg.norm(vectors, axis=1) / np.linalg.norm(normal)
    assert cosine.min() > 0.99


def test_only_cells_whose_corners_were_all_seen_have_faces():
    coords, points = blocks_around(1)
    weight = np.ones(points.shape[:-1], np.float32)
    weight[points[..., 0] > 4] = 0.4
    mesh = surface(coords, points[..., 2] - 0.2, weight)
    assert mesh.vertices[:, 0].max() == pytest.approx(3.5)
    assert len(np.unique(mesh.faces)) == len(mesh.vertices)
    everything = surface(coords, points[..., 2] - 0.2, weight, min_weight=0.4)
    assert everything.vertices[:, 0].max() == pytest.approx(7.5)


def test_missing_blocks_leave_holes_and_no_stray_vertices():
    coords, points = blocks_around(2)
    keep = np.random.default_rng(1).random(len(coords)) < 0.7
    mesh = surface(coords[keep], (np.linalg.norm(points, axis=-1) - 11)[keep])
    _, _, uses = edge_uses(mesh.faces)
    assert set(uses.tolist()) == {1, 2}
    assert len(np.unique(mesh.faces)) == len(mesh.vertices)


def test_ends_and_fraction_tell_where_a_vertex_lies():
    coords, points = blocks_around(2)
    distance = np.linalg.norm(points, axis=-1) - 9.4
    mesh = surface(coords, distance)
    start, end = (points.reshape(-1, 3)[mesh.ends[:, i]] for i in range(2))
    np.testing.assert_allclose(np.linalg.norm(end - start, axis=1), 1)
    np.testing.assert_allclose(start + mesh.fraction[:, None] * (end - start), mesh.vertices, atol=1e-9)
    assert ((distance.reshape(-1)[mesh.ends] < 0).sum(axis=1) == 1).all()


def test_empty_field():
    nothing = surface(np.zeros((0, 3), np.int32), np.zeros((0, 8, 8, 8)))
    assert nothing.faces.shape == (0, 3)
    assert nothing.vertices.shape == (0, 3)


def test_table_cuts_exactly_the_edges_between_inside_and_outside():
    counts, triangles = case_table()
    assert counts.max() == 5
    for case in range(256):
        cut = {edge for edge, (a, b) in enumerate(EDGES) if (case >> a & 1) != (case >> b & 1)}
        assert set(triangles[case, : counts[case]].ravel().tolist()) == cut
        assert (triangles[case, counts[case] :] == -1).all()


def test_cut_edges_and_grid_edges_agree_with_the_table():
    counts, triangles = case_table()
    cut, (grid_counts, numbers) = cut_edges(), grid_edges()
    np.testing.assert_array_equal(grid_counts, counts)
    for case in range(256):
        starts = [(*CORNERS[a], int(np.flatnonzero(CORNERS[b] - CORNERS[a])[0])) for a, b in EDGES]
        by_table = [starts[edge] for edge in triangles[case, : counts[case]].ravel()]
        i, voxel, axis = numbers[case] // 243, numbers[case] // 3, numbers[case] % 3
        by_number = list(zip(i, voxel // 9 % 9, voxel % 9, axis, strict=True))[: 3 * counts[case]]
        assert by_number == by_table
        assert {(*CORNERS[c], a) for c in range(8) for a in range(3) if cut[case, c] >> a & 1} == set(by_table)
