import json
from copy import deepcopy
from dataclasses import replace

import cv2
import numpy as np
import pytest
from walkers import FLOOR, HEIGHT, INTRINSICS, PERSON, THICKNESS, WALL, WIDTH, Block, Walker, camera, render

from mapping.camera import Intrinsics
from mapping.se3 import from_rotation_translation, rotation_from_quat_xyzw, transform_points
from scenegraph.files.json_values import GraphFormatError
from scenegraph.labels import LabelClass, LabelSpace, nyu40
from scenegraph.tracks.detection import LabelledView, detections_from_json, detections_to_json
from scenegraph.tracks.detector import detect, widened
from scenegraph.tracks.track_config import DetectionConfig

SPACE = nyu40()
FRONT = camera((0, -3, 1.5), (0, 2, 1.0))


def standing(x, y, **fields):
    return Walker(lambda time: (x, y), **fields)


def seen(walkers, blocks=(), T_world_camera=FRONT, *, instances=False):
    view = render(walkers, blocks, 0.0, T_world_camera)
    return view if instances else replace(view, instances=None)


def smeared(view, sigma=2.0):
    """Depth as networks give it: smooth across silhouettes."""
    inverse = cv2.GaussianBlur(1 / view.depth.astype(np.float64), (0, 0), sigma)
    return replace(view, depth=(1 / inverse).astype(np.float32))


# ---- pixels to keep out of the map ----------------------------------------------------------------------------------


def test_mask_is_the_class_widened_by_a_disc():
    labels = np.full((41, 41), WALL, np.uint8)
    labels[20, 20] = PERSON
    mask = widened(labels == PERSON, dilate_px=5)
    v, u = np.nonzero(mask)
    assert np.hypot(u - 20, v - 20).max() <= 5.5
    assert mask.sum() == pytest.approx(np.pi * 5.5**2, rel=0.1)
    np.testing.assert_array_equal(widened(labels == PERSON, dilate_px=0), labels == PERSON)


def test_mask_without_anything_dynamic_is_empty():
    assert not widened(np.zeros((8, 9), bool), dilate_px=3).any()


def test_mask_takes_flying_pixels_farther_out_and_nothing_else():
    view = smeared(seen([standing(0, 2)]), sigma=3)
    person = view.labels == PERSON
    plain = widened(person, dilate_px=4)
    wider = widened(person, dilate_px=4, depth=view.depth)
    assert (plain <= wider).all()
    assert (wider <= widened(person, dilate_px=8)).all()
    sharp = seen([standing(0, 2)])
    background = render([], [], 0.0, FRONT).depth
    trace = np.abs(1 / view.depth - 1 / background) > 0.1 / background  # what would be fused as a ghost
    assert (trace & ~wider).sum() <= 0.02 * (sharp.labels == PERSON).sum()
    assert (wider & ~plain).sum() < 0.5 * plain.sum()


# ---- detections -----------------------------------------------------------------------------------------------------


def test_one_person_in_full_view():
    (found,) = detect(seen([standing(0.5, 2)]), SPACE)
    assert found.label_id == PERSON
    assert found.time == 0.0
    assert found.cut == frozenset()
    assert found.floor == pytest.approx(0, abs=1e-3)
    assert found.distance == pytest.approx(5, abs=0.2)
    assert found.bearing == pytest.approx(np.arctan2(5, 0.5), abs=0.01)
    # heading 0: half of the thickness towards +x, the width along y, which is away from the camera
    np.testing.assert_allclose((found.high - found.low)[1:], [THICKNESS, HEIGHT], atol=0.04)
    assert 0.1 < found.high[0] - found.low[0] < WIDTH / 2
    np.testing.assert_allclose(found.center, [0.5, 2 - 0.15, HEIGHT / 2], atol=0.06)
    np.testing.assert_allclose(found.axes @ found.axes.T, np.eye(3), atol=1e-12)


