"""Wardrobes, cabinets, dressers, bookshelves, shelves and boards on the wall."""

from __future__ import annotations

import itertools

import numpy as np
from numpy.random import Generator

from pipelines.synth.base.materials import Style
from pipelines.synth.base.model import Model
from pipelines.synth.base.shapes import Shape, block, box, cylinder, rounded_box
from pipelines.synth.base.world import Material
from pipelines.synth.furniture.base import GAP, Builder, legs, replaceable, uniform

BOARD = 0.018


def fronts(b: Builder, material: Material, grid: tuple[list[float], list[float]], y: float, handle: Material) -> None:
    """Door or drawer fronts between the lines of a grid (xs, zs) on the plane y, each with a handle; they face +y."""
    xs, zs = grid
    for x0, x1 in itertools.pairwise(xs):
        for z0, z1 in itertools.pairwise(zs):
            b.add(material, box((x0 + 0.002, y + GAP, z0 + 0.002), (x1 - 0.002, y + 0.018, z1 - 0.002)))
            face = y + 0.018 + GAP
            if z1 - z0 > x1 - x0:  # a door: an upright handle on the side of its neighbour
                x = x1 - 0.04 if (xs.index(x0) % 2 == 0) else x0 + 0.04
                z = (z0 + z1) / 2 if z0 < 0.5 else z0 + 0.12
                b.add(handle, box((x - 0.006, face, z - 0.07), (x + 0.006, face + 0.022, z + 0.07)))
            else:
                x, z = (x0 + x1) / 2, (z0 + z1) / 2
                half = min(0.08, (x1 - x0) / 4)
                b.add(handle, box((x - half, face, z - 0.006), (x + half, face + 0.022, z + 0.006)))


def carcass(size: tuple[float, float, float], z: float) -> list[Shape]:
    """Sides, bottom, top and back of an open cupboard (w, d, h) that stands at z, open towards +y."""
    w, d, h = size
    x, y = w / 2, d / 2
    return [
        box((-x, -y, z), (-x + BOARD, y, z + h)),
        box((x - BOARD, -y, z), (x, y, z + h)),
        box((-x + BOARD, -y, z), (x - BOARD, y, z + BOARD)),
        box((-x + BOARD, -y, z + h - BOARD), (x - BOARD, y, z + h)),
        box((-x + BOARD, -y, z + BOARD), (x - BOARD, -y + 0.008, z + h - BOARD)),
    ]


@replaceable("wardrobe")
def wardrobe(rng: Generator, style: Style) -> Model:
    """A tall cupboard with two to four doors."""
    b = Builder()
    doors = int(rng.integers(2, 5))
    w, d, h = doors * uniform(rng, 0.42, 0.5), uniform(rng, 0.52, 0.6), uniform(rng, 1.85, 2.2)
    body = h - 0.08
    b.add(style.wood, block((w - 0.02, d - 0.06, 0.08), (0, -0.01, 0)))
    b.add(style.wood, block((w, d - 0.02, body), (0, -0.01, 0.08)))
    xs = [float(x) for x in np.linspace(-w / 2, w / 2, doors + 1)]
    fronts(b, style.front, (xs, [0.1, h - 0.01]), d / 2 - 0.02, style.metal)
    b.top((-w / 2 + 0.05, w / 2 - 0.05), (-d / 2 + 0.05, d / 2 - 0.1), h, 0.25)
    return b.model("wardrobe", "cabinet")


def sideboard(rng: Generator, style: Style) -> Model:
    """A long low cabinet on feet with doors and drawers."""
    b = Builder()
    w, d, h = uniform(rng, 1.1, 1.7), uniform(rng, 0.38, 0.45), uniform(rng, 0.7, 0.85)
    foot = uniform(rng, 0.08, 0.16)
    b.add(style.wood, *legs(lambda x, y: cylinder(0.014, 0, foot, 10, 0.02).moved(x, y), w / 2 - 0.08, d / 2 - 0.07))
    b.add(style.wood, block((w, d - 0.02, h - foot), (0, -0.01, foot)))
    third = w / 3
    z0, z1 = foot + 0.012, h - 0.015
    fronts(b, style.front, ([-w / 2 + 0.006, -w / 2 + third], [z0, z1]), d / 2 - 0.02, style.metal)
    fronts(b, style.front, ([w / 2 - third, w / 2 - 0.006], [z0, z1]), d / 2 - 0.02, style.metal)
    zs = [float(z) for z in np.linspace(z0, z1, 4)]
    fronts(b, style.front, ([-w / 2 + third, w / 2 - third], zs), d / 2 - 0.02, style.metal)
    b.top((-w / 2 + 0.05, w / 2 - 0.05), (-d / 2 + 0.04, d / 2 - 0.06), h)
    return b.model("sideboard", "cabinet")


