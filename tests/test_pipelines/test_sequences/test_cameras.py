"""Camera matrices with more than a focal length and a principal point are refused, in every format that has them."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import sequence_folders as folders
from nerfstudio_folders import frame, write

from pipelines import open_sequence
from pipelines.frame import SequenceError
from pipelines.sequences.cameras import LARGEST_SKEW, camera_from_matrix

SIZE = (folders.CAMERA.width, folders.CAMERA.height)
K = folders.CAMERA.matrix


def write_text(name: str) -> Callable[[Path, np.ndarray], None]:
    def write(path: Path, matrix: np.ndarray) -> None:
        np.savetxt(path / name, matrix)

    return write


def write_csv(path: Path, matrix: np.ndarray) -> None:
    np.savetxt(path / "camera_matrix.csv", matrix, delimiter=", ")


def write_scannet(path: Path, matrix: np.ndarray) -> None:
    whole = np.eye(4)
    whole[:3, :3] = matrix
    np.savetxt(path / "intrinsic/intrinsic_depth.txt", whole)


def write_record3d(path: Path, matrix: np.ndarray) -> None:
    file = path / "EXR_RGBD/metadata.json"
    keys = {**json.loads(file.read_text()), "K": matrix.T.ravel().tolist()}
    keys.pop("perFrameIntrinsicCoeffs", None)
    file.write_text(json.dumps(keys))


WRITERS = {
    "7scenes": write_text("camera-intrinsics.txt"),
    "hololens": write_text("K.txt"),
    "stray_scanner": write_csv,
    "scannet": write_scannet,
    "record3d": write_record3d,
}


@pytest.mark.parametrize("name", WRITERS)
def test_matrix_with_a_skew_is_refused(tmp_path: Path, name: str) -> None:
    folders.WRITERS[name][1](tmp_path / "a")
    matrix = K.copy()
    matrix[0, 1] = 0.4
    WRITERS[name](tmp_path / "a", matrix)
    open_sequence(tmp_path / "a")
    matrix[0, 1] = -3.5
    WRITERS[name](tmp_path / "a", matrix)
    with pytest.raises(SequenceError, match=r"(txt|csv|K): the camera matrix has a skew of -3\.5 pixels"):
        open_sequence(tmp_path / "a")


def test_record3d_matrix_by_rows_with_a_skew(tmp_path: Path) -> None:
    folders.write_record3d(tmp_path / "a")
    matrix = K.copy()
    write_record3d(tmp_path / "a", matrix.T)
    assert open_sequence(tmp_path / "a").infos[0].intrinsics.cx == pytest.approx(folders.CAMERA.cx)
    matrix[0, 1] = 3.5
    write_record3d(tmp_path / "a", matrix.T)
    with pytest.raises(SequenceError, match=r"metadata\.json: K: the camera matrix has a skew of 3\.5 pixels"):
        open_sequence(tmp_path / "a")


@pytest.mark.parametrize("name", [name for name in WRITERS if name != "record3d"])
def test_transposed_matrix_is_refused(tmp_path: Path, name: str) -> None:
    folders.WRITERS[name][1](tmp_path / "a")
    WRITERS[name](tmp_path / "a", K.T)
    with pytest.raises(
        SequenceError, match=r"(txt|csv): the camera matrix is transposed: expected cx and cy in its last"
    ):
        open_sequence(tmp_path / "a")


@pytest.mark.parametrize("name", WRITERS)
def test_multiple_of_a_matrix_is_refused(tmp_path: Path, name: str) -> None:
    folders.WRITERS[name][1](tmp_path / "a")
    WRITERS[name](tmp_path / "a", 0.5 * K)
    with pytest.raises(SequenceError, match=r"0 0 1 of a camera matrix, found the row 0 0 0\.5"):
        open_sequence(tmp_path / "a")


@pytest.mark.parametrize("element", [(1, 0), (2, 0), (2, 1), (0, 3), (3, 0), (3, 3)])
def test_elements_that_must_be_constant(element: tuple[int, int]) -> None:
    matrix = np.eye(4)
    matrix[:3, :3] = K
    matrix[0, 1] = LARGEST_SKEW
    assert camera_from_matrix(matrix, SIZE, "f").fx == folders.CAMERA.fx
    matrix[element] += 0.01
    with pytest.raises(
        SequenceError, match=r"^f: expected rows fx 0 cx, 0 fy cy and 0 0 1 of a camera matrix, found the row"
    ):
        camera_from_matrix(matrix, SIZE, "f")


@pytest.mark.parametrize("key", ["K", "camera_matrix", "intrinsic_matrix"])
def test_transforms_with_a_matrix_with_a_skew(tmp_path: Path, key: str) -> None:
    camera = {"fl_x": 10, "fl_y": 11, "cx": 4, "cy": 3, "w": 8, "h": 6}
    for skew in (0, 2):
        (tmp_path / str(skew)).mkdir()
        write(tmp_path / str(skew), {**camera, key: [[10, skew, 4], [0, 11, 3], [0, 0, 1]]}, [frame("a.png")])
    open_sequence(tmp_path / "0")
    with pytest.raises(SequenceError, match=rf"a\.png: {key}: the camera matrix has a skew of 2 pixels"):
        open_sequence(tmp_path / "2")


HEADER = {"fl_x": 10, "fl_y": 11, "cx": 4, "cy": 3, "w": 8, "h": 6}
ANGLE_X, ANGLE_Y = 2 * np.arctan(4 / 10), 2 * np.arctan(3 / 11)


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ({"camera_angle_x": 1.2}, r"camera_angle_x 1\.2 is a focal length of 5\.8 pixels, but fl_x is 10\.0; remove"),
        ({"camera_angle_y": 1.2}, r"camera_angle_y 1\.2 is a focal length of 4\.4 pixels, but fl_y is 11\.0; remove"),
        ({"hfov_deg": 60}, r"hfov_deg 60 is not read and differs from .* which spans 43\.6 x 30\.5 degrees; remove"),
        ({"fov": 60}, r"fov 60 is not read and differs"),
        ({"x_fov": 0.53}, r"x_fov 0\.53 is not read and differs"),
        ({"focal_length": 12}, r"focal_length is not read and differs from .* \(found 12, read 10\)"),
        ({"focal": [10, 14]}, r"focal is not read and differs from the camera that is"),
        ({"principal_point": [0.5, 0.5]}, r"principal_point is not read and differs from .* \(found 0\.5, read 3\.5\)"),
    ],
)
@pytest.mark.parametrize("place", ["header", "frame"])
def test_transforms_that_contradict_themselves(
    tmp_path: Path, keys: dict[str, object], message: str, place: str
) -> None:
    header, more = (keys, {}) if place == "header" else ({}, keys)
    write(tmp_path, {**HEADER, **header}, [frame("a.png", **more)])
    with pytest.raises(SequenceError, match=rf"frame images/a\.png: {message}"):
        open_sequence(tmp_path)


def test_transforms_that_state_the_camera_twice(tmp_path: Path) -> None:
    more = {
        "camera_angle_x": ANGLE_X,
        "camera_angle_y": ANGLE_Y * 1.005,
        "hfov_deg": np.degrees(ANGLE_X),
        "fov": ANGLE_Y,
        "focal_length": 10,
        "focal": [10, 11],
        "principal_point": [4, 3],
    }
    write(tmp_path, {**HEADER, **more}, [frame("a.png")])
    assert open_sequence(tmp_path).infos[0].intrinsics.fx == 10


def test_focal_length_of_a_frame_counts_before_the_angle_of_the_header(tmp_path: Path) -> None:
    write(tmp_path, {**HEADER, "camera_angle_x": ANGLE_X}, [frame("a.png", fl_x=12)])
    assert open_sequence(tmp_path).infos[0].intrinsics.fx == 12


def test_angle_of_a_fisheye_is_not_that_of_a_pinhole(tmp_path: Path) -> None:
    write(tmp_path, {**HEADER, "camera_model": "OPENCV_FISHEYE", "camera_angle_x": 0.8}, [frame("a.png")])
    open_sequence(tmp_path)
