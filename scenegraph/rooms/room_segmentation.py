"""Cutting a storey's floor plan into rooms: basins of the distance to the walls, merged where there is no evidence of a door.

Two methods of finding rooms fail differently: the watershed of the free floor (Bormann et al., ICRA 2016) on open plans, the
dilation of the place graph on clutter. Here both vote, together with lintels, door labels and jambs, on every opening between
two basins.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import binary_dilation, distance_transform_edt, find_objects, label

from scenegraph.graph_config import RoomConfig
from scenegraph.rooms.wall_map import WallMap

Array = NDArray[np.float64]
Indices = NDArray[np.int64]
Mask = NDArray[np.bool_]
Pair = tuple[int, int]

EIGHT = np.ones((3, 3), dtype=bool)
PERSISTENCE = 0.1  # metres that a basin must rise above its pass to be more than noise of the cells
LINTEL_SHARE = 0.6  # share of the free passage between two regions that a lintel must span
MAX_LINTEL_WIDTH = 3.0  # metres; a longer beam is not a doorway
LINTEL_BONUS, DOOR_BONUS = 0.5, 0.4
JAMB_BONUS, PLACES_BONUS = 0.25, 0.15
JAMB_LENGTH = 0.5  # metres along which the wall must continue next to an opening
DECISION = 0.5


@dataclass(frozen=True)
class RegionOpening:
    """Where two regions meet.

    width in metres; position (x, y); ratio: width over the width of the narrower region; lintel, door, jambs: whether surface
    above, a door label, and wall in line on both sides suggest a door; places_differ in [-1, 1]: how far the place graph's
    rooms differ between the two (0 unknown); score >= 0.5 keeps the regions apart.
    """

    width: float
    position: tuple[float, float]
    ratio: float = 1.0
    lintel: bool = False
    door: bool = False
    jambs: bool = False
    places_differ: float = 0.0
    score: float = 0.0


@dataclass(frozen=True, eq=False)
class Segments:
    """Region number (X, Y) of each open cell, -1 elsewhere, in the order of the cells; openings by (smaller, larger) number."""

    labels: Indices
    openings: dict[Pair, RegionOpening] = field(default_factory=dict)
    basins: int = 0

    @property
    def count(self) -> int:
        """Number of regions."""
        return int(self.labels.max(initial=-1)) + 1


class OpeningEvidence:
    """Evidence on the openings of a storey, computed once: clearance (X, Y), metres to walls and lintels, the connected
    lintels, cells near walls and near doors, and the place graph's room (X, Y) of each cell (-1 unknown)."""

    def __init__(self, walls: WallMap, place_rooms: Indices) -> None:
        self.walls, self.place_rooms = walls, place_rooms
        self.clearance: Array = distance_transform_edt(~walls.barrier) * walls.cell_size
        self.near_wall = binary_dilation(walls.wall, EIGHT)
        self.near_door = binary_dilation(walls.door, EIGHT, iterations=max(round(0.2 / walls.cell_size), 1))
        self.lintels = [(*_extent(cells, walls), _around(cells, walls.lintel.shape)) for cells in _pieces(walls.lintel)]


def segment_rooms(walls: WallMap, config: RoomConfig, place_rooms: Indices) -> Segments:
    """Regions of the storey that are rooms; `place_rooms` (X, Y) is the room of the place graph at each cell, -1 unknown.

    Neighbouring basins are merged in increasing order of the opening's score until only doors remain; then regions too
    small for a room are merged into the neighbour behind their widest opening.
    """
    evidence = OpeningEvidence(walls, place_rooms)
    clearance = evidence.clearance
    regions = _persistent(basins(clearance, walls.open), clearance)
    basin_count = int(regions.max(initial=-1)) + 1
    while True:
        openings = find_openings(regions, evidence, config)
        weakest = min(openings, key=lambda pair: (openings[pair].score, -openings[pair].ratio, pair), default=None)
        if weakest is None or openings[weakest].score >= DECISION:
            weakest = _of_smallest(regions, clearance, openings, walls.cell_size, config)
        if weakest is None:
            break
        regions[regions == weakest[1]] = weakest[0]
    return _numbered(_without_small(regions, clearance, walls.cell_size, config), openings, basin_count)


