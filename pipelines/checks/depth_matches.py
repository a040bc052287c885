"""Pairs of frames compared by their recorded depth: what tells of focal length, times and scale where images show no features."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from mapping.se3 import inverse, transform_points
from pipelines.checks.conventions import AGREEMENT, LEAST_OVERLAP, grid_step, pixels_of
from pipelines.checks.matches import LIMITS, MATCHED_PAIRS, Kind, Lens
from pipelines.checks.sampler import FrameSampler
from pipelines.frame import FrameInfo

Array = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class DepthMatch:
    """Two frames: pixels (N, 2) of the first with their depth (N,), and the depth (H, W) of the second."""

    kind: ClassVar[Kind] = "depth"
    a: FrameInfo
    b: FrameInfo
    pixels: Array
    depths: Array
    other: NDArray[np.float32]

    @property
    def count(self) -> int:
        """Points that are compared."""
        return len(self.pixels)

    def with_depth_times(self, factor: float) -> DepthMatch:
        """The same frames with another scale of depth."""
        return replace(self, depths=factor * self.depths, other=(factor * self.other).astype(np.float32))

    def error(self, T_b_a: Array | None = None, lens: Lens | None = None, depth_factor: float = 1.0) -> float:
        """Mean relative difference of the depths, each clipped at `AGREEMENT`, with both depths times `depth_factor`; see
        `ComparedPair`. Points are counted as wrong where too few of them are seen."""
        a, b = (frame.intrinsics if lens is None else lens(frame.intrinsics) for frame in (self.a, self.b))
        assert self.a.T_world_camera is not None
        assert self.b.T_world_camera is not None
        T = inverse(self.b.T_world_camera) @ self.a.T_world_camera if T_b_a is None else T_b_a
        points = a.pixel_rays(self.pixels) * (depth_factor * self.depths)[:, None]
        seen = transform_points(np.asarray(T), points)
        u, v, inside = pixels_of(b, seen)
        there = depth_factor * self.other[v, u]
        known = inside & (there > 0)
        differences = np.minimum(np.abs(there[known] - seen[known, 2]) / seen[known, 2], AGREEMENT)
        missing = max(LEAST_OVERLAP * self.count - known.sum(), 0.0)
        return float((differences.sum() + AGREEMENT * missing) / max(known.sum() + missing, 1.0))


def depth_matches(sampler: FrameSampler) -> list[DepthMatch]:
    """Pairs spread over a sequence, of frames that have turned and moved and have depth."""
    found = []
    for first, second in sampler.pairs(LIMITS, MATCHED_PAIRS):
        a, b = sampler.frame(first), sampler.frame(second)
        if a is None or b is None:
            continue
        if a.recorded.depth is None or b.recorded.depth is None:
            continue
        step = grid_step(a)
        v, u = np.nonzero(a.recorded.depth[::step, ::step])
        if len(u):
            pixels = step * np.stack([u, v], axis=1).astype(np.float64)
            depths = a.recorded.depth[step * v, step * u].astype(np.float64)
            infos = sampler.sequence.infos
            found.append(DepthMatch(infos[first], infos[second], pixels, depths, b.recorded.depth))
    return found


def depth_factor_errors(pairs: Sequence[DepthMatch], factors: Array) -> Array:
    """(F, pairs) the errors with depths times the factors (F,)."""
    return np.array([[pair.error(depth_factor=float(f)) for pair in pairs] for f in factors])
