"""Laws of the mesh type: areas, normals, parts and samples."""

from __future__ import annotations

import numpy as np
import pytest
from helpers import box_mesh, random_se3, sphere_mesh

from mapping.mesh.mesh import Mesh, concatenate, sample_surface
from mapping.se3 import inverse

TRIANGLE = Mesh(np.array([[0, 0, 0], [2, 0, 0], [0, 1, 0.0]]), np.array([[0, 1, 2]], np.int32))


def coloured(mesh: Mesh) -> Mesh:
    count = len(mesh.vertices)
    return Mesh(
        mesh.vertices,
        mesh.faces,
        (np.arange(count * 3).reshape(-1, 3) % 256).astype(np.uint8),
        np.arange(count).astype(np.uint16),
        np.arange(count).astype(np.uint32) * 7,
        np.linspace(0, 1, count).astype(np.float32),
    )


def test_triangle_by_hand():
    assert TRIANGLE.face_areas().tolist() == [1.0]
    assert TRIANGLE.face_normals().tolist() == [[0, 0, 1]]
    assert TRIANGLE.vertex_normals().tolist() == [[0, 0, 1]] * 3


def test_sphere_has_its_area_and_looks_outwards():
    ball = sphere_mesh(2.0, (1, 2, 3), subdivisions=4)
    assert ball.face_areas().sum() == pytest.approx(16 * np.pi, rel=0.005)
    outward = (ball.vertices - [1, 2, 3]) / 2.0
    assert (ball.vertex_normals() * outward).sum(axis=1).min() > 0.999
    edges = {tuple(sorted(edge)) for face in ball.faces for edge in zip(face, np.roll(face, 1), strict=True)}
    assert len(ball.vertices) - len(edges) + len(ball.faces) == 2  # Euler


def test_box_has_its_area_and_looks_outwards_or_inwards():
    box = box_mesh((1, 2, 3), (5, 5, 5))
    assert box.face_areas().sum() == pytest.approx(22.0)
    centres = box.vertices[box.faces].mean(axis=1) - 5
    assert (np.einsum("ij,ij->i", centres, box.face_normals()) > 0).all()
    room = box_mesh((1, 2, 3), (5, 5, 5), inward=True)
    assert (np.einsum("ij,ij->i", room.vertices[room.faces].mean(axis=1) - 5, room.face_normals()) < 0).all()


def test_faces_without_area_have_no_normal():
    flat = Mesh(np.zeros((3, 3)), np.array([[0, 1, 2]], np.int32))
    assert not flat.face_normals().any()
    assert not flat.vertex_normals().any()
    empty = Mesh.empty()
    assert empty.face_areas().shape == (0,)
    assert empty.vertex_normals().shape == (0, 3)


@pytest.mark.parametrize("seed", range(3))
def test_moving_keeps_areas_and_turns_normals(seed):
    T = random_se3(np.random.default_rng(seed))
    ball = coloured(sphere_mesh(subdivisions=1))
    moved = ball.transformed(T)
    np.testing.assert_allclose(moved.face_areas(), ball.face_areas(), atol=1e-12)
    np.testing.assert_allclose(moved.face_normals(), ball.face_normals() @ T[:3, :3].T, atol=1e-9)
    np.testing.assert_allclose(moved.transformed(inverse(T)).vertices, ball.vertices, atol=1e-12)
    np.testing.assert_array_equal(moved.labels, ball.labels)


@pytest.mark.parametrize("chosen", [[3, 7], "mask", [], "all"])
def test_submesh_keeps_what_its_faces_use(chosen):
    ball = coloured(sphere_mesh(subdivisions=1))
    mask = np.zeros(len(ball.faces), bool)
    mask[{"mask": [3, 7], "all": slice(None)}.get(chosen, chosen) if isinstance(chosen, str) else chosen] = True
    part = ball.submesh(mask if chosen != [3, 7] else np.array(chosen))
    np.testing.assert_array_equal(part.vertices[part.faces], ball.vertices[ball.faces[mask]])
    np.testing.assert_array_equal(part.objects[part.faces], ball.objects[ball.faces[mask]])
    assert len(part.vertices) == len(np.unique(ball.faces[mask]))


def test_submesh_of_no_indices_is_empty():
    assert len(box_mesh().submesh([]).vertices) == 0


