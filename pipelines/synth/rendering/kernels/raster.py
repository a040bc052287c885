"""Numba kernels: the visible face of every pixel, by drawing the faces into a depth buffer.

The edges of a face are planes through the eye, so coverage and inverse depth are linear in the pixel and nothing has to be
clipped (Olano and Greer, "Triangle scan conversion using 2D homogeneous coordinates", 1997). Two faces that share an edge
compute its function with opposite sign, exactly: no ray slips through between them. Of two faces at the same depth the
one with the lower number wins. The cost depends on the visible faces, not on the rays, and no lock is needed.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from mapping.arrays import BoolArray, Float32Array, Float64Array, Int32Array
from mapping.compiling import kernel
from pipelines.synth.rendering.kernels.compiling import pixel_kernel

Array = NDArray[np.float64]

NEAR = 1e-3
"""Least depth in metres at which a corner is projected."""
MARGIN = 0.5
"""Pixels beyond the centres of the outermost pixels that are still drawn."""


class Pinhole(NamedTuple):
    """Focal lengths, principal point and size of the image, in pixels."""

    fx: float
    fy: float
    cx: float
    cy: float
    width: int
    height: int


class Facets(NamedTuple):
    """Faces (F, 3) as numbers of vertices, and which are flat (F,): not shaded as a part of a round surface."""

    faces: NDArray[np.int32]
    is_flat: NDArray[np.bool_]


class ProjectedCorners(NamedTuple):
    """Vertices in a camera: points (V, 3) in camera axes, pixels (V, 2) where z > NEAR, and of which sides of the
    frustum each lies outside (V,), as bits."""

    points: Array
    pixels: Array
    outside: NDArray[np.uint8]


class Buffer(NamedTuple):
    """The depth buffer: inverse depth (S, H, W), 0 for nothing, and face (S, H, W), -1 for none, at S positions within each
    pixel, `shifts` (S, 2) from its centre; `following` (H, W) the next column, from a pixel on, that is drawn at all."""

    nearness: Array
    face: NDArray[np.int32]
    shifts: Array
    following: NDArray[np.int32]


@kernel(nogil=True)
def project(vertices: Float64Array, T_camera_world: Float64Array, camera: Pinhole) -> ProjectedCorners:
    """Project the vertices (V, 3) of the world into a camera at T (3 or 4, 4)."""
    fx, fy = camera.fx, camera.fy
    cx, cy = camera.cx, camera.cy
    T = T_camera_world
    left, right = (-MARGIN - cx) / fx, (camera.width - 1 + MARGIN - cx) / fx
    top, bottom = (-MARGIN - cy) / fy, (camera.height - 1 + MARGIN - cy) / fy
    points = np.zeros((len(vertices), 3))
    pixels = np.zeros((len(vertices), 2))
    outside = np.zeros(len(vertices), np.uint8)
    for k in range(len(vertices)):
        a, b, c = vertices[k, 0], vertices[k, 1], vertices[k, 2]
        x = T[0, 0] * a + T[0, 1] * b + T[0, 2] * c + T[0, 3]
        y = T[1, 0] * a + T[1, 1] * b + T[1, 2] * c + T[1, 3]
        z = T[2, 0] * a + T[2, 1] * b + T[2, 2] * c + T[2, 3]
        points[k, 0], points[k, 1], points[k, 2] = x, y, z
        bits = 0
        if x < left * z:
            bits |= 1
        if x > right * z:
            bits |= 2
        if y < top * z:
            bits |= 4
        if y > bottom * z:
            bits |= 8
        if z <= 0.0:
            bits |= 16
        if z < NEAR:
            bits |= 32  # not projected, yet not out of view
        else:
            pixels[k, 0], pixels[k, 1] = fx * x / z + cx, fy * y / z + cy
        outside[k] = bits
    return ProjectedCorners(points, pixels, outside)


@kernel(inline="always")
def _within(low: float, high: float, slope: float, value: float) -> tuple[float, float]:
    """The part of [low, high] in which slope * u + value >= 0."""
    if slope > 1e-30:
        return max(low, -value / slope), high
    if slope < -1e-30:
        return low, min(high, -value / slope)
    return (low, high) if value >= 0.0 else (1.0, -1.0)


@kernel(nogil=True)
def in_view(corners: ProjectedCorners, faces: Int32Array, camera: Pinhole) -> Int32Array:
    """The numbers of the faces (F, 3) that may cover the centre of a pixel, or a position within MARGIN of it."""
    _, pixels, outside = corners
    out = np.zeros(len(faces), np.int32)
    count = 0
    for f in range(len(faces)):
        i, j, k = faces[f, 0], faces[f, 1], faces[f, 2]
        if outside[i] & outside[j] & outside[k] & 31:
            continue
        if (outside[i] | outside[j] | outside[k]) & 32 == 0:
            low = min(pixels[i, 0], pixels[j, 0], pixels[k, 0]) - MARGIN
            high = max(pixels[i, 0], pixels[j, 0], pixels[k, 0]) + MARGIN
            if math.ceil(low) > high:
                continue
        out[count] = f
        count += 1
    return out[:count]


@pixel_kernel
def draw(
    chosen: Int32Array, corners: ProjectedCorners, faces: Int32Array, number: int, camera: Pinhole, buffer: Buffer
) -> None:
    """Draw the chosen faces; face f enters the buffer as number + f."""
    points, pixels, outside = corners
    fx, fy = camera.fx, camera.fy
    cx, cy = camera.cx, camera.cy
    drawn, seen = buffer.nearness, buffer.face
    shifts, following = buffer.shifts, buffer.following
    width, height = camera.width, camera.height
    for f in chosen:
        i, j, k = faces[f, 0], faces[f, 1], faces[f, 2]
        left, right = -MARGIN, width - 1 + MARGIN
        top, bottom = -MARGIN, height - 1 + MARGIN
        if (outside[i] | outside[j] | outside[k]) & 32 == 0:
            left = max(left, min(pixels[i, 0], pixels[j, 0], pixels[k, 0]) - 1e-6)
            right = min(right, max(pixels[i, 0], pixels[j, 0], pixels[k, 0]) + 1e-6)
            top = max(top, min(pixels[i, 1], pixels[j, 1], pixels[k, 1]) - 1e-6)
            bottom = min(bottom, max(pixels[i, 1], pixels[j, 1], pixels[k, 1]) + 1e-6)
        ax, ay, az = points[i, 0], points[i, 1], points[i, 2]
        bx, by, bz = points[j, 0], points[j, 1], points[j, 2]
        gx, gy, gz = points[k, 0], points[k, 1], points[k, 2]
        # The planes through the eye and an edge: direction . plane has the sign of the side.
        px, py, pz = by * gz - bz * gy, bz * gx - bx * gz, bx * gy - by * gx
        qx, qy, qz = gy * az - gz * ay, gz * ax - gx * az, gx * ay - gy * ax
        rx, ry, rz = ay * bz - az * by, az * bx - ax * bz, ax * by - ay * bx
        volume = ax * px + ay * py + az * pz
        if abs(volume) < 1e-14:
            continue  # seen edge-on
        sign = 1.0 if volume > 0.0 else -1.0
        px, py, pz = sign * px / fx, sign * py / fy, sign * pz
        qx, qy, qz = sign * qx / fx, sign * qy / fy, sign * qz
        rx, ry, rz = sign * rx / fx, sign * ry / fy, sign * rz
        pz, qz, rz = pz - px * cx - py * cy, qz - qx * cx - qy * cy, rz - rx * cx - ry * cy
        scale = 1.0 / abs(volume)
        wx, wy, wz = (px + qx + rx) * scale, (py + qy + ry) * scale, (pz + qz + rz) * scale
        for s in range(len(shifts)):
            du, dv = shifts[s, 0], shifts[s, 1]
            for v in range(max(0, math.ceil(top - dv)), min(height - 1, math.floor(bottom - dv)) + 1):
                y = v + dv
                low, high = _within(left, right, px, py * y + pz)
                low, high = _within(low, high, qx, qy * y + qz)
                low, high = _within(low, high, rx, ry * y + rz)
                if low > high:
                    continue
                u, last = max(0, math.ceil(low - du)), min(width - 1, math.floor(high - du))
                start = wy * y + wz + wx * du
                while u <= last:
                    u = following[v, u]
                    if u > last:
                        break
                    nearness = start + wx * u
                    if nearness > drawn[s, v, u]:
                        drawn[s, v, u] = nearness
                        seen[s, v, u] = number + f
                    u += 1


@kernel(nogil=True)
def following(wanted: BoolArray) -> Int32Array:
    """(H, W) the first column from a pixel on where `wanted` (H, W) is true; the width where there is none."""
    height, width = wanted.shape
    out = np.zeros((height, width), np.int32)
    for v in range(height):
        column = width
        for u in range(width - 1, -1, -1):
            if wanted[v, u]:
                column = u
            out[v, u] = column
    return out


@pixel_kernel
def corner_weights(
    first: int,
    last: int,
    face: Int32Array,
    directions: Float64Array,
    corners: ProjectedCorners,
    facets: Facets,
    out: Float32Array,
) -> None:
    """Fill out (K, 2) with the weights of the second and third corner where directions (K, 3) meet faces (K,) that are not
    flat; -1 is no face."""
    faces, is_flat = facets
    points = corners.points
    for n in range(first, last):
        if face[n] < 0 or is_flat[face[n]]:
            continue
        i, j, k = faces[face[n], 0], faces[face[n], 1], faces[face[n], 2]
        ax, ay, az = points[i, 0], points[i, 1], points[i, 2]
        bx, by, bz = points[j, 0], points[j, 1], points[j, 2]
        gx, gy, gz = points[k, 0], points[k, 1], points[k, 2]
        x, y, z = directions[n, 0], directions[n, 1], directions[n, 2]
        p = x * (by * gz - bz * gy) + y * (bz * gx - bx * gz) + z * (bx * gy - by * gx)
        q = x * (gy * az - gz * ay) + y * (gz * ax - gx * az) + z * (gx * ay - gy * ax)
        r = x * (ay * bz - az * by) + y * (az * bx - ax * bz) + z * (ax * by - ay * bx)
        total = p + q + r
        if total != 0.0:
            out[n, 0], out[n, 1] = q / total, r / total
