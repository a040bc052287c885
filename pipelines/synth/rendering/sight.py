"""The visible faces of a camera: drawn into a depth buffer, at the centres of pixels and at further positions within some."""

from __future__ import annotations

from functools import lru_cache
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from mapping.camera import Intrinsics
from mapping.se3 import inverse
from pipelines.synth.rendering.kernels import raster as raster_kernels
from pipelines.synth.rendering.kernels.pixels import Bodies, Drawn, world_directions
from pipelines.synth.rendering.kernels.shade import EyeRays, FaceTable, Found, ShadedSurfaces
from pipelines.synth.rendering.surfaces import Surfaces
from pipelines.synth.rendering.textures import material_table
from pipelines.synth.rendering.threads import spread

Array = NDArray[np.float64]
Mask = NDArray[np.bool_]

MIDDLE = np.zeros((1, 2))


class Layer(NamedTuple):
    """Surfaces ready to be drawn and shaded; their faces are numbered from `number`."""

    surfaces: Surfaces
    look: ShadedSurfaces
    bodies: Bodies
    number: int


def make_layer(surfaces: Surfaces, before: Layer | None = None) -> Layer:
    """A layer whose faces and materials follow those of another."""
    is_flat = np.abs(surfaces.corner_normals - surfaces.planes[:, None, :3]).max(axis=(1, 2), initial=0.0) < 1e-4
    table = FaceTable(
        surfaces.planes,
        surfaces.corner_normals,
        is_flat,
        surfaces.face_body,
        surfaces.face_material,
        surfaces.T_body_world,
    )
    number = 0 if before is None else before.number + len(before.surfaces.faces)
    materials = 0 if before is None else len(before.surfaces.materials)
    bodies = Bodies(surfaces.numbers, surfaces.labels, surfaces.is_object, materials)
    return Layer(surfaces, ShadedSurfaces(table, material_table(surfaces.materials)), bodies, number)


class Traced(NamedTuple):
    """Of K rays: t (K,), inf for nothing; face (K,) of its layer, 0 for none; weights of the face's second and third corner
    (K, 2); `found` (K,) where something is hit and `moving` (K,) where it moves."""

    t: NDArray[np.float32]
    face: NDArray[np.int32]
    uv: NDArray[np.float32]
    found: Mask
    moving: Mask

    def static_part(self) -> Found:
        return Found(self.found & ~self.moving, self.t, self.face, self.uv)

    def moving_part(self) -> Found:
        return Found(self.moving, self.t, self.face, self.uv)


@lru_cache(maxsize=4)
def camera_rays(camera: Intrinsics) -> Array:
    """(H, W, 3) directions with z = 1 through the centres of the pixels; computed once per camera."""
    directions = camera.rays()
    directions.flags.writeable = False
    return directions


class Sight:
    """A camera at a pose `T_world_camera` and its layers: static surfaces and optionally moving ones."""

    def __init__(self, camera: Intrinsics, T_world_camera: Array, static: Layer, moving: Layer | None) -> None:
        if camera.is_distorted:
            raise ValueError("synthetic cameras have no lens distortion")
        self.camera, self.T_world_camera = camera, T_world_camera
        self.directions = camera_rays(camera)
        self._pinhole = raster_kernels.Pinhole(camera.fx, camera.fy, camera.cx, camera.cy, camera.width, camera.height)
        T_camera_world = np.ascontiguousarray(inverse(T_world_camera))
        self._layers = [static] if moving is None else [static, moving]
        self._corners = [
            raster_kernels.project(layer.surfaces.vertices, T_camera_world, self._pinhole) for layer in self._layers
        ]
        self._chosen = [
            raster_kernels.in_view(corners, layer.surfaces.faces, self._pinhole)
            for corners, layer in zip(self._corners, self._layers, strict=True)
        ]

    def draw(self, shifts: Array = MIDDLE, wanted: Mask | None = None) -> Drawn:
        """The visible faces at `shifts` (S, 2) of at most half a pixel from the centres of pixels.

        Only `wanted` (H, W) pixels are drawn; without it all are.
        """
        shape = (self.camera.height, self.camera.width)
        following = raster_kernels.following(np.ones(shape, np.bool_) if wanted is None else wanted)
        drawn = Drawn(np.zeros((len(shifts), *shape)), np.full((len(shifts), *shape), -1, np.int32))
        buffer = raster_kernels.Buffer(drawn.nearness, drawn.face, shifts, following)
        for layer, corners, chosen in zip(self._layers, self._corners, self._chosen, strict=True):
            raster_kernels.draw(chosen, corners, layer.surfaces.faces, layer.number, self._pinhole, buffer)
        return drawn

    def rays(self, directions: Array) -> EyeRays:
        """Camera directions (K, 3) with z = 1 as rays in the world."""
        dirs = np.zeros_like(directions)
        R = np.ascontiguousarray(self.T_world_camera[:3, :3])
        spread(world_directions, len(dirs), R, directions, dirs)
        return EyeRays(np.ascontiguousarray(self.T_world_camera[:3, 3]), dirs, 1.0 / self.camera.fx)

    def traced(self, directions: Array, nearness: Array, face: NDArray[np.int32]) -> Traced:
        """Drawn inverse depths and faces (K,) at camera directions (K, 3), ready to be shaded."""
        found = face >= 0
        t = np.full(len(face), np.inf, np.float32)
        np.divide(1.0, nearness, out=t, where=found, casting="same_kind")
        uv, moving = np.zeros((len(face), 2), np.float32), np.zeros(len(face), np.bool_)
        local = face.copy()
        for layer, corners in zip(self._layers, self._corners, strict=True):
            mine = face
            if len(self._layers) > 1:
                moving = face >= self._layers[1].number
                mine = np.where(moving == (layer.number > 0), face - layer.number, -1).astype(np.int32)
                local = np.where(mine >= 0, mine, local)
            facets = raster_kernels.Facets(layer.surfaces.faces, layer.look.table.is_flat)
            spread(raster_kernels.corner_weights, len(face), mine, directions, corners, facets, uv)
        return Traced(t, np.maximum(local, 0), uv, found, moving)
