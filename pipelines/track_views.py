"""In which frames a true moving thing can be seen, and how much of it: the frames in which its track is evaluated."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from mapping.camera import Intrinsics
from mapping.mesh.raycast import MeshCaster
from mapping.se3 import inverse, transform_points
from scenegraph import SceneGraph
from scenegraph.nodes import TrackNode
from scenegraph.tracks.positions import SAME_TIME, positions_at

Array = NDArray[np.float64]

LEAST_SHARE = 1 / 1500
"""Share of an image that a thing must fill for the frame to count."""
FARTHEST = 10.0  # metres
HEIGHTS = (-0.4, -0.2, 0.0, 0.2, 0.4)  # of a true track's box, as shares of its height from the centre
SIDES = (-0.3, 0.0, 0.3)  # as shares of its width
CLEAR_SHARE = 0.3  # share of these points that must be visible for a thing to be clearly in view
FILL = 0.6  # share of a person's box that the person fills in an image


def pixels_of(truth: SceneGraph, keys: list[str], times: Array) -> NDArray[np.int64] | None:
    """(tracks, T) pixels of true tracks in the frames at `times`, as `visibility` of the true graph's metadata has them.

    None where that is not stated for every track and each of its times.
    """
    stated = truth.metadata.get("visibility")
    if not isinstance(stated, dict):
        return None
    pixels = np.zeros((len(keys), len(times)), np.int64)
    for row, key in enumerate(keys):
        node, counts = truth[key], stated.get(key)
        assert isinstance(node, TrackNode)
        known = np.asarray(node.times, dtype=np.float64)
        if not isinstance(counts, list) or len(counts) != len(known):
            return None
        nearest = np.abs(known[:, None] - times).argmin(axis=0) if len(known) else np.zeros(0, np.int64)
        same = np.abs(known[nearest] - times) <= SAME_TIME if len(known) else np.zeros(len(times), bool)
        pixels[row, same] = np.asarray(counts, dtype=np.int64)[nearest[same]]
    return pixels


@dataclass(frozen=True, eq=False)
class BodyViews:
    """What the frames at times (T,) with poses (T, 4, 4) show of true tracks, by points spread over the box of each.

    Without a caster of the static surface nothing occludes them.
    """

    tracks: list[TrackNode]
    times: Array
    poses: Array
    intrinsics: Intrinsics
    caster: MeshCaster | None

    @cached_property
    def _seen(self) -> tuple[Array, Array]:
        """(tracks, T) the share of the points in view, and the depth of the centre, infinite where it is unknown."""
        share = np.zeros((len(self.tracks), len(self.times)))
        depth = np.full(share.shape, np.inf)
        offsets = np.array([(x, y, z) for x in SIDES for y in SIDES for z in HEIGHTS])
        for i, track in enumerate(self.tracks):
            places = positions_at(track, self.times)
            for k in np.flatnonzero(np.isfinite(places[:, 0])).tolist():
                points = places[k] + offsets * track.size
                in_camera = transform_points(inverse(self.poses[k]), points)
                inside = self.intrinsics.contains(self.intrinsics.project(in_camera)) & (in_camera[:, 2] <= FARTHEST)
                clear = inside if self.caster is None else self._clear(k, points, inside)
                share[i, k] = clear.mean()
                depth[i, k] = max(float(transform_points(inverse(self.poses[k]), places[k])[2]), 0.3)
        return share, depth

    def _clear(self, frame: int, points: Array, inside: NDArray[np.bool_]) -> NDArray[np.bool_]:
        assert self.caster is not None
        clear = inside.copy()
        clear[inside] = self.caster.is_clear(self.poses[frame][:3, 3], points[inside])
        return clear

    def clear(self) -> NDArray[np.bool_]:
        """(tracks, T) whether a good part of the thing is in view."""
        return self._seen[0] >= CLEAR_SHARE

    def pixels(self) -> Array:
        """(tracks, T) about how many pixels of the thing are in view, where nobody counted them."""
        share, depth = self._seen
        front = np.array([[max(track.size[:2]) * track.size[2]] for track in self.tracks]).reshape(-1, 1)
        return share * FILL * front * self.intrinsics.fx * self.intrinsics.fy / depth**2
