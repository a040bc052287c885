"""Compiled comparison of the points of one frame with the depth of others."""

from __future__ import annotations

from typing import NamedTuple

import numba
import numpy as np

from mapping.arrays import Float32Array, Float64Array, Int32Array, Int64Array, UInt16Array
from mapping.compiling import INNER, kernel

FARTHER, NEAR_ENOUGH = 1.5, 3.0
"""How many times farther away a view may be than the one in which a point was found, and metres from which any may be: thin
things, and those with gaps, are lost in views from farther away."""
AGAINST = np.float32(2)
"""Frames that pass for one that confirms."""
HIDDEN, CONFIRMED, PASSED = 0, 1, 2


class ViewArrays(NamedTuple):
    """Frames that points are compared with."""

    near: UInt16Array
    """(R, H, W) least depth around each pixel in units, 0 where too little is known."""
    far: UInt16Array
    """(R, H, W) greatest depth around each pixel in units."""
    cameras: Float32Array
    """(R, 4) fx, fy, cx, cy in pixels."""
    poses: Float64Array
    """(R, 3, 4) T_camera_world."""
    unit: float
    """Metres of a unit of depth."""


class Margins(NamedTuple):
    """By how many metres two depths of a point may differ, by depth."""

    table: Float32Array
    """(B,) metres."""
    step: float
    """Metres of depth of one bin of the table."""


class Evidence(NamedTuple):
    """What the other frames say of points (N,)."""

    run: Float32Array
    """The running sum of the frames so far."""
    best: Float32Array
    """The greatest sum of a run of frames without the own time: how surely the place is free then."""
    passed: Int32Array
    """Frames that look through the point."""
    confirmed: Int32Array
    """Frames whose depth ends at the point."""


@numba.njit(error_model="numpy", **INNER)
def compare(views: ViewArrays, number: int, margins: Margins, x: float, y: float, z: float, depth: float) -> int:
    """Whether view `number` passes through the world point (x, y, z), found at `depth` metres, ends there or does not see it."""
    T = views.poses[number]
    c = T[2, 0] * x + T[2, 1] * y + T[2, 2] * z + T[2, 3]
    if c < 0.1 or c > max(FARTHER * depth, NEAR_ENOUGH):
        return HIDDEN
    a = T[0, 0] * x + T[0, 1] * y + T[0, 2] * z + T[0, 3]
    b = T[1, 0] * x + T[1, 1] * y + T[1, 2] * z + T[1, 3]
    camera = views.cameras[number]
    u = np.int64(np.floor(camera[0] * a / c + camera[2] + 0.5))
    v = np.int64(np.floor(camera[1] * b / c + camera[3] + 0.5))
    if u < 0 or v < 0 or u >= views.near.shape[2] or v >= views.near.shape[1]:
        return HIDDEN
    near = views.near[number, v, u] * views.unit
    if near <= 0:
        return HIDDEN
    place = np.int64(max(c, depth) / margins.step)
    margin = margins.table[place if place < len(margins.table) else len(margins.table) - 1]
    if near > c + margin:
        return PASSED
    if c <= views.far[number, v, u] * views.unit + margin:
        return CONFIRMED
    return HIDDEN


@kernel(nogil=True, error_model="numpy")
def find_overlap(
    views: ViewArrays, margins: Margins, points: Float64Array, depth: Float32Array, seen: Int32Array
) -> None:
    """How many of the points (N, 3), found at depths (N,), each view sees or sees through: seen (R,)."""
    for number in range(len(views.poses)):
        for n in range(len(points)):
            if compare(views, number, margins, points[n, 0], points[n, 1], points[n, 2], depth[n]) != HIDDEN:
                seen[number] += 1


@kernel(nogil=True, error_model="numpy")
def weigh(
    views: ViewArrays,
    margins: Margins,
    chosen: Int64Array,
    after: int,
    points: Float64Array,
    depth: Float32Array,
    evidence: Evidence,
) -> None:
    """Sum the evidence of the `chosen` views, in order of time, on points (N, 3) found at depths (N,) metres.

    A frame that passes counts 1, one that confirms `-AGAINST`; the greatest sum of consecutive frames is kept. No run goes
    over the own time, which is before `chosen[after]`.
    """
    for m in range(len(chosen)):
        if m == after:
            evidence.run[:] = 0
        for n in range(len(points)):
            said = compare(views, chosen[m], margins, points[n, 0], points[n, 1], points[n, 2], depth[n])
            if said == PASSED:
                evidence.passed[n] += 1
                evidence.run[n] += 1
                evidence.best[n] = max(evidence.best[n], evidence.run[n])
            elif said == CONFIRMED:
                evidence.confirmed[n] += 1
                evidence.run[n] = max(np.float32(0), evidence.run[n] - AGAINST)


@kernel(nogil=True, error_model="numpy")
def differences(views: ViewArrays, number: int, points: Float64Array, found: Float32Array) -> None:
    """Metres (N,) by which view `number` sees farther than points (N, 3); not-a-number where it does not see the place well."""
    T, camera = views.poses[number], views.cameras[number]
    for n in range(len(points)):
        found[n] = np.nan
        x, y, z = points[n, 0], points[n, 1], points[n, 2]
        c = T[2, 0] * x + T[2, 1] * y + T[2, 2] * z + T[2, 3]
        if c < 0.1:
            continue
        a = T[0, 0] * x + T[0, 1] * y + T[0, 2] * z + T[0, 3]
        b = T[1, 0] * x + T[1, 1] * y + T[1, 2] * z + T[1, 3]
        u = np.int64(np.floor(camera[0] * a / c + camera[2] + 0.5))
        v = np.int64(np.floor(camera[1] * b / c + camera[3] + 0.5))
        if u < 0 or v < 0 or u >= views.near.shape[2] or v >= views.near.shape[1] or views.near[number, v, u] == 0:
            continue
        near, far = views.near[number, v, u] * views.unit, views.far[number, v, u] * views.unit
        if far - near < 0.04 * far:
            found[n] = (near + far) / 2 - c
