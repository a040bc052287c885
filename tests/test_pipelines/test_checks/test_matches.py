"""What matched features show of the focal length and of the times of poses, and where they show nothing."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import sequence_folders as folders
from scipy.spatial.transform import Rotation

from mapping.camera import Intrinsics
from mapping.se3 import inverse
from pipelines.checks.camera_fit import CameraChange, measure_camera
from pipelines.checks.focal import measure_focal_length
from pipelines.checks.matches import MatchedPair, with_focal_factor
from pipelines.checks.timing import measure_time_offset
from pipelines.frame import FrameInfo

CAMERA = Intrinsics(260.0, 260.0, 159.5, 119.5, 320, 240)
STEP, RATE = 9, 10.0


def infos_of(poses: np.ndarray, camera: Intrinsics = CAMERA) -> list[FrameInfo]:
    return [FrameInfo(i, i / RATE, f"{i}.png", True, "", pose, camera) for i, pose in enumerate(poses)]


def pairs_of(infos: list[FrameInfo], true: np.ndarray, noise: float = 0.3) -> list[MatchedPair]:
    """Points on the walls of the room in frames `STEP` apart, seen from the true poses by the true camera."""
    rng = np.random.default_rng(0)
    points = rng.uniform(0, [5, 4, 2.5], (1500, 3))
    side = rng.integers(0, 3, 1500)
    points[np.arange(1500), side] = np.where(rng.random(1500) < 0.5, 0, np.array([5, 4, 2.5])[side])
    pairs = []
    for i in range(0, len(true) - STEP, 2):
        seen = []
        for pose in (true[i], true[i + STEP]):
            T = inverse(pose)
            seen.append(CAMERA.project(points @ T[:3, :3].T + T[:3, 3]))
        both = np.all([np.isfinite(uv).all(axis=1) & CAMERA.contains(uv) for uv in seen], axis=0)
        pixels = [uv[both] + rng.normal(0, noise, (both.sum(), 2)) for uv in seen]
        pairs.append(MatchedPair((i, i + STEP), infos[i], infos[i + STEP], *pixels))
    return pairs


@pytest.mark.parametrize("factor", [0.9, 1.0, 1.15])
def test_focal_length_is_told_by_a_camera_that_turns(factor: float) -> None:
    true = folders.room_poses(40)
    found = measure_focal_length(pairs_of(infos_of(true, with_focal_factor(CAMERA, factor)), true))
    assert found is not None
    assert found.found == pytest.approx(CAMERA.fx, rel=0.01)
    assert found.is_wrong == (factor != 1)


@pytest.mark.parametrize("factor", [0.9, 1.0, 1.15])
def test_frames_with_cameras_of_their_own_tell_what_all_are_off_by(factor: float) -> None:
    """Phones state other intrinsics for every frame, which differ by fractions of a per cent."""
    true, rng = folders.room_poses(40), np.random.default_rng(1)
    cameras = [with_focal_factor(CAMERA, factor * float(1 + rng.normal(0, 0.002))) for _ in true]
    infos = [replace(info, intrinsics=camera) for info, camera in zip(infos_of(true), cameras, strict=True)]
    assert len({info.intrinsics for info in infos}) == 40
    found = measure_focal_length(pairs_of(infos, true))
    assert found is not None
    assert found.found == pytest.approx(CAMERA.fx, rel=0.01)
    assert found.is_wrong == (factor != 1)
    late = [replace(info, timestamp=info.timestamp + 0.2) for info in infos]
    assert factor != 1 or measure_time_offset(pairs_of(late, true), late) is None  # all are, with their poses
    moved = pairs_of(infos_of(true[:-2]), true[2:])
    assert factor != 1 or measure_time_offset(moved, infos_of(true[:-2])).seconds == pytest.approx(0.2, abs=0.03)


@pytest.mark.parametrize(
    "change",
    [
        CameraChange(1, 1.1, 0, 0),
        CameraChange(0.75, 1, 0, 0),
        CameraChange(1, 1, 0.05, 0),
        CameraChange(1.1, 1.1, 0, -0.1),
    ],
)
def test_a_camera_that_is_off_in_more_than_its_focal_length_is_measured(change: CameraChange) -> None:
    true = folders.room_poses(40)
    pairs = pairs_of(infos_of(true, change(CAMERA)), true)
    found, back = measure_camera(pairs, measure_focal_length(pairs))
    assert found is not None
    assert found.given == pytest.approx((change(CAMERA).fx, change(CAMERA).fy, change(CAMERA).cx, change(CAMERA).cy))
    assert found.found == pytest.approx((CAMERA.fx, CAMERA.fy, CAMERA.cx, CAMERA.cy), rel=0.015)
    assert back(change(CAMERA)).fy == pytest.approx(CAMERA.fy, rel=0.015)
    assert "correct the calibration" in found.describe()


@pytest.mark.parametrize("factor", [0.9, 1.0, 1.15])
def test_a_focal_length_that_explains_all_is_not_called_another_camera(factor: float) -> None:
    true = folders.room_poses(40)
    pairs = pairs_of(infos_of(true, with_focal_factor(CAMERA, factor)), true)
    assert measure_camera(pairs, measure_focal_length(pairs)) == (None, None)


def test_pairs_of_one_stretch_of_the_path_tell_no_camera() -> None:
    """Their errors are one and the same, which four numbers fit."""
    true = folders.room_poses(40)
    pairs = pairs_of(infos_of(true, CameraChange(1, 1.1, 0, 0)(CAMERA)), true)[:6]
    assert measure_camera(pairs, None) == (None, None)


@pytest.mark.parametrize("axis", [0, 2])
def test_focal_length_cannot_be_told_on_a_straight_path(axis: int) -> None:
    """Sideways and straight ahead: any focal length fits."""
    true = np.repeat(folders.room_poses(1), 40, axis=0)
    true[:, :3, 3] += np.linspace(0, 1.5, 40)[:, None] * true[0, :3, axis]
    assert measure_focal_length(pairs_of(infos_of(true, with_focal_factor(CAMERA, 1.15)), true)) is None


@pytest.mark.parametrize("seconds", [0.2, -0.2])
def test_an_offset_of_time_is_told_with_its_sign(seconds: float) -> None:
    """Poses of images that were taken some frames before or after."""
    true = folders.room_poses(60, turn_deg=4.0)
    shift = round(seconds * RATE)
    stored = infos_of(true[10 - shift : 50 - shift])
    found = measure_time_offset(pairs_of(stored, true[10:50]), stored)
    assert found is not None
    assert found.seconds == pytest.approx(seconds, abs=0.021)


def test_poses_between_noisy_ones_are_not_those_of_another_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every second pose is turned a little: halfway between two both errors cancel, whichever way."""
    true = folders.room_poses(40, turn_deg=1.0, step=0.02)
    stored = true.copy()
    turn = Rotation.from_euler("xyz", [0.4, 0.4, 0.4], degrees=True).as_matrix()
    for i in range(len(stored)):
        stored[i, :3, :3] = stored[i, :3, :3] @ (turn if i % 2 else turn.T)
    infos = infos_of(stored)
    pairs = pairs_of(infos, true)
    assert measure_time_offset(pairs, infos) is None
    monkeypatch.setattr("pipelines.checks.timing._is_worse_backwards", lambda *_: True)
    assert measure_time_offset(pairs, infos) is not None
