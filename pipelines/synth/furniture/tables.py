"""Tables, desks and the small tables next to beds and sofas."""

from __future__ import annotations

import numpy as np
from numpy.random import Generator

from pipelines.synth.base.materials import METAL, Style, lacquer, plain
from pipelines.synth.base.model import Model
from pipelines.synth.base.shapes import block, box, cylinder, lathe, rounded_box, tube
from pipelines.synth.furniture.base import Builder, choose, legs, replaceable, uniform


@replaceable("dining table")
def dining_table(rng: Generator, style: Style) -> Model:
    """A rectangular table for four to eight with legs, trestles or a frame."""
    b = Builder()
    w, d, h = uniform(rng, 1.15, 1.8), uniform(rng, 0.75, 0.92), uniform(rng, 0.73, 0.77)
    thickness = uniform(rng, 0.022, 0.045)
    b.add(style.wood, rounded_box((w, d, thickness), 0.006, 1, (0, 0, h - thickness)))
    under = h - thickness
    kind = choose(rng, ("legs", "tapered", "trestle"))
    if kind == "legs":
        leg = uniform(rng, 0.05, 0.08)
        b.add(
            style.wood,
            *legs(lambda x, y: block((leg, leg, under), (x, y, 0)), w / 2 - leg / 2 - 0.01, d / 2 - leg / 2 - 0.01),
        )
        _apron(b, style, w - 2 * leg, d - 2 * leg, under)
    elif kind == "tapered":
        for sx in (-1, 1):
            for sy in (-1, 1):
                foot = (sx * (w / 2 - 0.07), sy * (d / 2 - 0.06), 0.0)
                head = (sx * (w / 2 - 0.13), sy * (d / 2 - 0.12), under)
                b.add(style.wood, tube([foot, head], (0.016, 0.028), 10))
        _apron(b, style, w - 0.3, d - 0.28, under)
    else:
        for sx in (-1, 1):
            x = sx * (w / 2 - 0.1)
            b.add(
                style.metal, block((0.05, d - 0.1, 0.03), (x, 0, 0)), block((0.05, d - 0.1, 0.03), (x, 0, under - 0.03))
            )
            for sy in (-1, 1):
                b.add(style.metal, block((0.05, 0.05, under - 0.06), (x, sy * (d / 2 - 0.09), 0.03)))
        b.add(style.metal, block((w - 0.25, 0.04, 0.04), (0, 0, 0.2)))
    b.top((-w / 2 + 0.05, w / 2 - 0.05), (-d / 2 + 0.05, d / 2 - 0.05), h)
    return b.model("dining table", "table")


def _apron(b: Builder, style: Style, w: float, d: float, under: float) -> None:
    """The frame of boards below a table top."""
    for s in (-1, 1):
        b.add(style.wood, block((w, 0.02, 0.07), (0, s * d / 2, under - 0.07)))
        b.add(style.wood, block((0.02, d - 0.022, 0.07), (s * w / 2, 0, under - 0.07)))


@replaceable("round table")
def round_table(rng: Generator, style: Style) -> Model:
    """A round dining table on a pedestal."""
    b = Builder()
    r, h = uniform(rng, 0.45, 0.6), uniform(rng, 0.72, 0.76)
    b.add(style.wood, lathe([(r - 0.012, h - 0.03), (r, h - 0.02), (r, h - 0.006), (r - 0.006, h)], 36))
    base = style.metal if rng.random() < 0.5 else style.wood
    b.add(base, lathe([(0.28, 0.0), (0.28, 0.015), (0.06, 0.04), (0.04, 0.1), (0.04, h - 0.08), (0.13, h - 0.031)], 24))
    s = r * 0.6
    b.top((-s, s), (-s, s), h)
    return b.model("round table", "table")


