"""The walk of the camera: clearance, speed, rotation and coverage."""

from itertools import pairwise, permutations

import numpy as np
import pytest
from path_coverage import surface_coverage
from scipy.sparse.csgraph import dijkstra
from synth_worlds import at, box_world, cube

from mapping.camera import Intrinsics
from mapping.se3 import is_se3
from pipelines.synth.generate import WorldConfig, generate_world
from pipelines.synth.motion.camera_path import CLEARANCE, CameraPathError, camera_poses, plan_camera
from pipelines.synth.motion.routes import Place, make_navigator, relax, tour
from pipelines.synth.motion.routing import STEPS, best_in_time, travel
from pipelines.synth.motion.viewpoints import YAW_BINS, sweep_arc
from pipelines.synth.rendering.render import Renderer

CAMERA = Intrinsics(256.0, 256.0, 159.5, 119.5, 320, 240)
ROOM_FRAMES = 80


def walk(world, visit=0, seed=0):
    renderer = Renderer(world, visit)
    return renderer, plan_camera(world, visit, renderer.surfaces, renderer.caster, CAMERA, np.random.default_rng(seed))


@pytest.fixture(scope="module")
def apartment():
    world = generate_world(WorldConfig(rooms=3, visits=2, moved=2), 5)
    return world, *walk(world)


def test_the_camera_keeps_its_distance_and_its_pace(apartment):
    _, renderer, path = apartment
    assert renderer.caster.distance(path.eyes).min() >= CLEARANCE
    step = np.diff(path.times)
    speed = np.linalg.norm(np.diff(path.eyes, axis=0), axis=1) / step
    assert speed.max() < 0.95
    assert np.abs(np.diff(path.yaw) / step).max() < np.deg2rad(70)
    assert np.abs(np.diff(path.pitch) / step).max() < np.deg2rad(40)
    assert np.rad2deg([path.pitch.min(), path.pitch.max()]) == pytest.approx([-22, 9], abs=6)
    assert np.abs(path.roll).max() < np.deg2rad(4)


def test_the_camera_is_held_at_eye_height(apartment):
    world, _, path = apartment
    height = path.eyes[:, 2] - world.storeys[0][0]
    assert 1.38 < height.min() < height.max() < 1.72
    assert 0.005 < height.std() < 0.04


def test_every_room_is_entered(apartment):
    world, _, path = apartment
    for room in world.rooms:
        low, high = room.polygon.min(axis=0), room.polygon.max(axis=0)
        inside = ((path.eyes[:, :2] > low) & (path.eyes[:, :2] < high)).all(axis=1)
        assert inside.mean() > 0.1, room.kind


def test_most_of_what_can_be_seen_is_seen(apartment):
    world, renderer, path = apartment
    assert coverage(world, renderer, path) > 0.85


@pytest.mark.slow
@pytest.mark.parametrize(("seed", "rooms", "storeys"), [(1, 4, 1), (2, 6, 1), (3, 1, 1), (4, 3, 2)])
def test_most_of_many_worlds_is_seen(seed, rooms, storeys):
    world = generate_world(WorldConfig(rooms=rooms, storeys=storeys), seed)
    renderer, path = walk(world, seed=seed)
    assert renderer.caster.distance(path.eyes).min() >= CLEARANCE
    assert coverage(world, renderer, path) > 0.85


def coverage(world, renderer, path):
    navigator = make_navigator(world, 0, 0.25)
    eyes = []
    for floor in navigator.floors:
        cells = np.argwhere(floor.free)[::60]
        eyes.append(np.column_stack([floor.points(cells), np.full(len(cells), floor.z + 1.55)]))
    poses = path.poses(path.frame_times(ROOM_FRAMES * len(world.rooms)))
    return surface_coverage(renderer.surfaces, np.concatenate(eyes), CAMERA, poses, np.random.default_rng(0))


def test_coverage_counts_only_what_is_seen():
    world = box_world((4.0, 4.0, 2.5))
    surfaces = Renderer(world, 0).surfaces
    eyes = np.array([[2.0, 2.0, 1.5]])
    nothing = surface_coverage(surfaces, eyes, CAMERA, [], np.random.default_rng(0))
    yaw = np.arange(12) * np.pi / 6
    everywhere = [
        camera_poses(np.repeat(eyes, 12, axis=0), yaw, np.full(12, p), np.zeros(12)) for p in (-1.2, -0.5, 0.2, 0.9)
    ]
    assert nothing == 0
    assert surface_coverage(surfaces, eyes, CAMERA, np.concatenate(everywhere), np.random.default_rng(0)) > 0.98
    one = surface_coverage(surfaces, eyes, CAMERA, everywhere[1][:1], np.random.default_rng(0))
    assert 0.03 < one < 0.2