@replaceable("tv stand")
def tv_stand(rng: Generator, style: Style) -> Model:
    """A low bench with an open compartment for devices between two doors."""
    b = Builder()
    w, d, h = uniform(rng, 1.0, 1.8), uniform(rng, 0.38, 0.45), uniform(rng, 0.42, 0.55)
    b.add(style.wood, *carcass((w, d - 0.02, h - 0.05), 0.05))
    b.add(style.wood, block((w - 0.1, d - 0.1, 0.05), (0, -0.02, 0)))
    third = w / 3
    inner_y = (d - 0.02) / 2
    for s in (-1, 1):
        x = s * (w / 2 - third)
        b.add(style.wood, box((x - 0.009, -inner_y + 0.008, 0.05 + BOARD), (x + 0.009, inner_y, h - BOARD)))
        xs = sorted((s * (w / 2 - third), s * (w / 2 - 0.004)))
        fronts(b, style.front, (xs, [0.056, h - 0.004]), inner_y, style.metal)
    b.top((-w / 2 + third + 0.03, w / 2 - third - 0.03), (-inner_y + 0.05, inner_y - 0.04), 0.05 + BOARD, h - 0.12)
    b.top((-w / 2 + 0.04, w / 2 - 0.04), (-inner_y + 0.03, inner_y - 0.03), h)
    return b.model("tv stand", "cabinet")


@replaceable("dresser")
def dresser(rng: Generator, style: Style) -> Model:
    """A chest of drawers."""
    b = Builder()
    w, d, h = uniform(rng, 0.8, 1.3), uniform(rng, 0.42, 0.5), uniform(rng, 0.78, 1.1)
    foot = uniform(rng, 0.05, 0.14)
    b.add(style.wood, *legs(lambda x, y: block((0.045, 0.045, foot), (x, y, 0)), w / 2 - 0.03, d / 2 - 0.05))
    b.add(style.wood, block((w - 0.01, d - 0.03, h - foot - 0.022), (0, -0.015, foot)))
    b.add(style.wood, rounded_box((w, d, 0.022), 0.005, 1, (0, 0, h - 0.022)))
    rows = int(rng.integers(3, 6))
    zs = [float(z) for z in np.linspace(foot + 0.01, h - 0.03, rows + 1)]
    columns = 2 if w > 1.0 else 1
    xs = [float(x) for x in np.linspace(-w / 2 + 0.012, w / 2 - 0.012, columns + 1)]
    fronts(b, style.front, (xs, zs), d / 2 - 0.03, style.metal)
    b.top((-w / 2 + 0.04, w / 2 - 0.04), (-d / 2 + 0.03, d / 2 - 0.05), h)
    return b.model("dresser", "dresser")


@replaceable("filing cabinet")
def filing_cabinet(rng: Generator, style: Style) -> Model:
    """A steel cabinet of drawers for the office."""
    b = Builder()
    w, d, h = 0.42, uniform(rng, 0.5, 0.6), uniform(rng, 0.7, 1.3)
    b.add(style.metal, block((w, d - 0.02, h), (0, -0.01, 0)))
    zs = [float(z) for z in np.linspace(0.03, h - 0.02, round(h / 0.32) + 1)]
    fronts(b, style.metal, ([-w / 2 + 0.008, w / 2 - 0.008], zs), d / 2 - 0.02, style.second_wood)
    b.top((-w / 2 + 0.03, w / 2 - 0.03), (-d / 2 + 0.03, d / 2 - 0.05), h)
    return b.model("filing cabinet", "cabinet")


