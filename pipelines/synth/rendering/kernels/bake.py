"""Numba kernels of the light map: the rays to cast for a node, and the sums over their hits."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

from mapping.arrays import BoolArray, Float32Array, Float64Array, Int32Array, Int64Array
from mapping.compiling import kernel
from pipelines.synth.rendering.kernels.charts import Charts, nearest_node
from pipelines.synth.rendering.kernels.noise import hash01
from pipelines.synth.rendering.kernels.shade import Vector

LIFT = 0.004
"""Metres that rays start above their surface."""
BULB_RADIUS = 0.06
"""Metres: softness of the shadows of point lights."""
BULB_SAMPLES = 8
PANE_SAMPLES = 8
WEAKEST = 0.004
"""Irradiance below which no ray is cast to a light."""
UNKNOWN, BACK = -1, -2


class LightRays(NamedTuple):
    """Segments from nodes to lights and the irradiance along each that is not blocked."""

    segments: Float32Array
    """(K, 6) start, and the vector to just before the light."""
    owner: Int64Array
    """(K,) the node."""
    light: Float32Array
    """(K, 3) irradiance."""


@kernel()
def _tangents(nx: float, ny: float, nz: float) -> tuple[Vector, Vector]:
    """Two unit vectors across a unit normal (Duff et al. 2017)."""
    sign = 1.0 if nz >= 0.0 else -1.0
    a = -1.0 / (sign + nz)
    b = nx * ny * a
    return (1.0 + sign * nx * nx * a, sign * b, -sign * nx), (b, sign + ny * ny * a, -ny)


@kernel()
def _emit(
    ray: int, points: Float64Array, normals: Float64Array, k: int, target: Float64Array, rays: Float32Array
) -> None:
    """A segment from just above the surface to just before the target; its parameter runs from 0 to 1."""
    for axis in range(3):
        origin = points[k, axis] + LIFT * normals[k, axis]
        rays[ray, axis] = origin
        rays[ray, axis + 3] = (target[axis] - origin) * 0.998


@kernel(nogil=True)
def bulb_rays(
    points: Float64Array, normals: Float64Array, first: int, lights: Float64Array, capacity: int
) -> LightRays:
    """Shadow rays from nodes to point lights (L, 6: position, intensity): segments (K, 6), node (K,) and irradiance (K, 3)."""
    rays = np.zeros((capacity, 6), np.float32)
    owner = np.zeros(capacity, np.int64)
    light = np.zeros((capacity, 3), np.float32)
    used = 0
    target = np.zeros(3)
    for k in range(len(points)):
        for s in range(len(lights)):
            dx, dy, dz = lights[s, 0] - points[k, 0], lights[s, 1] - points[k, 1], lights[s, 2] - points[k, 2]
            d2 = max(0.04, dx * dx + dy * dy + dz * dz)
            cosine = (dx * normals[k, 0] + dy * normals[k, 1] + dz * normals[k, 2]) / math.sqrt(d2)
            if cosine <= 0.0 or max(lights[s, 3], lights[s, 4], lights[s, 5]) * cosine / d2 < WEAKEST:
                continue
            for j in range(BULB_SAMPLES):
                height = 2.0 * (j + hash01(first + k, j, s, 1)) / BULB_SAMPLES - 1.0
                around = 6.2831853 * hash01(first + k, j, s, 2)
                ring = math.sqrt(max(0.0, 1.0 - height * height))
                target[0] = lights[s, 0] + BULB_RADIUS * ring * math.cos(around)
                target[1] = lights[s, 1] + BULB_RADIUS * ring * math.sin(around)
                target[2] = lights[s, 2] + BULB_RADIUS * height
                _emit(used, points, normals, k, target, rays)
                owner[used] = k
                for axis in range(3):
                    light[used, axis] = lights[s, 3 + axis] * cosine / d2 / BULB_SAMPLES
                used += 1
    return LightRays(rays[:used], owner[:used], light[:used])


@kernel(nogil=True)
def pane_rays(points: Float64Array, normals: Float64Array, first: int, panes: Float64Array, capacity: int) -> LightRays:
    """Shadow rays from nodes to glowing panes, as `bulb_rays`.

    panes (E, 15): centre, two half edges, unit normal, radiance of rectangles that shine to both sides.
    """
    rays = np.zeros((capacity, 6), np.float32)
    owner = np.zeros(capacity, np.int64)
    light = np.zeros((capacity, 3), np.float32)
    target = np.zeros(3)
    areas = np.zeros(len(panes))
    for e in range(len(panes)):
        areas[e] = 4.0 * math.sqrt(np.sum(panes[e, 3:6] ** 2) * np.sum(panes[e, 6:9] ** 2))
    used = 0
    for k in range(len(points)):
        px, py, pz = points[k, 0], points[k, 1], points[k, 2]
        nx, ny, nz = normals[k, 0], normals[k, 1], normals[k, 2]
        for e in range(len(panes)):
            area = areas[e]
            dx, dy, dz = panes[e, 0] - px, panes[e, 1] - py, panes[e, 2] - pz
            d2 = max(0.25, dx * dx + dy * dy + dz * dz)
            bright = max(panes[e, 12], panes[e, 13], panes[e, 14]) * area / d2
            slant = abs(dx * panes[e, 9] + dy * panes[e, 10] + dz * panes[e, 11]) / math.sqrt(d2)
            if bright * (slant + 0.1) < 6.0 * WEAKEST:
                continue
            for j in range(PANE_SAMPLES):
                # Stratified over a 4 x 2 grid of the rectangle.
                a = 2.0 * ((j % 4) + hash01(first + k, j, e, 4)) / 4.0 - 1.0
                b = 2.0 * ((j // 4) + hash01(first + k, j, e, 5)) / 2.0 - 1.0
                target[0] = panes[e, 0] + a * panes[e, 3] + b * panes[e, 6]
                target[1] = panes[e, 1] + a * panes[e, 4] + b * panes[e, 7]
                target[2] = panes[e, 2] + a * panes[e, 5] + b * panes[e, 8]
                dx, dy, dz = target[0] - px, target[1] - py, target[2] - pz
                d2 = max(0.04, dx * dx + dy * dy + dz * dz)
                cosine = (dx * nx + dy * ny + dz * nz) / math.sqrt(d2)
                slant = abs(dx * panes[e, 9] + dy * panes[e, 10] + dz * panes[e, 11]) / math.sqrt(d2)
                if cosine * slant <= 0.0 or bright * cosine * slant < WEAKEST:
                    continue
                _emit(used, points, normals, k, target, rays)
                owner[used] = k
                for axis in range(3):
                    light[used, axis] = panes[e, 12 + axis] * cosine * slant * area / d2 / PANE_SAMPLES
                used += 1
    return LightRays(rays[:used], owner[:used], light[:used])


@kernel(nogil=True)
def add_light(total: Float32Array, partly: BoolArray, first: int, rays: LightRays, blocked: BoolArray) -> None:
    """Add the irradiance of the rays (see `bulb_rays`) that nothing blocked to their nodes, in place and in order.

    partly (N,) is set where a light is visible from a node for some of its rays only.
    """
    owner, light = rays.owner, rays.light
    for k in range(len(owner)):
        node = first + owner[k]
        if not blocked[k]:
            for axis in range(3):
                total[node, axis] += light[k, axis]
        if k > 0 and owner[k] == owner[k - 1] and blocked[k] != blocked[k - 1]:
            partly[node] = True


@kernel(nogil=True)
def sun_rays(
    points: Float64Array, normals: Float64Array, first: int, to_sun: Float64Array, spread: float, samples: int
) -> Float32Array:
    """Rays (N * samples, 6) towards the sun from places spread about each node (so that patches of sun have soft borders)."""
    rays = np.zeros((len(points) * samples, 6), np.float32)
    for k in range(len(points)):
        nx, ny, nz = normals[k, 0], normals[k, 1], normals[k, 2]
        x, y = _tangents(nx, ny, nz)
        for j in range(samples):
            u = spread * (hash01(first + k, j, 0, 6) - 0.5)
            v = spread * (hash01(first + k, j, 0, 7) - 0.5)
            row = k * samples + j
            rays[row, 0] = points[k, 0] + LIFT * nx + u * x[0] + v * y[0]
            rays[row, 1] = points[k, 1] + LIFT * ny + u * x[1] + v * y[1]
            rays[row, 2] = points[k, 2] + LIFT * nz + u * x[2] + v * y[2]
            rays[row, 3], rays[row, 4], rays[row, 5] = to_sun[0], to_sun[1], to_sun[2]
    return rays


@kernel(nogil=True)
def hemisphere_rays(
    first: int, last: int, points: Float64Array, normals: Float64Array, number: int, samples: int, rays: Float32Array
) -> None:
    """Fill rays (N * samples, 6), cosine-weighted: one golden-spiral pattern, randomly rotated about each normal."""
    for k in range(first, last):
        nx, ny, nz = normals[k, 0], normals[k, 1], normals[k, 2]
        x, y = _tangents(nx, ny, nz)
        turn = 6.2831853 * hash01(number + k, 0, 0, 8)
        shift = hash01(number + k, 0, 0, 9)
        for j in range(samples):
            r2 = (j + shift) / samples
            angle = turn + 2.39996323 * j
            r, up = math.sqrt(r2), math.sqrt(max(0.0, 1.0 - r2))
            u, v = r * math.cos(angle), r * math.sin(angle)
            row = k * samples + j
            rays[row, 0] = points[k, 0] + LIFT * nx
            rays[row, 1] = points[k, 1] + LIFT * ny
            rays[row, 2] = points[k, 2] + LIFT * nz
            rays[row, 3] = u * x[0] + v * y[0] + up * nx
            rays[row, 4] = u * x[1] + v * y[1] + up * ny
            rays[row, 5] = u * x[2] + v * y[2] + up * nz


@kernel(nogil=True)
def hit_nodes(
    first: int,
    last: int,
    rays: Float32Array,
    hits: tuple[Float32Array, Int32Array],
    planes: Float64Array,
    charts: Charts,
    out: Int32Array,
) -> None:
    """Fill out (K,) int32: the node that each ray sees, UNKNOWN where it sees nothing, BACK where it sees a face from inside."""
    t_hit, primitive = hits
    for k in range(first, last):
        out[k] = UNKNOWN
        if not t_hit[k] < 1e6:
            continue
        f, t = primitive[k], t_hit[k]
        dx, dy, dz = rays[k, 3], rays[k, 4], rays[k, 5]
        if planes[f, 0] * dx + planes[f, 1] * dy + planes[f, 2] * dz >= 0.0:
            out[k] = BACK
        else:
            out[k] = nearest_node(rays[k, 0] + t * dx, rays[k, 1] + t * dy, rays[k, 2] + t * dz, f, charts)


@kernel()
def count_hits(seen: Int32Array, samples: int, kind: int) -> Int32Array:
    """(N,) how many of each node's rays ended as `kind`."""
    out = np.zeros(len(seen) // samples, np.int32)
    for k in range(len(out)):
        for j in range(samples):
            if seen[k * samples + j] == kind:
                out[k] += 1
    return out


@kernel(nogil=True)
def gather(first: int, last: int, seen: Int32Array, samples: int, radiance: Float32Array, out: Float32Array) -> None:
    """Fill out (N, 3) with the irradiance from what each node's cosine-weighted rays see: pi times the mean radiance."""
    for k in range(first, last):
        r, g, b = 0.0, 0.0, 0.0
        for j in range(samples):
            node = seen[k * samples + j]
            if node >= 0:
                r += radiance[node, 0]
                g += radiance[node, 1]
                b += radiance[node, 2]
        out[k, 0], out[k, 1], out[k, 2] = math.pi * r / samples, math.pi * g / samples, math.pi * b / samples
