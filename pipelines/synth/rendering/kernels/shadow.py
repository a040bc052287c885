"""Numba kernels: the segments to lights that people may block, and the light that remains around them."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from mapping.arrays import Float32Array, Float64Array
from mapping.compiling import kernel
from pipelines.synth.rendering.kernels.compiling import pixel_kernel
from pipelines.synth.rendering.kernels.shade import EyeRays, Found, Vector

Array = NDArray[np.float64]

BALL_REACH = 1.2  # metres within which a body dims indirect light
LIFT = 0.004  # metres above the surface at which segments to lights start
MOVING_LIFT = 0.01
BEFORE_LIGHT = 0.998  # share of the segment to a light that must be free
BEFORE_SHADE = 0.85  # the same for people: short of the lamp's own shade


class ShadowCasters(NamedTuple):
    """Shadow casters: lights (L, 6), boxes (P, 2, 3) around people and around each of their limbs (P * B, 2, 3), and cones
    (L, P, 4) of axis and squared cosine of each person as seen from each light."""

    lights: Array
    boxes: Array
    limbs: Array
    cones: Array


class LightSegments(NamedTuple):
    """Segments to lights that must be cast: segments (N, 6), and the ray and the light (N,) of each."""

    segments: NDArray[np.float32]
    ray: NDArray[np.int32]
    light: NDArray[np.int32]

    def chosen(self, which: slice | NDArray[np.bool_]) -> LightSegments:
        """A subset of them."""
        return LightSegments(self.segments[which], self.ray[which], self.light[which])


@kernel(nogil=True)
def caster_cones(lights: Float64Array, boxes: Float64Array) -> Float64Array:
    """(L, P, 4) the cones of boxes as seen from lights; a squared cosine of -1 where a light is too near for one."""
    out = np.zeros((len(lights), len(boxes), 4))
    corner = np.zeros(3)
    for s in range(len(lights)):
        for b in range(len(boxes)):
            axis = 0.5 * (boxes[b, 0] + boxes[b, 1]) - lights[s, :3]
            axis /= max(1e-9, math.sqrt(np.sum(axis * axis)))
            lowest = 1.0
            for c in range(8):
                for k in range(3):
                    corner[k] = boxes[b, (c >> k) & 1, k] - lights[s, k]
                lowest = min(lowest, np.sum(corner * axis) / max(1e-9, math.sqrt(np.sum(corner * corner))))
            out[s, b, :3] = axis
            out[s, b, 3] = lowest * lowest - 1e-6 if lowest > 0.05 else -1.0
    return out


@kernel(inline="always")
def _meets(p: Vector, direction: Vector, boxes: Float64Array, b: int) -> bool:
    """Whether the segment from p along direction intersects box b of (B, 2, 3) lowest and highest corners."""
    enter, leave = 0.0, 1.0
    for axis in range(3):
        slope = direction[axis] if abs(direction[axis]) > 1e-9 else 1e-9
        t0, t1 = (boxes[b, 0, axis] - p[axis]) / slope, (boxes[b, 1, axis] - p[axis]) / slope
        enter, leave = max(enter, min(t0, t1)), min(leave, max(t0, t1))
    return enter <= leave


@kernel(inline="always")
def _hits_person(p: Vector, direction: Vector, casters: ShadowCasters, s: int) -> bool:
    """Whether the segment from p to light s intersects a limb's box."""
    length2 = direction[0] * direction[0] + direction[1] * direction[1] + direction[2] * direction[2]
    for b in range(len(casters.boxes)):
        along = (
            casters.cones[s, b, 0] * direction[0]
            + casters.cones[s, b, 1] * direction[1]
            + casters.cones[s, b, 2] * direction[2]
        )
        narrow = casters.cones[s, b, 3]
        if narrow >= 0.0 and (along >= 0.0 or along * along < narrow * length2):
            continue
        if _meets(p, direction, casters.boxes, b):
            each = len(casters.limbs) // len(casters.boxes)
            for limb in range(b * each, (b + 1) * each):
                if _meets(p, direction, casters.limbs, limb):
                    return True
    return False


