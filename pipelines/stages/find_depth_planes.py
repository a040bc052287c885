"""The stage that finds the planes of floors, ceilings, walls and tables in predicted depth."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from mapping.depth.depth_planes import PlaneSamples, Surface, SurfacePlane, find_planes, joined
from mapping.depth.samples import sample_pixels
from mapping.evenly import evenly
from mapping.files import remove_file
from pipelines.stages.context import PosedFrame, RunContext
from pipelines.stages.depth_on_planes import kinds_of, normals_of
from pipelines.stages.optional_stages import wants_planes
from pipelines.stages.planes_file import PLANES_FILE, write_planes
from pipelines.workspace import StageRecord
from scenegraph.rooms.storeys import is_raised

MOST_FRAMES = 400
"""Frames from which planes are found, evenly over the sequence."""


def find_surface_planes(context: RunContext) -> StageRecord:
    """The planes of the building in planes.json; none where depth is measured or has no predicted labels."""
    path = context.path(PLANES_FILE)
    remove_file(path)
    space = context.source.label_space
    if space is None or not wants_planes(context.config, context.source):
        write_planes(path, [])
        return StageRecord({"applied": False, "text": f"depth of {context.source.name} is left as it is"})
    chosen = evenly(context.positions, MOST_FRAMES)
    samples, kinds = [], kinds_of(space)
    for done, frame in enumerate(context.posed_frames(chosen, corrected="levelled", max_broken=len(chosen) - 1)):
        samples.append(samples_of(frame, kinds))
        context.advance(done + 1, len(chosen))
    planes = [plane for plane in find_planes(joined(samples)) if not _is_raised_floor(plane, context.ground)]
    write_planes(path, planes)
    counts = {kind.name.lower(): sum(each.kind is kind for each in planes) for kind in Surface if kind}
    text = ", ".join(f"{count} of {name}s" for name, count in counts.items())
    return StageRecord({"applied": True, **counts, "text": f"planes: {text}"})


def _is_raised_floor(found: SurfacePlane, ground: float | None) -> bool:
    """Whether it is a table, or a mixture of tables and floor, that is called floor: where none can be."""
    return found.kind is Surface.FLOOR and ground is not None and bool(is_raised(found.plane.offset, ground))


def samples_of(frame: PosedFrame, kinds: NDArray[np.int64]) -> PlaneSamples:
    """Samples of a frame in the levelled world."""
    seen, T = frame.predictions, frame.T_world_camera
    assert seen.labels is not None
    rows, columns = map(np.ravel, np.broadcast_arrays(*sample_pixels(frame.intrinsics)))
    known = (seen.depth[rows, columns] > 0) & (kinds[seen.labels[rows, columns]] > 0)
    rows, columns = rows[known], columns[known]
    depth = seen.depth[rows, columns].astype(np.float64)
    rays = frame.intrinsics.pixel_rays(np.stack([columns, rows], axis=1)) @ T[:3, :3].T
    normals = normals_of(seen, frame.intrinsics)[rows, columns] @ T[:3, :3].T
    confidence = 1.0 if seen.confidence is None else seen.confidence[rows, columns].astype(np.float64)
    return PlaneSamples(
        rays * depth[:, None] + T[:3, 3], normals, kinds[seen.labels[rows, columns]], confidence * depth**2
    )
