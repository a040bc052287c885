from dataclasses import dataclass, replace

import numpy as np
import pytest
from walkers import (
    HEIGHT,
    PERSON,
    THICKNESS,
    WALL,
    WIDTH,
    Block,
    Walker,
    as_frames,
    camera,
    render,
    straight,
    walk,
)

from scenegraph.labels import nyu40
from scenegraph.nodes import TrackNode
from scenegraph.track_metrics import track_metrics
from scenegraph.tracks.detector import detect
from scenegraph.tracks.track_config import DynamicsConfig, TrackingConfig
from scenegraph.tracks.tracking import track

SPACE = nyu40()
CONFIG = TrackingConfig()
FRONT = camera((0, -3, 1.5), (0, 2, 1.0))
CROSSING = [Walker(straight((-2.5, 2), (2.5, 2), 0, 5)), Walker(straight((2.5, 2.7), (-2.5, 2.7), 0, 5))]


# ---- tracks of simulated people -------------------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class Score:
    recall: float
    precision: float
    switches: int
    error: float


def simulate(walkers, blocks, times, pose=lambda time: FRONT, *, noise=0.0, drop=0.0, seed=0):
    """Detections of every frame and the true centres of who is visible; depth errors of `noise` per frame and position."""
    rng = np.random.default_rng(seed)
    frames, truth = [], []
    for time in times.tolist():
        view = render(walkers, blocks, time, pose(time))
        truth.append(
            [w.center(time) if (view.instances == i).sum() >= 30 else None for i, w in enumerate(walkers, start=1)]
        )
        scale = 1 + noise * (rng.normal() + 0.5 * rng.normal(size=view.depth.shape))
        view = replace(view, depth=(view.depth * scale).astype(np.float32), instances=None)
        frames.append((time, [] if rng.random() < drop else detect(view, SPACE)))
    return frames, truth


def score(nodes, walkers, times, truth):
    """Recall, precision and switches of centres within 0.5 m, and the mean error of the nearest centre."""
    true = []
    for walker in walkers:
        known = np.array([time for time in times if walker.center(time) is not None])
        centers = np.array([walker.center(time) for time in known])
        true.append(TrackNode("person", PERSON, np.array([WIDTH, WIDTH, HEIGHT]), known, centers))
    visible = np.array([[centers[i] is not None for centers in truth] for i in range(len(walkers))])
    result = track_metrics(nodes, true, times, visible=visible)
    errors = [
        min(float(np.linalg.norm(walker.center(time) - p)) for walker in walkers if walker.center(time) is not None)
        for node in nodes
        for time, p in zip(node.times, node.positions, strict=True)
    ]
    return Score(result["recall"], result["precision"], int(result["id_switches"]), float(np.mean(errors)))


def test_two_people_cross():
    times = np.arange(0, 5.01, 0.2)
    frames, truth = simulate(CROSSING, [], times)
    nodes = track(frames, SPACE)
    result = score(nodes, CROSSING, times, truth)
    assert len(nodes) == 2
    assert result.recall == 1.0
    assert result.precision == 1.0
    assert result.switches == 0
    assert result.error < 0.12
    for node in nodes:
        assert (node.label, node.label_id) == ("person", PERSON)
        assert node.confidence == 1.0
        assert node.size[2] == pytest.approx(HEIGHT, abs=0.05)
        assert THICKNESS - 0.05 < node.size[0] < WIDTH + 0.1


@pytest.mark.parametrize("seed", range(3))
def test_noisy_depth_and_lost_frames(seed):
    times = np.arange(0, 5.01, 0.2)
    frames, truth = simulate(CROSSING, [], times, noise=0.03, drop=0.15, seed=seed)
    nodes = track(frames, SPACE)
    result = score(nodes, CROSSING, times, truth)
    assert len(nodes) == 2
    assert result.recall >= 0.8
    assert result.precision >= 0.95
    assert result.switches == 0
    assert result.error < 0.25


def test_a_walk_behind_a_wall_is_one_track_with_a_gap():
    walker = Walker(straight((-2.8, 2), (2.8, 2), 0, 5.6))
    times = np.arange(0, 5.61, 0.2)
    frames, truth = simulate([walker], [Block((-0.9, 0.5, 0), (0.9, 0.7, 2.5), WALL)], times)
    hidden = [time for time, centers in zip(times, truth, strict=True) if centers[0] is None]
    assert len(hidden) > 8
    (node,) = track(frames, SPACE)
    assert score([node], [walker], times, truth).recall >= 0.95
    assert not np.isin(node.times, hidden[1:-1]).any()
    assert np.diff(node.times).max() > 1.5


