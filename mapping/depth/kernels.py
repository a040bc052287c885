"""Compiled normals, flying pixels and weights of depth images: the arithmetic of `reference`, pixel by pixel in one pass.

A camera is (fx, fy, cx, cy) in pixels, float32; inverse depth is in 1/m, 0 where unknown.
"""

from __future__ import annotations

from typing import NamedTuple

import numba
import numpy as np

from mapping.arrays import Float32Array, Span
from mapping.compiling import INNER, kernel
from mapping.depth.depth_config import MIN_AGREEMENT

_ZERO, _HALF, _ONE = np.float32(0), np.float32(0.5), np.float32(1)
AGREEMENT_RADIUS = 2  # pixels over which the normals of the depth are taken that are compared with given ones
AGREEMENT_JUMP = np.float32(0.05)  # share of depth at which a surface ends for them

Vector = tuple[np.float32, np.float32, np.float32]
"""(x, y, z) in camera axes."""


class WeightImages(NamedTuple):
    """Images (H, W) of a frame; an absent one has no rows."""

    depth: Float32Array
    """Metres, 0 unknown."""
    inverse: Float32Array
    """1/m, 0 unknown."""
    normals: Float32Array
    """(H, W, 3) in camera axes, unit length, 0 unknown."""
    edges: Float32Array
    """Probability of an edge."""
    confidence: Float32Array
    """Confidence of the depth in [0, 1]."""
    out: Float32Array
    """The weights in [0, 1] that are computed."""


class WeightSettings(NamedTuple):
    """`DepthWeightConfig` as the kernels take it."""

    noise_power: np.float32
    reference_depth: np.float32
    """Metres."""
    min_cosine: np.float32
    jump: np.float32
    edge_strength: np.float32
    min_agreement: np.float32
    """Cosine of the angle between the given normal and that of the depth at which nine tenths of the weight are lost."""
    flying: bool
    grazing: bool
    compare: bool
    """Whether normals are compared with those of the depth."""


@kernel(nogil=True, error_model="numpy")
def invert(depth: Float32Array, span: Span, inverse: Float32Array) -> None:
    """1 / depth in rows span[0] .. span[1], 0 where depth is unknown."""
    for v in range(span[0], span[1]):
        for u in range(depth.shape[1]):
            known = depth[v, u] > _ZERO and depth[v, u] < np.float32(np.inf)
            inverse[v, u] = _ONE / depth[v, u] if known else _ZERO


@numba.njit(error_model="numpy", **INNER)
def blend(
    back: np.float32, here: np.float32, ahead: np.float32, radius: int, jump: np.float32
) -> tuple[np.float32, bool | np.bool_]:
    """The slope at a pixel from inverse depths `radius` pixels to both sides, and whether it is known."""
    has_back, has_ahead = here > _ZERO and back > _ZERO, here > _ZERO and ahead > _ZERO
    slope_back, slope_ahead = (here - back) / np.float32(radius), (ahead - here) / np.float32(radius)
    if has_back and has_ahead:
        if abs(slope_ahead - slope_back) * np.float32(radius) <= jump * here:
            return _HALF * (slope_back + slope_ahead), True
        return (slope_ahead if abs(slope_ahead) < abs(slope_back) else slope_back), True
    return (slope_ahead if has_ahead else slope_back), has_back or has_ahead


@numba.njit(error_model="numpy", **INNER)
def normal_at(inverse: Float32Array, camera: Float32Array, v: int, u: int, radius: int, jump: np.float32) -> Vector:
    """The normal (x, y, z) at a pixel, zeros where unknown."""
    height, width = inverse.shape
    here = inverse[v, u]
    left = inverse[v, u - radius] if u >= radius else _ZERO
    right = inverse[v, u + radius] if u + radius < width else _ZERO
    above = inverse[v - radius, u] if v >= radius else _ZERO
    below = inverse[v + radius, u] if v + radius < height else _ZERO
    slope_u, known_u = blend(left, here, right, radius, jump)
    slope_v, known_v = blend(above, here, below, radius, jump)
    x, y = -camera[0] * slope_u, -camera[1] * slope_v
    z = (np.float32(u) - camera[2]) * slope_u + (np.float32(v) - camera[3]) * slope_v - here
    length = np.sqrt(x * x + y * y + z * z)
    if not (known_u and known_v and length > _ZERO):
        return _ZERO, _ZERO, _ZERO
    return x / length, y / length, z / length


