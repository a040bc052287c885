"""Runs that refine their poses: where these are off, with masks, many frames, a far origin and a video."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import sequence_folders as folders
from rough_poses import relative_errors, roughened

from mapping.mesh.io import read_mesh
from pipelines import open_sequence, run
from pipelines.config import config_from_mapping
from pipelines.frame import SequenceError
from pipelines.images import read_rgb, write_png
from pipelines.settings import PipelineConfig
from pipelines.sources.source import SourceError
from pipelines.stages.refine_poses import POSES_FILE, with_refined_poses

TRUE = folders.room_poses(30)
ROUGH = roughened(TRUE, 0.01, 1.5)
FAR = np.array([500_000.0, 5_400_000.0, 0.0])
DETAIL = 30.0
"""Of the pictures of the room, in which there are then hundreds of features."""
USED = np.ones((folders.ROOM_CAMERA.height, folders.ROOM_CAMERA.width), bool)
USED[80:, 50:110] = False


def settings(**more: Any) -> PipelineConfig:
    return config_from_mapping(PipelineConfig, {"check": {"trust": True}} | more, "here")


def refined_run(tmp_path: Path, poses: np.ndarray, true: np.ndarray, **refinement: Any) -> dict:
    """What the stage says of the room with these poses and no depth."""
    folders.write_room(tmp_path / "seq", poses, true, depth_scale=None, detail=DETAIL)
    config = settings(poses={"refine": "auto"} | refinement)
    manifest = run(open_sequence(tmp_path / "seq"), tmp_path / "run", source="multiview", config=config, until="poses")
    return manifest["stages"]["poses"]["summary"]


def refined_poses(run_folder: Path, count: int) -> np.ndarray:
    """(N, 4, 4) of poses.json."""
    data = json.loads((run_folder / POSES_FILE).read_text())
    return np.array([data["poses"][str(i)] for i in range(count)])


@pytest.fixture
def sfm() -> None:
    pytest.importorskip("pycolmap", reason="needs the extra sfm")


def test_a_run_refines_poses_that_are_off(tmp_path: Path, sfm: None) -> None:
    record = refined_run(tmp_path, ROUGH, TRUE)
    assert record["refined"]
    assert record["error_refined"] < 0.2 * record["error_given"]
    assert record["turned_deg"] < 3
    assert record["focal_refined"] == pytest.approx(folders.ROOM_CAMERA.fx, rel=0.01)
    before, after = relative_errors(ROUGH, TRUE), relative_errors(refined_poses(tmp_path / "run", len(TRUE)), TRUE)
    assert after[0] < 0.6 * before[0]
    assert after[1] < 0.2 * before[1]
    assert record["drift"]["turn_deg"] > 0.5
    assert "given poses differ from refined ones by" in record["text"]
    assert record["gaps"] == ()


def run_without_trust(tmp_path: Path, poses: np.ndarray, refine: str) -> dict:
    folders.write_room(tmp_path / "seq", poses, TRUE, depth_scale=None, detail=DETAIL)
    config = config_from_mapping(PipelineConfig, {"poses": {"refine": refine}}, "here")
    sequence = open_sequence(tmp_path / "seq")
    return run(sequence, tmp_path / "run", source="multiview", config=config, until="poses")["stages"]


def test_poses_that_fit_no_image_are_mapped_where_refined_ones_do(tmp_path: Path, sfm: None) -> None:
    stages = run_without_trust(tmp_path, ROUGH, "auto")
    assert stages["check"]["summary"]["verdict"] == "unclear"
    assert stages["check"]["warnings"][0].startswith("refined poses are mapped, as conventions: UNCLEAR")
    assert stages["poses"]["summary"]["refined"]
    assert relative_errors(refined_poses(tmp_path / "run", len(TRUE)), TRUE)[1] < 0.3


def test_poses_that_fit_no_image_stop_the_run_where_refinement_is_off(tmp_path: Path) -> None:
    with pytest.raises(SequenceError, match="UNCLEAR, no reading fits"):
        run_without_trust(tmp_path, ROUGH, "off")


def test_poses_that_fit_no_image_and_cannot_be_refined_stop_the_run(tmp_path: Path, sfm: None) -> None:
    with pytest.raises(SequenceError, match=r"UNCLEAR, no reading fits.*; poses are not refined: .*--trust"):
        run_without_trust(tmp_path, roughened(TRUE, 0.3, 60.0), "auto")


def test_a_run_keeps_poses_that_are_right(tmp_path: Path) -> None:
    record = refined_run(tmp_path, TRUE, TRUE)
    assert not record["refined"]
    assert "they fit the images" in record["text"]


def test_refinement_on_demand_without_its_library_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pycolmap", None)
    with pytest.raises(SourceError, match="m2h-mapping\\[sfm\\]"):
        refined_run(tmp_path, TRUE[:12], TRUE[:12], refine="on")


def test_check_and_refinement_find_the_features_of_a_frame_once(
    tmp_path: Path, sfm: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    from pipelines import features

    asked, find = [], features.find_features
    monkeypatch.setattr(features, "find_features", lambda rgb, most: asked.append(1) or find(rgb, most))
    assert refined_run(tmp_path, ROUGH, TRUE)["refined"]
    assert len(asked) == len(TRUE)


def test_of_more_frames_than_are_adjusted_every_third_is_and_the_others_move_with_them(
    tmp_path: Path, sfm: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A slow drift."""
    from pipelines.stages import refine_poses as stage

    asked, adjust = [], stage.adjust_poses
    monkeypatch.setattr(
        stage, "adjust_poses", lambda features, *rest: asked.extend(features) or adjust(features, *rest)
    )
    true = folders.room_poses(36, turn_deg=2.5)
    drifted = true.copy()
    drifted[:, :3, 3] += 0.04 * np.sin(np.linspace(0, 9, len(true)))[:, None] * [1, -0.5, 0.7]
    assert refined_run(tmp_path, drifted, true, most_frames=12)["refined"]
    assert [len(found.pixels) > 0 for found in asked] == [i % 3 == 0 for i in range(len(true))]
    found = refined_poses(tmp_path / "run", len(true))
    assert relative_errors(found, true)[0] < 0.5 * relative_errors(drifted, true)[0]


