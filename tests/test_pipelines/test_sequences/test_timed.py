"""Formats whose poses have time stamps: TUM, ICL-NUIM, and trajectories in general."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import sequence_folders as folders

from mapping.camera import Intrinsics
from pipelines import open_sequence
from pipelines.frame import SequenceError
from pipelines.images import write_png
from pipelines.sequences.association import Trajectory, nearest_pairs
from pipelines.sequences.pairing import images_in_pose_order


def write_tum(path: Path, stamps: list[float], truth: str, header: str = "freiburg1") -> Path:
    path.mkdir()
    (path / "rgb").mkdir()
    for t in stamps:
        write_png(path / f"rgb/{t:.3f}.png", np.zeros((480, 640, 3), np.uint8))
    listed = "".join(f"{t:.3f} rgb/{t:.3f}.png\n" for t in stamps)
    (path / "rgb.txt").write_text(f"# color images\n# file: 'rgbd_dataset_{header}_x.bag'\n{listed}")
    (path / "groundtruth.txt").write_text(truth)
    return path


def test_tum_frame_by_hand(tmp_path: Path) -> None:
    """A quarter turn about z between two poses, the image halfway in time: an eighth of a turn, halfway in space."""
    half = 0.5**0.5
    truth = f"1.00 1 2 3 0 0 0 1\n1.08 2 2 3 0 0 {half} {half}\n"
    sequence = open_sequence(write_tum(tmp_path / "seq", [1.04], truth))
    expected = [[half, -half, 0, 1.5], [half, half, 0, 2], [0, 0, 1, 3], [0, 0, 0, 1]]
    np.testing.assert_allclose(sequence[0].T_world_camera, expected, atol=1e-6)
    assert sequence.infos[0].timestamp == 1.04


@pytest.mark.parametrize(("number", "fx"), [("1", 517.3), ("2", 520.9), ("3", 535.4)])
def test_tum_camera_from_the_header(tmp_path: Path, number: str, fx: float) -> None:
    path = write_tum(tmp_path / "seq", [1.0], "1 0 0 0 0 0 0 1\n", header=f"freiburg{number}")
    camera = open_sequence(path)[0].intrinsics
    assert (camera.fx, camera.width, camera.height, camera.is_distorted) == (fx, 640, 480, False)


def test_tum_without_a_camera_says_what_would_tell_it(tmp_path: Path) -> None:
    path = write_tum(tmp_path / "seq", [1.0], "1 0 0 0 0 0 0 1\n", header="own")
    with pytest.raises(SequenceError, match=r"no camera: expected `camera\.yaml`"):
        open_sequence(path)


def test_tum_images_without_pose_are_listed_with_the_reason(tmp_path: Path) -> None:
    truth = "1.00 0 0 0 0 0 0 1\n1.05 0 0 0 0 0 0 1\n1.50 0 0 0 0 0 0 1\n1.55 0 0 0 nan 0 0 1\n1.60 0 0 0 0 0 0 0\n"
    infos = open_sequence(write_tum(tmp_path / "seq", [0.98, 1.02, 1.2, 1.5, 1.55, 1.7], truth)).infos
    assert [info.used for info in infos] == [False, True, False, True, False, False]
    assert [info.reason for info in infos if info.reason] == [
        "before the first pose (0.02 s)",
        "gap of 0.45 s between poses, more than 0.1 s",
        "lost pose (not finite)",
        "after the last pose (0.20 s)",
    ]


def test_tum_lists_with_tabs_byte_order_mark_and_windows_ends(tmp_path: Path) -> None:
    path = write_tum(tmp_path / "seq", [1.0, 1.1], "1 0 0 0 0 0 0 1\r\n1.1 1 0 0 0 0 0 1\r\n")
    listed = "\ufeff# freiburg1\r\n1.100\trgb/1.100.png\r\n1.000\trgb/1.000.png \r\n"
    (path / "rgb.txt").write_bytes(listed.encode())
    infos = open_sequence(path).infos
    assert [(info.image, info.used) for info in infos] == [("rgb/1.000.png", True), ("rgb/1.100.png", True)]


@pytest.mark.parametrize("line", ["1.0", "now rgb/1.000.png"])
def test_tum_wrong_list_is_named(tmp_path: Path, line: str) -> None:
    path = write_tum(tmp_path / "seq", [1.0], "1 0 0 0 0 0 0 1\n")
    (path / "rgb.txt").write_text(f"# header\n{line}\n")
    with pytest.raises(SequenceError, match=r"rgb\.txt line 2: expected `stamp file`"):
        open_sequence(path)


def test_tum_wrong_line_is_named(tmp_path: Path) -> None:
    path = write_tum(tmp_path / "seq", [1.0], "# t\n1 0 0 0 0 0 0 1\n2 0 0 0 0 0 1\n")
    with pytest.raises(SequenceError, match=r"groundtruth\.txt line 3: expected 8 numbers .*, found 7"):
        open_sequence(path)


def test_icl_frame_by_hand(tmp_path: Path) -> None:
    """The file's camera at height 1 in a y-up left-handed world, turned about y; a pixel above the centre is higher up."""
    folders.write_icl(tmp_path / "seq")
    (tmp_path / "seq/camera.yaml").unlink()
    half = 0.5**0.5
    (tmp_path / "seq/livingRoom9.gt.freiburg").write_text(f"1 5 1 0 0 {half} 0 {half}\n2 5 1 0 0 0 0 1\n")
    sequence = open_sequence(tmp_path / "seq")
    assert [info.used for info in sequence.infos] == [False, True, True]  # image 0 has no pose: they start at 1
    T = sequence.infos[1].T_world_camera
    assert T is not None
    # Stored: forward z becomes x, up stays y. Ours: y flipped, so up is -y; down in the image (+y of ours) is +y.
    np.testing.assert_allclose(T @ [0, 0, 2, 1], [7, -1, 0, 1], atol=1e-6)
    np.testing.assert_allclose(T @ [0, 1, 0, 1], [5, 0, 0, 1], atol=1e-6)
    assert sequence.world_up == (0, -1, 0)