@replaceable("coffee table")
def coffee_table(rng: Generator, style: Style) -> Model:
    """A low table for the sofa: board and shelf, or a glass or round top on thin legs."""
    b = Builder()
    kind = choose(rng, ("shelf", "round", "frame"))
    h = uniform(rng, 0.38, 0.46)
    if kind == "round":
        r = uniform(rng, 0.34, 0.46)
        b.add(style.wood, lathe([(r, h - 0.025), (r, h)], 32))
        for k in range(3):
            angle = 2 * np.pi * (k + 0.25) / 3
            c, s = float(np.cos(angle)), float(np.sin(angle))
            b.add(
                style.wood,
                tube([(0.85 * r * c, 0.85 * r * s, 0), (0.6 * r * c, 0.6 * r * s, h - 0.025)], (0.012, 0.02), 8),
            )
        s = r * 0.62
        b.top((-s, s), (-s, s), h)
        return b.model("coffee table", "table")
    w, d = uniform(rng, 0.8, 1.15), uniform(rng, 0.48, 0.62)
    leg = 0.045 if kind == "shelf" else 0.025
    frame = style.wood if kind == "shelf" else style.metal
    b.add(frame, *legs(lambda x, y: block((leg, leg, h - 0.03), (x, y, 0)), w / 2 - leg / 2, d / 2 - leg / 2))
    b.add(style.wood, rounded_box((w, d, 0.03), 0.005, 1, (0, 0, h - 0.03)))
    if kind == "shelf":
        b.add(style.wood, block((w - leg, d - leg, 0.018), (0, 0, 0.12)))
        b.top((-w / 2 + 0.08, w / 2 - 0.08), (-d / 2 + 0.06, d / 2 - 0.06), 0.138, h - 0.2)
    b.top((-w / 2 + 0.04, w / 2 - 0.04), (-d / 2 + 0.04, d / 2 - 0.04), h)
    return b.model("coffee table", "table")


def side_table(rng: Generator, style: Style) -> Model:
    """A small table, round or square."""
    b = Builder()
    h = uniform(rng, 0.48, 0.6)
    if rng.random() < 0.5:
        r = uniform(rng, 0.19, 0.25)
        b.add(style.wood, cylinder(r, h - 0.02, h, 28))
        b.add(style.metal, cylinder(0.014, 0.012, h - 0.02, 10), cylinder(r * 0.75, 0, 0.012, 24))
        s = r * 0.62
    else:
        w = uniform(rng, 0.38, 0.48)
        b.add(style.wood, block((w, w, 0.022), (0, 0, h - 0.022)))
        b.add(style.wood, *legs(lambda x, y: block((0.03, 0.03, h - 0.022), (x, y, 0)), w / 2 - 0.02, w / 2 - 0.02))
        s = w / 2 - 0.03
    b.top((-s, s), (-s, s), h)
    return b.model("side table", "table")


@replaceable("desk")
def desk(rng: Generator, style: Style) -> Model:
    """A writing desk with a drawer unit on one side or plain legs."""
    b = Builder()
    w, d, h = uniform(rng, 1.1, 1.55), uniform(rng, 0.6, 0.75), uniform(rng, 0.72, 0.75)
    b.add(style.wood, rounded_box((w, d, 0.028), 0.005, 1, (0, 0, h - 0.028)))
    under = h - 0.028
    side = 1 if rng.random() < 0.5 else -1
    front = style.front
    if rng.random() < 0.6:
        unit = 0.38
        x = side * (w / 2 - unit / 2 - 0.01)
        b.add(style.wood, block((unit, d - 0.08, under - 0.04), (x, -0.01, 0.04)))
        for k in range(3):
            z0 = 0.05 + k * (under - 0.05) / 3
            z1 = 0.04 + (k + 1) * (under - 0.05) / 3
            y = d / 2 - 0.05
            b.add(front, box((x - unit / 2 + 0.004, y + 0.0015, z0), (x + unit / 2 - 0.004, y + 0.018, z1)))
            b.add(METAL, block((0.1, 0.014, 0.012), (x, y + 0.026, (z0 + z1) / 2)))
        b.add(style.wood, block((0.03, d - 0.06, under), (-side * (w / 2 - 0.025), 0, 0)))
        b.add(style.wood, box((-w / 2 + 0.05, -d / 2 + 0.05, under - 0.3), (w / 2 - 0.05, -d / 2 + 0.068, under)))
    else:
        leg = 0.04
        b.add(style.metal, *legs(lambda x, y: block((leg, leg, under), (x, y, 0)), w / 2 - leg, d / 2 - leg))
        b.add(style.metal, block((w - 0.1, 0.02, 0.05), (0, -d / 2 + 0.05, under - 0.06)))
    b.top((-w / 2 + 0.04, w / 2 - 0.04), (-d / 2 + 0.03, d / 2 - 0.05), h)
    return b.model("desk", "desk")


