"""Alignment of the depth of all frames of a sequence at once: one sparse least squares over smooth corrections.

Every frame has an unknown `DepthField`. A sample of one frame, brought into another, should lie on the surface
that the other measured there: its distance to the tangent plane there, as a log ratio, is linear in both corrections
(point-to-plane association by projection as in Blais and Levine 1995 for poses). Predicted normals give the change of log depth
between samples of one frame, and known depths (sparse points) its value; both are linear too. All are weighted by
Tukey's biweight, matched again and solved again until they converge. No frame is the reference: a Gaussian process keeps
corrections as small and as smooth as the errors of networks are, and poses in metres determine the common scale.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from mapping.depth.correction import DepthField, field_covariance, hats
from mapping.depth.depth_config import AlignmentConfig
from mapping.depth.robust import MAD_TO_DEVIATION, biweight, frame_outliers
from mapping.depth.samples import DepthSamples, choose_pairs
from mapping.se3 import inverse

Array = NDArray[np.float64]
Indices = NDArray[np.int64]

MATCH_STRIDE = 3  # of the samples of a frame that are projected into another
SLOPE_STRIDE = 2  # samples apart between which normals are compared with depth
MAX_LOG_RATIO = 0.4  # log ratio beyond which a match is rejected
MIN_NORMAL_COSINE = 0.7  # cosine between the normals of a match
MIN_COSINE = 0.15  # between normal and ray
MIN_NORMAL_SUM = 1.9  # length of the sum of two normals on one plane
FIRST_DEVIATION = 0.1  # of log ratios in the first round
MIN_DEVIATION = 0.004  # of log ratios, however well frames agree
MIN_SLOPE_DEVIATION = 0.3  # of the expected one
CORRELATED = 10.0  # adjacent samples whose errors are one and the same
MIN_MATCHES = 30
CONVERGED = 1e-3


@dataclass(frozen=True, eq=False)
class KnownDepth:
    """What the depth of a frame's samples should be: sample (n,) flat indices, depth (n,) metres, deviation (n,) relative."""

    sample: Indices
    depth: Array
    deviation: Array


@dataclass(frozen=True, eq=False)
class SequenceAlignment:
    """The corrections of all frames and their quality.

    residual (N,) is the robust standard deviation of the log ratio between a frame and the others after correction, nan with
    too few matches; matches (N,) the number of samples that were compared; outliers the frames whose scale is far from
    that of the others.
    """

    fields: tuple[DepthField, ...]
    residual: Array
    matches: Indices
    outliers: tuple[int, ...]

    @property
    def scales(self) -> Array:
        """(N,) mean scale of each frame."""
        return np.array([field.scale for field in self.fields])


def align_sequence(
    frames: Sequence[DepthSamples],
    config: AlignmentConfig | None = None,
    known: Sequence[KnownDepth | None] | None = None,
) -> SequenceAlignment:
    """Corrections that bring all frames into agreement with each other and with their known depths.

    Raises ValueError unless all frames have the same number of samples.
    """
    config = config or AlignmentConfig()
    count = len(frames)
    if not count:
        return SequenceAlignment((), np.zeros(0), np.zeros(0, np.int64), ())
    problem = _Problem(frames, config, known or [None] * count)
    pairs = choose_pairs(frames, config.neighbours, config.min_overlap)
    unknowns = np.zeros((count, problem.size))
    for turn in range(config.rounds):
        # The first deviations are large, so that a frame with a large error is not rejected before it is corrected.
        least = max(FIRST_DEVIATION / 4**turn, MIN_DEVIATION)
        step = problem.solve(problem.match(pairs, unknowns, least), unknowns)
        unknowns += step
        if np.abs(step).max() < CONVERGED:
            break
    residual, matched = _frame_residuals(count, problem.match(pairs, unknowns, MIN_DEVIATION))
    fields = tuple(problem.field(x) for x in unknowns)
    logs = np.log([field.scale for field in fields])
    return SequenceAlignment(fields, residual, matched, frame_outliers(logs))


