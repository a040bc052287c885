"""Conventions of stored poses and depths and their conversion: the only place that flips axes and inverts poses."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal, get_args

import numpy as np
from numpy.typing import ArrayLike, NDArray
from pydantic import ConfigDict
from pydantic.dataclasses import dataclass as config_dataclass

from mapping.se3 import from_rotation_translation, inverse, rotation_from_quat_xyzw
from pipelines.config import ConfigError, config_from_mapping, read_yaml_mapping
from pipelines.frame import SequenceError

Array = NDArray[np.float64]
PoseDirection = Literal["camera_to_world", "world_to_camera"]
CameraAxes = Literal["opencv", "opengl", "x_forward", "ned", "z_up", "left_handed"]
POSE_DIRECTIONS: tuple[PoseDirection, ...] = get_args(PoseDirection)
CAMERA_AXES: tuple[CameraAxes, ...] = get_args(CameraAxes)
DepthKind = Literal["z", "ray"]
DEPTH_KINDS: tuple[DepthKind, ...] = get_args(DepthKind)
OVERRIDE_FILE, CAMERA_FILE = "m2h.yaml", "camera.yaml"
"""What users write next to a recording: corrections of any format, and the camera where a format does not specify it."""
ROTATION_TOLERANCE = 1e-2
"""Greatest deviation of R R^T from the identity; beyond it a pose counts as lost."""
LARGEST_ELEMENT, FARTHEST = 1e3, 1e10
"""Of a matrix, beyond which it is compared with no rotation; and of a position: more than the Earth has in millimetres."""
QUATERNION_TOLERANCE = 1.05e-2
"""Greatest deviation of a quaternion's length from 1; beyond it the numbers are something else or corrupted."""


def _axes(right: tuple[int, int, int], down: tuple[int, int, int], forward: tuple[int, int, int]) -> Array:
    """T_file_ours of a camera frame in which the image's right, down and the view direction are these vectors."""
    return from_rotation_translation(np.array([right, down, forward], dtype=np.float64).T, np.zeros(3))


T_FILE_OPENCV: dict[CameraAxes, Array] = {
    "opencv": _axes((1, 0, 0), (0, 1, 0), (0, 0, 1)),
    "opengl": _axes((1, 0, 0), (0, -1, 0), (0, 0, -1)),
    "x_forward": _axes((0, -1, 0), (0, 0, -1), (1, 0, 0)),
    "ned": _axes((0, 1, 0), (0, 0, 1), (1, 0, 0)),
    "z_up": _axes((1, 0, 0), (0, 0, -1), (0, 1, 0)),
}
"""Right-handed camera frames: OpenCV and COLMAP; OpenGL, Blender, nerfstudio, ARKit; robot bodies (x forward, y left, z up);
aircraft (x forward, y right, z down); x right, y forward, z up. `left_handed` (Unity, POV-Ray: x right, y up, z forward, in a
left-handed world) is not a rotation and handled separately."""
_MIRROR_Y = np.diag([1.0, -1.0, 1.0, 1.0])


