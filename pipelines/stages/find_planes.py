"""The stage that finds the planes of floors, ceilings, walls and tables in predicted depth."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from mapping.depth.building_planes import PlaneSamples, Surface, find_planes, joined
from mapping.depth.samples import sample_pixels
from mapping.files import remove_file
from pipelines.sources.source import DepthOrigin, Source
from pipelines.stages.context import PosedFrame, RunContext
from pipelines.stages.on_planes import kinds_of, view_of
from pipelines.stages.planes_file import FILE, write_planes
from pipelines.workspace import StageRecord

MOST_FRAMES = 400
"""Frames from which planes are found, evenly over the sequence."""


def find_surface_planes(context: RunContext) -> StageRecord:
    """The planes of the building in planes.json; none where depth is measured or has no predicted labels."""
    path = context.path(FILE)
    remove_file(path)
    space = context.source.label_space
    if space is None or not is_wanted(context.config.planes, context.source):
        write_planes(path, [])
        return StageRecord({"applied": False, "text": f"depth of {context.source.name} is left as it is"})
    positions = context.positions
    chosen = [positions[i] for i in np.unique(np.linspace(0, len(positions) - 1, MOST_FRAMES).astype(int))]
    samples, kinds = [], kinds_of(space)
    for done, frame in enumerate(context.posed_frames(chosen, planes=False, max_broken=len(chosen) - 1)):
        samples.append(samples_of(frame, kinds))
        context.advance(done + 1, len(chosen))
    planes = find_planes(joined(samples))
    write_planes(path, planes)
    counts = {kind.name.lower(): sum(each.kind is kind for each in planes) for kind in Surface if kind}
    text = ", ".join(f"{count} of {name}s" for name, count in counts.items())
    return StageRecord({"applied": True, **counts, "text": f"planes: {text}"})


def is_wanted(mode: str, source: Source) -> bool:
    """Whether depth is placed on planes: as the setting says, or where depth and labels are both predicted."""
    if mode != "auto":
        return mode == "on"
    return source.predicts_labels and source.depth_from is not DepthOrigin.SENSOR


def samples_of(frame: PosedFrame, kinds: NDArray[np.int64]) -> PlaneSamples:
    """Samples of a frame in the levelled world."""
    seen, T = frame.predictions, frame.T_world_camera
    rows, columns = sample_pixels(frame.intrinsics)
    depth = seen.depth[rows, columns]
    view = view_of(seen, frame.intrinsics, T, kinds)
    confidence = np.ones_like(depth) if seen.confidence is None else seen.confidence[rows, columns]
    known = (depth > 0) & (view.kinds[rows, columns] > 0)
    points = view.rays[rows, columns][known] * depth[known, None] + T[:3, 3]
    weights = confidence[known].astype(np.float64) * depth[known].astype(np.float64) ** 2
    return PlaneSamples(points, view.normals[rows, columns][known], view.kinds[rows, columns][known], weights)
