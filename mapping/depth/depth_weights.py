"""What follows from a depth image alone: surface normals, flying pixels between two surfaces, and the weight of each pixel."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from mapping.camera import Intrinsics
from mapping.depth.depth_config import DepthWeightConfig
from mapping.threads import run_parts, split, thread_count

NO_PIXELS, NO_NORMALS = np.zeros((0, 0), np.float32), np.zeros((0, 0, 3), np.float32)


def normals_from_depth(
    depth: NDArray[np.float32], intrinsics: Intrinsics, *, radius: int = 1, jump: float = 0.05
) -> NDArray[np.float32]:
    """Unit normals (H, W, 3) in camera axes, towards the camera, from depth (H, W) in metres; zero where not known.

    On a plane the inverse of depth is linear in the pixel, so its slope gives the normal without error. The slope is taken over
    `radius` pixels to both sides, or to one side where the other is unknown or bends away by more than the share `jump` of depth.

    Raises ValueError for a shape that is not the camera's, and for a camera with lens distortion.
    """
    from mapping.depth import kernels

    _check_shape("depth", depth, (intrinsics.height, intrinsics.width))
    inverse, normals = _inverse(depth), np.zeros((*depth.shape, 3), np.float32)
    camera, spans = _camera(intrinsics), _spans(depth)
    run_parts(lambda part: kernels.find_normals(inverse, camera, radius, jump, spans[part], normals), len(spans))
    return normals


def depth_weight(
    depth: NDArray[np.float32],
    intrinsics: Intrinsics | None = None,
    *,
    normals: NDArray[np.float32] | None = None,
    edges: NDArray[np.float32] | None = None,
    confidence: NDArray[np.float32] | None = None,
    config: DepthWeightConfig | None = None,
) -> NDArray[np.float32]:
    """The weight (H, W) float32 in [0, 1] of each pixel in fusion; 0 where depth is unknown.

    Parameters
    ----------
    depth : (H, W) float32 metres, 0 unknown.
    intrinsics : the camera; without it normals are not compared with the depth, and all rays are taken as parallel.
    normals : (H, W, 3) float32 in camera axes, zero unknown: surfaces seen at a grazing angle weigh less, and so do pixels whose
        depth has another slope.
    edges : (H, W) float32 probability of an edge.
    confidence : (H, W) float32 in [0, 1] that the depth's source gives.

    Raises ValueError that names an image whose shape is not that of depth.
    """
    from mapping.depth import kernels

    config = config or DepthWeightConfig()
    expected = {
        "normals": (normals, (*depth.shape, 3)),
        "edges": (edges, depth.shape),
        "confidence": (confidence, depth.shape),
    }
    for name, (image, shape) in expected.items():
        if image is not None:
            _check_shape(name, image, shape)
    if intrinsics is not None:
        _check_shape("depth", depth, (intrinsics.height, intrinsics.width))
    images = kernels.WeightImages(
        depth=_plain(depth, NO_PIXELS),
        inverse=_inverse(depth),
        normals=_plain(normals, NO_NORMALS),
        edges=_plain(edges, NO_PIXELS),
        confidence=_plain(confidence if config.confidence else None, NO_PIXELS),
        out=np.zeros(depth.shape, np.float32),
    )
    settings = kernels.WeightSettings(
        noise_power=np.float32(config.noise_power),
        reference_depth=np.float32(config.reference_depth),
        min_cosine=np.float32(config.min_cosine),
        jump=np.float32(config.jump),
        edge_strength=np.float32(config.edge_strength),
        min_agreement=np.float32(np.cos(np.deg2rad(config.disagreement_deg))),
        flying=config.flying,
        grazing=config.grazing,
        compare=config.agreement and intrinsics is not None,
    )
    camera = np.array([np.inf, np.inf, 0, 0], np.float32) if intrinsics is None else _camera(intrinsics)
    spans = _spans(depth)
    run_parts(lambda part: kernels.find_weights(images, camera, settings, spans[part]), len(spans))
    return images.out


def _inverse(depth: NDArray[np.float32]) -> NDArray[np.float32]:
    from mapping.depth import kernels

    inverse = np.zeros(depth.shape, np.float32)
    kernels.invert(_plain(depth, NO_PIXELS), (0, len(depth)), inverse)
    return inverse


def _plain(image: NDArray[Any] | None, missing: NDArray[np.float32]) -> NDArray[np.float32]:
    """A read-only, contiguous float32 view, so that one compiled version serves all callers."""
    view = np.ascontiguousarray(missing if image is None else image, np.float32).view()
    view.setflags(write=False)
    return view


def _camera(intrinsics: Intrinsics) -> NDArray[np.float32]:
    if intrinsics.is_distorted:
        raise ValueError("intrinsics have lens distortion; undistort the depth first")
    return np.array([intrinsics.fx, intrinsics.fy, intrinsics.cx, intrinsics.cy], np.float32)


def _spans(depth: NDArray[np.float32]) -> list[tuple[int, int]]:
    return split(len(depth), thread_count(None))


def _check_shape(name: str, image: NDArray[Any], shape: tuple[int, ...]) -> None:
    if image.shape != shape:
        raise ValueError(f"{name} must have shape {shape}, got {image.shape}")
