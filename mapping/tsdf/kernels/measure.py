"""What a frame says to the voxels of a block, compiled: the arithmetic of `mapping.tsdf.reference` in flat loops over 512 voxels.

The compiler turns these into vector instructions, which is why nothing in them branches.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numba
import numpy as np
from numpy.typing import NDArray

from mapping.compiling import FAST, INNER
from mapping.tsdf.grid import FAR, NEAR, SIDE, WEIGHT_UNIT

VOXELS = SIDE**3
BEHIND = np.float32(1e30)  # the depth of a voxel that falls on no pixel: behind everything
SEEN = np.uint8(2)
_ZERO, _HALF, _ONE = np.float32(0), np.float32(0.5), np.float32(1)
_UNIT, _NEAR, _FAR, _TINY = np.float32(WEIGHT_UNIT), np.float32(NEAR), np.float32(FAR), np.float32(1e-9)


class Pixels(NamedTuple):
    """A frame with its images flattened; an image that is not there has length 0."""

    depth: NDArray[np.float32]
    weight: NDArray[np.float32]
    rgb: NDArray[np.uint8]
    labels: NDArray[Any]
    shape: tuple[int, int]
    camera: NDArray[np.float32]
    T_camera_world: NDArray[np.float64]


class Limits(NamedTuple):
    """Metres: of `TSDFConfig`. Places are computed in float64, differences of depth in float32."""

    voxel_size: np.float64
    truncation: np.float32
    behind: np.float32
    surface: np.float32
    min_depth: np.float32
    max_depth: np.float32
    behind_per_meter: np.float32


@numba.njit(nogil=True)
def voxel_offsets(pixels: Any, spacing: Any, order: Any) -> Any:
    """Three times (512,): steps from the first voxel of a block to each in camera axes, x and y times the focal lengths.

    `order` (512,) are the numbers of the voxels in the order in which they are wanted.
    """
    steps = np.zeros((3, VOXELS), np.float32)
    for axis in range(3):
        scale = pixels.camera[axis] if axis < 2 else _ONE
        R = pixels.T_camera_world[axis]
        for n in range(VOXELS):
            voxel = np.int64(order[n])
            step = R[0] * (voxel >> 6) + R[1] * ((voxel >> 3) & 7) + R[2] * (voxel & 7)
            steps[axis, n] = np.float32(step * spacing * scale)
    return steps[0], steps[1], steps[2]


@numba.njit(**INNER)
def view_of(pixels: Any) -> Any:
    """The image as `project` takes it: (cx + 1/2, cy + 1/2, height, width)."""
    camera, shape = pixels.camera, pixels.shape
    return camera[2] + _HALF, camera[3] + _HALF, np.float32(shape[0]), np.float32(shape[1])


@numba.njit(**INNER)
def first_sample(T: Any, camera: Any, x: Any, y: Any, z: Any, spacing: Any) -> Any:
    """The first sample point of block (x, y, z) in camera axes, x and y times the focal lengths."""
    wx, wy, wz = (SIDE * x + 0.5) * spacing, (SIDE * y + 0.5) * spacing, (SIDE * z + 0.5) * spacing
    return (
        np.float32((T[0, 0] * wx + T[0, 1] * wy + T[0, 2] * wz + T[0, 3]) * camera[0]),
        np.float32((T[1, 0] * wx + T[1, 1] * wy + T[1, 2] * wz + T[1, 3]) * camera[1]),
        np.float32(T[2, 0] * wx + T[2, 1] * wy + T[2, 2] * wz + T[2, 3]),
    )


@numba.njit(error_model="numpy", fastmath=FAST, **INNER)
def project(start: Any, steps_x: Any, steps_y: Any, steps_z: Any, image: Any, pixel: Any, depth: Any) -> None:
    """The pixel that each voxel of a block falls on and its depth along camera z.

    `start` (x, y, z) is the first sample point in camera axes, x and y times the focal lengths, and steps (512,) are from
    there to each. image is that of `view_of`.
    """
    x0, y0, z0 = start
    u0, v0, height, width = image
    stride = np.int32(width)
    for n in range(VOXELS):
        z = z0 + steps_z[n]
        over_z = _ONE / z
        u = (x0 + steps_x[n]) * over_z + u0
        v = (y0 + steps_y[n]) * over_z + v0
        inside = (z > _NEAR) & (u >= _ZERO) & (u < width) & (v >= _ZERO) & (v < height)
        pixel[n] = np.int32(v if inside else _ZERO) * stride + np.int32(u if inside else _ZERO)
        depth[n] = z if inside else BEHIND


@numba.njit(**INNER)
def look_up(image: Any, pixel: Any, out: Any) -> None:
    """The image's values at the pixels."""
    for n in range(VOXELS):
        out[n] = image[np.uint32(pixel[n])]


