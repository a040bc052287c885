"""Whether recorded depth and poses have one scale: features matched over frames, triangulated by the poses, against depth."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from mapping.depth.robust import biweight, weighted_median, weighted_spread
from mapping.se3 import inverse
from pipelines.checks.depth_matches import DepthMatch, depth_factor_errors
from pipelines.checks.focal import GAIN, FocalLength, best_factor, has_minimum, measure_focal_length
from pipelines.checks.matches import Kind, MatchedPair, count_apart, is_clear_gain
from pipelines.checks.sampler import FrameSampler

Array = NDArray[np.float64]
LEAST_MATCHES, LEAST_PAIRS, LEAST_APART = 15, 6, 3
"""Matches of a pair, pairs, and pairs of which no two share a stretch of the path: with fewer the scale is not told."""
WORTH_A_WARNING, BEYOND_DOUBT = 0.03, 0.1
"""Relative deviation from which the scale is called wrong, and from which, after three times its spread, a map is stopped."""
LARGEST_DEVIATION = 0.1
"""Of the log scale by one pair: pairs with more have too little parallax."""
MATCH_DEVIATION = 0.5 / 640
"""Least standard deviation of a match along each axis, as a share of the image's width."""
SMOOTH = 0.03
"""Greatest relative difference of the depth around a feature: at an edge it may belong to either side."""
PAIR_DEVIATION = 0.02
"""Relative deviation that pairs have anyhow: many matches do not make one pair count for all."""
ITERATIONS = 12
DEPTH_FACTORS = np.exp(np.linspace(np.log(0.7), np.log(1.4), 41))
"""Factors of depth that are tried on pairs of frames with depth."""
AS_READ = 0.01
"""Relative deviation up to which a scale is that of the files: the tried ones are 1.7 % apart."""


@dataclass(frozen=True)
class DepthScale:
    """Depth as it is read, divided by the depth that poses and images say: 1 where both have one scale.

    spread is the standard deviation of the relative error of `ratio`; `pairs` of frames were compared. focal_known is whether
    the images confirm the focal length: another one changes what is triangulated in the same proportion. It was found `by` what
    images triangulate, or by the agreement of the depths of frames under the motion between them.
    """

    ratio: float
    spread: float
    pairs: int
    focal_known: bool
    by: Kind = "images"
    pose_scale: float = 1.0
    """By which the poses of the files were multiplied before."""

    @property
    def is_wrong(self) -> bool:
        """Whether it is clearly off by more than 3 %."""
        return self._off > max(WORTH_A_WARNING, 3 * self.spread)

    @property
    def is_beyond_doubt(self) -> bool:
        """Whether it is off by more than 10 % even at three standard deviations."""
        return self._off - 3 * self.spread > BEYOND_DOUBT and self.focal_known

    @property
    def _off(self) -> float:
        return float(abs(np.log(self.ratio)))

    def describe(self) -> str:
        """As a sentence for users."""
        fits = (
            f"{self.ratio:.3f} times what poses{' and images' if self.by == 'images' else ''} say (± {2 * self.spread:.1%}, "
            f"{self.pairs} pairs of frames)"
        )
        if not self.is_wrong:
            return f"depth scale: as read, depth is {fits}"
        cause = "the unit of the poses" if self.focal_known else "the unit of the poses, or the focal length"
        return (
            f"the scale of depth does not fit the poses: as read, depth is {fits}; either it is off, or {cause}: "
            f"--scale {self.ratio * self.pose_scale:.4g} maps in the unit of depth"
        )