def test_concatenate_keeps_shared_fields():
    a, b = coloured(box_mesh()), sphere_mesh(subdivisions=0)
    both = concatenate([a, coloured(b)])
    np.testing.assert_array_equal(both.vertices[both.faces[12:]], b.vertices[b.faces])
    np.testing.assert_array_equal(both.labels[:8], a.labels)
    assert concatenate([a, b]).colors is None
    assert concatenate([Mesh.empty(), b]).faces.dtype == np.int32
    with pytest.raises(ValueError, match="at least one"):
        concatenate([])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"vertices": np.zeros((3, 2))}, r"Mesh.vertices must be float64 \(3, 3\), got float64 \(3, 2\)"),
        ({"vertices": np.zeros((3, 3), np.float32)}, "Mesh.vertices must be float64"),
        ({"faces": np.zeros((1, 3), np.int64)}, "Mesh.faces must be int32"),
        ({"faces": np.array([[0, 1, 3]], np.int32)}, r"must index 3 vertices, got 0\.\.3"),
        ({"faces": np.array([[0, 1, -1]], np.int32)}, r"must index 3 vertices, got -1\.\.1"),
        ({"colors": np.zeros((3, 4), np.uint8)}, "Mesh.colors must be uint8"),
        ({"labels": np.zeros(3, np.int32)}, "Mesh.labels must be uint16"),
        ({"objects": np.zeros(2, np.uint32)}, "Mesh.objects must be uint32"),
        ({"confidence": [1.0, 1.0, 1.0]}, "Mesh.confidence must be float32 .*, got list"),
    ],
)
def test_validator_rejects(change, message):
    with pytest.raises(ValueError, match=message):
        Mesh(**({"vertices": TRIANGLE.vertices, "faces": TRIANGLE.faces} | change))


def test_samples_lie_on_their_faces():
    ball = sphere_mesh(subdivisions=2)
    points, faces = sample_surface(ball, 5000, np.random.default_rng(0))
    offset = np.einsum("ij,ij->i", points - ball.vertices[ball.faces[faces, 0]], ball.face_normals()[faces])
    assert np.abs(offset).max() < 1e-12
    a, b, c = (ball.vertices[ball.faces[faces, i]] for i in range(3))
    areas = sum(np.linalg.norm(np.cross(p - points, q - points), axis=1) / 2 for p, q in ((a, b), (b, c), (c, a)))
    np.testing.assert_allclose(areas, ball.face_areas()[faces], rtol=1e-9)  # inside: the three parts fill the face


def test_samples_are_spread_by_area():
    rng = np.random.default_rng(0)
    box = box_mesh((1.0, 2.0, 0.1))
    _, faces = sample_surface(box, 10000, rng)
    share = np.bincount(faces, minlength=12) / 10000
    np.testing.assert_allclose(share, box.face_areas() / box.face_areas().sum(), atol=2e-4)  # stratified


def test_samples_are_uniform_within_a_triangle():
    # In a triangle every quarter of the middle subdivision contains a quarter of the samples (chi-square, 3 degrees of freedom).
    points, _ = sample_surface(TRIANGLE, 20000, np.random.default_rng(0))
    u, v = points[:, 0] / 2, points[:, 1]
    quarter = np.select([u > 0.5, v > 0.5, u + v < 0.5], [0, 1, 2], 3)
    counts = np.bincount(quarter, minlength=4)
    assert ((counts - 5000) ** 2 / 5000).sum() < 16.3  # p = 0.001


def test_samples_repeat_with_the_seed_and_skip_faces_without_area():
    mesh = Mesh(np.vstack([TRIANGLE.vertices, [[9, 9, 9]]]), np.array([[3, 3, 3], [0, 1, 2], [3, 3, 3]], np.int32))
    a, faces = sample_surface(mesh, 100, np.random.default_rng(5))
    b, _ = sample_surface(mesh, 100, np.random.default_rng(5))
    np.testing.assert_array_equal(a, b)
    assert set(faces) == {1}
    for nothing in (Mesh.empty(), Mesh(np.zeros((3, 3)), np.array([[0, 1, 2]], np.int32))):
        with pytest.raises(ValueError, match="without area"):
            sample_surface(nothing, 10, np.random.default_rng(0))
