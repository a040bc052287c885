"""Things that move, found without labels in a room of boxes that a camera looks around in."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from walkers import INTRINSICS, PERSON, Block, Walker, camera, render, straight

from scenegraph.labels import nyu40
from scenegraph.motion.clusters import moving_clusters
from scenegraph.motion.evidence import Comparison
from scenegraph.motion.full_size import enlarged
from scenegraph.motion.movers import find_movers
from scenegraph.motion.views import ReducedDepth, Views, ViewsBuilder, reduction
from scenegraph.tracks.detection import LabelledView
from scenegraph.tracks.detector import detect
from scenegraph.tracks.track_config import DynamicsConfig
from scenegraph.tracks.tracking import track

SPACE = nyu40()
FURNITURE = (
    Block((-3, 2, 0), (-1.8, 2.8, 0.8)),
    Block((2.5, -1, 0), (3.1, 1, 1.9)),
    Block((-0.1, 3.4, 0), (0, 3.5, 1.2)),
)
TIMES = np.arange(48) / 3.0


def looking_around(time: float) -> np.ndarray:
    """Poses of a camera that walks a little and turns to and fro."""
    angle = 1.1 + 0.7 * np.sin(0.9 * time)
    eye = np.array([0.3 * np.sin(0.4 * time), -2.5 + 0.02 * time, 1.5])
    ahead = np.array([4 * np.cos(angle), 4 * np.sin(angle), -0.9])
    return camera(eye, eye + ahead)


def recording(walkers, times=TIMES, noise=None, blocks=FURNITURE):
    """The views at those times; `noise` degrades their depth."""
    views = [render(walkers, blocks(t) if callable(blocks) else blocks, t, looking_around(t)) for t in times]
    return views if noise is None else [replace(view, depth=noise(view.depth)) for view in views]


def collected(views: list[LabelledView]) -> Views:
    builder = ViewsBuilder(INTRINSICS, len(views), deepest=10.0)
    for k, view in enumerate(views):
        builder.add(k, view.time, view.depth, view.intrinsics, view.T_world_camera)
    return builder.build()


def movers_of(views):
    return find_movers(collected(views), SPACE, DynamicsConfig())


def walking(start=(-2.0, 1.0), end=(2.0, 1.0), t0=0.0, t1=14.0):
    return Walker(straight(start, end, t0, t1))


def sensor(depth):
    rng = np.random.default_rng(int(1e6 * depth.sum()) % 2**32)
    return (depth + (0.0012 + 0.0019 * (depth - 0.4) ** 2) * rng.standard_normal(depth.shape)).astype(np.float32)


class Monocular:
    """Depth with an error of scale per frame and a smooth one over the image."""

    def __init__(self) -> None:
        self.rng = np.random.default_rng(3)

    def __call__(self, depth):
        v, u = np.mgrid[: depth.shape[0], : depth.shape[1]] / depth.shape[1]
        slope = self.rng.normal(0, 0.03, 3)
        return (depth * (1 + slope[0] + slope[1] * (u - 0.5) + slope[2] * (v - 0.4))).astype(np.float32)


def test_a_walker_is_found_pixel_by_pixel_and_nothing_else():
    views = recording([walking()])
    found = movers_of(views)
    true = np.array([view.labels == PERSON for view in views])
    mine = np.array([found.mask(k) > 0 for k in range(len(views))])
    assert found.tracks == 1
    assert (mine & true).sum() > 0.9 * true.sum() > 2000
    assert (mine & ~true).sum() < 0.01 * true.sum()


@pytest.mark.parametrize("noise", [None, sensor, Monocular()], ids=["exact", "sensor", "monocular"])
def test_nothing_moves_in_a_room_where_nothing_moves(noise):
    found = movers_of(recording([], noise=noise))
    assert (found.tracks, found.parts) == (0, {})


@pytest.mark.parametrize("noise", [sensor, Monocular()], ids=["sensor", "monocular"])
def test_a_walker_is_found_in_noisy_depth(noise):
    views = recording([walking((-2.5, 0.0), (2.5, 0.5))], noise=noise)
    found = movers_of(views)
    true = np.array([view.labels == PERSON for view in views])
    mine = np.array([found.mask(k) > 0 for k in range(len(views))])
    assert 1 <= found.tracks <= 2
    assert (mine & true).sum() > 0.7 * true.sum()
    assert (mine & ~true).sum() < 0.1 * true.sum()


def test_the_track_follows_the_walker_without_labels():
    walker = walking()
    views = recording([walker])
    found = movers_of(views)
    frames = []
    for k, view in enumerate(views):
        moving = enlarged(found.mask(k), view.depth, found.stride) if k in found.parts else None
        bare = replace(view, labels=None, instances=None, moving=moving)
        frames.append((view.time, detect(bare, SPACE)))
    (node,) = track(frames, SPACE)
    away = [np.linalg.norm(p - walker.center(t)) for t, p in zip(node.times, node.positions, strict=True)]
    assert (node.label, node.label_id) == ("unknown", 0)
    assert max(away) < 0.3
    assert node.size[2] == pytest.approx(1.75, abs=0.1)


def test_somebody_who_stands_and_leaves_is_found_also_while_standing():
    views = recording([walking((0.5, 1.0), (3.5, -1.5), t0=8.0, t1=12.0)])
    found = movers_of(views)
    standing = [k for k, view in enumerate(views) if view.time < 7 and (view.labels == PERSON).sum() > 200]
    assert len(standing) > 8
    assert all((found.mask(k) > 0)[views[k].labels == PERSON].mean() > 0.8 for k in standing)


def test_a_low_thing_that_is_taken_away_is_no_mover():
    stool = Block((0.2, 1.0, 0), (0.7, 1.5, 0.7))
    views = recording([], blocks=lambda t: (*FURNITURE, stool) if t < 8 else FURNITURE)
    clusters = [moving_clusters(Comparison(collected(views)), k) for k in range(12)]
    assert max(numbers.max() for numbers in clusters) >= 1  # its place was free at other times
    found = movers_of(views)
    assert (found.tracks, found.parts) == (0, {})
    assert found.rejected > 0


def test_somebody_who_stays_all_the_time_is_furniture():
    assert movers_of(recording([Walker(lambda time: (0.5, 1.0))])).tracks == 0


def test_noise_is_estimated_from_the_frames():
    rng = np.random.default_rng(1)
    views = recording([], noise=lambda depth: (depth * (1 + 0.03 * rng.standard_normal())).astype(np.float32))
    noise = Comparison(collected(views)).noise
    at_three_metres = noise[11]
    assert at_three_metres == pytest.approx(np.sqrt(2) * 0.03 * 3, rel=0.4)
    assert Comparison(collected(recording([]))).noise[11] < 0.02


def test_frames_are_compared_in_order_of_time_whatever_their_order():
    views = recording([walking()])
    a, b = movers_of(views), find_movers(collected(views[::-1]), SPACE, DynamicsConfig())
    assert a.parts.keys() == b.parts.keys()
    assert all((a.mask(k) == b.mask(k)).all() for k in a.parts)


def test_reduced_depth_knows_the_least_and_the_greatest_around():
    depth = np.full((8, 12), 2.0, np.float32)
    depth[2, 4] = 1.0
    depth[:, 10:] = 0
    reduced = ReducedDepth.of(depth, 2, 0.001)
    assert reduced.at.shape == (4, 6)
    np.testing.assert_array_equal(reduced.at[:, :5], 2000)
    np.testing.assert_array_equal(reduced.near[:3, 1:4], 1000)
    np.testing.assert_array_equal(reduced.near[:, :1], 2000)
    np.testing.assert_array_equal(reduced.far[:, :5], 2000)
    assert (reduced.near[0, 4], reduced.near[0, 5]) == (2000, 0)  # most and few of the pixels around are known
    assert (reduced.at[:, 5] == 0).all()


def test_the_depth_of_many_frames_stays_in_memory():
    wide = INTRINSICS.resized(640, 480)
    assert reduction(INTRINSICS, 100) == 1
    assert reduction(wide, 100) == 4
    stride = reduction(wide, 100_000)
    assert 2 * 100_000 * (640 // stride) * (480 // stride) <= 256 << 20


def test_full_size_takes_pixels_of_the_same_depth_only():
    depth = np.full((12, 12), 4.0, np.float32)
    depth[3:8, 3:8] = 2.0
    depth[4, 4] = 0.0
    reduced = np.zeros((6, 6), np.uint16)
    reduced[2:4, 2:4] = 7
    found = enlarged(reduced, depth, 2)
    expected = np.where(depth == 2.0, 7, 0)
    np.testing.assert_array_equal(found, expected)
