"""Bringing depth of unsure scale into agreement: one frame with a reference, and all frames of a sequence with each other."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

LEAST_PIXELS = 50  # fewer shared pixels fix no scale
MOST_SCALE = 1e3  # an answer beyond this, or below its inverse, is none
ROUNDS = 30  # of reweighting; a dozen are enough in practice
SETTLED = 1e-9
TUNING = 4.685  # of Tukey's biweight: 95 % of least squares' efficiency under normal noise
MAD_TO_DEVIATION = 1.4826  # of a normal distribution
LEAST_SPREAD = 1e-6
OUTLIER_DEVIATIONS = 4.0
LEAST_OUTLIER = 0.02  # log scale; frames nearer than this to the others are no outliers however well those agree


class AlignmentError(ValueError):
    """Ratios or depths from which no alignment can be made; the message names what was expected."""


@dataclass(frozen=True)
class DepthCorrection:
    """What turns a frame's depth into metres: `1 / corrected = (1 / depth) / scale + shift`.

    spread is the robust standard deviation of the relative depth error that remains, pixels the number that were compared.
    """

    scale: float
    shift: float
    spread: float
    pixels: int

    def __call__(self, depth: NDArray[np.float32]) -> NDArray[np.float32]:
        """Corrected depth (H, W) float32; unknown (0) stays unknown, and so does what the shift takes beyond infinity."""
        known = np.isfinite(depth) & (depth > 0)
        inverse = np.divide(1.0, depth, out=np.zeros(depth.shape), where=known) / self.scale + self.shift
        known &= inverse > 0
        return np.divide(1.0, inverse, out=np.zeros(depth.shape), where=known).astype(np.float32)


def align_scale(
    depth: NDArray[np.float32], reference: NDArray[np.float32], weight: NDArray[np.float32] | None = None
) -> DepthCorrection | None:
    """The scale that takes a depth map to a reference: the weighted median of the ratios, which half of the pixels may spoil.

    Parameters
    ----------
    depth, reference : arrays of one shape, metres, 0 or not finite where unknown; pixels known in both count.
    weight : of the same shape, >= 0, or None for all alike.

    Returns None where fewer than 50 pixels are shared. Raises AlignmentError for shapes that differ.
    """
    d, r, w = _shared(depth, reference, weight)
    if len(d) < LEAST_PIXELS:
        return None
    scale = float(np.exp(weighted_median(np.log(r) - np.log(d), w)))
    return DepthCorrection(scale, 0.0, _relative_spread(d * scale, r, w), len(d))


def align_scale_shift(
    depth: NDArray[np.float32], reference: NDArray[np.float32], weight: NDArray[np.float32] | None = None
) -> DepthCorrection | None:
    """Scale and shift of inverse depth that take a depth map to a reference, by iteratively reweighted least squares.

    Starts from the median scale, then Tukey's biweight on relative errors (Holland and Welsch 1977), so that a wrong third of
    the image has no say. Arguments and None as for `align_scale`; where the depths vary too little to tell a shift from a scale,
    or the answer turns depth over, the scale alone is given.
    """
    start = align_scale(depth, reference, weight)
    if start is None:
        return None
    d, r, w = _shared(depth, reference, weight)
    x, y = 1 / d, 1 / r
    if x.std() < 1e-3 * x.mean():
        return start
    slope, shift = 1 / start.scale, 0.0
    for _ in range(ROUNDS):
        error = (slope * x + shift) / y - 1
        trust = w * biweight(error, weighted_spread(error, w)) / (y * y)
        new = _weighted_line(x, y, trust)
        if new is None:
            return start
        settled = abs(new[0] - slope) <= SETTLED * abs(slope) and abs(new[1] - shift) <= SETTLED
        slope, shift = new
        if settled:
            break
    corrected = slope * x + shift
    if not 1 / MOST_SCALE < slope < MOST_SCALE or np.mean(corrected > 0) < 0.9:
        return start
    kept = corrected > 0
    return DepthCorrection(1 / slope, shift, _relative_spread(1 / corrected[kept], r[kept], w[kept]), len(d))


@dataclass(frozen=True)
class PairRatio:
    """What an overlap says: `log_ratio` is the log of depth that frame `first` finds over that of frame `second` at the same
    surfaces; `spread` its standard error, which weighs it."""

    first: int
    second: int
    log_ratio: float
    spread: float = 1.0


@dataclass(frozen=True, eq=False)
class SequenceScales:
    """Scales of all frames of a sequence and how far to trust them.

    scales (N,): depth of a frame times its scale agrees with the others; spread (N,): root mean square of what its overlaps say
    against that, in log scale, nan without any; outliers: frames whose own scale is far from that of the others; groups (N,):
    number of the connected piece a frame belongs to, each of which has a scale of its own; contradicted: overlaps that got no
    weight.
    """

    scales: Array
    spread: Array
    outliers: tuple[int, ...]
    groups: NDArray[np.int64]
    contradicted: tuple[PairRatio, ...]


def pair_ratio(first: int, second: int, depth: NDArray[np.float32], reference: NDArray[np.float32]) -> PairRatio | None:
    """The ratio of two depth maps of the same pixels: frame `first`'s own, and frame `second`'s brought there.

    The standard error is that of a median over pixels of which neighbours are alike: one in ten counts. None with too few.
    """
    found = align_scale(reference, depth)  # second times scale is first
    if found is None:
        return None
    error = max(found.spread, LEAST_SPREAD) * 1.2533 / np.sqrt(max(found.pixels / 10, 1.0))
    return PairRatio(first, second, float(np.log(found.scale)), float(error))


def solve_scales(count: int, pairs: Iterable[PairRatio], *, prior_deviation: float | None = None) -> SequenceScales:
    """Scales of `count` frames from all overlaps at once, so that no frame is the reference by accident.

    Minimises the weighted sum of (s_first + log_ratio - s_second)^2 over the log scales s, sparse least squares with Tukey's
    biweight on the standardised residuals. Scales are only known up to one factor a connected piece: the median log scale of
    each is set to zero, so half the frames may be off without moving the rest. With `prior_deviation` (log scale)
    each frame is also held to scale 1 by a prior of that standard deviation, which bounds drift along weakly linked sequences.

    Raises AlignmentError that names a pair whose frames are not two of 0 .. count - 1 or whose numbers are not usable.
    """
    pairs = tuple(pairs)
    for pair in pairs:
        _check_pair(pair, count)
    first = np.array([pair.first for pair in pairs], dtype=np.int64)
    second = np.array([pair.second for pair in pairs], dtype=np.int64)
    ratio = np.array([pair.log_ratio for pair in pairs], dtype=np.float64)
    precision = np.array([1 / max(pair.spread, LEAST_SPREAD) ** 2 for pair in pairs], dtype=np.float64)
    groups = _groups(count, first, second)
    logs, trust = _robust_logs(count, (first, second, ratio), precision, groups, prior_deviation)
    residual = logs[first] + ratio - logs[second] if pairs else np.zeros(0)
    return SequenceScales(
        np.exp(logs),
        _frame_spread(count, first, second, residual, trust > 0),
        frame_outliers(logs, groups),
        groups,
        tuple(pair for pair, t in zip(pairs, trust, strict=True) if t <= 0),
    )


def weighted_median(values: Array, weight: Array) -> float:
    """The value at which half of the weight lies on either side. Raises AlignmentError when no weight is positive."""
    order = np.argsort(values, kind="stable")
    below = np.cumsum(weight[order])
    if not len(below) or not below[-1] > 0:
        raise AlignmentError("a median needs a positive weight")
    middle = 0.5 * below[-1]
    low = int(np.searchsorted(below, middle, side="left"))
    high = int(np.searchsorted(below, middle, side="right"))  # differs where the weight falls into two equal halves
    return float(0.5 * (values[order[low]] + values[order[min(high, len(order) - 1)]]))


def weighted_spread(values: Array, weight: Array) -> float:
    """A standard deviation that outliers do not move: from the weighted median of the distances to the weighted median."""
    centre = weighted_median(values, weight)
    return max(MAD_TO_DEVIATION * weighted_median(np.abs(values - centre), weight), LEAST_SPREAD)


def _shared(
    depth: NDArray[np.float32], reference: NDArray[np.float32], weight: NDArray[np.float32] | None
) -> tuple[Array, Array, Array]:
    """Depth, reference and weight (n,) of the pixels that are known in both and have a weight."""
    for name, array in (("reference", reference), ("weight", weight)):
        if array is not None and array.shape != depth.shape:
            raise AlignmentError(f"{name} must have shape {depth.shape} like depth, got {array.shape}")
    known = np.isfinite(depth) & (depth > 0) & np.isfinite(reference) & (reference > 0)
    if weight is not None:
        known &= np.isfinite(weight) & (weight > 0)
    w = np.ones(int(known.sum())) if weight is None else weight[known].astype(np.float64)
    return depth[known].astype(np.float64), reference[known].astype(np.float64), w


def _relative_spread(depth: Array, reference: Array, weight: Array) -> float:
    return weighted_spread(depth / reference - 1, weight)


def biweight(error: Array, spread: Array | float) -> Array:
    """Tukey's weights: 1 for no error, 0 beyond 4.685 standard deviations."""
    share = error / (TUNING * np.maximum(spread, LEAST_SPREAD))
    return np.where(np.abs(share) < 1, (1 - share * share) ** 2, 0.0)