@replaceable("night stand")
def night_stand(rng: Generator, style: Style) -> Model:
    """A bedside cabinet with drawers or an open shelf."""
    b = Builder()
    w, d, h = uniform(rng, 0.4, 0.5), uniform(rng, 0.34, 0.42), uniform(rng, 0.45, 0.58)
    foot = uniform(rng, 0.06, 0.15)
    b.add(style.wood, *legs(lambda x, y: block((0.028, 0.028, foot + 0.005), (x, y, 0)), w / 2 - 0.03, d / 2 - 0.04))
    drawers = 2 if rng.random() < 0.6 else 1
    top = h - 0.02
    split = foot + (0.0 if drawers == 2 else (top - foot) * 0.5)
    if drawers == 1:
        b.add(style.wood, block((w, d - 0.02, 0.016), (0, -0.01, foot)))
        for s in (-1, 1):
            b.add(
                style.wood, block((0.016, d - 0.024, split - foot - 0.016), (s * (w / 2 - 0.008), -0.01, foot + 0.016))
            )
        b.add(style.wood, box((-w / 2 + 0.016, -d / 2, foot + 0.016), (w / 2 - 0.016, -d / 2 + 0.01, split)))
        b.top((-w / 2 + 0.03, w / 2 - 0.03), (-d / 2 + 0.03, d / 2 - 0.05), foot + 0.016, split - foot - 0.03)
    b.add(style.wood, block((w, d - 0.02, top - split), (0, -0.01, split)))
    b.add(style.wood, rounded_box((w + 0.01, d, 0.02), 0.004, 1, (0, 0, top)))
    for k in range(drawers):
        z0 = split + 0.008 + k * (top - split) / drawers
        z1 = split - 0.006 + (k + 1) * (top - split) / drawers
        b.add(style.front, box((-w / 2 + 0.006, d / 2 - 0.0185, z0), (w / 2 - 0.006, d / 2 - 0.004, z1)))
        b.add(
            style.metal, cylinder(0.011, 0, 0.018, 10).rotated("x", -np.pi / 2).moved(0, d / 2 - 0.0045, (z0 + z1) / 2)
        )
    b.top((-w / 2 + 0.02, w / 2 - 0.02), (-d / 2 + 0.03, d / 2 - 0.03), h)
    return b.model("night stand", "night_stand")


def console(rng: Generator, style: Style) -> Model:
    """A narrow hall table."""
    b = Builder()
    w, d, h = uniform(rng, 0.75, 1.05), uniform(rng, 0.26, 0.32), uniform(rng, 0.74, 0.82)
    b.add(style.wood, block((w, d, 0.025), (0, 0, h - 0.025)))
    b.add(style.wood, *legs(lambda x, y: block((0.032, 0.032, h - 0.025), (x, y, 0)), w / 2 - 0.03, d / 2 - 0.03))
    b.add(style.front, block((w - 0.09, d - 0.05, 0.11), (0, 0, h - 0.135)))
    b.add(plain((0.5, 0.5, 0.5)), block((0.08, 0.02, 0.012), (0, d / 2 - 0.014, h - 0.085)))
    b.top((-w / 2 + 0.03, w / 2 - 0.03), (-d / 2 + 0.02, d / 2 - 0.02), h)
    return b.model("console table", "table")


def folding_table(rng: Generator, style: Style) -> Model:
    """A light work table with crossed legs."""
    b = Builder()
    w, d, h = uniform(rng, 0.9, 1.3), uniform(rng, 0.5, 0.65), uniform(rng, 0.7, 0.74)
    b.add(lacquer((0.7, 0.7, 0.68)), rounded_box((w, d, 0.03), 0.01, 1, (0, 0, h - 0.03)))
    for sx in (-1, 1):
        x = sx * (w / 2 - 0.12)
        b.add(style.metal, tube([(x, -d / 2 + 0.04, 0.014), (x, d / 2 - 0.06, h - 0.031)], 0.012, 8))
        b.add(style.metal, tube([(x + 0.026, d / 2 - 0.04, 0.014), (x + 0.026, -d / 2 + 0.06, h - 0.031)], 0.012, 8))
    b.top((-w / 2 + 0.04, w / 2 - 0.04), (-d / 2 + 0.04, d / 2 - 0.04), h)
    return b.model("work table", "table")
