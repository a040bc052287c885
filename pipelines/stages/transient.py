"""Surface of what was there only for a part of a recording.

Fusion averages over the whole recording, so rays through a place where something stood for a while take its surface out of the
map again. Depth that ends where the map has free space is that surface; it is fused into a second, light volume of its own.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import cv2
import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components

from mapping.camera import Intrinsics
from mapping.mesh.mesh import Mesh
from mapping.se3 import transform_points
from mapping.tsdf.grid import HALF_CONFIDENCE_WEIGHT
from pipelines.sources.source import DepthOrigin
from pipelines.stages.context import PosedFrame, RunContext
from pipelines.stages.fuse import static_weight
from pipelines.stages.surfaces import TransientSurface
from scenegraph.labels import LabelSpace
from scenegraph.objects.samples import PixelSamples, SampleCollector, SampledFrame
from scenegraph.tracks.track_config import PresenceConfig

if TYPE_CHECKING:
    from mapping.tsdf.volume import TSDFVolume

MOST_PIXELS = 20_000
"""Pixels of a frame that are compared with the map; of larger images every n-th row and column."""
LEAST_PIXELS = 8
"""Compared pixels of a patch that contradicts the map."""
SEGMENT_SHARE = 0.4
"""Share of a segment of one label that must contradict the map for all of it to be taken."""
KEPT_BYTES = 256 << 20
"""Of views that are kept for the decision on presence."""
LEAST_WEIGHT = 0.02
"""Sum of weights from which the map knows that space is free: that of one frame from 5 m."""


def presence_frames(context: RunContext) -> list[int]:
    """Positions of the frames by which presence is decided, evenly over the recording."""
    positions, count = context.positions, context.config.dynamics.presence.frames
    return [positions[i] for i in np.unique(np.linspace(0, len(positions) - 1, count).astype(int))] if count else []


@dataclass(frozen=True, eq=False)
class PlainView:
    """Of a frame its time, depth (H, W), labels (H, W) if there are any, camera and pose (4, 4)."""

    timestamp: float
    depth: NDArray[np.float32]
    labels: NDArray[np.integer] | None
    intrinsics: Intrinsics
    T_world_camera: NDArray[np.float64]

    @staticmethod
    def of(frame: PosedFrame) -> PlainView:
        """Of a frame what is needed to look into the map once more."""
        seen = frame.predictions
        return PlainView(frame.timestamp, seen.depth, seen.labels, frame.intrinsics, frame.T_world_camera)

    @property
    def nbytes(self) -> int:
        """Bytes of the images."""
        return self.depth.nbytes + (0 if self.labels is None else self.labels.nbytes)


@dataclass(frozen=True, eq=False)
class SecondLook:
    """What some frames show when the map is known.

    transient : surface of what was there only for a time; samples : pixels of objects; views : by the frame's index, as many as
    may be kept so that their frames need not be read again.
    """

    transient: Sequence[TransientSurface] = ()
    samples: PixelSamples | None = None
    views: Mapping[int, PlainView] = field(default_factory=dict)


def second_look(context: RunContext, volume: TSDFVolume) -> SecondLook:
    """What some evenly chosen frames saw in space that the map of all of them takes for free, and their pixels of objects.

    Nothing where depth is not exact enough to tell, and no pixels where labels are predicted or there are none.
    """
    from mapping.tsdf.volume import TSDFVolume

    config, label_space = context.config.dynamics.presence, context.source.label_space
    measured = context.source.depth_from is DepthOrigin.SENSOR
    transient = config.transient == "on" or (config.transient == "auto" and measured)
    collector = (
        SampleCollector(label_space) if measured and label_space and not context.source.predicts_labels else None
    )
    if not transient and collector is None:
        return SecondLook()
    views: dict[int, PlainView] = {}
    room = KEPT_BYTES
    second = TSDFVolume(replace(volume.config, carve=False))
    chosen = presence_frames(context)
    for done, frame in enumerate(context.posed_frames(chosen)):
        weight = static_weight(frame, config=context.config, label_space=label_space)
        view = PlainView.of(frame)
        room -= view.nbytes
        if room >= 0:
            views[frame.index] = view
        if collector is not None:
            _collect(collector, frame, weight)
        depth = contradicting_depth(volume, frame, weight, config) if transient else None
        if depth is not None:
            seen = frame.predictions
            pose = frame.T_world_camera
            second.integrate(depth, frame.intrinsics, pose, rgb=frame.rgb, labels=seen.labels)  # each frame counts once
        context.progress("transient", done + 1, len(chosen))
    mesh = _of_objects(second.extract_mesh(min_weight=0.5), label_space)
    parts = [mesh.submesh(part) for part in _components(mesh, config.transient_area)]
    kept = [part for part in parts if _is_certain(part, config)]
    surfaces = [TransientSurface(part, second, part.vertices) for part in kept]
    return SecondLook(surfaces, None if collector is None else collector.samples(), views)


def _collect(collector: SampleCollector, frame: PosedFrame, weight: NDArray[np.float32]) -> None:
    """Take the pixels of what does not move."""
    seen = frame.predictions
    if seen.labels is not None:
        depth = np.where(weight > 0, seen.depth, np.float32(0))
        collector.add(SampledFrame(depth, seen.labels, seen.edges, frame.intrinsics, frame.T_world_camera))


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
