"""The contribution of a frame to the voxels of a block, compiled: the arithmetic of `mapping.tsdf.reference` in flat loops.

The compiler turns the loops over 512 voxels into vector instructions, so they contain no branches. Lengths are in metres. In
"scaled camera axes" x and y are multiplied by the focal lengths, so that dividing by z gives pixels.
"""

from __future__ import annotations

from typing import NamedTuple

import numba
import numpy as np

from mapping.arrays import Float32Array, Float64Array, Int32Array, UInt8Array, UInt16Array
from mapping.compiling import FAST, INNER
from mapping.tsdf.grid import FAR, NEAR, SIDE, WEIGHT_UNIT

VOXELS = SIDE**3
BEHIND = np.float32(1e30)  # the depth of a voxel that falls on no pixel: behind everything
SEEN = np.uint8(2)
_ZERO, _HALF, _ONE = np.float32(0), np.float32(0.5), np.float32(1)
_UNIT, _NEAR, _FAR = np.float32(WEIGHT_UNIT), np.float32(NEAR), np.float32(FAR)
_TINY = np.float32(1e-9)


class Pixels(NamedTuple):
    """A frame with its images flattened; an absent image has length 0."""

    depth: Float32Array
    """(H * W,) metres along camera z, 0 unknown."""
    weight: Float32Array
    """(H * W,)."""
    rgb: UInt8Array
    """(H * W, 3)."""
    labels: UInt8Array | UInt16Array
    """(H * W,) 0 unknown."""
    shape: tuple[int, int]
    """(H, W)."""
    camera: Float32Array
    """(fx, fy, cx, cy) in pixels."""
    T_camera_world: Float64Array
    """(4, 4)."""


class DistanceLimits(NamedTuple):
    """Settings of `TSDFConfig` in metres. Positions are computed in float64, differences of depth in float32."""

    voxel_size: np.float64
    truncation: np.float32
    behind: np.float32
    surface: np.float32
    min_depth: np.float32
    max_depth: np.float32
    behind_per_meter: np.float32


class Offsets(NamedTuple):
    """Offsets (512,) from the first voxel of a block to each, in scaled camera axes."""

    x: Float32Array
    y: Float32Array
    z: Float32Array


class ImagePlane(NamedTuple):
    """The image in pixels: the principal point plus a half, so that truncation gives the nearest pixel, and the size."""

    u0: np.float32
    v0: np.float32
    height: np.float32
    width: np.float32


Point = tuple[np.float32, np.float32, np.float32]
"""(x, y, z) in scaled camera axes."""


@numba.njit(nogil=True)
def voxel_offsets(pixels: Pixels, spacing: float, order: UInt16Array) -> Offsets:
    """Offsets of the sample points of a block, `spacing` metres apart; `order` (512,) lists the voxels in the order wanted."""
    steps = np.zeros((3, VOXELS), np.float32)
    for axis in range(3):
        scale = pixels.camera[axis] if axis < 2 else _ONE
        R = pixels.T_camera_world[axis]
        for n in range(VOXELS):
            voxel = np.int64(order[n])
            step = R[0] * (voxel >> 6) + R[1] * ((voxel >> 3) & 7) + R[2] * (voxel & 7)
            steps[axis, n] = np.float32(step * spacing * scale)
    return Offsets(steps[0], steps[1], steps[2])


@numba.njit(**INNER)
def image_plane(pixels: Pixels) -> ImagePlane:
    """The image plane of a frame."""
    camera, shape = pixels.camera, pixels.shape
    return ImagePlane(camera[2] + _HALF, camera[3] + _HALF, np.float32(shape[0]), np.float32(shape[1]))


@numba.njit(**INNER)
def first_sample(T: Float64Array, camera: Float32Array, x: int, y: int, z: int, spacing: float) -> Point:
    """The first sample point of block (x, y, z); `T` is T_camera_world."""
    wx, wy, wz = (SIDE * x + 0.5) * spacing, (SIDE * y + 0.5) * spacing, (SIDE * z + 0.5) * spacing
    return (
        np.float32((T[0, 0] * wx + T[0, 1] * wy + T[0, 2] * wz + T[0, 3]) * camera[0]),
        np.float32((T[1, 0] * wx + T[1, 1] * wy + T[1, 2] * wz + T[1, 3]) * camera[1]),
        np.float32(T[2, 0] * wx + T[2, 1] * wy + T[2, 2] * wz + T[2, 3]),
    )


@numba.njit(error_model="numpy", fastmath=FAST, **INNER)
def project(start: Point, offsets: Offsets, plane: ImagePlane, pixel: Int32Array, depth: Float32Array) -> None:
    """The pixel (512,) that each voxel of a block projects to and its depth (512,); `start` is the first sample point."""
    x0, y0, z0 = start
    steps_x, steps_y, steps_z = offsets.x, offsets.y, offsets.z
    u0, v0 = plane.u0, plane.v0
    height, width = plane.height, plane.width
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
def look_up(image: Float32Array, pixel: Int32Array, out: Float32Array) -> None:
    """The values (512,) of a flat image at the pixels (512,)."""
    for n in range(VOXELS):
        out[n] = image[np.uint32(pixel[n])]


@numba.njit(error_model="numpy", fastmath=FAST, **INNER)
def measure(
    limits: DistanceLimits,
    z: Float32Array,
    depth: Float32Array,
    pixel_weight: Float32Array,
    weight: Int32Array,
    distance: Int32Array,
    flags: UInt8Array,
) -> None:
    """Weight and weighted distance of the voxels of a block, which are seen and which are near the surface; all (512,).

    `z` is the depth of the voxel, `depth` and `pixel_weight` are those of its pixel; bit 0 of the flags marks voxels near the
    surface, bit 1 those that are seen.
    """
    truncation, behind, surface = limits.truncation, limits.behind, limits.surface
    eps = np.float32(limits.voxel_size)
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
def measure_growing(
    limits: DistanceLimits,
    z: Float32Array,
    depth: Float32Array,
    pixel_weight: Float32Array,
    weight: Int32Array,
    distance: Int32Array,
    flags: UInt8Array,
) -> None:
    """`measure` with a band that is deeper behind distant surfaces; a separate kernel, because it is slower."""
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
