"""Images that are counted from another number than the format's have their own poses, or none."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
import pytest
import sequence_folders as folders

from pipelines import open_sequence
from pipelines.frame import SequenceError
from pipelines.images import write_png


def renumber(folder: Path, pattern: str, name: str) -> None:
    """Give files, in reverse, the number after their own."""
    for i, file in reversed(list(enumerate(sorted(folder.glob(pattern))))):
        file.rename(folder / name.format(i + 1))


def check_poses(sequence: Path, note: str | None) -> None:
    opened = open_sequence(sequence)
    assert [info.used for info in opened.infos] == [True] * folders.COUNT
    for i in range(folders.COUNT):
        np.testing.assert_allclose(opened.infos[i].T_world_camera, folders.POSES[i], atol=1e-6)
        assert np.abs(opened[i].rgb.astype(int) - folders.rgb(i)).max() < 12
    assert any(found == note for found in opened.notes) == (note is not None)


def test_replica_from_one(tmp_path: Path) -> None:
    folders.write_replica(tmp_path)
    check_poses(tmp_path, None)
    renumber(tmp_path / "results", "frame*", "frame{:06d}.jpg")
    renumber(tmp_path / "results", "depth*", "depth{:06d}.png")
    check_poses(tmp_path, "images are numbered from 1: the first pose of traj.txt is that of image 1")
    (tmp_path / "results/frame000003.jpg").unlink()
    with pytest.raises(
        SequenceError, match=r"traj\.txt: has 3 poses for 2 images, and the images' numbers \(1 to 2\) do not"
    ):
        open_sequence(tmp_path)


def test_record3d_from_one(tmp_path: Path) -> None:
    folders.write_record3d(tmp_path)
    file = tmp_path / "EXR_RGBD/metadata.json"
    keys = json.loads(file.read_text())
    keys["perFrameIntrinsicCoeffs"] = [[20.0 + i, 21.0, 7.0, 5.0] for i in range(folders.COUNT)]
    file.write_text(json.dumps(keys | {"frameTimestamps": [3.0, 3.1, 3.3]}))
    renumber(tmp_path / "EXR_RGBD/rgb", "*.jpg", "{}.jpg")
    check_poses(tmp_path, "images are numbered from 1: the first pose of metadata.json is that of image 1")
    infos = open_sequence(tmp_path).infos
    assert [(info.timestamp, info.intrinsics.fx) for info in infos] == [(3.0, 20.0), (3.1, 21.0), (3.3, 22.0)]
    (tmp_path / "EXR_RGBD/rgb/3.jpg").unlink()
    with pytest.raises(SequenceError, match=r"metadata\.json: has 3 poses for 2 images"):
        open_sequence(tmp_path)


def test_stray_scanner_from_one(tmp_path: Path) -> None:
    folders.write_stray_scanner(tmp_path)
    file = tmp_path / "odometry.csv"
    text = file.read_text()
    file.write_text(text.replace("000002", "000003").replace("000001", "000002").replace("000000", "000001"))
    for folder in ("depth", "confidence"):
        renumber(tmp_path / folder, "*.png", "{:06d}.png")
    check_poses(tmp_path, "images are numbered from 1: the first pose of odometry.csv is that of image 1")
    np.testing.assert_allclose(open_sequence(tmp_path)[0].recorded.depth, folders.depth(0), atol=1e-3)
    file.write_text("\n".join(file.read_text().splitlines()[:3]) + "\n")
    with pytest.raises(
        SequenceError, match=r"odometry\.csv: the frame numbers 1 to 2 do not show which is the first of the"
    ):
        open_sequence(tmp_path)


def test_scannet_with_poses_of_other_numbers(tmp_path: Path) -> None:
    folders.write_scannet(tmp_path)
    for i in range(folders.COUNT):
        (tmp_path / f"color/{20 * i}.jpg").rename(tmp_path / f"color/{i + 1}.jpg")
        (tmp_path / f"depth/{20 * i}.png").rename(tmp_path / f"depth/{i + 1}.png")
        (tmp_path / f"pose/{20 * i}.txt").rename(tmp_path / f"pose/{i}.txt")
    with pytest.raises(SequenceError, match=r"pose: is numbered -1 against the images"):
        open_sequence(tmp_path)


@pytest.mark.parametrize("kind", ["pose.txt", "depth.png"])
def test_seven_scenes_with_poses_or_depth_of_other_numbers(tmp_path: Path, kind: str) -> None:
    scene = tmp_path / "seq-01"
    folders.write_seven_scenes(scene)
    for other in ("color.png", "pose.txt", "depth.png"):
        for i, file in enumerate(sorted(scene.glob(f"*.{other}"))):
            file.rename(scene / f"frame-{i + (other == kind):06d}.{other}")
    with pytest.raises(SequenceError, match=rf"frame-\*\.{kind}: is numbered \+1 against the images"):
        open_sequence(scene)


def test_depth_that_may_be_of_a_lower_rate_is_noted(tmp_path: Path) -> None:
    folders.write_hololens(tmp_path)
    for i in (1, 2):
        (tmp_path / f"depth/{i:05d}.png").unlink()
    sequence = open_sequence(tmp_path)
    assert [info.has_depth for info in sequence.infos] == [True, False, False]
    assert any("only the first 1 of 3 images have depth, by equal numbers" in note for note in sequence.notes)


@pytest.mark.parametrize("lines", [2, 4, 6])
def test_a_video_needs_a_pose_for_each_frame(tmp_path: Path, lines: int) -> None:
    writer = cv2.VideoWriter(str(tmp_path / "walk.avi"), cv2.VideoWriter_fourcc(*"MJPG"), 20, (32, 24))
    for i in range(3):
        writer.write(np.full((24, 32, 3), 50 * i, np.uint8))
    writer.release()
    (tmp_path / "camera.yaml").write_text("fx: 20\n")
    np.savetxt(tmp_path / "poses.txt", folders.POSES[:, :3].reshape(3, 12))
    assert [info.used for info in open_sequence(tmp_path).infos] == [True] * 3
    np.savetxt(tmp_path / "poses.txt", np.tile(np.eye(4)[:3].ravel(), (lines, 1)))
    with pytest.raises(
        SequenceError, match=rf"poses\.txt: has {lines} poses for the 3 frames of the video: give one per frame"
    ):
        open_sequence(tmp_path)


def test_poses_of_images_named_by_decimals(tmp_path: Path) -> None:
    """One of them without its fraction of zeros."""
    folders.write_posed_images(tmp_path)
    for i, name in enumerate(("0.96", "1", "1.2")):
        for folder in ("images", "depth"):
            (tmp_path / folder / f"{i:06d}.png").rename(tmp_path / folder / f"{name}.png")
    folders.write_camera_yaml(tmp_path, "depth: depth\n")
    check_poses(tmp_path, None)
    assert [info.timestamp for info in open_sequence(tmp_path).infos] == [0.96, 1.0, 1.2]
    write_png(tmp_path / "images/1.4.png", folders.rgb(0))
    with pytest.raises(SequenceError, match="do not determine the assignment"):
        open_sequence(tmp_path)


def test_frames_of_decimal_names_are_in_the_order_of_their_values(tmp_path: Path) -> None:
    """Without time stamps the order gives the times."""
    folders.write_nerfstudio(tmp_path)
    names = ["f0.52", "f0.6", "f1"]
    text = (tmp_path / "transforms.json").read_text()
    for i, name in enumerate(names):
        for folder in ("images", "depth", "semantics"):
            (tmp_path / folder / f"frame_{i + 1:05d}.png").rename(tmp_path / folder / f"{name}.png")
        text = text.replace(f"frame_{i + 1:05d}.", f"{name}.")
    (tmp_path / "transforms.json").write_text(text)
    assert [Path(info.image).stem for info in open_sequence(tmp_path).infos] == names
