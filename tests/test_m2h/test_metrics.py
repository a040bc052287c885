"""Task metrics against numbers by hand and against independent implementations."""

from __future__ import annotations

import networkx as nx
import numpy as np
import pytest
from scipy.ndimage import gaussian_filter
from skimage.morphology import thin as skimage_thin

from m2h._edge_matching import EdgeMatcher, suppress_non_maxima, thin
from m2h.metrics import DepthMetrics, EdgeMetrics, NormalMetrics, SegmentationMetrics

MAKERS = (DepthMetrics, lambda: SegmentationMetrics(5), NormalMetrics, lambda: EdgeMetrics(thresholds=9))


def example(index: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """A prediction and a truth of the right kind for the metric of that index."""
    if index == 0:
        return rng.uniform(0.5, 5, (30, 40)), rng.uniform(0.5, 5, (30, 40)) * (rng.random((30, 40)) > 0.2)
    if index == 1:
        return rng.integers(0, 6, (30, 40)), rng.integers(0, 6, (30, 40))
    if index == 2:
        return rng.normal(size=(30, 40, 3)), rng.normal(size=(30, 40, 3))
    truth = gaussian_filter(rng.normal(size=(40, 50)), 4) > 0
    truth ^= np.roll(truth, 1, axis=1)
    return np.clip(gaussian_filter(truth.astype(float), 1) * 2 + rng.normal(scale=0.05, size=truth.shape), 0, 1), truth


@pytest.mark.parametrize("index", range(4))
def test_nothing_seen_gives_no_number(index):
    scores = MAKERS[index]().compute()
    assert scores
    assert set(scores.values()) == {None}


@pytest.mark.parametrize("index", range(4))
def test_two_updates_are_one_of_both_images_and_order_does_not_matter(index):
    rng = np.random.default_rng(0)
    pairs = [example(index, rng) for _ in range(3)]
    forward, backward = MAKERS[index](), MAKERS[index]()
    for pair in pairs:
        forward.update(*pair)
    for pair in pairs[::-1]:
        backward.update(*pair)
    assert forward.compute() == pytest.approx(backward.compute())
    if index != 3:  # for edges a seam between images would make new neighbours
        together = MAKERS[index]()
        together.update(*(np.concatenate(images) for images in zip(*pairs, strict=True)))
        assert forward.compute() == pytest.approx(together.compute())


@pytest.mark.parametrize("index", range(4))
def test_wrong_shapes_are_refused(index):
    predicted, truth = example(index, np.random.default_rng(0))
    with pytest.raises(ValueError, match="must have the shape of the truth"):
        MAKERS[index]().update(predicted[:-1], truth)


@pytest.mark.parametrize("index", range(3))
def test_pixels_outside_of_valid_do_not_count(index):
    predicted, truth = example(index, np.random.default_rng(0))
    valid = np.zeros(truth.shape[:2], bool)
    valid[5:20, 3:30] = True
    masked, cropped = MAKERS[index](), MAKERS[index]()
    masked.update(predicted, truth, valid)
    cropped.update(predicted[5:20, 3:30], truth[5:20, 3:30])
    assert masked.compute() == pytest.approx(cropped.compute())


def test_depth_by_hand():
    metrics = DepthMetrics()
    metrics.update([[1.0, 2.0, 6.0], [9.0, 1.0, 0.0]], [[1.0, 4.0, 4.0], [0.0, 1.0, 0.0]])
    scores = metrics.compute()
    assert scores["rmse"] == pytest.approx(np.sqrt((0 + 4 + 4 + 0) / 4))
    assert scores["abs_rel"] == pytest.approx((0 + 0.5 + 0.5 + 0) / 4)
    # Ratios 1, 2, 1.5, 1; the limits are 1.25, 1.5625 and 1.953.
    assert (scores["delta_1"], scores["delta_2"], scores["delta_3"]) == (0.5, 0.75, 0.75)
    d = np.array([0, np.log(0.5), np.log(1.5), 0])
    assert scores["silog"] == pytest.approx(np.std(d))
    assert scores["log10"] == pytest.approx(np.abs(d / np.log(10)).mean())


def test_depth_of_another_scale_has_no_silog_error():
    metrics = DepthMetrics()
    truth = np.random.default_rng(0).uniform(0.5, 5, (20, 20))
    metrics.update(truth * 1.3, truth)
    scores = metrics.compute()
    assert scores["silog"] == pytest.approx(0, abs=1e-7)
    assert scores["abs_rel"] == pytest.approx(0.3)


@pytest.mark.parametrize("bad", [0.0, -1.0, np.nan, np.inf])
def test_depth_that_is_none_counts_as_nothing_at_all(bad):
    metrics = DepthMetrics()
    metrics.update([[bad]], [[2.0]])
    scores = metrics.compute()
    assert scores["rmse"] == pytest.approx(2.0, abs=1e-3)
    assert scores["delta_3"] == 0.0
    assert np.isfinite(scores["log10"])


def test_segmentation_by_hand():
    metrics = SegmentationMetrics(4)
    metrics.update(np.array([[1, 1, 2, 0], [2, 2, 4, 3]]), np.array([[1, 1, 1, 1], [2, 2, 2, 0]]))
    scores = metrics.compute()
    # Class 1: 2 of 4, one pixel given to 2: IoU 2 / 4. Class 2: 2 right, one given to 4, one taken from 1: 2 / 4.
    assert metrics.iou()[1:3].tolist() == [0.5, 0.5]
    assert np.isnan(metrics.iou()[[0, 3, 4]]).all()
    assert scores["miou"] == 0.5
    assert scores["mean_accuracy"] == pytest.approx((2 / 4 + 2 / 3) / 2)
    assert scores["pixel_accuracy"] == pytest.approx(4 / 7)


def test_segmentation_against_sets():
    rng = np.random.default_rng(0)
    predicted, truth = example(1, rng)
    metrics = SegmentationMetrics(5)
    metrics.update(predicted, truth)
    known = truth > 0
    for label in range(1, 6):
        p, t = (predicted == label) & known, truth == label
        assert metrics.iou()[label] == pytest.approx((p & t).sum() / (p | t).sum())


def test_segmentation_refuses_labels_out_of_range():
    with pytest.raises(ValueError, match=r"predicted labels must be in 0\.\.4, got 1\.\.9"):
        SegmentationMetrics(4).update(np.array([1, 9]), np.array([1, 1]))
    with pytest.raises(ValueError, match="true labels"):
        SegmentationMetrics(4).update(np.array([1, 1]), np.array([1, 5]))
    with pytest.raises(ValueError, match="class_count"):
        SegmentationMetrics(0)


def turned(angles_deg: list[float]) -> np.ndarray:
    a = np.deg2rad(angles_deg)
    return np.stack([np.sin(a), np.zeros_like(a), -np.cos(a)], axis=-1)[None]


def test_normals_by_hand():
    angles = [0.0, 10.0, 20.0, 29.0, 100.0]
    metrics = NormalMetrics()
    metrics.update(3.0 * turned(angles), turned([0.0] * 5))
    scores = metrics.compute()
    assert scores["normal_mean_deg"] == pytest.approx(np.mean(angles))
    assert scores["normal_median_deg"] == pytest.approx(20.0, abs=0.01)
    assert [scores[f"normal_{limit}"] for limit in ("11_25", "22_5", "30")] == pytest.approx([0.4, 0.6, 0.8])


def test_normals_unknown_and_opposite():
    metrics = NormalMetrics()
    truth = np.array([[[0, 0, -1.0], [0, 0, 0], [0, 0, -1.0]]])
    metrics.update(np.array([[[0, 0, 1.0], [1.0, 0, 0], [0, 0, 0]]]), truth)
    assert metrics.compute()["normal_mean_deg"] == pytest.approx((180 + 90) / 2)


def test_tiny_angles_are_exact():
    metrics = NormalMetrics()
    metrics.update(turned([1e-6]), turned([0.0]))
    assert metrics.compute()["normal_mean_deg"] == pytest.approx(1e-6, rel=1e-6)


@pytest.mark.parametrize("seed", range(6))
def test_thinning_is_that_of_scikit_image(seed):
    rng = np.random.default_rng(seed)
    for mask in (gaussian_filter(rng.normal(size=(60, 70)), 1 + seed) > 0.05, rng.random((50, 40)) < 0.15 * (seed + 1)):
        np.testing.assert_array_equal(thin(mask), skimage_thin(mask))


def brute_force_matches(predicted: np.ndarray, truth: np.ndarray, max_distance: float) -> int:
    graph = nx.Graph()
    left, right = np.argwhere(predicted), np.argwhere(truth)
    graph.add_nodes_from(("p", i) for i in range(len(left)))
    near = np.linalg.norm(left[:, None] - right, axis=-1) <= max_distance
    graph.add_edges_from((("p", i), ("t", j)) for i, j in np.argwhere(near).tolist())
    return len(nx.bipartite.maximum_matching(graph, top_nodes=[("p", i) for i in range(len(left))])) // 2


@pytest.mark.parametrize("seed", range(8))
def test_matching_is_the_largest(seed):
    rng = np.random.default_rng(seed)
    density = 0.02 + 0.03 * seed
    truth = rng.random((35, 41)) < density
    distance = [0.5, 1.0, 1.5, 2.3, 3.0, 4.1, 5.0, 2.0][seed]
    matcher = EdgeMatcher(truth, distance)
    predicted = rng.random(truth.shape) < 0.02
    for _ in range(4):  # a growing series, as of falling thresholds, with some pixels lost on the way
        assert matcher.count(predicted) == brute_force_matches(predicted, truth, distance)
        predicted = (predicted & (rng.random(truth.shape) < 0.8)) | (rng.random(truth.shape) < density)


def test_matching_by_hand():
    truth = np.zeros((9, 9), bool)
    truth[4, [3, 4]] = True
    predicted = np.zeros((9, 9), bool)
    predicted[4, [4, 5]] = True
    # Greedily 4 takes 4 and 5 is left with nothing within 1; moving 4 to 3 makes room.
    assert EdgeMatcher(truth, 1.0).count(predicted) == 2
    assert EdgeMatcher(truth, 0.0).count(predicted) == 1
    assert EdgeMatcher(truth, 2.0).count(np.ones((9, 9), bool)) == 2  # one to one: many predictions, two pairs
    assert EdgeMatcher(np.zeros((9, 9), bool), 2.0).count(predicted) == 0
    assert EdgeMatcher(truth, 2.0).count(np.zeros((9, 9), bool)) == 0


@pytest.mark.parametrize("angle_deg", [0, 20, 45, 70, 90, 135])
def test_suppression_keeps_the_crest_of_a_blurred_line(angle_deg):
    a = np.deg2rad(angle_deg)
    v, u = np.mgrid[-30:31, -30:31]
    across = u * -np.sin(a) + v * np.cos(a)
    kept = suppress_non_maxima(np.exp(-(across**2) / 8)) > 0
    inner = (np.abs(u) < 22) & (np.abs(v) < 22)
    assert kept[inner & (np.abs(across) < 0.5)].all()
    assert not kept[inner & (np.abs(across) > 1.5)].any()


def test_suppression_fades_at_the_border():
    strength = suppress_non_maxima(np.ones((20, 20)))
    np.testing.assert_allclose(strength[10, :7], [0, 0.2, 0.4, 0.6, 0.8, 1, 1])


def line_image(column: int) -> np.ndarray:
    image = np.zeros((100, 100))
    image[10:90, column] = 1.0
    return image


def test_edges_by_hand():
    # The diagonal is 141 pixels, 1.1 % of it 1.56: one column off still matches, two do not.
    for shift, f in ((0, 1.0), (1, 1.0), (2, 0.0)):
        metrics = EdgeMetrics(thresholds=9)
        metrics.update(0.6 * line_image(50 + shift), line_image(50))
        scores = metrics.compute()
        assert scores["edge_ods_f"] == pytest.approx(f, abs=1e-9)
    metrics = EdgeMetrics(thresholds=9)
    metrics.update(0.6 * line_image(30) + 0.3 * line_image(70), line_image(30))
    scores = metrics.compute()
    assert scores["edge_ods_f"] == 1.0
    assert 0.3 < scores["edge_ods_threshold"] <= 0.6
    thresholds, precision, recall = metrics.curve()
    assert precision[thresholds < 0.3] == pytest.approx(0.5)
    assert recall[thresholds <= 0.6] == pytest.approx(1.0)
    assert recall[thresholds > 0.6] == pytest.approx(0.0)


def test_edge_threshold_is_one_for_the_whole_set():
    # Alone each image has a perfect threshold; together the best is one that suits the longer set of lines.
    metrics = EdgeMetrics(thresholds=9)
    metrics.update(0.9 * line_image(30) + 0.5 * line_image(70), line_image(30))
    metrics.update(0.35 * line_image(30), line_image(30))
    scores = metrics.compute()
    assert scores["edge_ods_f"] == pytest.approx(2 * (2 / 3) / (2 / 3 + 1))  # all at 0.3: 2 of 3 right, nothing missed
    assert scores["edge_ods_recall"] == pytest.approx(1.0)


def test_thick_predictions_are_not_rewarded():
    thick = np.zeros((100, 100))
    thick[10:90, 48:53] = 1.0
    metrics = EdgeMetrics(thresholds=9)
    metrics.update(thick, line_image(50))
    assert metrics.compute()["edge_ods_precision"] > 0.9  # thinned to one line first
    many = EdgeMetrics(thresholds=9)
    many.update(np.clip(line_image(46) + line_image(50) + line_image(54), 0, 1), line_image(50))
    assert many.compute()["edge_ods_precision"] == pytest.approx(1 / 3, abs=0.02)


def test_edges_outside_of_valid_do_not_count():
    metrics = EdgeMetrics(thresholds=9)
    valid = np.zeros((100, 100), bool)
    valid[:, :50] = True
    metrics.update(line_image(30) + line_image(70), line_image(30), valid)
    assert metrics.compute()["edge_ods_f"] == 1.0
