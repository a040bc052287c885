"""Rooms as what stays connected when obstacles grow: the dilation filtration of the place graph.

Dilating all obstacles by d removes places with clearance <= d and edges with clearance <= d; doors close first and rooms fall
apart. The rooms are read off at the dilation where their number is stable (Hughes et al., RSS 2022; Hydra's
PLATEAU).
"""

from __future__ import annotations

import heapq
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components

from scenegraph.graph_config import RoomConfig
from scenegraph.rooms.places import Places

Array = NDArray[np.float64]
Indices = NDArray[np.int64]

STEP = 0.01  # metres between dilations


@dataclass(frozen=True, eq=False)
class Filtration:
    """Room number (N,) of each place, -1 where none was reached, the dilation in metres and the number of rooms."""

    rooms: Indices
    dilation: float
    count: int


def filter_places(places: Places, config: RoomConfig) -> Filtration:
    """Rooms of the place graph; a single room when no dilation in the window separates any."""
    dilation = stable_dilation(places, config)
    rooms = _grow(places, _seeds(places, dilation, config.min_component))
    if rooms.max(initial=-1) < 0:
        return Filtration(np.zeros(len(places), np.int64), 0.0, min(len(places), 1))
    return Filtration(rooms, dilation, int(rooms.max()) + 1)


def component_counts(places: Places, dilations: Array, min_component: int) -> Indices:
    """Number (D,) of pieces with at least `min_component` places that each dilation (D,) leaves."""
    return np.array([_seeds(places, d, min_component).max(initial=-1) + 1 for d in dilations], dtype=np.int64)


def stable_dilation(places: Places, config: RoomConfig) -> float:
    """The dilation at which the largest stable number of rooms first appears (0 when no dilation in the window leaves a room).

    Pieces are counted at every centimetre. Runs of equal count of at least `plateau_ratio` of the longest are candidates;
    the one with the most rooms wins, then the longest, then the first.
    """
    dilations = np.arange(config.min_dilation, config.max_dilation, STEP)
    counts = component_counts(places, dilations, config.min_component)
    starts = np.flatnonzero(np.diff(counts, prepend=-1))
    lifetimes = np.diff(np.append(starts, len(counts)))
    rooms = counts[starts]
    if not (rooms > 0).any():
        return 0.0
    lasting = (rooms > 0) & (lifetimes >= config.plateau_ratio * lifetimes[rooms > 0].max())
    best = max(np.flatnonzero(lasting), key=lambda run: (rooms[run], lifetimes[run], -run))
    return float(dilations[starts[best]])


def _seeds(places: Places, dilation: float, min_component: int) -> Indices:
    """Piece (N,) of each place after a dilation, -1 for removed places and pieces with too few places."""
    alive = places.radii > dilation
    edges = places.edges[(places.clearances > dilation) & alive[places.edges].all(axis=1)]
    count = len(places)
    if count == 0:
        return np.zeros(0, np.int64)
    graph = coo_matrix((np.ones(len(edges), np.int8), (edges[:, 0], edges[:, 1])), shape=(count, count))
    component = connected_components(graph, directed=False)[1].astype(np.int64)
    large = alive & (np.bincount(component[alive], minlength=count)[component] >= min_component)
    seeds = np.full(count, -1, np.int64)
    _, first, number = np.unique(component[large], return_index=True, return_inverse=True)
    seeds[large] = np.argsort(np.argsort(first, kind="stable"), kind="stable")[number.ravel()] if large.any() else 0
    return seeds


def _grow(places: Places, seeds: Indices) -> Indices:
    """Flood the seeds over the graph, always along the widest edge first."""
    rooms = seeds.copy()
    neighbours: list[list[tuple[float, int]]] = [[] for _ in range(len(places))]
    for (a, b), clearance in zip(places.edges.tolist(), places.clearances.tolist(), strict=True):
        neighbours[a].append((clearance, b))
        neighbours[b].append((clearance, a))
    queue = [(-c, b, a) for a in np.flatnonzero(seeds >= 0).tolist() for c, b in neighbours[a]]
    heapq.heapify(queue)
    while queue:
        _, place, origin = heapq.heappop(queue)
        if rooms[place] < 0:
            rooms[place] = rooms[origin]
            for clearance, other in neighbours[place]:
                heapq.heappush(queue, (-clearance, other, place))
    return rooms