def measure_depth_scale(
    sampler: FrameSampler, matches: Sequence[MatchedPair], focal: FocalLength | None
) -> DepthScale | None:
    """The ratio of depth to what the matches say; None where too few pairs have depth and enough parallax.

    Of each pair of frames the ratio is found together with a small rotation, which tracked poses get wrong by more than their
    distance. The median over the pairs counts; its spread is that of the pairs, of which only those that share no stretch of
    the path are independent, and that of the focal length, which is the one that the images say where the given one is wrong.
    """
    found = [(pair, *estimate) for pair in matches if (estimate := _log_ratio(sampler, pair, focal)) is not None]
    apart = count_apart([pair.positions for pair, _, _ in found])
    if len(found) < LEAST_PAIRS or apart < LEAST_APART:
        return None
    logs = np.array([log for _, log, _ in found])
    weight = 1 / (np.array([deviation for _, _, deviation in found]) ** 2 + PAIR_DEVIATION**2)
    error = 1.25 * weighted_spread(logs, weight) / apart**0.5 * (1 + 2 / apart)
    return DepthScale(
        ratio=float(np.exp(weighted_median(logs, weight))),
        spread=float(np.hypot(error, _focal_deviation(focal))),
        pairs=len(found),
        focal_known=focal is not None,
    )


def scale_by_depth(pairs: Sequence[DepthMatch]) -> DepthScale | None:
    """The same by the agreement of the depths of frames, which their motion moves too far or not far enough; None where there
    are too few pairs, or any scale fits, or another one than that of the files but not clearly."""
    if len(pairs) < LEAST_APART:
        return None
    errors = depth_factor_errors(pairs, DEPTH_FACTORS)
    if not has_minimum(errors, GAIN["depth"]):
        return None
    factor, spread = best_factor(DEPTH_FACTORS, errors)
    found = [pair.error(depth_factor=factor) for pair in pairs]
    given = [pair.error() for pair in pairs]
    if not is_clear_gain(given, found, GAIN["depth"]):
        if abs(np.log(factor)) > max(
            2 * spread, AS_READ
        ):  # another one fits a little better: a camera that hardly moves
            return None
        factor = 1.0
    focal = measure_focal_length([pair.with_depth_times(factor) for pair in pairs])
    return DepthScale(1 / factor, spread, len(pairs), focal is not None and not focal.is_wrong, "depth")


def error_at(pairs: Sequence[DepthMatch], scale: DepthScale) -> float:
    """The mean error of pairs with depth brought to the scale of the poses."""
    return float(np.mean([pair.error(depth_factor=1 / scale.ratio) for pair in pairs]))


def _focal_deviation(focal: FocalLength | None) -> float:
    """Relative deviation of the focal length with which the matches are seen, as far as the images tell."""
    if focal is None:
        return 0.0
    return focal.spread / focal.found if focal.is_wrong else abs(focal.found / focal.given - 1) / 2


def _log_ratio(sampler: FrameSampler, pair: MatchedPair, focal: FocalLength | None) -> tuple[float, float] | None:
    """The log of the ratio and its standard deviation: the mean of what the depth of either frame says."""
    if focal is not None and focal.is_wrong:
        pair = pair.with_focal_factor(focal.found / focal.given)
    both = [_by_depth_of_first(sampler, one) for one in (pair, _turned(pair))]
    known = [found for found in both if found is not None and found[1] < LARGEST_DEVIATION]
    if not known:
        return None
    log, deviation = np.mean(known, axis=0)
    return float(log), float(deviation)


def _turned(pair: MatchedPair) -> MatchedPair:
    """The pair the other way round."""
    return replace(
        pair, positions=pair.positions[::-1], a=pair.b, b=pair.a, pixels_a=pair.pixels_b, pixels_b=pair.pixels_a
    )


def _by_depth_of_first(sampler: FrameSampler, pair: MatchedPair) -> tuple[float, float] | None:
    """The same by the depth of the first frame alone."""
    frame = sampler.frame(pair.positions[0])
    if frame is None or frame.recorded.depth is None:
        return None
    z = _smooth_depth(frame.recorded.depth, pair.pixels_a)
    if (z > 0).sum() < LEAST_MATCHES:
        return None
    rays_a, rays_b = pair.rays
    T_a, T_b = pair.poses
    points = (rays_a * z[:, None])[z > 0]
    return fit_ratio(np.asarray(inverse(T_b) @ T_a), points, rays_b[z > 0], MATCH_DEVIATION * _relative_width(pair))


def _relative_width(pair: MatchedPair) -> float:
    """The image's width in units of the focal length."""
    return pair.a.intrinsics.width / pair.a.intrinsics.fx


