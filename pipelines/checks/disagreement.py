"""How far recorded frames disagree about what they see: whether depth and labels are exact, or as a network predicts them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mapping.se3 import inverse, transform_points
from pipelines.checks.conventions import GRID_POINTS
from pipelines.checks.sampler import FrameSampler, PairLimits
from pipelines.frame import Frame

Array = NDArray[np.float64]
Indices = NDArray[np.int64]

LIMITS = PairLimits(largest_turn_deg=15.0, longest_step=6)
PAIRS = 24
MOST_LOG_RATIO = 0.3
"""Log ratio of two depths beyond which they are of different surfaces."""
SAME_SURFACE = 0.1
"""And below which labels are compared."""
LEAST_POINTS = 100
"""Compared points of a pair that counts."""
LEAST_PAIRS = 4
LEAST_AGREEMENT = 0.7
"""Share of the points of a pair that agree once the depth of one frame is scaled, from which the scale is all that is wrong."""
NOISY_DEPTH = 0.02
"""Relative difference of the depth of two frames, in the median over pairs, from which depth is aligned: sensors and poses
together stay below half of it, networks above twice."""
NOISY_LABELS = 0.08
"""Share of the surface that two frames give different labels from which labels count as predicted."""


@dataclass(frozen=True)
class Disagreement:
    """What two frames differ in, in the median over pairs, None where it is not known.

    depth : relative difference; labels : share of the surface that they name differently; agreement : share of the points at
    which depth agrees once the difference is taken out.
    """

    depth: float | None = None
    labels: float | None = None
    agreement: float | None = None

    @property
    def of_depth(self) -> bool:
        """Whether recorded depth is not exact."""
        return self.depth is not None and self.depth > NOISY_DEPTH

    @property
    def is_of_scale_alone(self) -> bool:
        """Whether frames fit one another but for the scale of their depth, so that they are read rightly."""
        return self.of_depth and self.agreement is not None and self.agreement > LEAST_AGREEMENT

    @property
    def of_labels(self) -> bool:
        """Whether recorded labels are not exact."""
        return self.labels is not None and self.labels > NOISY_LABELS

    def lines(self) -> list[str]:
        """What is done about it, as sentences for users; empty where frames agree."""
        depth = (
            f"recorded depth differs by {self.depth:.1%} between frames, so it is not exact: it is aligned and mapped like that "
            "of a network (align.mode=off leaves it as it is)"
        )
        labels = f"recorded labels differ on {self.labels:.0%} of the surface between frames: they count as predicted"
        return [text for text, is_so in ((depth, self.of_depth), (labels, self.of_labels)) if is_so]


@dataclass(frozen=True)
class PairComparison:
    """What two frames differ in: log ratio by which the depth of the second one is greater, share of the points that agree with
    that ratio, and of these the share that has another label, None without labels."""

    ratio: float
    agreement: float
    labels: float | None


def measure_disagreement(sampler: FrameSampler) -> Disagreement:
    """Of neighbouring frames with recorded depth, whose poses are in the unit of their depth."""
    places = sampler.pairs(LIMITS, PAIRS)
    frames = ((sampler.frame(a), sampler.frame(b)) for a, b in places)
    compared = [compare(a, b) for a, b in frames if a is not None and b is not None]
    pairs = [pair for pair in compared if pair is not None]
    labels = [pair.labels for pair in pairs if pair.labels is not None]
    return Disagreement(
        _median([abs(pair.ratio) for pair in pairs]), _median(labels), _median([pair.agreement for pair in pairs])
    )


def compare(a: Frame, b: Frame) -> PairComparison | None:
    """What frame b has at the points of frame a; None where they share too few.

    Labels are compared where both are known.
    """
    if a.recorded.depth is None or b.recorded.depth is None:
        return None
    step = max(1, round((a.recorded.depth.size / GRID_POINTS) ** 0.5))
    v, u = (grid.ravel() for grid in np.mgrid[: a.intrinsics.height : step, : a.intrinsics.width : step])
    z = a.recorded.depth[v, u]
    v, u, z = v[z > 0], u[z > 0], z[z > 0]
    points = a.intrinsics.pixel_rays(np.stack([u, v], axis=1)) * z[:, None]
    seen = transform_points(inverse(b.T_world_camera) @ a.T_world_camera, points)
    x, y, inside = _pixels(b, seen)
    there = np.where(inside, b.recorded.depth[y, x], 0)
    known = there > 0
    ratios = np.log(there[known] / seen[known, 2])
    near = np.abs(ratios) < MOST_LOG_RATIO
    if near.sum() < LEAST_POINTS:
        return None
    ratio = float(np.median(ratios[near]))
    same = np.abs(ratios - ratio) < SAME_SURFACE
    chosen = np.flatnonzero(known)[same]
    labels = _different_labels(a, b, (v[chosen], u[chosen]), (y[chosen], x[chosen]))
    return PairComparison(ratio, float(same.mean()), labels)


def _pixels(frame: Frame, points: Array) -> tuple[Indices, Indices, NDArray[np.bool_]]:
    """The nearest pixels x, y (N,) of points (N, 3) in the axes of a frame's camera, 0 outside, and which are inside."""
    camera = frame.intrinsics
    at = np.nan_to_num(camera.project(points), nan=-1.0, posinf=-1.0, neginf=-1.0)
    x, y = np.rint(np.clip(at, -1, 1e6)).astype(np.int64).T
    inside = (x >= 0) & (y >= 0) & (x < camera.width) & (y < camera.height) & (points[:, 2] > 0)
    return np.where(inside, x, 0), np.where(inside, y, 0), inside


def _different_labels(a: Frame, b: Frame, at_a: tuple[Indices, Indices], at_b: tuple[Indices, Indices]) -> float | None:
    """Share of pixels of a, at rows and columns, whose label is another one than that of the same points in b."""
    if a.recorded.labels is None or b.recorded.labels is None:
        return None
    one, other = a.recorded.labels[at_a], b.recorded.labels[at_b]
    both = (one > 0) & (other > 0)
    return float((one != other)[both].mean()) if both.sum() >= LEAST_POINTS else None


def _median(values: Sequence[float]) -> float | None:
    return round(float(np.median(values)), 4) if len(values) >= LEAST_PAIRS else None
