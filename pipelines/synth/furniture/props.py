"""Small objects: books, boxes, bags, screens, dishes, paper and clothes."""

from __future__ import annotations

import numpy as np
from numpy.random import Generator

from pipelines.synth.base.materials import (
    BLACK,
    BRIGHTS,
    CERAMIC,
    CLOTHS,
    METAL,
    Style,
    cloth,
    lacquer,
    pick,
    plain,
    shade,
)
from pipelines.synth.base.model import Model
from pipelines.synth.base.shapes import block, box, cushion, cylinder, lathe, rounded_box, tray, tube
from pipelines.synth.base.world import Material
from pipelines.synth.furniture.base import GAP, Builder, choose, replaceable, uniform

PAPER = Material((0.80, 0.79, 0.74), (0.2, 0.2, 0.22), "text", 0.01, 0.8)


def book_row(rng: Generator, style: Style, width: float, height: float, depth: float) -> Model:
    """Books side by side on a shelf, at most `width` x `depth` and `height` metres high; their spines face +y."""
    b = Builder()
    x = 0.0
    while True:
        w, h, d = uniform(rng, 0.016, 0.05), height * uniform(rng, 0.68, 0.97), depth * uniform(rng, 0.75, 0.98)
        if x + w > width:
            break
        cover = Material(
            pick(rng, BRIGHTS), pick(rng, BRIGHTS), "books", 0.3, 0.5, 0.08, seed=int(rng.integers(1 << 16))
        )
        b.add(cover, box((x, depth / 2 - d, 0), (x + w - 0.001, depth / 2 - uniform(rng, 0, 0.012), h)))
        x += w
        if rng.random() < 0.02:
            break
    if not b.solids:
        b.add(lacquer(pick(rng, BRIGHTS)), box((0, -depth / 2, 0), (max(width * 0.8, 0.01), depth / 2, height * 0.8)))
    return b.model("books", "books")


def book_stack(rng: Generator, style: Style) -> Model:
    """Two to six books lying on top of each other."""
    b = Builder()
    z = 0.0
    for _ in range(int(rng.integers(2, 7))):
        w, d, h = uniform(rng, 0.14, 0.21), uniform(rng, 0.2, 0.28), uniform(rng, 0.014, 0.042)
        turn = float(rng.uniform(-0.2, 0.2))
        cover = lacquer(pick(rng, BRIGHTS))
        b.add(cover, block((w, d, h), (0, 0, 0)).rotated("z", turn).moved(0, 0, z))
        z += h + 0.0005
    return b.model("stack of books", "books")


@replaceable("box")
def carton(rng: Generator, style: Style) -> Model:
    """A closed cardboard box with tape, or an open one."""
    b = Builder()
    w, d, h = uniform(rng, 0.26, 0.52), uniform(rng, 0.24, 0.42), uniform(rng, 0.18, 0.4)
    color = shade((0.45, 0.30, 0.17), uniform(rng, 0.85, 1.2))
    board = Material(color, shade(color, 0.85), "noise", 0.05, 0.3, 0.02, seed=int(rng.integers(1 << 16)))
    if rng.random() < 0.3:
        b.add(board, tray((w, d, h), 0.006, 0.006))
    else:
        b.add(board, block((w, d, h)))
        b.add(plain((0.60, 0.48, 0.30), specular=0.2), block((w, 0.05, 0.0012), (0, 0, h + 0.0004)))
    return b.model("box", "box")


def small_box(rng: Generator, style: Style) -> Model:
    """A storage box with a lid for shelves and tables."""
    b = Builder()
    w, d, h = uniform(rng, 0.16, 0.28), uniform(rng, 0.14, 0.22), uniform(rng, 0.08, 0.16)
    color = lacquer(style.accent) if rng.random() < 0.4 else cloth(rng, pick(rng, CLOTHS))
    b.add(color, block((w - 0.008, d - 0.008, h - 0.03)))
    b.add(color, rounded_box((w, d, 0.03 - GAP), 0.004, 1, (0, 0, h - 0.03 + GAP)))
    return b.model("storage box", "box")


