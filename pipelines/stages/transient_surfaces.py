"""Surface of what was there only for a part of a recording.

Fusion averages over the whole recording, so rays through a place where something stood for a while take its surface out of the
map again. Depth that ends where the map has free space is that surface; it is fused into a second, light volume of its own.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import cv2
import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components

from mapping.mesh.mesh import Mesh
from mapping.se3 import transform_points
from mapping.tsdf.grid import HALF_CONFIDENCE_WEIGHT
from pipelines.stages.context import PosedFrame
from pipelines.stages.graph_mesh import TransientSurface
from scenegraph.labels import LabelSpace
from scenegraph.tracks.track_config import PresenceConfig

if TYPE_CHECKING:
    from mapping.tsdf.volume import TSDFVolume

MOST_PIXELS = 20_000
"""Pixels of a frame that are compared with the map; of larger images every n-th row and column."""
LEAST_PIXELS = 8
"""Compared pixels of a patch that contradicts the map."""
SEGMENT_SHARE = 0.4
"""Share of a segment of one label that must contradict the map for all of it to be taken."""
LEAST_WEIGHT = 0.02
"""Sum of weights from which the map knows that space is free: that of one frame from 5 m."""


def surfaces_of(second: TSDFVolume, label_space: LabelSpace | None, config: PresenceConfig) -> list[TransientSurface]:
    """The surface of objects in a volume of contradicting depth that is large enough, and was seen by enough frames."""
    mesh = _of_objects(second.extract_mesh(min_weight=0.5), label_space)
    parts = [mesh.submesh(part) for part in _components(mesh, config.transient_area)]
    return [TransientSurface(part, second, part.vertices) for part in parts if _is_certain(part, config)]


def _is_certain(part: Mesh, config: PresenceConfig) -> bool:
    """Whether enough frames saw a piece of surface."""
    assert part.confidence is not None
    frames = HALF_CONFIDENCE_WEIGHT * part.confidence / (1 - part.confidence)
    return bool(np.median(frames) >= config.transient_frames)


def contradicting_depth(
    volume: TSDFVolume, frame: PosedFrame, weight: NDArray[np.float32], config: PresenceConfig
) -> NDArray[np.float32] | None:
    """Depth (H, W) where it ends in what the volume takes for free space, 0 elsewhere; None where that is next to nowhere.

    Patches of few pixels, where depth and map differ by their resolution, do not count.
    """
    labels = frame.predictions.labels
    depth = np.where(weight > 0, frame.predictions.depth, np.float32(0))
    depth = np.where(depth <= volume.config.max_depth, depth, np.float32(0))
    step = int(np.ceil(np.sqrt(depth.size / MOST_PIXELS)))
    few = depth[::step, ::step]
    v, u = np.nonzero(few)
    points = (frame.intrinsics.rays()[::step, ::step] * few[..., None])[v, u]
    distance, known = volume.sample(transform_points(frame.T_world_camera, points))
    inside = (known >= LEAST_WEIGHT) & (distance >= config.free_share * volume.config.truncation_distance)
    mask = np.zeros(few.shape, np.uint8)
    mask[v[inside], u[inside]] = 1
    patch, stats = cv2.connectedComponentsWithStats(mask, connectivity=8)[1:3]
    large = stats[:, cv2.CC_STAT_AREA] >= LEAST_PIXELS
    large[0] = False
    if not large.any():
        return None
    free = _whole_segments(large[patch], None if labels is None else labels[::step, ::step], few > 0)
    whole = np.repeat(np.repeat(free, step, axis=0), step, axis=1)[: depth.shape[0], : depth.shape[1]]
    return np.ascontiguousarray(np.where(whole, depth, np.float32(0)))


def _whole_segments(
    mask: NDArray[np.bool_], labels: NDArray[np.integer] | None, known: NDArray[np.bool_]
) -> NDArray[np.bool_]:
    """The mask (H, W) grown to the whole of each connected segment of one label of which it covers enough; without labels as it
    is."""
    if labels is None:
        return mask
    grown = mask.copy()
    for label in np.unique(labels[mask]):
        _, segment = cv2.connectedComponents(((labels == label) & known).astype(np.uint8), connectivity=8)
        inside, whole = np.bincount(segment[mask], minlength=segment.max() + 1), np.bincount(segment.ravel())
        covered = inside >= SEGMENT_SHARE * whole
        covered[0] = False
        grown |= covered[segment]
    return grown


def _of_objects(mesh: Mesh, label_space: LabelSpace | None) -> Mesh:
    """The faces of objects: that a door was opened is no object."""
    if mesh.labels is None or label_space is None or not len(mesh.faces):
        return mesh
    return mesh.submesh(label_space.mask_of_kind("object", mesh.labels)[mesh.faces].any(axis=1))


def _components(mesh: Mesh, least_area: float) -> Iterator[NDArray[np.bool_]]:
    """The faces (F,) of each connected part of at least so many square metres: most of a noisy map are smaller."""
    count = len(mesh.vertices)
    a, b, c = mesh.faces.astype(np.int64).T
    ends = np.concatenate([a, b]), np.concatenate([b, c])
    links = coo_matrix((np.ones(len(ends[0]), np.int8), ends), shape=(count, count))
    _, group = connected_components(links, directed=False)
    of_face = group[a]
    areas = np.bincount(of_face, mesh.face_areas(), minlength=1)
    for number in np.flatnonzero((areas >= least_area) & (areas > 0)):
        yield of_face == number
