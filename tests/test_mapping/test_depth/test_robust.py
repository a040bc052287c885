"""Scales of depth maps, one by one and over a sequence: exact recovery, and what outliers may not do."""

import numpy as np
import pytest

from mapping.depth.robust import (
    AlignmentError,
    PairRatio,
    align_scale,
    align_scale_shift,
    pair_ratio,
    solve_scales,
    weighted_median,
)


@pytest.fixture
def depth():
    rng = np.random.default_rng(3)
    return rng.uniform(0.8, 5.0, size=(40, 60)).astype(np.float32)


def test_scale_is_recovered_and_applied(depth):
    found = align_scale(depth, depth * np.float32(1.25))
    assert found.scale == pytest.approx(1.25, rel=1e-6)
    assert found.pixels == depth.size
    np.testing.assert_allclose(found(depth), depth * 1.25, rtol=1e-5)


def test_two_fifths_of_wrong_pixels_do_not_move_the_scale(depth):
    rng = np.random.default_rng(0)
    reference = depth * 0.9
    wrong = rng.random(depth.shape) < 0.4
    reference[wrong] *= rng.uniform(1.5, 3.0, wrong.sum()).astype(np.float32)
    noisy = reference * np.exp(rng.normal(0, 0.01, depth.shape)).astype(np.float32)
    assert align_scale(depth, noisy).scale == pytest.approx(0.9, rel=0.02)


def test_unknown_pixels_and_those_without_weight_do_not_count(depth):
    reference = depth * np.float32(2)
    reference[:10] = 0
    reference[10:20] = np.nan
    weight = np.ones_like(depth)
    weight[20:30], reference[20:30] = 0, 99
    found = align_scale(depth, reference, weight)
    assert found.scale == pytest.approx(2.0)
    assert found.pixels == 10 * 60


def test_too_few_shared_pixels_give_nothing(depth):
    reference = np.zeros_like(depth)
    reference[0, :49] = 1
    assert align_scale(depth, reference) is None
    assert align_scale_shift(depth, reference) is None


def test_scale_and_shift_are_recovered_among_outliers(depth):
    rng = np.random.default_rng(1)
    truth = 1 / (0.8 / depth + 0.05)  # scale 1.25, shift 0.05
    reference = truth.astype(np.float32)
    wrong = rng.random(depth.shape) < 0.3
    reference[wrong] = rng.uniform(0.5, 8, wrong.sum())
    found = align_scale_shift(depth, reference)
    assert found.scale == pytest.approx(1.25, rel=1e-3)
    assert found.shift == pytest.approx(0.05, abs=1e-3)
    np.testing.assert_allclose(found(depth), truth, rtol=2e-3)


def test_a_flat_wall_has_no_shift():
    wall = np.full((20, 20), 2.0, np.float32)
    found = align_scale_shift(wall, wall * 1.5)
    assert (found.scale, found.shift) == (pytest.approx(1.5), 0.0)


def test_correction_keeps_the_unknown_unknown(depth):
    depth = depth.copy()
    depth[0] = 0
    found = align_scale(depth, depth * 2)
    assert not found(depth)[0].any()
    assert found(depth).dtype == np.float32


def test_spread_is_the_deviation_of_the_error(depth):
    rng = np.random.default_rng(2)
    reference = (depth * np.exp(rng.normal(0, 0.03, depth.shape))).astype(np.float32)
    assert align_scale(depth, reference).spread == pytest.approx(0.03, rel=0.1)


def test_images_of_other_shapes_are_rejected(depth):
    with pytest.raises(AlignmentError, match="reference must have shape"):
        align_scale(depth, depth[:5])
    with pytest.raises(AlignmentError, match="weight must have shape"):
        align_scale(depth, depth, depth[:5])


def test_weighted_median_by_hand():
    assert weighted_median(np.array([1.0, 2.0, 10.0]), np.array([1.0, 1.0, 3.0])) == 10.0
    assert weighted_median(np.array([3.0, 1.0, 2.0]), np.ones(3)) == 2.0
    assert weighted_median(np.array([1.0, 2.0]), np.ones(2)) == 1.5
    with pytest.raises(AlignmentError, match="positive weight"):
        weighted_median(np.zeros(0), np.zeros(0))


def sequence(rng, count=40, noise=0.002):
    """Log scales that each frame needs, and the ratios that overlaps with the next four frames show."""
    logs = rng.normal(0, 0.05, count)
    logs -= np.median(logs)
    # Depth times scale is the same in both: first / second = exp(s_second - s_first).
    pairs = [
        PairRatio(i, j, logs[j] - logs[i] + rng.normal(0, noise), noise)
        for i in range(count)
        for j in range(i + 1, min(i + 5, count))
    ]
    return logs, pairs


