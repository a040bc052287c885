"""Toilets, basins, bathtubs and bathroom cloth."""

from __future__ import annotations

import numpy as np
from numpy.random import Generator

from pipelines.synth.base.materials import BRIGHTS, CERAMIC, METAL, WHITE, Style, cloth, lacquer, pick, plain, shade
from pipelines.synth.base.model import Model
from pipelines.synth.base.shapes import Array, block, box, cylinder, lathe, loft, ribbon, rounded_box, tube
from pipelines.synth.furniture.base import GAP, Builder, choose, replaceable, uniform


def _oval(half_width: float, half_depth: float, z: float, y: float = 0.0, segments: int = 28) -> Array:
    angles = 2 * np.pi * np.arange(segments) / segments
    return np.column_stack((half_width * np.cos(angles), y + half_depth * np.sin(angles), np.full(segments, z)))


def _rounded(half_width: float, half_depth: float, z: float, exponent: float = 5.0, segments: int = 32) -> Array:
    """A rectangle with soft corners (a superellipse) as a ring."""
    angles = 2 * np.pi * np.arange(segments) / segments
    c, s = np.cos(angles), np.sin(angles)
    x = np.sign(c) * np.abs(c) ** (2 / exponent)
    y = np.sign(s) * np.abs(s) ** (2 / exponent)
    return np.column_stack((half_width * x, half_depth * y, np.full(segments, z)))


@replaceable("toilet")
def toilet(rng: Generator, style: Style) -> Model:
    """A bowl with seat, lid and cistern; the cistern is at -y."""
    b = Builder()
    h = uniform(rng, 0.39, 0.42)
    bowl = [
        _oval(0.11, 0.2, 0.0, 0.0),
        _oval(0.105, 0.18, 0.12, 0.0),
        _oval(0.15, 0.22, h * 0.75, 0.02),
        _oval(0.18, 0.24, h - 0.02, 0.03),
        _oval(0.18, 0.24, h, 0.03),
        _oval(0.13, 0.18, h, 0.04),
        _oval(0.08, 0.1, h - 0.16, 0.03),
    ]
    b.add(CERAMIC, loft(bowl))
    y0 = -0.23
    b.add(CERAMIC, box((-0.12, y0, 0.0), (0.12, -0.16, h - 0.01)))
    b.add(CERAMIC, rounded_box((0.37, 0.165, 0.36), 0.025, 2, (0, y0 - 0.02, h + GAP)))
    b.add(CERAMIC, rounded_box((0.385, 0.18, 0.03), 0.012, 1, (0, y0 - 0.02, h + 0.363)))
    b.add(METAL, cylinder(0.022, h + 0.3935, h + 0.402, 14).moved(0, y0 - 0.02))
    seat = lacquer(WHITE)
    ring = [_oval(0.185, 0.225, h + 0.002, 0.05), _oval(0.185, 0.225, h + 0.022, 0.05)]
    ring += [_oval(0.115, 0.16, h + 0.022, 0.055), _oval(0.115, 0.16, h + 0.002, 0.055)]
    if rng.random() < 0.5:
        b.add(seat, loft(ring, closed=True))
        lid = loft([_oval(0.185, 0.21, 0.0, 0.21), _oval(0.185, 0.21, 0.018, 0.21)]).rotated("x", np.radians(97))
        b.add(seat, lid.moved(0, -0.1, h + 0.026))
    else:
        b.add(seat, loft([_oval(0.185, 0.225, h + 0.002, 0.05), _oval(0.185, 0.225, h + 0.045, 0.05)]))
    return b.model("toilet", "toilet")


@replaceable("wash basin")
def basin(rng: Generator, style: Style) -> Model:
    """A wash basin on a pedestal or on a small cabinet, with its tap."""
    b = Builder()
    w, d, h = uniform(rng, 0.5, 0.65), uniform(rng, 0.42, 0.5), uniform(rng, 0.82, 0.87)
    x, y = w / 2, d / 2
    bowl = [
        _rounded(0.45 * x, 0.45 * y, h - 0.17),
        _rounded(x, y, h - 0.06),
        _rounded(x, y, h),
        _rounded(x - 0.04, y - 0.05, h, 3.5),
        _rounded(0.5 * x, 0.5 * y, h - 0.12, 2.5),
    ]
    b.add(CERAMIC, loft(bowl))
    if rng.random() < 0.5:
        b.add(CERAMIC, lathe([(0.12, 0.0), (0.1, 0.06), (0.075, 0.3), (0.085, h - 0.171)], 20).moved(0, -0.06))
    else:
        b.add(style.wood, block((w - 0.08, d - 0.1, h - 0.3), (0, -0.03, 0.12)))
        front = -0.03 + (d - 0.1) / 2 + GAP
        for s in (-1, 1):
            span = sorted((s * 0.003, s * (w / 2 - 0.045)))
            b.add(style.front, box((span[0], front, 0.13), (span[1], front + 0.016, h - 0.19)))
        b.add(style.wood, block((w - 0.2, d - 0.2, 0.12 - GAP), (0, -0.03, 0)))
    tap = -y + 0.03
    b.add(METAL, cylinder(0.016, h + 0.0005, h + 0.1, 12).moved(0, tap))
    b.add(METAL, tube([(0, tap, h + 0.085), (0, tap + 0.06, h + 0.1), (0, tap + 0.13, h + 0.085)], 0.01, 8))
    b.add(METAL, tube([(0, tap, h + 0.1), (0, tap - 0.005, h + 0.13)], 0.009, 8))
    return b.model("wash basin", "sink")


