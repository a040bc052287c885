"""Numba kernels: from hits to linear-light colour. Rays share one eye; directions have camera z = 1."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from mapping.arrays import Float32Array, Float64Array
from mapping.compiling import kernel
from pipelines.synth.rendering.kernels.charts import Charts
from pipelines.synth.rendering.kernels.compiling import pixel_kernel
from pipelines.synth.rendering.kernels.texture import MaterialTable, albedo

Array = NDArray[np.float64]
PI = 3.14159265

Vector = tuple[float, float, float]


class FaceTable(NamedTuple):
    """The part of `Surfaces` that kernels read: planes (F, 4), corner_normals (F, 3, 3), whether these equal the plane's
    (F,), face_body and face_material (F,), T_body_world (B, 3, 4)."""

    planes: Array
    corner_normals: NDArray[np.float32]
    is_flat: NDArray[np.bool_]
    face_body: NDArray[np.int32]
    face_material: NDArray[np.int32]
    T_body_world: Array


class LightMap(NamedTuple):
    """Irradiance (N, 3) at the nodes of charts: from lamps and sun (direct) and from everything else (indirect)."""

    charts: Charts
    direct: NDArray[np.float32]
    indirect: NDArray[np.float32]


class EyeRays(NamedTuple):
    """Rays from one eye: eye (3,), directions (K, 3) in the world with camera z = 1, radians across a pixel."""

    eye: Array
    dirs: Array
    pixel: float


class Found(NamedTuple):
    """Per ray (K,): whether it is selected, t, face, and the weights of the face's second and third corner (K, 2)."""

    chosen: NDArray[np.bool_]
    t: NDArray[np.float32]
    face: NDArray[np.int32]
    uv: NDArray[np.float32]


class ShadedSurfaces(NamedTuple):
    """Faces and their materials."""

    table: FaceTable
    materials: MaterialTable


class StaticLit(NamedTuple):
    """Light on static surfaces: the light map, the lights (L, 6) that make highlights, and shadow (K, 2): the share of
    direct and indirect light that people leave."""

    light_map: LightMap
    lights: Array
    shadow: NDArray[np.float32]


class MovingLit(NamedTuple):
    """Light on moving bodies: ambient cubes (B, 6, 3), lights (L, 6) and their visibility (K, L) in [0, 1]."""

    cubes: NDArray[np.float32]
    lights: Array
    visible: NDArray[np.float32]


class ShadingPoint(NamedTuple):
    """A point that a ray meets: its world coordinates, shading normal towards the eye and albedo; the ray's unit direction."""

    position: Vector
    normal: Vector
    albedo: Vector
    direction: Vector


@kernel(inline="always")
def _shading_point(k: int, rays: EyeRays, found: Found, look: ShadedSurfaces) -> ShadingPoint:
    # Elements one by one: a view of a row costs more than the arithmetic on it.
    eye, dirs, pixel = rays
    t, uv = found.t, found.uv
    planes, corners, T = look.table.planes, look.table.corner_normals, look.table.T_body_world
    f = found.face[k]
    dx, dy, dz = dirs[k, 0], dirs[k, 1], dirs[k, 2]
    px, py, pz = eye[0] + t[k] * dx, eye[1] + t[k] * dy, eye[2] + t[k] * dz
    scale = 1.0 / math.sqrt(dx * dx + dy * dy + dz * dz)
    dx, dy, dz = dx * scale, dy * scale, dz * scale
    mx, my, mz = planes[f, 0], planes[f, 1], planes[f, 2]
    facing = mx * dx + my * dy + mz * dz
    nx, ny, nz = mx, my, mz
    length = 1.0
    if not look.table.is_flat[f]:
        v, w = float(uv[k, 0]), float(uv[k, 1])
        u = 1.0 - v - w
        nx = u * corners[f, 0, 0] + v * corners[f, 1, 0] + w * corners[f, 2, 0]
        ny = u * corners[f, 0, 1] + v * corners[f, 1, 1] + w * corners[f, 2, 1]
        nz = u * corners[f, 0, 2] + v * corners[f, 1, 2] + w * corners[f, 2, 2]
        length = max(1e-9, math.sqrt(nx * nx + ny * ny + nz * nz))
    scale = (-1.0 if facing > 0.0 else 1.0) / length
    nx, ny, nz = nx * scale, ny * scale, nz * scale
    b = look.table.face_body[f]
    p = (
        T[b, 0, 0] * px + T[b, 0, 1] * py + T[b, 0, 2] * pz + T[b, 0, 3],
        T[b, 1, 0] * px + T[b, 1, 1] * py + T[b, 1, 2] * pz + T[b, 1, 3],
        T[b, 2, 0] * px + T[b, 2, 1] * py + T[b, 2, 2] * pz + T[b, 2, 3],
    )
    n = (
        T[b, 0, 0] * mx + T[b, 0, 1] * my + T[b, 0, 2] * mz,
        T[b, 1, 0] * mx + T[b, 1, 1] * my + T[b, 1, 2] * mz,
        T[b, 2, 0] * mx + T[b, 2, 1] * my + T[b, 2, 2] * mz,
    )
    width = pixel * t[k] / max(0.2, abs(facing))
    color = albedo(look.materials, look.table.face_material[f], p, n, width)
    return ShadingPoint((px, py, pz), (nx, ny, nz), color, (dx, dy, dz))


