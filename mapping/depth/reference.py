"""The definition of what `mapping.depth.depth_weights` computes, in plain numpy. The compiled kernels are tested against it."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from mapping.camera import Intrinsics
from mapping.depth.depth_config import MIN_AGREEMENT, DepthWeightConfig


def normals_from_depth(
    depth: NDArray[np.float32], intrinsics: Intrinsics, *, radius: int = 1, jump: float = 0.05
) -> NDArray[np.float32]:
    """Unit normals (H, W, 3); see `mapping.depth.depth_weights`."""
    inverse = _inverse(depth)
    slope_u, known_u = _slope(inverse, 1, radius, jump)
    slope_v, known_v = _slope(inverse, 0, radius, jump)
    u = np.arange(intrinsics.width, dtype=np.float32) - np.float32(intrinsics.cx)
    v = (np.arange(intrinsics.height, dtype=np.float32) - np.float32(intrinsics.cy))[:, None]
    normals = np.zeros((*depth.shape, 3), np.float32)
    normals[..., 0] = -np.float32(intrinsics.fx) * slope_u
    normals[..., 1] = -np.float32(intrinsics.fy) * slope_v
    normals[..., 2] = u * slope_u + v * slope_v - inverse
    length = np.sqrt(np.einsum("hwc,hwc->hw", normals, normals))
    known = known_u & known_v & (length > 0)
    normals *= np.divide(1, length, out=np.zeros_like(length), where=known)[..., None]
    return normals


def flying_pixels(depth: NDArray[np.float32], *, jump: float = 0.05) -> NDArray[np.bool_]:
    """Flying pixels (H, W): in the air between two surfaces, where sensors and networks mix the depths at a silhouette.

    A pixel is marked when, along its row or column, the inverse depth steps by more than the share `jump` on both sides in the
    same direction and does not continue to do so: slopes, however steep, are not marked, and neither are the last pixels of a
    surface at a clean step. Unknown neighbours are ignored.
    """
    inverse = _inverse(depth)
    marked = np.zeros(depth.shape, bool)
    for axis in (0, 1):
        near, far = _ends(inverse, axis, 1)
        step = np.where((near > 0) & (far > 0), far - near, 0)
        before, after = _ends(step, axis, 1)
        least = np.minimum(np.abs(before), np.abs(after))
        mixed = (before * after > 0) & (least > jump * _middle(inverse, axis, 1))
        width = [(1, 1) if along == axis else (0, 0) for along in (0, 1)]
        beyond = np.abs(np.pad(step, width))
        first, last = _ends(beyond, axis, 3)
        _middle(marked, axis, 1)[...] |= mixed & (np.minimum(first, last) < 0.5 * least)
    return marked


def depth_weight(
    depth: NDArray[np.float32],
    intrinsics: Intrinsics | None = None,
    *,
    normals: NDArray[np.float32] | None = None,
    edges: NDArray[np.float32] | None = None,
    confidence: NDArray[np.float32] | None = None,
    config: DepthWeightConfig | None = None,
) -> NDArray[np.float32]:
    """The weight (H, W) float32 of each pixel; see `mapping.depth.depth_weights`."""
    config = config or DepthWeightConfig()
    known = np.isfinite(depth) & (depth > 0)
    z = np.where(known, depth, np.float32(config.reference_depth))
    growth = np.maximum(z / np.float32(config.reference_depth), 1)
    weight = growth ** np.float32(-2 * config.noise_power)  # the inverse of the variance
    weight *= known
    if config.flying:
        weight *= ~flying_pixels(depth, jump=config.jump)
    if normals is not None:
        if config.grazing:
            weight *= _grazing(normals, intrinsics, config.min_cosine)
        if intrinsics is not None and config.agreement:
            weight *= _agreement(normals, normals_from_depth(depth, intrinsics, radius=2), config.disagreement_deg)
    if edges is not None:
        weight *= 1 - np.float32(config.edge_strength) * edges
    if confidence is not None and config.confidence:
        weight *= confidence
    return np.clip(weight, 0, 1).astype(np.float32)


def _grazing(normals: NDArray[np.float32], intrinsics: Intrinsics | None, min_cosine: float) -> NDArray[np.float32]:
    """The cosine between normal and ray, 0 below `min_cosine`; 1 where the normal is unknown."""
    if intrinsics is None:
        cosine = -normals[..., 2]
    else:
        x = (np.arange(intrinsics.width, dtype=np.float32) - np.float32(intrinsics.cx)) / np.float32(intrinsics.fx)
        y = ((np.arange(intrinsics.height, dtype=np.float32) - np.float32(intrinsics.cy)) / np.float32(intrinsics.fy))[
            :, None
        ]
        cosine = -(normals[..., 0] * x + normals[..., 1] * y + normals[..., 2]) / np.sqrt(x * x + y * y + 1)
    unknown = ~normals.any(axis=-1)
    return np.where(unknown, 1, np.where(cosine < min_cosine, 0, np.minimum(cosine, 1))).astype(np.float32)


def _agreement(normals: NDArray[np.float32], own: NDArray[np.float32], angle_deg: float) -> NDArray[np.float32]:
    """1 where two normals are the same, falling with the cosine to a tenth at `angle_deg`; 1 where one is unknown."""
    cosine = np.einsum("hwc,hwc->hw", normals, own)
    limit = np.float32(np.cos(np.deg2rad(angle_deg)))
    share = np.clip((cosine - limit) / (1 - limit), 0, 1) * (1 - MIN_AGREEMENT) + MIN_AGREEMENT
    unknown = ~(normals.any(axis=-1) & own.any(axis=-1))
    return np.where(unknown, 1, share).astype(np.float32)


def _inverse(depth: NDArray[np.float32]) -> NDArray[np.float32]:
    known = np.isfinite(depth) & (depth > 0)
    return np.divide(np.float32(1), depth, out=np.zeros(depth.shape, np.float32), where=known)


def _slope(
    inverse: NDArray[np.float32], axis: int, radius: int, jump: float
) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    """The slope of inverse depth along an axis per pixel, and where it is known."""
    ahead, has_ahead = np.zeros_like(inverse), np.zeros(inverse.shape, bool)
    near, far = _ends(inverse, axis, radius)
    first, _ = _ends(ahead, axis, radius)
    first[...] = (far - near) / radius
    _ends(has_ahead, axis, radius)[0][...] = (near > 0) & (far > 0)
    back, has_back = np.zeros_like(inverse), np.zeros(inverse.shape, bool)
    _ends(back, axis, radius)[1][...] = first
    _ends(has_back, axis, radius)[1][...] = _ends(has_ahead, axis, radius)[0]
    smooth = np.abs(ahead - back) * radius <= jump * inverse
    flatter = np.where(np.abs(ahead) < np.abs(back), ahead, back)
    both = np.where(smooth, 0.5 * (ahead + back), flatter)
    return np.where(has_ahead & has_back, both, np.where(has_ahead, ahead, back)), has_ahead | has_back


def _ends(image: NDArray[Any], axis: int, radius: int) -> tuple[NDArray[Any], NDArray[Any]]:
    """Views of all pixels that have a pixel `radius` further along the axis, and of those."""
    return (image[:-radius], image[radius:]) if axis == 0 else (image[:, :-radius], image[:, radius:])


def _middle(image: NDArray[Any], axis: int, radius: int) -> NDArray[Any]:
    return image[radius:-radius] if axis == 0 else image[:, radius:-radius]
