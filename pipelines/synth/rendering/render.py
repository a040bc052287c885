"""Images of a world and the exact truth of every pixel."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mapping.camera import Intrinsics
from pipelines.synth.base.world import World
from pipelines.synth.rendering.casting import Caster
from pipelines.synth.rendering.edges import NONE, true_edges
from pipelines.synth.rendering.kernels import pixels as pixel_kernels
from pipelines.synth.rendering.kernels import shade as shade_kernels
from pipelines.synth.rendering.lighting import LightingConfig, StaticLight, bake, probe_light
from pipelines.synth.rendering.people_light import Moving, PeopleLight
from pipelines.synth.rendering.sight import Layer, Sight, Traced, make_layer
from pipelines.synth.rendering.surfaces import world_surfaces
from pipelines.synth.rendering.threads import spread

Array = NDArray[np.float64]
Floats = NDArray[np.float32]
Mask = NDArray[np.bool_]

SUBPIXELS = np.array([[-0.35, -0.1], [0.1, -0.35], [0.25, 0.3]])
"""Offsets in pixels of the additional samples of pixels on a border."""


@dataclass(frozen=True, eq=False)
class TrueView:
    """The exact view of a camera: depth (H, W) float32 metres along z, labels (H, W) uint8 NYU40, instances (H, W) uint16,
    normals (H, W, 3) float32 camera frame, edge_kinds (H, W) uint8 (see `edges`). Nothing seen: 0 everywhere."""

    depth: Floats
    labels: NDArray[np.uint8]
    instances: NDArray[np.uint16]
    normals: Floats
    edge_kinds: NDArray[np.uint8]

    @property
    def edges(self) -> Floats:
        """(H, W) float32, 1 on an edge."""
        return (self.edge_kinds != NONE).astype(np.float32)


@dataclass(frozen=True, eq=False)
class _Look:
    """A traced camera: its view in the form used for shading and as returned."""

    sight: Sight
    moving: Layer | None
    drawn: pixel_kernels.Drawn
    rays: shade_kernels.EyeRays
    traced: Traced
    truth: pixel_kernels.Truth
    view: TrueView


class Renderer:
    """A world at one visit, with precomputed light; renders any number of cameras, also from several threads at once.

    Parameters
    ----------
    world, visit : the scene.
    lighting : how the static light is computed; None renders the truth only and `color` must not be called.
    """

    def __init__(self, world: World, visit: int, lighting: LightingConfig | None = None) -> None:
        self.surfaces = world_surfaces(world.bodies, visit)
        self.caster = Caster(self.surfaces)
        """The static surfaces, for distances and lines of sight."""
        self._static = make_layer(self.surfaces)
        self._lights = np.array([[*light.position, *light.intensity] for light in world.lights]).reshape(-1, 6)
        self._light: StaticLight | None = None
        if lighting is not None:
            self._light = bake(self.surfaces, world.lights, world.sun_direction, lighting)

    def probe(self, points: Array) -> Floats:
        """(P, 6, 3) indirect light at points (P, 3), for `Moving.cubes`."""
        return probe_light(self._baked(), self.surfaces, self.caster, points)

    def view(self, camera: Intrinsics, T_world_camera: Array, moving: Moving | None = None) -> TrueView:
        """The truth of one camera.

        Raises ValueError for a camera with lens distortion, as `color` does.
        """
        return self._look(camera, T_world_camera, moving).view

    def color(
        self, camera: Intrinsics, T_world_camera: Array, moving: Moving | None = None, *, smooth: bool = True
    ) -> tuple[Floats, TrueView]:
        """(H, W, 3) linear light and the truth; at borders of surfaces, `smooth` takes four samples per pixel instead of one.

        Raises ValueError for a renderer without lighting.
        """
        self._baked()
        look = self._look(camera, T_world_camera, moving)
        people, shadow = None, np.ones((len(look.rays.dirs), 2), np.float32)
        if moving is not None and look.moving is not None:
            people = PeopleLight(moving, look.moving, self._lights, self.caster)
            shadow = people.shadow(look.rays, look.traced, self.surfaces.planes)
        linear = self._linear(look.rays, look.traced, people, shadow)
        if smooth:
            border = pixel_kernels.borders(look.view.edge_kinds, look.truth)
            self._smooth(look, people, border, shadow, linear)
        return linear.reshape(camera.height, camera.width, 3), look.view

    def _baked(self) -> StaticLight:
        if self._light is None:
            raise ValueError("this Renderer has no lighting and renders only the truth")
        return self._light

    def _look(self, camera: Intrinsics, T_world_camera: Array, moving: Moving | None) -> _Look:
        layer = None if moving is None else make_layer(moving.surfaces, self._static)
        sight = Sight(camera, T_world_camera, self._static, layer)
        drawn = sight.draw()
        flat = sight.directions.reshape(-1, 3)
        rays = sight.rays(flat)
        traced = sight.traced(flat, drawn.nearness.ravel(), drawn.face.ravel())
        count = len(flat)
        truth = pixel_kernels.Truth(
            np.zeros((count, 5)),
            np.zeros(count, np.float32),
            np.zeros((count, 3), np.float32),
            np.zeros(count, np.uint8),
            np.zeros(count, np.uint16),
            np.zeros(count, np.bool_),
            np.full(count, -1, np.int32),
        )
        R_camera_world = np.ascontiguousarray(T_world_camera[:3, :3].T)
        for part, found in ((self._static, traced.static_part()), (layer, traced.moving_part())):
            if part is not None:
                faces = pixel_kernels.LayerFaces(part.look.table, part.bodies)
                spread(pixel_kernels.measure, count, rays, found, faces, R_camera_world, truth)
        shape = (camera.height, camera.width)
        labels, instances = truth.labels.reshape(shape), truth.instances.reshape(shape)
        kinds = true_edges(
            truth.seen.reshape(*shape, 5), sight.directions, instances, labels, truth.is_object.reshape(shape)
        )
        view = TrueView(truth.depth.reshape(shape), labels, instances, truth.normals.reshape(*shape, 3), kinds)
        return _Look(sight, layer, drawn, rays, traced, truth, view)

    def _smooth(self, look: _Look, people: PeopleLight | None, border: Mask, shadow: Floats, linear: Floats) -> None:
        """Set the border pixels to the mean of their centre and SUBPIXELS samples.

        Samples of the same surface as a nearby pixel take its colour, as in multisampling; the others are shaded.
        """
        places = np.flatnonzero(border)
        samples = look.sight.draw(SUBPIXELS, border)
        moving = self._static if look.moving is None else look.moving
        layers = pixel_kernels.Layers(self._static.look.table, moving.look.table, len(self.surfaces.faces))
        total = np.minimum(linear[places], pixel_kernels.BRIGHTEST)
        missing = np.zeros((len(SUBPIXELS), len(places)), np.bool_)
        pixel_kernels.share_colors(places, samples, look.drawn, layers, linear, total, missing)
        which, n = np.nonzero(missing)
        if len(n):
            camera, at = look.sight.camera, places[n]
            shift = np.column_stack([SUBPIXELS[which] / [camera.fx, camera.fy], np.zeros(len(n))])
            directions = look.sight.directions.reshape(-1, 3)[at] + shift
            v, u = np.divmod(at, camera.width)
            traced = look.sight.traced(directions, samples.nearness[which, v, u], samples.face[which, v, u])
            colors = self._linear(look.sight.rays(directions), traced, people, shadow[at])
            np.add.at(total, n, np.minimum(colors, pixel_kernels.BRIGHTEST))
        linear[places] = total / np.float32(len(SUBPIXELS) + 1)

    def _linear(
        self, rays: shade_kernels.EyeRays, traced: Traced, people: PeopleLight | None, shadow: Floats
    ) -> Floats:
        """(K, 3) linear light; shadow (K, 2) is the share of direct and indirect light that people leave."""
        linear = np.zeros((len(rays.dirs), 3), np.float32)
        near = self._lights[_nearest(self._lights, rays.eye)]
        lit = shade_kernels.StaticLit(self._baked().light_map, near, shadow)
        spread(shade_kernels.shade_static, len(linear), rays, traced.static_part(), self._static.look, lit, linear)
        if people is not None:
            people.shade(rays, traced, linear)
        sky = ~traced.found
        if sky.any():
            linear[sky] = np.clip(1.2 + 0.5 * rays.dirs[sky, 2:], 0.6, 1.8) * np.array([0.75, 0.88, 1.0])
        return linear


def _nearest(lights: Array, eye: Array, count: int = 4) -> NDArray[np.int64]:
    order = np.argsort(np.sum((lights[:, :3] - eye) ** 2, axis=1), kind="stable")[:count]
    return np.sort(order)
