"""Static light, computed once per visit: lamps, windows and sun with soft shadows, and interreflection.

The light is kept as irradiance at nodes a few centimetres apart on every plane of every body (a light map), so that a frame
only interpolates it. Direct light is found with shadow rays, indirect light with rays over each node's hemisphere whose hits are
stored, so that every further bounce is one sum (radiosity by gathering; Cohen and Wallace, "Radiosity and Realistic Image
Synthesis", 1993). Everything is hashed from node numbers: the same world gives the same bytes.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from pydantic import ConfigDict
from pydantic.dataclasses import dataclass as config_dataclass

from pipelines.synth.base.world import Light
from pipelines.synth.rendering.casting import Caster
from pipelines.synth.rendering.kernels import bake as bake_kernels
from pipelines.synth.rendering.kernels.charts import Charts, assign_nodes, blur, fill_invalid, node_points
from pipelines.synth.rendering.kernels.shade import LightMap
from pipelines.synth.rendering.kernels.texture import MaterialTable
from pipelines.synth.rendering.surfaces import Surfaces
from pipelines.synth.rendering.textures import material_table, mean_albedo
from pipelines.synth.rendering.threads import in_order, spread
from scenegraph.labels import NYU40_NAMES

Array = NDArray[np.float64]
Floats = NDArray[np.float32]

WINDOW_LABEL = NYU40_NAMES.index("window")
PANE_AREA = 0.15
"""Square metres of glowing material from which a body counts as an area light (windows, large screens)."""
CHUNK = 1 << 14


@config_dataclass(frozen=True, config=ConfigDict(extra="forbid"))
class LightingConfig:
    """Settings of the static light."""

    step: float = 0.06
    """Metres between the nodes of the light map."""
    rays: int = 40
    """Rays per node for indirect light."""
    bounces: int = 4
    """Number of bounces."""
    sun: float = 9.0
    """Irradiance of the sun through windows, in the units of the lights; 0 for none."""
    ambient: float = 0.03
    """Ambient irradiance everywhere."""

    def __post_init__(self) -> None:
        if not self.step > 0 or self.rays < 1 or self.bounces < 0 or min(self.sun, self.ambient) < 0:
            raise ValueError("LightingConfig: step and rays must be positive, bounces, sun and ambient not negative")


@dataclass(frozen=True, eq=False)
class StaticLight:
    """The light map, and the radiance (N, 3) leaving its nodes (as seen by probes and reflections)."""

    light_map: LightMap
    radiance: Floats


def make_charts(surfaces: Surfaces, step: float) -> tuple[Charts, int]:
    """Group the faces by body and plane and define a grid on each; also the number of nodes."""
    normal, offset = surfaces.planes[:, :3], surfaces.planes[:, 3]
    key = np.column_stack([surfaces.face_body, np.round(normal * 200), np.round(offset / 0.002)]).astype(np.int64)
    _, first, chart = np.unique(key, axis=0, return_index=True, return_inverse=True)
    face_chart: NDArray[np.int32] = chart.ravel().astype(np.int32)
    dominant = np.argmax(np.abs(normal[first]), axis=1)
    axes = np.column_stack([np.where(dominant == 0, 1, 0), np.where(dominant == 2, 1, 2)]).astype(np.int32)
    corners = surfaces.vertices[surfaces.faces]
    along = np.take_along_axis(corners, np.repeat(axes[face_chart][:, None], 3, axis=1), axis=2) / step
    low, high = np.full((len(first), 2), np.inf), np.full((len(first), 2), -np.inf)
    np.minimum.at(low, face_chart, along.min(axis=1))
    np.maximum.at(high, face_chart, along.max(axis=1))
    origin = np.floor(low).astype(np.int32)
    size = np.maximum(np.ceil(high).astype(np.int32) - origin + 1, 2).astype(np.int32)
    counts = size.astype(np.int64).prod(axis=1)
    node_offset = np.concatenate([[0], np.cumsum(counts)])
    return Charts(face_chart, axes, origin, size, node_offset[:-1], step), int(node_offset[-1])


class _Nodes(NamedTuple):
    """The grid of the light map: N nodes, of which some (A) lie on a face.

    active (A,) their numbers; points and normals (A, 3); face (N,) -1 for none; valid (N,) active and in the open.
    """

    charts: Charts
    active: NDArray[np.int64]
    points: Array
    normals: Array
    face: NDArray[np.int32]
    valid: NDArray[np.bool_]

    def spread_out(self, values: Floats) -> Floats:
        """Values (A, 3) of the active nodes for all nodes (N, 3): those inside a solid get their neighbours' mean."""
        out = np.zeros((len(self.face), 3), np.float32)
        out[self.active] = values
        fill_invalid(out, self.valid.copy(), self.charts, 4)
        return out

    def blurred(self, values: Floats) -> Floats:
        """Values (N, 3) smoothed over each chart."""
        out = np.zeros_like(values)
        spread(blur, len(self.charts.offset), values, self.valid, self.charts, out, grain=64)
        return out