def test_what_moves_with_the_camera_under_a_mask_does_not_hold_the_poses(tmp_path: Path, sfm: None) -> None:
    """A gripper in every image, which would match itself best of all."""
    folders.write_room(tmp_path / "seq", ROUGH, TRUE, depth_scale=None, detail=DETAIL)
    gripper = np.random.default_rng(0).integers(0, 255, (*USED.shape, 1), dtype=np.uint8)
    (tmp_path / "seq/masks").mkdir()
    for path in sorted((tmp_path / "seq/images").iterdir()):
        write_png(path, np.where(USED[..., None], read_rgb(path), gripper))
        write_png(tmp_path / "seq/masks" / path.name, (255 * USED).astype(np.uint8))
    sequence = open_sequence(tmp_path / "seq")
    manifest = run(sequence, tmp_path / "run", source="multiview", config=settings(), until="poses")
    assert manifest["stages"]["poses"]["summary"]["refined"]
    found = refined_poses(tmp_path / "run", len(TRUE))
    assert relative_errors(found, TRUE)[1] < 0.2 * relative_errors(ROUGH, TRUE)[1]
    frame = with_refined_poses(sequence, tmp_path / "run" / POSES_FILE)[4]
    assert frame.mask is not None
    assert (frame.mask != USED).mean() < 0.05
    assert not frame.rgb[~frame.mask].any()


@pytest.mark.slow
def test_refined_poses_of_a_far_world_lead_back_to_its_coordinates(tmp_path: Path, sfm: None) -> None:
    stored = ROUGH.copy()
    stored[:, :3, 3] += FAR
    folders.write_room(tmp_path / "seq", stored, TRUE, detail=DETAIL)
    config = settings(poses={"refine": "on"}, tsdf={"voxel_size": 0.1})
    manifest = run(open_sequence(tmp_path / "seq"), tmp_path / "run", config=config, until="graph")
    assert manifest["stages"]["poses"]["summary"]["refined"]
    found = refined_poses(tmp_path / "run", len(TRUE))
    assert np.abs(found[:, :3, 3]).max() < 10
    assert np.median(np.linalg.norm((found - ROUGH)[:, :3, 3], axis=1)) > 0.002
    T = np.array(json.loads((tmp_path / "run/levelling.json").read_text())["T_input_world"])
    cameras = np.loadtxt(tmp_path / "run/trajectory.tum")[:, 1:4]
    np.testing.assert_allclose(cameras @ T[:3, :3].T + T[:3, 3], found[:, :3, 3] + FAR, atol=1e-4)


@pytest.mark.full
def test_a_video_with_a_wrong_focal_length_far_from_the_origin_is_mapped(tmp_path: Path, sfm: None) -> None:
    """From the video to the mesh by depth from its images, which lies where the room is in the coordinates of the poses."""
    folder, (width, height) = tmp_path / "walk", (folders.ROOM_CAMERA.width, folders.ROOM_CAMERA.height)
    folder.mkdir()
    writer = cv2.VideoWriter(str(folder / "walk.avi"), cv2.VideoWriter_fourcc(*"HFYU"), 10.0, (width, height))
    for pose in TRUE:
        writer.write(np.ascontiguousarray(folders.room_picture(pose, DETAIL)[0][..., ::-1]))
    writer.release()
    stored = TRUE.copy()
    stored[:, :3, 3] += FAR
    np.savetxt(folder / "poses.txt", stored[:, :3].reshape(-1, 12))
    (folder / "camera.yaml").write_text("fx: 122\ncx: 79.5\ncy: 59.5\nvideo: walk.avi\nworld_up: [0, 0, 1]\n")
    config = settings(multiview={"width": 160, "planes": 48}, tsdf={"voxel_size": 0.1})
    manifest = run(open_sequence(folder), tmp_path / "run", source="multiview", config=config, until="graph")
    refined = manifest["stages"]["poses"]["summary"]
    assert refined["refined"]
    assert refined["focal_refined"] == pytest.approx(folders.ROOM_CAMERA.fx, rel=0.02)
    T = np.array(json.loads((tmp_path / "run/levelling.json").read_text())["T_input_world"])
    assert np.abs(T[:3, 3]).max() > 5e6
    vertices = read_mesh(tmp_path / "run/mesh.ply").vertices @ T[:3, :3].T + T[:3, 3] - FAR
    from_walls = np.abs(np.concatenate([vertices, vertices - [5.0, 4.0, 2.5]], axis=1)).min(axis=1)
    assert len(vertices) > 500
    assert np.median(from_walls) < 0.06
