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
    ],
)
def test_scalar_first(tmp_path: Path, header: str) -> None:
    T, _ = read_trajectory(written(tmp_path / "p.txt", header, (W, X, Y, Z)), max_gap=2.0).at(0.0)
    assert T is not None
    np.testing.assert_allclose(T[:3, 2], [0.96, 0, 0.28], atol=1e-9)
    np.testing.assert_allclose(T[:3, 3], [1, 2, 3])


@pytest.mark.parametrize("header", ["# t x y z i j k w", "# stamp tx ty tz qx qy qz qw", "# poses of a walk"])
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
