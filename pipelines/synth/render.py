"""Pictures of a world and the exact truth behind every pixel."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from mapping.camera import Intrinsics
from pipelines.synth import _shade
from pipelines.synth._threads import spread
from pipelines.synth.casting import Caster, Hits
from pipelines.synth.edges import NONE, true_edges
from pipelines.synth.lighting import LightingConfig, StaticLight, bake, probe_light
from pipelines.synth.surfaces import Surfaces, world_surfaces
from pipelines.synth.textures import material_table
from pipelines.synth.world import World

Array = NDArray[np.float64]
Floats = NDArray[np.float32]
Mask = NDArray[np.bool_]

SUBPIXELS = np.array([[-0.35, -0.1], [0.1, -0.35], [0.25, 0.3]])
"""Where pixels on a border are looked at again to smooth it, beside their middle (pixels)."""
SHADOW_LIGHTS = 3
"""How many of the strongest lights around a person throw its shadow."""


@dataclass(frozen=True, eq=False)
class View:
    """What a camera sees, exactly: depth (H, W) float32 metres along z, labels (H, W) uint8 NYU40, instances (H, W) uint16,
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
class Moving:
    """Bodies that move, at one time: their surfaces in the world, the light around each and the balls that stand for them.

    cubes (B, 6, 3) indirect irradiance; balls (S, 4) centres and radii that dim the light around; centers (P, 3) of the people.
    """

    surfaces: Surfaces
    cubes: Floats
    balls: Array
    centers: Array


class _Layer(NamedTuple):
    """Surfaces ready to be cast against and shaded."""

    surfaces: Surfaces
    caster: Caster
    look: _shade.Look


class _Traced(NamedTuple):
    """The nearer hits of the static and the moving layer: `found` (K,) where there is one, `moving` (K,) where it moves."""

    hits: Hits
    found: Mask
    moving: Mask

    def static_part(self) -> _shade.Found:
        return _shade.Found(self.found & ~self.moving, *self.hits)

    def moving_part(self) -> _shade.Found:
        return _shade.Found(self.moving, *self.hits)


def _layer(surfaces: Surfaces) -> _Layer:
    table = _shade.FaceTable(
        surfaces.planes,
        surfaces.corner_normals,
        surfaces.face_body,
        surfaces.face_material,
        surfaces.T_body_world,
    )
    return _Layer(surfaces, Caster(surfaces), _shade.Look(table, material_table(surfaces.materials)))


