"""The height of cameras above the floor, from points on what a network takes for it."""

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from mapping.camera import Intrinsics
from mapping.se3 import from_rotation_translation, inverse, transform_points
from pipelines.posing.carried_height import camera_height
from pipelines.posing.scale_estimate import SparseView

CAMERA = Intrinsics(200.0, 200.0, 159.5, 119.5, 320, 240)
WORLD = from_rotation_translation(
    Rotation.from_euler("xyz", [50, -20, 130], degrees=True).as_matrix(), np.array([3, -1, 7.0])
)
"""Structure from motion knows no up."""
UNIT = 2.5


def walk(rng, height=1.5, pitch=25.0, count=12, bob=0.02, wall_share=0.2):
    """Poses of a camera above the plane z = 0, and views of points on it and on a wall behind, in another unit and world."""
    poses, views = [], []
    for i in range(count):
        down = Rotation.from_euler("yx", [7 * i, -pitch], degrees=True).as_matrix()
        R = np.array([[1, 0, 0], [0, 0, 1], [0, -1, 0]]) @ down  # y down, looking along +y of the world
        centre = np.array([0.3 * i, 0.1 * i, height * (1 + bob * rng.normal())])
        T = from_rotation_translation(R, centre)
        ground = np.column_stack([rng.uniform(-4, 8, 300), rng.uniform(0, 8, 300), np.zeros(300)])
        wall = np.column_stack([rng.uniform(-4, 8, 300), np.full(300, 6.0), rng.uniform(0, 2.5, 300)])
        points = np.where(rng.random((300, 1)) < wall_share, wall, ground) + rng.normal(0, 0.005, (300, 3))
        seen = transform_points(inverse(T), points)
        seen = seen[seen[:, 2] > 0.3]
        pixels = CAMERA.project(seen)
        inside = CAMERA.contains(pixels)
        T[:3, 3] /= UNIT
        poses.append(WORLD @ T)
        views.append(SparseView(pixels[inside], seen[inside, 2] / UNIT))
    return np.array(poses), views


def everywhere(i):
    return np.ones((240, 320), bool)


def height_of(poses, views, floor_of=everywhere):
    return camera_height([CAMERA] * len(views), poses, views, floor_of)


def test_the_height_is_that_above_the_plane_of_the_floor():
    poses, views = walk(np.random.default_rng(0))
    asked = []
    found = height_of(poses, views, lambda i: asked.append(i) or everywhere(i))
    assert found is not None
    assert UNIT * found.height == pytest.approx(1.5, rel=0.01)
    assert found.spread < 0.04
    assert asked == list(range(len(poses)))


def test_where_no_floor_is_seen_nothing_is_said():
    poses, views = walk(np.random.default_rng(1))
    assert height_of(poses, views, lambda i: np.zeros((240, 320), bool)) is None
    assert height_of(poses[:0], []) is None
    few = [SparseView(view.pixels[:3], view.depths[:3]) for view in views]
    assert height_of(poses, few) is None


def test_walls_ceilings_and_scattered_points_are_no_floor():
    rng = np.random.default_rng(2)
    poses, walls = walk(rng, wall_share=1.0, pitch=0.0)
    assert height_of(poses, walls) is None
    poses, views = walk(rng)
    upside_down = poses @ np.diag([-1.0, -1, 1, 1])
    turned = [SparseView([CAMERA.width - 1, CAMERA.height - 1] - view.pixels, view.depths) for view in views]
    assert height_of(upside_down, turned) is None  # above the cameras, as their images are
    scattered = [SparseView(view.pixels, rng.uniform(0.2, 2, len(view.depths))) for view in views]
    assert height_of(poses, scattered) is None


def test_a_camera_that_is_moved_up_and_down_says_nothing():
    poses, views = walk(np.random.default_rng(3), bob=0.6)
    assert height_of(poses, views) is None


def test_points_that_all_coincide_say_nothing():
    view = SparseView(np.full((40, 2), 100.0), np.full(40, 1.0))
    assert height_of(np.stack([np.eye(4)] * 5), [view] * 5) is None