def test_icl_published_camera(tmp_path: Path) -> None:
    folders.write_icl(tmp_path / "seq")
    (tmp_path / "seq/camera.yaml").unlink()
    for i in range(folders.COUNT):
        write_png(tmp_path / f"seq/rgb/{i}.png", np.zeros((480, 640, 3), np.uint8))
        write_png(tmp_path / f"seq/depth/{i}.png", np.full((480, 640), 5000, np.uint16))
    frame = open_sequence(tmp_path / "seq")[1]
    assert frame.intrinsics == Intrinsics(481.2, 480.0, 319.5, 239.5, 640, 480)
    assert frame.recorded.depth is not None
    assert frame.recorded.depth[3, 3] == 1.0


def test_icl_camera_file(tmp_path: Path) -> None:
    folders.write_icl(tmp_path / "seq")
    folders.write_camera_yaml(tmp_path / "seq", "depth_scale: 2500\n")
    depth = open_sequence(tmp_path / "seq")[1].recorded.depth
    assert depth is not None
    np.testing.assert_allclose(depth, 2 * folders.depth(1), atol=1e-3)
    folders.write_camera_yaml(tmp_path / "seq", "max_gap: 1\n")
    with pytest.raises(SequenceError, match=r"camera\.yaml: max_gap has no effect in an ICL-NUIM sequence"):
        open_sequence(tmp_path / "seq")


def test_tum_camera_file(tmp_path: Path) -> None:
    """Every entry that a TUM folder may have changes what is read; the others are refused."""
    path = tmp_path / "seq"
    folders.write_tum(path)
    plain = open_sequence(path)
    assert plain[1].recorded.depth is not None
    folders.write_camera_yaml(path, "depth_scale: 1000\n")
    depth = open_sequence(path)[1].recorded.depth
    assert depth is not None
    np.testing.assert_allclose(depth, 5 * plain[1].recorded.depth, rtol=1e-6)
    folders.write_camera_yaml(path, "time_offset: 0.1\n")
    np.testing.assert_allclose(open_sequence(path).infos[0].T_world_camera, folders.POSES[1], atol=1e-6)
    folders.write_camera_yaml(path, "time_offset: 0.05\nmax_gap: 0.01\n")
    with pytest.raises(SequenceError, match=r"gap of 0\.10 s between poses, more than 0\.01 s"):
        open_sequence(path)
    folders.write_camera_yaml(path, "pose_convention: world_to_camera\ncamera_axes: opengl\nworld_up: [0, 1, 0]\n")
    other = open_sequence(path)
    assert other.world_up == (0, 1, 0)
    expected = np.linalg.inv(folders.POSES[1]) @ np.diag([1.0, -1, -1, 1])
    np.testing.assert_allclose(other.infos[1].T_world_camera, expected, atol=1e-6)
    for entry in (
        "fps: 30",
        "images: rgb",
        "depth: depth",
        "labels: seg",
        "label_space: nyu40",
        "masks: m",
        "poses: p",
    ):
        folders.write_camera_yaml(path, entry + "\n")
        with pytest.raises(
            SequenceError, match=rf"camera\.yaml: {entry.split(':')[0]} has no effect in a TUM sequence"
        ):
            open_sequence(path)


def test_tum_depth_whose_times_miss_is_an_error(tmp_path: Path) -> None:
    folders.write_tum(tmp_path / "seq")
    file = tmp_path / "seq/depth.txt"
    listed = [line.split() for line in file.read_text().splitlines()[3:]]
    file.write_text("".join(f"{float(stamp) + 7:.6f} {name}\n" for stamp, name in listed))
    with pytest.raises(
        SequenceError, match=r"depth\.txt: no depth image within 0\.02 s .* the nearest misses by 6\.81 s"
    ):
        open_sequence(tmp_path / "seq")