def test_a_square_image_of_the_width_is_measured_across():
    (found,) = detect(seen([standing(2, 0)], (), camera((-3, 0, 1.5), (2, 0, 1.0))), SPACE)
    assert found.high[1] - found.low[1] == pytest.approx(WIDTH, abs=0.04)


@pytest.mark.parametrize("blur", [False, True])
def test_two_people_who_overlap_at_different_depths_are_two(blur):
    view = seen([standing(0.0, 1.0), standing(0.45, 3.0)])
    found = detect(smeared(view) if blur else view, SPACE)
    assert len(found) == 2
    centers = sorted(detection.center[1] for detection in found)
    np.testing.assert_allclose(centers, [0.85, 2.85], atol=0.25)
    far = max(found, key=lambda detection: detection.distance)
    assert far.cut & {"left", "right"}
    near = min(found, key=lambda detection: detection.distance)
    assert near.cut == frozenset()


def test_a_person_of_whom_depth_is_wrong_in_parts_is_one():
    """Matching takes a part of what moves for the wall behind it."""
    view = seen([standing(0.0, 2.0)])
    (right,) = detect(view, SPACE)
    rows, columns = np.nonzero(view.labels == PERSON)
    depth = view.depth.copy()
    wrong = rows < np.quantile(rows, 0.4)
    depth[rows[wrong], columns[wrong]] *= 1.8
    view = replace(view, depth=depth)
    assert len(detect(view, SPACE)) == 2
    (found,) = detect(view, SPACE, DetectionConfig(one_distance=True))
    assert found.center[1] == pytest.approx(right.center[1], abs=0.15)
    np.testing.assert_allclose(found.high[1:] - found.low[1:], right.high[1:] - right.low[1:], atol=0.05)


def test_people_apart_in_the_image_stay_apart_with_one_distance_each():
    view = seen([standing(-0.8, 2), standing(0.8, 3)])
    found = detect(view, SPACE, DetectionConfig(one_distance=True))
    assert sorted(round(each.center[1], 1) for each in found) == pytest.approx([1.85, 2.85], abs=0.15)


def test_two_people_side_by_side_are_two():
    assert len(detect(seen([standing(-0.35, 2), standing(0.35, 2)]), SPACE)) == 2


def test_a_person_behind_a_pole_is_one():
    pole = Block((-0.06, 0.9, 0), (0.06, 1.0, 2.5), WALL)
    walker = Walker(lambda time: (0.0, 2.0 + 1e-3 * time))  # faces away: its width is across
    view = seen([walker], [pole])
    columns = np.flatnonzero((view.labels == PERSON).any(axis=0))
    assert np.diff(columns).max() > 2  # in the image there are two pieces
    (found,) = detect(view, SPACE)
    assert found.high[1] - found.low[1] == pytest.approx(WIDTH, abs=0.05)


@pytest.mark.parametrize("blur", [False, True])
def test_a_person_behind_a_table_is_cut_below(blur):
    view = seen([standing(0, 2)], [Block((-1.5, 0.5, 0), (1.5, 1.3, 0.8))])
    (found,) = detect(smeared(view) if blur else view, SPACE)
    assert found.cut == {"below"}
    assert found.low[2] > 0.5
    assert found.high[2] == pytest.approx(HEIGHT, abs=0.1)


def test_a_table_with_a_gap_below_makes_one_person_of_torso_and_legs():
    board = Block((-1.5, 0.9, 0.7), (1.5, 1.3, 0.8))
    view = seen([standing(0, 2)], [board])
    rows = np.flatnonzero((view.labels == PERSON).any(axis=1))
    assert np.diff(rows).max() > 2
    (found,) = detect(view, SPACE)
    assert found.cut == frozenset()
    assert found.high[2] - found.low[2] == pytest.approx(HEIGHT, abs=0.05)


