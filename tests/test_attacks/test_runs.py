"""Whole runs of sequences with one thing wrong: right numbers or one line, in bounded time and memory."""

import json
import time

import cv2
import numpy as np
import pytest
from attacks import MOST_SECONDS, refused
from helpers import copy_sequence

from pipelines import open_sequence
from pipelines import run as run_pipeline
from pipelines.images import read_rgb, write_png
from pipelines.peak_memory import PeakMemory

FRAMES, MOST_MIB = 30, 2048
pytestmark = pytest.mark.slow


@pytest.fixture(scope="module", autouse=True)
def compiled(box_room, tmp_path_factory):
    """What takes long once is no part of any run."""
    run_pipeline(open_sequence(box_room), tmp_path_factory.mktemp("compiled") / "run", until="fuse")


def with_poses(box_room, folder, change):
    """A copy of which `change` gets the poses (N, 4, 4), to be altered in place."""
    path = copy_sequence(box_room, folder / "sequence")
    header = json.loads((path / "transforms.json").read_text())
    poses = np.array([frame["transform_matrix"] for frame in header["frames"]])
    change(poses)
    for frame, pose in zip(header["frames"], poses.tolist(), strict=True):
        frame["transform_matrix"] = pose
    (path / "transforms.json").write_text(json.dumps(header))
    return path


def fused(path, folder):
    """The manifest of a run up to the fusion, within bounds of time and memory."""
    start = time.process_time()
    with PeakMemory() as before:  # of what other tests loaded
        pass
    with PeakMemory() as memory:
        manifest = run_pipeline(open_sequence(path), folder / "run", until="fuse")
    assert memory.mib - before.mib < MOST_MIB
    assert time.process_time() - start < MOST_SECONDS
    return manifest["stages"]


def move(poses, which, distance):
    poses[which, 0, 3] += distance


@pytest.mark.parametrize("distance", [1e300, *(pytest.param(x, marks=pytest.mark.full) for x in (-1e300, 1e12)), 1e6])
def test_a_camera_that_is_nowhere_is_lost(box_room, tmp_path, distance):
    path = with_poses(box_room, tmp_path, lambda poses: move(poses, 5, distance))
    stages = fused(path, tmp_path)
    assert stages["sequence"]["summary"]["unused"] == {"lost pose": 1}
    assert stages["fuse"]["summary"]["frames"] == FRAMES - 1


def test_cameras_that_are_all_nowhere_are_refused(box_room, tmp_path):
    path = with_poses(box_room, tmp_path, lambda poses: move(poses, slice(None), 1e300))
    line = refused(lambda: fused(path, tmp_path))
    assert line.endswith(f"none of {FRAMES} frames are usable: {FRAMES} lost pose (too far from the origin)")


@pytest.mark.parametrize("which", [pytest.param([5], marks=pytest.mark.full), [5, 6, 7], slice(26, None)])
def test_a_few_cameras_in_millimetres_are_lost(box_room, tmp_path, which):
    def scale(poses):
        poses[which, :3, 3] *= 1000

    stages = fused(with_poses(box_room, tmp_path, scale), tmp_path)
    count = len(np.arange(FRAMES)[which])
    assert stages["sequence"]["summary"]["unused"] == {"lost pose": count}
    assert stages["fuse"]["summary"]["frames"] == FRAMES - count


@pytest.mark.parametrize("which", [slice(None), slice(None, None, 2), slice(10, None)])
def test_cameras_in_millimetres_are_refused(box_room, tmp_path, which):
    def scale(poses):
        poses[which, :3, 3] *= 1000

    path = with_poses(box_room, tmp_path, scale)
    line = refused(lambda: fused(path, tmp_path))
    assert line.startswith(f"{path}: successive cameras are ")
    assert "--scale METRES_PER_UNIT" in line


def test_a_part_of_a_map_that_is_far_away_is_refused(box_room, tmp_path):
    path = with_poses(box_room, tmp_path, lambda poses: move(poses, slice(20, None), 5000.0))
    line = refused(lambda: fused(path, tmp_path))
    assert line.startswith(f"{path}: the camera jumps by 5e+03 m from one frame to the next")


@pytest.mark.parametrize(("size", "frames"), [((80, 60), FRAMES), ((30, 10), FRAMES - 1)])
def test_an_image_of_another_size(box_room, tmp_path, size, frames):
    """Of the same shape it is used with its own camera; of another it is omitted and named."""
    path = copy_sequence(box_room, tmp_path / "sequence")
    name = "images/000005.png"
    image = path / name
    write_png(image, cv2.resize(read_rgb(image), size))
    stages = fused(path, tmp_path)
    assert stages["fuse"]["summary"]["frames"] == frames
    omitted = [
        text for text in stages["fuse"]["warnings"] if f"frame omitted: {name}: is {size[0]}x{size[1]} pixels" in text
    ]
    assert len(omitted) == FRAMES - frames
