"""The order of a pose file's quaternion by its header."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from pipelines.frame import SequenceError
from pipelines.sequences.trajectory_file import read_trajectory

W, X, Y, Z = 0.8, 0.0, 0.6, 0.0
"""A turn about y: R[0, 2] = 2 w y = 0.96."""


def written(path: Path, header: str, quaternion: tuple[float, ...], *, is_first: bool = False) -> Path:
    position = (1.0, 2.0, 3.0)
    rows = [(time, *quaternion, *position) if is_first else (time, *position, *quaternion) for time in (0.0, 1.0)]
    path.write_text("\n".join([header, *(" ".join(map(str, row)) for row in rows)]) + "\n")
    return path


@pytest.mark.parametrize(
    "header",
    [
        "# t x y z w i j k",
        "t x y z w i j k",
        "# timestamp tx ty tz q0 q1 q2 q3",
        "timestamp,tx,ty,tz,q_0,q_1,q_2,q_3",
        "# position, then the quaternion as w i j k",
        "# q0 q1 q2 q3",
        "# orientation as (qw qx qy qz)",
        "# orientation (qw, qx, qy, qz), position in metres (x, y, z)",
        "# time [s] position [m] quaternion [w,x,y,z]",
        "# timestamp [s], p_x [m], p_y [m], p_z [m], q_w [], q_x [], q_y [], q_z []",
        "# stamp(s) x(m) y(m) z(m) qw(1) qx(1) qy(1) qz(1)",
        "# qw comes first",
        "# real part first",
        "# the quaternion's scalar component is stored first, then the others",
        "# quaternions are scalar-first",
        "# the quaternion starts with its real part",
        "# the first component is w",
        "# w first, x last",
        "# vector part last",
        "%time,field.pose.position.x,field.pose.position.y,field.pose.position.z,"
        + ",".join(f"field.pose.orientation.{part}" for part in "wxyz"),
        "time,"
        + ",".join(f"position.{part}" for part in "xyz")
        + ","
        + ",".join(f"orientation.{part}" for part in "wxyz"),
        "time,x,y,z," + ",".join(f"pose_orientation_{part}" for part in "wxyz"),
        "header.stamp,pose/position/x,pose/position/y,pose/position/z,"
        + ",".join(f"pose/orientation/{part}" for part in "wxyz"),
        "# " + " ".join(f"rot_{part}" for part in "wxyz"),
    ],
)
def test_scalar_first(tmp_path: Path, header: str) -> None:
    T, _ = read_trajectory(written(tmp_path / "p.txt", header, (W, X, Y, Z)), max_gap=2.0).at(0.0)
    assert T is not None
    np.testing.assert_allclose(T[:3, 2], [0.96, 0, 0.28], atol=1e-9)
    np.testing.assert_allclose(T[:3, 3], [1, 2, 3])


@pytest.mark.parametrize(
    "header",
    [
        "# t x y z i j k w",
        "# stamp tx ty tz qx qy qz qw",
        "# poses of a walk",
        "# orientation as (qx qy qz qw)",
        "# the real part comes last",
        "# x first, w last",
        "# w last, x first",
        "# vector part first",
        "# the first real pose is that of the second image",
        "time,position.x,position.y,position.z,orientation.x,orientation.y,orientation.z,orientation.w",
        "# timestamp [s] p_RS_R_x [m] p_RS_R_y [m] p_RS_R_z [m] q_RS_x [] q_RS_y [] q_RS_z [] q_RS_w []",
    ],
)
def test_scalar_last(tmp_path: Path, header: str) -> None:
    T, _ = read_trajectory(written(tmp_path / "p.txt", header, (X, Y, Z, W)), max_gap=2.0).at(0.0)
    assert T is not None
    np.testing.assert_allclose(T[:3, 2], [0.96, 0, 0.28], atol=1e-9)


def test_quaternion_before_the_position(tmp_path: Path) -> None:
    file = written(tmp_path / "p.txt", "# t q0 q1 q2 q3 x y z", (W, X, Y, Z), is_first=True)
    T, _ = read_trajectory(file, max_gap=2.0).at(0.0)
    assert T is not None
    np.testing.assert_allclose(T[:3, 2], [0.96, 0, 0.28], atol=1e-9)
    np.testing.assert_allclose(T[:3, 3], [1, 2, 3])


@pytest.mark.parametrize(
    "header", ["# t x y z a b c d", "# t x y z q1 q2 q3 q4", "# columns: timestamp tx ty tz q1 q2 q3 q4"]
)
def test_order_that_a_header_leaves_open_is_an_error(tmp_path: Path, header: str) -> None:
    with pytest.raises(SequenceError, match=r"p\.txt: the header `.*` does not show the order of the quaternion: name"):
        read_trajectory(written(tmp_path / "p.txt", header, (W, X, Y, Z)), max_gap=2.0)


def test_columns_by_the_paths_of_their_fields_in_another_order(tmp_path: Path) -> None:
    names = [f"pose.orientation.{part}" for part in "wxyz"] + [f"pose.position.{part}" for part in "xyz"]
    file = written(tmp_path / "p.txt", ",".join(["time", *names]), (W, X, Y, Z), is_first=True)
    T, _ = read_trajectory(file, max_gap=2.0).at(0.0)
    assert T is not None
    np.testing.assert_allclose(T[:3, 2], [0.96, 0, 0.28], atol=1e-9)
    np.testing.assert_allclose(T[:3, 3], [1, 2, 3])


@pytest.mark.parametrize(
    "header",
    ["timestamp,x,y,z,rot_a,rot_b,rot_c,rot_d", "time,pose.position.x,pose.position.y,pose.position.z,a,b,c,d"],
)
def test_paths_of_fields_that_leave_the_order_open(tmp_path: Path, header: str) -> None:
    with pytest.raises(SequenceError, match="does not show the order of the quaternion"):
        read_trajectory(written(tmp_path / "p.txt", header, (W, X, Y, Z)), max_gap=2.0)