@numba.njit(error_model="numpy", fastmath=FAST, **INNER)
def measure(limits: Any, z: Any, depth: Any, pixel_weight: Any, weight: Any, distance: Any, flags: Any) -> None:
    """Weight and weighted distance of every voxel of a block, which are seen and which are near the surface."""
    truncation, behind, surface, eps = limits.truncation, limits.behind, limits.surface, np.float32(limits.voxel_size)
    per_truncation, fall = _ONE / truncation, _ONE / max(behind - eps, np.float32(1e-9))
    for n in range(VOXELS):
        sdf = depth[n] - z[n]
        seen = (sdf >= -behind) & (depth[n] >= limits.min_depth) & (depth[n] <= _FAR)
        seen &= (depth[n] <= limits.max_depth) | (sdf >= truncation)
        drop = (behind + sdf) * fall
        scale = pixel_weight[n] * (drop if drop < _ONE else _ONE) * _UNIT + _HALF
        quanta = np.int32(scale if seen else _ZERO)
        part = (sdf if sdf < truncation else truncation) * per_truncation * np.float32(quanta)
        weight[n] = quanta
        distance[n] = np.int32((part if seen else _ZERO) + (_HALF if part >= _ZERO else -_HALF))
        near = np.uint8((sdf <= surface) & (sdf >= -surface) & (quanta > 0))
        flags[n] = near | (SEEN if quanta > 0 else np.uint8(0))


@numba.njit(error_model="numpy", fastmath=FAST, **INNER)
def measure_growing(limits: Any, z: Any, depth: Any, pixel_weight: Any, weight: Any, distance: Any, flags: Any) -> None:
    """`measure` with a band that is deeper behind what is farther away; apart, so that who does without does not pay for it."""
    truncation, surface, eps = limits.truncation, limits.surface, np.float32(limits.voxel_size)
    least, per_meter, per_truncation = limits.behind, limits.behind_per_meter, _ONE / truncation
    for n in range(VOXELS):
        sdf = depth[n] - z[n]
        grown = per_meter * depth[n]
        behind = grown if grown > least else least
        seen = (sdf >= -behind) & (depth[n] >= limits.min_depth) & (depth[n] <= _FAR)
        seen &= (depth[n] <= limits.max_depth) | (sdf >= truncation)
        width = behind - eps
        drop = (behind + sdf) / (width if width > _TINY else _TINY)
        scale = pixel_weight[n] * (drop if drop < _ONE else _ONE) * _UNIT + _HALF
        quanta = np.int32(scale if seen else _ZERO)
        cut = sdf if sdf < truncation else truncation
        part = (cut if cut > -truncation else -truncation) * per_truncation * np.float32(quanta)
        weight[n] = quanta
        distance[n] = np.int32((part if seen else _ZERO) + (_HALF if part >= _ZERO else -_HALF))
        near = np.uint8((sdf <= surface) & (sdf >= -surface) & (quanta > 0))
        flags[n] = near | (SEEN if quanta > 0 else np.uint8(0))
