"""Counters, sinks and kitchen machines."""

from __future__ import annotations

import itertools

import numpy as np
from numpy.random import Generator

from pipelines.synth.base.materials import BLACK, DARK_METAL, METAL, WHITE, Style, lacquer, plain, shade
from pipelines.synth.base.model import Model
from pipelines.synth.base.shapes import block, box, cylinder, loft, rounded_box, tube
from pipelines.synth.base.world import Material
from pipelines.synth.furniture.base import GAP, Builder, replaceable, uniform
from pipelines.synth.furniture.storage import BOARD, carcass, fronts

COUNTER_DEPTH, COUNTER_HEIGHT = 0.62, 0.9
SINK_HOLE = (0.52, 0.4)
"""Width and depth of the cut-out for a kitchen sink in metres."""


def counter(rng: Generator, style: Style, width: float, *, sink: bool = False) -> Model:
    """A run of kitchen base units under a worktop, `width` metres long; with `sink` its top has a cut-out in the middle."""
    b = Builder()
    d, h, top = COUNTER_DEPTH, COUNTER_HEIGHT, 0.04
    depth = d - 0.05
    b.add(style.wood, *(shape.moved(0, -0.025) for shape in carcass((width, depth, h - top - 0.1 - GAP), 0.1)[:3]))
    b.add(
        style.wood, box((-width / 2 + BOARD, -d / 2, 0.1 + BOARD), (width / 2 - BOARD, -d / 2 + 0.008, h - top - GAP))
    )
    b.add(BLACK, block((width - 0.004, depth - 0.06, 0.1 - GAP), (0, -0.045, 0)))
    units = max(1, round(width / 0.6))
    xs = [float(x) for x in np.linspace(-width / 2, width / 2, units + 1)]
    y = -0.025 + depth / 2
    for k in range(units):
        drawers = rng.random() < 0.35
        zs = [0.104, *([0.36, 0.61] if drawers else [0.7]), h - top - 0.004]
        fronts(b, style.front, ([xs[k], xs[k + 1]], zs), y, style.metal)
    stone = _worktop(style)
    x, z0, z1 = width / 2, h - top, h
    if sink:
        sx, sy = SINK_HOLE[0] / 2, SINK_HOLE[1] / 2
        b.add(stone, box((-x, -d / 2, z0), (-sx, d / 2, z1)), box((sx, -d / 2, z0), (x, d / 2, z1)))
        b.add(stone, box((-sx, -d / 2, z0), (sx, -sy, z1)), box((-sx, sy, z0), (sx, d / 2, z1)))
        for s in (-1, 1):
            if x - sx > 0.3:
                span = sorted((s * (sx + 0.06), s * (x - 0.05)))
                b.top((span[0], span[1]), (-d / 2 + 0.04, d / 2 - 0.08), h, 0.45)
    else:
        b.add(stone, box((-x, -d / 2, z0), (x, d / 2, z1)))
        b.top((-x + 0.05, x - 0.05), (-d / 2 + 0.04, d / 2 - 0.08), h, 0.45)
    return b.model("counter", "counter")


def _worktop(style: Style) -> Material:
    dark = sum(style.front.color) > 1.5
    color = (0.16, 0.15, 0.15) if dark else (0.68, 0.66, 0.62)
    texture, scale = ("speckle", 0.006) if style.wood.seed % 2 else ("marble", 0.35)
    return Material(color, shade(color, 2.2 if dark else 0.7), texture, scale, 0.6, 0.35, seed=style.wood.seed)


def kitchen_sink(rng: Generator, style: Style) -> Model:
    """A steel basin that hangs in a worktop's cut-out, with its tap. Its base is the bottom of the basin."""
    b = Builder()
    w, d = SINK_HOLE[0] - 0.006, SINK_HOLE[1] - 0.006
    depth, rim = uniform(rng, 0.16, 0.2), 0.018

    def ring(half_w: float, half_d: float, z: float) -> np.ndarray:
        return np.array([(-half_w, -half_d, z), (half_w, -half_d, z), (half_w, half_d, z), (-half_w, half_d, z)])

    x, y = w / 2, d / 2
    b.add(
        METAL,
        loft(
            [
                ring(x, y, 0.0),
                ring(x, y, depth + GAP),
                ring(x + rim, y + rim, depth + GAP),
                ring(x + rim, y + rim, depth + 0.006),
                ring(x - 0.012, y - 0.012, depth + 0.006),
                ring(x - 0.03, y - 0.03, 0.012),
            ]
        ),
    )
    z = depth + 0.0075
    tap_y = -y - 0.052
    b.add(METAL, cylinder(0.024, z, z + 0.05, 12).moved(0, tap_y))
    arc = [(0.0, tap_y + 0.09 * (1 - np.cos(a)), z + 0.22 + 0.08 * np.sin(a)) for a in np.linspace(0, np.pi * 0.85, 7)]
    b.add(METAL, tube([(0, tap_y, z + 0.045), *arc], 0.011, 8))
    b.add(METAL, tube([(0.02, tap_y, z + 0.035), (0.085, tap_y, z + 0.06)], 0.007, 6))
    return b.model("kitchen sink", "sink")