@kernel(nogil=True, error_model="numpy")
def find_normals(
    inverse: Float32Array, camera: Float32Array, radius: int, jump: float, span: Span, normals: Float32Array
) -> None:
    """Normals (H, W, 3) in rows span[0] .. span[1]."""
    least = np.float32(jump)
    for v in range(span[0], span[1]):
        for u in range(inverse.shape[1]):
            normals[v, u, 0], normals[v, u, 1], normals[v, u, 2] = normal_at(inverse, camera, v, u, radius, least)


@numba.njit(**INNER)
def step_between(a: np.float32, b: np.float32) -> np.float32:
    """The step from one inverse depth to the next, 0 where one of them is unknown."""
    return b - a if a > _ZERO and b > _ZERO else _ZERO


@numba.njit(**INNER)
def flies_in_line(line: Float32Array, i: int, jump: np.float32) -> bool:
    """Whether pixel i of a row or column of inverse depth lies between two surfaces."""
    if not 0 < i < len(line) - 1:
        return False
    before, after = step_between(line[i - 1], line[i]), step_between(line[i], line[i + 1])
    least = min(abs(before), abs(after))
    if not before * after > _ZERO or not least > jump * line[i]:
        return False
    first = abs(step_between(line[i - 2], line[i - 1])) if i > 1 else _ZERO
    last = abs(step_between(line[i + 1], line[i + 2])) if i < len(line) - 2 else _ZERO
    return min(first, last) < _HALF * least


@numba.njit(**INNER)
def is_flying(inverse: Float32Array, v: int, u: int, jump: np.float32) -> bool:
    """Whether a pixel lies between two surfaces along its row or column."""
    return flies_in_line(inverse[v], u, jump) or flies_in_line(inverse[:, u], v, jump)


@numba.njit(error_model="numpy", **INNER)
def normal_weight(
    normal: Vector, own: Vector, ray: tuple[np.float32, np.float32], settings: WeightSettings
) -> np.float32:
    """The weight by the angle between normal and ray (x, y; z is 1) and, if `own` is known, that between both normals."""
    if normal[0] == _ZERO and normal[1] == _ZERO and normal[2] == _ZERO:
        return _ONE
    x, y = ray
    weight = _ONE
    if settings.grazing:
        cosine = -(normal[0] * x + normal[1] * y + normal[2]) / np.sqrt(x * x + y * y + _ONE)
        if cosine < settings.min_cosine:
            return _ZERO
        weight = min(cosine, _ONE)
    if own[0] != _ZERO or own[1] != _ZERO or own[2] != _ZERO:
        agreement = normal[0] * own[0] + normal[1] * own[1] + normal[2] * own[2]
        share = min(max((agreement - settings.min_agreement) / (_ONE - settings.min_agreement), _ZERO), _ONE)
        weight *= share * np.float32(1 - MIN_AGREEMENT) + np.float32(MIN_AGREEMENT)
    return weight


@kernel(nogil=True, error_model="numpy")
def find_weights(images: WeightImages, camera: Float32Array, settings: WeightSettings, span: Span) -> None:
    """Weights (H, W) in rows span[0] .. span[1]; `camera` has infinite fx, fy for parallel rays."""
    depth, inverse, normals = images.depth, images.inverse, images.normals
    out, edges, confidence = images.out, images.edges, images.confidence
    has_normals, has_edges, has_confidence = len(normals) > 0, len(edges) > 0, len(confidence) > 0
    for v in range(span[0], span[1]):
        y = (np.float32(v) - camera[3]) / camera[1]
        for u in range(depth.shape[1]):
            if inverse[v, u] == _ZERO or (settings.flying and is_flying(inverse, v, u, settings.jump)):
                out[v, u] = _ZERO
                continue
            growth = max(depth[v, u] / settings.reference_depth, _ONE)
            weight = growth ** (-2 * settings.noise_power)
            if has_normals:
                own = (_ZERO, _ZERO, _ZERO)
                if settings.compare:
                    own = normal_at(inverse, camera, v, u, AGREEMENT_RADIUS, AGREEMENT_JUMP)
                normal = (normals[v, u, 0], normals[v, u, 1], normals[v, u, 2])
                weight *= normal_weight(normal, own, ((np.float32(u) - camera[2]) / camera[0], y), settings)
            if has_edges:
                weight *= _ONE - settings.edge_strength * edges[v, u]
            if has_confidence:
                weight *= confidence[v, u]
            out[v, u] = min(max(weight, _ZERO), _ONE)