def test_a_table_hides_the_legs_and_the_box_stays_whole():
    walker = Walker(straight((-2.8, 2), (2.8, 2), 0, 5.6))
    times = np.arange(0, 5.61, 0.2)
    frames, truth = simulate([walker], [Block((-1.5, 0.5, 0), (1.5, 1.3, 0.8))], times)
    assert sum("below" in d.cut for _, found in frames for d in found) > 10
    (node,) = track(frames, SPACE)
    result = score([node], [walker], times, truth)
    assert result.recall >= 0.95
    assert result.error < 0.15
    np.testing.assert_allclose(node.positions[:, 2], HEIGHT / 2, atol=0.06)
    assert node.size[2] == pytest.approx(HEIGHT, abs=0.05)


def test_legs_that_are_never_seen():
    """At this distance, the image border cuts everyone at the knees; the floor next to them gives the height."""
    walker = Walker(straight((-0.6, -1.4), (0.6, -1.4), 0, 3))
    pose = camera((0, -3, 1.6), (0, 2, 1.6))
    times = np.arange(0, 3.01, 0.2)
    frames, truth = simulate([walker], [], times, lambda time: pose)
    assert all(d.cut >= {"below"} for _, found in frames for d in found)
    floored = [(time, [replace(d, floor=0.0) for d in found]) for time, found in frames]
    (node,) = track(floored, SPACE)
    assert score([node], [walker], times, truth).recall == 1.0
    np.testing.assert_allclose(node.positions[:, 2], HEIGHT / 2, atol=0.08)


def test_a_moving_camera_and_someone_who_stands():
    walkers = [
        Walker(straight((-3, 2), (3, 2), 0, 8)),
        Walker(straight((2, -1), (2, 4), 0, 6)),
        Walker(lambda time: (0.0, 3.5)),
    ]
    times = np.arange(0, 8.01, 0.4)

    def pose(time):
        return camera((-2 + 0.5 * time, -3 + 0.1 * time, 1.5), (-1 + 0.4 * time, 2, 0.9))

    frames, truth = simulate(walkers, [Block((-2, 0.5, 0), (-1, 1.2, 0.8))], times, pose, noise=0.01)
    nodes = track(frames, SPACE)
    result = score(nodes, walkers, times, truth)
    assert len(nodes) == 3
    assert result.recall >= 0.95
    assert result.precision >= 0.95
    assert result.switches == 0
    assert result.error < 0.15
    still = min(nodes, key=lambda node: np.ptp(node.positions, axis=0).max())
    assert np.ptp(still.positions, axis=0).max() < 0.3


# ---- laws of the tracker --------------------------------------------------------------------------------------------


def farther(found, by):
    shift = np.array([by, 0, 0])
    return replace(found, low=found.low + shift, high=found.high + shift)


TIMES = [round(0.25 * k, 2) for k in range(24)]


def same(a, b):
    assert len(a) == len(b)
    for x, y in zip(a, b, strict=True):
        np.testing.assert_array_equal(x.times, y.times)
        np.testing.assert_array_equal(x.positions, y.positions)
        np.testing.assert_array_equal(x.size, y.size)


def test_order_of_frames_and_detections_does_not_matter():
    frames = as_frames(
        TIMES, walk(TIMES, (4, -2), (0, 0.8)), walk(TIMES, (5, 2), (0, -0.8)), walk(TIMES, (6, 0), (0, 0))
    )
    expected = track(frames, SPACE)
    assert len(expected) == 3
    rng = np.random.default_rng(0)
    for _ in range(3):
        shuffled = [(time, [found[k] for k in rng.permutation(len(found))]) for time, found in frames]
        same(track([shuffled[k] for k in rng.permutation(len(frames))], SPACE), expected)
    same(track(frames, SPACE), expected)


def test_tracks_come_in_the_order_of_their_first_time():
    late = walk(TIMES[8:], (4, -2), (0, 0.1))
    early = walk(TIMES[:6], (8, 3), (0, 0.1))
    nodes = track(as_frames(TIMES, late, early), SPACE)
    assert [node.times[0] for node in nodes] == [0.0, 2.0]


