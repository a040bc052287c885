"""The steps of the plane sweep, each against a hand-computed case, an oracle or a law."""

import numpy as np
import pytest
import torch

from mapping.camera import Intrinsics
from mapping.multiview.consistency import FAR_POWER, agreement, distance_confidence, joint_confidence, speckles
from mapping.multiview.cost import NEUTRAL, box_mean, make_warp, matching_costs, mean_of_best, sample
from mapping.multiview.paths import aggregate
from mapping.multiview.refine import cheapest, enlarge, slopes_from_normals, smooth
from mapping.se3 import inverse, look_at, transform_points

CAMERA = Intrinsics(60.0, 62.0, 23.5, 15.5, 48, 32)


def warp_between(T_world_a, T_world_b):
    K = torch.tensor(CAMERA.matrix, dtype=torch.float64)
    T_b_a = torch.tensor(inverse(T_world_b) @ T_world_a)
    return make_warp(K[None], K[None, None], T_b_a[None, None], (CAMERA.height, CAMERA.width)), T_b_a.numpy()


def test_warp_is_projection():
    rng = np.random.default_rng(0)
    warp, T_b_a = warp_between(look_at((0, 0, 0), (3, 0.2, 0)), look_at((0.1, 0.3, 0.1), (3, 0, 0.1)))
    depth = rng.uniform(1, 5, (32, 48))
    u, v = warp(torch.tensor(1 / depth)[None, None])
    expected = CAMERA.project(transform_points(T_b_a, CAMERA.rays() * depth[..., None]))
    np.testing.assert_allclose(np.stack([u[0, 0, 0], v[0, 0, 0]], -1), expected, atol=1e-8)


def test_what_lies_behind_a_camera_is_outside_of_it():
    warp, _ = warp_between(look_at((0, 0, 0), (3, 0, 0)), look_at((2, 0, 0), (3, 0, 0)))
    u, v = warp(torch.ones(1, 1, 32, 48, dtype=torch.float64))
    _, inside = sample(torch.zeros(1, 1, 32, 48, dtype=torch.float64), u, v)
    assert not inside.any()


def test_box_mean_repeats_the_border():
    image = np.random.default_rng(1).normal(size=(7, 9))
    padded = np.pad(image, 2, mode="edge")
    expected = [[padded[i : i + 5, j : j + 5].mean() for j in range(9)] for i in range(7)]
    np.testing.assert_allclose(box_mean(torch.tensor(image), 2), expected)


def test_cost_ignores_brightness_and_contrast_and_knows_nothing_without_texture():
    rng = np.random.default_rng(2)
    image = torch.tensor(rng.uniform(size=(1, 32, 48)))
    warp, _ = warp_between(np.eye(4), np.eye(4))
    others = torch.stack([0.3 + 0.5 * image[0], 1 - image[0], torch.full((32, 48), 0.5, dtype=torch.float64)])[None]
    warps = type(warp)(warp.slope.expand(1, 3, 3, 32, 48), warp.offset.expand(1, 3, 3, 1, 1))
    costs, inside = matching_costs(image, others, warps, torch.full((1, 1, 1, 1), 0.5, dtype=torch.float64), (2,))
    assert inside.all()
    same, inverted, blank = costs[0, :, 0]
    assert same.max() < 0.02
    assert inverted.min() > 0.98
    np.testing.assert_allclose(blank, NEUTRAL, atol=1e-6)


def test_mean_of_the_best_by_hand():
    costs = torch.tensor([0.4, 0.1, 0.9, 0.2]).reshape(1, 4, 1, 1, 1)
    seen = torch.ones_like(costs, dtype=torch.bool)
    assert mean_of_best(costs, seen, 0.5).item() == pytest.approx(0.15)
    assert mean_of_best(costs, seen, 0.75).item() == pytest.approx(0.7 / 3)
    assert mean_of_best(costs, seen, 1.0).item() == pytest.approx(0.4)
    seen[0, 1] = False
    assert mean_of_best(costs, seen, 0.5).item() == pytest.approx(0.3)
    assert mean_of_best(costs, seen, 1.0).item() == pytest.approx(0.5)
    assert mean_of_best(costs, torch.zeros_like(seen), 0.5).item() == NEUTRAL


