"""Image folders and videos with a pose file and camera.yaml."""

from __future__ import annotations

import copy
import re
from dataclasses import fields
from pathlib import Path

import cv2
import numpy as np
import pytest
import sequence_folders as folders
import yaml

from mapping.camera import Intrinsics
from pipelines import open_sequence
from pipelines.config import config_from_mapping
from pipelines.frame import SequenceError
from pipelines.images import write_png
from pipelines.sequences.camera_file import CameraFile
from pipelines.sequences.conventions import Overrides
from pipelines.sequences.video import VideoFile

TUM_LINES = "0.0 0 0 0 0 0 0 1\n0.1 1 0 0 0 0 0 1\n0.2 2 0 0 0 0 0 1\n"


def write_images(path: Path, names: list[str], folder: str = "images") -> None:
    (path / folder).mkdir(parents=True)
    for name in names:
        write_png(path / folder / name, np.zeros((folders.HEIGHT, folders.WIDTH, 3), np.uint8))


def write_video(path: Path, frames: int = 12, fps: float = 20.0, fourcc: str = "MJPG") -> None:
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*fourcc), fps, (32, 24))
    for i in range(frames):
        bgr = np.zeros((24, 32, 3), np.uint8)
        bgr[..., 2] = 20 * i  # red encodes the frame
        writer.write(bgr)
    writer.release()


def test_kitti_frame_by_hand(tmp_path: Path) -> None:
    write_images(tmp_path, ["000000.png", "000001.png"], "image_2")
    folders.write_camera_yaml(tmp_path)
    (tmp_path / "poses.txt").write_text("1 0 0 0 0 1 0 0 0 0 1 0\n0 0 1 5 0 1 0 6 -1 0 0 7\n")
    sequence = open_sequence(tmp_path)
    np.testing.assert_allclose(sequence[1].T_world_camera @ [0, 0, 2, 1], [7, 6, 7, 1])
    assert sequence.infos[1].timestamp == 1 / 30


def test_tum_poses_at_times_from_names(tmp_path: Path) -> None:
    write_images(tmp_path, ["0.05.png", "0.10.png", "0.50.png"])
    folders.write_camera_yaml(tmp_path)
    (tmp_path / "trajectory.txt").write_text(TUM_LINES)
    sequence = open_sequence(tmp_path)
    assert [info.used for info in sequence.infos] == [True, True, False]
    assert sequence[0].T_world_camera[0, 3] == pytest.approx(0.5)
    assert sequence[1].T_world_camera[0, 3] == 1


def test_times_in_nanoseconds_and_an_offset(tmp_path: Path) -> None:
    write_images(tmp_path, ["1403636579763555584.png"])
    folders.write_camera_yaml(tmp_path, "time_offset: -1403636579.7\n")
    (tmp_path / "poses.csv").write_text(TUM_LINES.replace(" ", ","))
    sequence = open_sequence(tmp_path)
    assert sequence.infos[0].timestamp == pytest.approx(1403636579.763555584)
    assert sequence[0].T_world_camera[0, 3] == pytest.approx(0.635556, abs=1e-4)


def test_times_from_a_file_or_a_rate(tmp_path: Path) -> None:
    write_images(tmp_path, ["a.png", "b.png"])
    (tmp_path / "poses.txt").write_text(TUM_LINES)
    folders.write_camera_yaml(tmp_path)
    with pytest.raises(SequenceError, match="give times, fps, or files named by time"):
        open_sequence(tmp_path)
    folders.write_camera_yaml(tmp_path, "fps: 10\n")
    assert [info.timestamp for info in open_sequence(tmp_path).infos] == [0, 0.1]
    folders.write_camera_yaml(tmp_path, "times: t.txt\n")
    (tmp_path / "t.txt").write_text("0.02\n0.04\n")
    assert [info.timestamp for info in open_sequence(tmp_path).infos] == [0.02, 0.04]
    (tmp_path / "t.txt").write_text("0.02\n")
    with pytest.raises(SequenceError, match=r"t\.txt: has 1 times for 2 images"):
        open_sequence(tmp_path)


def test_rate_divides_the_numbers_of_images(tmp_path: Path) -> None:
    """Every fifth image of a recording at 30 per second: the pose of image 10 is that of a third of a second."""
    write_images(tmp_path, ["frame_000000.png", "frame_000005.png", "frame_000010.png"])
    (tmp_path / "poses.txt").write_text("0 0 0 0 0 0 0 1\n0.2 6 0 0 0 0 0 1\n0.4 12 0 0 0 0 0 1\n")
    folders.write_camera_yaml(tmp_path, "fps: 30\n")
    sequence = open_sequence(tmp_path)
    np.testing.assert_allclose([info.timestamp for info in sequence.infos], [0, 5 / 30, 10 / 30])
    np.testing.assert_allclose([info.T_world_camera[0, 3] for info in sequence.infos], [0, 5, 10])
    for file in (tmp_path / "images").iterdir():
        file.rename(file.with_stem(f"{file.stem}_{int(file.stem[-6:]) + 7}"))
    with pytest.raises(
        SequenceError, match=r"camera\.yaml: fps: the images have no one number .* \(frame_000000_7\.png"
    ):
        open_sequence(tmp_path)


