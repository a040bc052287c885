"""Surface of what was there only for a part of a recording.

Fusion averages over the whole recording, so rays through a place where something stood for a while take its surface out of the
map again. Depth that ends where the map has free space is that surface; it is fused into a second, light volume of its own.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import TYPE_CHECKING

import cv2
import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components

from mapping.mesh.mesh import Mesh
from mapping.se3 import transform_points
from mapping.tsdf.grid import HALF_CONFIDENCE_WEIGHT
from pipelines.sources.source import DepthOrigin
from pipelines.stages.context import PosedFrame, RunContext
from pipelines.stages.fuse import static_weight
from pipelines.stages.surfaces import TransientSurface
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


def presence_frames(context: RunContext) -> list[int]:
    """Positions of the frames by which presence is decided, evenly over the recording."""
    positions, count = context.positions, context.config.dynamics.presence.frames
    return [positions[i] for i in np.unique(np.linspace(0, len(positions) - 1, count).astype(int))] if count else []


def transient_surfaces(context: RunContext, volume: TSDFVolume) -> list[TransientSurface]:
    """What frames saw in space that the map of all of them takes for free; empty where depth is not exact enough to decide."""
    from mapping.tsdf.volume import TSDFVolume

    config = context.config.dynamics.presence
    measured = context.source.depth_from is DepthOrigin.SENSOR
    if config.transient == "off" or (config.transient == "auto" and not measured):
        return []
    second = TSDFVolume(replace(volume.config, carve=False))
    chosen = presence_frames(context)
    for done, frame in enumerate(context.posed_frames(chosen)):
        weight = static_weight(frame, config=context.config, label_space=context.source.label_space)
        depth = contradicting_depth(volume, frame, weight, config)
        if depth is not None:
            seen = frame.predictions
            pose = frame.T_world_camera
            second.integrate(depth, frame.intrinsics, pose, rgb=frame.rgb, labels=seen.labels)  # each frame counts once
        context.progress("transient", done + 1, len(chosen))
    mesh = _of_objects(second.extract_mesh(min_weight=0.5), context.source.label_space)
    parts = [mesh.submesh(part) for part in _components(mesh)]
    kept = [part for part in parts if _is_certain(part, config)]
    return [TransientSurface(part, second, part.vertices) for part in kept]


def _is_certain(part: Mesh, config: PresenceConfig) -> bool:
    """Whether enough frames saw a piece of surface, and it is large enough."""
    assert part.confidence is not None
    frames = HALF_CONFIDENCE_WEIGHT * part.confidence / (1 - part.confidence)
    return bool(np.median(frames) >= config.transient_frames and part.face_areas().sum() >= config.transient_area)


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


def _components(mesh: Mesh) -> Iterator[NDArray[np.bool_]]:
    """The faces (F,) of each connected part."""
    count = len(mesh.vertices)
    a, b, c = mesh.faces.astype(np.int64).T
    ends = np.concatenate([a, b]), np.concatenate([b, c])
    links = coo_matrix((np.ones(len(ends[0]), np.int8), ends), shape=(count, count))
    _, group = connected_components(links, directed=False)
    of_face = group[a]
    for number in np.unique(of_face):
        yield of_face == number