def paths_by_hand(cost, image, small, jump, contrast):
    """Semi-global matching, pixel by pixel."""
    _, height, width = cost.shape
    total = np.zeros_like(cost)
    steps = [(0, 1), (0, -1), *[(s, t) for s in (1, -1) for t in (-1, 0, 1)]]
    for dv, du in steps:
        path = np.zeros_like(cost)
        for v in range(height)[:: dv or 1]:
            for u in range(width)[:: du or 1]:
                pv, pu = v - dv, u - du
                if dv:  # diagonal paths come in at the border from the pixel above or below
                    pu = min(max(pu, 0), width - 1)
                path[:, v, u] = cost[:, v, u]
                if not (0 <= pv < height and 0 <= pu < width):
                    continue
                before = path[:, pv, pu]
                large = max(small, jump / (1 + abs(image[v, u] - image[pv, pu]) / contrast))
                neighbouring = np.minimum(np.append(before[1:], 1e9), np.insert(before[:-1], 0, 1e9)) + small
                path[:, v, u] += np.minimum(np.minimum(before, neighbouring), before.min() + large) - before.min()
        total += path
    return total / 8


def test_paths_agree_with_the_slow_reference():
    rng = np.random.default_rng(3)
    cost, image = rng.uniform(size=(6, 5, 7)), rng.uniform(size=(5, 7))
    found = aggregate(torch.tensor(cost)[None], torch.tensor(image)[None], 0.1, 0.5, 0.2)
    np.testing.assert_allclose(found[0], paths_by_hand(cost, image, 0.1, 0.5, 0.2), rtol=1e-9)


def test_the_vertex_of_a_parabola_is_found_exactly():
    truth = torch.tensor([[3.3, 7.8, 0.0, 11.0]])
    planes = torch.arange(12.0)[None, :, None, None]
    index, distinct = cheapest((planes - truth[:, None, None]) ** 2)
    np.testing.assert_allclose(index[0, 0], truth[0], atol=1e-5)
    assert (distinct > 0).all()


def test_two_equal_answers_do_not_stand_out():
    cost = torch.ones(1, 20, 1, 1)
    cost[0, 3], cost[0, 15] = 0, 0
    assert cheapest(cost)[1].item() == 0
    cost[0, 15] = 1
    assert cheapest(cost)[1].item() == pytest.approx(1, abs=0.1)


def test_smoothing_leaves_planes_and_removes_noise():
    v, u = torch.meshgrid(torch.arange(32.0), torch.arange(48.0), indexing="ij")
    plane = (0.4 + 0.003 * u - 0.002 * v)[None]
    flat, weight = torch.zeros_like(plane), torch.ones_like(plane)
    inner = (slice(None), slice(8, -8), slice(8, -8))
    np.testing.assert_allclose(smooth(plane, None, weight, flat, 0.03, 3)[inner], plane[inner], atol=1e-5)
    noisy = plane + 0.003 * torch.tensor(np.random.default_rng(4).normal(size=plane.shape), dtype=torch.float32)
    left = (smooth(noisy, None, weight, flat, 0.03, 3) - plane)[inner].std()
    assert left < 0.4 * (noisy - plane)[inner].std()


def test_smoothing_stops_at_jumps():
    step = torch.full((1, 16, 16), 0.3)
    step[..., 8:] = 0.6
    smoothed = smooth(step, None, torch.ones_like(step), torch.zeros_like(step), 0.03, 3)
    np.testing.assert_allclose(smoothed, step, atol=0.01)


def test_slopes_of_planes_follow_from_their_normals():
    normal = np.array([0.3, -0.2, -1.0]) / np.linalg.norm([0.3, -0.2, -1.0])
    rays = CAMERA.rays()
    w = (rays @ normal) / -2.0  # the plane normal . X = -2
    normals = torch.tensor(np.broadcast_to(normal, rays.shape).copy()).permute(2, 0, 1)[None]
    normals[0, :, 0, 0] = 0
    focal = torch.tensor([[CAMERA.fx, CAMERA.fy]])
    slopes = slopes_from_normals(torch.tensor(w)[None], normals, torch.tensor(rays).permute(2, 0, 1)[None], focal)
    assert slopes[0, :, 0, 0].isnan().all()
    np.testing.assert_allclose(slopes[0, 0, 1:-1, 1:-1], np.gradient(w, axis=1)[1:-1, 1:-1], atol=1e-6)
    np.testing.assert_allclose(slopes[0, 1, 1:-1, 1:-1], np.gradient(w, axis=0)[1:-1, 1:-1], atol=1e-6)


