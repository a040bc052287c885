"""The unit of poses that are not known to be in metres: from sparse points and the depth of single images."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from mapping.depth.pose_scale import PoseScale
from mapping.multiview.features import Features, find_features
from mapping.se3 import inverse, transform_points
from pipelines.features import MOST_FEATURES
from pipelines.frame import Frame, FrameSequence, SequenceError
from pipelines.loading import read_frames
from pipelines.posing.scale import SparseView, estimate_scale
from pipelines.posing.tracks import REFINED, find_tracks, match_frames
from pipelines.sequences.colmap_points import SparsePoints, sparse_points_of

Array = NDArray[np.float64]
PROBES = 16
"""Frames, spread over those with points, whose depth is predicted."""
MOST_FRAMES = 120
"""Frames, spread over the sequence, whose features are matched where the sequence has no points of its own."""


def estimate_unit(
    sequence: FrameSequence, positions: Sequence[int], predict: Callable[[Frame], NDArray[np.float32]]
) -> PoseScale | None:
    """Metres in one unit of the poses; None where the images show too few points.

    Parameters
    ----------
    sequence : of which COLMAP's own points are used, and those of other formats are triangulated here.
    positions : of usable frames in the sequence.
    predict : the depth (H, W) in metres of a frame, from its image alone; 0 unknown.
    """
    views = sparse_views(sequence, positions)
    places = list(views)

    def depth_of(i: int) -> NDArray[np.float32]:
        try:
            return predict(sequence[places[i]])
        except SequenceError:  # cannot be decoded, which the stages count
            camera = sequence.infos[places[i]].intrinsics
            return np.zeros((camera.height, camera.width), np.float32)

    found = estimate_scale([views[place] for place in places], depth_of, most_views=PROBES)
    return None if found is None else PoseScale(found.scale, found.spread, found.deviation)


def sparse_views(sequence: FrameSequence, positions: Sequence[int]) -> dict[int, SparseView]:
    """The sparse points that frames observed, by position in the sequence, with depths in the unit of the poses."""
    sparse = sparse_points_of(sequence)
    if sparse is not None and len(sparse.positions):
        return {position: _recorded_view(sequence, sparse, position) for position in positions}
    return _triangulated_views(sequence, positions)


def _recorded_view(sequence: FrameSequence, sparse: SparsePoints, position: int) -> SparseView:
    info = sequence.infos[position]
    assert info.T_world_camera is not None
    points = transform_points(inverse(info.T_world_camera), sparse.of_image(info.image))
    points = points[points[:, 2] > 0]
    return SparseView(np.asarray(info.intrinsics.project(points)), points[:, 2])


def _triangulated_views(sequence: FrameSequence, positions: Sequence[int]) -> dict[int, SparseView]:
    """Points of features that several frames show, of frames with the camera of the first one."""
    camera = sequence.infos[positions[0]].intrinsics
    alike = [position for position in positions if sequence.infos[position].intrinsics == camera]
    chosen = [alike[i] for i in np.unique(np.linspace(0, len(alike) - 1, MOST_FRAMES).astype(int))]
    place_of = {sequence.infos[position].index: position for position in chosen}
    places: list[int] = []
    features: list[Features] = []
    poses: list[Array] = []
    for frame in read_frames(sequence, chosen):
        places.append(place_of[frame.index])
        features.append(find_features(frame.rgb, MOST_FEATURES))
        poses.append(frame.T_world_camera)
    if len(places) < 2:
        return {}
    all_poses = np.array(poses)
    tracks = find_tracks(features, match_frames(features, camera, all_poses), camera, all_poses, REFINED)
    views = {}
    for i, place in enumerate(places):
        seen = tracks.frame == i
        depths = transform_points(inverse(poses[i]), tracks.points[tracks.point[seen]])[:, 2]
        views[place] = SparseView(features[i].pixels[tracks.feature[seen]], depths)
    return views
