"""Images of different sizes under one camera: each has the camera of its own size."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import sequence_folders as folders

from pipelines import open_sequence
from pipelines.checks.inspection import inspect_sequence
from pipelines.frame import FrameSequence, SequenceError
from pipelines.images import write_png
from pipelines.settings import PipelineConfig
from pipelines.sources.source import open_source

HALF = folders.ROOM_CAMERA.resized(80, 60)
POSES = folders.room_poses(12)


def write_two_sizes(path: Path) -> None:
    """The room as transforms.json with one camera and no depth; every second image has half the width and height."""
    (path / "images").mkdir()
    frames = []
    for i, pose in enumerate(POSES):
        name = f"images/{i:05d}.png"
        write_png(path / name, folders.room_picture(pose, 30.0, HALF if i % 2 else folders.ROOM_CAMERA)[0])
        stored = pose @ np.diag([1.0, -1.0, -1.0, 1.0])
        frames.append({"file_path": name, "timestamp": i / 10, "transform_matrix": stored.tolist()})
    camera = {"w": 160, "h": 120, "fl_x": 110, "fl_y": 110, "cx": 80, "cy": 60}
    (path / "transforms.json").write_text(json.dumps({**camera, "frames": frames}))


@pytest.fixture
def sequence(tmp_path: Path) -> FrameSequence:
    write_two_sizes(tmp_path)
    return open_sequence(tmp_path)


def test_each_image_has_the_camera_of_its_size(sequence: FrameSequence) -> None:
    assert [info.intrinsics for info in sequence.infos] == [folders.ROOM_CAMERA, HALF] * 6
    assert all(sequence[i].intrinsics == sequence.infos[i].intrinsics for i in range(12))


def test_focal_length_of_a_correction_is_in_pixels_of_the_first_image(tmp_path: Path) -> None:
    write_two_sizes(tmp_path)
    (tmp_path / "m2h.yaml").write_text("focal_length: 100\n")
    assert [info.intrinsics.fx for info in open_sequence(tmp_path).infos] == pytest.approx([100.0, 50.0] * 6)


def test_inspection_compares_frames_of_equal_size(sequence: FrameSequence) -> None:
    found = inspect_sequence(sequence)
    assert found.check.conventions.verdict == "right"
    assert found.check.conventions.evidence == "images"


def test_depth_from_images_has_the_size_of_each_image(sequence: FrameSequence) -> None:
    source = open_source("multiview", sequence, PipelineConfig())
    for i in (4, 5):
        depth = source.predict(sequence[i]).depth
        truth = folders.room_picture(POSES[i], 30.0, sequence.infos[i].intrinsics)[1]
        assert depth is not None
        assert depth.shape == truth.shape
        known = depth > 0
        assert known.mean() > 0.3
        assert np.median(np.abs(depth[known] / truth[known] - 1)) < 0.03


def test_image_of_another_shape_is_an_error_in_one_line(tmp_path: Path) -> None:
    write_two_sizes(tmp_path)
    write_png(tmp_path / "images/00003.png", np.zeros((80, 80, 3), np.uint8))
    with pytest.raises(SequenceError, match=r"images/00003\.png: is 80x80 pixels, but its camera is 160x120"):
        _ = open_sequence(tmp_path)[3]
