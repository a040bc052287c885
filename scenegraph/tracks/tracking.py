"""From the detections of every frame to the tracks of a whole sequence: positions over time and sizes.

All frames are known before tracking starts, so that sizes come from the best views, fragments are merged over
occlusions, and positions are smoothed with later measurements.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment

from scenegraph.labels import LabelSpace
from scenegraph.nodes import TrackNode
from scenegraph.tracks import kalman
from scenegraph.tracks.appearance import Look, appearance_distance, log_odds_same, mean_look, summarise_looks
from scenegraph.tracks.completion import (
    BodySize,
    body_size,
    complete,
    floors_under,
    visible_height,
    with_known_floors,
)
from scenegraph.tracks.detection import Detection
from scenegraph.tracks.identity import Stay, group_stays
from scenegraph.tracks.track_config import TrackingConfig

Array = NDArray[np.float64]

STEADINESS = (1.0, 0.3, 0.1)  # shares of the configured acceleration that are tried for each track
LOOK_MEMORY = 10  # detections
DOUBLE_GAP = 2.0  # seconds without a detection while another track still follows the thing
END_LENGTH = 20  # detections at either end of a track used for its direction there
FORBIDDEN = 1e9  # cost of a pair that must not be assigned


@dataclass(frozen=True, eq=False)
class Linked:
    """Detections of one thing in order of time, and the smoothed centres (T, 3) of its whole box at their times."""

    detections: list[Detection]
    positions: Array


@dataclass(eq=False)
class _Track:
    """A track under construction: filter state, and the detections so far with their indices (frame, number in the frame)."""

    label_id: int
    state: Array
    covariance: Array
    detections: list[Detection] = field(default_factory=list)

    @property
    def look(self) -> Look:
        """Appearance in the last detections."""
        return mean_look([d.look for d in self.detections[-LOOK_MEMORY:]])

    @property
    def begin(self) -> float:
        return self.detections[0].time

    @property
    def end(self) -> float:
        return self.detections[-1].time


def track(
    frames: Iterable[tuple[float, Sequence[Detection]]],
    label_space: LabelSpace,
    config: TrackingConfig | None = None,
) -> list[TrackNode]:
    """Tracks of all things that were detected, in the order in which they first appear.

    frames are (time, detections) of every frame, also of those without any, in any order. Positions are centres of whole boxes,
    also where only a part was visible, at the times of its detections or between two close ones.

    Raises ValueError when two frames have the same time.
    """
    found = _tracks(frames, config or TrackingConfig())
    return [_node(each, found.times, found.sizes[each.label_id], label_space, found.config) for each in found.tracks]


def link(frames: Iterable[tuple[float, Sequence[Detection]]], config: TrackingConfig) -> list[Linked]:
    """As `track`, but the detections of each thing."""
    found = _tracks(frames, config)
    return [
        Linked(each.detections, _smoothed(each.detections, found.sizes[each.label_id], found.config)[1][:, :3])
        for each in found.tracks
    ]


class _Found(NamedTuple):
    """Tracks in order, the times of all frames (N,), sizes by class, and the settings with the noise that was found."""

    tracks: list[_Track]
    times: Array
    sizes: dict[int, BodySize]
    config: TrackingConfig


def _tracks(frames: Iterable[tuple[float, Sequence[Detection]]], config: TrackingConfig) -> _Found:
    ordered = sorted(((time, _ordered(found)) for time, found in frames), key=lambda frame: frame[0])
    ordered = with_known_floors(ordered)
    times = np.array([time for time, _ in ordered])
    if (np.diff(times) <= 0).any():
        raise ValueError(f"two frames have the same time, {times[1:][np.diff(times) <= 0][0]} s")
    sizes = _sizes_by_label([detection for _, found in ordered for detection in found])
    whole = _link(ordered, sizes, config)
    # The noise of depth is estimated from the tracks themselves; then tracking runs once more with it.
    config = replace(config, depth_noise=_depth_noise(whole, sizes, config))
    whole = _link(ordered, sizes, config)
    kept = [each for each in whole if len(each.detections) >= config.min_detections]
    kept.sort(key=lambda each: (each.begin, each.label_id, *each.detections[0].low))
    return _Found(kept, times, sizes, config)


def _ordered(detections: Sequence[Detection]) -> list[Detection]:
    return sorted(detections, key=lambda d: (d.label_id, *d.low, *d.high))


def _sizes_by_label(detections: Sequence[Detection]) -> dict[int, BodySize]:
    by_label: dict[int, list[Detection]] = {}
    for detection in detections:
        by_label.setdefault(detection.label_id, []).append(detection)
    return {label_id: body_size(found) for label_id, found in sorted(by_label.items())}


def _axes(config: TrackingConfig) -> tuple[Array, Array]:
    """Standard deviations of the first velocity and densities of the acceleration along x, y, z."""
    speed = np.array([config.speed, config.speed, config.speed * config.vertical_acceleration / config.acceleration])
    return speed, np.array([config.acceleration, config.acceleration, config.vertical_acceleration])


def _link(
    frames: Sequence[tuple[float, list[Detection]]], sizes: dict[int, BodySize], config: TrackingConfig
) -> list[_Track]:
    return _without_doubles(_joined(_associate(frames, sizes, config), sizes, config), sizes, config)


def _depth_noise(tracks: Sequence[_Track], sizes: dict[int, BodySize], config: TrackingConfig) -> float:
    """Standard deviation of measured distances as a share of them, at least the configured one and at most five times that.

    A measurement differs from the smoothed track with variance R - P, R the measurement's and P the track's own (Shumway and
    Stoffer 1982 estimate R so); the median of the absolute differences suppresses wrong associations.
    """
    shares, own = [], []
    for each in tracks:
        if len(each.detections) < 5:
            continue
        _, states, covariances = _smoothed(each.detections, sizes[each.label_id], config)
        for d, x, P in zip(each.detections, states, covariances, strict=True):
            away = d.axes[:, 0]
            measured, _ = complete(d, sizes[each.label_id], d.floor, config)
            shares.append(float(away @ (measured - x[:3])) / max(d.distance, 0.5))
            own.append((float(away @ P[:3, :3] @ away) - config.position_noise**2) / max(d.distance, 0.5) ** 2)
    if not shares:
        return config.depth_noise
    variance = (1.4826 * float(np.median(np.abs(shares)))) ** 2 + float(np.median(own))
    return float(np.clip(np.sqrt(max(variance, 0.0)), config.depth_noise, 5 * config.depth_noise))


def _associate(
    frames: Sequence[tuple[float, list[Detection]]], sizes: dict[int, BodySize], config: TrackingConfig
) -> list[_Track]:
    """Forward in time: predict every open track, assign detections to them at least total cost, start tracks with the rest."""
    speed, acceleration = _axes(config)
    finished: list[_Track] = []
    tracks: list[_Track] = []
    times = [time for time, _ in frames]
    now = times[0] if times else 0.0
    # Where frames are further apart than that, consecutive frames may still be linked.
    longest = max(config.max_gap, 1.5 * float(np.median(np.diff(times)))) if len(times) > 1 else config.max_gap
    for time, detections in frames:
        for each in tracks:
            each.state, each.covariance = kalman.predict(each.state, each.covariance, time - now, acceleration)
        now = time
        finished += [each for each in tracks if time - each.end > longest]
        tracks = [each for each in tracks if time - each.end <= longest]
        measured = [complete(d, sizes[d.label_id], d.floor, config) for d in detections]
        pairs = _assign(_costs(tracks, detections, measured, config))
        for t, d in pairs:
            tracks[t].state, tracks[t].covariance = kalman.update(tracks[t].state, tracks[t].covariance, *measured[d])
            tracks[t].detections.append(detections[d])
        taken = {d for _, d in pairs}
        for d, detection in enumerate(detections):
            rivals = [measured[other][0] for other in taken if detections[other].pixels > 2 * detection.pixels]
            if d not in taken and not _part_of_another(measured[d][0], rivals, sizes[detection.label_id]):
                tracks.append(_Track(detection.label_id, *kalman.initial_state(*measured[d], speed), [detection]))
    return finished + tracks


def _costs(
    tracks: Sequence[_Track],
    detections: Sequence[Detection],
    measured: Sequence[tuple[Array, Array]],
    config: TrackingConfig,
) -> Array:
    """(tracks, detections) negative log likelihoods, FORBIDDEN across classes and outside of the gate."""
    costs = np.full((len(tracks), len(detections)), FORBIDDEN)
    for t, each in enumerate(tracks):
        look = each.look
        for d, detection in enumerate(detections):
            if detection.label_id != each.label_id:
                continue
            position, noise = measured[d]
            away = position - each.state[:3]
            squared = float(away @ np.linalg.solve(each.covariance[:3, :3] + noise, away))
            if squared <= config.gate**2:
                unlike = appearance_distance(look, detection.look)
                costs[t, d] = float(kalman.deviance(each.state, each.covariance, position, noise)) + unlike
    return costs


def _assign(costs: Array) -> list[tuple[int, int]]:
    """Pairs (row, column) that are allowed: as many as possible, at least total cost."""
    rows, columns = linear_sum_assignment(costs)
    return [(int(r), int(c)) for r, c in zip(rows, columns, strict=True) if costs[r, c] < FORBIDDEN]


def _part_of_another(center: Array, rivals: Sequence[Array], size: BodySize) -> bool:
    """Whether a small detection lies inside a body already found in this frame (an arm, a leg behind a chair)."""
    return any(np.linalg.norm(center[:2] - rival[:2]) < size.width / 2 + 0.1 for rival in rivals)


def _joined(fragments: Sequence[_Track], sizes: dict[int, BodySize], config: TrackingConfig) -> list[_Track]:
    """The fragments of each thing as one track, over absences of any length."""
    ordered = sorted(fragments, key=lambda each: (each.begin, each.label_id, *each.detections[0].low))
    groups = group_stays([_stay(each, sizes[each.label_id], config) for each in ordered], config)
    joined = []
    for first, *others in groups:
        whole = ordered[first]
        for number in others:
            whole.detections.extend(ordered[number].detections)
        whole.detections.sort(key=lambda d: d.time)
        joined.append(whole)
    return joined


def _stay(each: _Track, size: BodySize, config: TrackingConfig) -> Stay:
    # Detections far from an end in time carry no information on it.
    _, begun, begun_covariances = _smoothed(each.detections[:END_LENGTH], size, config)
    _, ended, ended_covariances = _smoothed(each.detections[-END_LENGTH:], size, config)
    times = np.array([d.time for d in each.detections])
    heights = [height for d in each.detections if (height := visible_height(d)) is not None]
    first, last = (begun[0], begun_covariances[0]), (ended[-1], ended_covariances[-1])
    return Stay(each.label_id, times, first, last, tuple(d.look for d in each.detections), np.array(heights))


def _without_doubles(tracks: Sequence[_Track], sizes: dict[int, BodySize], config: TrackingConfig) -> list[_Track]:
    """Tracks without those that follow a longer one of the same class.

    Detected in the same frames, the shorter is a part of the body and is removed. Detected only in frames that the longer one
    lacks, it is the same body with a large depth error, and its detections are moved to the longer one.
    """
    kept: list[_Track] = []
    for each in sorted(tracks, key=lambda t: (-len(t.detections), t.begin, *t.detections[0].low)):
        whole = next((other for other in kept if _accompanies(each, other, sizes[each.label_id], config)), None)
        if whole is None:
            kept.append(each)
        elif not _times(each) & _times(whole):
            whole.detections = sorted(whole.detections + each.detections, key=lambda d: d.time)
    return kept


def _accompanies(each: _Track, other: _Track, size: BodySize, config: TrackingConfig) -> bool:
    """Whether a track lies within the time of another of its class and closer to it than two bodies could."""
    begin, end = max(each.begin, other.begin), min(each.end, other.end)
    if each.label_id != other.label_id or begin > end or end - begin < 0.8 * (each.end - each.begin):
        return False
    known = np.array([d.time for d in other.detections])
    common = [d for d in each.detections if begin <= d.time <= end and _gap_around(known, d.time) <= DOUBLE_GAP]
    if len(common) < 0.8 * len(each.detections) or _look_odds(each, other) < 0:
        return False
    times = np.array([d.time for d in common])
    apart = np.array([d.center for d in common]) - _positions_at(other, times)
    limit = 0.5 * size.width
    if not _times(each) & _times(other):
        limit += 2 * config.depth_noise * float(np.median([d.distance for d in common]))
    return bool(np.median(np.linalg.norm(apart[:, :2], axis=1)) < limit)


def _gap_around(known: Array, time: float) -> float:
    """Seconds between the last of the known times up to a time and the first after it; 0 at a known one."""
    after = int(np.searchsorted(known, time))
    return 0.0 if known[after] == time else float(known[after] - known[after - 1])


def _look_odds(each: _Track, other: _Track) -> float:
    return log_odds_same(*(summarise_looks([d.look for d in track.detections]) for track in (each, other)))


def _times(each: _Track) -> set[float]:
    return {d.time for d in each.detections}


def _positions_at(each: _Track, times: Array) -> Array:
    """(T, 3) centres of the visible part at times (T,), interpolated between the detections."""
    known = [d.time for d in each.detections]
    centers = np.array([d.center for d in each.detections])
    return np.stack([np.interp(times, known, centers[:, axis]) for axis in range(3)], axis=1)


def _smoothed(
    detections: Sequence[Detection], size: BodySize, config: TrackingConfig, extra_times: Sequence[float] = ()
) -> tuple[Array, Array, Array]:
    """Times (T,) of the detections and of `extra_times`, smoothed states (T, 6) there and their covariances (T, 6, 6)."""
    floors = floors_under(detections)
    measured = {d.time: complete(d, size, floor, config) for d, floor in zip(detections, floors, strict=True)}
    times = sorted({*measured, *extra_times})
    speed, acceleration = _axes(config)
    # Some stand, some walk straight, some turn often: the acceleration under which the track is most likely is used.
    states, covariances, _ = kalman.smooth(
        np.array(times),
        [measured.get(time) for time in times],
        speed=speed,
        accelerations=np.outer(STEADINESS, acceleration),
    )
    return np.array(times), states, covariances


def _node(
    each: _Track, frame_times: Array, prior: BodySize, label_space: LabelSpace, config: TrackingConfig
) -> TrackNode:
    size = body_size(each.detections, prior)
    seen = np.array([d.time for d in each.detections])
    after = np.searchsorted(seen, frame_times, side="right")
    inside = (after > 0) & (after < len(seen))
    gap = seen[np.minimum(after, len(seen) - 1)] - seen[np.maximum(after - 1, 0)]
    between = frame_times[inside & (gap <= config.max_interpolation)].tolist()
    times, states, _ = _smoothed(each.detections, size, config, between)
    return TrackNode(
        label=label_space.name_of(each.label_id),
        label_id=each.label_id,
        size=np.array([size.width, size.width, size.height]),
        times=times,
        positions=states[:, :3],
        confidence=min(1.0, len(each.detections) / 10),
    )
