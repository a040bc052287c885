"""The builder used by all makers of furniture."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import wraps

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from pipelines.synth.base.materials import Style
from pipelines.synth.base.model import Model, SupportSurface
from pipelines.synth.base.shapes import Shape, merge
from pipelines.synth.base.world import Material, Part

Array = NDArray[np.float64]

Maker = Callable[[Generator, Style], Model]

GAP = 0.0015
"""Metres between parts that touch, so that their surfaces do not coincide."""
MODEL_SHARE = 0.75
"""Probability of a ready-made model where there is one."""


def replaceable(role: str) -> Callable[[Maker], Maker]:
    """A maker that sometimes returns a model from the style's library that can replace `role` (a name of `catalogue_names`)."""

    def decorate(maker: Maker) -> Maker:
        @wraps(maker)
        def make(rng: Generator, style: Style) -> Model:
            if style.models is not None and rng.random() < MODEL_SHARE:
                model = style.models.draw(rng, role)
                if model is not None:
                    return model
            return maker(rng, style)

        return make

    return decorate


@dataclass
class Builder:
    """Collects closed shapes by material and turns them into a model."""

    groups: list[tuple[Material, list[Shape]]] = field(default_factory=list)
    solids: list[Array] = field(default_factory=list)
    surfaces: list[SupportSurface] = field(default_factory=list)

    def add(self, material: Material, *shapes: Shape) -> None:
        """Add closed shapes of one material."""
        for group_material, group in self.groups:
            if group_material == material:
                group.extend(shapes)
                break
        else:
            self.groups.append((material, list(shapes)))
        self.solids.extend(np.concatenate(shape.bounds) for shape in shapes)

    def top(self, x: tuple[float, float], y: tuple[float, float], z: float, headroom: float = 1.0) -> None:
        """Declare a surface that can carry objects."""
        self.surfaces.append(SupportSurface(x, y, z, headroom))

    def model(self, name: str, label: str) -> Model:
        """The finished model, moved so that its origin lies under the centre of its footprint."""
        solids = np.stack(self.solids)
        low, high = solids[:, :3].min(axis=0), solids[:, 3:].max(axis=0)
        shift = np.array([-(low[0] + high[0]) / 2, -(low[1] + high[1]) / 2, -low[2]])
        parts = []
        for material, shapes in self.groups:
            shape = merge(shapes)
            parts.append(Part(shape.vertices + shift, shape.faces, material))
        x, y, z = (float(v) for v in shift)
        surfaces = tuple(
            replace(s, x=(s.x[0] + x, s.x[1] + x), y=(s.y[0] + y, s.y[1] + y), z=s.z + z) for s in self.surfaces
        )
        return Model(name, label, tuple(parts), solids + np.tile(shift, 2), surfaces)


def legs(shape: Callable[[float, float], Shape], half_width: float, half_depth: float) -> list[Shape]:
    """A leg in each corner of a rectangle; `shape(x, y)` makes one."""
    return [shape(sx * half_width, sy * half_depth) for sx in (-1, 1) for sy in (-1, 1)]


def uniform(rng: Generator, low: float, high: float) -> float:
    """A length in metres between two limits, to the millimetre."""
    return round(float(rng.uniform(low, high)), 3)


def choose(rng: Generator, options: Sequence[str]) -> str:
    """One of the options."""
    return str(options[int(rng.integers(len(options)))])
