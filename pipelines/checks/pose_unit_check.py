"""Whether poses that are read as metres are in metres, of a sequence without depth: by what a network says of single images."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mapping.multiview.features import epipolar_distance
from mapping.se3 import inverse
from pipelines.checks.matches import MatchedPair
from pipelines.posing.scale_estimate import SparseView, estimate_scale

PROBES = 16
"""Images, spread over those with matches, whose depth is predicted."""
LEAST_ANGLE = 0.03
"""Parallax in radians from which a match tells its depth."""
LARGEST_ERROR = 0.006
"""Greatest distance from the epipolar line of a match that is used, in units of the focal length."""
DEVIATIONS = 2.5
"""Standard deviations from which the unit is called wrong."""
LARGE = 5.0
"""Factor from which a map is stopped: outdoors and in halls a network of rooms may be off by less."""
UNITS = {
    "decimetres": 0.1,
    "centimetres": 0.01,
    "millimetres": 0.001,
    "feet": 0.3048,
    "inches": 0.0254,
    "kilometres": 1e3,
}


@dataclass(frozen=True)
class PoseUnit:
    """Metres in one unit of poses that are read as metres, by predicted depth; `deviation` is two standard deviations of it,
    relative."""

    metres: float
    deviation: float

    @property
    def is_wrong(self) -> bool:
        """Whether the poses are in another unit as far as predicted depth can tell."""
        return self._off > DEVIATIONS * self.deviation / 2

    @property
    def is_beyond_doubt(self) -> bool:
        """Whether no room makes up for the difference."""
        return self.is_wrong and self._off > np.log(LARGE)

    @property
    def _off(self) -> float:
        return float(abs(np.log(self.metres)))

    def describe(self) -> str:
        """As a sentence for users."""
        said = f"predicted depth says that one unit is {self.metres:.2g} m (± {self.deviation:.0%})"
        if not self.is_wrong:
            return f"unit of the poses: metres, as the files say; {said}"
        off = {name: abs(np.log(self.metres / size)) for name, size in UNITS.items()}
        name = min(off, key=lambda name: off[name])
        fits = f", as in {name}" if off[name] < self.deviation else ""
        advised = UNITS[name] if fits else float(f"{self.metres:.2g}")
        return f"the poses are read as metres, but {said}{fits}: give it with --scale {advised:g}"


def measure_unit(
    matches: Sequence[MatchedPair], predict: Callable[[int], NDArray[np.float32] | None]
) -> PoseUnit | None:
    """The unit at which predicted depth fits matched features that are triangulated by the poses; None where too few tell.

    `predict` gives the depth (H, W) in metres, 0 unknown, of the image at a position of the sequence, by that image alone, or
    None where it is unreadable.
    """
    views = [(pair, triangulated(pair)) for pair in matches]

    def depth_of(i: int) -> NDArray[np.float32]:
        pair = views[i][0]
        depth = predict(pair.positions[0])
        camera = pair.a.intrinsics
        return np.zeros((camera.height, camera.width), np.float32) if depth is None else depth

    found = estimate_scale([view for _, view in views], depth_of, most_views=PROBES)
    return None if found is None else PoseUnit(found.scale, found.deviation)


def triangulated(pair: MatchedPair) -> SparseView:
    """The matches that have parallax as the first frame shows them, with their depth in the unit of the poses."""
    rays_a, rays_b = pair.rays
    T_a, T_b = pair.poses
    T = np.asarray(inverse(T_b) @ T_a)
    turned, t = rays_a @ T[:3, :3].T, T[:3, 3]
    on_line = np.nan_to_num(epipolar_distance(T, rays_a, rays_b), nan=1.0) < LARGEST_ERROR
    normal = np.cross(turned, rays_b)
    square = (normal**2).sum(axis=1)
    lengths = (turned**2).sum(axis=1) * (rays_b**2).sum(axis=1)
    z = np.einsum("nc,nc->n", np.cross(rays_b, t), normal) / np.maximum(square, 1e-18)
    known = on_line & (square > LEAST_ANGLE**2 * lengths) & (z > 0)
    return SparseView(pair.pixels_a[known], z[known])