class Renderer:
    """A world at one visit, with its light computed; renders any number of cameras.

    Parameters
    ----------
    world, visit : what is there.
    lighting : how the static light is computed; None renders the truth only and `color` must not be called.
    """

    def __init__(self, world: World, visit: int, lighting: LightingConfig | None = None) -> None:
        self.surfaces = world_surfaces(world.bodies, visit)
        self._static = _layer(self.surfaces)
        self._lights = np.array([[*light.position, *light.intensity] for light in world.lights]).reshape(-1, 6)
        self._light: StaticLight | None = None
        if lighting is not None:
            self._light = bake(self.surfaces, world.lights, world.sun_direction, lighting)

    @property
    def caster(self) -> Caster:
        """The static surfaces, for distances and lines of sight."""
        return self._static.caster

    def probe(self, points: Array) -> Floats:
        """(P, 6, 3) indirect light at points (P, 3), for `Moving.cubes`."""
        return probe_light(self._baked(), self.surfaces, self.caster, points)

    def view(self, camera: Intrinsics, T_world_camera: Array, moving: Moving | None = None) -> View:
        """The truth of one camera."""
        directions = camera.rays()
        rays = _world_rays(directions.reshape(-1, 3), T_world_camera, camera)
        layer = None if moving is None else _layer(moving.surfaces)
        return self._view(directions, rays, T_world_camera, layer, self._trace(rays, layer))

    def color(
        self, camera: Intrinsics, T_world_camera: Array, moving: Moving | None = None, *, smooth: bool = True
    ) -> tuple[Floats, View]:
        """(H, W, 3) linear light and the truth; where surfaces border, `smooth` takes four samples a pixel instead of one.

        Raises ValueError for a renderer that was made without lighting.
        """
        self._baked()
        directions = camera.rays()
        flat = directions.reshape(-1, 3)
        rays = _world_rays(flat, T_world_camera, camera)
        layer = None if moving is None else _layer(moving.surfaces)
        traced = self._trace(rays, layer)
        view = self._view(directions, rays, T_world_camera, layer, traced)
        shadow = self._shadow(rays, traced, moving, layer)
        linear = self._linear(rays, traced, moving, layer, shadow)
        border = np.flatnonzero(_borders(view, traced, self.surfaces).ravel())
        if smooth and len(border):
            fine = np.minimum(linear[border], 4.0)
            for du, dv in SUBPIXELS:
                shift = np.array([du / camera.fx, dv / camera.fy, 0.0])
                shifted = _world_rays(flat[border] + shift, T_world_camera, camera)
                samples = self._linear(shifted, self._trace(shifted, layer), moving, layer, shadow[border])
                fine += np.minimum(samples, 4.0)
            linear[border] = fine / (len(SUBPIXELS) + 1)
        return linear.reshape(camera.height, camera.width, 3), view

    def _baked(self) -> StaticLight:
        if self._light is None:
            raise ValueError("Renderer was made without lighting: it renders the truth only")
        return self._light

    def _trace(self, rays: _shade.Rays, layer: _Layer | None) -> _Traced:
        t, face, uv = self._static.caster.cast(rays.packed)
        moving = np.zeros(len(t), np.bool_)
        if layer is not None:
            towards = np.zeros(len(t), np.bool_)
            spread(_shade.towards_boxes, len(t), rays.eye, rays.dirs, _number_boxes(layer.surfaces), towards)
            chosen = np.flatnonzero(towards)
            other = layer.caster.cast(rays.packed[chosen])
            nearer = other.t < t[chosen]
            chosen = chosen[nearer]
            t, uv = t.copy(), uv.copy()
            t[chosen], face[chosen], uv[chosen] = other.t[nearer], other.face[nearer], other.uv[nearer]
            moving[chosen] = True
        return _Traced(Hits(t, face, uv), np.isfinite(t), moving)

    def _view(
        self, directions: Array, rays: _shade.Rays, T_world_camera: Array, layer: _Layer | None, traced: _Traced
    ) -> View:
        shape = directions.shape[:2]
        R_camera_world = np.ascontiguousarray(T_world_camera[:3, :3].T)
        seen = np.zeros((traced.found.size, 5))
        labels: NDArray[np.uint8] = np.zeros(traced.found.size, np.uint8)
        instances: NDArray[np.uint16] = np.zeros(traced.found.size, np.uint16)
        is_object = np.zeros(traced.found.size, np.bool_)
        for part, found in ((self._static, traced.static_part()), (layer, traced.moving_part())):
            if part is None or not found.chosen.any():
                continue
            spread(_shade.measure, len(seen), rays, found, part.look.table, R_camera_world, seen)
            body = part.surfaces.face_body[found.face[found.chosen]]
            labels[found.chosen], instances[found.chosen] = part.surfaces.labels[body], part.surfaces.numbers[body]
            is_object[found.chosen] = part.surfaces.is_object[body]
        seen = seen.reshape(*shape, 5)
        labels, instances = labels.reshape(shape), instances.reshape(shape)
        kinds = true_edges(seen, directions, instances, labels, is_object.reshape(shape))
        return View(seen[..., 0].astype(np.float32), labels, instances, seen[..., 1:4].astype(np.float32), kinds)

    def _shadow(self, rays: _shade.Rays, traced: _Traced, moving: Moving | None, layer: _Layer | None) -> Floats:
        """(K, 2) what people leave of direct and indirect light on the static surfaces."""
        shadow = np.ones((len(rays.dirs), 2), np.float32)
        if moving is None or layer is None:
            return shadow
        found, planes = traced.static_part(), self.surfaces.planes
        lights = self._lights[_strongest(self._lights, moving.centers)]
        blocked = np.zeros((len(shadow), len(lights)), np.bool_)
        casters = _shade.Casters(_number_boxes(layer.surfaces), lights)
        spread(_shade.shadow_rays, len(shadow), rays, found, planes, casters, blocked)
        k, light = np.nonzero(blocked)
        points = rays.eye + found.t[k, None] * rays.dirs[k] + 0.004 * planes[found.face[k], :3]
        blocked[k, light] = layer.caster.blocked(_segments(points, lights[light, :3]))
        spread(
            _shade.people_shadow,
            len(shadow),
            rays,
            found,
            planes,
            _shade.Blockers(lights, blocked, moving.balls),
            shadow,
        )
        return shadow

    def _linear(
        self, rays: _shade.Rays, traced: _Traced, moving: Moving | None, layer: _Layer | None, shadow: Floats
    ) -> Floats:
        """(K, 3) linear light."""
        linear = np.zeros((len(rays.dirs), 3), np.float32)
        near = self._lights[_nearest(self._lights, rays.eye)]
        lit = _shade.StaticLit(self._baked().light_map, near, shadow)
        spread(_shade.shade_static, len(linear), rays, traced.static_part(), self._static.look, lit, linear)
        if moving is not None and layer is not None and traced.moving.any():
            self._linear_moving(rays, traced, moving, layer, linear)
        sky = ~traced.found
        linear[sky] = np.clip(1.2 + 0.5 * rays.dirs[sky, 2:], 0.6, 1.8) * np.array([0.75, 0.88, 1.0])
        return linear

    def _linear_moving(self, rays: _shade.Rays, traced: _Traced, moving: Moving, layer: _Layer, linear: Floats) -> None:
        chosen = np.flatnonzero(traced.moving)
        lights = self._lights[_strongest(self._lights, moving.centers)]
        points = rays.eye + traced.hits.t[chosen, None] * rays.dirs[chosen]
        points = points + 0.01 * layer.surfaces.planes[traced.hits.face[chosen], :3]
        lit = np.zeros((len(rays.dirs), len(lights)), np.float32)
        for k, light in enumerate(lights):
            segments = _segments(points, light[:3], 0.85)  # short of the lamp's own shade
            lit[chosen, k] = ~(self._static.caster.blocked(segments) | layer.caster.blocked(segments))
        light = _shade.MovingLit(moving.cubes, lights, lit)
        spread(_shade.shade_moving, len(linear), rays, traced.moving_part(), layer.look, light, linear)