def test_the_image_border_cuts():
    ahead = camera((0, -3, 1.5), (0, 2, 1.5))
    left = detect(seen([standing(-2.95, 2)], (), ahead), SPACE)[0]
    right = detect(seen([standing(2.95, 2)], (), ahead), SPACE)[0]
    assert "left" in left.cut
    assert "right" in right.cut
    near = detect(seen([standing(0, -1.8)], (), ahead), SPACE)[0]
    assert near.cut == {"below"}
    nearer = detect(seen([standing(0, -2.2)], (), ahead), SPACE)[0]
    assert {"below", "above"} <= nearer.cut


@pytest.mark.parametrize("turns", [1, 2, 3])
def test_a_turned_camera_sees_the_same(turns):
    walkers, blocks = [standing(0, 2)], [Block((-1.5, 0.5, 0), (1.5, 1.3, 0.8))]
    square = Intrinsics(130.0, 130.0, 59.5, 59.5, 120, 120)
    roll = from_rotation_translation(
        rotation_from_quat_xyzw([0, 0, np.sin(turns * np.pi / 4), np.cos(turns * np.pi / 4)]), np.zeros(3)
    )
    upright = replace(render(walkers, blocks, 0.0, FRONT, intrinsics=square), instances=None)
    turned = replace(render(walkers, blocks, 0.0, FRONT @ roll, intrinsics=square), instances=None)
    (expected,), (found,) = detect(upright, SPACE), detect(turned, SPACE)
    assert found.cut == expected.cut == {"below"}
    np.testing.assert_allclose(found.low, expected.low, atol=0.03)
    np.testing.assert_allclose(found.high, expected.high, atol=0.03)


def test_instances_separate_what_touches():
    walkers = [standing(-0.1, 2), standing(0.12, 2.1)]
    assert len(detect(seen(walkers), SPACE)) == 1
    assert len(detect(seen(walkers, instances=True), SPACE)) == 2


def test_instances_give_the_same_boxes_where_nothing_touches():
    walkers = [standing(-1.5, 2), standing(1.2, 3)]
    for a, b in zip(detect(seen(walkers), SPACE), detect(seen(walkers, instances=True), SPACE), strict=True):
        np.testing.assert_array_equal(a.low, b.low)
        np.testing.assert_array_equal(a.high, b.high)
        assert a.cut == b.cut


def test_classes_are_kept_separate():
    space = LabelSpace(
        "two",
        (
            LabelClass(0, "unknown", (0, 0, 0), "unknown"),
            LabelClass(WALL, "wall", (1, 1, 1), "structure"),
            LabelClass(FLOOR, "floor", (1, 1, 1), "structure"),
            LabelClass(PERSON, "person", (1, 1, 1), "dynamic"),
            LabelClass(32, "dog", (1, 1, 1), "dynamic"),
        ),
    )
    view = seen([standing(-0.1, 2), standing(0.12, 2.1)], instances=True)
    labels = np.where(view.instances == 2, 32, view.labels).astype(np.uint8)
    found = detect(replace(view, labels=labels, instances=None), space)
    assert [detection.label_id for detection in found] == [PERSON, 32]


def test_nothing_to_see():
    assert detect(seen([]), SPACE) == []
    view = seen([standing(0, 2)])
    assert detect(replace(view, depth=np.zeros_like(view.depth)), SPACE) == []
    assert detect(view, SPACE, DetectionConfig(max_depth=3.0)) == []
    assert detect(view, SPACE, DetectionConfig(min_pixels=5000)) == []
    assert detect(view, SPACE, DetectionConfig(min_area=2.0)) == []


def test_the_floor_is_unknown_where_there_is_none():
    view = seen([standing(0, 2)])
    labels = np.where(view.labels == FLOOR, WALL, view.labels)
    (found,) = detect(replace(view, labels=labels), SPACE)
    assert found.floor is None


def test_view_checks_its_arrays():
    view = seen([])
    with pytest.raises(ValueError, match=r"LabelledView\.labels must have shape \(120, 160\), got \(3, 3\)"):
        LabelledView(0.0, view.depth, np.zeros((3, 3), np.uint8), INTRINSICS, FRONT)
    with pytest.raises(ValueError, match="without distortion"):
        replace(view, intrinsics=replace(INTRINSICS, distortion=(0.1, 0.0, 0.0, 0.0)))