def test_enlarging_keeps_jumps_sharp():
    step = torch.full((1, 4, 4), 0.3)
    step[..., 2:] = 0.9
    assert set(np.unique(enlarge(step, (8, 8), 0.05).numpy().round(5))) == {np.float32(0.3), np.float32(0.9)}


def plane_depths(T_a, T_b, x):
    """Depths of the plane at `x` along the world's x axis, seen from two cameras."""
    found = []
    for T in (T_a, T_b):
        rays = CAMERA.rays() @ T[:3, :3].T
        found.append(torch.tensor((x - T[0, 3]) / rays[..., 0])[None])
    return found


def test_frames_agree_on_a_plane_and_deny_what_stands_before_it():
    T_a, T_b = look_at((0, 0, 0), (3, 0, 0)), look_at((0.3, 0.2, 0), (3, 0.1, 0))
    warp, _ = warp_between(T_a, T_b)
    depth_a, depth_b = plane_depths(T_a, T_b, 3.0)
    ones = torch.ones_like(depth_a)
    middle = (0, slice(8, -8), slice(12, -12))
    own = agreement(1 / depth_a, ones, 1 / depth_b[None], ones[None], warp, 0.02)
    assert (own.agreeing[middle] == 1).all()
    assert not own.contradicting[middle].any()
    np.testing.assert_allclose(own.inverse[middle], 1 / depth_a[middle], rtol=0.02)
    before = agreement(1.25 / depth_a, ones, 1 / depth_b[None], ones[None], warp, 0.02)
    assert not before.agreeing[middle].any()
    assert (before.contradicting[middle] == 1).all()
    behind = agreement(0.8 / depth_a, ones, 1 / depth_b[None], ones[None], warp, 0.02)
    assert not behind.agreeing[middle].any()
    assert not behind.contradicting[middle].any()
    unknown = agreement(1 / depth_a, ones, torch.zeros_like(depth_b)[None], ones[None], warp, 0.02)
    assert not unknown.agreeing.any()


def test_belief_grows_with_agreement_and_needs_enough_of_it():
    T = look_at((0, 0, 0), (3, 0, 0))
    warp, _ = warp_between(T, T)
    depth = plane_depths(T, T, 3.0)[0]
    confidence = torch.full_like(depth, 0.5)
    two = type(warp)(warp.slope.expand(1, 2, 3, 32, 48), warp.offset.expand(1, 2, 3, 1, 1))
    others = torch.stack([1 / depth[0], 1 / depth[0]])[None]
    one_of_two = torch.stack([1 / depth[0], torch.zeros_like(depth[0])])[None]
    both = agreement(1 / depth, confidence, others, torch.ones_like(others), two, 0.02)
    single = agreement(1 / depth, confidence, one_of_two, torch.ones_like(others), two, 0.02)
    assert (joint_confidence(confidence, both, 1, 2) > joint_confidence(confidence, single, 1, 2)).all()
    assert not joint_confidence(confidence, single, 2, 2).any()
    assert joint_confidence(confidence, both, 2, 2).max() <= 1
    np.testing.assert_allclose(
        joint_confidence(confidence, both, 2, 8), 0.8 * 0.4**2 * 0.75
    )  # two of the five that are enough


def test_small_patches_are_speckles():
    depth = np.zeros((30, 40), np.float32)
    depth[5:25, 5:35] = 2.0
    depth[10:13, 10:13] = 3.0  # nine pixels behind
    depth[0:2, 0:2] = 2.0  # four pixels alone
    found = speckles(depth, 10, 0.05)
    assert found.sum() == 13
    assert found[10:13, 10:13].all()
    assert found[0:2, 0:2].all()
    assert not speckles(depth, 0, 0.05).any()
    assert not speckles(np.zeros((4, 4), np.float32), 10, 0.05).any()


def test_what_lies_beyond_the_typical_depth_has_less_confidence():
    inverse = np.array([[0.0, 1.0, 0.5, 0.25]], np.float32)
    factor = distance_confidence(inverse, 2.0)
    assert np.allclose(factor, [[0, 1, 1, 0.5**FAR_POWER]])
    assert np.allclose(distance_confidence(inverse / 100, 200.0), factor)  # whatever unit the poses are in
    assert (distance_confidence(inverse, None) == 1).all()