def _smooth_depth(depth: NDArray[np.float32], pixels: Array) -> Array:
    """The depth (N,) at pixels (N, 2), 0 where it is unknown or uneven around them."""
    height, width = depth.shape
    u, v = np.rint(pixels).astype(np.int64).T
    inside = (u > 0) & (v > 0) & (u < width - 1) & (v < height - 1)
    u, v = np.clip(u, 1, width - 2), np.clip(v, 1, height - 2)
    around = np.stack([depth[v + j, u + i] for j in (-1, 0, 1) for i in (-1, 0, 1)]).astype(np.float64)
    low, high = around.min(axis=0), around.max(axis=0)
    return np.where(inside & (low > 0) & (high < (1 + 2 * SMOOTH) * low), around[4], 0.0)


def fit_ratio(T_b_a: Array, points: Array, rays_b: Array, deviation: float) -> tuple[float, float] | None:
    """The log of the factor on the translation of a relative pose with which points go to where they are seen, and its standard
    deviation.

    Parameters
    ----------
    T_b_a : (4, 4), of frame a to frame b; its rotation may be off.
    points : (N, 3) in the axes of a, by its depth.
    rays_b : (N, 3; z = 1), where b sees them; some may be wrong.
    deviation : the least standard deviation of the rays along each axis.

    Gauss-Newton over the factor and a rotation, with Tukey's weights. None where the matches determine no positive factor.
    """
    turned, t = points @ T_b_a[:3, :3].T, T_b_a[:3, 3]
    factor, turn = _first_factor(turned, t, rays_b), np.zeros(3)
    if factor is None:
        return None
    information = np.zeros((4, 4))
    for _ in range(ITERATIONS):
        seen = turned + np.cross(turn, turned) + factor * t
        ahead = seen[:, 2] > 0.1 * turned[:, 2].clip(1e-9)
        if ahead.sum() < LEAST_MATCHES:
            return None
        at, error = seen[ahead], (rays_b[ahead, :2] - seen[ahead, :2] / seen[ahead, 2:])
        J = _derivatives(at, turned[ahead], t)
        length = np.linalg.norm(error, axis=1)
        spread = max(float(np.median(length)) / 1.1774, deviation)  # of a Rayleigh distribution
        weight = biweight(length, spread)
        information = np.einsum("n,nik,nil->kl", weight, J, J) / spread**2
        if np.linalg.cond(information) > 1e12:
            return None
        step = np.linalg.solve(information, np.einsum("n,nik,ni->k", weight, J, error) / spread**2)
        turn, factor = turn + step[:3], factor + float(step[3])
    if factor <= 0:
        return None
    return float(np.log(factor)), float(np.linalg.inv(information)[3, 3] ** 0.5 / factor)


def _first_factor(turned: Array, t: Array, rays_b: Array) -> float | None:
    """The median of what single matches say with the rotation as it is; None where that is not positive."""
    per_translation = t[:2] - rays_b[:, :2] * t[2]
    wanted = rays_b[:, :2] * turned[:, 2:] - turned[:, :2]
    size = (per_translation**2).sum(axis=1)
    if not len(size) or float(np.median(size)) <= 1e-18:
        return None
    factor = float(np.median((per_translation * wanted).sum(axis=1) / np.maximum(size, 1e-18)))
    return factor if factor > 0 else None


def _derivatives(seen: Array, turned: Array, t: Array) -> Array:
    """(N, 2, 4) of the image of `seen` (N, 3) by a rotation of `turned` and by the factor of t."""
    x, y, z = seen.T
    by_point = np.zeros((len(seen), 2, 3))
    by_point[:, 0, 0] = by_point[:, 1, 1] = 1 / z
    by_point[:, 0, 2], by_point[:, 1, 2] = -x / z**2, -y / z**2
    a, b, c = turned.T
    zero = np.zeros_like(a)
    by_turn = np.stack([np.stack(row, axis=1) for row in ((zero, c, -b), (-c, zero, a), (b, -a, zero))], axis=1)
    columns = np.concatenate([by_turn, np.broadcast_to(t[None, :, None], (len(seen), 3, 1))], axis=2)
    return np.asarray(by_point @ columns)