def test_tum_paths_written_on_windows(tmp_path: Path) -> None:
    folders.write_tum(tmp_path / "seq")
    for name in ("rgb", "depth"):
        file = tmp_path / f"seq/{name}.txt"
        file.write_text(file.read_text().replace(f" {name}/", f" {name}\\"))
    sequence = open_sequence(tmp_path / "seq")
    assert [info.used for info in sequence.infos] == [True] * folders.COUNT
    assert sequence[1].recorded.depth is not None


def test_icl_needs_one_trajectory(tmp_path: Path) -> None:
    folders.write_icl(tmp_path / "seq")
    (tmp_path / "seq/other.gt.freiburg").write_text("0 0 0 0 0 0 0 1\n")
    with pytest.raises(SequenceError, match="expected one"):
        open_sequence(tmp_path / "seq")
    (tmp_path / "seq/other.gt.freiburg").unlink()
    (tmp_path / "seq/associations.txt").write_text("0 depth/0.png\n")
    with pytest.raises(SequenceError, match="line 1: expected `number depth number image`"):
        open_sequence(tmp_path / "seq")


def test_pairs_are_nearest_and_one_to_one() -> None:
    assert nearest_pairs([0.0, 1.0, 2.0], [0.01, 0.985, 5.0], 0.02) == [0, 1, None]
    assert nearest_pairs([1.0, 1.01], [1.008], 0.02) == [None, 0]  # the nearer one gets it
    assert nearest_pairs([1.0, 1.015], [1.01, 1.03], 0.02) == [None, 0]
    assert nearest_pairs([1.0], [], 0.02) == [None]
    assert nearest_pairs([], [1.0], 0.02) == []


def test_pairs_against_brute_force() -> None:
    rng = np.random.default_rng(0)
    for _ in range(20):
        times, others = np.sort(rng.uniform(0, 1, 12)), np.sort(rng.uniform(0, 1, 9))
        pairs = nearest_pairs(times, others, 0.03)
        taken = [j for j in pairs if j is not None]
        assert len(taken) == len(set(taken))
        for i, j in enumerate(pairs):
            distance = np.abs(others - times[i])
            if j is not None:
                assert distance[j] <= 0.03
            elif distance.min() <= 0.03:  # its nearest went to one that is nearer
                rival = pairs.index(int(distance.argmin()))
                assert abs(times[rival] - others[distance.argmin()]) <= distance.min()


def test_trajectory_takes_any_order_and_the_first_of_equal_times() -> None:
    poses = np.tile(np.eye(4), (3, 1, 1))
    poses[:, 0, 3] = [2, 1, 9]
    trajectory = Trajectory([2.0, 1.0, 1.0], poses, max_gap=2.0)
    T, reason = trajectory.at(1.25)
    assert T is not None
    assert (T[0, 3], reason) == (1.25, "")
    assert Trajectory([], np.zeros((0, 4, 4)), max_gap=1.0).at(3.0) == (None, "no pose in the trajectory")


def test_images_and_poses_without_times() -> None:
    pose_file = Path("poses.txt")
    files = [Path(f"a/{i:03d}.png") for i in (0, 1, 3)]
    assert images_in_pose_order(pose_file, files, 3) == files
    assert [f.name for f in images_in_pose_order(pose_file, files, 4)] == ["000.png", "001.png", "002.png", "003.png"]
    with pytest.raises(
        SequenceError, match=r"has 4 poses for 3 images, and the images' numbers \(1 to 3\) do not determine"
    ):
        images_in_pose_order(pose_file, [Path(f"{i}.png") for i in (1, 2, 3)], 4)
    from_one = [Path(f"a/f{i}.png") for i in (1, 2, 4)]
    assert [f.name for f in images_in_pose_order(pose_file, from_one, 4)][3] == "f4.png"
    for names, poses in ((["a", "b"], 3), (["0", "1", "2"], 2), (["0", "9"], 3), ([], 3)):
        with pytest.raises(SequenceError, match="do not determine the assignment"):
            images_in_pose_order(pose_file, [Path(f"{name}.png") for name in names], poses)


def test_tum_list_with_the_paths_of_another_machine(tmp_path: Path) -> None:
    folders.write_tum(tmp_path / "a")
    file = tmp_path / "a/rgb.txt"
    file.write_text(file.read_text().replace("rgb/", "C:\\data\\rgb\\"))
    with pytest.raises(SequenceError, match=r"C:/data/rgb/.*\.png: image file is missing"):
        open_sequence(tmp_path / "a")


@pytest.mark.parametrize("folder", ["data\\", "data/", ""])
def test_euroc_list_with_the_folder_of_the_images(tmp_path: Path, folder: str) -> None:
    folders.write_euroc(tmp_path / "a")
    file = tmp_path / "a/mav0/cam0/data.csv"
    head, *lines = file.read_text().splitlines()
    file.write_text("\n".join([head, *(line.replace(",", f",{folder}") for line in lines)]))
    assert all(info.used for info in open_sequence(tmp_path / "a").infos)