@replaceable("bag")
def bag(rng: Generator, style: Style) -> Model:
    """A hand bag or shopping bag with two handles."""
    b = Builder()
    w, d, h = uniform(rng, 0.28, 0.42), uniform(rng, 0.12, 0.18), uniform(rng, 0.24, 0.34)
    hide = Material(pick(rng, CLOTHS), specular=0.15)
    b.add(hide, cushion((w, d, h), exponent=6.0))
    for s in (-1, 1):
        t = np.linspace(0, np.pi, 7)
        path = np.column_stack(
            (0.22 * w * np.cos(t) / 0.5, np.full(7, s * d * 0.22), h - 0.03 + (0.45 * h) * np.sin(t))
        )
        b.add(hide, tube(path, 0.007, 6))
    return b.model("bag", "bag")


@replaceable("backpack")
def backpack(rng: Generator, style: Style) -> Model:
    """A rucksack that stands upright."""
    b = Builder()
    fabric = cloth(rng, pick(rng, BRIGHTS))
    b.add(fabric, cushion((0.3, 0.19, 0.44), exponent=5.0))
    b.add(fabric, cushion((0.23, 0.08, 0.2), (0, 0.105, 0.04), 5.0))
    for s in (-1, 1):
        path = [(s * 0.08, -0.09, 0.4), (s * 0.09, -0.14, 0.3), (s * 0.1, -0.12, 0.14), (s * 0.1, -0.085, 0.08)]
        b.add(BLACK, tube(path, 0.012, 6))
    t = np.linspace(0, np.pi, 5)
    b.add(BLACK, tube(np.column_stack((0.035 * np.cos(t), np.full(5, -0.05), 0.43 + 0.04 * np.sin(t))), 0.007, 6))
    return b.model("backpack", "bag")


def _screen(rng: Generator, scale: float) -> Material:
    """A computer screen that is switched on."""
    return Material((0.05, 0.1, 0.2), (0, 0, 0), "screen", scale, 1.0, 0.3, 0.8, int(rng.integers(1 << 16)))


@replaceable("laptop")
def laptop(rng: Generator, style: Style) -> Model:
    """An open laptop; its screen faces +y."""
    b = Builder()
    body = METAL if rng.random() < 0.6 else BLACK
    b.add(body, rounded_box((0.33, 0.23, 0.016), 0.005, 1))
    b.add(BLACK, block((0.28, 0.1, 0.001), (0, -0.03, 0.0163)))
    screen = _screen(rng, 0.42)
    lid = [(body, block((0.33, 0.008, 0.22))), (screen, block((0.31, 0.002, 0.19), (0, 0.0055, 0.018)))]
    for material, shape in lid:
        b.add(material, shape.rotated("x", 0.3).moved(0, -0.108, 0.0185))
    return b.model("laptop", "otherprop")


@replaceable("monitor")
def monitor(rng: Generator, style: Style) -> Model:
    """A computer screen on its foot."""
    b = Builder()
    w, h = uniform(rng, 0.5, 0.68), uniform(rng, 0.3, 0.38)
    b.add(BLACK, rounded_box((0.24, 0.18, 0.012), 0.005, 1, (0, -0.02, 0)))
    b.add(BLACK, block((0.045, 0.03, 0.2), (0, -0.06, 0.0125)))
    b.add(BLACK, rounded_box((w, 0.035, h), 0.008, 1, (0, -0.025, 0.11)))
    screen = _screen(rng, round(1.4 * w, 3))
    b.add(screen, box((-w / 2 + 0.012, -0.0073, 0.122), (w / 2 - 0.012, -0.0055, 0.098 + h)))
    return b.model("monitor", "otherprop")


def keyboard(rng: Generator, style: Style) -> Model:
    """A computer keyboard with rows of keys."""
    b = Builder()
    b.add(BLACK, rounded_box((0.43, 0.13, 0.014), 0.005, 1))
    for k in range(4):
        b.add(plain((0.2, 0.2, 0.21)), block((0.4, 0.021, 0.006), (0, -0.042 + 0.028 * k, 0.0145)))
    return b.model("keyboard", "otherprop")