def basins(clearance: Array, inside: Mask) -> Indices:
    """Basin number (X, Y) of each inside cell, -1 outside: cells whose ascent leads to the same maximum of `clearance`.

    Cells of equal clearance are ordered by their position, so plateaus are assigned to basins too, identically in every run.
    """
    flat_inside = np.flatnonzero(inside)
    rank = np.full(inside.size, -1, np.int64)
    by_clearance = flat_inside[np.argsort(clearance.ravel()[flat_inside], kind="stable")]
    rank[by_clearance] = np.arange(len(by_clearance))
    padded = np.pad(rank.reshape(inside.shape), 1, constant_values=-1)
    width, height = inside.shape
    around = [padded[i : i + width, j : j + height] for i in range(3) for j in range(3)]
    uphill = np.arange(inside.size)
    uphill[flat_inside] = by_clearance[np.max(around, axis=0).ravel()[flat_inside]]
    while not np.array_equal(uphill[uphill], uphill):  # pointer jumping: every cell ends at its maximum
        uphill = uphill[uphill]
    numbers = np.full(inside.size, -1, np.int64)
    numbers[flat_inside] = np.unique(uphill[flat_inside], return_inverse=True)[1].ravel()
    return numbers.reshape(inside.shape)


def find_openings(regions: Indices, evidence: OpeningEvidence, config: RoomConfig) -> dict[Pair, RegionOpening]:
    """Every place where two regions meet, through free space or under a lintel, with its evidence and score."""
    walls, peaks = evidence.walls, _peaks(regions, evidence.clearance)
    found: dict[Pair, RegionOpening] = {}
    for pair, saddle, cell in _passes(regions, evidence.clearance):
        x, y = walls.centers(np.array(cell)).tolist()
        found[pair] = RegionOpening(2 * saddle, (x, y), jambs=_has_jambs(evidence, cell, saddle))
    for pair, opening in _lintels(regions, evidence):
        known = found.get(pair)
        if (
            known is None or opening.width > LINTEL_SHARE * known.width
        ):  # else it does not bound the passage between the two
            found[pair] = replace(opening, width=max(opening.width, known.width)) if known else opening
    rooms_of = {region: evidence.place_rooms[regions == region] for region in {k for pair in found for k in pair}}
    for pair, opening in found.items():
        i, j = walls.cell_of(np.array(opening.position))
        judged = replace(
            opening,
            ratio=float(opening.width / (2 * min(peaks[pair[0]], peaks[pair[1]]))),
            door=bool(evidence.near_door[i, j]),
            places_differ=_difference(rooms_of[pair[0]], rooms_of[pair[1]]),
        )
        found[pair] = replace(judged, score=_score(judged, config))
    return found


def _score(opening: RegionOpening, config: RoomConfig) -> float:
    """How door-like an opening is: from its relative width and the other evidence."""
    narrow = (config.merge_ratio - opening.ratio) / (config.merge_ratio - config.split_ratio)
    score = float(np.clip(narrow, 0.0, 1.0)) + PLACES_BONUS * opening.places_differ
    if opening.lintel and opening.width <= MAX_LINTEL_WIDTH:
        score += LINTEL_BONUS + PLACES_BONUS  # the place graph alone cannot outvote a lintel
    return score + DOOR_BONUS * opening.door + JAMB_BONUS * opening.jambs


def _persistent(regions: Indices, clearance: Array) -> Indices:
    """Basins without those that rise less than `PERSISTENCE` above their highest pass, which are merged into the basin
    beyond it."""
    parent = np.arange(int(regions.max(initial=-1)) + 1)
    peaks = _peaks(regions, clearance)

    def root(a: int) -> int:
        while parent[a] != a:
            a = int(parent[a])
        return a

    for crossing in sorted(_passes(regions, clearance), key=lambda crossing: (-crossing.clearance, crossing.regions)):
        a, b = (root(region) for region in crossing.regions)
        low, high = sorted((a, b), key=lambda region: (peaks[region], -region))
        if a != b and peaks[low] - crossing.clearance < PERSISTENCE:
            parent[low] = high
    roots = np.array([root(a) for a in range(len(parent))], dtype=np.int64)
    return np.where(regions >= 0, roots[regions], -1) if len(roots) else regions.copy()