def _weighted_line(x: Array, y: Array, weight: Array) -> tuple[float, float] | None:
    """Slope and intercept of y over x, None where they cannot be told apart."""
    total = weight.sum()
    if not total > 0:
        return None
    mean_x, mean_y = (weight * x).sum() / total, (weight * y).sum() / total
    variance = (weight * (x - mean_x) ** 2).sum()
    if not variance > 1e-8 * total * mean_x**2:
        return None
    slope = float((weight * (x - mean_x) * (y - mean_y)).sum() / variance)
    return slope, float(mean_y - slope * mean_x)


def _check_pair(pair: PairRatio, count: int) -> None:
    for name in ("first", "second"):
        if not 0 <= getattr(pair, name) < count:
            raise AlignmentError(f"{pair}: {name} must be a frame in 0 .. {count - 1}")
    if pair.first == pair.second:
        raise AlignmentError(f"{pair}: first and second must be two frames")
    if not (np.isfinite(pair.log_ratio) and np.isfinite(pair.spread) and pair.spread > 0):
        raise AlignmentError(f"{pair}: log_ratio must be finite and spread a positive number")


def _groups(count: int, first: NDArray[np.int64], second: NDArray[np.int64]) -> NDArray[np.int64]:
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    links = coo_array((np.ones(len(first)), (first, second)), shape=(count, count))
    return np.asarray(connected_components(links, directed=False)[1], dtype=np.int64)


