"""Pixels of objects as points of the world: what single frames show more exactly than the map of all of them.

A voxel blurs what is thinner than itself, and two objects of one class that touch are one surface in it. A pixel has the exact
place of the surface, and frames show where one thing ends before another.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from mapping.camera import Intrinsics
from mapping.se3 import transform_points
from scenegraph.labels import LabelSpace

Array = NDArray[np.float64]
Indices = NDArray[np.int64]

MOST_OF_LABEL = 500
"""Pixels of one label of a frame that become points."""
MAX_DEPTH = 5.0
"""Metres; farther pixels are too coarse."""
STEP, STEP_SHARE = 0.04, 0.02
"""Metres, and share of the depth, by which neighbouring pixels of one surface may differ ..."""
STEEPER = 2.5
"""... unless the surface is steep: then this times the step to the next pixel."""
EDGE = 0.5
"""Probability from which an edge separates two segments."""
LABEL_STEP = 100.0
"""Metres between classes in the space in which the nearest vertex of a point's class is searched."""


@dataclass(frozen=True, eq=False)
class SampledFrame:
    """What a frame gives: depth (H, W), 0 where unknown or not static; labels (H, W); edges (H, W) probabilities or None; its
    camera and pose (4, 4)."""

    depth: NDArray[np.float32]
    labels: NDArray[np.integer]
    edges: NDArray[np.float32] | None
    intrinsics: Intrinsics
    T_world_camera: Array


@dataclass(frozen=True, eq=False)
class PixelSamples:
    """Points (N, 3) of pixels with the label (N,) of an object class.

    segments (N,) number connected pieces of the images, 0 on their borders; frame_of_segment (S + 1,) is the frame of each.
    spans (N,) are the metres that a pixel covers across the line of sight.
    """

    points: NDArray[np.float32]
    labels: NDArray[np.uint16]
    segments: NDArray[np.int32]
    spans: NDArray[np.float32]
    frame_of_segment: NDArray[np.int32]


class SampleCollector:
    """Collects the samples of frames, one after the other."""

    def __init__(self, label_space: LabelSpace) -> None:
        self._label_space = label_space
        self._parts: list[tuple[NDArray[np.float32], NDArray[np.uint16], NDArray[np.int32], NDArray[np.float32]]] = []
        self._frame_of_segment = [-1]
        self._frames = 0

    def add(self, frame: SampledFrame) -> None:
        """Take up to `MOST_OF_LABEL` pixels of each object class, evenly over the image."""
        wanted = self._label_space.mask_of_kind("object", frame.labels) & (frame.depth > 0) & (frame.depth < MAX_DEPTH)
        number = self._frames
        self._frames += 1
        if not wanted.any():
            return
        segment = image_segments(frame, wanted)
        v, u = np.nonzero(wanted & _evenly(frame.labels, wanted))
        z = frame.depth[v, u].astype(np.float64)
        camera = frame.intrinsics.rays()[v, u] * z[:, None]
        points = transform_points(frame.T_world_camera, camera).astype(np.float32)
        count, first = int(segment.max()), len(self._frame_of_segment) - 1
        segments = np.where(segment[v, u] > 0, segment[v, u] + first, 0).astype(np.int32)
        self._frame_of_segment += [number] * count
        spans = (z / frame.intrinsics.fx).astype(np.float32)
        self._parts.append((points, frame.labels[v, u].astype(np.uint16), segments, spans))

    def samples(self) -> PixelSamples | None:
        """All of them, in the order of the frames; None without any."""
        if not self._parts:
            return None
        points, labels, segments, spans = (np.concatenate(column) for column in zip(*self._parts, strict=True))
        return PixelSamples(points, labels, segments, spans, np.array(self._frame_of_segment, np.int32))


