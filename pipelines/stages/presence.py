"""When objects were there: a second look at the frames, after the map is known."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from mapping.mesh.mesh import Mesh
from pipelines.stages.context import RunContext
from pipelines.stages.transient import presence_frames
from scenegraph.graph import SceneGraph
from scenegraph.tracks.presence import SurfacePoints, frame_evidence, presence_intervals


def fill_presence(context: RunContext, graph: SceneGraph, mesh: Mesh) -> None:
    """Give the graph's objects their presence intervals, by the depth of `dynamics.presence.frames` evenly chosen frames.

    `mesh.objects` are the objects' numbers. Where a frame cannot be read it says nothing.
    """
    config = context.config.dynamics.presence
    objects = sorted(graph.nodes("object"), key=lambda item: item[1].number)
    if config.frames == 0 or not objects or mesh.objects is None:
        return
    label_ids = np.zeros(max(node.number for _, node in objects), np.int64)
    for _, node in objects:
        label_ids[node.number - 1] = node.label_id
    surface = SurfacePoints.of(mesh, label_ids, config.points)
    chosen = presence_frames(context)
    times: list[float] = []
    confirmed: list[NDArray[np.int64]] = []
    contradicted: list[NDArray[np.int64]] = []
    for done, frame in enumerate(context.posed_frames(chosen)):
        evidence = frame_evidence(
            surface,
            frame.predictions.depth,
            frame.intrinsics,
            frame.T_world_camera,
            config,
            labels=frame.predictions.labels,
            label_space=context.source.label_space,
        )
        times.append(frame.timestamp)
        confirmed.append(evidence[0])
        contradicted.append(evidence[1])
        context.progress("presence", done + 1, len(chosen))
    if not times:
        return
    sizes = np.bincount(surface.owner, minlength=surface.count)
    least = np.maximum(config.least_points, np.ceil(config.least_share * sizes)).astype(np.int64)
    found = presence_intervals(times, np.array(confirmed), np.array(contradicted), least, config)
    for key, node in objects:
        graph.replace(key, replace(node, presence=found[node.number - 1]))
