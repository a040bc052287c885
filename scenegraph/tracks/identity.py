"""Identities: which stays in view belong to one thing, over absences of any length.

Every set of stays that is assigned to one thing has a likelihood: each step from a stay to the next over its absence, and the
looks of all of them. Sets are merged pair by pair, the most likely pair first (greedy additive edge contraction of Keuper
et al., ICCV 2015, on log odds), as long as the likelihood grows. A stay that could be either of two things known to be
distinct stays separate: a superfluous track can be merged by hand, two swapped ones cannot be separated again.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from scenegraph.tracks.appearance import Look, LookSummary, log_odds_same, summarise_looks
from scenegraph.tracks.track_config import TrackingConfig

Array = NDArray[np.float64]

PLACE_AREA = 50.0  # square metres over which somebody else may appear
FORGOTTEN = 0.01  # least share of stays that begin anywhere, for any absence
HEADING_LASTS = 10.0  # seconds after which a past position says little about the present one
AT_ONCE = 0.5  # seconds that two stays of one thing may overlap, each detected when the other is not
TURNING = 2.0  # seconds after which people change direction
PACE = 0.8  # m/s; standard deviation of people's velocity along an axis, standing people included
SLACK = 0.5  # metres of combined error of two positions
CLIMB = 0.5  # m/s, vertical
HEIGHT_SPREAD, PEOPLE_HEIGHT_SPREAD = 0.05, 0.12  # metres; standard deviations within one person, between people
WRONG_HEIGHT = 0.03  # share of stays whose height is wrong, since a part was out of view unnoticed
LEAST_HEIGHTS = 3  # least views for a height
TOLD_APART = -1.0  # log odds below which two are considered different


@dataclass(frozen=True, eq=False)
class Stay:
    """One thing in view without a long break: its class, the times (T,) when it was seen, its smoothed states (6,), position
    and velocity, at the first and the last of them with their covariances (6, 6), its appearance, and its observed heights
    (K,) over the floor."""

    label_id: int
    times: Array
    first: tuple[Array, Array]
    last: tuple[Array, Array]
    looks: tuple[Look, ...]
    heights: Array


def group_stays(stays: Sequence[Stay], config: TrackingConfig) -> list[list[int]]:
    """Numbers of the stays of each thing, each list in temporal order, the lists by their first number.

    `stays` are ordered by their begin. The result is deterministic.
    """
    links = _Links(stays, config)
    groups = [_Group.of((number,), stays) for number in range(len(stays))]
    odds = np.full((len(groups), len(groups)), -np.inf)
    for i in range(len(groups)):
        _compare(groups, odds, i, links)
    alive = list(range(len(groups)))
    while (pair := _best_pair(odds, alive, config.join_margin)) is not None:
        kept, gone = pair
        groups[kept] = _Group.of(tuple(sorted((*groups[kept].members, *groups[gone].members))), stays)
        alive.remove(gone)
        odds[gone, :] = odds[:, gone] = -np.inf
        for other in alive:
            _compare_pair(groups, odds, kept, other, links)
    return sorted(list(groups[number].members) for number in alive)


@dataclass(frozen=True, eq=False)
class _Group:
    """Stays of one thing, its appearance, and its height, None where unknown."""

    members: tuple[int, ...]
    look: LookSummary
    height: float | None

    @classmethod
    def of(cls, members: tuple[int, ...], stays: Sequence[Stay]) -> _Group:
        heights = np.concatenate([stays[number].heights for number in members])
        height = float(np.quantile(heights, 0.8)) if len(heights) >= LEAST_HEIGHTS else None
        return cls(members, summarise_looks([look for number in members for look in stays[number].looks]), height)


class _Links:
    """Which stays exclude each other, and the log odds of transitions between them."""

    def __init__(self, stays: Sequence[Stay], config: TrackingConfig) -> None:
        count = len(stays)
        self.apart = np.ones((count, count), dtype=bool)
        self.odds = np.zeros((count, count))
        for a, before in enumerate(stays):
            for b in range(a + 1, count):
                if _can_follow(before, stays[b], config):
                    self.apart[a, b] = self.apart[b, a] = False
                    self.odds[a, b] = _step_odds(before, stays[b], config)

    def chain(self, members: Sequence[int]) -> float:
        """Log odds of stays, ordered by begin, following each other as one thing."""
        return float(sum(self.odds[a, b] for a, b in pairwise(members)))


def _compare(groups: Sequence[_Group], odds: Array, i: int, links: _Links) -> None:
    for j in range(i):
        _compare_pair(groups, odds, i, j, links)


def _compare_pair(groups: Sequence[_Group], odds: Array, i: int, j: int, links: _Links) -> None:
    """Fill in the log odds of two groups being one thing, -inf where they cannot be."""
    if i == j:
        return
    a, b = groups[i], groups[j]
    value = -np.inf
    if not links.apart[np.ix_(a.members, b.members)].any():
        together = links.chain(sorted((*a.members, *b.members)))
        value = together - links.chain(a.members) - links.chain(b.members) + log_odds_same(a.look, b.look)
        value += _height_odds(a.height, b.height)
    odds[i, j] = odds[j, i] = value


def _height_odds(a: float | None, b: float | None) -> float:
    """Log odds that two heights belong to one thing rather than to two of its class."""
    if a is None or b is None:
        return 0.0
    same, other = 2 * HEIGHT_SPREAD**2, 2 * PEOPLE_HEIGHT_SPREAD**2
    odds = np.log(other / same) / 2 - (a - b) ** 2 * (1 / same - 1 / other) / 2
    return float(np.logaddexp(np.log(1 - WRONG_HEIGHT) + odds, np.log(WRONG_HEIGHT)))


def _best_pair(odds: Array, alive: Sequence[int], margin: float) -> tuple[int, int] | None:
    """The two groups (earlier, later) most certainly of one thing and confused with no third; None when there are none."""
    numbers = np.asarray(alive, dtype=np.int64)
    between = odds[np.ix_(numbers, numbers)]
    rows, columns = np.nonzero(np.triu(between, 1) > 0)
    for k in np.argsort(-between[rows, columns], kind="stable"):
        i, j = int(rows[k]), int(columns[k])
        if not _is_ambiguous(between, i, j, margin) and not _is_ambiguous(between, j, i, margin):
            return int(numbers[i]), int(numbers[j])
    return None


def _is_ambiguous(between: Array, one: int, other: int, margin: float) -> bool:
    """Whether `one` fits two groups that differ nearly as well as it fits `other`, which may be one of the two."""
    near = np.flatnonzero(between[one] >= between[one, other] - margin)
    differ = between[np.ix_(near, near)] < TOLD_APART
    np.fill_diagonal(differ, val=False)
    return bool(differ.any())


def _can_follow(before: Stay, after: Stay, config: TrackingConfig) -> bool:
    """Whether a thing could have come from the end of one stay to the begin of another."""
    gap = float(after.times[0] - before.times[-1])
    if before.label_id != after.label_id or gap <= -AT_ONCE or np.isin(after.times, before.times).any():
        return False
    away = after.first[0][:3] - before.last[0][:3]
    lasting = max(gap, 0.0)
    return bool(
        np.linalg.norm(away[:2]) <= config.max_speed * lasting + SLACK and abs(away[2]) <= CLIMB * lasting + SLACK
    )


def _step_odds(before: Stay, after: Stay, config: TrackingConfig) -> float:
    """Log odds that a stay begins with the same thing rather than with somebody else.

    Somebody else may appear anywhere at any velocity. Where the same thing reappears is predicted from where it went, less
    precisely the longer the absence. A thing seen before is more likely than a new one, decreasingly with time.
    """
    gap = max(float(after.times[0] - before.times[-1]), 1e-3)
    F, Q = _walk(gap)
    over_floor = np.ix_((0, 1, 3, 4), (0, 1, 3, 4))
    state, P = after.first[0][[0, 1, 3, 4]], after.first[1][over_floor]
    expected = F @ before.last[0][[0, 1, 3, 4]]
    near = _log_normal(state - expected, F @ before.last[1][over_floor] @ F.T + Q + P)
    other = _log_normal(state[2:], PACE**2 * np.eye(2) + P[2:, 2:]) - np.log(PLACE_AREA)
    remembered = np.exp(-gap / HEADING_LASTS)
    place = np.logaddexp(np.log(remembered) + near - other, np.log1p(-min(remembered, 1 - FORGOTTEN)))
    return float(place + config.return_odds - config.absence_cost * np.log1p(gap / HEADING_LASTS))


def _walk(gap: float) -> tuple[Array, Array]:
    """Transition (4, 4) and noise of (x, y, vx, vy) over `gap` seconds for a velocity that is forgotten within `TURNING`.

    An Ornstein-Uhlenbeck process, the model of Singer (1970) for targets that manoeuvre, one order lower.
    """
    kept = np.exp(-gap / TURNING)
    shift = TURNING * (1 - kept)
    place = 2 * PACE**2 * TURNING * (gap - 2 * shift + TURNING * (1 - kept**2) / 2)
    F = np.kron(np.array([[1.0, shift], [0.0, kept]]), np.eye(2))
    both = PACE**2 * TURNING * (1 - kept) ** 2
    return F, np.kron(np.array([[place, both], [both, PACE**2 * (1 - kept**2)]]), np.eye(2))


def _log_normal(away: Array, covariance: Array) -> float:
    """Logarithm of the density of a normal distribution at `away` from its mean."""
    squared = float(away @ np.linalg.solve(covariance, away))
    return -(squared + float(np.linalg.slogdet(2 * np.pi * covariance)[1])) / 2