def test_rate_next_to_other_times_is_an_error(tmp_path: Path) -> None:
    write_images(tmp_path / "stamps", ["1400000000.000000.png", "1400000000.100000.png"])
    write_video(tmp_path / "video.avi")
    (tmp_path / "video").mkdir()
    (tmp_path / "video.avi").rename(tmp_path / "video/walk.avi")
    for name, source in (
        ("stamps", r"1400000000\.000000\.png is named by time"),
        ("video", "the video has its own times"),
    ):
        (tmp_path / name / "poses.txt").write_text(TUM_LINES)
        (tmp_path / name / "camera.yaml").write_text("fx: 20\nfps: 30\n")
        with pytest.raises(SequenceError, match=rf"camera\.yaml: fps has no effect: {source}$"):
            open_sequence(tmp_path / name)


def test_conventions_of_the_camera_file(tmp_path: Path) -> None:
    """World-to-camera with OpenGL axes: stored [R | t] of a camera at x = 4 looking along +y (its z axis is -y)."""
    write_images(tmp_path, ["0.png"])
    folders.write_camera_yaml(tmp_path, "pose_convention: world_to_camera\ncamera_axes: opengl\n")
    (tmp_path / "poses.txt").write_text("1 0 0 -4  0 0 1 0  0 -1 0 0\n")
    T = open_sequence(tmp_path)[0].T_world_camera
    np.testing.assert_allclose(T @ [0, 0, 1, 1], [4, 1, 0, 1], atol=1e-12)
    np.testing.assert_allclose(T @ [0, 1, 0, 1], [4, 0, -1, 1], atol=1e-12)


def test_field_of_view_instead_of_a_focal_length(tmp_path: Path) -> None:
    folders.write_posed_images(tmp_path)
    (tmp_path / "camera.yaml").write_text("hfov_deg: 90\n")
    camera = open_sequence(tmp_path)[0].intrinsics
    assert camera.fx == pytest.approx(8.0)
    assert (camera.cx, camera.cy, camera.width, camera.height) == (7.5, 5.5, 16, 12)


def test_fisheye_without_coefficients_is_a_fisheye(tmp_path: Path) -> None:
    """The equidistant lens: 8 pixels from the centre a ray is 8 / fx off the axis, not its arc tangent."""
    write_images(tmp_path, ["0.png"])
    image = np.zeros((12, 16, 3), np.uint8)
    image[6, 12] = 255
    write_png(tmp_path / "images/0.png", image)
    np.savetxt(tmp_path / "poses.txt", folders.POSES[:1, :3].reshape(1, 12))
    for lens in ("distortion_model: fisheye\n", "distortion_model: fisheye\ndistortion: [0, 0, 0, 0]\n"):
        (tmp_path / "camera.yaml").write_text("fx: 5\ncx: 7\ncy: 6\n" + lens)
        rgb = open_sequence(tmp_path)[0].rgb
        np.testing.assert_allclose(np.argmax(rgb[6, :, 0]), 7 + 5 * np.tan(5 / 5), atol=1)
        assert rgb[6, 12].max() < 255


def test_poses_of_tartan_air(tmp_path: Path) -> None:
    """Seven numbers per line, x forward, y right, z down, depth as arrays in metres."""
    write_images(tmp_path, [f"{i:06d}_left.png" for i in range(2)], "image_left")
    (tmp_path / "depth_left").mkdir()
    for i in range(2):
        np.save(tmp_path / f"depth_left/{i:06d}_left_depth.npy", np.full((12, 16), 2.5 + i, np.float32))
    (tmp_path / "pose_left.txt").write_text("1 2 -1.5 0 0 0 1\n1 2 -1.5 0 0 0.70710678 0.70710678\n")
    folders.write_camera_yaml(
        tmp_path,
        "images: image_left\nposes: pose_left.txt\ndepth: depth_left\ndepth_scale: 1\ncamera_axes: ned\nworld_up: [0, 0, -1]\n",
    )
    sequence = open_sequence(tmp_path)
    np.testing.assert_allclose(sequence[0].T_world_camera @ [0, 0, 2, 1], [3, 2, -1.5, 1], atol=1e-6)  # ahead is x
    np.testing.assert_allclose(
        sequence[1].T_world_camera @ [0, 0, 2, 1], [1, 4, -1.5, 1], atol=1e-6
    )  # turned to the right
    np.testing.assert_allclose(sequence[0].T_world_camera @ [0, 1, 0, 1], [1, 2, -0.5, 1], atol=1e-6)
    assert sequence[1].recorded.depth is not None
    assert (sequence[1].recorded.depth == 3.5).all()


