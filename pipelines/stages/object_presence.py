"""When objects were there: a second look at the frames, after the map is known."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from mapping.mesh.mesh import Mesh
from pipelines.stages.context import RunContext
from pipelines.stages.second_look import PlainView, presence_frames
from scenegraph.graph import SceneGraph
from scenegraph.tracks.presence import SurfacePoints, frame_evidence, presence_intervals


def fill_presence(context: RunContext, graph: SceneGraph, mesh: Mesh, views: Mapping[int, PlainView]) -> None:
    """Give the graph's objects their presence intervals, by the depth of `dynamics.presence.frames` evenly chosen frames.

    `mesh.objects` are the objects' numbers. `views` are those of frames, by their index, that need not be read again. Where a
    frame cannot be read it says nothing.
    """
    config = context.config.dynamics.presence
    objects = sorted(graph.nodes("object"), key=lambda item: item[1].number)
    if config.frames == 0 or not objects or mesh.objects is None:
        return
    label_ids = np.zeros(max(node.number for _, node in objects), np.int64)
    for _, node in objects:
        label_ids[node.number - 1] = node.label_id
    surface = SurfacePoints.of(mesh, label_ids, config.points)
    found: list[tuple[float, NDArray[np.int64], NDArray[np.int64]]] = []
    chosen = presence_frames(context)
    for done, view in enumerate(_views(context, chosen, views)):
        evidence = frame_evidence(
            surface,
            view.depth,
            view.intrinsics,
            view.T_world_camera,
            config,
            labels=view.labels,
            label_space=context.source.label_space,
        )
        found.append((view.timestamp, *evidence))
        context.progress("presence", done + 1, len(chosen))
    if not found:
        return
    found.sort(key=lambda entry: entry[0])
    sizes = np.bincount(surface.owner, minlength=surface.count)
    least = np.maximum(config.least_points, np.ceil(config.least_share * sizes)).astype(np.int64)
    times, confirmed, contradicted = zip(*found, strict=True)
    intervals = presence_intervals(times, np.array(confirmed), np.array(contradicted), least, config)
    for key, node in objects:
        graph.replace(key, replace(node, presence=intervals[node.number - 1]))


def _views(context: RunContext, positions: Sequence[int], views: Mapping[int, PlainView]) -> Iterator[PlainView]:
    """The views of the frames at some positions, those that are known first."""
    yield from (views[position] for position in positions if position in views)
    missing = [position for position in positions if position not in views]
    if missing:
        yield from map(PlainView.of, context.posed_frames(missing))