class _Pass(NamedTuple):
    """Where two regions touch: the greatest clearance at which a path leads from one to the other, and the cell there."""

    regions: Pair
    clearance: float
    cell: Pair


def _passes(regions: Indices, clearance: Array) -> list[_Pass]:
    """The pass between each pair of regions that touch, in the order of the pairs."""
    pairs, saddles, cells = [], [], []
    index = np.arange(regions.size).reshape(regions.shape)
    for a, b in ((np.s_[:-1], np.s_[1:]), (np.s_[:, :-1], np.s_[:, 1:])):
        touch = (regions[a] != regions[b]) & (regions[a] >= 0) & (regions[b] >= 0)
        pairs.append(np.sort(np.stack([regions[a][touch], regions[b][touch]], axis=1), axis=1))
        saddles.append(np.minimum(clearance[a][touch], clearance[b][touch]))
        cells.append(np.where(clearance[a][touch] <= clearance[b][touch], index[a][touch], index[b][touch]))
    pair, saddle, cell = np.concatenate(pairs), np.concatenate(saddles), np.concatenate(cells)
    order = np.lexsort((cell, -saddle, pair[:, 1], pair[:, 0]))
    pair, saddle, cell = pair[order], saddle[order], cell[order]
    first = np.flatnonzero((np.diff(pair, axis=0, prepend=[[-1, -1]]) != 0).any(axis=1))
    ij = np.stack(np.unravel_index(cell[first], regions.shape), axis=1)
    touching = [(int(a), int(b)) for a, b in pair[first]]
    places = [(int(i), int(j)) for i, j in ij]
    return [_Pass(*found) for found in zip(touching, saddle[first].tolist(), places, strict=True)]


def _lintels(regions: Indices, evidence: OpeningEvidence) -> list[tuple[Pair, RegionOpening]]:
    """Doorways under lintels: each connected lintel connects the two regions that it touches most."""
    found: dict[Pair, RegionOpening] = {}
    for width, position, around in evidence.lintels:
        touched = regions[around]
        numbers, contact = np.unique(touched[touched >= 0], return_counts=True)
        if len(numbers) < 2:
            continue
        a, b = sorted(numbers[np.argsort(-contact, kind="stable")[:2]].tolist())
        if (a, b) not in found or width > found[(a, b)].width:
            found[(a, b)] = RegionOpening(width, position, lintel=True)
    return sorted(found.items())


def _pieces(mask: Mask) -> list[Indices]:
    """Cells (K, 2) of each connected piece of a mask."""
    pieces, _ = label(mask, EIGHT)
    return [
        np.argwhere(pieces[window] == number) + [axis.start for axis in window]
        for number, window in enumerate(find_objects(pieces), start=1)
    ]


def _extent(cells: Indices, walls: WallMap) -> tuple[float, tuple[float, float]]:
    """Length in metres of a strip of cells (K, 2), that of a line with the same spread, and its centre."""
    spread = np.linalg.eigvalsh(np.cov(cells.T)) if len(cells) > 2 else np.zeros(2)
    x, y = walls.centers(cells.mean(axis=0)).tolist()
    return float(np.sqrt(12 * max(spread[-1], 0.0)) + 1) * walls.cell_size, (x, y)


def _around(cells: Indices, shape: tuple[int, ...]) -> tuple[Indices, ...]:
    """Index of all cells within two steps of some cells (K, 2), in the order of the map."""
    steps = np.array([(i, j) for i in (-2, -1, 0, 1, 2) for j in (-2, -1, 0, 1, 2)])
    around = np.unique((cells[:, None] + steps).reshape(-1, 2), axis=0)
    return tuple(around[((around >= 0) & (around < shape)).all(axis=1)].T)


