"""Beds and bedding."""

from __future__ import annotations

from numpy.random import Generator

from pipelines.synth.base.materials import BRIGHTS, CLOTHS, WHITE, Style, cloth, pick, shade
from pipelines.synth.base.model import Model
from pipelines.synth.base.shapes import block, cushion, rounded_box
from pipelines.synth.furniture.base import Builder, choose, legs, replaceable, uniform


@replaceable("bed")
def bed(rng: Generator, style: Style) -> Model:
    """A single or double bed: frame, headboard, mattress and a blanket over its lower part. The head lies at -y."""
    b = Builder()
    w, d = (uniform(rng, 1.4, 1.8) if rng.random() < 0.6 else uniform(rng, 0.9, 1.0)), uniform(rng, 2.0, 2.08)
    frame_w, frame_d = w + 0.06, d + 0.07
    base, mattress = uniform(rng, 0.22, 0.32), uniform(rng, 0.16, 0.24)
    b.add(style.wood, *legs(lambda x, y: block((0.06, 0.06, 0.13), (x, y, 0)), frame_w / 2 - 0.05, frame_d / 2 - 0.06))
    b.add(style.wood, rounded_box((frame_w, frame_d, base - 0.12), 0.01, 1, (0, 0, 0.12)))
    head = uniform(rng, 0.8, 1.15)
    kind = choose(rng, ("board", "soft", "none"))
    back = -frame_d / 2
    if kind == "board":
        b.add(style.wood, rounded_box((frame_w, 0.035, head), 0.01, 1, (0, back - 0.019, 0)))
    elif kind == "soft":
        b.add(cloth(rng, style.cloth), rounded_box((frame_w + 0.04, 0.09, head), 0.03, 2, (0, back - 0.047, 0)))
    top = base + mattress
    sheet = cloth(rng, WHITE)
    b.add(sheet, rounded_box((w, d, mattress), 0.045, 2, (0, 0.005, base + 0.001)))
    length = d * uniform(rng, 0.55, 0.72)
    fold = frame_d / 2 - 0.03
    cover = cloth(
        rng,
        pick(rng, CLOTHS if rng.random() < 0.6 else BRIGHTS),
        texture=choose(rng, ("fabric", "stripes", "checker")),
        scale=0.2,
    )
    drop = 0.12
    b.add(cover, rounded_box((w + 0.045, length, drop + 0.03), 0.03, 2, (0, fold - length / 2, top - drop)))
    b.add(
        cloth(rng, shade(cover.color, 1.25)),
        rounded_box((w + 0.05, 0.2, 0.055), 0.025, 2, (0, fold - length + 0.1, top - 0.012)),
    )
    b.top((-w / 2 + 0.05, w / 2 - 0.05), (-d / 2 + 0.06, -d / 2 + 0.52), top, 0.5)
    b.top((-w / 2 + 0.1, w / 2 - 0.1), (fold - length + 0.3, fold - 0.15), top + 0.03, 0.5)
    return b.model("bed", "bed")


def pillow(rng: Generator, style: Style) -> Model:
    """A bed pillow; x is its long side."""
    b = Builder()
    color = WHITE if rng.random() < 0.5 else shade(pick(rng, CLOTHS), 1.4)
    size = (uniform(rng, 0.56, 0.68), uniform(rng, 0.36, 0.42), uniform(rng, 0.11, 0.15))
    b.add(cloth(rng, color), cushion(size, exponent=3.2, segments=8))
    return b.model("pillow", "pillow")


def sofa_pillow(rng: Generator, style: Style) -> Model:
    """A small square pillow that leans against a back rest."""
    b = Builder()
    side = uniform(rng, 0.36, 0.42)
    color = style.accent if rng.random() < 0.5 else pick(rng, BRIGHTS)
    fabric = cloth(rng, color, texture=choose(rng, ("fabric", "stripes", "checker")), scale=0.09)
    b.add(fabric, cushion((side, side, uniform(rng, 0.11, 0.13)), exponent=3.4, segments=8))
    return b.model("sofa pillow", "pillow")


def blanket(rng: Generator, style: Style) -> Model:
    """A folded blanket."""
    b = Builder()
    w, d = uniform(rng, 0.4, 0.55), uniform(rng, 0.28, 0.36)
    fabric = cloth(rng, pick(rng, BRIGHTS), texture="stripes", scale=0.08)
    for k in range(3):
        b.add(fabric, rounded_box((w - 0.01 * k, d - 0.012 * k, 0.027), 0.013, 2, (0, 0, 0.0275 * k)))
    return b.model("folded blanket", "otherprop")