def test_positions_stand_at_detected_times_and_in_short_gaps():
    positions = walk(TIMES, (4, -2), (0, 0.8))
    for missing in (TIMES[5], TIMES[10], TIMES[11]):  # gaps of 0.5 s and 0.75 s
        del positions[missing]
    (node,) = track(as_frames(TIMES, positions), SPACE)
    assert node.times.tolist() == sorted([*positions, TIMES[5]])
    middle = node.positions[node.times == TIMES[5]][0]
    np.testing.assert_allclose(middle[1], -2 + 0.8 * TIMES[5], atol=0.02)


def test_a_gap_is_bridged_only_by_a_walkable_path():
    first = TIMES[:8]
    near = {**walk(first, (4, -2), (0, 0.8)), **walk(TIMES[20:], (4, -2), (0, 0.8))}
    far = {**walk(first, (4, -2), (0, 0.8)), **walk(TIMES[20:], (14, 6), (0, 0.8))}
    assert len(track(as_frames(TIMES, near), SPACE)) == 1
    assert len(track(as_frames(TIMES, far), SPACE)) == 2


def test_classes_make_their_own_tracks():
    a, b = walk(TIMES, (4, 0), (0, 0)), walk(TIMES, (4, 0), (0, 0), label_id=5)
    nodes = track(as_frames(TIMES, a, b), SPACE)
    assert sorted(node.label for node in nodes) == ["chair", "person"]


def test_few_detections_make_no_track():
    assert track(as_frames(TIMES, walk(TIMES[:2], (4, 0), (0, 0))), SPACE) == []
    assert len(track(as_frames(TIMES, walk(TIMES[:2], (4, 0), (0, 0))), SPACE, replace(CONFIG, min_detections=2))) == 1
    assert track([], SPACE) == []
    assert track(as_frames(TIMES), SPACE) == []


def test_an_arm_next_to_its_body_makes_no_track():
    body = walk(TIMES, (4, -2), (0, 0.8))
    arm = walk(TIMES, (3.9, -1.9), (0, 0.8), pixels=60)
    nodes = track(as_frames(TIMES, body, arm), SPACE)
    assert len(nodes) == 1


def test_a_track_takes_back_detections_whose_depth_was_far_off():
    rng = np.random.default_rng(3)
    positions = walk(TIMES, (5, -2), (0, 0.5))
    off = 0.35 * rng.normal(size=len(TIMES)) + np.where(np.isin(np.arange(len(TIMES)), range(10, 14)), 1.3, 0)
    jitter = {time: farther(positions[time], by) for time, by in zip(TIMES, off, strict=True)}
    nodes = track(as_frames(TIMES, jitter), SPACE)
    assert len(nodes) == 1


RED, BLUE = ((np.array([1.5, 0.0, 0.0]), None), (np.array([0.0, 1.5, 0.0]), None))


@pytest.mark.parametrize("dressed", [False, True])
def test_clothes_distinguish_people_who_meet_and_turn_back(dressed):
    """Two walk up to each other, are one blob for a while, and return on the same path."""
    left, right = {}, {}
    for k, time in enumerate(TIMES):
        away = abs(k - 12) * 0.2
        if away > 0.3:
            y = {"left": -away, "right": away}
            for found, side, look in ((left, "left", RED), (right, "right", BLUE)):
                (found[time],) = walk([time], (4, y[side]), (0, 0)).values()
                found[time] = replace(found[time], look=look if dressed else (None, None))
    nodes = track(as_frames(TIMES, left, right), SPACE)
    assert len(nodes) == 2
    sides = [np.sign(node.positions[[0, -1], 1]).tolist() for node in nodes]
    assert sorted(sides) == ([[-1, -1], [1, 1]] if dressed else [[-1, 1], [1, -1]])


def test_times_must_differ():
    with pytest.raises(ValueError, match=r"two frames have the same time, 1\.0 s"):
        track([(1.0, []), (0.0, []), (1.0, [])], SPACE)


def test_config_is_strict():
    assert DynamicsConfig().tracking == CONFIG
    with pytest.raises(ValueError, match="speed"):
        TrackingConfig(speed=-1)
    with pytest.raises((TypeError, ValueError), match="velocity"):
        TrackingConfig(velocity=1)  # type: ignore[call-arg]