@kernel(inline="always")
def _highlight(hit: ShadingPoint, lights: Float64Array, s: int, gloss: float) -> tuple[float, float]:
    """(irradiance factor, mirrored share) of point light s: cos / d^2 and a normalised Blinn-Phong lobe times cos / d^2."""
    p, n, d = hit.position, hit.normal, hit.direction
    lx, ly, lz = lights[s, 0] - p[0], lights[s, 1] - p[1], lights[s, 2] - p[2]
    d2 = max(0.04, lx * lx + ly * ly + lz * lz)
    length = math.sqrt(d2)
    lx, ly, lz = lx / length, ly / length, lz / length
    cosine = n[0] * lx + n[1] * ly + n[2] * lz
    if cosine <= 0.0:
        return 0.0, 0.0
    hx, hy, hz = lx - d[0], ly - d[1], lz - d[2]
    norm = max(1e-9, math.sqrt(hx * hx + hy * hy + hz * hz))
    half = max(0.0, (n[0] * hx + n[1] * hy + n[2] * hz) / norm)
    exponent = 12.0 + 240.0 * gloss
    fall = exponent * (1.0 - half)  # half^exponent is exp(-fall) near the lobe's axis, and 0 far away
    if fall > 7.0:
        return cosine / d2, 0.0
    return cosine / d2, cosine / d2 * (exponent + 8.0) / (8.0 * PI) * math.exp(-fall)


@pixel_kernel
def shade_static(
    first: int, last: int, rays: EyeRays, found: Found, look: ShadedSurfaces, lit: StaticLit, out: Float32Array
) -> None:
    """Linear RGB (K, 3) of the chosen rays, whose faces have a light map."""
    light_map, lights, shadow = lit
    table, materials = look
    chosen, face = found.chosen, found.face
    for k in range(first, last):
        if not chosen[k]:
            continue
        hit = _shading_point(k, rays, found, look)
        f = face[k]
        direct, indirect = _look_up(hit.position, f, light_map)
        m = table.face_material[f]
        gloss = materials.specular[m]
        open_light, mirrored = 1e-6, 0.0
        if gloss > 0.0:
            for s in range(len(lights)):
                plain, lobe = _highlight(hit, lights, s, gloss)
                open_light += plain * lights[s, 4]
                mirrored += lobe * lights[s, 4]
            mirrored *= gloss * min(1.0, direct[1] / open_light) * shadow[k, 0]
        glow = materials.emission[m]
        for axis in range(3):
            light = (shadow[k, 0] * direct[axis] + shadow[k, 1] * indirect[axis]) / PI + glow
            out[k, axis] = hit.albedo[axis] * light + mirrored


@kernel(inline="always")
def _look_up(p: Vector, f: int, light_map: LightMap) -> tuple[Vector, Vector]:
    """Bilinear (direct, indirect) irradiance at a point of a face."""
    charts, direct, indirect = light_map
    chart = charts.face_chart[f]
    n, m = charts.size[chart, 0], charts.size[chart, 1]
    pa = p[0] if charts.axes[chart, 0] == 0 else p[1]  # axes are (1, 2), (0, 2) or (0, 1)
    pb = p[1] if charts.axes[chart, 1] == 1 else p[2]
    x = min(n - 1.000001, max(0.0, pa / charts.step - charts.origin[chart, 0]))
    y = min(m - 1.000001, max(0.0, pb / charts.step - charts.origin[chart, 1]))
    i, j = int(x), int(y)
    x, y = x - i, y - j
    node = charts.offset[chart] + i * m + j
    a, b = (1 - x) * (1 - y), (1 - x) * y
    c, e = x * (1 - y), x * y
    return (
        (
            a * direct[node, 0] + b * direct[node + 1, 0] + c * direct[node + m, 0] + e * direct[node + m + 1, 0],
            a * direct[node, 1] + b * direct[node + 1, 1] + c * direct[node + m, 1] + e * direct[node + m + 1, 1],
            a * direct[node, 2] + b * direct[node + 1, 2] + c * direct[node + m, 2] + e * direct[node + m + 1, 2],
        ),
        (
            a * indirect[node, 0]
            + b * indirect[node + 1, 0]
            + c * indirect[node + m, 0]
            + e * indirect[node + m + 1, 0],
            a * indirect[node, 1]
            + b * indirect[node + 1, 1]
            + c * indirect[node + m, 1]
            + e * indirect[node + m + 1, 1],
            a * indirect[node, 2]
            + b * indirect[node + 1, 2]
            + c * indirect[node + m, 2]
            + e * indirect[node + m + 1, 2],
        ),
    )


@pixel_kernel
def shade_moving(
    first: int, last: int, rays: EyeRays, found: Found, look: ShadedSurfaces, lit: MovingLit, out: Float32Array
) -> None:
    """Linear RGB (K, 3) of the chosen rays, on moving bodies."""
    cubes, lights, visible = lit
    table, materials = look
    chosen, face = found.chosen, found.face
    for k in range(first, last):
        if not chosen[k]:
            continue
        hit = _shading_point(k, rays, found, look)
        n = hit.normal
        body = table.face_body[face[k]]
        m = table.face_material[face[k]]
        r, g, b = 0.0, 0.0, 0.0
        mirrored = 0.0
        for axis in range(3):
            side = 2 * axis + (1 if n[axis] < 0.0 else 0)
            share = n[axis] * n[axis]
            r += share * cubes[body, side, 0]
            g += share * cubes[body, side, 1]
            b += share * cubes[body, side, 2]
        for s in range(len(lights)):
            plain, lobe = _highlight(hit, lights, s, materials.specular[m])
            r += visible[k, s] * plain * lights[s, 3]
            g += visible[k, s] * plain * lights[s, 4]
            b += visible[k, s] * plain * lights[s, 5]
            mirrored += materials.specular[m] * visible[k, s] * lobe * lights[s, 4]
        out[k, 0] = hit.albedo[0] * r / PI + mirrored
        out[k, 1] = hit.albedo[1] * g / PI + mirrored
        out[k, 2] = hit.albedo[2] * b / PI + mirrored
