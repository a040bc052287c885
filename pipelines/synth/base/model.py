"""Models: pieces of furniture before they are placed in a room."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pipelines.synth.base.world import Part

Array = NDArray[np.float64]


@dataclass(frozen=True)
class SupportSurface:
    """A level rectangle that objects can stand on: x and y range, height z and free height above, metres in the body's frame."""

    x: tuple[float, float]
    y: tuple[float, float]
    z: float
    headroom: float


@dataclass(frozen=True, eq=False)
class Model:
    """An object that can be placed.

    The body's frame: origin under the centre of the footprint, z = 0 at its base, **+y is the front** (the side of its
    user, the direction a chair faces), so the back of furniture at a wall is its -y side. `solids` (K, 6) are the upright boxes
    (low xyz, high xyz) of its pieces; two models whose solids do not intersect do not touch. `surfaces` can carry objects.
    """

    name: str
    label: str
    parts: tuple[Part, ...]
    solids: Array
    surfaces: tuple[SupportSurface, ...] = ()

    @property
    def low(self) -> Array:
        """Lowest corner (3,) of all solids."""
        return np.asarray(self.solids[:, :3].min(axis=0))

    @property
    def high(self) -> Array:
        """Highest corner (3,) of all solids."""
        return np.asarray(self.solids[:, 3:].max(axis=0))

    @property
    def size(self) -> Array:
        """Width, depth and height (3,)."""
        return self.high - self.low