@dataclass(frozen=True, eq=False)
class _Matches:
    """Matched samples: pairs (P, 2) of frames i and j, starts (P + 1,) of the matches of each pair, and per match: sample a of i,
    sample b of j, the log ratio of i over j, its derivative by the correction of i (that of j is -1), and the weight."""

    pairs: Indices
    starts: Indices
    a: Indices
    b: Indices
    ratio: Array
    slope: Array
    weight: Array


class _Problem:
    """The least squares of a sequence. Unknowns (N, K + 1) are the nodes of each frame and its shift."""

    def __init__(
        self, frames: Sequence[DepthSamples], config: AlignmentConfig, known: Sequence[KnownDepth | None]
    ) -> None:
        self.frames, self.config, self.known = frames, config, known
        shape = frames[0].depth.shape
        if any(frame.depth.shape != shape for frame in frames):
            raise ValueError("all frames must have samples of the same shape")
        rows, columns = hats(shape[0], config.rows), hats(shape[1], config.columns)
        self.hats = np.einsum("ra,cb->rcab", rows, columns).reshape(shape[0] * shape[1], -1)
        self.size = self.hats.shape[1] + 1
        grid = np.zeros(shape, bool)
        grid[MATCH_STRIDE // 2 :: MATCH_STRIDE, MATCH_STRIDE // 2 :: MATCH_STRIDE] = True
        self.lattice = np.flatnonzero(grid)
        self.precision = self._prior(shape[0] / shape[1])
        use = config.normals and self.size > 2
        self.slopes = [self._slope_terms(frame) if use and frame.predicted else None for frame in frames]

    def field(self, unknowns: Array) -> DepthField:
        """The correction of a frame's unknowns (K + 1,)."""
        return DepthField(unknowns[:-1].reshape(self.config.rows, self.config.columns).copy(), float(unknowns[-1]))

    def corrected(self, frame: int, unknowns: Array) -> Array:
        """(S,) corrected depth of all samples, 0 unknown."""
        depth, x = self.frames[frame].depth.ravel(), unknowns[frame]
        inverse_depth = np.divide(np.exp(-self.hats @ x[:-1]), depth, out=np.zeros(len(depth)), where=depth > 0) + x[-1]
        good = (depth > 0) & (inverse_depth > 1e-3)
        return np.divide(1.0, inverse_depth, out=np.zeros(len(depth)), where=good)

    def match(self, pairs: Indices, unknowns: Array, least: float) -> _Matches:
        """Project samples of the first frame of each pair into its second; `least` is a lower limit of the deviation."""
        depths = [self.corrected(i, unknowns) for i in range(len(self.frames))]
        none, no_index = np.zeros(0), np.zeros(0, np.int64)
        found = [(no_index, no_index, none, none, none), *(self._match_pair(i, j, depths) for i, j in pairs)]
        starts = np.cumsum([len(a) for a, *_ in found]).astype(np.int64)
        matches = _Matches(pairs, starts, *(np.concatenate(column) for column in zip(*found, strict=True)))
        ratio = matches.ratio
        return replace(matches, weight=matches.weight * biweight(ratio, _spread(ratio, least)))

    def _match_pair(self, i: int, j: int, depths: Sequence[Array]) -> tuple[Indices, Indices, Array, Array, Array]:
        first, second = self.frames[i], self.frames[j]
        T = inverse(second.T_world_camera) @ first.T_world_camera
        a = self.lattice[depths[i][self.lattice] > 0]
        turned = first.rays.reshape(-1, 3)[a] * depths[i][a, None] @ T[:3, :3].T
        points = turned + T[:3, 3]
        good, _, b = second.look_up(points)
        normal = second.normals.reshape(-1, 3)[b]
        there = second.rays.reshape(-1, 3)[b] * depths[j][b, None]
        here_along, there_along, moved = (np.einsum("nc,nc->n", normal, x) for x in (points, there, turned))
        own = first.normals.reshape(-1, 3)[a] @ T[:3, :3].T
        good &= (depths[j][b] > 0) & (-there_along > MIN_COSINE * np.linalg.norm(there, axis=1)) & (here_along < 0)
        good &= np.einsum("nc,nc->n", own, normal) > MIN_NORMAL_COSINE
        here_along, there_along = np.where(good, here_along, -1.0), np.where(good, there_along, -1.0)
        ratio = np.log(here_along / there_along)  # a log treats both frames alike; a quotient would favour short depths
        good &= np.abs(ratio) < MAX_LOG_RATIO
        weight = np.sqrt(first.weight.ravel()[a] * second.weight.ravel()[b])
        return a[good], b[good], ratio[good], (moved / here_along)[good], weight[good]

    def solve(self, matches: _Matches, unknowns: Array) -> Array:
        """The step (N, K + 1) of the unknowns."""
        from scipy.sparse import bsr_array

        count, size, pairs = len(self.frames), self.size, matches.pairs
        diagonal = np.repeat(self.precision[None], count, axis=0)
        right = -unknowns @ self.precision
        jacobians = [self._jacobian(i, unknowns) for i in range(count)]
        cross = np.zeros((len(pairs), size, size))
        trust = matches.weight / (CORRELATED * self.config.depth_deviation**2)
        for p, (i, j) in enumerate(pairs):
            part = slice(matches.starts[p], matches.starts[p + 1])
            J_i = jacobians[i][matches.a[part]] * matches.slope[part, None]
            J_j = -jacobians[j][matches.b[part]]
            weighted_i, weighted_j = J_i * trust[part, None], J_j * trust[part, None]
            diagonal[i] += weighted_i.T @ J_i
            diagonal[j] += weighted_j.T @ J_j
            cross[p] = weighted_i.T @ J_j
            right[i] -= weighted_i.T @ matches.ratio[part]
            right[j] -= weighted_j.T @ matches.ratio[part]
        for i in range(count):
            self._add_slopes(i, unknowns[i], diagonal[i], right[i])
            self._add_known(i, unknowns, jacobians[i], diagonal[i], right[i])
        rows = np.concatenate([np.arange(count), pairs[:, 0], pairs[:, 1]])
        columns = np.concatenate([np.arange(count), pairs[:, 1], pairs[:, 0]])
        blocks = np.concatenate([diagonal, cross, cross.transpose(0, 2, 1)])
        order = np.lexsort((columns, rows))
        starts = np.searchsorted(rows[order], np.arange(count + 1))
        matrix = bsr_array((blocks[order], columns[order], starts), shape=(count * size,) * 2)
        return _conjugate_gradient(matrix, diagonal, right)

    def _jacobian(self, frame: int, unknowns: Array) -> Array:
        """(S, K + 1) change of a frame's log depth with its unknowns."""
        depth = self.corrected(frame, unknowns)
        return np.concatenate([self.hats * (1 - unknowns[frame, -1] * depth)[:, None], -depth[:, None]], axis=1)

    def _prior(self, aspect: float) -> Array:
        """(K + 1, K + 1) precision of the unknowns of a frame before any observation."""
        config = self.config
        covariance = np.zeros((self.size, self.size))
        covariance[:-1, :-1] = field_covariance(
            config.rows,
            config.columns,
            aspect,
            scale_deviation=config.scale_deviation,
            field_deviation=config.field_deviation,
            length=config.field_length,
        )
        covariance[-1, -1] = max(config.shift_deviation, 1e-6) ** 2
        return np.asarray(np.linalg.inv(covariance))

    def _slope_terms(self, frame: DepthSamples) -> tuple[Array, Array, Array]:
        """Constraints of the normals of a frame: (n, K) differences of hats, (n,) excess of the change of log depth between two
        samples, (n,) precision. On a plane n . x = d, depth along a ray r is d / (n . r)."""
        rows, columns = frame.depth.shape
        index = np.arange(rows * columns).reshape(rows, columns)
        k = SLOPE_STRIDE
        pairs = [(index[::k, :-k:k], index[::k, k::k]), (index[:-k:k, ::k], index[k::k, ::k])]
        a = np.concatenate([first.ravel() for first, _ in pairs])
        b = np.concatenate([second.ravel() for _, second in pairs])
        depth, normals, rays = frame.depth.ravel(), frame.normals.reshape(-1, 3), frame.rays.reshape(-1, 3)
        mean = normals[a] + normals[b]
        length = np.linalg.norm(mean, axis=1)
        along_a, along_b = (np.einsum("nc,nc->n", mean, rays[x]) / np.maximum(length, 1e-9) for x in (a, b))
        good = (depth[a] > 0) & (depth[b] > 0) & (length > MIN_NORMAL_SUM)
        good &= (along_a < -MIN_COSINE) & (along_b < -MIN_COSINE)
        a, b = a[good], b[good]
        along_a, along_b = along_a[good], along_b[good]
        excess = np.log(depth[b] / depth[a]) - np.log(along_a / along_b)
        angle = np.linalg.norm(rays[b] - rays[a], axis=1)
        deviation = np.deg2rad(self.config.normal_deviation_deg) * angle / np.minimum(-along_a, 1.0) ** 2
        weight = np.sqrt(frame.weight.ravel()[a] * frame.weight.ravel()[b])
        return self.hats[b] - self.hats[a], excess, weight / (CORRELATED * deviation**2)

    def _add_slopes(self, frame: int, unknowns: Array, diagonal: Array, right: Array) -> None:
        """Add the constraints of normals to the normal equations of a frame."""
        terms = self.slopes[frame]
        if terms is None or not len(terms[1]):
            return
        J, excess, precision = terms
        error = excess + J @ unknowns[:-1]
        standard = error * np.sqrt(CORRELATED * precision)
        trust = precision * biweight(standard, _spread(standard, MIN_SLOPE_DEVIATION))
        diagonal[:-1, :-1] += (J * trust[:, None]).T @ J
        right[:-1] -= (J * trust[:, None]).T @ error

    def _add_known(self, frame: int, unknowns: Array, jacobian: Array, diagonal: Array, right: Array) -> None:
        """Add the known depths of a frame to its normal equations."""
        known = self.known[frame]
        if known is None:
            return
        depth = self.corrected(frame, unknowns)[known.sample]
        good = (depth > 0) & (known.depth > 0)
        error = np.log(np.where(good, depth, 1.0) / np.where(good, known.depth, 1.0))
        good &= np.abs(error) < 2 * MAX_LOG_RATIO
        error, J = error[good], jacobian[known.sample[good]]
        if not len(error):
            return
        trust = biweight(error, _spread(error, MIN_DEVIATION)) / known.deviation[good] ** 2
        diagonal += (J * trust[:, None]).T @ J
        right -= (J * trust[:, None]).T @ error


def _spread(error: Array, least: float) -> float:
    return max(MAD_TO_DEVIATION * float(np.median(np.abs(error))), least) if len(error) else least


def _conjugate_gradient(matrix: object, diagonal: Array, right: Array) -> Array:
    """Solve with the inverses of the diagonal blocks (N, k, k) as preconditioner."""
    from scipy.sparse.linalg import LinearOperator, cg

    inverses = np.linalg.inv(diagonal)

    def precondition(x: Array) -> Array:
        return np.asarray(np.einsum("nab,nb->na", inverses, x.reshape(right.shape)).ravel())

    operator = LinearOperator((right.size, right.size), matvec=precondition)
    solution, _ = cg(matrix, right.ravel(), rtol=1e-6, maxiter=500, M=operator)
    return np.asarray(solution).reshape(right.shape)


def _frame_residuals(count: int, matches: _Matches) -> tuple[Array, Indices]:
    """Robust deviation (N,) of the residuals between each frame and the others, and the number of matches (N,)."""
    ratios: list[list[Array]] = [[] for _ in range(count)]
    for p, pair in enumerate(matches.pairs):
        part = slice(matches.starts[p], matches.starts[p + 1])
        kept = matches.ratio[part][matches.weight[part] > 0]
        for frame in pair:
            ratios[frame].append(kept)
    joined = [np.concatenate([np.zeros(0), *parts]) for parts in ratios]
    numbers = np.array([len(ratio) for ratio in joined], np.int64)
    residual = [_spread(ratio, 0.0) if len(ratio) >= MIN_MATCHES else np.nan for ratio in joined]
    return np.array(residual, np.float64), numbers
