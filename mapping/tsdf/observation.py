"""A validated frame in the form that the fusion kernels read."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mapping.camera import Intrinsics
from mapping.se3 import inverse
from mapping.tsdf.tsdf_config import TSDFConfig

MAX_WEIGHT = 256.0
"""The maximum weight of one pixel; 1 is a certain observation."""
MAX_LABEL = 65535
KINDS: dict[str, type] = {"float": np.floating, "integer": np.integer, "uint8": np.uint8}


POSE_TOLERANCE = 5e-3
"""The largest deviation of a pose from orthonormal; that of published trajectories is up to 1e-3."""


class FusionError(ValueError):
    """A frame or a volume that cannot be fused; the message names the argument and what was expected."""


@dataclass(frozen=True, eq=False)
class Observation:
    """depth (H, W) float32 metres, 0 unknown; weight (H, W) float32, rgb (H, W, 3) uint8 and labels (H, W) uint8 or uint16, or
    None; camera (fx, fy, cx, cy) float32 pixels; T_camera_world (4, 4) float64. All arrays are C-contiguous."""

    depth: NDArray[np.float32]
    weight: NDArray[np.float32] | None
    rgb: NDArray[np.uint8] | None
    labels: NDArray[Any] | None
    camera: NDArray[np.float32]
    T_camera_world: NDArray[np.float64]

    @property
    def T_world_camera(self) -> NDArray[np.float64]:
        """The camera's pose (4, 4)."""
        return inverse(self.T_camera_world)

    @property
    def max_weight(self) -> float:
        """An upper bound of the weight of any pixel."""
        return 1.0 if self.weight is None else float(self.weight.max(initial=0.0))


def observe(
    config: TSDFConfig,
    depth: NDArray[np.float32],
    intrinsics: Intrinsics,
    T_world_camera: NDArray[np.float64],
    **images: NDArray[Any] | None,
) -> Observation:
    """Check a frame against its camera; `images` are rgb, labels and weight as `TSDFVolume.integrate` takes them.

    Raises FusionError that names the argument, what was expected and what came.
    """
    if intrinsics.is_distorted:
        raise FusionError("intrinsics have lens distortion; undistort the images first")
    shape = (intrinsics.height, intrinsics.width)
    depth = _checked("depth", depth, shape, "float", np.float32)
    weight, rgb, labels = images.get("weight"), images.get("rgb"), images.get("labels")
    if weight is not None:
        weight = _checked("weight", weight, shape, "float", np.float32)
        if not (weight.min(initial=0.0) >= 0 and weight.max(initial=0.0) <= MAX_WEIGHT):
            raise FusionError(f"weight must be in [0, {MAX_WEIGHT:g}], got {weight.min()}..{weight.max()}")
    if rgb is not None:
        rgb = _checked("rgb", rgb, (*shape, 3), "uint8", np.uint8)
    if labels is not None:
        labels = _checked("labels", labels, shape, "integer", None)
        if labels.dtype not in (np.uint8, np.uint16):
            if not 0 <= labels.min(initial=0) <= labels.max(initial=0) <= MAX_LABEL:
                raise FusionError(f"labels must be in 0..{MAX_LABEL}, got {labels.min()}..{labels.max()}")
            labels = labels.astype(np.uint16)
    if config.range_weight:
        near = np.maximum(depth, np.float32(1)) ** -4
        weight = np.ascontiguousarray(near if weight is None else near * weight, dtype=np.float32)
    camera = np.array([intrinsics.fx, intrinsics.fy, intrinsics.cx, intrinsics.cy], dtype=np.float32)
    return Observation(depth, weight, rgb, labels, camera, _inverse(T_world_camera))


def _inverse(T_world_camera: NDArray[np.float64]) -> NDArray[np.float64]:
    """T_camera_world of the pose with the nearest rotation: recorded poses are rounded, which is noticeable at 5 m."""
    from mapping.tsdf.kernels.pose import invert_rigid

    T = np.ascontiguousarray(T_world_camera, np.float64)
    T_camera_world = np.zeros((4, 4))
    error, det = invert_rigid(T, T_camera_world) if T.shape == (4, 4) else (np.inf, 1.0)
    if not error < POSE_TOLERANCE:
        raise FusionError("T_world_camera must be a finite (4, 4) rigid transform")
    if det < 0:
        raise FusionError("T_world_camera must be a rotation, not a mirror image")
    return T_camera_world


def _checked(
    name: str, array: NDArray[Any], shape: tuple[int, ...], kind: str, dtype: type[np.generic] | None
) -> NDArray[Any]:
    """The array, C-contiguous, as `dtype` (None keeps its own); FusionError when it is not of the kind and shape."""
    if not isinstance(array, np.ndarray) or array.shape != shape or not issubclass(array.dtype.type, KINDS[kind]):
        got = f"{array.dtype} {array.shape}" if isinstance(array, np.ndarray) else type(array).__name__
        raise FusionError(f"{name} must be {kind} {shape}, got {got}")
    return np.ascontiguousarray(array, dtype=dtype)
