"""True edges of a rendered frame, from the planes seen by neighbouring pixels.

An edge lies between two 4-neighbours p and q when one of these is true:

- occlusion: one of them sees nothing, or the plane seen at p, extended to q, misses the plane seen at q by more than
  max(1 cm, 1 % of the depth), at both pixels and on the same side, so that the surfaces do not meet between them;
- crease: the surfaces meet, and their normals differ by more than 30 degrees, inside or outside corner;
- contact: the instances differ and one of them is an object or their labels differ (a book flush on a table, a window in its
  wall), however smoothly the surfaces meet.

Occlusion edges are marked on the nearer pixel, creases and contacts on the left or upper one, so that edges are a pixel wide.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from mapping.arrays import BoolArray, Float64Array, UInt8Array, UInt16Array
from mapping.compiling import kernel
from pipelines.synth.rendering.threads import spread

OCCLUSION_GAP = 0.01
"""Metres, and share of the depth, by which surfaces must be apart."""
CREASE_ANGLE_DEG = 30.0
NONE = 0
OCCLUSION = 1
CREASE = 2
CONTACT = 3


def true_edges(
    seen: NDArray[np.float64],
    rays: NDArray[np.float64],
    instances: NDArray[np.uint16],
    labels: NDArray[np.uint8],
    is_object: NDArray[np.bool_],
) -> NDArray[np.uint8]:
    """(H, W) kinds of edge: NONE, OCCLUSION, CREASE or CONTACT (the first that is true).

    Parameters
    ----------
    seen : (H, W, 5) depth (0 for nothing), unit normal in camera axes towards the camera, plane offset (normal . x).
    rays : (H, W, 3) camera directions with z = 1.
    instances, labels, is_object : (H, W) what each pixel shows.
    """
    cosine = math.cos(math.radians(CREASE_ANGLE_DEG))
    kinds = np.zeros((2, *instances.shape), np.uint8)
    what = (instances, labels, is_object)
    spread(_compare, len(seen), seen, rays, what, cosine, kinds, grain=32)
    return np.asarray(_mark(kinds, seen[..., 0]))


@kernel(inline="always")
def _carried(plane: Float64Array, ray: Float64Array) -> float:
    """Depth at which a ray meets a plane; far away where it does not."""
    slope = plane[1] * ray[0] + plane[2] * ray[1] + plane[3] * ray[2]
    if slope > -1e-9:
        return 1e9
    return float(plane[4] / slope)


@kernel()
def _between(
    a: Float64Array, b: Float64Array, ray_a: Float64Array, ray_b: Float64Array, border: int, cosine: float
) -> int:
    """The kind of edge between two pixels that see planes a and b (5,); border is CONTACT where objects may touch, else NONE."""
    if a[0] <= 0.0 and b[0] <= 0.0:
        return NONE
    if a[0] <= 0.0 or b[0] <= 0.0:
        return OCCLUSION
    turn = a[1] * b[1] + a[2] * b[2] + a[3] * b[3]
    if turn > 0.99999 and abs(a[4] - b[4]) < 1e-4:
        return border
    gap_a = a[0] - _carried(b, ray_a)
    gap_b = _carried(a, ray_b) - b[0]
    near = min(a[0], b[0])
    # Planes seen edge-on cross anything within a pixel: such a crossing is no evidence of contact.
    meet = gap_a * gap_b <= 0.0 and abs(a[0] - b[0]) < 0.08 * near
    if not meet and min(abs(gap_a), abs(gap_b)) > max(OCCLUSION_GAP, OCCLUSION_GAP * near):
        return OCCLUSION
    if not meet and gap_a * gap_b <= 0.0:
        return OCCLUSION
    if turn < cosine:
        return CREASE
    return border


@kernel(nogil=True)
def _compare(
    first: int,
    last: int,
    seen: Float64Array,
    rays: Float64Array,
    what: tuple[UInt16Array, UInt8Array, BoolArray],
    cosine: float,
    kinds: UInt8Array,
) -> None:
    """Fill kinds (2, H, W): the edge between each pixel and its right (0) and lower (1) neighbour."""
    instances, labels, is_object = what
    height, width = instances.shape
    for i in range(first, last):
        for j in range(width):
            for k in range(2):
                y, x = i + k, j + 1 - k
                if y >= height or x >= width:
                    continue
                border = NONE
                if instances[i, j] == instances[y, x]:
                    same = abs(seen[i, j, 4] - seen[y, x, 4]) < 1e-9 and abs(seen[i, j, 1] - seen[y, x, 1]) < 1e-9
                    if same and abs(seen[i, j, 2] - seen[y, x, 2]) < 1e-9 and seen[i, j, 3] * seen[y, x, 3] >= 0.0:
                        continue  # most pixels: the same plane
                else:
                    border = CONTACT if is_object[i, j] or is_object[y, x] or labels[i, j] != labels[y, x] else NONE
                kinds[k, i, j] = _between(seen[i, j], seen[y, x], rays[i, j], rays[y, x], border, cosine)


@kernel(nogil=True)
def _mark(kinds: UInt8Array, depth: Float64Array) -> UInt8Array:
    height, width = depth.shape
    out = np.zeros((height, width), np.uint8)
    for i in range(height):
        for j in range(width):
            for k in range(2):
                kind = kinds[k, i, j]
                if kind == NONE:
                    continue
                y, x = i + k, j + 1 - k
                here, there = depth[i, j], depth[y, x]
                if kind != OCCLUSION or (here > 0.0 and (there <= 0.0 or here <= there)):
                    y, x = i, j
                if out[y, x] == NONE or kind < out[y, x]:
                    out[y, x] = kind
    return out
