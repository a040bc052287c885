"""The motion stage: which pixels of each frame move, whatever their label, found from the depth of all frames together."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from mapping.depth.depth_weights import depth_weight
from pipelines.stages.context import PosedFrame, RunContext
from pipelines.stages.motion_file import MOTION_FILE, Motion, Runs, write_motion
from pipelines.stages.optional_stages import wants_motion
from pipelines.workspace import StageRecord
from scenegraph.labels import nyu40
from scenegraph.motion.views import ViewsBuilder

LEAST_CONFIDENCE = 0.3
"""Of depth that takes part in the comparison of frames, where its source gives a confidence."""


def find_motion(context: RunContext) -> StageRecord:
    """motion.json of all chosen frames; one without any pixels where the settings do not ask for it."""
    from scenegraph.motion.movers import find_movers  # imports numba, which commands that only read do without

    path, config = context.path(MOTION_FILE), context.config.dynamics
    if not wants_motion(context.config, context.source):
        write_motion(path, Motion())
        return StageRecord({"text": "what moves is known by its label alone"})
    count = len(context.positions)
    builder = ViewsBuilder(context.camera, count, config.detection.max_depth)
    for done, frame in enumerate(context.posed_frames(broken={})):
        builder.add(frame.index, frame.timestamp, _reliable(frame, context), frame.intrinsics, frame.T_world_camera)
        context.advance(done + 1, 2 * count)
    if not builder.frames:
        write_motion(path, Motion())
        return StageRecord({"text": "no frames"})
    views = builder.build()
    label_space = context.source.label_space or nyu40()
    found = find_movers(views, label_space, config, lambda done, total: context.advance(count + done, count + total))
    moving = {builder.frames[k]: Runs.of(found.mask(k)) for k in found.parts}
    write_motion(path, Motion(found.stride, moving))
    summary = {"tracks": found.tracks, "rejected": found.rejected, "frames": len(moving)}
    return StageRecord({**summary, "text": f"{found.tracks} moving, in {len(moving)} of {count} frames"})


def _reliable(frame: PosedFrame, context: RunContext) -> NDArray[np.float32]:
    """The depth of a frame without flying pixels and those of little confidence."""
    seen = frame.predictions
    kept = depth_weight(seen.depth, frame.intrinsics, config=context.config.depth) > 0
    if seen.confidence is not None:
        kept &= seen.confidence >= LEAST_CONFIDENCE
    return np.where(kept, seen.depth, 0).astype(np.float32)
