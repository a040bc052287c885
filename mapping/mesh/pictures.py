"""Pictures of a mesh for reports, without a graphics driver: from a camera and from above."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from mapping.camera import Intrinsics
from mapping.mesh.mesh import Mesh
from mapping.mesh.raycast import MeshCaster

Array = NDArray[np.float64]

GREY = 190
AMBIENT = 0.45
CREASE_COSINE = 0.9  # a vertex normal that deviates more than this from the face is at a crease and is not smoothed
BACK_FACE = 70  # back faces (the inside of a wall) are drawn in one dark grey
RAYS_AT_ONCE = 1 << 17
"""Rays that are shaded together: those of a whole picture, with all that is interpolated for them, take gigabytes."""


def shaded_picture(
    mesh: Mesh | MeshCaster,
    intrinsics: Intrinsics,
    T_world_camera: ArrayLike,
    *,
    colors: NDArray[np.uint8] | None = None,
    supersample: int = 2,
) -> NDArray[np.uint8]:
    """A picture (H, W, 3) uint8 of the mesh from a camera, lit from the camera, on white.

    `colors` (V, 3) uint8 replaces the vertex colours of the mesh, e.g. by the display colours of its labels; without any
    colours the mesh is grey. Each pixel is the mean of `supersample` squared rays. Pass a `MeshCaster` to draw a mesh repeatedly.
    """
    T = np.asarray(T_world_camera, dtype=np.float64)
    fine = intrinsics.resized(intrinsics.width * supersample, intrinsics.height * supersample)
    directions = fine.rays() @ T[:3, :3].T
    origins = np.broadcast_to(T[:3, 3], directions.shape)
    return _drawn(_caster(mesh), origins, directions, [colors], supersample)[0]


def top_views(
    mesh: Mesh | MeshCaster,
    colorings: Sequence[NDArray[np.uint8] | None],
    *,
    pixel_size: float,
    cut_height: float,
    margin: float = 0.2,
    supersample: int = 2,
) -> list[NDArray[np.uint8]]:
    """The mesh (H, W, 3) uint8 seen straight from above, x to the right and y up, once with each of the `colorings`, which are
    as the `colors` of `shaded_picture`.

    What lies above `cut_height` (metres, a little below the ceiling) is omitted.
    Covers the mesh with `margin` metres around it; `supersample` as for `shaded_picture`.
    Raises ValueError for a mesh without faces.
    """
    caster = _caster(mesh)
    if len(caster.mesh.faces) == 0:
        raise ValueError("top_views needs a mesh with faces")
    corners = caster.mesh.vertices[caster.mesh.faces.ravel(), :2]
    low, high = corners.min(axis=0) - margin, corners.max(axis=0) + margin
    width, height = (max(1, int(n)) for n in np.ceil((high - low) / pixel_size))
    step = pixel_size / supersample
    x = low[0] + (np.arange(width * supersample) + 0.5) * step
    y = high[1] - (np.arange(height * supersample) + 0.5) * step
    origins = np.stack([*np.meshgrid(x, y), np.full((len(y), len(x)), cut_height)], axis=-1)
    return _drawn(caster, origins, np.broadcast_to([0.0, 0.0, -1.0], origins.shape), colorings, supersample)


def _caster(mesh: Mesh | MeshCaster) -> MeshCaster:
    return mesh if isinstance(mesh, MeshCaster) else MeshCaster(mesh)


class _Lit(NamedTuple):
    """Where rays (H, W) hit, and of the hits the corners (N, 3) of the face with their weights (N, 3, 1), how much light the
    surface returns (N,), and whether it is a back (N,)."""

    hit: NDArray[np.bool_]
    corners: NDArray[np.int32]
    weight: NDArray[np.float32]
    light: Array
    behind: NDArray[np.bool_]


def _drawn(
    caster: MeshCaster,
    origins: Array,
    directions: Array,
    colorings: Sequence[NDArray[np.uint8] | None],
    factor: int,
) -> list[NDArray[np.uint8]]:
    """The picture with each colouring of rays (H, W, 3) of which every factor x factor block is a pixel, strip by strip."""
    mesh = caster.mesh
    normals = (mesh.face_normals(), mesh.vertex_normals())
    rows = factor * max(1, RAYS_AT_ONCE // (factor * origins.shape[1]))
    strips: list[list[NDArray[np.uint8]]] = [[] for _ in colorings]
    for start in range(0, len(origins), rows):
        at = slice(start, start + rows)
        lit = _lit(caster, normals, origins[at], directions[at])
        for own, colors in zip(strips, colorings, strict=True):
            own.append(_shrink(_colored(lit, mesh.colors if colors is None else colors), factor))
    return [np.concatenate(own) for own in strips]


def _lit(caster: MeshCaster, normals: tuple[Array, Array], origins: Array, directions: Array) -> _Lit:
    """What rays hit, in the light of a source at the camera; normals of faces (F, 3) and of vertices (V, 3)."""
    _, faces, weights = caster.cast_rays(origins, directions)
    hit = faces >= 0
    corners, weight = caster.mesh.faces[faces[hit]], weights[hit][..., None]
    toward = directions[hit] / np.linalg.norm(directions[hit], axis=-1, keepdims=True)
    flat, smooth = normals[0][faces[hit]], normals[1][corners]
    at_crease = np.einsum("ijk,ik->ij", smooth, flat) < CREASE_COSINE
    shown = (np.where(at_crease[..., None], flat[:, None], smooth) * weight).sum(axis=1)
    shown /= np.maximum(np.linalg.norm(shown, axis=1, keepdims=True), 1e-12)
    light = AMBIENT + (1 - AMBIENT) * np.abs(np.einsum("ij,ij->i", shown, toward))
    return _Lit(hit, corners, weight, light, np.einsum("ij,ij->i", flat, toward) > 0)


def _colored(lit: _Lit, colors: NDArray[np.uint8] | None) -> Array:
    """Colours (H, W, 3) in 0..255: vertex colours times light, on white."""
    picture = np.full((*lit.hit.shape, 3), 255.0)
    corners = lit.corners
    base = np.full((len(corners), 3), float(GREY)) if colors is None else (colors[corners] * lit.weight).sum(axis=1)
    picture[lit.hit] = np.where(lit.behind[:, None], BACK_FACE, base * lit.light[:, None])
    return picture


def _shrink(fine: Array, factor: int) -> NDArray[np.uint8]:
    """The mean of every factor x factor block, as bytes."""
    height, width = fine.shape[0] // factor, fine.shape[1] // factor
    return np.rint(fine.reshape(height, factor, width, factor, 3).mean(axis=(1, 3))).astype(np.uint8)
