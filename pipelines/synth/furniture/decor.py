"""Decoration on walls, at windows and on ceilings, lamps, rugs and plants."""

from __future__ import annotations

import numpy as np
from numpy.random import Generator

from pipelines.synth.base.materials import (
    BLACK,
    BRIGHTS,
    CLOTHS,
    METAL,
    MIRROR,
    WHITE,
    Style,
    cloth,
    lacquer,
    pick,
    plain,
    shade,
)
from pipelines.synth.base.model import Model
from pipelines.synth.base.shapes import blade, block, box, cylinder, lathe, ribbon, ring, rounded_box, sphere, tube
from pipelines.synth.base.world import Material
from pipelines.synth.furniture.base import GAP, Builder, choose, replaceable, uniform

GLOW = plain((1.0, 0.93, 0.8), emission=3.0)


def _framed(b: Builder, size: tuple[float, float], bar: float, frame: Material, face: Material) -> None:
    """A flat panel (w, h) with a frame of a bar's width around it, hanging in the x-z plane; its back is at y = 0."""
    w, h = size
    depth = 0.022
    b.add(frame, box((-w / 2, 0, 0), (w / 2, depth, bar)), box((-w / 2, 0, h - bar), (w / 2, depth, h)))
    b.add(
        frame,
        box((-w / 2, 0, bar), (-w / 2 + bar, depth, h - bar)),
        box((w / 2 - bar, 0, bar), (w / 2, depth, h - bar)),
    )
    b.add(face, box((-w / 2 + bar + GAP, 0.002, bar + GAP), (w / 2 - bar - GAP, depth - 0.008, h - bar - GAP)))


def picture(rng: Generator, style: Style) -> Model:
    """A framed painting or poster."""
    b = Builder()
    w, h = uniform(rng, 0.3, 1.0), uniform(rng, 0.3, 0.8)
    colors = [pick(rng, BRIGHTS), pick(rng, BRIGHTS)]
    paint = Material(
        colors[0], colors[1], "painting", round(uniform(rng, 1.4, 2.2) * h, 3), 1.0, seed=int(rng.integers(1 << 16))
    )
    frame = (style.wood, style.second_wood, BLACK, lacquer(WHITE))[int(rng.integers(4))]
    _framed(b, (w, h), uniform(rng, 0.012, 0.045), frame, paint)
    return b.model("picture", "picture")


def mirror(rng: Generator, style: Style) -> Model:
    """A framed wall mirror, shown as a bright grey plane (it does not reflect)."""
    b = Builder()
    w, h = uniform(rng, 0.4, 0.75), uniform(rng, 0.55, 1.0)
    _framed(b, (w, h), uniform(rng, 0.02, 0.04), style.metal if rng.random() < 0.5 else style.wood, MIRROR)
    return b.model("mirror", "mirror")


def whiteboard(rng: Generator, style: Style) -> Model:
    """A whiteboard with an aluminium edge and a pen tray."""
    b = Builder()
    w, h = uniform(rng, 0.9, 1.6), uniform(rng, 0.7, 1.0)
    _framed(b, (w, h), 0.018, METAL, lacquer((0.84, 0.84, 0.83)))
    b.add(METAL, box((-w / 4, 0.0235, 0.002), (w / 4, 0.075, 0.012)))
    b.add(lacquer((0.1, 0.2, 0.6)), block((0.12, 0.014, 0.014), (0.03, 0.05, 0.0125)))
    return b.model("whiteboard", "whiteboard")


def curtain(rng: Generator, style: Style, width: float, drop: float) -> Model:
    """A pair of wavy curtains on a rail over a window, `width` by `drop` metres."""
    b = Builder()
    color = shade(style.cloth if rng.random() < 0.5 else pick(rng, CLOTHS), 1.5)
    fabric = cloth(rng, color, texture=choose(rng, ("fabric", "stripes", "plain")), scale=0.15)
    share = uniform(rng, 0.16, 0.3)
    for s in (-1, 1):
        x0, x1 = sorted((s * width / 2, s * (width / 2 - share * width)))
        folds = max(2, round((x1 - x0) / 0.085))
        t = np.linspace(0, 1, folds * 8 + 1)
        path = np.column_stack((x0 + (x1 - x0) * t, 0.024 * np.sin(2 * np.pi * folds * t)))
        b.add(fabric, ribbon(path, 0.003, 0.0, drop - 0.03))
    rail = tube([(-width / 2 - 0.06, 0, drop), (width / 2 + 0.06, 0, drop)], 0.011, 8)
    b.add(style.metal, rail, *(sphere(0.02, (s * (width / 2 + 0.065), 0, drop), 10) for s in (-1, 1)))
    return b.model("curtain", "curtain")