def test_the_walk_is_the_same_again_and_another_on_another_visit(apartment):
    world, _, path = apartment
    _, again = walk(world)
    np.testing.assert_array_equal(path.poses(path.frame_times(40)), again.poses(again.frame_times(40)))
    _, second = walk(world, visit=1, seed=1)
    assert np.linalg.norm(path.eyes_at(np.array([10.0])) - second.eyes_at(np.array([10.0]))) > 0.1


def test_frames_are_spread_over_the_walk(apartment):
    _, _, path = apartment
    for count in (2, 7, 50):
        times = path.frame_times(count)
        assert len(times) == count
        np.testing.assert_allclose(np.diff(times), path.duration / (count - 1))
        assert all(is_se3(pose) for pose in path.poses(times))


def test_poses_look_where_they_say():
    poses = camera_poses(np.zeros((3, 3)), np.array([0.0, np.pi / 2, 0.0]), np.array([0.0, 0.0, 0.3]), np.zeros(3))
    np.testing.assert_allclose(poses[0, :3, :3], np.array([[0, 0, 1], [-1, 0, 0], [0, -1, 0]]), atol=1e-12)
    np.testing.assert_allclose(poses[1, :3, 2], [0, 1, 0], atol=1e-12)
    np.testing.assert_allclose(poses[2, :3, 2], [np.cos(0.3), 0, np.sin(0.3)])
    rolled = camera_poses(np.zeros((1, 3)), np.zeros(1), np.zeros(1), np.array([0.1]))[0]
    assert is_se3(rolled)
    np.testing.assert_allclose(rolled[:3, 0], [0, -np.cos(0.1), -np.sin(0.1)])  # the right side sinks: clockwise


def test_a_world_that_no_one_can_enter_is_rejected():
    full = box_world((2.0, 2.0, 2.5), [cube(7, 1.9, at(1.0, 1.0))])
    with pytest.raises(CameraPathError, match="no room"):
        walk(full)


def test_stairs_are_climbed():
    world = generate_world(WorldConfig(rooms=2, storeys=2), 3)
    renderer, path = walk(world)
    floors = [low for low, _ in world.storeys]
    assert set(path.storeys) == {0, 1}
    assert path.eyes[:, 2].min() < floors[0] + 1.7
    assert path.eyes[:, 2].max() > floors[1] + 1.4
    assert renderer.caster.distance(path.eyes).min() >= CLEARANCE
    assert np.abs(np.diff(path.eyes[:, 2])).max() < 0.05


def test_paths_go_round_furniture():
    world = box_world((5.0, 4.0, 2.5), [cube(7, 1.6, at(2.5, 1.0))])
    navigator = make_navigator(world, 0, 0.25)
    path = navigator.path(Place(0, np.array([0.6, 0.6])), Place(0, np.array([4.4, 0.6])))
    np.testing.assert_allclose(path[[0, -1], :2], [[0.6, 0.6], [4.4, 0.6]], atol=0.05)
    assert np.linalg.norm(np.diff(path, axis=0), axis=1).max() < 0.1
    gap = np.maximum(np.abs(path[:, :2] - [2.5, 1.0]) - 0.8, 0)
    assert np.linalg.norm(gap, axis=1).min() >= 0.25


def test_distances_go_over_stairs():
    world = generate_world(WorldConfig(rooms=2, storeys=2), 3)
    navigator = make_navigator(world, 0, 0.25)
    places = [Place(f.storey, f.points(np.argwhere(f.free)[k])) for f in navigator.floors for k in (0, -1)]
    lengths = np.stack([navigator.distances(place, places) for place in places])
    np.testing.assert_allclose(lengths, lengths.T, rtol=0.1, atol=0.2)
    np.testing.assert_allclose(np.diag(lengths), 0)
    for i, j in ((0, 1), (0, 3), (3, 0)):
        walked = np.linalg.norm(np.diff(navigator.path(places[i], places[j]), axis=0), axis=1).sum()
        assert (
            0.8 * walked < lengths[i, j] < 4 * walked
        )  # a comfortable metre is one metre, next to furniture up to four


