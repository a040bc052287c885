"""The depth range that images with poses show by themselves, in whatever unit the poses are."""

import numpy as np
import pytest

from mapping.camera import Intrinsics
from mapping.multiview.depth_range import DepthRange, find_depth_range, triangulate
from mapping.multiview.multiview import ROOM, MultiviewDepth, with_range
from mapping.multiview.multiview_config import MultiviewConfig, NeighbourConfig
from mapping.multiview.views import CalibratedImage
from mapping.se3 import from_rotation_translation, inverse, look_at, transform_points

CAMERA = Intrinsics(200.0, 200.0, 159.5, 119.5, 320, 240)


def wall(T, distance=3.0):
    """A view of a wall z = `distance` that is covered with random bricks of 3 cm and of 15 cm."""
    rays = CAMERA.rays() @ T[:3, :3].T
    points = T[:3, 3] + rays * ((distance - T[2, 3]) / rays[..., 2:])
    rng = np.random.default_rng(0)
    grey = np.zeros(points.shape[:2])
    for size in (0.03, 0.15):
        brick = np.floor(points[..., :2] / size).astype(int) % 128
        grey += rng.integers(0, 128, (128, 128))[brick[..., 1], brick[..., 0]]
    return CalibratedImage(np.repeat(grey.astype(np.uint8)[..., None], 3, axis=-1), CAMERA, T)


def sideways(scale=1.0):
    places = np.array([(0.05 * i, 0.01 * (i % 3), 0) for i in range(12)]) * scale
    return from_rotation_translation(np.broadcast_to(np.eye(3), (12, 3, 3)), places)


@pytest.mark.parametrize("scale", [1.0, 20.0])
def test_the_range_is_that_of_the_surfaces_in_the_unit_of_the_poses(scale):
    views = [wall(T) for T in sideways()]
    found = find_depth_range(views.__getitem__, sideways(scale))
    assert found is not None
    assert found.points > 200
    assert found.typical == pytest.approx(3.0 * scale, rel=0.06)  # bricks end at whole pixels, two degrees apart
    assert 1.5 * scale < found.near < 2.5 * scale
    assert 3.5 * scale < found.far < 6.0 * scale


def test_lost_frames_blank_images_and_a_camera_that_stands_tell_nothing():
    poses = sideways()
    blank = [CalibratedImage(np.full((240, 320, 3), 90, np.uint8), CAMERA, T) for T in poses]
    assert find_depth_range(blank.__getitem__, poses) is None
    assert find_depth_range(lambda i: None, poses) is None
    assert find_depth_range(blank.__getitem__, np.full((12, 4, 4), np.nan)) is None
    standing = np.broadcast_to(np.eye(4), (12, 4, 4))
    assert find_depth_range(lambda i: wall(np.eye(4)), standing) is None


def test_points_are_triangulated_and_wrong_matches_are_rejected():
    rng = np.random.default_rng(1)
    points = rng.uniform((-1, -1, 2), (1, 1, 4), (20, 3))
    T_b_a = inverse(look_at((0.4, 0.1, 0), (0, 0, 3), up=(0, -1, 0)))
    seen_a, seen_b = CAMERA.project(points), CAMERA.project(transform_points(T_b_a, points))
    seen_b[0] += (0, 40)  # off its epipolar line
    found, good = triangulate(CAMERA.matrix, CAMERA.matrix, T_b_a, seen_a, seen_b)
    assert not good[0]
    assert good[1:].all()
    np.testing.assert_allclose(found[1:], points[1:], atol=1e-6)


def test_what_the_settings_tell_is_kept():
    found = DepthRange(1.0, 9.0, 3.0, 100)
    assert with_range(MultiviewConfig(), found).min_depth == 1.0
    assert with_range(MultiviewConfig(), found).neighbours.scene_depth == 3.0
    near = with_range(MultiviewConfig(max_depth=1.5), found)
    assert (near.min_depth, near.max_depth, near.neighbours.scene_depth) == (0.75, 1.5, 1.5)
    far = with_range(MultiviewConfig(min_depth=20.0, neighbours=NeighbourConfig(scene_depth=30.0)), found)
    assert (far.min_depth, far.max_depth, far.neighbours.scene_depth) == (20.0, 40.0, 30.0)


def test_a_sequence_without_points_is_taken_for_a_room():
    poses = sideways()
    blank = [CalibratedImage(np.full((240, 320, 3), 90, np.uint8), CAMERA, T) for T in poses]
    depths = MultiviewDepth(blank.__getitem__, poses, CAMERA, MultiviewConfig(device="cpu"))
    assert depths.config == with_range(MultiviewConfig(device="cpu"), ROOM)