@dataclass(frozen=True)
class Convention:
    """The conventions of a sequence's files.

    pose_direction is the direction of the stored matrices; camera_axes are the axes of the stored camera; depth_scale
    is stored depth units per metre; depth_kind is whether stored depth is z or the distance from the camera along the ray.
    """

    pose_direction: PoseDirection = "camera_to_world"
    camera_axes: CameraAxes = "opencv"
    depth_scale: float = 1000.0
    depth_kind: DepthKind = "z"

    def T_world_camera(self, matrix: ArrayLike) -> Array:
        """Stored rigid matrices (..., 4, 4) as `T_world_camera`.

        A left-handed world becomes right-handed by flipping its y axis.
        """
        stored = np.asarray(matrix, dtype=np.float64)
        T = inverse(stored) if self.pose_direction == "world_to_camera" else stored
        if self.camera_axes == "left_handed":
            return np.asarray(_MIRROR_Y @ T @ _MIRROR_Y)
        return np.asarray(T @ T_FILE_OPENCV[self.camera_axes])

    def stored_matrix(self, T_world_camera: ArrayLike) -> Array:
        """The matrices (..., 4, 4) that this convention reads as these poses; the inverse of `T_world_camera`."""
        T = np.asarray(T_world_camera, dtype=np.float64)
        if self.camera_axes == "left_handed":
            stored = _MIRROR_Y @ T @ _MIRROR_Y
        else:
            stored = T @ T_FILE_OPENCV[self.camera_axes].T
        return inverse(stored) if self.pose_direction == "world_to_camera" else np.asarray(stored)

    def world_vector(self, vector: tuple[float, float, float]) -> tuple[float, float, float]:
        """A direction in the stored world as one in the world of the converted poses."""
        x, y, z = vector
        return (x, -y, z) if self.camera_axes == "left_handed" else vector

    def describe(self) -> str:
        """As text for users."""
        direction = self.pose_direction.replace("_", " ")
        along = ", depth along the ray" if self.depth_kind == "ray" else ""
        return f"{direction}, {self.camera_axes} axes, {self.depth_scale:g} depth units per metre{along}"


@config_dataclass(frozen=True, config=ConfigDict(extra="forbid"))
class Overrides:
    """Overrides of a format's convention in `m2h.yaml` of a sequence folder; every entry is optional."""

    pose_convention: PoseDirection | None = None
    """Direction of the stored pose matrices."""
    camera_axes: CameraAxes | None = None
    """Axes of the stored camera frames."""
    depth_scale: float | None = None
    """Stored depth units per metre."""
    depth_kind: DepthKind | None = None
    """Whether stored depth is z or the distance from the camera along the ray."""
    world_up: tuple[float, float, float] | None = None
    """Up in the world of the stored poses."""
    time_offset: float = 0.0
    """Seconds to add to an image's time to get that of its pose; poses between the stored ones are interpolated."""
    focal_length: float | None = None
    """Focal length along the width, in pixels of the images as they are stored; along the height in proportion."""
    k1: float | None = None
    """Radial distortion of images whose lens the format calls a pinhole (OpenCV's first coefficient)."""

    def __post_init__(self) -> None:
        if self.depth_scale is not None and not (np.isfinite(self.depth_scale) and self.depth_scale > 0):
            raise ValueError(f"depth_scale must be a positive number of units per metre, got {self.depth_scale}")
        if not np.isfinite(self.time_offset):
            raise ValueError(f"time_offset must be a finite number of seconds, got {self.time_offset}")
        if self.focal_length is not None and not (np.isfinite(self.focal_length) and self.focal_length > 0):
            raise ValueError(f"focal_length must be a positive number of pixels, got {self.focal_length}")
        if self.k1 is not None and not abs(self.k1) < 1:
            raise ValueError(f"k1 must be between -1 and 1, got {self.k1}")
        if self.world_up is not None and not is_direction(self.world_up):
            raise ValueError(f"world_up must be three finite numbers that are not all 0, got {self.world_up}")

    def applied_to(self, convention: Convention) -> Convention:
        """The format's convention with the overrides applied."""
        return replace(
            convention,
            pose_direction=self.pose_convention or convention.pose_direction,
            camera_axes=self.camera_axes or convention.camera_axes,
            depth_scale=self.depth_scale or convention.depth_scale,
            depth_kind=self.depth_kind or convention.depth_kind,
        )


def is_direction(vector: ArrayLike) -> bool:
    """Whether three numbers are finite and not all zero."""
    numbers = np.asarray(vector, dtype=np.float64)
    return numbers.shape == (3,) and bool(np.isfinite(numbers).all()) and 1e-9 < float(np.linalg.norm(numbers)) < 1e9


def read_overrides(folder: Path) -> Overrides:
    """The folder's `m2h.yaml`, or no overrides when there is none; raises SequenceError naming the file and the entry."""
    path = folder / OVERRIDE_FILE
    if not path.is_file():
        return Overrides()
    try:
        overrides = config_from_mapping(Overrides, read_yaml_mapping(path), str(path))
    except ConfigError as error:
        raise SequenceError(str(error)) from error
    assert isinstance(overrides, Overrides)
    return overrides