def image_segments(frame: SampledFrame, wanted: NDArray[np.bool_]) -> NDArray[np.int32]:
    """(H, W) number from 1 of the connected piece of one label in which a wanted pixel lies, 0 elsewhere and on borders.

    Pieces end at steps in depth and at edges. Borders are marked on the left or upper pixel, so that pieces that touch only
    across one are not connected through their sides.
    """
    border = np.zeros(wanted.shape, dtype=bool)
    for axis in (0, 1):
        here, there = (slice(None, -1), slice(None)), (slice(1, None), slice(None))
        if axis == 1:
            here, there = here[::-1], there[::-1]
        border[here] |= frame.labels[here] != frame.labels[there]
        border[here] |= _steps(frame.depth, axis)
    if frame.edges is not None:
        border |= frame.edges > EDGE
    free = (wanted & ~border).astype(np.uint8)
    return np.asarray(cv2.connectedComponents(free, connectivity=4, ltype=cv2.CV_32S)[1])


def _steps(depth: NDArray[np.float32], axis: int) -> NDArray[np.bool_]:
    """Where depth steps from a pixel to the next one along an axis; one shorter than the image along it.

    On a steep surface the step goes on to both sides, at a silhouette it does not.
    """
    step = np.abs(np.diff(depth, axis=axis))
    near = np.minimum(*(np.take(depth, range(a, depth.shape[axis] - 1 + a), axis=axis) for a in (0, 1)))
    pad = [(1, 1) if k == axis else (0, 0) for k in range(2)]
    wide = np.pad(step, pad, mode="edge")
    before, after = (np.take(wide, range(a, step.shape[axis] + a), axis=axis) for a in (0, 2))
    return np.asarray((step > STEP + STEP_SHARE * near) & (step > STEEPER * np.minimum(before, after)))


def _evenly(labels: NDArray[np.integer], wanted: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """(H, W) a share of the pixels such that no label has many more than `MOST_OF_LABEL`, by an even pattern."""
    counts = np.bincount(labels[wanted].ravel(), minlength=int(labels.max()) + 1)
    share = MOST_OF_LABEL / np.maximum(counts, MOST_OF_LABEL)
    rows, columns = np.arange(labels.shape[0])[:, None], np.arange(labels.shape[1])
    pattern = (columns * 0.7548776662466927 + rows * 0.5698402909980532) % 1  # the plane's evenly spread sequence
    return np.asarray(pattern < share[labels])


@dataclass(frozen=True, eq=False)
class PlacedSamples:
    """Samples at the vertices of a mesh that they are nearest to, in the order of the vertices: vertex (N,), and for each vertex
    v its samples first[v] to first[v + 1]. No sample is farther than `reach` metres from its vertex."""

    samples: PixelSamples
    order: Indices
    first: Indices
    reach: float

    @staticmethod
    def of(
        samples: PixelSamples, vertices: Array, labels: NDArray[np.uint16], chosen: Indices, reach: float
    ) -> PlacedSamples:
        """Of a mesh's vertices (V, 3) with labels (V,), the `chosen` ones get the samples of their own label within `reach`
        metres."""
        count = len(vertices)
        owner = np.full(len(samples.points), count, np.int64)
        if len(chosen):
            tree = cKDTree(np.column_stack([vertices[chosen], LABEL_STEP * labels[chosen]]))
            at = np.column_stack([samples.points, LABEL_STEP * samples.labels])
            found = tree.query(at, distance_upper_bound=reach)[1]
            owner = np.append(chosen, count)[found]
        order = np.argsort(owner, kind="stable")
        first = np.searchsorted(owner[order], np.arange(count + 1))
        return PlacedSamples(samples, order, first.astype(np.int64), reach)

    def of_vertices(self, vertices: Indices) -> tuple[Indices, Indices]:
        """The samples (N,) of some vertices, and the position (N,) in `vertices` of the vertex that each belongs to."""
        start, size = self.first[vertices], self.first[vertices + 1] - self.first[vertices]
        position = np.repeat(np.arange(len(vertices)), size)
        inside = np.arange(int(size.sum())) - np.repeat(np.cumsum(size) - size, size)
        return self.order[start[position] + inside], position
