"""Keys of `transforms.json` that state the camera again: they must say the same as those that are read."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from mapping.camera import Intrinsics
from mapping.reading.files import shown
from pipelines.frame import SequenceError
from pipelines.sequences.cameras import check_camera_matrix

ANGLE_KEYS = {"camera_angle_x": "fl_x", "camera_angle_y": "fl_y"}
"""Angles of view in radians, and the focal lengths that are read where both are there."""
VIEW_KEYS = {
    **dict.fromkeys(("fov_x", "x_fov", "fovx", "hfov", "hfov_deg", "horizontal_fov"), "x"),
    **dict.fromkeys(("fov_y", "y_fov", "fovy", "vfov", "vfov_deg", "vertical_fov"), "y"),
    **dict.fromkeys(("fov", "fov_deg", "field_of_view"), "xy"),
}
"""Other names of angles of view, in degrees or radians, and the directions in which they may be measured."""
FOCAL_KEYS, BOTH_KEYS = ("fx", "fy"), ("focal", "focal_length")
MATRIX_KEYS = ("K", "intrinsics", "intrinsic", "intrinsic_matrix", "camera_matrix")
CENTRE_KEYS = ("principal_point",)
OTHER_KEYS = (*FOCAL_KEYS, *BOTH_KEYS, *MATRIX_KEYS, *VIEW_KEYS)
"""Keys of other files for the camera, which are not read."""
SAME_PIXEL, SAME_FOCAL = 1.0, 0.01
"""Differences of pixels, and shares of a focal length, to which keys may differ."""


def check_same_camera(keys: Mapping[str, Any], camera: Intrinsics, where: str) -> None:
    """Raises SequenceError that begins with `where` for a key that states another camera than the one that was read."""
    for key, numbers in _stated(keys, camera, where).items():
        for found, value in numbers:
            if not (isinstance(found, (int, float)) and abs(found - value) <= SAME_PIXEL):
                raise SequenceError(
                    f"{where}: {key} is not read and differs from the camera that is; give fl_x, fl_y, cx and cy in pixels "
                    f"(found {shown(found)}, read {value:g})"
                )
    if camera.distortion_model == "fisheye":  # whose angles of view follow from its coefficients, too
        return
    for key, focal_key in ANGLE_KEYS.items():
        angle, (focal, size) = keys.get(key), _focal_and_size(camera, key[-1])
        stated = _focal(angle, size)
        if focal_key in keys and stated and abs(stated / focal - 1) > SAME_FOCAL:
            raise SequenceError(
                f"{where}: {key} {angle:g} is a focal length of {stated:.1f} pixels, but {focal_key} is {focal:.1f}; remove the "
                "wrong one"
            )
    for key in VIEW_KEYS.keys() & keys.keys():
        if keys[key] and not _is_view(keys[key], VIEW_KEYS[key], camera):
            angles = [math.degrees(2 * math.atan(0.5 * s / f)) for f, s in (_focal_and_size(camera, a) for a in "xy")]
            raise SequenceError(
                f"{where}: {key} {shown(keys[key])} is not read and differs from the camera that is, which spans "
                f"{angles[0]:.1f} x {angles[1]:.1f} degrees; remove the wrong one"
            )


def _stated(keys: Mapping[str, Any], camera: Intrinsics, where: str) -> dict[str, list[tuple[Any, float]]]:
    """By key of a focal length, principal point or matrix the numbers that it states and those that were read."""
    fx, fy, cx, cy = camera.fx, camera.fy, camera.cx, camera.cy
    stated = {key: [(keys[key], value)] for key, value in zip(FOCAL_KEYS, (fx, fy), strict=True) if key in keys}
    for names, pair in ((BOTH_KEYS, (fx, fy)), (CENTRE_KEYS, (cx, cy))):
        for key in names:
            value = keys.get(key)
            if value:
                numbers = value if isinstance(value, list) else [value]
                stated[key] = list(zip(numbers, pair, strict=False))
    for key in MATRIX_KEYS:
        rows = keys.get(key)
        if (
            isinstance(rows, list)
            and len(rows) >= 2
            and all(isinstance(row, list) and len(row) >= 3 for row in rows[:2])
        ):
            _check_matrix(rows, f"{where}: {key}")
            stated[key] = [(rows[0][0], fx), (rows[1][1], fy), (rows[0][2], cx), (rows[1][2], cy)]
        elif rows:
            stated[key] = [(rows, fx)]
    return stated


def _check_matrix(rows: list[Any], where: str) -> None:
    """Raises SequenceError for a square matrix with more than a focal length and a principal point."""
    try:
        matrix = np.array(rows, dtype=np.float64)
    except (TypeError, ValueError):
        return
    if matrix.shape in ((3, 3), (4, 4)):
        check_camera_matrix(matrix, where)


def _focal_and_size(camera: Intrinsics, axis: str) -> tuple[float, int]:
    return (camera.fx, camera.width) if axis == "x" else (camera.fy, camera.height)


def _focal(angle: object, size: int) -> float:
    """The focal length of a pinhole camera by an angle in radians; 0 where it is none."""
    if isinstance(angle, bool) or not isinstance(angle, (int, float)) or not 0 < angle < math.pi:
        return 0.0
    return 0.5 * size / math.tan(0.5 * angle)


def _is_view(value: object, axes: str, camera: Intrinsics) -> bool:
    """Whether a number, in degrees or radians, is the angle that the camera spans in one of the directions."""
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return False
    for focal, size in (_focal_and_size(camera, axis) for axis in axes):
        for angle in (value, math.radians(value)):
            stated = _focal(angle, size)
            if stated and abs(stated / focal - 1) <= SAME_FOCAL:
                return True
    return False