def _robust_logs(
    count: int,
    pairs: tuple[NDArray[np.int64], NDArray[np.int64], Array],
    precision: Array,
    groups: NDArray[np.int64],
    prior_deviation: float | None,
) -> tuple[Array, Array]:
    """Log scales (count,) and the robust weight in [0, 1] of each pair."""
    first, second, ratio = pairs
    trust = np.ones(len(ratio))
    logs = np.zeros(count)
    # Least squares first lets a few gross errors bend everything; a start that only they cannot bend is the sum of
    # absolute errors, reached by weights of one over the residual.
    for turn in range(2 * ROUNDS):
        weight = precision * trust
        before, logs = logs, _gauged(_least_squares(count, pairs, weight, prior_deviation), groups, prior_deviation)
        if not len(ratio):
            break
        standard = (logs[first] + ratio - logs[second]) * np.sqrt(precision)
        spread = max(MAD_TO_DEVIATION * float(np.median(np.abs(standard))), 1e-3)
        if turn < ROUNDS:
            trust = 1 / np.maximum(np.abs(standard) / spread, 1e-2)
            trust /= trust.max()
        else:
            trust = biweight(standard, spread)
            if np.abs(logs - before).max() < SETTLED:
                break
    return logs, trust


def _least_squares(
    count: int,
    pairs: tuple[NDArray[np.int64], NDArray[np.int64], Array],
    weight: Array,
    prior_deviation: float | None,
) -> Array:
    """Solve the normal equations: a graph Laplacian, made regular by a prior that is as good as none."""
    from scipy.sparse import coo_array, eye_array
    from scipy.sparse.linalg import spsolve

    first, second, ratio = pairs
    rows = np.concatenate([first, second, first, second])
    columns = np.concatenate([first, second, second, first])
    values = np.concatenate([weight, weight, -weight, -weight])
    laplacian = coo_array((values, (rows, columns)), shape=(count, count)).tocsc()
    largest = float(weight.max()) if len(weight) else 1.0
    hold = 1e-10 * largest if prior_deviation is None else prior_deviation**-2
    right = np.bincount(second, weight * ratio, count) - np.bincount(first, weight * ratio, count)
    return np.asarray(spsolve((laplacian + hold * eye_array(count)).tocsc(), right), dtype=np.float64).reshape(count)


def _gauged(logs: Array, groups: NDArray[np.int64], prior_deviation: float | None) -> Array:
    """Log scales whose median is zero in every group; a prior is a gauge of its own."""
    if prior_deviation is not None:
        return logs
    medians = np.array([np.median(logs[groups == group]) for group in range(groups.max() + 1 if len(groups) else 0)])
    return logs - medians[groups] if len(groups) else logs


def _frame_spread(
    count: int, first: NDArray[np.int64], second: NDArray[np.int64], residual: Array, used: NDArray[np.bool_]
) -> Array:
    """Root mean square (count,) of the residuals of each frame's pairs that were used; nan without any."""
    ends, squares = np.concatenate([first[used], second[used]]), np.tile(residual[used] ** 2, 2)
    number = np.bincount(ends, minlength=count)
    total = np.bincount(ends, squares, count)
    return np.sqrt(np.divide(total, number, out=np.full(count, np.nan), where=number > 0))


def frame_outliers(logs: Array, groups: NDArray[np.int64]) -> tuple[int, ...]:
    """Frames whose log scale is far from the others' in their group."""
    found: list[int] = []
    for group in np.unique(groups):
        members = np.flatnonzero(groups == group)
        if len(members) < 3:
            continue
        weight = np.ones(len(members))
        off = np.abs(logs[members] - np.median(logs[members]))
        limit = max(OUTLIER_DEVIATIONS * weighted_spread(logs[members], weight), LEAST_OUTLIER)
        found += members[off > limit].tolist()
    return tuple(sorted(found))
