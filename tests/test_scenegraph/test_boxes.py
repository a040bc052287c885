"""Laws and hand-computed cases of upright boxes."""

from __future__ import annotations

import numpy as np
import pytest
import shapely

from mapping.se3 import yaw_rotation
from scenegraph.boxes import (
    box_iou,
    clip_convex,
    footprint,
    points_in_box,
    polygon_area,
    smallest_rectangle_yaw,
    transform_box,
    upright,
)
from scenegraph.nodes import OrientedBox


def make_box(center=(0, 0, 0), size=(1, 1, 1), yaw_deg=0.0) -> OrientedBox:
    return OrientedBox(np.array(center, float), np.array(size, float), yaw_rotation(np.deg2rad(yaw_deg)))


def random_box(rng: np.random.Generator) -> OrientedBox:
    return make_box(rng.normal(size=3, scale=0.5), rng.uniform(0.3, 2.0, 3), rng.uniform(0, 360))


def yaw_deg(box: OrientedBox) -> float:
    return float(np.rad2deg(np.arctan2(box.rotation[1, 0], box.rotation[0, 0])))


@pytest.mark.parametrize("yaw", [0.0, 12.5, 45.0, 89.0, 90.0, 133.0, -30.0, 270.0])
def test_corners_give_their_yaw_back(yaw):
    found = smallest_rectangle_yaw(make_box((1, -2, 0.5), (2.0, 0.7, 1.2), yaw).corners()[:, :2])
    assert 0 <= found < np.pi / 2
    assert np.rad2deg(found) == pytest.approx(yaw % 90, abs=1e-7)


def test_the_rectangle_is_the_smallest_of_all_yaws():
    rng = np.random.default_rng(1)
    points = rng.normal(size=(200, 2)) @ rng.normal(size=(2, 2))

    def area(yaw):
        return float(np.prod(np.ptp(points @ yaw_rotation(yaw)[:2, :2], axis=0)))

    assert area(smallest_rectangle_yaw(points)) <= min(map(area, np.deg2rad(np.arange(0, 90, 0.1)))) + 1e-9


def test_the_yaw_does_not_depend_on_order():
    rng = np.random.default_rng(2)
    points = rng.uniform(size=(500, 2))
    assert smallest_rectangle_yaw(points) == pytest.approx(
        smallest_rectangle_yaw(points[rng.permutation(500)]), abs=1e-12
    )


@pytest.mark.parametrize("yaw", [-1e-12, 0.0, 1e-12, 90 - 1e-12])
def test_a_box_turned_by_nearly_a_quarter_is_not_torn_between_0_and_90(yaw):
    assert smallest_rectangle_yaw(make_box((0, 0, 0), (1, 2, 1), yaw).corners()[:, :2]) == pytest.approx(0.0, abs=1e-9)


@pytest.mark.parametrize(
    ("points", "yaw"),
    [([(1, 2)], 0.0), ([(0, 0), (0, 0)], 0.0), ([(0, 0), (3, 4)], np.arctan2(4, 3)), ([(0, 0), (0, 2)], 0.0)],
)
def test_points_without_thickness(points, yaw):
    assert smallest_rectangle_yaw(points) == pytest.approx(yaw)


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
    with pytest.raises(ValueError, match="is tilted by 5"):
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