def television(rng: Generator, style: Style) -> Model:
    """A flat television on two feet; its screen faces +y."""
    b = Builder()
    w = uniform(rng, 0.75, 1.3)
    h = 0.58 * w
    b.add(BLACK, rounded_box((w, 0.045, h), 0.008, 1, (0, 0, 0.06)))
    screen = Material((0.02, 0.02, 0.025), specular=0.5)
    if rng.random() < 0.5:
        seed = int(rng.integers(1 << 16))
        screen = Material((0.1, 0.1, 0.1), (0, 0, 0), "painting", round(2.2 * h, 3), 1.0, 0.3, 0.8, seed)
    b.add(screen, box((-w / 2 + 0.012, 0.0228, 0.072), (w / 2 - 0.012, 0.0248, 0.048 + h)))
    for s in (-1, 1):
        b.add(
            BLACK,
            block((0.03, 0.2, 0.012), (s * w * 0.32, 0, 0)),
            block((0.025, 0.03, 0.055), (s * w * 0.32, 0, 0.0125)),
        )
    return b.model("television", "television")


@replaceable("cup")
def cup(rng: Generator, style: Style) -> Model:
    """A mug with a handle."""
    b = Builder()
    r, h = uniform(rng, 0.036, 0.044), uniform(rng, 0.085, 0.105)
    glaze = lacquer(pick(rng, BRIGHTS))
    b.add(glaze, lathe([(r * 0.85, 0), (r, 0.012), (r, h), (r - 0.004, h), (r - 0.005, 0.01)], 18))
    t = np.linspace(-np.pi / 2, np.pi / 2, 6)
    b.add(
        glaze, tube(np.column_stack((r - 0.003 + 0.026 * np.cos(t), np.zeros(6), h / 2 + 0.028 * np.sin(t))), 0.0045, 6)
    )
    return b.model("cup", "otherprop")


@replaceable("bowl")
def bowl(rng: Generator, style: Style) -> Model:
    """A bowl, on some with fruit."""
    b = Builder()
    r = uniform(rng, 0.1, 0.15)
    h = 0.45 * r
    glaze = CERAMIC if rng.random() < 0.5 else lacquer(pick(rng, BRIGHTS))
    b.add(
        glaze,
        lathe([(r * 0.45, 0), (r * 0.8, h * 0.45), (r, h), (r - 0.006, h), (r * 0.76, h * 0.5), (r * 0.4, 0.008)], 24),
    )
    if rng.random() < 0.6:
        for k in range(4):
            angle = 2 * np.pi * k / 4 + 0.3
            fruit = plain(pick(rng, ((0.75, 0.32, 0.03), (0.60, 0.10, 0.05), (0.45, 0.55, 0.08))), specular=0.2)
            x, y = 0.42 * r * np.cos(angle), 0.42 * r * np.sin(angle)
            b.add(fruit, cushion((0.062, 0.062, 0.06), (float(x), float(y), h * 0.62), 2.1, 5))
    return b.model("bowl", "otherprop")


@replaceable("vase")
def vase(rng: Generator, style: Style) -> Model:
    """A turned vase."""
    b = Builder()
    h, r = uniform(rng, 0.18, 0.36), uniform(rng, 0.05, 0.085)
    profile = [
        (0.6, 0),
        (0.95, 0.25),
        (1.0, 0.42),
        (0.55, 0.75),
        (0.42, 0.86),
        (0.6, 1.0),
        (0.52, 1.0),
        (0.34, 0.86),
        (0.4, 0.7),
    ]
    b.add(lacquer(pick(rng, BRIGHTS)), lathe([(r * a, h * z) for a, z in profile], 22))
    return b.model("vase", "otherprop")


@replaceable("bottle")
def bottle(rng: Generator, style: Style) -> Model:
    """A bottle of oil, shampoo or water."""
    b = Builder()
    h, r = uniform(rng, 0.17, 0.3), uniform(rng, 0.026, 0.042)
    glass = Material(pick(rng, BRIGHTS), specular=0.5)
    b.add(glass, lathe([(r, 0), (r, h * 0.6), (r * 0.36, h * 0.78), (r * 0.36, h * 0.93)], 16))
    b.add(BLACK, cylinder(r * 0.42, h * 0.93 + 0.0005, h, 12))
    return b.model("bottle", "otherprop")


