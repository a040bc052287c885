"""A second look at some frames when the map is known: what it lost, pixels of objects, and views for the decision on presence."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_matrix

from mapping.camera import Intrinsics
from mapping.evenly import evenly
from mapping.mesh.mesh import Mesh
from pipelines.sources.source import DepthOrigin
from pipelines.stages.context import PosedFrame, RunContext
from pipelines.stages.depth_weight import weight_without_movers
from pipelines.stages.graph_mesh import TransientSurface
from pipelines.stages.transient_surfaces import contradicting_depth, surfaces_of
from scenegraph.objects.sampled_labels import SampledLabels
from scenegraph.objects.samples import PixelSamples, SampleCollector, SampledFrame

if TYPE_CHECKING:
    from mapping.tsdf.volume import TSDFVolume

KEPT_BYTES = 256 << 20
"""Of views that are kept for the decision on presence."""


def presence_frames(context: RunContext) -> list[int]:
    """Positions of the frames by which presence is decided, evenly over the recording."""
    return evenly(context.positions, context.config.dynamics.presence.frames)


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

    transient : surface of what was there only for a time; samples : pixels of objects; sampled : how often frames sampled each
    label at the vertices of the map, (V, number of label ids); views : by the frame's index, as many as may be kept so that their
    frames need not be read again.
    """

    transient: Sequence[TransientSurface] = ()
    samples: PixelSamples | None = None
    sampled: csr_matrix | None = None
    views: Mapping[int, PlainView] = field(default_factory=dict)


def second_look(context: RunContext, volume: TSDFVolume, mesh: Mesh) -> SecondLook:
    """What some evenly chosen frames saw in space that the map of all of them takes for free, their pixels of objects, and the
    labels that they sampled at the vertices of the map's mesh.

    Nothing where depth is not exact enough to tell, no pixels where labels are predicted or there are none, and no sampled labels
    where a network gives none.
    """
    from mapping.tsdf.volume import TSDFVolume

    config, label_space = context.config.dynamics.presence, context.source.label_space
    measured = context.source.depth_from is DepthOrigin.SENSOR
    transient = config.transient == "on" or (config.transient == "auto" and measured)
    collector = (
        SampleCollector(label_space) if measured and label_space and not context.source.predicts_labels else None
    )
    sampled = SampledLabels(mesh.vertices, label_space) if label_space and context.source.predicts_labels else None
    views: dict[int, PlainView] = {}
    bytes_left = KEPT_BYTES
    second = TSDFVolume(replace(volume.config, carve=False))
    chosen = presence_frames(context)
    for done, frame in enumerate(context.posed_frames(chosen)):
        seen = frame.predictions
        if seen.sampled_labels is None:
            sampled = None
        if not transient and collector is None and sampled is None:
            return SecondLook()
        if sampled is not None and seen.sampled_labels is not None:
            sampled.add(seen.depth, seen.sampled_labels, frame.intrinsics, frame.T_world_camera)
        view = PlainView.of(frame)
        bytes_left -= view.nbytes
        if bytes_left >= 0:
            views[frame.index] = view
        context.progress("transient", done + 1, len(chosen))
        if not transient and collector is None:
            continue
        weight = weight_without_movers(frame, config=context.config, label_space=label_space)
        if collector is not None:
            _collect(collector, frame, weight)
        depth = contradicting_depth(volume, frame, weight, config) if transient else None
        if depth is not None:
            pose = frame.T_world_camera
            second.integrate(depth, frame.intrinsics, pose, rgb=frame.rgb, labels=seen.labels)  # each frame counts once
    return SecondLook(
        surfaces_of(second, label_space, config),
        None if collector is None else collector.samples(),
        None if sampled is None else sampled.counts(),
        views,
    )


def _collect(collector: SampleCollector, frame: PosedFrame, weight: NDArray[np.float32]) -> None:
    """Take the pixels of what does not move."""
    seen = frame.predictions
    if seen.labels is not None:
        depth = np.where(weight > 0, seen.depth, np.float32(0))
        collector.add(SampledFrame(depth, seen.labels, seen.edges, frame.intrinsics, frame.T_world_camera))