def blinds(rng: Generator, style: Style, width: float, drop: float) -> Model:
    """Slatted blinds, `width` metres wide and lowered by `drop` metres, with their head rail."""
    b = Builder()
    material = lacquer(WHITE) if rng.random() < 0.6 else style.wood
    pitch = 0.042
    angle = uniform(rng, 0.25, 0.75)
    count = max(2, int((drop - 0.05) / pitch))
    for k in range(count):
        slat = block((width, 0.038, 0.0025)).rotated("x", angle)
        b.add(material, slat.moved(0, 0, drop - 0.06 - k * pitch))
    b.add(material, block((width, 0.045, 0.035), (0, 0, drop - 0.035)))
    b.add(material, block((width, 0.03, 0.014), (0, 0, drop - 0.06 - count * pitch)))
    return b.model("blinds", "blinds")


def rug(rng: Generator, style: Style, width: float, depth: float) -> Model:
    """A rectangular rug, 8 to 14 mm thick."""
    b = Builder()
    color = pick(rng, CLOTHS)
    fabric = cloth(rng, color, texture=choose(rng, ("carpet", "rug", "rug", "stripes")), scale=uniform(rng, 0.25, 0.5))
    thickness = uniform(rng, 0.008, 0.014)
    border = cloth(rng, shade(fabric.color, 0.6), texture="carpet")
    edge = 0.08 if min(width, depth) > 0.9 else 0.04
    x, y = width / 2, depth / 2
    b.add(border, box((-x, -y, 0), (x, -y + edge, thickness)), box((-x, y - edge, 0), (x, y, thickness)))
    b.add(border, box((-x, -y + edge, 0), (-x + edge, y - edge, thickness)))
    b.add(border, box((x - edge, -y + edge, 0), (x, y - edge, thickness)))
    b.add(fabric, box((-x + edge, -y + edge, 0), (x - edge, y - edge, thickness)))
    b.top((-x, x), (-y, y), thickness, 2.0)
    return b.model("rug", "floor_mat")


def ceiling_lamp(rng: Generator, style: Style) -> Model:
    """A dome close to the ceiling or a pendant."""
    return dome_lamp(rng, style) if rng.random() < 0.5 else pendant_lamp(rng, style)


def dome_lamp(rng: Generator, style: Style) -> Model:
    """A glowing glass dome under a metal plate."""
    b = Builder()
    r = uniform(rng, 0.16, 0.24)
    b.add(GLOW, lathe([(r * 0.35, 0.0), (r * 0.75, 0.02), (r, 0.07), (r, 0.085)], 28))
    b.add(style.metal, cylinder(r * 0.7, 0.0855, 0.1, 24))
    return b.model("ceiling lamp", "lamp")


def pendant_lamp(rng: Generator, style: Style) -> Model:
    """A shade open below, around a bulb on a cable."""
    b = Builder()
    r, drop = uniform(rng, 0.13, 0.2), uniform(rng, 0.22, 0.4)
    shade_color = lacquer(style.accent) if rng.random() < 0.5 else style.metal
    shell = [
        (r, 0.0),
        (r * 0.95, 0.05),
        (r * 0.5, 0.14),
        (0.03, 0.17),
        (0.025, 0.165),
        (r * 0.45, 0.125),
        (r * 0.88, 0.045),
    ]
    b.add(shade_color, ring([*shell, (r - 0.006, 0.0)]))
    b.add(GLOW, sphere(0.045, (0, 0, 0.085), 14))
    b.add(BLACK, cylinder(0.003, 0.13, drop + 0.17, 6), cylinder(0.045, drop + 0.1705, drop + 0.195, 16))
    return b.model("pendant lamp", "lamp")