def rigid_poses(matrices: ArrayLike) -> tuple[Array, list[str]]:
    """Stored (N, 4, 4) matrices as rigid ones, and the reason why a matrix is invalid: its pose is nan, its reason not empty.

    A rotation that is off by no more than `ROTATION_TOLERANCE` is replaced by the nearest one (by singular values).
    """
    stored = np.asarray(matrices, dtype=np.float64).reshape(-1, 4, 4)
    finite = np.asarray(np.isfinite(stored).all(axis=(1, 2)))
    large = np.abs(stored[:, :3]).max(axis=1, initial=0.0) > (*(LARGEST_ELEMENT,) * 3, FARTHEST)
    far, wild = finite & large[:, 3], finite & large[:, :3].any(axis=1)
    T = np.where((finite & ~far & ~wild)[:, None, None], stored, np.eye(4))
    R = T[:, :3, :3]
    off = np.abs(R @ R.swapaxes(1, 2) - np.eye(3)).max(axis=(1, 2))
    U, _, Vt = np.linalg.svd(R)
    nearest = U @ Vt
    last_row = np.abs(T[:, 3] - [0, 0, 0, 1]).max(axis=1)
    reasons = [""] * len(T)
    for i in np.flatnonzero(
        ~finite | far | wild | (last_row > 1e-3) | (off > ROTATION_TOLERANCE) | (np.linalg.det(nearest) < 0)
    ):
        if not finite[i]:
            reasons[i] = "lost pose (not finite)"
        elif wild[i]:
            reasons[i] = f"pose is not rigid (rotation with elements beyond {LARGEST_ELEMENT:g})"
        elif far[i]:
            reasons[i] = "lost pose (too far from the origin)"
        elif last_row[i] > 1e-3:
            reasons[i] = "pose is not rigid (last row is not 0 0 0 1)"
        elif off[i] > ROTATION_TOLERANCE:
            reasons[i] = f"pose is not rigid (rotation off by {off[i]:.2g})"
        else:
            reasons[i] = "pose is a mirror image (determinant -1)"
    poses = from_rotation_translation(nearest, T[:, :3, 3])
    poses[[bool(reason) for reason in reasons]] = np.nan
    return poses, reasons


def rigid_pose(matrix: ArrayLike | None) -> tuple[Array | None, str]:
    """One stored (4, 4) matrix as a rigid one, or None and the reason, as `rigid_poses`."""
    if matrix is None:
        return None, "no pose"
    poses, reasons = rigid_poses(matrix)
    return (None, reasons[0]) if reasons[0] else (poses[0], "")


def matrices_from_quaternions(translations: ArrayLike, quat_xyzw: ArrayLike, where: str) -> Array:
    """(N, 3) positions and (N, 4) quaternions to (N, 4, 4) matrices.

    Quaternions are normalised. Zeros and numbers that are not finite mark a lost pose and give a matrix that is not finite.
    Raises SequenceError that begins with `where` for a length that differs from 1 by more than `QUATERNION_TOLERANCE`.
    """
    t, q = np.asarray(translations, dtype=np.float64), np.asarray(quat_xyzw, dtype=np.float64)
    length = np.linalg.norm(q, axis=-1)
    known = np.isfinite(length) & (length > 1e-9)
    wrong = np.flatnonzero(known & (np.abs(length - 1) > QUATERNION_TOLERANCE + 1e-9))
    if len(wrong):
        raise SequenceError(
            f"{where}: the quaternion of pose {wrong[0] + 1} of {len(q)} has length {length[wrong[0]]:.4g}, expected 1"
        )
    R = rotation_from_quat_xyzw(np.where(known[:, None], q, [0.0, 0.0, 0.0, 1.0]))
    R[~known] = np.nan
    return from_rotation_translation(R, t)


def unit_vector(vector: tuple[float, float, float]) -> tuple[float, float, float]:
    """The vector with a length of 1."""
    x, y, z = (float(component / np.linalg.norm(vector)) for component in vector)
    return x, y, z
