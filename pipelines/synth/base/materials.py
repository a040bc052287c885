"""Matching colours and materials: wood, cloth, metal, paint and floors of one apartment."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Protocol

import numpy as np
from numpy.random import Generator

from pipelines.synth.base.world import Material

if TYPE_CHECKING:
    from pipelines.synth.base.model import Model

Color = tuple[float, float, float]

WOODS: tuple[Color, ...] = (
    (0.46, 0.27, 0.13),
    (0.60, 0.42, 0.24),
    (0.30, 0.16, 0.08),
    (0.70, 0.55, 0.36),
    (0.20, 0.12, 0.07),
    (0.52, 0.33, 0.19),
)
PAINTS: tuple[Color, ...] = (
    (0.80, 0.79, 0.75),
    (0.78, 0.74, 0.64),
    (0.66, 0.74, 0.76),
    (0.70, 0.76, 0.64),
    (0.80, 0.68, 0.60),
    (0.62, 0.66, 0.74),
    (0.74, 0.72, 0.72),
    (0.82, 0.78, 0.58),
)
CLOTHS: tuple[Color, ...] = (
    (0.12, 0.17, 0.32),
    (0.42, 0.08, 0.08),
    (0.10, 0.25, 0.18),
    (0.50, 0.42, 0.30),
    (0.20, 0.20, 0.22),
    (0.58, 0.34, 0.10),
    (0.30, 0.14, 0.28),
    (0.12, 0.32, 0.36),
    (0.62, 0.58, 0.52),
    (0.60, 0.24, 0.20),
)
BRIGHTS: tuple[Color, ...] = (
    (0.70, 0.10, 0.08),
    (0.08, 0.22, 0.55),
    (0.10, 0.42, 0.18),
    (0.80, 0.55, 0.06),
    (0.45, 0.10, 0.42),
    (0.85, 0.82, 0.76),
    (0.06, 0.40, 0.45),
    (0.78, 0.34, 0.10),
    (0.12, 0.12, 0.14),
)
WHITE: Color = (0.78, 0.78, 0.76)


def pick(rng: Generator, colors: Sequence[Color]) -> Color:
    """One of the colours with each channel slightly varied."""
    color = np.array(colors[int(rng.integers(len(colors)))]) * rng.uniform(0.88, 1.12, 3)
    return shade(color, 1.0)


def shade(color: Sequence[float] | np.ndarray, factor: float) -> Color:
    """A colour made darker or lighter, kept in [0, 1]."""
    r, g, b = np.clip(np.asarray(color, dtype=np.float64) * factor, 0.0, 1.0).round(4).tolist()
    return (r, g, b)


def wood(rng: Generator, color: Color, *, scale: float = 0.12) -> Material:
    """Grained wood."""
    return Material(color, shade(color, 0.62), "wood", scale, 0.6, 0.12, seed=_seed(rng))


def cloth(rng: Generator, color: Color, *, texture: str = "fabric", scale: float = 0.012) -> Material:
    """Woven cloth without shine."""
    return Material(color, shade(color, 0.72), texture, scale, 0.5, 0.01, seed=_seed(rng))


def plain(color: Color, *, specular: float = 0.05, emission: float = 0.0) -> Material:
    """One uniform colour."""
    return Material(color, specular=specular, emission=emission)


def plaster(rng: Generator, color: Color) -> Material:
    """Painted plaster, slightly uneven."""
    return Material(color, shade(color, 0.8), "plaster", 0.5, 0.4, 0.02, seed=_seed(rng))


def lacquer(color: Color) -> Material:
    """Painted wood or plastic with some shine."""
    return Material(color, specular=0.2)


def _seed(rng: Generator) -> int:
    return int(rng.integers(1 << 16))


METAL = Material((0.55, 0.56, 0.58), (0.42, 0.43, 0.45), "metal", 0.05, 0.6, 0.6)
DARK_METAL = Material((0.10, 0.10, 0.11), specular=0.35)
CERAMIC = Material((0.82, 0.82, 0.80), specular=0.45)
BLACK = Material((0.03, 0.03, 0.035), specular=0.25)
MIRROR = Material((0.50, 0.56, 0.60), specular=0.9)


class ModelSource(Protocol):
    """Ready-made models that may replace parametric furniture."""

    def draw(self, rng: Generator, role: str) -> Model | None:
        """A model that can replace a piece of furniture of that name, None when there is none."""


@dataclass(frozen=True)
class Style:
    """The style of an apartment: two woods, cabinet lacquer, cloth colours and metal that its furniture shares.

    `models` are ready-made models that replace parametric ones.
    """

    wood: Material
    second_wood: Material
    front: Material
    accent: Color
    cloth: Color
    metal: Material
    models: ModelSource | None = None

    @staticmethod
    def draw(rng: Generator) -> Style:
        """A style at random."""
        first, second = pick(rng, WOODS), pick(rng, WOODS)
        fronts = (lacquer(WHITE), wood(rng, first), lacquer(pick(rng, PAINTS)), wood(rng, second))
        return Style(
            wood(rng, first),
            wood(rng, second),
            fronts[int(rng.integers(len(fronts)))],
            pick(rng, BRIGHTS),
            pick(rng, CLOTHS),
            METAL if rng.random() < 0.6 else DARK_METAL,
        )


@dataclass(frozen=True)
class RoomFinish:
    """Surfaces of one room."""

    wall: Material
    floor: Material
    ceiling: Material
    baseboard: Material | None


def room_finish(rng: Generator, style: Style, kind: str) -> RoomFinish:
    """Paint, floor and baseboard that suit a kind of room; wet rooms are tiled and have no baseboard."""
    ceiling = plaster(rng, (0.82, 0.82, 0.81))
    board = lacquer(WHITE) if rng.random() < 0.6 else style.second_wood
    if kind in ("bathroom",):
        tile = pick(rng, ((0.78, 0.80, 0.80), (0.55, 0.68, 0.72), (0.72, 0.68, 0.60), (0.60, 0.72, 0.64)))
        size = float(rng.choice([0.15, 0.2, 0.3]))
        wall = Material(tile, shade(tile, 0.7), "tiles", size, 0.5, 0.3, seed=_seed(rng))
        dark = shade(tile, 0.55)
        return RoomFinish(
            wall, Material(dark, shade(dark, 0.6), "tiles", 0.3, 0.5, 0.2, seed=_seed(rng)), ceiling, None
        )
    paint = pick(rng, PAINTS)
    wall = plaster(rng, paint)
    if rng.random() < 0.2 and kind in ("living_room", "bedroom", "dining_room"):
        wall = Material(paint, shade(paint, 0.85), "stripes", 0.25, 0.4, seed=_seed(rng))
    elif rng.random() < 0.06 and kind in ("living_room", "office"):
        wall = Material((0.50, 0.28, 0.20), (0.62, 0.60, 0.56), "brick", 0.25, 0.6, seed=_seed(rng))
    return RoomFinish(wall, _floor(rng, style, kind), ceiling, board)


def _floor(rng: Generator, style: Style, kind: str) -> Material:
    draw = rng.random()
    if kind == "kitchen" or (kind in ("hallway", "storage") and draw < 0.5):
        tile = pick(rng, ((0.62, 0.58, 0.52), (0.40, 0.40, 0.42), (0.70, 0.66, 0.58), (0.50, 0.34, 0.26)))
        texture = "checker" if rng.random() < 0.2 else "tiles"
        return Material(tile, shade(tile, 0.65), texture, 0.33, 0.5, 0.15, seed=_seed(rng))
    if kind in ("bedroom", "office") and draw < 0.35:
        return cloth(rng, shade(pick(rng, CLOTHS), 1.3), texture="carpet", scale=0.02)
    plank = replace(style.second_wood, texture="planks", scale=0.14, specular=0.15)
    return plank