def floor_lamp(rng: Generator, style: Style) -> Model:
    """A standing lamp with a cloth shade."""
    b = Builder()
    h = uniform(rng, 1.45, 1.75)
    r = uniform(rng, 0.16, 0.22)
    b.add(style.metal, lathe([(0.15, 0.0), (0.15, 0.012), (0.03, 0.03)], 24), cylinder(0.012, 0.03, h - 0.2, 10))
    _lamp_shade(rng, b, r, h - 0.28, h)
    return b.model("floor lamp", "lamp")


def table_lamp(rng: Generator, style: Style) -> Model:
    """A small lamp with a turned foot."""
    b = Builder()
    h, r = uniform(rng, 0.34, 0.48), uniform(rng, 0.1, 0.15)
    base = lacquer(style.accent) if rng.random() < 0.5 else style.metal
    profile = [(0.065, 0.0), (0.07, 0.015), (0.03, 0.05), (0.05, 0.12), (0.045, 0.17), (0.012, 0.21), (0.012, h - 0.1)]
    b.add(base, lathe(profile, 20))
    _lamp_shade(rng, b, r, h - 0.17, h)
    return b.model("table lamp", "lamp")


def _lamp_shade(rng: Generator, b: Builder, r: float, z0: float, z1: float) -> None:
    """A glowing cloth shade, open below and above, around a bulb."""
    fabric = Material((0.95, 0.86, 0.68), texture="plain", emission=0.8)
    top = r * uniform(rng, 0.6, 0.95)
    profile = [(r, z0), (top, z1), (top - 0.004, z1), (r - 0.004, z0)]
    b.add(fabric, ring(profile))
    b.add(plain((1.0, 0.92, 0.76), emission=3.0), sphere(0.03, (0, 0, (z0 + z1) / 2 - 0.02), 10))
    z = (z0 + z1) / 2 + 0.03
    b.add(METAL, tube([(-top + 0.004, 0, z), (top - 0.004, 0, z)], 0.003, 5), cylinder(0.012, z0 - 0.08, z - 0.0505, 8))


def desk_lamp(rng: Generator, style: Style) -> Model:
    """A jointed work lamp."""
    b = Builder()
    color = lacquer(style.accent) if rng.random() < 0.6 else METAL
    b.add(color, cylinder(0.075, 0, 0.02, 22))
    b.add(METAL, tube([(0, -0.02, 0.018), (0, -0.12, 0.22), (0, 0.06, 0.38)], 0.007, 8))
    head = lathe([(0.065, 0.0), (0.03, 0.09), (0.018, 0.1)], 18).rotated("x", 0.35)
    b.add(color, head.moved(0, 0.1, 0.3))
    return b.model("desk lamp", "lamp")


@replaceable("plant")
def plant(rng: Generator, style: Style) -> Model:
    """A potted plant for the floor, 0.6 to 1.4 m high."""
    return _plant(rng, style, uniform(rng, 0.6, 1.35), uniform(rng, 0.13, 0.19), "plant")


@replaceable("small plant")
def small_plant(rng: Generator, style: Style) -> Model:
    """A potted plant for sills and tables."""
    return _plant(rng, style, uniform(rng, 0.2, 0.34), uniform(rng, 0.055, 0.08), "small plant")


