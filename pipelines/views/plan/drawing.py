"""A drawing in metres: lines, areas and texts, from which every format is written."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import ArrayLike, NDArray

Array = NDArray[np.float64]
Color = tuple[int, int, int]

HELVETICA = {
    222: "ijl'‘’",
    278: " ftI.,:;/\\!",
    333: "r-()`²³°",
    389: "*",
    500: "ckvsxyzJ",
    556: "abdeghnopquL0123456789–_$#?",
    584: "+<=>~×",
    611: "FTZ",
    667: "ABEKPSVXY&",
    722: "wCDHNRU",
    778: "GOQ",
    833: "mM",
    944: "W",
}
"""Widths of characters in thousandths of the text's height (Adobe's metrics of Helvetica)."""
WIDTHS = {character: width for width, characters in HELVETICA.items() for character in characters}
OTHER_WIDTH = 640


def text_width(text: str, height: float) -> float:
    """How wide a text of a height is, both in the same unit."""
    return sum(WIDTHS.get(character, OTHER_WIDTH) for character in text) * height / 1000


@dataclass(frozen=True, eq=False)
class PlanItem:
    """Lines or an area. `rings` are (N, 2) points in metres; of an area the first is the outline, the others are holes.

    width is in points of paper; `dash` are lengths of strokes and gaps in metres. `title` is shown by viewers that can, and
    `key` is that of the node of the graph that it shows.
    """

    layer: str
    rings: tuple[Array, ...]
    closed: bool = False
    fill: Color | None = None
    fill_opacity: float = 1.0
    stroke: Color | None = None
    width: float = 0.5
    dash: tuple[float, ...] = ()
    title: str = ""
    key: str = ""


@dataclass(frozen=True, eq=False)
class Label:
    """A text whose middle is `at` (2,), `height` metres high, turned by `angle` degrees counter-clockwise."""

    layer: str
    at: Array
    text: str
    height: float
    color: Color = (51, 51, 51)
    angle: float = 0.0
    bold: bool = False

    @property
    def box(self) -> Array:
        """(2, 2) lowest and highest corner of what it covers, with a little room around."""
        half = np.array([text_width(self.text, self.height) / 2 + 0.25 * self.height, 0.62 * self.height])
        if self.angle % 180 == 90:
            half = half[::-1]
        return np.stack([self.at - half, self.at + half])


@dataclass(eq=False)
class Drawing:
    """What is drawn, in order, and the corners `low` and `high` (2,) of it in metres; `text_height` is that of its names."""

    title: str
    low: Array
    high: Array
    text_height: float
    shapes: list[PlanItem] = field(default_factory=list)
    labels: list[Label] = field(default_factory=list)

    @property
    def size(self) -> Array:
        """(2,) metres."""
        return np.asarray(self.high - self.low)

    def area(self, layer: str, outline: ArrayLike, *holes: ArrayLike, **style: object) -> None:
        """Add a filled or outlined area."""
        rings = tuple(np.asarray(ring, dtype=np.float64)[:, :2] for ring in (outline, *holes))
        self.shapes.append(PlanItem(layer, rings, closed=True, **style))  # type: ignore[arg-type]

    def line(self, layer: str, points: ArrayLike, **style: object) -> None:
        """Add a line through points."""
        self.shapes.append(PlanItem(layer, (np.asarray(points, dtype=np.float64)[:, :2],), **style))  # type: ignore[arg-type]


def overlaps(a: Array, b: Array) -> bool:
    """Whether two boxes (2, 2) have more than a border in common."""
    return bool((a[0] < b[1]).all() and (b[0] < a[1]).all())
