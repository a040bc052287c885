"""What the images of posed cameras show of the faces of a mesh: how large, how sharp, and in which colour."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from mapping.camera import Intrinsics
from mapping.mesh.mesh import Mesh
from mapping.mesh.raycast import MeshCaster
from mapping.se3 import inverse, transform_points

Array = NDArray[np.float64]
Mask = NDArray[np.bool_]

LEAST_COSINE = 0.15
"""Of the angle between a face's normal and the line of sight; flatter faces are not seen well enough."""
BORDER_PX = 3
"""Pixels at the image border that are not used, and around what stands before something."""
DEPTH_TOLERANCE = 0.03
"""Metres, relative to 1 m of depth, by which a vertex may lie behind the surface that its pixel shows."""
COVERED = 0.15
"""Metres, relative to 1 m of depth, by which a frame's own depth may be before the surface: else something moved through."""
FINEST = 0.003
"""Metres: pixels on the surface that are smaller than this are no better."""


@dataclass(frozen=True, eq=False)
class TextureView:
    """An image (H, W, 3) uint8 of a camera without distortion at a pose (4, 4) in the world of the mesh.

    depth (H, W) is the frame's own, 0 where it is unknown; mask (H, W) is False where the image must not be used; sharpness is
    compared among views.
    """

    camera: Intrinsics
    T_world_camera: Array
    rgb: NDArray[np.uint8]
    depth: NDArray[np.float32] | None = None
    mask: Mask | None = None
    sharpness: float = 1.0

    def pixels(self, points: Array) -> Array:
        """Pixels (N, 2) of world points (N, 3), not finite behind the camera."""
        return np.asarray(self.camera.project(transform_points(inverse(self.T_world_camera), points)))

    def colors_at(self, pixels: Array, *, blur: float = 1.5) -> Array:
        """Colours (N, 3) in 0 to 255 at pixels (N, 2), of the image blurred by so many pixels."""
        smooth = cv2.GaussianBlur(self.rgb, (0, 0), blur)
        uv = pixels.astype(np.float32).reshape(-1, 1, 2)
        return _sampled(smooth, uv).reshape(-1, 3).astype(np.float64)


@dataclass(frozen=True, eq=False)
class Sightings:
    """The faces (S,) that one view sees, the quality (S,) with which it does, and their colours (S, 3) in 0 to 255."""

    faces: NDArray[np.int64]
    quality: Array
    colors: Array


def sightings(caster: MeshCaster, view: TextureView) -> Sightings:
    """The faces of the caster's mesh whose corners a view sees all, from their front, with nothing near before them.

    Quality is the number of pixels that a face covers, up to those of `FINEST`, times the sharpness of the view: it becomes less
    with distance and with the angle.
    """
    mesh, camera = caster.mesh, view.camera
    local = transform_points(inverse(view.T_world_camera), mesh.vertices)
    uv = camera.project(local)
    seen = _seen_vertices(caster, view, local[:, 2], uv)
    chosen = np.flatnonzero(seen[mesh.faces].all(axis=1))
    corners = mesh.vertices[mesh.faces[chosen]]
    normals = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    towards = view.T_world_camera[:3, 3] - corners.mean(axis=1)
    length = np.linalg.norm(normals, axis=1) * np.linalg.norm(towards, axis=1)
    cosine = np.einsum("ij,ij->i", normals, towards) / np.maximum(length, 1e-12)
    kept = cosine > LEAST_COSINE
    chosen = chosen[kept]
    a, b, c = (uv[mesh.faces[chosen, k]] for k in range(3))
    pixels = 0.5 * np.abs((b - a)[:, 0] * (c - a)[:, 1] - (b - a)[:, 1] * (c - a)[:, 0])
    most = 0.5 * np.linalg.norm(normals[kept], axis=1) / FINEST**2
    return Sightings(chosen, np.minimum(pixels, most * cosine[kept]) * view.sharpness, view.colors_at((a + b + c) / 3))


def sharpness_of(rgb: NDArray[np.uint8]) -> float:
    """How sharp an image is, compared with others of the same place: the standard deviation of its Laplacian."""
    grey = cv2.cvtColor(rgb, cv2.COLOR_RGB2GRAY)
    return float(cv2.Laplacian(grey, cv2.CV_32F).std())


def _seen_vertices(caster: MeshCaster, view: TextureView, depth: Array, uv: Array) -> Mask:
    """Which vertices (V,) a view shows: by the depth of the mesh rendered into it, and its own depth and mask."""
    camera = view.camera
    inside = (
        (depth > 0)
        & (uv >= BORDER_PX).all(axis=1)
        & (uv < [camera.width - BORDER_PX, camera.height - BORDER_PX]).all(axis=1)
    )
    rendered, _ = caster.cast(camera, view.T_world_camera)
    # What is nearest around a pixel counts: poses and surfaces are off by a pixel or two.
    around = np.ones((2 * BORDER_PX + 1,) * 2, np.uint8)
    nearest = cv2.erode(np.where(rendered > 0, rendered, np.float32(np.inf)), around)
    rows = np.flatnonzero(inside)
    at = np.rint(uv[rows]).astype(np.int64)
    here = depth[rows]
    clear = here <= nearest[at[:, 1], at[:, 0]] + _slack(caster.mesh, view, rows, here)
    if view.depth is not None:
        own = view.depth[at[:, 1], at[:, 0]]
        clear &= (own == 0) | (own > here - COVERED * np.maximum(here, 1))
    if view.mask is not None:
        clear &= cv2.erode(view.mask.astype(np.uint8), around)[at[:, 1], at[:, 0]] > 0
    seen = np.zeros(len(depth), bool)
    seen[rows[clear]] = True
    return seen


def _slack(mesh: Mesh, view: TextureView, rows: NDArray[np.int64], depth: Array) -> Array:
    """Metres by which vertices may lie behind the nearest surface around their pixels: more where their own surface slopes."""
    normals = mesh.vertex_normals()[rows]
    towards = view.T_world_camera[:3, 3] - mesh.vertices[rows]
    cosine = np.abs(np.einsum("ij,ij->i", normals, towards)) / np.maximum(np.linalg.norm(towards, axis=1), 1e-9)
    slope = np.sqrt(1 - np.minimum(cosine, 1) ** 2) / np.maximum(cosine, LEAST_COSINE)
    return np.asarray(DEPTH_TOLERANCE * np.maximum(depth, 1) + slope * (BORDER_PX + 1) * 1.5 * depth / view.camera.fx)


def _sampled(image: NDArray[np.uint8], uv: NDArray[np.float32]) -> NDArray[np.uint8]:
    """Pixels (N, 1, 2) of an image, in blocks that cv2 takes."""
    if not len(uv):
        return np.zeros((0, 1, 3), np.uint8)
    parts = [
        cv2.remap(image, block, None, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
        for block in np.split(uv, range(30_000, len(uv), 30_000))
    ]
    return np.asarray(np.concatenate(parts))
