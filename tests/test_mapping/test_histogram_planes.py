import numpy as np
import pytest

from mapping.histogram_planes import assign_to_planes, dominant_yaw, vertical_planes, weighted_peaks


def test_peaks_are_found_where_weight_concentrates_whatever_the_bins():
    rng = np.random.default_rng(0)
    values = np.concatenate([rng.normal(0.013, 0.004, 400), rng.normal(0.751, 0.004, 100), rng.uniform(-1, 3, 200)])
    weights = np.full(len(values), 0.01)
    for shift in (0.0, 0.007, -3.1):
        peaks = weighted_peaks(values + shift, weights, bin_size=0.02, separation=0.2, min_weight=0.8)
        assert [p.position - shift for p in peaks] == pytest.approx([0.013, 0.751], abs=0.003)
        assert [p.weight for p in peaks] == pytest.approx([4.2, 1.2], abs=0.2)


def test_the_heavier_of_two_close_peaks_silences_the_other():
    peaks = weighted_peaks([0.0] * 3 + [0.1] * 2, np.ones(5), bin_size=0.02, separation=0.12, min_weight=0.0)
    assert [p.position for p in peaks] == pytest.approx([0.0])


def test_no_values_have_no_peaks():
    assert weighted_peaks([], [], bin_size=0.02, separation=0.1, min_weight=0.0) == []


def wall_faces(yaws_deg, rng, noise_deg=2.0):
    yaw = np.deg2rad(np.asarray(yaws_deg)) + np.deg2rad(noise_deg) * rng.normal(size=len(yaws_deg))
    return np.stack([np.cos(yaw), np.sin(yaw), np.zeros(len(yaw))], axis=1)


@pytest.mark.parametrize("turn", [-40.0, -7.3, 0.0, 12.0, 44.0])
def test_dominant_yaw_folds_all_four_directions_into_one(turn):
    rng = np.random.default_rng(1)
    normals = wall_faces(rng.choice([0, 90, 180, 270], 400) + turn, rng)
    clutter = rng.normal(size=(80, 3))
    clutter /= np.linalg.norm(clutter, axis=1, keepdims=True)
    yaw, share = dominant_yaw(np.concatenate([normals, clutter]), np.full(480, 0.01))
    assert np.rad2deg(yaw) == pytest.approx(turn, abs=0.5)
    assert 0.85 < share < 1.0


def test_dominant_yaw_of_floors_alone_says_nothing():
    assert dominant_yaw(np.array([[0, 0, 1.0]]), np.array([1.0])) == (0.0, 0.0)


def room_faces(rng):
    """Faces of a 4 x 3 m room turned by 20 degrees, noise of 5 mm and 3 degrees."""
    turn = np.deg2rad(20)
    out = []
    for axis, at in ((0, 0.0), (0, 4.0), (1, 0.0), (1, 3.0)):
        p = rng.uniform(0, 1, (600, 3)) * [4, 3, 2.5]
        p[:, axis] = at + rng.normal(0, 0.005, 600)
        n = np.zeros((600, 3))
        n[:, axis] = 1 if at == 0 else -1
        n += rng.normal(0, np.deg2rad(3), n.shape)
        out.append((p, n / np.linalg.norm(n, axis=1, keepdims=True)))
    points, normals = (np.concatenate(part) for part in zip(*out, strict=True))
    c, s = np.cos(turn), np.sin(turn)
    R = np.array([[c, -s, 0], [s, c, 0], [0, 0, 1]])
    return points @ R.T, normals @ R.T, turn


def test_vertical_planes_are_the_four_walls_to_a_few_millimetres():
    points, normals, turn = room_faces(np.random.default_rng(2))
    planes = vertical_planes(points, normals, np.full(len(points), 0.01), min_area=2.0)
    assert len(planes) == 4
    for plane in planes:
        angle = (np.arctan2(plane.normal[1], plane.normal[0]) - turn) % (np.pi / 2)
        assert min(angle, np.pi / 2 - angle) < np.deg2rad(0.3)
        assert plane.area == pytest.approx(6.0, abs=0.5)
        assert (plane.distance(points) > -0.05).all()  # the whole room lies on the free side
    offsets = sorted(round(plane.offset, 1) for plane in planes)
    assert offsets == [-4.0, -3.0, 0.0, 0.0]
    index = assign_to_planes(planes, points, normals, max_distance=0.03, max_angle=np.deg2rad(20))
    assert (index >= 0).mean() > 0.99
    assert (np.bincount(index[index >= 0]) == 600).all()


def test_the_two_sides_of_a_thin_wall_are_two_planes():
    rng = np.random.default_rng(3)
    p = rng.uniform(0, 3, (800, 3))
    p[:400, 0], p[400:, 0] = 1.0, 1.1
    n = np.zeros((800, 3))
    n[:400, 0], n[400:, 0] = -1, 1
    planes = vertical_planes(p, n, np.full(800, 0.01), min_area=1.0)
    assert sorted(round(plane.offset, 3) for plane in planes) == [-1.0, 1.1]
