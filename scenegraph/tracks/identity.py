"""Who is who: stays in view that belong to one thing, over absences of any length.

Every set of stays that is given to one thing has a likelihood: each step from a stay to the next over its absence, and the
looks of all of them. Sets are merged pair by pair, the one that gains most first (greedy additive edge contraction of Keuper
et al., ICCV 2015, on log odds), as long as something is gained. What could be either of two things that are known to be two
stays apart: a person too many can be merged by hand, two who are swapped cannot be told apart again.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from scenegraph.tracks.appearance import Look, LookSummary, look_odds, summarise_looks
from scenegraph.tracks.track_config import TrackingConfig

Array = NDArray[np.float64]

PLACE_AREA = 50.0  # square metres over which somebody else would turn up anywhere
FORGOTTEN = 0.01  # least share of stays that begin anywhere, however short the absence
HEADING_LASTS = 10.0  # seconds after which where somebody was says little about where they are
AT_ONCE = 0.5  # seconds that two stays of one thing may overlap, each seen when the other is not
TURNING = 2.0  # seconds after which people walk another way
PACE = 0.8  # m/s; standard deviation of the velocity of people along an axis, standing ones included
SLACK = 0.5  # metres by which two positions may be off together
CLIMB = 0.5  # m/s upwards and downwards
HEIGHT_SPREAD, PEOPLE_HEIGHT_SPREAD = 0.05, 0.12  # metres; standard deviations between stays of one, and between people
WRONG_HEIGHT = 0.03  # share of stays whose height is none, since a part was out of view unnoticed
LEAST_HEIGHTS = 3  # views that show a height
TOLD_APART = -1.0  # log odds below which two are taken for different


@dataclass(frozen=True, eq=False)
class Stay:
    """One thing in view without a long break: its class, the times (T,) when it was seen, its smoothed states (6,), position
    and velocity, at the first and the last of them with their covariances (6, 6), what it looked like, and the heights (K,)
    over the floor that it showed."""

    label_id: int
    times: Array
    first: tuple[Array, Array]
    last: tuple[Array, Array]
    looks: tuple[Look, ...]
    heights: Array


def group_stays(stays: Sequence[Stay], config: TrackingConfig) -> list[list[int]]:
    """Numbers of the stays of each thing, each list in the order of time, the lists by their first number.

    `stays` are ordered by their begin. The result depends on nothing else.
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
    """Stays of one thing, what it looks like, and how high it is, None where that is not known."""

    members: tuple[int, ...]
    look: LookSummary
    height: float | None

    @classmethod
    def of(cls, members: tuple[int, ...], stays: Sequence[Stay]) -> _Group:
        heights = np.concatenate([stays[number].heights for number in members])
        height = float(np.quantile(heights, 0.8)) if len(heights) >= LEAST_HEIGHTS else None
        return cls(members, summarise_looks([look for number in members for look in stays[number].looks]), height)


class _Links:
    """Which stays exclude each other, and the log odds of going from one to the next."""

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
        """Log odds of stays, ordered by begin, being one after another of one thing."""
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
        value = together - links.chain(a.members) - links.chain(b.members) + look_odds(a.look, b.look)
        value += _height_odds(a.height, b.height)
    odds[i, j] = odds[j, i] = value


def _height_odds(a: float | None, b: float | None) -> float:
    """Log odds that two heights are of one thing rather than of two of its class."""
    if a is None or b is None:
        return 0.0
    same, other = 2 * HEIGHT_SPREAD**2, 2 * PEOPLE_HEIGHT_SPREAD**2
    odds = np.log(other / same) / 2 - (a - b) ** 2 * (1 / same - 1 / other) / 2
    return float(np.logaddexp(np.log(1 - WRONG_HEIGHT) + odds, np.log(WRONG_HEIGHT)))


def _best_pair(odds: Array, alive: Sequence[int], margin: float) -> tuple[int, int] | None:
    """The two groups (earlier, later) that are most certainly one and can be confused with no third; None when there are none."""
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
    """Log odds that the begin of a stay is the same thing's next rather than somebody else's.

    Somebody else turns up anywhere at any velocity. Where the same thing turns up is known from where it went, the less the
    longer the absence lasts. What has been here before is likelier than what has not, the less so the longer ago.
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
    """Logarithm of the density of a normal distribution at `away` from its middle."""
    squared = float(away @ np.linalg.solve(covariance, away))
    return -(squared + float(np.linalg.slogdet(2 * np.pi * covariance)[1])) / 2