@replaceable("pot")
def pot(rng: Generator, style: Style) -> Model:
    """A cooking pot with a lid."""
    b = Builder()
    r, h = uniform(rng, 0.09, 0.12), uniform(rng, 0.09, 0.14)
    b.add(METAL, cylinder(r, 0, h, 24), lathe([(r + 0.004, h + 0.0005), (r + 0.004, h + 0.008), (0.02, h + 0.022)], 24))
    b.add(BLACK, cylinder(0.014, h + 0.0225, h + 0.045, 12))
    for s in (-1, 1):
        b.add(BLACK, block((0.03, 0.07, 0.012), (s * (r + 0.014), 0, h * 0.7)))
    return b.model("pot", "otherprop")


def paper(rng: Generator, style: Style) -> Model:
    """A sheaf of paper."""
    b = Builder()
    z = 0.0
    for _ in range(int(rng.integers(1, 4))):
        thickness = uniform(rng, 0.002, 0.006)
        b.add(PAPER, block((0.21, 0.297, thickness)).rotated("z", float(rng.uniform(-0.25, 0.25))).moved(0, 0, z))
        z += thickness + 0.0003
    return b.model("paper", "paper")


@replaceable("pile of clothes")
def clothes_pile(rng: Generator, style: Style) -> Model:
    """Folded or thrown-down clothes."""
    b = Builder()
    z = 0.0
    for _ in range(int(rng.integers(2, 5))):
        size = (uniform(rng, 0.26, 0.36), uniform(rng, 0.22, 0.3), uniform(rng, 0.04, 0.07))
        layer = cushion(size, exponent=4.0, segments=6).rotated("z", float(rng.uniform(-0.4, 0.4)))
        b.add(cloth(rng, pick(rng, CLOTHS)), layer.moved(0, 0, z))
        z += size[2] * 0.92
    return b.model("pile of clothes", "clothes")


def hanging_coats(rng: Generator, style: Style) -> Model:
    """Coats that hang from a rack on the wall; the wall is at -y."""
    b = Builder()
    count = int(rng.integers(2, 4))
    x = 0.0
    top = 1.1
    for _ in range(count):
        w, length = uniform(rng, 0.2, 0.28), uniform(rng, 0.7, 1.0)
        fabric = cloth(rng, pick(rng, CLOTHS))
        b.add(fabric, cushion((w, uniform(rng, 0.1, 0.15), length), (x + w / 2, 0, top - length), 4.0))
        x += w + 0.01
    return b.model("coats", "clothes")


@replaceable("shoes")
def shoes(rng: Generator, style: Style) -> Model:
    """A pair of shoes side by side."""
    b = Builder()
    color = pick(rng, CLOTHS)
    for s in (-1, 1):
        b.add(plain(color), cushion((0.095, 0.28, 0.06), (s * 0.06, 0, 0.012), 4.0, 6))
        b.add(plain(color), cushion((0.085, 0.13, 0.075), (s * 0.06, -0.07, 0.04), 4.0, 6))
        b.add(BLACK, rounded_box((0.1, 0.285, 0.014), 0.005, 1, (s * 0.06, 0, 0)))
    return b.model("shoes", "clothes")


@replaceable("waste bin")
def waste_bin(rng: Generator, style: Style) -> Model:
    """A round bin, open at the top."""
    b = Builder()
    r, h = uniform(rng, 0.11, 0.15), uniform(rng, 0.26, 0.38)
    material = METAL if choose(rng, ("metal", "plastic")) == "metal" else lacquer(pick(rng, BRIGHTS))
    b.add(material, lathe([(r * 0.82, 0), (r, h), (r - 0.005, h), (r * 0.8, 0.008)], 24))
    return b.model("waste bin", "otherprop")


def toilet_paper(rng: Generator, style: Style) -> Model:
    """A roll of toilet paper on a holder on the wall; the wall is at -y."""
    b = Builder()
    roll = cylinder(0.055, -0.05, 0.05, 20).rotated("y", np.pi / 2)
    b.add(PAPER, roll.moved(0, 0.062, 0.055))
    b.add(METAL, cylinder(0.006, 0.051, 0.08, 8).rotated("y", np.pi / 2).moved(0, 0.062, 0.055))
    b.add(METAL, box((0.074, 0.0, 0.049), (0.086, 0.07, 0.061)))
    return b.model("toilet paper", "paper")