@replaceable("full bookcase")
def bookshelf(rng: Generator, style: Style) -> Model:
    """An open bookcase with a back; the books are bodies of their own and stand on its boards."""
    b = Builder()
    w, d, h = uniform(rng, 0.7, 1.1), uniform(rng, 0.26, 0.32), uniform(rng, 1.5, 2.05)
    b.add(style.wood, *carcass((w, d, h - 0.05), 0.05))
    b.add(style.wood, block((w - 0.02, d - 0.04, 0.05), (0, 0, 0)))
    _boards(b, style, (w, d, h), round((h - 0.05) / 0.34))
    return b.model("bookcase", "bookshelf")


def _boards(b: Builder, style: Style, size: tuple[float, float, float], count: int) -> None:
    w, d, h = size
    levels = np.linspace(0.05, h - BOARD, count + 1)
    for k in range(count):
        z = float(levels[k])
        if k > 0:
            b.add(style.wood, box((-w / 2 + BOARD, -d / 2 + 0.008, z), (w / 2 - BOARD, d / 2 - 0.004, z + BOARD)))
        room = float(levels[k + 1]) - z - BOARD
        b.top((-w / 2 + 0.03, w / 2 - 0.03), (-d / 2 + 0.02, d / 2 - 0.02), z + BOARD, room)


@replaceable("filled rack")
def open_shelves(rng: Generator, style: Style) -> Model:
    """A light rack of boards between posts, open on all sides."""
    b = Builder()
    w, d, h = uniform(rng, 0.7, 1.1), uniform(rng, 0.3, 0.42), uniform(rng, 1.2, 1.85)
    b.add(style.metal, *legs(lambda x, y: block((0.025, 0.025, h), (x, y, 0)), w / 2 - 0.0125, d / 2 - 0.0125))
    count = int(rng.integers(3, 6))
    levels = [float(z) for z in np.linspace(0.1, h - 0.06, count)]
    for k, z in enumerate(levels):
        b.add(style.second_wood, box((-w / 2 + 0.026, -d / 2 + 0.002, z), (w / 2 - 0.026, d / 2 - 0.002, z + 0.02)))
        headroom = levels[k + 1] - z - 0.02 if k + 1 < count else 0.4
        b.top((-w / 2 + 0.04, w / 2 - 0.04), (-d / 2 + 0.03, d / 2 - 0.03), z + 0.02, headroom)
    return b.model("rack", "shelves")


def wall_shelf(rng: Generator, style: Style) -> Model:
    """A board on two brackets; hangs on the wall."""
    b = Builder()
    w, d = uniform(rng, 0.6, 1.1), uniform(rng, 0.18, 0.26)
    b.add(style.wood, block((w, d, 0.025), (0, 0, 0.12)))
    for s in (-1, 1):
        x = s * (w / 2 - 0.1)
        b.add(style.metal, block((0.02, 0.012, 0.12), (x, -d / 2 + 0.006, 0)))
        b.add(style.metal, block((0.02, d - 0.05, 0.012), (x, -0.019, 0.107)))
    b.top((-w / 2 + 0.03, w / 2 - 0.03), (-d / 2 + 0.02, d / 2 - 0.02), 0.145, 0.35)
    return b.model("wall shelf", "shelves")


def wall_cabinet(rng: Generator, style: Style) -> Model:
    """A kitchen or bathroom cabinet that hangs on the wall."""
    b = Builder()
    doors = int(rng.integers(1, 4))
    w, d, h = doors * uniform(rng, 0.38, 0.45), uniform(rng, 0.3, 0.35), uniform(rng, 0.55, 0.72)
    b.add(style.wood, block((w, d - 0.02, h), (0, -0.01, 0)))
    xs = [float(x) for x in np.linspace(-w / 2, w / 2, doors + 1)]
    fronts(b, style.front, (xs, [0.0, h]), d / 2 - 0.02, style.metal)
    return b.model("wall cabinet", "cabinet")


def coat_rack(rng: Generator, style: Style) -> Model:
    """A board with hooks on the wall; clothes hang below it."""
    b = Builder()
    w = uniform(rng, 0.5, 0.8)
    b.add(style.wood, block((w, 0.02, 0.09), (0, 0, 0)))
    for x in np.linspace(-w / 2 + 0.08, w / 2 - 0.08, 4):
        b.add(style.metal, box((float(x) - 0.008, 0.0115, 0.03), (float(x) + 0.008, 0.06, 0.042)))
        b.add(style.metal, box((float(x) - 0.008, 0.048, 0.0435), (float(x) + 0.008, 0.06, 0.06)))
    return b.model("coat rack", "otherfurniture")