def _has_jambs(evidence: OpeningEvidence, cell: Pair, half_width: float) -> bool:
    """Whether walls continue in line with an opening on both of its sides, so that it is a gap in a wall.

    The line runs through the wall cell nearest to the pass; on either side most of `JAMB_LENGTH` beyond the opening must be
    wall.
    """
    walls, shape = evidence.walls, evidence.walls.wall.shape
    reach = int(np.ceil((half_width + JAMB_LENGTH) / walls.cell_size)) + 2
    i0, j0 = max(cell[0] - reach, 0), max(cell[1] - reach, 0)
    wall_cells = np.argwhere(walls.wall[i0 : cell[0] + reach + 1, j0 : cell[1] + reach + 1]) + np.array([i0, j0])
    if not len(wall_cells):
        return False
    offsets = wall_cells - np.array(cell)
    nearest = offsets[int(np.argmin((offsets**2).sum(axis=1)))]
    direction = nearest / max(float(np.linalg.norm(nearest)), 1e-9)
    beyond = np.arange(half_width, half_width + JAMB_LENGTH, walls.cell_size) / walls.cell_size + 1
    for sign in (1, -1):
        line = np.round(np.array(cell) + sign * beyond[:, None] * direction).astype(np.int64)
        inside = ((line >= 0) & (line < shape)).all(axis=1)
        if not inside.any() or evidence.near_wall[tuple(line[inside].T)].mean() < 0.7:
            return False
    return True


def _peaks(regions: Indices, clearance: Array) -> Array:
    """Greatest clearance of each region by number."""
    peaks = np.zeros(int(regions.max(initial=-1)) + 1)
    np.maximum.at(peaks, regions[regions >= 0], clearance[regions >= 0])
    return peaks


def _difference(rooms_a: Indices, rooms_b: Indices) -> float:
    """In [-1, 1]: how likely a cell of one and a cell of the other lie in different rooms, 0 when that is undecided."""
    a, b = rooms_a[rooms_a >= 0], rooms_b[rooms_b >= 0]
    if not len(a) or not len(b):
        return 0.0
    count = int(max(a.max(), b.max())) + 1
    same = float(np.bincount(a, minlength=count) @ np.bincount(b, minlength=count)) / (len(a) * len(b))
    return 1 - 2 * same


def _too_small(regions: Indices, clearance: Array, cell_size: float, config: RoomConfig) -> Indices:
    """Numbers of regions that are not rooms by themselves, smallest first."""
    areas = np.bincount(regions[regions >= 0]) * cell_size**2
    is_small = (areas < config.min_area) | (2 * _peaks(regions, clearance) < config.min_width)
    small = np.flatnonzero((areas > 0) & is_small)
    return small[np.argsort(areas[small], kind="stable")]


def _of_smallest(
    regions: Indices, clearance: Array, openings: dict[Pair, RegionOpening], cell_size: float, config: RoomConfig
) -> Pair | None:
    """The widest opening of the smallest region that is not a room by itself; None when all remaining ones have no neighbour."""
    for region in _too_small(regions, clearance, cell_size, config).tolist():
        pairs = [pair for pair in openings if region in pair]
        if pairs:
            return max(pairs, key=lambda pair: (openings[pair].width, pair))
    return None


def _without_small(regions: Indices, clearance: Array, cell_size: float, config: RoomConfig) -> Indices:
    return np.where(np.isin(regions, _too_small(regions, clearance, cell_size, config)), -1, regions)


def _numbered(regions: Indices, openings: dict[Pair, RegionOpening], basin_count: int) -> Segments:
    """Regions numbered 0, 1, ... in the order of their first cell."""
    numbers, first = np.unique(regions[regions >= 0], return_index=True)
    rank = {int(numbers[k]): new for new, k in enumerate(np.argsort(first, kind="stable"))}
    labels = np.full(regions.shape, -1, np.int64)
    for old, new in rank.items():
        labels[regions == old] = new
    kept = {
        (min(rank[a], rank[b]), max(rank[a], rank[b])): opening
        for (a, b), opening in openings.items()
        if a in rank and b in rank
    }
    return Segments(labels, dict(sorted(kept.items())), basin_count)
