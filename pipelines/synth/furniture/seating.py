"""Chairs, sofas, stools and benches."""

from __future__ import annotations

import numpy as np
from numpy.random import Generator

from pipelines.synth.base.materials import BLACK, CLOTHS, DARK_METAL, METAL, Style, cloth, lacquer, pick
from pipelines.synth.base.model import Model
from pipelines.synth.base.shapes import block, box, cushion, cylinder, lathe, rounded_box, sphere, tube
from pipelines.synth.furniture.base import Builder, choose, legs, replaceable, uniform


@replaceable("dining chair")
def dining_chair(rng: Generator, style: Style) -> Model:
    """Four legs, a seat with or without upholstery, and a back of slats, spindles or one panel."""
    b = Builder()
    w, d = uniform(rng, 0.41, 0.47), uniform(rng, 0.42, 0.48)
    seat, top = uniform(rng, 0.44, 0.46), uniform(rng, 0.82, 0.95)
    leg = 0.034
    wood = style.wood
    hw, hd = w / 2 - leg / 2, d / 2 - leg / 2
    b.add(wood, *(block((leg, leg, seat - 0.03), (sx * hw, hd, 0)) for sx in (-1, 1)))
    lean = uniform(rng, 0.02, 0.06)
    for sx in (-1, 1):
        x = sx * hw
        b.add(wood, block((leg, leg, seat - 0.03), (x, -hd, 0)))
        b.add(wood, tube([(x, -hd, seat - 0.05), (x, -hd - lean, top)], 0.017, 6))
    b.add(wood, box((-hw, hd - 0.012, seat - 0.09), (hw, hd + 0.012, seat - 0.03)))
    b.add(wood, *(box((sx * hw - 0.01, -hd, seat - 0.09), (sx * hw + 0.01, hd, seat - 0.03)) for sx in (-1, 1)))
    if rng.random() < 0.5:
        b.add(wood, rounded_box((w, d, 0.022), 0.008, 1, (0, 0, seat - 0.028)))
    else:
        b.add(wood, block((w - 0.01, d - 0.01, 0.012), (0, 0, seat - 0.03)))
        b.add(cloth(rng, style.cloth), cushion((w - 0.005, d - 0.02, 0.055), (0, 0.005, seat - 0.02), 6.0))
    kind = choose(rng, ("slats", "spindles", "panel"))

    def lean_at(z: float) -> float:
        return -hd - lean * (z - seat + 0.05) / (top - seat + 0.05)

    if kind == "slats":
        for z in np.linspace(seat + 0.16, top - 0.06, 3):
            b.add(wood, block((w - leg, 0.014, 0.05), (0, lean_at(float(z)), float(z) - 0.025)))
    elif kind == "spindles":
        b.add(wood, block((w - leg, 0.022, 0.05), (0, lean_at(top - 0.03), top - 0.055)))
        for x in np.linspace(-hw + 0.07, hw - 0.07, 5):
            b.add(wood, tube([(float(x), -hd, seat - 0.01), (float(x), lean_at(top - 0.05), top - 0.05)], 0.007, 6))
    else:
        z0, z1 = seat + 0.14, top - 0.01
        panel = rounded_box((w - leg, 0.018, z1 - z0), 0.006).rotated("x", lean / (top - seat + 0.05))
        b.add(wood, panel.moved(0, lean_at(z0), z0))
    return b.model("dining chair", "chair")


def swivel_chair(rng: Generator, style: Style) -> Model:
    """An office chair: five castors on a star, a gas spring, padded seat and back, armrests on some."""
    b = Builder()
    dark = BLACK if rng.random() < 0.7 else METAL
    for k in range(5):
        angle = 2 * np.pi * k / 5 + 0.3
        c, s = float(np.cos(angle)), float(np.sin(angle))
        b.add(dark, tube([(0.03 * c, 0.03 * s, 0.1), (0.28 * c, 0.28 * s, 0.07)], (0.022, 0.014), 6))
        b.add(BLACK, sphere(0.028, (0.28 * c, 0.28 * s, 0.028), 10))
    seat = uniform(rng, 0.45, 0.5)
    b.add(DARK_METAL, cylinder(0.03, 0.08, 0.28, 12), cylinder(0.018, 0.28, seat - 0.03, 10))
    fabric = cloth(rng, style.cloth if rng.random() < 0.5 else (0.05, 0.05, 0.06))
    b.add(BLACK, block((0.3, 0.3, 0.025), (0, 0, seat - 0.04)))
    b.add(fabric, cushion((0.49, 0.47, 0.085), (0, 0.01, seat - 0.02), 5.0))
    back_y = -0.24
    b.add(
        dark,
        tube([(0, -0.1, seat - 0.03), (0, back_y - 0.03, seat - 0.01), (0, back_y - 0.045, seat + 0.32)], 0.016, 8),
    )
    height = uniform(rng, 0.42, 0.6)
    back = cushion((0.45, 0.07, height), (0, 0, 0), 4.5).rotated("x", 0.1)
    b.add(fabric, back.moved(0, back_y, seat + 0.13))
    if rng.random() < 0.6:
        for sx in (-1, 1):
            path = [(sx * 0.14, 0, seat - 0.03), (sx * 0.285, 0, seat - 0.02), (sx * 0.29, 0, seat + 0.19)]
            b.add(dark, tube(path, 0.012, 6))
            b.add(BLACK, rounded_box((0.07, 0.25, 0.03), 0.012, 1, (sx * 0.29, 0, seat + 0.185)))
    return b.model("office chair", "chair")