def _world_rays(directions: Array, T_world_camera: Array, camera: Intrinsics) -> _shade.Rays:
    """Rays along camera directions (K, 3) with z = 1."""
    eye, R = np.ascontiguousarray(T_world_camera[:3, 3]), np.ascontiguousarray(T_world_camera[:3, :3])
    dirs, packed = np.zeros_like(directions), np.zeros((len(directions), 6), np.float32)
    spread(_shade.world_rays, len(dirs), eye, R, directions, dirs, packed)
    return _shade.Rays(eye, dirs, packed, 1.0 / camera.fx)


def _number_boxes(surfaces: Surfaces) -> Array:
    """(P, 2, 3) lowest and highest corner of the bodies of each instance number; they follow each other."""
    first = np.flatnonzero(np.diff(surfaces.numbers, prepend=-1))
    starts = np.searchsorted(surfaces.vertex_body, first)
    low, high = (np.minimum.reduceat(surfaces.vertices, starts), np.maximum.reduceat(surfaces.vertices, starts))
    return np.stack([low - 1e-3, high + 1e-3], axis=1)


def _borders(view: View, traced: _Traced, surfaces: Surfaces) -> Mask:
    """(H, W) pixels beside a change of instance, material or normal: where one sample is not enough."""
    shape = view.labels.shape
    key = surfaces.face_material[np.where(traced.moving, 0, traced.hits.face)].reshape(shape).astype(np.int64)
    key += 100_000 * view.instances.astype(np.int64)
    out = view.edge_kinds != NONE
    for axis in (0, 1):
        first, second = (slice(0, -1), slice(1, None))
        a = (first, slice(None)) if axis == 0 else (slice(None), first)
        b = (second, slice(None)) if axis == 0 else (slice(None), second)
        turn = np.einsum("ijk,ijk->ij", view.normals[a], view.normals[b]) < 0.98
        changed = (key[a] != key[b]) | turn
        out[a] |= changed
        out[b] |= changed
    return out


def _segments(points: Array, target: Array, share: float = 0.998) -> Floats:
    """Segments (K, 6) from points to a target or targets, but for the last of the way."""
    segments = np.zeros((len(points), 6), np.float32)
    segments[:, :3], segments[:, 3:] = points, (target - points) * share
    return segments


def _strongest(lights: Array, centers: Array) -> NDArray[np.int64]:
    """Indices, in order, of the lights that are the strongest at some of the points."""
    chosen: set[int] = set()
    for center in centers:
        power = lights[:, 3:].max(axis=1) / np.maximum(0.2, np.sum((lights[:, :3] - center) ** 2, axis=1))
        best = np.argsort(-power, kind="stable")[:SHADOW_LIGHTS]
        chosen.update(int(i) for i in best if power[i] > 0.1 * power.max())
    return np.array(sorted(chosen), dtype=np.int64)


def _nearest(lights: Array, eye: Array, count: int = 4) -> NDArray[np.int64]:
    order = np.argsort(np.sum((lights[:, :3] - eye) ** 2, axis=1), kind="stable")[:count]
    return np.sort(order)