def _plant(rng: Generator, style: Style, height: float, r: float, name: str) -> Model:
    b = Builder()
    pot_height = min(1.7 * r, 0.45 * height)
    pot = lacquer(pick(rng, BRIGHTS)) if rng.random() < 0.5 else plain((0.52, 0.26, 0.15))
    profile = [
        (r * 0.72, 0.0),
        (r * 0.95, pot_height),
        (r, pot_height),
        (r, pot_height + 0.01),
        (r * 0.86, pot_height + 0.01),
    ]
    b.add(pot, lathe([*profile, (r * 0.84, pot_height * 0.85)], 22))
    b.add(plain((0.08, 0.05, 0.03)), cylinder(r * 0.8, pot_height * 0.86, pot_height * 0.93, 18))
    base = pot_height * 0.9
    green = (
        shade((0.10, 0.30, 0.07), uniform(rng, 0.7, 1.4)),
        shade((0.20, 0.36, 0.12), uniform(rng, 0.7, 1.3)),
    )
    leafy = [Material(g, shade(g, 0.55), "leaves", 0.05, 0.7, 0.12, seed=int(rng.integers(1 << 16))) for g in green]
    tall = height - base
    if rng.random() < 0.5:  # sword-shaped leaves from the ground
        for k in range(int(rng.integers(9, 16))):
            angle, lean = rng.uniform(0, 2 * np.pi), rng.uniform(0.1, 0.75)
            reach = tall * rng.uniform(0.65, 1.0)
            t = np.linspace(0, 1, 6)
            out = 0.03 + 0.55 * min(lean, 0.9) * reach * t**2
            up = base + reach * (t - 0.25 * lean * t**3)
            path = np.column_stack((out * np.cos(angle), out * np.sin(angle), np.minimum(up, height)))
            widths = 0.16 * r + 0.5 * r * np.sin(np.pi * np.clip(t * 0.92 + 0.04, 0, 1))
            b.add(leafy[k % 2], blade(path, widths, 0.006))
    else:  # stems with leaves
        stems = int(rng.integers(3, 6))
        for _ in range(stems):
            angle, reach = rng.uniform(0, 2 * np.pi), tall * rng.uniform(0.6, 0.92)
            tip = np.array([0.9 * r * np.cos(angle), 0.9 * r * np.sin(angle), base + reach])
            foot = np.array([0.25 * r * np.cos(angle), 0.25 * r * np.sin(angle), base - 0.01])
            b.add(plain((0.18, 0.13, 0.06)), tube([foot, (foot + tip) / 2 + [0, 0, 0.02], tip], 0.035 * r + 0.003, 6))
            for k in range(6):
                at = foot + (tip - foot) * (0.35 + 0.65 * k / 5)
                turn = angle + 2.4 * k
                t = np.linspace(0, 1, 5)
                length = rng.uniform(0.55, 0.95) * min(1.3 * r + 0.04, 0.22)
                path = at + np.column_stack(
                    (np.cos(turn) * length * t, np.sin(turn) * length * t, 0.3 * length * (t - 1.4 * t**2))
                )
                b.add(leafy[k % 2], blade(path, 0.012 + 0.5 * length * np.sin(np.pi * (0.06 + 0.88 * t)), 0.005))
    return b.model(name, "otherprop")


@replaceable("radiator")
def radiator(rng: Generator, style: Style) -> Model:
    """A ribbed radiator on the wall below a window."""
    b = Builder()
    w, h = uniform(rng, 0.6, 1.1), uniform(rng, 0.45, 0.55)
    count = round(w / 0.06)
    for k in range(count):
        x = (k - (count - 1) / 2) * 0.06
        b.add(lacquer(WHITE), rounded_box((0.045, 0.08, h), 0.015, 1, (x, 0, 0)))
    for z in (0.06, h - 0.06):
        b.add(lacquer(WHITE), block((w - 0.05, 0.03, 0.03), (0, 0, z - 0.015)))
    return b.model("radiator", "otherfurniture")


def wall_clock(rng: Generator, style: Style) -> Model:
    """A round clock."""
    b = Builder()
    r = uniform(rng, 0.12, 0.18)
    face = cylinder(r - 0.012, 0.0, 0.026, 28).rotated("x", -np.pi / 2).moved(0, 0.002, r)
    rim = [(r - 0.0115, 0.0), (r, 0.0), (r, 0.03), (r - 0.0115, 0.03)]
    b.add(BLACK, ring(rim).rotated("x", -np.pi / 2).moved(0, 0.0, r))
    b.add(plain((0.82, 0.82, 0.8)), face)
    b.add(
        BLACK,
        box((-0.004, 0.0285, r), (0.004, 0.031, r + 0.7 * r)),
        box((0.0045, 0.0285, r - 0.004), (0.5 * r, 0.031, r + 0.004)),
    )
    return b.model("clock", "otherprop")
