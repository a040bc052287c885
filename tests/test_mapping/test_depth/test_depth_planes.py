"""Planes in noisy depth, and depth that is placed on them."""

from __future__ import annotations

import numpy as np
import pytest

from mapping.depth.depth_planes import (
    PlaneSamples,
    Surface,
    SurfaceView,
    find_planes,
    joined,
    placed,
)

HALF = np.array([2.5, 2.0])
"""Half of the sides of the room; its floor is at 0, its ceiling at 2.5, and it is turned by 12 degrees."""
TURN = np.deg2rad(12.0)
TURNED = np.array([[np.cos(TURN), -np.sin(TURN), 0.0], [np.sin(TURN), np.cos(TURN), 0.0], [0.0, 0.0, 1.0]])


def surface(kind, normal, offset, rng, *, count=3000, sure=0.4, spread=0.12, extent=2.0):
    """Samples of a plane, of which a share is sure and the others are noise about it, with noise of normals."""
    normal = np.asarray(normal, dtype=np.float64)
    other = np.array([0.0, 0.0, 1.0]) if abs(normal[2]) < 0.5 else np.array([1.0, 0.0, 0.0])
    across = np.cross(normal, other)
    deviation = np.where(rng.random(count) < sure, 0.01, spread)
    along, up = rng.uniform(-extent, extent, (2, count))
    points = (
        normal * (offset + deviation * rng.normal(size=count))[:, None] + np.outer(along, across) + np.outer(up, other)
    )
    normals = normal + 0.12 * rng.normal(size=(count, 3))
    normals /= np.linalg.norm(normals, axis=1, keepdims=True)
    return PlaneSamples(points, normals, np.full(count, kind), (0.01 / deviation) ** 1.0)


@pytest.fixture(scope="module")
def room():
    rng = np.random.default_rng(0)
    oblique = np.array([np.cos(np.deg2rad(57)), np.sin(np.deg2rad(57)), 0.0])
    parts = [
        surface(Surface.FLOOR, [0, 0, 1], 0.0, rng),
        surface(Surface.CEILING, [0, 0, -1], -2.5, rng),
        surface(Surface.TABLE, [0, 0, 1], 0.74, rng, count=800, extent=0.5),
        surface(Surface.WALL, oblique, -1.9, rng, extent=0.8),
    ]
    for axis, sign in ((0, 1), (0, -1), (1, 1), (1, -1)):
        parts.append(surface(Surface.WALL, sign * TURNED[:, axis], -HALF[axis], rng))
    shelves = surface(Surface.WALL, TURNED[:, 0], 0.3, rng, sure=0.0, spread=0.6)  # labelled as wall, plane nowhere
    return joined([*parts, shelves])


def test_planes_are_found_where_surface_concentrates(room):
    planes = find_planes(room)
    kinds = [each.kind for each in planes]
    assert kinds == [Surface.FLOOR, Surface.CEILING, Surface.TABLE, *[Surface.WALL] * 5]
    assert [each.plane.offset for each in planes[:3]] == pytest.approx([0.0, -2.5, 0.74], abs=0.01)
    walls = {round(float(np.rad2deg(np.arctan2(w.plane.normal[1], w.plane.normal[0])))): w.plane for w in planes[3:]}
    assert sorted(walls) == [-168, -78, 12, 57, 102]
    for degrees, offset in ((12, -2.5), (-168, -2.5), (102, -2.0), (-78, -2.0), (57, -1.9)):
        assert walls[degrees].offset == pytest.approx(offset, abs=0.015)
    square = np.array([walls[degrees].normal for degrees in (12, 102)])
    assert square[0] @ square[1] == pytest.approx(0, abs=1e-9)


def test_nothing_has_no_planes():
    nothing = PlaneSamples(np.zeros((0, 3)), np.zeros((0, 3)), np.zeros(0, np.int64), np.zeros(0))
    assert find_planes(nothing) == []


def wall_view(kind, shape=(60, 80)):
    """A view of the wall at x = -2.5 of the room from its middle, 1.2 m above the floor, with depth off by 8 %."""
    v, u = np.mgrid[: shape[0], : shape[1]]
    rays = np.stack([(u - 39.5) / 60, (v - 29.5) / 60, np.ones(shape)], axis=-1)
    R = TURNED @ np.array([[0.0, 0.0, -1.0], [1.0, 0.0, 0.0], [0.0, -1.0, 0.0]])  # forward is -x, down is -z
    normals = np.broadcast_to(TURNED[:, 0], (*shape, 3))
    truth = np.full(shape, 2.5, np.float32)
    noisy = truth * np.exp(0.08 * np.random.default_rng(1).normal(size=shape)).astype(np.float32)
    return truth, SurfaceView(noisy, normals, np.full(shape, int(kind)), rays @ R.T, np.array([0.0, 0.0, 1.2]))


def test_depth_about_a_plane_is_placed_on_it(room):
    truth, view = wall_view(Surface.WALL)
    depth, changed = placed(view, find_planes(room))
    assert changed.mean() > 0.85
    np.testing.assert_allclose(depth[changed], truth[changed], rtol=0.006)
    assert depth.dtype == np.float32
    np.testing.assert_array_equal(depth[~changed], view.depth[~changed])


@pytest.mark.parametrize("case", ["another surface", "an object", "far off", "turned away", "where it has no surface"])
def test_what_does_not_belong_to_a_plane_stays(room, case):
    _, view = wall_view({"another surface": Surface.FLOOR, "an object": Surface.OTHER}.get(case, Surface.WALL))
    fields = dict(vars(view))
    if case == "far off":
        fields["depth"] = 0.5 * view.depth
    elif case == "turned away":
        fields["normals"] = -view.normals
    elif case == "where it has no surface":
        fields["position"] = view.position + np.array([0.0, 0.0, 12.0])
    depth, changed = placed(SurfaceView(**fields), find_planes(room))
    assert not changed.any()
    np.testing.assert_array_equal(depth, fields["depth"])