@replaceable("bathtub")
def bathtub(rng: Generator, style: Style) -> Model:
    """A tub with an apron or standing free on feet; x is its long side."""
    b = Builder()
    w, d, h = uniform(rng, 1.5, 1.7), uniform(rng, 0.7, 0.78), uniform(rng, 0.54, 0.6)
    x, y = w / 2, d / 2
    free = rng.random() < 0.3
    if free:
        outer = [
            _rounded(0.8 * x, 0.72 * y, 0.08, 3.0),
            _rounded(0.93 * x, 0.93 * y, 0.3, 3.5),
            _rounded(x, y, h - 0.02, 4.0),
        ]
        outer.append(_rounded(x, y, h, 4.0))
        for sx in (-1, 1):
            b.add(METAL, *(cylinder(0.03, 0.0, 0.13, 10).moved(sx * 0.55 * x, sy * 0.45 * y) for sy in (-1, 1)))
    else:
        outer = [_rounded(x, y, 0.0, 24.0), _rounded(x, y, h, 24.0)]
    inner = [
        _rounded(x - 0.06, y - 0.06, h, 5.0),
        _rounded(0.85 * x, 0.8 * y, 0.3, 4.0),
        _rounded(0.72 * x, 0.6 * y, 0.16, 3.5),
    ]
    b.add(CERAMIC, loft([*outer, *inner]))
    if not free:
        tap = -x + 0.03
        b.add(METAL, tube([(tap, 0, h + 0.0005), (tap, 0, h + 0.14), (tap + 0.12, 0, h + 0.12)], 0.013, 8))
    return b.model("bathtub", "bathtub")


def shower_curtain(rng: Generator, style: Style) -> Model:
    """A wavy curtain on a rail along x."""
    b = Builder()
    w, h = uniform(rng, 0.8, 1.2), uniform(rng, 1.55, 1.7)
    color = pick(rng, BRIGHTS) if rng.random() < 0.6 else WHITE
    fabric = cloth(rng, shade(color, 1.2), texture=choose(rng, ("stripes", "plain", "checker")), scale=0.12)
    t = np.linspace(0, 1, 72)
    b.add(fabric, ribbon(np.column_stack((w * (t - 0.5), 0.03 * np.sin(t * np.pi * 16))), 0.004, 0.0, h))
    return b.model("shower curtain", "shower_curtain")


def towel_rail(rng: Generator, style: Style) -> Model:
    """A bar on the wall with a towel folded over it."""
    b = Builder()
    w, drop = uniform(rng, 0.45, 0.6), uniform(rng, 0.4, 0.62)
    color = style.accent if rng.random() < 0.5 else pick(rng, BRIGHTS)
    fabric = cloth(rng, color, texture=choose(rng, ("fabric", "stripes")), scale=0.06)
    b.add(METAL, cylinder(0.008, -w / 2, w / 2, 10).rotated("y", np.pi / 2).moved(0, 0.035, drop + 0.02))
    for s in (-1, 1):
        b.add(METAL, box((s * w / 2 - 0.008, -0.045, drop + 0.012), (s * w / 2 + 0.008, 0.035, drop + 0.028)))
    width = w * uniform(rng, 0.6, 0.85)
    z = drop + 0.02
    over = [(0.05, 0.0), (0.05, z), (0.045, z + 0.012), (0.035, z + 0.016), (0.025, z + 0.012), (0.02, z), (0.02, 0.12)]
    sheet = ribbon(
        over, 0.008, -width / 2, width / 2
    )  # bent in x-y, extruded along z; rotated so that it hangs over the bar
    b.add(fabric, sheet.rotated("x", np.pi / 2).rotated("z", np.pi / 2))
    return b.model("towel", "towel")


def folded_towels(rng: Generator, style: Style) -> Model:
    """A small stack of folded towels."""
    b = Builder()
    w, d = uniform(rng, 0.28, 0.34), uniform(rng, 0.2, 0.24)
    for k in range(int(rng.integers(2, 5))):
        color = style.accent if k % 2 else pick(rng, BRIGHTS)
        b.add(cloth(rng, color), rounded_box((w, d, 0.052), 0.024, 2, (uniform(rng, -0.01, 0.01), 0, 0.0525 * k)))
    return b.model("folded towels", "towel")


@replaceable("laundry basket")
def laundry_basket(rng: Generator, style: Style) -> Model:
    """A tapered basket with a lid."""
    b = Builder()
    r, h = uniform(rng, 0.17, 0.21), uniform(rng, 0.45, 0.58)
    weave = cloth(rng, (0.55, 0.42, 0.27), texture="checker", scale=0.02)
    b.add(weave, lathe([(r * 0.82, 0.0), (r, h)], 24))
    b.add(weave, lathe([(r + 0.008, h + GAP), (r + 0.008, h + 0.02), (r * 0.6, h + 0.045)], 24))
    b.add(plain((0.3, 0.2, 0.1)), cylinder(0.012, h + 0.046, h + 0.07, 10))
    return b.model("laundry basket", "otherprop")