def bake(surfaces: Surfaces, lights: Sequence[Light], sun_direction: Array, config: LightingConfig) -> StaticLight:
    """The light of a world at one visit."""
    caster, table = Caster(surfaces), material_table(surfaces.materials)
    nodes, seen = _make_nodes(surfaces, caster, config)
    lamps, panes = _direct_light(nodes, surfaces, lights, table)
    if config.sun > 0:
        sun = _sun_light(nodes, sun_direction, config, caster, surfaces, table)
        lamps += nodes.spread_out(sun)
    albedo = mean_albedo(table)[surfaces.face_material[np.maximum(nodes.face, 0)]].astype(np.float32)
    albedo[nodes.face < 0] = 0.0
    ambient, share = np.float32(config.ambient), albedo / np.float32(np.pi)
    bounced = np.zeros_like(lamps)
    for _ in range(config.bounces):
        bounced = nodes.spread_out(_gathered(seen, config.rays, share * (lamps + panes + bounced + ambient)))
    indirect = nodes.blurred(bounced) + panes + ambient
    return StaticLight(LightMap(nodes.charts, lamps, indirect), share * (lamps + indirect))


def _make_nodes(surfaces: Surfaces, caster: Caster, config: LightingConfig) -> tuple[_Nodes, NDArray[np.int32]]:
    """The nodes, and the node seen by each hemisphere ray of each active one (A * rays,)."""
    charts, count = make_charts(surfaces, config.step)
    face, weights = assign_nodes(surfaces.vertices, surfaces.faces, charts, count)
    active = np.flatnonzero(face >= 0)
    points, normals = node_points(surfaces.vertices, surfaces.faces, surfaces.corner_normals, face, weights)
    points, normals = points[active], normals[active]
    seen = _look_around(points, normals, caster, surfaces, charts, config.rays)
    valid = np.zeros(count, np.bool_)
    valid[active] = bake_kernels.count_hits(seen, config.rays, bake_kernels.BACK) * 2 <= config.rays
    return _Nodes(charts, active, points, normals, face, valid), seen


def _direct_light(
    nodes: _Nodes, surfaces: Surfaces, lights: Sequence[Light], table: MaterialTable
) -> tuple[Floats, Floats]:
    """Irradiance (N, 3) from lamps and from glowing panes. Glowing surfaces cast no shadow: lamps stand inside their shades."""
    opaque = Caster(surfaces, table.emission[surfaces.face_material] <= 0)
    open_ = np.flatnonzero(nodes.valid[nodes.active])  # the others get their neighbours' light
    points, normals = nodes.points[open_], nodes.normals[open_]
    light, pane_light = np.zeros((2, len(nodes.active), 3), np.float32)
    light[open_], partly = _lamp_light(points, normals, lights, opaque)
    pane_light[open_] = _pane_light(points, normals, _panes(surfaces, table), opaque)
    lamps = nodes.spread_out(light)
    penumbra = nodes.active[open_[partly]]
    lamps[penumbra] = nodes.blurred(lamps)[penumbra]  # few rays per bulb: smooth where they disagree
    return lamps, nodes.blurred(nodes.spread_out(pane_light))


def _chunks(count: int) -> list[slice]:
    return [slice(start, min(start + CHUNK, count)) for start in range(0, count, CHUNK)]


def _each_chunk(count: int, work: Callable[[slice], None]) -> None:
    """Process the chunks of range(count) independently and in parallel."""
    chunks = _chunks(count)
    if len(chunks) < 2:
        for part in chunks:
            work(part)
        return
    with closing(in_order(lambda k: work(chunks[k]), len(chunks))) as done:
        for _ in done:
            pass


def _look_around(
    points: Array, normals: Array, caster: Caster, surfaces: Surfaces, charts: Charts, samples: int
) -> NDArray[np.int32]:
    """(N * samples,) node seen by each hemisphere ray."""
    seen = np.zeros(len(points) * samples, np.int32)

    def look(part: slice) -> None:
        count = part.stop - part.start
        rays = np.zeros((count * samples, 6), np.float32)
        spread(bake_kernels.hemisphere_rays, count, points[part], normals[part], part.start, samples, rays)
        hit = caster.cast(rays)
        mine = seen[part.start * samples : part.stop * samples]
        spread(bake_kernels.hit_nodes, len(rays), rays, (hit.t, hit.face), surfaces.planes, charts, mine)

    _each_chunk(len(points), look)
    return seen