def test_paths_written_on_windows(tmp_path: Path) -> None:
    folders.write_posed_images(tmp_path)
    (tmp_path / "data").mkdir()
    for name in ("images", "depth", "poses.txt"):
        (tmp_path / name).rename(tmp_path / "data" / name)
    folders.write_camera_yaml(tmp_path, "images: data\\images\ndepth: data\\depth\nposes: data\\poses.txt\n")
    assert open_sequence(tmp_path)[1].recorded.depth is not None


def test_times_in_microseconds(tmp_path: Path) -> None:
    stamps = [1403636580000000 + 650000 * i for i in range(3)]
    write_images(tmp_path, [f"{stamp}.png" for stamp in stamps])
    np.savetxt(tmp_path / "poses.txt", folders.POSES[:, :3].reshape(3, 12))
    folders.write_camera_yaml(tmp_path)
    times = [info.timestamp for info in open_sequence(tmp_path).infos]
    np.testing.assert_allclose(np.diff(times), 0.65, atol=1e-6)
    (tmp_path / "times.txt").write_text("\n".join(str(stamp * 1000) for stamp in stamps))
    folders.write_camera_yaml(tmp_path, "times: times.txt\n")
    np.testing.assert_allclose([info.timestamp for info in open_sequence(tmp_path).infos], times, atol=1e-6, rtol=0)


def test_labels_and_their_space(tmp_path: Path) -> None:
    folders.write_posed_images(tmp_path)
    (tmp_path / "seg").mkdir()
    write_png(tmp_path / "seg/000001.png", folders.labels(1))
    folders.write_camera_yaml(tmp_path, "labels: seg\n")
    sequence = open_sequence(tmp_path)
    assert sequence[0].recorded.labels is None
    np.testing.assert_array_equal(sequence[1].recorded.labels, folders.labels(1))
    assert sequence.label_space is not None
    folders.write_camera_yaml(tmp_path, "labels: seg\nlabel_space: other.yaml\n")
    with pytest.raises(SequenceError, match="label_space"):
        open_sequence(tmp_path)


@pytest.mark.parametrize("fourcc", ["MJPG", "mp4v"])
def test_video_with_poses(tmp_path: Path, fourcc: str) -> None:
    write_video(tmp_path / ("walk.avi" if fourcc == "MJPG" else "walk.mp4"), fourcc=fourcc)
    (tmp_path / "camera.yaml").write_text("fx: 30\ndepth: depth\n")
    (tmp_path / "poses.txt").write_text(TUM_LINES)
    (tmp_path / "depth").mkdir()
    write_png(tmp_path / "depth/000003.png", np.full((12, 16), 2000, np.uint16))
    sequence = open_sequence(tmp_path)
    assert [info.used for info in sequence.infos] == [True] * 5 + [False] * 7
    np.testing.assert_allclose([info.timestamp for info in sequence.infos], np.arange(12) / 20, atol=1e-6)
    frame = sequence[3]
    assert frame.T_world_camera[0, 3] == pytest.approx(1.5)
    assert np.abs(frame.rgb.mean(axis=(0, 1)) - [60, 0, 0]).max() < 4
    assert frame.recorded.depth is not None
    assert frame.recorded.depth.shape == (24, 32)
    assert frame.intrinsics == Intrinsics(30, 30, 15.5, 11.5, 32, 24)
    assert sequence.infos[3].image.endswith("#3")


@pytest.mark.parametrize("fourcc", ["MJPG", "mp4v"])
def test_video_frames_in_any_order(tmp_path: Path, fourcc: str) -> None:
    path = tmp_path / ("v.avi" if fourcc == "MJPG" else "v.mp4")
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*fourcc), 25.0, (32, 24))
    for i in range(200):
        writer.write(np.full((24, 32, 3), i, np.uint8))
    writer.release()
    video = VideoFile(path)
    assert len(video.times) == 200
    other = copy.deepcopy(video)
    for number in (0, 1, 5, 199, 3, 100, 101, 20, 180, 2):
        frame = video.read_rgb(number)
        assert abs(float(frame.mean()) - number) < 4, number
        np.testing.assert_array_equal(other.read_rgb(number), frame)


