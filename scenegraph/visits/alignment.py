"""One object in two visits: the upright rigid motion between its two surfaces, and how well they then agree.

Each visit may have seen only some sides. So a point of one surface that has no counterpart on the other disagrees only where
the other visit saw free space at its place.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from mapping.se3 import from_rotation_translation, inverse, transform_points, yaw_rotation
from scenegraph.nodes import OrientedBox
from scenegraph.visits.space import CONTRADICTED, StatesOf

Array = NDArray[np.float64]

TOLERANCE = 0.06
"""Metres between two surfaces that are the same."""
PULL = 0.2
"""Metres within which points are drawn to each other."""
STEPS = 6
JUDGED, REFINED = 16, 3
"""Starts that are judged by what both visits saw, and those that are refined, the best ones."""
MOST_POINTS, LEAST_POINTS = 250, 8
"""Points of a surface that are moved onto the other one."""
LEAST_AGREEING = 0.2
"""Share of the points of either surface that must lie on the other one."""


@dataclass(frozen=True, eq=False)
class ObjectMotion:
    """`T` (4, 4) takes the object from its first place to its second; score in [0, 1] is the share of surface that agrees, of
    all that both visits could see; coverage the share of the surface that was seen more of which the other visit has as well."""

    T: Array
    score: float
    coverage: float = 1.0


@dataclass(frozen=True, eq=False)
class SeenObject:
    """An object as one visit saw it: points (N, 3) of its surface and its box, and the states of space in that visit."""

    points: Array
    box: OrientedBox
    states: StatesOf


def align(first: SeenObject, second: SeenObject) -> ObjectMotion:
    """The motion that brings the first surface onto the second; score 0 without enough points."""
    if min(len(first.points), len(second.points)) < LEAST_POINTS:
        return ObjectMotion(np.eye(4), 0.0)
    source, target = _thinned(first.points), _thinned(second.points)
    trees = cKDTree(first.points), cKDTree(second.points)  # of all points: few would miss each other
    points, states = (source, target), (first.states, second.states)
    starts = sorted(_starts(first.box, second.box), key=lambda T: -_agreement(T, source, target, trees))
    likely = [_judged(T, points, trees, states) for T in starts[:JUDGED]]
    likely.sort(key=lambda motion: -motion.score)
    refined = [_refined(motion.T, source, second.points, trees[1]) for motion in likely[:REFINED]]
    return max((_judged(T, points, trees, states) for T in refined), key=lambda motion: motion.score)


def _thinned(points: Array) -> Array:
    if len(points) <= MOST_POINTS:
        return points
    return points[np.linspace(0, len(points) - 1, MOST_POINTS).astype(np.int64)]


def _starts(first: OrientedBox, second: OrientedBox) -> list[Array]:
    """Motions that bring the first box onto the second: base to base, centre to centre with every eighth of a turn; and with
    sides along sides also side to side and top to top, as where one of the two is a part."""
    turn = second.rotation @ first.rotation.T
    between = float(np.arctan2(turn[1, 0], turn[0, 0]))
    bases = [np.array([*box.center[:2], box.center[2] - box.size[2] / 2]) for box in (first, second)]
    starts = [_onto(k * np.pi / 4, bases[0], bases[1]) for k in range(8)]
    for quarter in range(4):
        size = first.size if quarter % 2 == 0 else first.size[[1, 0, 2]]
        slack = (second.size - size) / 2
        for x, y, top in itertools.product((0.0, -1.0, 1.0), (0.0, -1.0, 1.0), (0.0, 1.0)):
            offset = second.rotation @ (slack * [x, y, 0.0]) + [0.0, 0.0, 2 * top * slack[2]]
            starts.append(_onto(between + quarter * np.pi / 2, bases[0], bases[1] + offset))
    return starts


def _onto(yaw: float, point: Array, target: Array) -> Array:
    """The motion that turns by a yaw and takes a point to another one."""
    rotation = yaw_rotation(yaw)
    return from_rotation_translation(rotation, target - rotation @ point)


def _agreement(T: Array, source: Array, target: Array, trees: tuple[cKDTree, cKDTree]) -> float:
    """Share of the points of either surface that lie near the other."""
    there = trees[1].query(transform_points(T, source))[0] < 2 * TOLERANCE
    back = trees[0].query(transform_points(inverse(T), target))[0] < 2 * TOLERANCE
    return float(there.mean() + back.mean()) / 2


def _refined(T: Array, source: Array, target: Array, tree: cKDTree) -> Array:
    """The motion after a few steps of least squares over nearest points (Besl and McKay 1992), upright."""
    for step in range(STEPS):
        moved = transform_points(T, source)
        away, nearest = tree.query(moved, distance_upper_bound=PULL / (1 + step / 2))
        near = np.isfinite(away)
        if near.sum() < 6:
            break
        T = _upright_fit(moved[near], target[nearest[near]]) @ T
    return T


def _upright_fit(source: Array, target: Array) -> Array:
    """The rotation about z and translation (4, 4) of least squares between paired points (N, 3)."""
    a, b = source.mean(axis=0), target.mean(axis=0)
    p, q = (source - a)[:, :2], (target - b)[:, :2]
    yaw = np.arctan2((p[:, 0] * q[:, 1] - p[:, 1] * q[:, 0]).sum(), (p * q).sum())
    rotation = yaw_rotation(float(yaw))
    return from_rotation_translation(rotation, b - rotation @ a)


def _judged(
    T: Array, points: tuple[Array, Array], trees: tuple[cKDTree, cKDTree], states: tuple[StatesOf, StatesOf]
) -> ObjectMotion:
    """A motion with its score; 0 where too few points of either surface lie on the other."""
    agree, against = 0, 0
    shares = []
    for own, other, motion in ((0, 1, T), (1, 0, inverse(T))):
        moved = transform_points(motion, points[own])
        near = trees[other].query(moved)[0] < TOLERANCE
        free = states[other](moved[~near]) == CONTRADICTED
        if near.mean() < LEAST_AGREEING:
            return ObjectMotion(T, 0.0)
        shares.append(float(near.mean()))
        agree, against = agree + int(near.sum()), against + int(free.sum())
    return ObjectMotion(T, agree / (agree + against), min(shares))