def _gathered(seen: NDArray[np.int32], samples: int, radiance: Floats) -> Floats:
    out = np.zeros((len(seen) // samples, 3), np.float32)
    spread(bake_kernels.gather, len(out), seen, samples, radiance, out)
    return out


def _lamp_light(
    points: Array, normals: Array, lights: Sequence[Light], opaque: Caster
) -> tuple[Floats, NDArray[np.bool_]]:
    """Irradiance (N, 3) from lamps, and where it comes only from a part of a bulb (the borders of shadows)."""
    total, partly = np.zeros((len(points), 3), np.float32), np.zeros(len(points), np.bool_)
    table = np.array([[*light.position, *light.intensity] for light in lights], np.float64).reshape(-1, 6)

    def shine(part: slice) -> None:
        capacity = (part.stop - part.start) * len(table) * bake_kernels.BULB_SAMPLES
        rays = bake_kernels.bulb_rays(points[part], normals[part], part.start, table, capacity)
        bake_kernels.add_light(total, partly, part.start, rays, opaque.blocked(rays.segments))

    _each_chunk(len(points), shine)
    return total, partly


def _panes(surfaces: Surfaces, table: MaterialTable) -> Array:
    """(E, 15) the bodies with enough glowing area to light a room, each as a rectangle (see `bake_kernels.pane_rays`)."""
    corners = surfaces.vertices[surfaces.faces]
    area = 0.5 * np.linalg.norm(np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]), axis=1)
    glowing = table.emission[surfaces.face_material] > 0
    albedo = mean_albedo(table)
    panes: list[Array] = []
    for body in np.unique(surfaces.face_body[glowing]):
        mine = np.flatnonzero(glowing & (surfaces.face_body == body))
        facing = np.abs(surfaces.planes[mine, :3] @ surfaces.planes[mine[np.argmax(area[mine])], :3]) > 0.99
        front = area[mine[facing]].sum() / 2  # a pane has two sides
        if front < PANE_AREA:
            continue
        normal = surfaces.planes[mine[facing][0], :3]
        across = np.cross(normal, [0.0, 0.0, 1.0]) if abs(normal[2]) < 0.9 else np.array([1.0, 0.0, 0.0])
        axes = np.stack([across / np.linalg.norm(across), np.cross(normal, across) / np.linalg.norm(across), normal])
        extent = corners[mine[facing]].reshape(-1, 3) @ axes.T
        low, high = extent.min(axis=0), extent.max(axis=0)
        half = (high - low) / 2
        material = surfaces.face_material[mine[facing][0]]
        share = min(1.0, front / (4 * half[0] * half[1]))
        radiance = table.emission[material] * albedo[material] * share
        panes.append(np.concatenate([(low + high) / 2 @ axes, axes[0] * half[0], axes[1] * half[1], normal, radiance]))
    return np.array(panes).reshape(-1, 15)


def _pane_light(points: Array, normals: Array, panes: Array, opaque: Caster) -> Floats:
    total, partly = np.zeros((len(points), 3), np.float32), np.zeros(len(points), np.bool_)

    def shine(part: slice) -> None:
        capacity = (part.stop - part.start) * len(panes) * bake_kernels.PANE_SAMPLES
        if capacity:
            rays = bake_kernels.pane_rays(points[part], normals[part], part.start, panes, capacity)
            bake_kernels.add_light(total, partly, part.start, rays, opaque.blocked(rays.segments))

    _each_chunk(len(points), shine)
    return total


def _sun_light(
    nodes: _Nodes,
    sun_direction: Array,
    config: LightingConfig,
    caster: Caster,
    surfaces: Surfaces,
    table: MaterialTable,
) -> Floats:
    """Sun through window panes: a ray towards it must hit a glowing pane of a window first."""
    to_sun = -np.asarray(sun_direction, dtype=np.float64) / np.linalg.norm(sun_direction)
    is_window = (surfaces.labels[surfaces.face_body] == WINDOW_LABEL) & (table.emission[surfaces.face_material] > 0)
    samples, color = 4, np.array([1.0, 0.9, 0.75], np.float32)
    points, normals = nodes.points, nodes.normals
    total = np.zeros((len(points), 3), np.float32)
    lit = np.flatnonzero(normals @ to_sun > 0.02) if is_window.any() else np.zeros(0, np.int64)
    for part in _chunks(len(lit)):
        mine = lit[part]
        rays = bake_kernels.sun_rays(points[mine], normals[mine], part.start, to_sun, config.step, samples)
        hit = caster.cast(rays)
        through = (np.isfinite(hit.t) & is_window[np.minimum(hit.face, len(is_window) - 1)]).reshape(-1, samples)
        share = through.mean(axis=1) * (normals[mine] @ to_sun) * config.sun
        total[mine] = share[:, None].astype(np.float32) * color
    return total


def probe_light(light: StaticLight, surfaces: Surfaces, caster: Caster, points: Array, samples: int = 96) -> Floats:
    """(P, 6, 3) indirect irradiance in free space at points (P, 3) for surfaces that face +x, -x, +y, -y, +z, -z.

    The light on moving bodies, from rays in all directions (an ambient cube; McTaggart, "Half-Life 2 shading", 2004).
    """
    sides = np.concatenate([np.eye(3), -np.eye(3)])[[0, 3, 1, 4, 2, 5]]
    at, normals = np.repeat(points, 6, axis=0), np.tile(sides, (len(points), 1))
    seen = _look_around(at, normals, caster, surfaces, light.light_map.charts, samples)
    return _gathered(seen, samples, light.radiance).reshape(len(points), 6, 3)