def test_file_that_is_no_video(tmp_path: Path) -> None:
    (tmp_path / "v.mp4").write_bytes(b"not a video" * 100)
    with pytest.raises(SequenceError, match=r"v\.mp4"):
        VideoFile(tmp_path / "v.mp4")
    with pytest.raises(SequenceError, match=r"w\.mp4: is missing"):
        VideoFile(tmp_path / "w.mp4")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("cx: 3\n", "needs either fx in pixels or hfov_deg"),
        ("fx: 20\nhfov_deg: 70\n", "needs either fx in pixels or hfov_deg"),
        ("hfov_deg: 200\n", "hfov_deg must lie between"),
        ("fx: 20\nfocal: 3\n", "focal"),
        ("fx: wide\n", "fx"),
        ("fx: 20\nfps: 0\n", "fps must be a positive number"),
        ("fx: 20\ncamera_axes: up\n", "camera_axes"),
        ("fx: 20\nworld_up: [0, 0, 0]\n", "world_up must be three finite numbers"),
        ("fx: 20\nworld_up: [0, .nan, 1]\n", "world_up must be three finite numbers"),
        ("fx: 20\ndistortion: [1, 2]\n", "distortion"),
        ("fx: 20\nfy: -21\n", "fy must be positive, got -21.* y axis points up"),
        ("fx: 20\nfy: 0\n", "is not a valid camera: .*fy"),
        ("fx: 0\n", "is not a valid camera: .*fx"),
        ("fx: 20\nwidth: 16\n", "width and height belong together"),
        ("hfov_deg: 90\ndistortion_model: fisheye\n", "a fisheye needs fx in pixels"),
        ("fx: 20\ndepth_scale: 0\n", "depth_scale must be a positive number"),
        ("fx: 20\ndepth_scale: 5000\n", r"camera\.yaml: depth_scale has no effect: depth names no folder"),
        ("fx: 20\nlabel_space: nyu13\n", "label_space has no effect: labels names no folder"),
        ("fx: 20\ntime_offset: 0.1\n", "time_offset has no effect: the poses have no time stamps"),
        ("fx: 20\nmax_gap: 0.1\n", "max_gap has no effect: the poses have no time stamps"),
        ("fx: 20\nfps: 10\ntimes: t.txt\n", "fps has no effect: times gives the times"),
        ("fx: 20\nimages: images\nvideo: v.mp4\n", "images has no effect: video is given"),
        ("fx: 80\ncx: 31.5\ncy: 23.5\n", "lies outside of the 16x12 image: is it for another size"),
        ("fx: 40\ncx: 15.5\ncy: 11.5\n", "lies outside of the 16x12 image: is it for another size"),
        ("fx: 30\ncx: 11.5\ncy: 8.5\n", "is not near the centre of the 16x12 image but of one of 24x18"),
        ("fx: 10\ncx: 3.5\ncy: 2.5\n", "is not near the centre of the 16x12 image but of one of 8x6"),
        ("fx: 20\nposes: nowhere.txt\n", r"nowhere\.txt: file is missing"),
        ("fx: 20\nimages: nowhere\n", "no images in nowhere/"),
        ("fx: 20\ndepth: nowhere\n", "depth: no image in nowhere/"),
        ("fx: 20\nvideo: nowhere.mp4\n", r"nowhere\.mp4: is missing"),
        ("fx: [20\n", "not readable as YAML"),
    ],
)
def test_wrong_camera_file_is_named(tmp_path: Path, text: str, expected: str) -> None:
    folders.write_posed_images(tmp_path)
    (tmp_path / "camera.yaml").write_text(text)
    with pytest.raises(SequenceError, match=expected) as raised:
        open_sequence(tmp_path)
    assert "\n" not in str(raised.value)


def test_several_videos_must_be_chosen_from(tmp_path: Path) -> None:
    write_video(tmp_path / "a.avi")
    write_video(tmp_path / "b.avi")
    (tmp_path / "camera.yaml").write_text("fx: 30\n")
    (tmp_path / "poses.txt").write_text(TUM_LINES)
    with pytest.raises(SequenceError, match="several videos"):
        open_sequence(tmp_path)
    (tmp_path / "camera.yaml").write_text("fx: 30\nvideo: b.avi\n")
    assert open_sequence(tmp_path).infos[0].image == "b.avi#0"


def test_pose_file_is_needed(tmp_path: Path) -> None:
    folders.write_posed_images(tmp_path)
    (tmp_path / "poses.txt").unlink()
    with pytest.raises(SequenceError, match="no pose file: expected one of"):
        open_sequence(tmp_path)


def test_the_documented_files_are_accepted() -> None:
    page = (Path(__file__).parents[3] / "docs" / "formats.md").read_text()
    camera, overrides = re.findall(r"```yaml\n(.*?)```", page, re.DOTALL)
    known = {field.name for field in fields(CameraFile)} - {"hfov_deg"}
    assert set(yaml.safe_load(camera)) == known
    config_from_mapping(CameraFile, yaml.safe_load(camera), "page")
    assert set(yaml.safe_load(overrides)) == {field.name for field in fields(Overrides)}
    config_from_mapping(Overrides, yaml.safe_load(overrides), "page")
