"""Laws and hand-computed cases of upright boxes."""

from __future__ import annotations

import numpy as np
import pytest
import shapely

from scenegraph.boxes import (
    box_iou,
    clip_convex,
    fit_upright_box,
    footprint,
    points_in_box,
    polygon_area,
    transform_box,
    upright,
    yaw_rotation,
)
from scenegraph.nodes import OrientedBox


def make_box(center=(0, 0, 0), size=(1, 1, 1), yaw_deg=0.0) -> OrientedBox:
    return OrientedBox(np.array(center, float), np.array(size, float), yaw_rotation(np.deg2rad(yaw_deg)))


def random_box(rng: np.random.Generator) -> OrientedBox:
    return make_box(rng.normal(size=3, scale=0.5), rng.uniform(0.3, 2.0, 3), rng.uniform(0, 360))


def yaw_deg(box: OrientedBox) -> float:
    return float(np.rad2deg(np.arctan2(box.rotation[1, 0], box.rotation[0, 0])))


@pytest.mark.parametrize("yaw", [0.0, 12.5, 45.0, 89.0, 90.0, 133.0, -30.0, 270.0])
def test_corners_give_their_box_back(yaw):
    truth = make_box((1, -2, 0.5), (2.0, 0.7, 1.2), yaw)
    box = fit_upright_box(truth.corners())
    np.testing.assert_allclose(box.center, truth.center, atol=1e-12)
    assert 0 <= yaw_deg(box) < 90
    assert yaw_deg(box) == pytest.approx(yaw % 90, abs=1e-7)
    # A quarter turn swaps the sides: same box, other names of its axes.
    sides = (2.0, 0.7) if int(yaw % 180 // 90) == 0 else (0.7, 2.0)
    np.testing.assert_allclose(box.size, (*sides, 1.2), atol=1e-12)
    assert box_iou(box, truth) == pytest.approx(1.0)


def test_fit_is_the_smallest_of_all_yaws():
    rng = np.random.default_rng(1)
    points = rng.normal(size=(200, 3)) @ rng.normal(size=(3, 3))
    box = fit_upright_box(points)
    areas = []
    for angle in np.deg2rad(np.arange(0, 90, 0.1)):
        extent = np.ptp(points @ yaw_rotation(angle), axis=0)
        areas.append(extent[0] * extent[1])
    assert box.size[0] * box.size[1] <= min(areas) + 1e-9
    assert points_in_box(points, box, margin=1e-9).all()


def test_fit_does_not_depend_on_order():
    rng = np.random.default_rng(2)
    points = rng.uniform(size=(500, 3))
    a, b = fit_upright_box(points), fit_upright_box(points[rng.permutation(500)])
    np.testing.assert_allclose(a.corners(), b.corners(), atol=1e-12)


def test_square_turned_by_nearly_a_quarter_is_not_torn_between_0_and_90():
    for yaw in (-1e-12, 0.0, 1e-12, 90 - 1e-12):
        assert fit_upright_box(make_box((0, 0, 0), (1, 2, 1), yaw).corners()).rotation[0, 0] == pytest.approx(1.0)


@pytest.mark.parametrize(
    ("points", "size"),
    [
        ([(1, 2, 3)], (0, 0, 0)),
        ([(0, 0, 0), (0, 0, 2)], (0, 0, 2)),
        ([(0, 0, 0), (3, 4, 0)], (5, 0, 0)),
        ([(0, 0, 0), (1, 1, 0), (2, 2, 1)], (8**0.5, 0, 1)),
    ],
)
def test_points_without_thickness(points, size):
    box = fit_upright_box(points)
    np.testing.assert_allclose(np.sort(box.size[:2])[::-1], sorted(size[:2], reverse=True), atol=1e-7)
    assert box.size[2] == size[2]


def test_trim_drops_strays_and_keeps_the_box():
    rng = np.random.default_rng(3)
    truth = make_box((2, 1, 0.4), (1.2, 0.6, 0.8), 30)
    local = rng.uniform(-0.5, 0.5, (5000, 3))
    axis = rng.integers(0, 3, 5000)
    local[np.arange(5000), axis] = np.sign(local[np.arange(5000), axis]) * 0.5  # on the faces, as a scan sees it
    strays = np.array([[3, 3, 3], [-2, 0, 1]]) + truth.center
    points = np.concatenate([(local * truth.size) @ truth.rotation.T + truth.center, strays])
    assert box_iou(fit_upright_box(points), truth) < 0.2
    assert box_iou(fit_upright_box(points, trim=0.01), truth) > 0.97


@pytest.mark.parametrize(
    ("points", "trim"),
    [(np.zeros((0, 3)), 0.0), (np.zeros((3, 2)), 0.0), ([[np.nan, 0, 0]], 0.0), (np.zeros((3, 3)), 0.5)],
)
def test_fit_rejects(points, trim):
    with pytest.raises(ValueError, match="must be"):
        fit_upright_box(points, trim=trim)


def test_iou_by_hand():
    unit = make_box()
    assert box_iou(unit, unit) == 1.0
    assert box_iou(unit, make_box((0.5, 0, 0))) == pytest.approx(1 / 3)
    assert box_iou(unit, make_box((0, 0, 0.5))) == pytest.approx(1 / 3)
    assert box_iou(unit, make_box((1, 0, 0))) == 0.0
    assert box_iou(unit, make_box((0, 0, 1))) == 0.0
    assert box_iou(unit, make_box(size=(0.5, 0.5, 0.5))) == pytest.approx(1 / 8)
    # A square and itself turned by 45 degrees share a regular octagon of area 2 (sqrt 2 - 1).
    octagon = 2 * (2**0.5 - 1)
    assert box_iou(unit, make_box(yaw_deg=45)) == pytest.approx(octagon / (2 - octagon))
    assert box_iou(unit, make_box(yaw_deg=90)) == pytest.approx(1.0)


@pytest.mark.parametrize("size", [(0, 0, 0), (0, 0, 1), (1, 0, 1), (1, 1, 0)])
def test_iou_without_volume_is_zero(size):
    assert box_iou(make_box(size=size), make_box()) == 0.0
    assert box_iou(make_box(), make_box(size=size)) == 0.0
    assert box_iou(make_box(size=size), make_box(size=size)) == 0.0


def test_iou_against_shapely():
    rng = np.random.default_rng(4)
    overlaps = 0
    for _ in range(200):
        a, b = random_box(rng), random_box(rng)
        area = shapely.intersection(shapely.Polygon(footprint(a)), shapely.Polygon(footprint(b))).area
        tops, bases = (np.array([box.center[2] + sign * box.size[2] / 2 for box in (a, b)]) for sign in (1, -1))
        common = area * max(0.0, tops.min() - bases.max())
        assert box_iou(a, b) == pytest.approx(common / (a.volume + b.volume - common), abs=1e-12)
        assert box_iou(a, b) == pytest.approx(box_iou(b, a), abs=1e-12)
        overlaps += common > 0
    assert overlaps > 50


def test_iou_does_not_change_when_both_move():
    rng = np.random.default_rng(5)
    for _ in range(20):
        a, b = random_box(rng), random_box(rng)
        T = np.eye(4)
        T[:3, :3], T[:3, 3] = yaw_rotation(rng.uniform(0, 6)), rng.normal(size=3)
        assert box_iou(transform_box(T, a), transform_box(T, b)) == pytest.approx(box_iou(a, b), abs=1e-9)


def test_leaning_box_is_rejected_and_can_be_set_upright():
    lean = np.deg2rad(5)
    tilt = np.array([[1, 0, 0], [0, np.cos(lean), -np.sin(lean)], [0, np.sin(lean), np.cos(lean)]])
    box = OrientedBox(np.zeros(3), np.ones(3), yaw_rotation(0.3) @ tilt)
    with pytest.raises(ValueError, match="leans by 5"):
        box_iou(box, make_box())
    np.testing.assert_allclose(upright(box).rotation, yaw_rotation(0.3), atol=1e-12)


def test_points_in_box_agrees_with_its_corners():
    box = make_box((1, 2, 3), (2, 1, 0.5), 25)
    inside = box.center + 0.999 * (box.corners() - box.center)
    outside = box.center + 1.001 * (box.corners() - box.center)
    assert points_in_box(inside, box).all()
    assert not points_in_box(outside, box).any()
    assert points_in_box(outside, box, margin=0.01).all()
    assert points_in_box(np.stack([inside, outside]), box).shape == (2, 8)


def test_clip_by_hand():
    square = np.array([(0, 0), (2, 0), (2, 2), (0, 2)], float)
    triangle = np.array([(1, 1), (4, 1), (1, 4)], float)
    assert polygon_area(clip_convex(square, triangle)) == pytest.approx(1.0)
    assert polygon_area(clip_convex(triangle, square)) == pytest.approx(1.0)
    assert len(clip_convex(square, square + 5)) == 0
    assert polygon_area(square[::-1]) == -4.0
    assert polygon_area(square[:2]) == 0.0