def dressed(view):
    """Everyone in a red top and blue trousers."""
    rgb = np.full((*view.depth.shape, 3), 120, np.uint8)
    points = transform_points(view.T_world_camera, view.intrinsics.rays() * view.depth[..., None])
    rgb[(view.labels == PERSON) & (points[..., 2] > 0.85)] = (180, 20, 20)
    rgb[(view.labels == PERSON) & (points[..., 2] <= 0.85)] = (20, 20, 160)
    return rgb


def test_the_look_of_a_person():
    view = seen([standing(0, 2)])
    (plain,) = detect(view, SPACE)
    assert plain.look == (None, None)
    (found,) = detect(replace(view, rgb=dressed(view)), SPACE)
    upper, lower = found.look
    assert upper[0] > 1
    assert abs(upper[1]) < 0.1
    assert lower[1] > 1
    assert abs(lower[0]) < 0.1
    hidden = seen([standing(0, 2)], [Block((-1.5, 0.5, 0), (1.5, 1.3, 0.8))])
    (found,) = detect(replace(hidden, rgb=dressed(hidden)), SPACE)
    assert found.look[1] is None
    np.testing.assert_allclose(found.look[0], upper, atol=0.1)


# ---- file of detections ---------------------------------------------------------------------------------------------


def frames():
    view = seen([standing(0, 2), standing(1, 3)], [Block((0.5, 1.5, 0), (1.5, 2.0, 0.9))])
    return [(0.5, detect(replace(view, rgb=dressed(view)), SPACE)), (1.0, [])]


def test_detections_survive_json():
    data = json.loads(json.dumps(detections_to_json(frames())))
    loaded = detections_from_json(data, "detections.json")
    assert [time for time, _ in loaded] == [0.5, 1.0]
    assert len(loaded[0][1]) == 2
    for a, b in zip(frames()[0][1], loaded[0][1], strict=True):
        np.testing.assert_allclose(a.low, b.low)
        np.testing.assert_allclose(a.high, b.high)
        assert (a.label_id, a.pixels, a.cut) == (b.label_id, b.pixels, b.cut)
        assert a.bearing == pytest.approx(b.bearing)
        assert a.floor == pytest.approx(b.floor)
        for band, loaded_band in zip(a.look, b.look, strict=True):
            assert (band is None) == (loaded_band is None)
            if band is not None:
                np.testing.assert_allclose(band, loaded_band)
        assert b.time == 0.5
    assert detections_to_json(loaded) == data


@pytest.mark.parametrize(
    ("corrupt", "message"),
    [
        (lambda d: d[0].pop("time"), r"\[0\]\.time: expected a finite number"),
        (lambda d: d[0].update(detections={}), r"\[0\]\.detections: expected a list"),
        (lambda d: d[0]["detections"][1].update(cut=["behind"]), r"detections\[1\]\.cut: expected some of right, left"),
        (lambda d: d[0]["detections"][1].update(low=[0, 1]), r"detections\[1\]\.low: expected 3 finite numbers"),
        (lambda d: d[0]["detections"][1].update(floor="0"), r"detections\[1\]\.floor: expected a finite number"),
        (
            lambda d: d[0]["detections"][1].update(look=[None]),
            r"detections\[1\]\.look: expected the upper and the lower",
        ),
        (
            lambda d: d[0]["detections"][1].update(look=[[1, 2], None]),
            r"detections\[1\]\.look: expected 3 finite numbers",
        ),
        (lambda d: d[0]["detections"][1].pop("label_id"), r"detections\[1\]\.label_id: expected a whole number"),
    ],
)
def test_broken_detection_files_are_rejected(corrupt, message):
    data = deepcopy(detections_to_json(frames()))
    corrupt(data)
    with pytest.raises(GraphFormatError, match=r"d\.json: .*" + message):
        detections_from_json(data, "d.json")