def test_scales_of_a_sequence_are_recovered():
    logs, pairs = sequence(np.random.default_rng(5))
    solved = solve_scales(len(logs), pairs)
    np.testing.assert_allclose(np.log(solved.scales), logs, atol=0.01)
    assert np.median(np.log(solved.scales)) == pytest.approx(0, abs=1e-12)
    assert np.nanmax(solved.spread) < 0.006
    assert not solved.groups.any()


def test_wrong_overlaps_are_found_and_given_no_weight():
    rng = np.random.default_rng(6)
    logs, pairs = sequence(rng)
    wrong = set(rng.choice(len(pairs), 20, replace=False).tolist())
    spoiled = [
        PairRatio(p.first, p.second, p.log_ratio + rng.choice([-0.4, 0.5]), p.spread) if i in wrong else p
        for i, p in enumerate(pairs)
    ]
    solved = solve_scales(len(logs), spoiled)
    np.testing.assert_allclose(np.log(solved.scales), logs, atol=0.015)
    assert {spoiled[i] for i in wrong} <= set(solved.contradicted)
    assert len(solved.contradicted) <= 25


def test_no_frame_is_the_reference_by_accident():
    """Numbering the frames the other way round gives the same scales."""
    logs, pairs = sequence(np.random.default_rng(7))
    last = len(logs) - 1
    turned = [PairRatio(last - p.second, last - p.first, -p.log_ratio, p.spread) for p in reversed(pairs)]
    np.testing.assert_allclose(
        solve_scales(len(logs), turned).scales[::-1], solve_scales(len(logs), pairs).scales, atol=1e-6
    )


def test_frames_of_another_scale_are_reported():
    rng = np.random.default_rng(8)
    count, odd = 30, (4, 17)
    logs = rng.normal(0, 0.01, count)
    logs[list(odd)] += 0.4
    pairs = [PairRatio(i, j, logs[j] - logs[i], 0.01) for i in range(count) for j in range(i + 1, min(i + 4, count))]
    assert solve_scales(count, pairs).outliers == odd


def test_pieces_without_a_link_have_their_own_scale():
    pairs = [PairRatio(0, 1, 0.2), PairRatio(1, 2, 0.2), PairRatio(3, 4, -0.1), PairRatio(4, 5, -0.1)]
    solved = solve_scales(7, pairs)
    assert solved.groups.tolist() == [0, 0, 0, 1, 1, 1, 2]
    np.testing.assert_allclose(np.log(solved.scales), [-0.2, 0, 0.2, 0.1, 0, -0.1, 0], atol=1e-6)
    assert np.isnan(solved.spread[6])


def test_a_prior_holds_the_scales_near_one():
    pairs = [PairRatio(0, 1, 0.4, 0.1)]
    solved = solve_scales(2, pairs, prior_deviation=0.1)
    # Minimum of (a + 0.4 - b)^2 + a^2 + b^2: a = -0.4 / 3, b = 0.4 / 3.
    np.testing.assert_allclose(np.log(solved.scales), [-0.4 / 3, 0.4 / 3], atol=0.05)
    assert abs(np.log(solved.scales)).max() < 0.2


def test_pair_ratio_of_two_depths(depth):
    pair = pair_ratio(2, 5, depth * np.float32(1.1), depth)
    assert (pair.first, pair.second) == (2, 5)
    assert pair.log_ratio == pytest.approx(np.log(1.1), abs=1e-5)
    assert pair_ratio(0, 1, depth, np.zeros_like(depth)) is None


def test_scales_undo_what_was_done_to_the_depths(depth):
    factors = np.array([0.9, 1.0, 1.2])
    depths = [depth * np.float32(f) for f in factors]
    pairs = [pair_ratio(i, j, depths[i], depths[j]) for i, j in ((0, 1), (1, 2), (0, 2))]
    corrected = solve_scales(3, pairs).scales * factors
    np.testing.assert_allclose(corrected, corrected[0], rtol=1e-5)


def test_no_pairs_change_nothing():
    assert solve_scales(3, []).scales.tolist() == [1, 1, 1]
    assert solve_scales(0, []).scales.shape == (0,)


@pytest.mark.parametrize(
    ("pair", "message"),
    [
        (PairRatio(0, 3, 0.1), "second must be a frame"),
        (PairRatio(-1, 1, 0.1), "first must be a frame"),
        (PairRatio(1, 1, 0.1), "two frames"),
        (PairRatio(0, 1, np.nan), "log_ratio"),
        (PairRatio(0, 1, 0.1, 0.0), "spread"),
    ],
)
def test_pairs_that_say_nothing_are_rejected(pair, message):
    with pytest.raises(AlignmentError, match=message):
        solve_scales(3, [pair])
