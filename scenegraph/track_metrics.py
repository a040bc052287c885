"""How well tracks agree with the true ones, and how much of the moving things remains in the static map."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import shapely
from numpy.typing import ArrayLike, NDArray
from scipy.optimize import linear_sum_assignment
from scipy.spatial import cKDTree

from scenegraph.graph_metrics import ratio
from scenegraph.nodes import TrackNode
from scenegraph.tracks.positions import MAX_GAP, positions_at

Array = NDArray[np.float64]

TRACK_DISTANCE = 0.5  # metres between a true and a predicted centre, as in Khronos (Schmid et al., RSS 2024)
STATIC_DISTANCE = 0.10  # metres; map surface nearer than this to the true static surface is not a ghost
SWEEP_STEP = 0.05  # metres along a path between two positions at which the box is placed


def track_metrics(
    predicted: Sequence[TrackNode],
    truth: Sequence[TrackNode],
    times: ArrayLike,
    *,
    visible: NDArray[np.bool_] | None = None,
) -> dict[str, float]:
    """precision, recall, id_switches and id_f1 of tracks, summed over the time stamps of the frames (T,); count, count_true.

    At each time stamp true and predicted centres are matched one to one, at most 0.5 m apart: pairs of the previous time stamp
    are kept while they remain within reach, the others are assigned at least total distance (CLEAR MOT, Bernardin and
    Stiefelhagen 2008). An id switch is a true track matched to another partner than its last one. id_f1 is the F1 when
    each true track is given one predicted track for all times, and each predicted track one true one (IDF1, Ristani et
    al., ECCVW 2016): it falls when one thing is split into several tracks and when one track covers several things.
    count_true is the number of true tracks that are evaluated at some time.

    `visible` (number of true tracks, T) marks when the true thing was visible; when it was not, it is not evaluated,
    and a prediction matched to it counts neither as right nor as wrong. Labels are not compared.
    """
    times = np.asarray(times, dtype=np.float64)
    places_t, places_p = (_places(tracks, times) for tracks in (truth, predicted))
    seen = np.ones(places_t.shape[:2], dtype=bool) if visible is None else visible
    last_partner: dict[int, int] = {}
    right = asked = said = switches = 0
    for k in range(len(times)):
        here_t, here_p = (np.flatnonzero(np.isfinite(places[:, k, 0])) for places in (places_t, places_p))
        distance = np.linalg.norm(places_t[here_t, None, k] - places_p[None, here_p, k], axis=-1)
        pairs = _assign(distance, here_t, here_p, last_partner)
        counted = [(t, p) for t, p in pairs if seen[t, k]]
        right += len(counted)
        asked += int(seen[here_t, k].sum())
        said += len(here_p) - (len(pairs) - len(counted))
        switches += sum(last_partner.get(t, p) != p for t, p in pairs)
        last_partner.update(pairs)
    return {
        "precision": ratio(right, said),
        "recall": ratio(right, asked),
        "id_switches": switches,
        "id_f1": ratio(2 * _right_for_good(places_t, places_p, seen), asked + said),
        "count": len(predicted),
        "count_true": int((seen & np.isfinite(places_t[..., 0])).any(axis=1).sum()),
    }


def _right_for_good(places_t: Array, places_p: Array, seen: NDArray[np.bool_]) -> int:
    """Time stamps at which true tracks are within reach of the predicted track each is assigned, under the best assignment."""
    near = [
        [int(((np.linalg.norm(t - p, axis=1) <= TRACK_DISTANCE) & visible).sum()) for p in places_p]
        for t, visible in zip(places_t, seen, strict=True)
    ]
    common = np.array(near, dtype=np.int64).reshape(len(places_t), len(places_p))
    return int(common[linear_sum_assignment(common, maximize=True)].sum())


def ghost_area(
    points: ArrayLike, area: float, tracks: Sequence[TrackNode], distance_to_static: Callable[[Array], ArrayLike]
) -> float:
    """Square metres of the static map that are a trace of moving things.

    points (N, 3) are area-weighted samples of the predicted static surface of `area` square metres; a ghost is one that lies
    in the volume that a true dynamic object swept, and more than 10 cm from the true static surface, to which
    `distance_to_static` gives the metres (M,) of points (M, 3). 0 without points.
    """
    points = np.asarray(points, dtype=np.float64)
    swept = np.flatnonzero(in_swept_volume(points, tracks))
    if len(swept) == 0:
        return 0.0
    away = np.asarray(distance_to_static(points[swept])) > STATIC_DISTANCE
    return float(area * away.sum() / len(points))


def swept_surface(tracks: Sequence[TrackNode], shown: Sequence[ArrayLike]) -> float:
    """Square metres of the surface that moving things swept in view: the sides and the top of the volume of each.

    `shown` has for each track the times at which it was in view; the body is an upright cylinder as in `in_swept_volume`.
    """
    total = 0.0
    for track, times in zip(tracks, shown, strict=True):
        places = positions_at(track, times)
        known = np.isfinite(places[:, 0])
        places, moments = places[known, :2], np.asarray(times, dtype=np.float64)[known]
        pieces = np.split(places, np.flatnonzero(np.diff(moments) > MAX_GAP) + 1) if len(places) else []
        lines = [shapely.LineString(piece) if len(piece) > 1 else shapely.Point(piece[0]) for piece in pieces]
        swept = shapely.union_all(lines).buffer(max(track.size[:2]) / 2)
        total += swept.length * float(track.size[2]) + swept.area
    return total


def in_swept_volume(points: Array, tracks: Sequence[TrackNode]) -> NDArray[np.bool_]:
    """(N,) which points lie in an upright cylinder around some position of some track.

    The cylinder is as high as the track's `size` and as wide as its longer side, since a track has no yaw; between samples at
    most one second apart the path is straight.
    """
    inside = np.zeros(len(points), dtype=bool)
    tree = cKDTree(np.reshape(points, (-1, 3))[:, :2])
    for track in tracks:
        radius, half_height = max(track.size[:2]) / 2, track.size[2] / 2
        for place in _path(track):
            near = np.array(tree.query_ball_point(place[:2], radius), dtype=np.int64)
            inside[near[np.abs(points[near, 2] - place[2]) <= half_height]] = True
    return inside


def _path(track: TrackNode) -> Array:
    """Positions (P, 3) along a track, at most `SWEEP_STEP` metres apart where it is known."""
    times, positions = np.asarray(track.times), np.asarray(track.positions, dtype=np.float64)
    pieces = [positions]
    for i in np.flatnonzero(np.diff(times) <= MAX_GAP):
        step = positions[i + 1] - positions[i]
        count = int(np.ceil(np.linalg.norm(step) / SWEEP_STEP))
        pieces.append(positions[i] + np.arange(1, count)[:, None] / max(count, 1) * step)
    return np.concatenate(pieces)


def _places(tracks: Sequence[TrackNode], times: Array) -> Array:
    """(number of tracks, T, 3), NaN where a track is not."""
    return np.array([positions_at(track, times) for track in tracks]).reshape(len(tracks), len(times), 3)


def _assign(
    distance: Array, here_t: NDArray[np.int64], here_p: NDArray[np.int64], last_partner: dict[int, int]
) -> list[tuple[int, int]]:
    """(true, predicted) pairs of one time stamp: earlier partners that are still near first, the rest by least distance."""
    near = distance <= TRACK_DISTANCE
    pairs = [
        (int(t), int(p))
        for i, t in enumerate(here_t)
        for j, p in enumerate(here_p)
        if near[i, j] and last_partner.get(int(t)) == p
    ]
    # Two true tracks may have had the same partner at different times; the nearer one keeps it
    pairs.sort(key=lambda pair: distance[np.searchsorted(here_t, pair[0]), np.searchsorted(here_p, pair[1])])
    kept: list[tuple[int, int]] = []
    for t, p in pairs:
        if p not in {other for _, other in kept}:
            kept.append((t, p))
    free_t = ~np.isin(here_t, [t for t, _ in kept])
    free_p = ~np.isin(here_p, [p for _, p in kept])
    # Every pair within reach is worth more than any distance it costs: the most pairs, then the least distance.
    gain = np.where(near, 1e3 - distance, 0.0)[np.ix_(free_t, free_p)]
    for i, j in zip(*linear_sum_assignment(gain, maximize=True), strict=True):
        if gain[i, j] > 0:
            kept.append((int(here_t[free_t][i]), int(here_p[free_p][j])))
    return sorted(kept)
