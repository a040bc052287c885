import numpy as np
import pytest
from apartments import box, two_rooms
from helpers import box_mesh, sphere_mesh

from mapping.mesh.clustering import clustered
from mapping.mesh.mesh import Mesh, concatenate, sample_surface
from mapping.mesh.raycast import MeshCaster


def test_a_map_becomes_smaller_and_keeps_its_surface():
    mesh = two_rooms().furnish(box((1, 1, 0), (2, 2, 0.7), "table")).mesh(step=0.03)
    coarse = clustered(mesh, 0.1)
    assert len(coarse.vertices) < len(mesh.vertices) / 4
    for a, b in ((mesh, coarse), (coarse, mesh)):
        points, _ = sample_surface(a, 5000, np.random.default_rng(0))
        assert np.quantile(MeshCaster(b).distance(points), 0.99) < 0.03
    assert coarse.face_areas().sum() == pytest.approx(mesh.face_areas().sum(), rel=0.03)
    assert set(np.unique(coarse.labels)) == set(np.unique(mesh.labels))


def test_the_two_sides_of_a_thin_wall_stay_two():
    wall = box((0, 0, 0), (2, 0.04, 2), "wall", step=0.02)
    coarse = clustered(wall, 0.1)
    sides = np.unique(np.round(coarse.vertices[:, 1], 6))
    assert sides[0] < 0.01
    assert sides[-1] > 0.03
    assert coarse.face_areas().sum() == pytest.approx(wall.face_areas().sum(), rel=0.1)


def test_labels_and_objects_are_not_mixed():
    mesh = sphere_mesh(0.5, subdivisions=4)
    upper = mesh.vertices[:, 2] > 0
    objects = upper.astype(np.uint32) * 7
    marked = Mesh(mesh.vertices, mesh.faces, None, np.where(upper, 3, 4).astype(np.uint16), objects)
    coarse = clustered(marked, 0.2)
    assert set(np.unique(coarse.objects)) == {0, 7}
    assert ((coarse.objects == 7) == (coarse.labels == 3)).all()
    assert (coarse.vertices[coarse.objects == 7, 2] > 0).all()


def test_colours_are_means_and_faces_look_the_same_way():
    mesh = sphere_mesh(1.0, subdivisions=4)
    colors = np.rint((mesh.vertices + 1) * 127).astype(np.uint8)
    coarse = clustered(Mesh(mesh.vertices, mesh.faces, colors), 0.1)
    assert np.abs(coarse.colors - (coarse.vertices + 1) * 127).max() < 3
    outwards = np.einsum("ij,ij->i", coarse.face_normals(), coarse.vertices[coarse.faces].mean(axis=1))
    assert (outwards > 0).mean() > 0.99


def test_nothing_stays_nothing_and_two_equal_triangles_become_one():
    assert len(clustered(Mesh.empty(), 0.1).faces) == 0
    twice = clustered(concatenate([box_mesh(), box_mesh()]), 0.01)
    assert len(twice.faces) == 12