@replaceable("refrigerator")
def refrigerator(rng: Generator, style: Style) -> Model:
    """A fridge with one or two doors."""
    b = Builder()
    w, d, h = uniform(rng, 0.56, 0.66), uniform(rng, 0.6, 0.68), uniform(rng, 1.5, 1.95)
    body = lacquer(WHITE) if rng.random() < 0.6 else METAL
    b.add(body, rounded_box((w, d - 0.06, h - 0.03), 0.012, 1, (0, -0.03, 0.03)))
    b.add(BLACK, block((w - 0.06, d - 0.12, 0.03), (0, -0.02, 0)))
    splits = [0.05, h * uniform(rng, 0.35, 0.65), h] if rng.random() < 0.75 else [0.05, h]
    for z0, z1 in itertools.pairwise(splits):
        b.add(body, rounded_box((w, 0.055, z1 - z0 - 0.008), 0.014, 1, (0, d / 2 - 0.029, z0 + 0.002)))
        z = z0 + 0.1 if z0 > 0.3 else z1 - 0.45
        b.add(style.metal, box((w / 2 - 0.06, d / 2, z), (w / 2 - 0.04, d / 2 + 0.035, z + 0.32)))
    b.top((-w / 2 + 0.05, w / 2 - 0.05), (-d / 2 + 0.04, d / 2 - 0.14), h, 0.3)
    return b.model("refrigerator", "refrigerator")


def stove(rng: Generator, style: Style) -> Model:
    """A cooker: oven with glass door, knobs and four plates; as deep and high as the counters next to it."""
    b = Builder()
    w, d, h = 0.6, COUNTER_DEPTH, COUNTER_HEIGHT
    body = lacquer(WHITE) if rng.random() < 0.5 else METAL
    b.add(body, box((-w / 2, -d / 2, 0.02), (w / 2, d / 2 - 0.04, h - 0.012)))
    b.add(BLACK, box((-w / 2, -d / 2, h - 0.012 + GAP), (w / 2, d / 2 - 0.03, h)))
    b.add(BLACK, block((w - 0.06, d - 0.1, 0.02 - GAP), (0, -0.02, 0)))
    for x, y, r in ((-0.14, 0.1, 0.09), (0.14, 0.1, 0.075), (-0.14, -0.15, 0.075), (0.14, -0.15, 0.09)):
        b.add(DARK_METAL, cylinder(r, h + 0.0005, h + 0.007, 20).moved(x, y - 0.02))
    face = d / 2 - 0.04 + GAP
    b.add(body, box((-w / 2 + 0.004, face, 0.14), (w / 2 - 0.004, face + 0.022, h - 0.14)))
    b.add(
        plain((0.02, 0.02, 0.025), specular=0.6),
        box((-w / 2 + 0.07, face + 0.0225, 0.24), (w / 2 - 0.07, face + 0.027, h - 0.24)),
    )
    b.add(METAL, box((-w / 2 + 0.06, face + 0.0235, h - 0.2), (w / 2 - 0.06, face + 0.05, h - 0.18)))
    b.add(body, box((-w / 2 + 0.004, face, h - 0.13), (w / 2 - 0.004, face + 0.014, h - 0.016)))
    for x in np.linspace(-0.2, 0.2, 5):
        b.add(BLACK, cylinder(0.018, 0, 0.022, 12).rotated("x", -np.pi / 2).moved(float(x), face + 0.0145, h - 0.075))
    b.top((-0.2, 0.2), (-0.22, 0.12), h + 0.007, 0.4)
    return b.model("stove", "otherfurniture")


def extractor_hood(rng: Generator, style: Style) -> Model:
    """A steel hood over the stove; hangs on the wall."""
    b = Builder()
    w, d = 0.6, uniform(rng, 0.42, 0.5)
    x, y = w / 2, d / 2

    def ring(half: float, front: float, z: float) -> np.ndarray:
        return np.array([(-half, -y, z), (half, -y, z), (half, front, z), (-half, front, z)])

    b.add(METAL, loft([ring(x, y, 0.0), ring(x, y, 0.05), ring(0.13, -y + 0.24, 0.2), ring(0.13, -y + 0.24, 0.55)]))
    return b.model("extractor hood", "otherfurniture")


@replaceable("washing machine")
def dishwasher(rng: Generator, style: Style) -> Model:
    """A front-loading machine for dishes or laundry, with a round window for laundry."""
    b = Builder()
    w, d, h = 0.6, 0.6, uniform(rng, 0.82, 0.86)
    b.add(lacquer(WHITE), rounded_box((w, d - 0.02, h), 0.012, 1, (0, -0.01, 0)))
    face = d / 2 - 0.02 + GAP
    glass = plain((0.05, 0.06, 0.08), specular=0.6)
    b.add(METAL, cylinder(0.19, 0, 0.02, 28).rotated("x", -np.pi / 2).moved(0, face, h * 0.45))
    b.add(glass, cylinder(0.145, 0, 0.008, 28).rotated("x", -np.pi / 2).moved(0, face + 0.0205, h * 0.45))
    b.add(plain((0.3, 0.32, 0.34)), box((-w / 2 + 0.05, face, h - 0.1), (-0.02, face + 0.006, h - 0.03)))
    b.add(METAL, cylinder(0.028, 0, 0.02, 16).rotated("x", -np.pi / 2).moved(w / 2 - 0.1, face, h - 0.065))
    b.top((-w / 2 + 0.04, w / 2 - 0.04), (-d / 2 + 0.04, d / 2 - 0.08), h, 0.5)
    return b.model("washing machine", "otherfurniture")