@replaceable("armchair")
def armchair(rng: Generator, style: Style) -> Model:
    """An upholstered seat for one."""
    return _upholstered(rng, style, 1, uniform(rng, 0.56, 0.64), "armchair", "chair")


@replaceable("sofa")
def sofa(rng: Generator, style: Style) -> Model:
    """Two or three seats with arms, loose cushions and short feet."""
    seats = int(rng.integers(2, 4))
    return _upholstered(rng, style, seats, uniform(rng, 0.6, 0.72), "sofa", "sofa")


def _upholstered(rng: Generator, style: Style, seats: int, seat_width: float, name: str, label: str) -> Model:
    b = Builder()
    fabric = cloth(rng, style.cloth if rng.random() < 0.6 else pick(rng, CLOTHS))
    arm, depth, seat = uniform(rng, 0.11, 0.2), uniform(rng, 0.82, 0.95), uniform(rng, 0.41, 0.46)
    back_top, arm_top = uniform(rng, 0.76, 0.9), uniform(rng, 0.55, 0.64)
    inner = seats * seat_width
    width = inner + 2 * arm
    foot, back = uniform(rng, 0.06, 0.13), 0.2
    base_top = seat - 0.15
    b.add(fabric, rounded_box((width - 0.02, depth - 0.03, base_top - foot), 0.03, 1, (0, 0, foot)))
    b.add(
        fabric,
        rounded_box((inner + 0.02, back, back_top - foot - 0.02), 0.05, 2, (0, -depth / 2 + back / 2, foot + 0.01)),
    )
    for sx in (-1, 1):
        x = sx * (inner / 2 + arm / 2)
        b.add(fabric, rounded_box((arm, depth, arm_top - foot - 0.015), 0.05, 2, (x, 0, foot + 0.015)))
    cushion_depth = depth - back - 0.02
    y = depth / 2 - cushion_depth / 2
    for k in range(seats):
        x = (k - (seats - 1) / 2) * seat_width
        b.add(fabric, cushion((seat_width - 0.012, cushion_depth, 0.17), (x, y, base_top - 0.01), 9.0, 8))
        soft = cushion((seat_width - 0.03, 0.17, back_top - seat + 0.03), (0, 0, 0), 5.0).rotated("x", 0.16)
        b.add(fabric, soft.moved(x, -depth / 2 + back + 0.075, seat - 0.01))
        b.top((x - seat_width / 2 + 0.05, x + seat_width / 2 - 0.05), (y - 0.02, depth / 2 - 0.05), seat + 0.012, 0.3)
    b.add(
        style.wood,
        *legs(lambda x, v: cylinder(0.018, 0, foot + 0.02, 8, 0.024).moved(x, v), width / 2 - 0.09, depth / 2 - 0.1),
    )
    return b.model(name, label)


@replaceable("stool")
def stool(rng: Generator, style: Style) -> Model:
    """A round seat on three or four splayed legs."""
    b = Builder()
    height, radius = (
        (uniform(rng, 0.6, 0.66) if rng.random() < 0.5 else uniform(rng, 0.43, 0.47)),
        uniform(rng, 0.15, 0.18),
    )
    count = 3 if rng.random() < 0.4 else 4
    for k in range(count):
        angle = 2 * np.pi * (k + 0.5) / count
        c, s = float(np.cos(angle)), float(np.sin(angle))
        path = [(1.15 * radius * c, 1.15 * radius * s, 0.0), (0.6 * radius * c, 0.6 * radius * s, height - 0.02)]
        b.add(style.metal, tube(path, 0.013, 7))
    seat = [(radius * 0.9, height - 0.035), (radius, height - 0.02), (radius, height - 0.008), (radius * 0.95, height)]
    b.add(style.wood if rng.random() < 0.6 else cloth(rng, style.cloth), lathe(seat, 22))
    return b.model("stool", "chair")


@replaceable("bench")
def bench(rng: Generator, style: Style) -> Model:
    """An upholstered bench for halls and bed ends."""
    b = Builder()
    w, d, h = uniform(rng, 0.8, 1.2), uniform(rng, 0.34, 0.42), uniform(rng, 0.42, 0.47)
    b.add(style.wood, *legs(lambda x, y: block((0.04, 0.04, h - 0.08), (x, y, 0)), w / 2 - 0.04, d / 2 - 0.04))
    b.add(style.wood, block((w, d, 0.025), (0, 0, h - 0.085)))
    b.add(cloth(rng, pick(rng, CLOTHS)), rounded_box((w, d, 0.065), 0.025, 2, (0, 0, h - 0.059)))
    b.top((-w / 2 + 0.04, w / 2 - 0.04), (-d / 2 + 0.03, d / 2 - 0.03), h + 0.006, 0.6)
    return b.model("bench", "otherfurniture")


@replaceable("ottoman")
def ottoman(rng: Generator, style: Style) -> Model:
    """A soft cube or drum as a footrest."""
    b = Builder()
    fabric = cloth(rng, style.cloth if rng.random() < 0.5 else style.accent)
    w, h = uniform(rng, 0.4, 0.6), uniform(rng, 0.36, 0.43)
    if rng.random() < 0.5:
        b.add(fabric, rounded_box((w, w, h - 0.03), 0.05, 2, (0, 0, 0.03)))
        b.add(
            lacquer((0.05, 0.05, 0.05)),
            *legs(lambda x, y: cylinder(0.015, 0, 0.05, 8).moved(x, y), w / 2 - 0.08, w / 2 - 0.08),
        )
    else:
        r = w / 2
        b.add(fabric, lathe([(r * 0.9, 0), (r, 0.05), (r, h - 0.06), (r * 0.9, h - 0.01), (r * 0.5, h)], 24))
    return b.model("ottoman", "otherfurniture")