@pixel_kernel
def segments_past_people(
    rays: EyeRays, found: Found, planes: Float64Array, casters: ShadowCasters, out: LightSegments
) -> int:
    """Fill in the segments from the chosen points to the lights they face that people may block; returns their number."""
    eye, dirs, _ = rays
    chosen, t, face = found.chosen, found.t, found.face
    lights = casters.lights
    segments, ray, light = out
    count = 0
    for k in range(len(chosen)):
        if not chosen[k]:
            continue
        f = face[k]
        nx, ny, nz = planes[f, 0], planes[f, 1], planes[f, 2]
        p = (eye[0] + t[k] * dirs[k, 0], eye[1] + t[k] * dirs[k, 1], eye[2] + t[k] * dirs[k, 2])
        for s in range(len(lights)):
            direction = (lights[s, 0] - p[0], lights[s, 1] - p[1], lights[s, 2] - p[2])
            if nx * direction[0] + ny * direction[1] + nz * direction[2] <= 0.0 or not _hits_person(
                p, direction, casters, s
            ):
                continue
            start = (p[0] + LIFT * nx, p[1] + LIFT * ny, p[2] + LIFT * nz)
            for axis in range(3):
                segments[count, axis] = start[axis]
                segments[count, axis + 3] = (lights[s, axis] - start[axis]) * BEFORE_LIGHT
            ray[count], light[count] = k, s
            count += 1
    return count


@pixel_kernel
def segments_from_people(
    rays: EyeRays, found: Found, planes: Float64Array, lights: Float64Array, out: LightSegments
) -> int:
    """Fill in the segments from the chosen points to the lights (L, 6) that they may face, a little beyond the facet's
    horizon."""
    eye, dirs, _ = rays
    chosen, t, face = found.chosen, found.t, found.face
    segments, ray, light = out
    count = 0
    for k in range(len(chosen)):
        if not chosen[k]:
            continue
        f = face[k]
        for s in range(len(lights)):
            facing, length2 = 0.0, 0.0
            for axis in range(3):
                start = eye[axis] + t[k] * dirs[k, axis] + MOVING_LIFT * planes[f, axis]
                direction = lights[s, axis] - start
                segments[count, axis], segments[count, axis + 3] = start, BEFORE_SHADE * direction
                facing += planes[f, axis] * direction
                length2 += direction * direction
            if facing < -0.3 * math.sqrt(length2):
                continue
            ray[count], light[count] = k, s
            count += 1
    return count


@pixel_kernel
def people_shadow(
    rays: EyeRays,
    found: Found,
    planes: Float64Array,
    lights: Float64Array,
    balls: Float64Array,
    blocked: LightSegments,
    out: Float32Array,
) -> None:
    """Turn out (K, 2) from ones into the share of direct and indirect light that people leave at the chosen points.

    A light that is blocked on one of the segments removes its share of the unoccluded light of all lights (L, 6). Each of the
    balls (S, 4) removes cos * (r / d)^2 of the indirect light: the form factor of a ball.
    """
    eye, dirs, _ = rays
    chosen, t, face = found.chosen, found.t, found.face
    for n in range(len(blocked.ray)):
        out[blocked.ray[n], 0] -= _share(blocked.ray[n], blocked.light[n], rays, found, planes, lights)
    for k in range(len(chosen)):
        if not chosen[k]:
            continue
        px, py, pz = eye[0] + t[k] * dirs[k, 0], eye[1] + t[k] * dirs[k, 1], eye[2] + t[k] * dirs[k, 2]
        f = face[k]
        dimmed = 1.0
        for s in range(len(balls)):
            bx, by, bz = balls[s, 0] - px, balls[s, 1] - py, balls[s, 2] - pz
            d2 = bx * bx + by * by + bz * bz
            if d2 < BALL_REACH * BALL_REACH:
                radius = balls[s, 3]
                d2 = max(radius * radius, d2)
                cosine = (planes[f, 0] * bx + planes[f, 1] * by + planes[f, 2] * bz) / math.sqrt(d2)
                dimmed *= 1.0 - max(0.0, cosine) * radius * radius / d2
        out[k, 1] = dimmed
        out[k, 0] = max(0.0, out[k, 0])


@kernel(inline="always")
def _share(k: int, light: int, rays: EyeRays, found: Found, planes: Float64Array, lights: Float64Array) -> float:
    """Share of one light in the unoccluded light of all lights at a point."""
    eye, dirs, _ = rays
    f, t = found.face[k], found.t[k]
    whole, mine = 1e-9, 0.0
    for s in range(len(lights)):
        facing, d2 = 0.0, 0.0
        for axis in range(3):
            direction = lights[s, axis] - eye[axis] - t * dirs[k, axis]
            facing += planes[f, axis] * direction
            d2 += direction * direction
        d2 = max(0.04, d2)
        if facing > 0.0:
            power = lights[s, 4] * facing / (d2 * math.sqrt(d2))
            whole += power
            if s == light:
                mine = power
    return mine / whole
