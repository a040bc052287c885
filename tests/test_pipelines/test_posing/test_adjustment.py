"""Rough poses and a wrong focal length are corrected by features, and kept where they are right."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import sequence_folders as folders
from scipy.spatial.transform import Rotation

from mapping.camera import Intrinsics
from mapping.multiview.features import Features
from mapping.se3 import interpolate, inverse
from pipelines import open_sequence, run
from pipelines.config import config_from_mapping
from pipelines.frame import SequenceError
from pipelines.posing.adjusted import AdjustedSequence
from pipelines.posing.adjustment import adjust_poses
from pipelines.posing.tracks import REFINED, Tracks, find_tracks, match_frames, matched_frames
from pipelines.settings import PipelineConfig
from pipelines.sources.source import SourceError

CAMERA = Intrinsics(260.0, 260.0, 159.5, 119.5, 320, 240)
COUNT = 24
TIMES = np.arange(COUNT) / 10
POSES = folders.room_poses(COUNT, turn_deg=5, step=0.08)


def room_features(poses: np.ndarray, camera: Intrinsics, noise: float, seed: int = 0) -> list[Features]:
    """What each frame sees of points on the walls of the room: a descriptor per point, and pixels with noise."""
    rng = np.random.default_rng(seed)
    points = rng.uniform(0, [5, 4, 2.5], (1500, 3))
    side = rng.integers(0, 3, 1500)
    points[np.arange(1500), side] = np.where(rng.random(1500) < 0.5, 0, np.array([5, 4, 2.5])[side])
    descriptors = rng.normal(size=(1500, 128)).astype(np.float32)
    descriptors /= np.linalg.norm(descriptors, axis=1, keepdims=True)
    features = []
    for pose in poses:
        T = inverse(pose)
        pixels = camera.project(points @ T[:3, :3].T + T[:3, 3])
        inside = np.isfinite(pixels).all(axis=1) & camera.contains(pixels)
        shown = np.flatnonzero(inside)[:400]
        features.append(Features(pixels[shown] + rng.normal(0, noise, (len(shown), 2)), descriptors[shown]))
    return features


def roughened(poses: np.ndarray, metres: float, degrees: float, seed: int = 1) -> np.ndarray:
    """With a slow drift and some noise in every frame."""
    rng = np.random.default_rng(seed)
    wave = np.sin(np.linspace(0, 5, len(poses)))[:, None]
    shift = metres * (wave * rng.normal(size=3) + 0.5 * rng.normal(size=(len(poses), 3)))
    turn = np.radians(degrees) * (wave * rng.normal(size=3) + 0.5 * rng.normal(size=(len(poses), 3))) / 2
    rough = poses.copy()
    rough[:, :3, :3] = Rotation.from_rotvec(turn).as_matrix() @ poses[:, :3, :3]
    rough[:, :3, 3] += shift
    return rough


def relative_errors(poses: np.ndarray, true: np.ndarray) -> tuple[float, float]:
    """Median error of the motion from each frame to the fourth next, in metres and degrees."""
    moved, turned = [], []
    for i in range(len(true) - 4):
        error = inverse(inverse(poses[i]) @ poses[i + 4]) @ inverse(true[i]) @ true[i + 4]
        moved.append(np.linalg.norm(error[:3, 3]))
        turned.append(np.degrees(np.linalg.norm(Rotation.from_matrix(error[:3, :3]).as_rotvec())))
    return float(np.median(moved)), float(np.median(turned))


def tracks_of(features: list[Features]) -> Tracks:
    return find_tracks(features, match_frames(features, CAMERA, POSES), CAMERA, POSES, REFINED)


def test_tracks_are_points_of_the_room():
    tracks = tracks_of(room_features(POSES, CAMERA, 0.2))
    assert len(tracks.points) > 300
    assert np.bincount(tracks.point).min() >= 2
    nearest = np.min(np.concatenate([np.abs(tracks.points), np.abs(tracks.points - [5, 4, 2.5])], axis=1), axis=1)
    assert np.median(nearest) < 0.02


def test_a_track_with_two_features_in_a_frame_is_left_out():
    features = room_features(POSES, CAMERA, 0.0)
    usual = len(tracks_of(features).points)
    mixed = [Features(f.pixels, np.roll(f.descriptors, 1 if i % 5 == 2 else 0, axis=0)) for i, f in enumerate(features)]
    tracks = tracks_of(mixed)
    assert len(tracks.points) < usual
    keys = tracks.point * COUNT + tracks.frame
    assert len(np.unique(keys)) == len(keys)


def test_frames_at_which_the_camera_comes_back_are_matched():
    there_and_back = np.concatenate([POSES, POSES[::-1]])
    pairs = matched_frames(there_and_back)
    assert (0, 1) in pairs
    assert any(j - i > 30 for i, j in pairs)
    assert all(i < j for i, j in pairs)


@pytest.mark.parametrize("factor", [1.0, 1.08, 0.93])
def test_rough_poses_and_the_focal_length_are_corrected(factor: float):
    pytest.importorskip("pycolmap", reason="needs the extra sfm")
    features = room_features(POSES, CAMERA, 0.3)
    rough = roughened(POSES, 0.02, 1.0)
    given = replace(CAMERA, fx=CAMERA.fx * factor, fy=CAMERA.fy * factor)
    found = adjust_poses(features, given, rough, TIMES)
    assert found is not None
    before, after = relative_errors(rough, POSES), relative_errors(found.poses, POSES)
    assert before[0] > 0.015
    assert after[0] < 0.009  # the drift leaves the scale uncertain by one or two per cent
    assert after[1] < 0.16
    assert found.camera.fx == pytest.approx(CAMERA.fx, rel=0.01)
    assert found.error < 0.5
    assert np.linalg.norm((found.poses - POSES)[:, :3, 3].mean(axis=0)) < 0.02


def test_frames_without_features_move_with_their_neighbours():
    pytest.importorskip("pycolmap", reason="needs the extra sfm")
    features = room_features(POSES, CAMERA, 0.2)
    rough = POSES.copy()
    rough[:, :3, 3] += 0.03 * np.sin(np.linspace(0, 6, COUNT))[:, None]
    features[7] = Features(np.zeros((0, 2)), np.zeros((0, 128), np.float32))
    found = adjust_poses(features, CAMERA, rough, TIMES)
    assert found is not None
    assert not found.adjusted[7]
    assert found.adjusted.sum() == COUNT - 1
    middle = interpolate(inverse(POSES[6]) @ found.poses[6], inverse(POSES[8]) @ found.poses[8], 0.5)
    np.testing.assert_allclose(inverse(POSES[7]) @ found.poses[7], middle, atol=0.01)


def test_too_few_features_adjust_nothing():
    none = [Features(np.zeros((0, 2)), np.zeros((0, 128), np.float32))] * COUNT
    assert adjust_poses(none, CAMERA, POSES, TIMES) is None


def test_adjusted_sequence_has_the_poses_and_undistorts(tmp_path: Path):
    folders.write_room(tmp_path, POSES[:3], POSES[:3])
    sequence = open_sequence(tmp_path)
    moved = POSES[1].copy()
    moved[0, 3] += 0.1
    lens = replace(folders.ROOM_CAMERA, fx=115.0, fy=115.0, distortion=(-0.1, 0.0, 0.0, 0.0))
    adjusted = AdjustedSequence(sequence, {0: POSES[0], 1: moved}, lens)
    np.testing.assert_allclose(adjusted[1].T_world_camera, moved)
    assert not adjusted.infos[2].used
    with pytest.raises(SequenceError, match="not refined"):
        adjusted[2]
    assert adjusted[0].intrinsics == lens.undistorted()
    pixel = lens.undistorted().project([0.4, 0.3, 1.0])
    u, v = np.rint(lens.project([0.4, 0.3, 1.0])).astype(int)
    x, y = np.rint(pixel).astype(int)
    assert adjusted[0].recorded.depth is not None
    assert adjusted[0].recorded.depth[y, x] == pytest.approx(sequence[0].recorded.depth[v, u], rel=0.02)


def refined_run(tmp_path: Path, poses: np.ndarray, true: np.ndarray, mode: str = "auto") -> dict:
    folders.write_room(tmp_path / "seq", poses, true, depth_scale=None)
    config = config_from_mapping(PipelineConfig, {"poses": {"refine": mode}, "check": {"trust": True}}, "here")
    return run(open_sequence(tmp_path / "seq"), tmp_path / "run", source="multiview", config=config, until="poses")


def test_a_run_refines_poses_that_are_off(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """In images so small that features are half a pixel off."""
    pytest.importorskip("pycolmap", reason="needs the extra sfm")
    monkeypatch.setattr("pipelines.stages.poses.LEAST_GAIN", 0.1)
    true = folders.room_poses(30)
    rough = roughened(true, 0.01, 1.5)
    manifest = refined_run(tmp_path, rough, true)
    record = manifest["stages"]["poses"]["summary"]
    assert record["refined"]
    assert record["error_refined"] < 0.9 * record["error_given"]
    assert record["turned_deg"] < 3
    assert record["focal_refined"] == pytest.approx(folders.ROOM_CAMERA.fx, rel=0.03)


def test_a_run_keeps_poses_that_are_right(tmp_path: Path):
    true = folders.room_poses(30)
    record = refined_run(tmp_path, true, true)["stages"]["poses"]["summary"]
    assert not record["refined"]
    assert "they fit the images" in record["text"]


def test_refinement_on_demand_without_its_library_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(sys.modules, "pycolmap", None)
    true = folders.room_poses(12)
    with pytest.raises(SourceError, match="m2h-mapping\\[sfm\\]"):
        refined_run(tmp_path, true, true, "on")
