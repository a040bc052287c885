"""Compiled normals, jumps and weights of depth images: the arithmetic of `reference`, pixel by pixel in one pass."""

from __future__ import annotations

from typing import Any, NamedTuple

import numba
import numpy as np
from numpy.typing import NDArray

from mapping.compiling import INNER, kernel
from mapping.depth.config import LEAST_AGREEMENT

_ZERO, _HALF, _ONE = np.float32(0), np.float32(0.5), np.float32(1)
AGREEMENT_RADIUS = 2


class WeightImages(NamedTuple):
    """Images by pixel; those that are not there have no rows. `out` is what is computed."""

    depth: NDArray[np.float32]
    inverse: NDArray[np.float32]
    normals: NDArray[np.float32]
    edges: NDArray[np.float32]
    confidence: NDArray[np.float32]
    out: NDArray[np.float32]


class WeightSettings(NamedTuple):
    """`DepthWeightConfig` with the angle as a cosine; `compare` says whether normals are compared with the depth."""

    power: np.float32
    reference: np.float32
    min_cosine: np.float32
    jump: np.float32
    edge_strength: np.float32
    limit: np.float32
    flying: bool
    grazing: bool
    compare: bool


@kernel(nogil=True, error_model="numpy")
def invert(depth: NDArray[np.float32], span: tuple[int, int], inverse: NDArray[np.float32]) -> None:
    """1 / depth in rows span[0] .. span[1], 0 where depth is unknown."""
    for v in range(span[0], span[1]):
        for u in range(depth.shape[1]):
            known = depth[v, u] > _ZERO and depth[v, u] < np.float32(np.inf)
            inverse[v, u] = _ONE / depth[v, u] if known else _ZERO


@numba.njit(error_model="numpy", **INNER)
def blend(back: Any, here: Any, ahead: Any, radius: Any, jump: Any) -> Any:
    """The slope at a pixel from inverse depths `radius` pixels to both sides, and whether it is known."""
    has_back, has_ahead = here > _ZERO and back > _ZERO, here > _ZERO and ahead > _ZERO
    slope_back, slope_ahead = (here - back) / np.float32(radius), (ahead - here) / np.float32(radius)
    if has_back and has_ahead:
        if abs(slope_ahead - slope_back) * np.float32(radius) <= jump * here:
            return _HALF * (slope_back + slope_ahead), True
        return (slope_ahead if abs(slope_ahead) < abs(slope_back) else slope_back), True
    return (slope_ahead if has_ahead else slope_back), has_back or has_ahead


@numba.njit(error_model="numpy", **INNER)
def normal_at(inverse: Any, camera: Any, v: Any, u: Any, radius: Any, jump: Any) -> Any:
    """The normal (x, y, z) at a pixel, zeros where not known."""
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
    inverse: NDArray[np.float32],
    camera: NDArray[np.float32],
    radius: int,
    jump: float,
    span: tuple[int, int],
    normals: NDArray[np.float32],
) -> None:
    """Normals (H, W, 3) in rows span[0] .. span[1]."""
    least = np.float32(jump)
    for v in range(span[0], span[1]):
        for u in range(inverse.shape[1]):
            normals[v, u, 0], normals[v, u, 1], normals[v, u, 2] = normal_at(inverse, camera, v, u, radius, least)


@numba.njit(**INNER)
def step_between(a: Any, b: Any) -> Any:
    """The step from one inverse depth to the next, 0 where one of them is unknown."""
    return b - a if a > _ZERO and b > _ZERO else _ZERO


@numba.njit(**INNER)
def hangs(line: Any, i: Any, jump: Any) -> bool:
    """Whether pixel i of a row or column of inverse depth hangs between two surfaces."""
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
def is_flying(inverse: Any, v: Any, u: Any, jump: Any) -> bool:
    """Whether a pixel hangs between two surfaces along its row or column."""
    return hangs(inverse[v], u, jump) or hangs(inverse[:, u], v, jump)


@kernel(nogil=True)
def find_flying(inverse: NDArray[np.float32], jump: float, span: tuple[int, int], marked: NDArray[np.bool_]) -> None:
    """Mark flying pixels (H, W) in rows span[0] .. span[1]."""
    for v in range(span[0], span[1]):
        for u in range(inverse.shape[1]):
            marked[v, u] = is_flying(inverse, v, u, np.float32(jump))


@numba.njit(error_model="numpy", **INNER)
def normal_weight(normal: Any, own: Any, ray: Any, settings: WeightSettings) -> Any:
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
        share = min(max((agreement - settings.limit) / (_ONE - settings.limit), _ZERO), _ONE)
        weight *= share * np.float32(1 - LEAST_AGREEMENT) + np.float32(LEAST_AGREEMENT)
    return weight


@kernel(nogil=True, error_model="numpy")
def find_weights(
    images: WeightImages, camera: NDArray[np.float32], settings: WeightSettings, span: tuple[int, int]
) -> None:
    """Weights (H, W) in rows span[0] .. span[1]; `camera` (fx, fy, cx, cy), or infinite fx, fy for parallel rays."""
    depth, inverse, normals, out = images.depth, images.inverse, images.normals, images.out
    edges, confidence = images.edges, images.confidence
    has_normals, has_edges, has_confidence = len(normals) > 0, len(edges) > 0, len(confidence) > 0
    for v in range(span[0], span[1]):
        y = (np.float32(v) - camera[3]) / camera[1]
        for u in range(depth.shape[1]):
            if inverse[v, u] == _ZERO or (settings.flying and is_flying(inverse, v, u, settings.jump)):
                out[v, u] = _ZERO
                continue
            growth = max(depth[v, u] / settings.reference, _ONE)
            weight = growth ** (-2 * settings.power)
            if has_normals:
                own = (_ZERO, _ZERO, _ZERO)
                if settings.compare:
                    own = normal_at(inverse, camera, v, u, AGREEMENT_RADIUS, np.float32(0.05))
                normal = (normals[v, u, 0], normals[v, u, 1], normals[v, u, 2])
                weight *= normal_weight(normal, own, ((np.float32(u) - camera[2]) / camera[0], y), settings)
            if has_edges:
                weight *= _ONE - settings.edge_strength * edges[v, u]
            if has_confidence:
                weight *= confidence[v, u]
            out[v, u] = min(max(weight, _ZERO), _ONE)
