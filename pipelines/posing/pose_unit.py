"""The unit of poses that are not known to be in metres: from sparse points and the depth of single images."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from mapping.evenly import evenly
from mapping.multiview.features import Features, find_features
from mapping.se3 import inverse, transform_points
from pipelines.features import MOST_FEATURES
from pipelines.frame import Frame, FrameSequence, SequenceError
from pipelines.loading import read_frames
from pipelines.posing.carried_height import camera_height
from pipelines.posing.scale_estimate import ScaleEstimate, SparseView, estimate_scale
from pipelines.posing.tracks import REFINED, find_tracks, match_frames
from pipelines.sequences.colmap_points import SparsePoints, sparse_points_of

Array = NDArray[np.float64]
Answer = TypeVar("Answer", bound=np.generic)
PROBES = 16
"""Frames, spread over those with points, whose depth is predicted."""
MOST_FRAMES = 120
"""Frames, spread over the sequence, whose features are matched where the sequence has no points of its own."""


def estimate_unit(
    sequence: FrameSequence,
    positions: Sequence[int],
    depth_alone: Callable[[Frame], NDArray[np.float32]],
    floor: Callable[[Frame], NDArray[np.bool_]] | None = None,
) -> ScaleEstimate | None:
    """Metres in one unit of the poses; None where the images show too few points.

    Parameters
    ----------
    sequence : whose images stand upright. COLMAP's own points are used, and those of other formats are triangulated here.
    positions : of usable frames in the sequence.
    depth_alone : the depth (H, W) in metres of a frame, from its image alone; 0 unknown.
    floor : where a frame shows floor (H, W), above which a person may have carried the camera; None where nothing tells.
    """
    by_place = sparse_views(sequence, positions)
    places, views = list(by_place), list(by_place.values())

    def asked(ask: Callable[[Frame], NDArray[Answer]], place: int, missing: type[Answer]) -> NDArray[Answer]:
        try:
            return ask(sequence[place])
        except SequenceError:  # cannot be decoded, which the stages count
            camera = sequence.infos[place].intrinsics
            return np.zeros((camera.height, camera.width), missing)

    found = estimate_scale(views, lambda i: asked(depth_alone, places[i], np.float32), most_views=PROBES)
    if found is None or floor is None:
        return found
    infos = [sequence.infos[place] for place in places]
    above = camera_height(
        [info.intrinsics.undistorted() for info in infos],
        np.array([info.T_world_camera for info in infos]),
        views,
        lambda i: asked(floor, places[i], np.bool_),
    )
    return found if above is None else found.with_height(above.height)


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
    alike = [position for position in positions if sequence.infos[position].intrinsics.is_like(camera)]
    chosen = evenly(alike, MOST_FRAMES)
    places: list[int] = []
    features: list[Features] = []
    poses: list[Array] = []
    for frame in read_frames(sequence, chosen):
        places.append(frame.index)
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