def test_travel_agrees_with_scipy():
    rng = np.random.default_rng(1)
    cost = np.where(rng.random((9, 8)) < 0.25, np.inf, rng.uniform(1, 3, (9, 8)))
    cost[0, 0] = 1.0
    weights = np.zeros((72, 72))
    for i in range(9):
        for j in range(8):
            for k, (di, dj) in enumerate(STEPS[1:], 1):
                a, b = i + di, j + dj
                if not (0 <= a < 9 and 0 <= b < 8) or not np.isfinite([cost[i, j], cost[a, b]]).all():
                    continue
                if k > 4 and not np.isfinite([cost[i, b], cost[a, j]]).all():
                    continue
                weights[i * 8 + j, a * 8 + b] = np.hypot(di, dj) * (cost[i, j] + cost[a, b]) / 2
    length, back = travel(cost, 0, 0)
    np.testing.assert_allclose(length.ravel(), dijkstra(weights, indices=0), rtol=1e-6)
    for i, j in np.argwhere(np.isfinite(length) & (length > 0)):
        cell, steps = np.array([i, j]), 0
        while cell.any():
            cell, steps = cell + STEPS[back[tuple(cell)]], steps + 1
            assert steps < 72


def test_the_best_path_in_time_is_optimal():
    rng = np.random.default_rng(2)
    price = rng.uniform(0, 0.1, (3, 3))
    price[1, 1] = np.inf
    goals = rng.uniform(0, 1, (2, 3, 3))
    goal_of = np.array([0, 0, 1, 1])
    blocked = np.zeros((4, 1, 3))
    blocked[2, 0] = (0, 0, 1.2)
    route = best_in_time(price, goal_of, goals, blocked, 0.2)
    free = [tuple(cell) for cell in np.argwhere(np.isfinite(price))]

    def value(cells):
        total = 0.0
        for t, (i, j) in enumerate(cells):
            if blocked[t, 0, 2] > 0 and np.hypot(i - blocked[t, 0, 0], j - blocked[t, 0, 1]) < blocked[t, 0, 2]:
                return np.inf
            total += price[i, j] + goals[goal_of[t], i, j]
            if t > 0:
                di, dj = i - cells[t - 1][0], j - cells[t - 1][1]
                if max(abs(di), abs(dj)) > 1 or (di and dj):  # the blocked middle forbids every diagonal move here
                    return np.inf
                total += 0.2 * np.hypot(di, dj)
        return total

    everything = [(a, b, c, d) for a in free for b in free for c in free for d in free]
    assert value([tuple(cell) for cell in route]) == pytest.approx(min(value(cells) for cells in everything))
    blocked[2, 0] = (1, 1, 9)
    assert (best_in_time(price, goal_of, goals, blocked, 0.2) == -1).all()


def test_tours_are_short():
    rng = np.random.default_rng(3)
    for _ in range(5):
        points = rng.uniform(0, 10, (6, 2))
        lengths = np.linalg.norm(points[:, None] - points[None], axis=2)
        order = tour(lengths, 2)
        assert order[0] == 2
        assert sorted(order) == list(range(6))

        def total(order, lengths=lengths):
            return sum(lengths[a, b] for a, b in pairwise(order))

        best = min(total([2, *rest]) for rest in permutations([0, 1, 3, 4, 5]))
        assert total(order) <= 1.15 * best


def test_relaxing_smooths_but_never_enters_what_is_forbidden():
    zigzag = np.column_stack([np.arange(20.0), np.arange(20) % 2])
    smooth = relax(zigzag, lambda points: np.ones(len(points), bool), 200)
    np.testing.assert_array_equal(smooth[[0, -1]], zigzag[[0, -1]])
    assert np.abs(np.diff(smooth[:, 1])).max() < 0.1
    corner = np.array([[x, 0.0] for x in range(10)] + [[9.0, y] for y in range(1, 10)])
    kept = relax(corner, lambda points: points[:, 0] - points[:, 1] > 6, 50)
    assert (kept[(kept[:, 0] > 6.5) & (kept[:, 1] < 2)] @ [1, -1] > 6).all()


def test_sweeps_show_what_is_wanted():
    half_view = np.deg2rad(32.0)
    wanted = np.zeros(YAW_BINS, bool)
    assert sweep_arc(wanted, half_view) is None
    wanted[[22, 23, 0, 1, 2, 3, 4, 5]] = True  # from 330 to 90 degrees
    start, extent = sweep_arc(wanted, half_view)
    assert np.rad2deg(start - half_view) % 360 <= 330
    assert np.rad2deg(start - half_view) % 360 > 270
    assert np.rad2deg(start + extent + half_view) % 360 >= 90
    assert extent < np.deg2rad(120)
    _, around = sweep_arc(np.ones(YAW_BINS, bool), half_view)
    assert np.deg2rad(360) - 2 * half_view <= around < np.deg2rad(360)
    single = np.zeros(YAW_BINS, bool)
    single[6] = True
    start, extent = sweep_arc(single, half_view)
    assert (np.rad2deg(start), extent) == (pytest.approx(97.5), pytest.approx(0.0))
