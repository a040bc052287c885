"""The unit of poses: from the points of COLMAP, and from features where a format has none."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import sequence_folders as folders

from mapping.se3 import inverse, transform_points
from pipelines import open_sequence, run
from pipelines.config import config_from_mapping
from pipelines.frame import Frame, FrameSequence, poses_of
from pipelines.images import write_png
from pipelines.posing.pose_unit import estimate_unit, sparse_views
from pipelines.posing.scale_estimate import SCENE_DEVIATION, SparseView
from pipelines.scaled import ScaledSequence
from pipelines.settings import PipelineConfig
from pipelines.sources.network import PosedNetwork

UNIT, COUNT = 0.4, 14
POSES = folders.room_poses(COUNT, step=0.12)


@pytest.fixture(scope="module")
def room(tmp_path_factory: pytest.TempPathFactory) -> FrameSequence:
    """The room without depth, in a transforms.json as COLMAP leads to it: one unit of its poses is 0.4 m."""
    folder = tmp_path_factory.mktemp("unit") / "room"
    (folder / "images").mkdir(parents=True)
    camera, entries = folders.ROOM_CAMERA, []
    for i, pose in enumerate(POSES):
        write_png(folder / f"images/{i:03d}.png", folders.room_picture(pose)[0])
        matrix = pose.copy()
        matrix[:3, 3] /= UNIT
        matrix[:, 1:3] *= -1
        entries.append({"file_path": f"images/{i:03d}.png", "transform_matrix": matrix.tolist()})
    lens = {"fl_x": camera.fx, "fl_y": camera.fy, "cx": camera.cx + 0.5, "cy": camera.cy + 0.5}
    header = {**lens, "applied_transform": np.eye(4)[:3].tolist(), "frames": entries}
    (folder / "transforms.json").write_text(json.dumps(header))
    return open_sequence(folder)


def true_depth(frame: Frame) -> np.ndarray:
    return folders.room_picture(POSES[frame.index])[1]


def test_points_are_triangulated_where_the_images_show_them(room: FrameSequence) -> None:
    views = sparse_views(room, range(COUNT))
    assert len(views) == COUNT
    for i, view in views.items():
        assert len(view.depths) >= 12
        pixels = np.rint(view.pixels).astype(int)
        error = UNIT * view.depths / true_depth(room[i])[pixels[:, 1], pixels[:, 0]]
        assert np.median(np.abs(error - 1)) < 0.05


def test_the_unit_is_found_from_depth_of_single_images(room: FrameSequence) -> None:
    assert not room.is_metric
    found = estimate_unit(room, range(COUNT), true_depth)
    assert found is not None
    assert found.scale == pytest.approx(UNIT, rel=0.03)
    assert found.spread < 0.05
    assert found.deviation > 2 * SCENE_DEVIATION  # what all frames of a place share is not in their spread
    assert estimate_unit(room, [0], true_depth) is None


def floor_of(frame: Frame) -> np.ndarray:
    """Where an image shows the lowest surface of the room."""
    camera = frame.intrinsics
    rows, columns = np.indices((camera.height, camera.width))
    rays = camera.pixel_rays(np.stack([columns.ravel(), rows.ravel()], axis=1).astype(float))
    heights = transform_points(POSES[frame.index], rays * true_depth(frame).reshape(-1, 1))[:, 2]
    return np.asarray(heights.reshape(camera.height, camera.width) < 0.02)


def test_the_height_of_a_carried_camera_is_evidence_of_the_unit(
    room: FrameSequence, monkeypatch: pytest.MonkeyPatch
) -> None:
    def everywhere(sequence: FrameSequence, positions: Sequence[int]) -> dict[int, SparseView]:
        """A point in every twentieth pixel: features of this room are on its walls alone."""
        views = {}
        for position in positions:
            depth = true_depth(sequence[position])
            rows, columns = np.divmod(np.arange(0, depth.size, 20), depth.shape[1])
            views[position] = SparseView(np.stack([columns, rows], axis=1).astype(float), depth[rows, columns] / UNIT)
        return views

    monkeypatch.setattr("pipelines.posing.pose_unit.sparse_views", everywhere)

    def nearly_true(frame: Frame) -> np.ndarray:
        return 1.1 * true_depth(frame)

    alone = estimate_unit(room, range(COUNT), nearly_true)
    found = estimate_unit(room, range(COUNT), nearly_true, floor_of)
    assert alone is not None
    assert found is not None
    assert alone.evidence == ("network",)
    assert found.evidence == ("network", "carried height")
    assert abs(np.log(found.scale / UNIT)) < abs(np.log(alone.scale / UNIT)) - 0.03
    assert found.deviation < 0.8 * alone.deviation


def test_colmap_has_points_of_its_own(tmp_path: Path) -> None:
    folders.write_colmap_text(tmp_path)
    sequence = open_sequence(tmp_path)
    point = transform_points(sequence[0].T_world_camera, [0.1, 0.2, 2.0])
    number = " ".join(map(str, point))
    (tmp_path / "sparse/0/points3D.txt").write_text(f"1 {number} 9 9 9 0.5 1 0 2 0 3 0\n")
    view = sparse_views(sequence, [0])[0]
    np.testing.assert_allclose(view.depths, [2.0])
    np.testing.assert_allclose(view.pixels, [sequence[0].intrinsics.project(np.array([0.1, 0.2, 2.0]))])
    assert np.allclose(inverse(sequence[0].T_world_camera) @ sequence[0].T_world_camera, np.eye(4))


def test_the_posed_network_gets_metres(room: FrameSequence, monkeypatch: pytest.MonkeyPatch) -> None:
    config = config_from_mapping(PipelineConfig, {}, "test")
    asked = PosedNetwork(None, room, config, poses_of(room))  # type: ignore[arg-type]
    monkeypatch.setattr(PosedNetwork, "_surfaces", lambda self, scale, positions: [])
    monkeypatch.setattr(PosedNetwork, "_depth_alone", lambda self, frame: true_depth(frame))
    np.testing.assert_allclose(
        np.diff(asked.metric_poses[:, :3, 3], axis=0), np.diff(POSES[:, :3, 3], axis=0), atol=0.01
    )
    assert asked.notes == []
    blind = PosedNetwork(None, room, config, poses_of(room))  # type: ignore[arg-type]
    monkeypatch.setattr(PosedNetwork, "_depth_alone", lambda self, frame: 0 * true_depth(frame))
    np.testing.assert_array_equal(blind.metric_poses, poses_of(room))
    assert "it is taken for a metre; give it with --scale" in blind.notes[0]


def test_poses_are_brought_to_metres(room: FrameSequence) -> None:
    metric = ScaledSequence(room, UNIT)
    assert metric.is_metric
    assert not room.is_metric
    np.testing.assert_allclose(poses_of(metric), POSES, atol=1e-9)
    np.testing.assert_allclose(metric[3].T_world_camera, POSES[3], atol=1e-9)
    np.testing.assert_array_equal(metric[3].rgb, room[3].rgb)


def test_sizes_in_an_unknown_unit_are_said_to_be(room: FrameSequence, tmp_path: Path) -> None:
    quick = {"multiview": {"width": 80, "planes": 32}, "tsdf": {"voxel_size": 0.2}}
    said = {}
    for name, more in {"unknown": {}, "given": {"align": {"pose_scale": UNIT}}}.items():
        config = config_from_mapping(PipelineConfig, quick | more, "test")
        manifest = run(room, tmp_path / name, source="multiview", config=config, until="align")
        said[name] = manifest["stages"]["align"]
        assert said[name]["summary"]["scale_state"] == name
    assert said["unknown"]["warnings"] == ["the unit of the poses is unknown: sizes are in it; give it with --scale"]
    assert said["given"]["warnings"] == []
    assert "one unit of the poses is 0.4 m (given)" in said["given"]["summary"]["text"]
