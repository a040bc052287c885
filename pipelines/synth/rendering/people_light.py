"""The light on people and the shadows they cast, at one time."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pipelines.synth.rendering.casting import Caster
from pipelines.synth.rendering.kernels import shadow as shadow_kernels
from pipelines.synth.rendering.kernels.shade import EyeRays, MovingLit, shade_moving
from pipelines.synth.rendering.sight import Layer, Traced
from pipelines.synth.rendering.surfaces import Surfaces
from pipelines.synth.rendering.threads import spread

Array = NDArray[np.float64]
Floats = NDArray[np.float32]

SHADOW_LIGHTS = 3
"""How many of the strongest lights around a person cast its shadow."""


@dataclass(frozen=True, eq=False)
class Moving:
    """Moving bodies at one time: their surfaces in the world, the light around each and the balls that approximate them.

    cubes (B, 6, 3) indirect irradiance; balls (S, 4) centres and radii that occlude the light around; centers (P, 3) of
    the people.
    """

    surfaces: Surfaces
    cubes: Floats
    balls: Array
    centers: Array


class PeopleLight:
    """Moving bodies, ready to be lit and to cast shadows.

    Parameters
    ----------
    moving, layer : the moving bodies, and the same ready to be drawn.
    lights : (L, 6) all lights; the strongest around the people are used.
    static : the static surfaces, for lines of sight.
    """

    def __init__(self, moving: Moving, layer: Layer, lights: Array, static: Caster) -> None:
        self._moving, self._layer, self._static = moving, layer, static
        self._lights = lights[_strongest(lights, moving.centers)]
        self._caster = Caster(moving.surfaces)
        boxes, limbs = _boxes(moving.surfaces)
        self._casters = shadow_kernels.ShadowCasters(
            self._lights, boxes, limbs, shadow_kernels.caster_cones(self._lights, boxes)
        )

    def shadow(self, rays: EyeRays, traced: Traced, planes: Array) -> Floats:
        """(K, 2) share of direct and indirect light that people leave on the static surfaces with face planes `planes` (F, 4)."""
        found = traced.static_part()
        segments = _empty_segments(len(rays.dirs) * len(self._lights))
        segments = segments.chosen(
            slice(shadow_kernels.segments_past_people(rays, found, planes, self._casters, segments))
        )
        blocked = segments.chosen(self._caster.blocked(segments.segments))
        out = np.ones((len(rays.dirs), 2), np.float32)
        shadow_kernels.people_shadow(rays, found, planes, self._lights, self._moving.balls, blocked, out)
        return out

    def shade(self, rays: EyeRays, traced: Traced, linear: Floats) -> None:
        """Fill in linear RGB (K, 3) of moving bodies."""
        if not traced.moving.any():
            return
        found, table = traced.moving_part(), self._layer.look.table
        segments = _empty_segments((int(traced.moving.sum()) + 1) * len(self._lights))
        segments = segments.chosen(
            slice(shadow_kernels.segments_from_people(rays, found, table.planes, self._lights, segments))
        )
        segments = segments.chosen(~self._static.blocked(segments.segments))
        segments = segments.chosen(~self._caster.blocked(segments.segments))
        visible = np.zeros((len(rays.dirs), len(self._lights)), np.float32)
        visible[segments.ray, segments.light] = 1.0
        lit = MovingLit(self._moving.cubes, self._lights, visible)
        spread(shade_moving, len(linear), rays, found, self._layer.look, lit, linear)


def _empty_segments(count: int) -> shadow_kernels.LightSegments:
    return shadow_kernels.LightSegments(
        np.zeros((count, 6), np.float32), np.zeros(count, np.int32), np.zeros(count, np.int32)
    )


def _boxes(surfaces: Surfaces) -> tuple[Array, Array]:
    """Lowest and highest corners (P, 2, 3) of the bodies of each instance number, and (P * B, 2, 3) of each of these bodies.

    Bodies of a number are consecutive, equally many for each number.
    """
    starts = np.searchsorted(surfaces.vertex_body, np.arange(len(surfaces.numbers)))
    low = np.minimum.reduceat(surfaces.vertices, starts) - 1e-3
    high = np.maximum.reduceat(surfaces.vertices, starts) + 1e-3
    people = len(np.unique(surfaces.numbers))
    limbs = np.stack([low, high], axis=1).reshape(people, -1, 2, 3)
    return np.stack([limbs[:, :, 0].min(axis=1), limbs[:, :, 1].max(axis=1)], axis=1), limbs.reshape(-1, 2, 3)


def _strongest(lights: Array, centers: Array) -> NDArray[np.int64]:
    """Indices, in order, of the lights that are among the strongest at some of the points."""
    chosen: set[int] = set()
    for center in centers:
        power = lights[:, 3:].max(axis=1) / np.maximum(0.2, np.sum((lights[:, :3] - center) ** 2, axis=1))
        best = np.argsort(-power, kind="stable")[:SHADOW_LIGHTS]
        chosen.update(int(i) for i in best if power[i] > 0.1 * power.max())
    return np.array(sorted(chosen), dtype=np.int64)
