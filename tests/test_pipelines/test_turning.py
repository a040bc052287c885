"""Frames that are turned by quarters show the same points of space."""

import numpy as np
import pytest

from m2h import Predictions
from mapping.camera import Intrinsics
from mapping.se3 import from_rotation_translation, look_at, rotation_from_quat_xyzw, transform_points
from pipelines.frame import Frame
from pipelines.turning import turned_frame, turned_pose, turned_predictions, turns_to_upright

CAMERA = Intrinsics(50.0, 55.0, 30.0, 21.0, 64, 40)
POSE = from_rotation_translation(rotation_from_quat_xyzw([0.1, 0.5, -0.2, 0.8]), [1.0, -2.0, 0.5])
UP = (0.0, 0.0, 1.0)


def a_frame() -> Frame:
    rng = np.random.default_rng(0)
    shape = (CAMERA.height, CAMERA.width)
    normals = rng.normal(size=(*shape, 3))
    normals /= np.linalg.norm(normals, axis=-1, keepdims=True)
    recorded = Predictions(
        depth=rng.uniform(1, 4, shape).astype(np.float32),
        labels=rng.integers(0, 40, shape).astype(np.uint8),
        normals=normals.astype(np.float32),
    )
    rgb = rng.integers(0, 255, (*shape, 3)).astype(np.uint8)
    return Frame(3, 0.1, rgb, CAMERA, POSE, recorded, rng.random(shape) < 0.5)


def as_set(frame: Frame) -> np.ndarray:
    """The pixels as rows, in an order of their own: point and normal in the world, colour, label and mask."""
    seen = frame.recorded
    points = transform_points(frame.T_world_camera, (frame.intrinsics.rays() * seen.depth[..., None]).reshape(-1, 3))
    normals = seen.normals.reshape(-1, 3) @ frame.T_world_camera[:3, :3].T
    columns = (seen.labels.reshape(-1, 1), frame.mask.reshape(-1, 1), frame.rgb.reshape(-1, 3))
    rows = np.column_stack([points, normals, *columns])
    return rows[np.argsort(seen.depth.ravel(), kind="stable")]


@pytest.mark.parametrize("turns", [1, 2, 3, 5, -1])
def test_a_turned_frame_shows_the_same_points(turns: int) -> None:
    frame = a_frame()
    turned = turned_frame(frame, turns)
    assert turned.rgb.shape[:2] == ((64, 40) if turns % 2 else (40, 64))
    np.testing.assert_allclose(as_set(turned), as_set(frame), atol=1e-5)


@pytest.mark.parametrize("turns", [1, 2, 3])
def test_predictions_turn_back_to_themselves(turns: int) -> None:
    given = a_frame().recorded
    back = turned_predictions(turned_predictions(given, turns), -turns)
    for name in ("depth", "labels", "normals"):
        np.testing.assert_allclose(getattr(back, name), getattr(given, name), atol=1e-6)


@pytest.mark.parametrize("turns", [0, 1, 2, 3])
@pytest.mark.parametrize("lean_deg", [-40, 0, 40])
def test_an_image_is_turned_to_where_up_is_above(turns: int, lean_deg: float) -> None:
    """A camera held upright, leant to a side by less than half a quarter, and then turned about its axis."""
    lean = np.deg2rad(lean_deg)
    roll = np.eye(4)
    roll[:2, :2] = [[np.cos(lean), -np.sin(lean)], [np.sin(lean), np.cos(lean)]]
    upright = look_at((0, 0, 1.5), (2, 1, 1.2)) @ roll
    held = turned_pose(upright, -turns)
    assert turns_to_upright(held[None], UP).tolist() == [turns]
    # An image's upper side is against the camera's y axis.
    assert (-turned_pose(held, turns)[:3, 1]) @ UP > 0.7


def test_an_image_without_an_upper_side_is_turned_as_its_neighbour() -> None:
    ahead, down = look_at((0, 0, 1.5), (2, 0, 1.2)), look_at((0, 0, 1.5), (0.05, 0, 0))
    lost = np.full((4, 4), np.nan)
    poses = np.stack([down, turned_pose(ahead, -1), down, lost, down, down, turned_pose(ahead, 1)])
    assert turns_to_upright(poses, UP).tolist() == [1, 1, 1, 0, 3, 3, 3]
    assert turns_to_upright(poses[:1], UP).tolist() == [0]
    assert turns_to_upright(np.zeros((0, 4, 4)), UP).tolist() == []
