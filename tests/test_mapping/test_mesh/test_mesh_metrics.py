"""Mesh metrics on cases whose numbers are known by hand."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from helpers import box_mesh, random_se3, sphere_mesh

from mapping.mesh.mesh import Mesh, concatenate
from mapping.mesh.mesh_metrics import (
    MESH_SCORES,
    TruthError,
    double_wall_rate,
    doubled_share,
    harmonic_mean,
    label_scores,
    mesh_metrics,
    rim_per_area,
    sample_with_labels,
)

ROOM = box_mesh((5.0, 4.0, 2.5), (0, 0, 1.25), inward=True)


def sheet(z: float, x: tuple[float, float] = (0.0, 1.0), *, up: bool = True, label: int = 1) -> Mesh:
    """The rectangle x[0]..x[1] by 0..1 at a height."""
    corners = np.array([[x[0], 0, z], [x[1], 0, z], [x[1], 1, z], [x[0], 1, z]], float)
    faces = np.array([[0, 1, 2], [0, 2, 3]], np.int32)
    return Mesh(corners, faces if up else np.ascontiguousarray(faces[:, ::-1]), labels=np.full(4, label, np.uint16))


def compare(predicted: Mesh, truth: Mesh, **options: object) -> dict[str, float | None]:
    return mesh_metrics(predicted, truth, np.random.default_rng(0), samples=20000, **options)


def test_the_truth_itself_is_perfect():
    truth = replace(ROOM, labels=np.arange(1, 9, dtype=np.uint16))
    scores = compare(truth, truth)
    assert tuple(scores) == MESH_SCORES
    for name in ("accuracy_m", "completeness_m", "double_wall_rate"):
        assert scores[name] == pytest.approx(0, abs=1e-6)
    for name in set(MESH_SCORES) - {"accuracy_m", "completeness_m", "double_wall_rate"}:
        assert scores[name] == pytest.approx(1, abs=1e-3), name


@pytest.mark.parametrize(("shift", "within"), [(0.03, (1, 1)), (0.07, (0, 1)), (0.2, (0, 0))])
def test_a_shifted_sheet_by_hand(shift, within):
    scores = compare(sheet(shift), sheet(0.0))
    assert scores["accuracy_m"] == pytest.approx(shift, abs=1e-6)
    assert scores["completeness_m"] == pytest.approx(shift, abs=1e-6)
    assert (scores["precision_5cm"], scores["f_10cm"]) == within
    assert scores["normal_consistency"] == pytest.approx(1.0)


def test_half_a_sheet_has_full_precision_and_half_recall():
    scores = compare(sheet(0.0, (0.0, 0.5)), sheet(0.0))
    assert scores["precision_5cm"] == 1.0
    assert scores["recall_5cm"] == pytest.approx(0.55, abs=0.005)  # half, and the 5 cm next to it
    assert scores["f_5cm"] == pytest.approx(2 * 0.55 / 1.55, abs=0.005)
    assert scores["completeness_m"] == pytest.approx(
        0.125, abs=0.002
    )  # the mean of 0 and of 0..0.5 over the two halves


def test_what_no_frame_sees_is_not_asked_for():
    def left_half(points: np.ndarray, normals: np.ndarray) -> np.ndarray:
        np.testing.assert_allclose(normals, [[0, 0, 1]] * len(points))
        return points[:, 0] < 0.5

    scores = compare(sheet(0.0, (0.0, 0.5)), sheet(0.0), is_visible=left_half)
    assert scores["recall_5cm"] == 1.0
    assert scores["completeness_m"] == pytest.approx(0, abs=1e-6)
    # What is predicted in the unseen half is measured against all of the truth.
    assert compare(sheet(0.0), sheet(0.0), is_visible=left_half)["precision_5cm"] == 1.0


def test_turned_sheets_disagree_in_their_normals():
    truth = sheet(0.0)
    turn = np.array([[np.cos(0.5), 0, np.sin(0.5), 0], [0, 1, 0, 0], [-np.sin(0.5), 0, np.cos(0.5), 0], [0, 0, 0, 1]])
    assert compare(truth.transformed(turn), truth)["normal_consistency"] == pytest.approx(np.cos(0.5), abs=1e-6)
    assert compare(sheet(0.0, up=False), truth)["normal_consistency"] == pytest.approx(1.0)


def test_labels_by_hand():
    truth = concatenate([sheet(0.0, (0.0, 0.5), label=1), sheet(0.0, (0.5, 1.0), label=2)])
    predicted = concatenate([sheet(0.0, (0.0, 0.75), label=1), sheet(0.0, (0.75, 1.0), label=2)])
    scores = compare(predicted, truth)
    assert scores["label_accuracy"] == pytest.approx(0.75, abs=0.005)
    # Class 1: 0.5 of 0.75; class 2: 0.25 of 0.5.
    assert scores["label_miou"] == pytest.approx((2 / 3 + 0.5) / 2, abs=0.005)


def test_labels_are_asked_where_there_is_surface_and_truth():
    truth = concatenate([sheet(0.0, (0.0, 0.5), label=1), sheet(0.0, (0.5, 1.0), label=0)])
    assert compare(sheet(0.0, (0.0, 0.25), label=1), truth)["label_accuracy"] == 1.0
    assert compare(sheet(0.0, label=0), truth)["label_accuracy"] == 0.0  # unknown is wrong
    assert compare(replace(sheet(0.0), labels=None), truth)["label_accuracy"] is None
    assert compare(sheet(0.0), replace(truth, labels=None))["label_miou"] is None


def test_label_scores_count_only_the_classes_of_the_truth():
    accuracy, miou = label_scores(np.array([1, 1, 1, 2]), np.array([1, 1, 3, 3]))
    assert accuracy == 0.5
    assert miou == pytest.approx((2 / 3 + 0) / 2)


def test_a_sample_takes_the_label_of_its_nearest_corner():
    mesh = replace(sheet(0.0), labels=np.array([1, 2, 3, 4], np.uint16))
    samples = sample_with_labels(mesh, 500, np.random.default_rng(0))
    right, top = samples.points[:, 0] > 0.5, samples.points[:, 1] > 0.5
    quadrant = np.select([~right & ~top, right & ~top, right & top], [1, 2, 3], 4)
    # The diagonal from corner 0 to corner 2 cuts the square: each triangle knows three of the four corners.
    assert (samples.labels == quadrant).mean() > 0.95


def test_nothing_predicted():
    scores = compare(Mesh.empty(), ROOM)
    assert tuple(scores) == MESH_SCORES
    assert scores["accuracy_m"] is None
    assert scores["f_5cm"] == scores["recall_5cm"] == 0.0


def test_a_truth_that_nobody_sees_or_that_is_none_is_refused():
    with pytest.raises(TruthError, match="no frame sees any"):
        compare(ROOM, ROOM, is_visible=lambda points, normals: np.zeros(len(points), bool))
    with pytest.raises(TruthError, match="has no surface"):
        compare(ROOM, Mesh.empty())


def test_the_same_seed_gives_the_same_numbers():
    noisy = replace(ROOM, vertices=ROOM.vertices + 0.03)
    assert compare(noisy, ROOM) == compare(noisy, ROOM)


def doubled(offset: float, *, up: bool = True, share: float = 0.3) -> Mesh:
    """A unit sheet and a copy of the left `share` of it, `offset` metres above."""
    return concatenate([sheet(0.0), sheet(offset, (0.0, share), up=up)])


def rate(predicted: Mesh, truth: Mesh) -> float:
    return double_wall_rate(predicted, truth, np.random.default_rng(0), samples=20000)


def test_double_wall_by_hand():
    # 1.3 square metres of surface, of which the copy and what it covers, 0.6, are doubled.
    assert rate(doubled(0.1), sheet(0.0)) == pytest.approx(0.6 / 1.3, abs=0.005)
    assert rate(doubled(-0.2), sheet(0.0)) == pytest.approx(0.6 / 1.3, abs=0.005)


@pytest.mark.parametrize("offset", [0.04, 0.31])
def test_sheets_too_near_or_too_far_are_no_double_wall(offset):
    assert rate(doubled(offset), sheet(0.0)) == 0.0


def test_the_two_faces_of_a_wall_are_no_double_wall():
    assert rate(doubled(0.1, up=False), sheet(0.0)) == 0.0
    assert rate(box_mesh((3, 0.12, 2.5)), box_mesh((3, 0.12, 2.5))) == 0.0


def test_sheets_that_the_truth_has_too_are_no_double_wall():
    assert rate(doubled(0.1), doubled(0.1)) == 0.0
    assert rate(doubled(0.1), doubled(0.13)) == 0.0  # also when the map is a little off
    shelves = concatenate([sheet(0.25 * i) for i in range(5)])
    assert rate(shelves, shelves) == 0.0
    # A sixth board at 0.62 doubles itself and its neighbours at 0.5 and 0.75; the others have as many near them as before.
    assert rate(concatenate([shelves, sheet(0.62)]), shelves) == pytest.approx(0.5, abs=0.005)


def test_a_wrong_place_alone_is_no_double_wall():
    assert rate(sheet(0.15), sheet(0.0)) == 0.0
    assert rate(sheet(0.0), Mesh.empty()) == 0.0
    assert rate(Mesh.empty(), sheet(0.0)) == 0.0


def test_three_sheets_count_once_each():
    three = concatenate([sheet(0.0), sheet(0.1), sheet(0.2)])
    assert rate(three, sheet(0.0)) == 1.0


def test_double_walls_do_not_depend_on_where_the_map_is():
    T = random_se3(np.random.default_rng(4))
    assert rate(doubled(0.1).transformed(T), sheet(0.0).transformed(T)) == pytest.approx(0.6 / 1.3, abs=0.005)


def test_a_rough_surface_is_one_sheet():
    ball = sphere_mesh(1.0, subdivisions=4)
    noise = np.random.default_rng(0).normal(scale=0.004, size=(len(ball.vertices), 1))
    rough = replace(ball, vertices=ball.vertices * (1 + noise))
    assert rate(rough, ball) < 0.01


def test_harmonic_mean():
    assert harmonic_mean(0.0, 0.0) == 0.0
    assert harmonic_mean(1.0, 0.5) == pytest.approx(2 / 3)


@pytest.mark.parametrize(("second", "share"), [(None, 0), (0.03, 0), (0.12, 2 / 3), (0.4, 0)])
def test_doubled_surface_is_seen_without_truth(second, share):
    wide, rng = sheet(0.0, (0.0, 2.0)), np.random.default_rng(0)
    mesh = wide if second is None else concatenate([wide, sheet(second)])
    assert doubled_share(mesh, rng, samples=20000) == pytest.approx(share, abs=0.01)


def test_two_sides_of_a_wall_are_not_doubled_and_nothing_is_nothing():
    rng = np.random.default_rng(0)
    assert doubled_share(concatenate([sheet(0.1), sheet(0.0, up=False)]), rng, samples=2000) == 0
    empty = Mesh(np.zeros((0, 3)), np.zeros((0, 3), np.int32))
    assert (doubled_share(empty, rng), rim_per_area(empty)) == (0, 0)


def test_rim_is_the_open_edge():
    assert rim_per_area(ROOM) == 0
    assert rim_per_area(sheet(0.0, (0.0, 0.5))) == pytest.approx(2 * 1.5 / 0.5)
