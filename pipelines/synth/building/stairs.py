"""Flights of stairs and the railings around their holes, as closed solids in the building frame."""

from __future__ import annotations

import itertools

import numpy as np

from pipelines.synth.base.materials import Style
from pipelines.synth.base.plan import Construction, StairPlan
from pipelines.synth.base.shapes import Shape, box, extrude_x, merge, tube
from pipelines.synth.base.world import Material

GAP = 0.002
SOFFIT = 0.16
"""Thickness of a flight's waist in metres, measured upright."""


def stair_parts(
    stair: StairPlan, z: float, construction: Construction, style: Style, *, solid: bool
) -> list[tuple[Shape, Material]]:
    """The flight that starts on the floor at z: solid down to the floor, or with a sloping underside and an open space below."""
    rise = construction.storey_height / stair.steps
    tread = (stair.x1 - stair.x0) / (stair.steps - 1)
    y0, y1 = stair.y0 + 0.03, stair.y1 - GAP
    blocks = []
    for k in range(stair.steps - 1):
        a, b = stair.x0 + k * tread, stair.x0 + (k + 1) * tread - (GAP if k == stair.steps - 2 else 0.0)
        top = z + (k + 1) * rise
        low_a = max(z + GAP, top - rise - SOFFIT)
        low_b = max(z + GAP, top - SOFFIT)
        if solid:
            low_a = low_b = z + GAP
        # A step seen from the side; extruded along x it is turned so that its profile lies in the x-z plane.
        profile = [(a, low_a), (b, low_b), (b, top), (a, top)]
        blocks.append(_along_y(profile, y0, y1))
    rail_height = 0.92
    start, end = stair.x0 + tread / 2, stair.x1 - tread / 2
    slope = rise / tread
    rails = []
    posts = np.linspace(start, end, 5)
    y = y0 + 0.03
    for x in posts:
        step = min(int((x - stair.x0) / tread), stair.steps - 2)
        foot = z + (step + 1) * rise
        top = z + rise + (x - stair.x0) * slope + rail_height
        rails.append(tube([(x, y, foot + GAP), (x, y, top)], 0.014, 8))
    ends = [(x, y, z + rise + (x - stair.x0) * slope + rail_height) for x in (start, end)]
    rails.append(tube(ends, 0.022, 10))
    return [(merge(blocks), style.second_wood), (merge(rails), style.metal)]


def _along_y(profile_xz: list[tuple[float, float]], y0: float, y1: float) -> Shape:
    """A convex profile of (x, z), counter-clockwise seen from -y, extruded along y."""
    shape = extrude_x([(x, z) for x, z in profile_xz], -y1, -y0)  # x <- -y, y <- x, z <- z
    v = shape.vertices
    return Shape(np.ascontiguousarray(np.column_stack((v[:, 1], -v[:, 0], v[:, 2]))), shape.faces)


def railing_parts(stair: StairPlan, z: float, style: Style, *, open_end: bool) -> list[tuple[Shape, Material]]:
    """Balusters and a handrail around the hole in the floor at z; `open_end` leaves its foot end free for the next flight."""
    height, y = 0.95, stair.y0 - 0.04
    corners = [(stair.hole_x0 - 0.04, y), (stair.x1, y)]
    if not open_end:
        corners.insert(0, (stair.hole_x0 - 0.04, stair.y1 - 0.03))
    bars: list[Shape] = []
    for p, q in itertools.pairwise(corners):
        start, end = np.array(p), np.array(q)
        count = max(2, round(float(np.linalg.norm(end - start)) / 0.14))
        for k in range(count):
            x, v = start + (end - start) * (k + 0.5) / count
            bars.append(tube([(x, v, z + GAP), (x, v, z + height - 0.02)], 0.008, 6))
    posts = [box((x - 0.02, v - 0.02, z + GAP), (x + 0.02, v + 0.02, z + height + 0.01)) for x, v in corners]
    rail = []
    for p, q in itertools.pairwise(corners):
        along = (np.array(q) - p) / np.linalg.norm(np.array(q) - p)
        a, b = np.array(p) + 0.02 * along, np.array(q) - 0.02 * along
        rail.append(tube([(*a, z + height - 0.02), (*b, z + height - 0.02)], 0.022, 8))
    return [(merge(bars), style.metal), (merge([*posts, *rail]), style.second_wood)]
