"""The fusion stage: every chosen frame into the volume, what moves kept out of it and noted; stops and goes on at any frame."""

from __future__ import annotations

import json
import time
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from m2h import Predictions
from mapping.depth.weights import depth_weight
from mapping.files import write_text_atomic
from mapping.se3 import inverse
from mapping.tsdf.volume import TSDFVolume
from pipelines.frame import Frame
from pipelines.loading import read_frames
from pipelines.sequences.frame_table import write_frame_table
from pipelines.settings import PipelineConfig
from pipelines.stages.context import RunContext, foreign_label_warning, predicted
from pipelines.workspace import StageRecord
from scenegraph.labels import LabelSpace
from scenegraph.tracks.dynamic import (
    Detection,
    LabelledView,
    detect,
    detections_from_json,
    detections_to_json,
    dynamic_mask,
)

Array = NDArray[np.float64]
CHECKPOINT_SECONDS = 60.0
CHECKPOINT_FILES = ("fusing.npz", "fusing.json")


@dataclass
class FusionState:
    """How far fusion has come: positions done, the volume so far, what was seen moving, frames that could not be read."""

    done: int
    volume: TSDFVolume
    moving: list[tuple[float, list[Detection]]] = field(default_factory=list)
    broken: dict[int, str] = field(default_factory=dict)


def fuse(context: RunContext, record: StageRecord) -> None:
    """All chosen frames into volume.npz and detections.json, going on from the last checkpoint of a killed run."""
    positions, config = context.positions, context.config
    state = _load_checkpoint(context) or FusionState(0, TSDFVolume(config.tsdf))
    first, start = state.done, time.perf_counter()
    saved_at = start
    T_world_input = inverse(context.stored_T_input_world())
    max_broken = config.frames.max_broken * len(positions)
    for frame in read_frames(context.sequence, positions[first:], state.broken, max_broken=max_broken):
        T_world_camera = T_world_input @ context.alignment.metric_pose(frame.T_world_camera)
        seen = predicted(context, frame)
        fuse_frame(state.volume, frame, seen, T_world_camera, config=config, label_space=context.source.label_space)
        if seen.labels is not None and context.source.label_space is not None:
            assert seen.depth is not None  # `predicted` saw to it
            view = LabelledView(
                frame.timestamp,
                seen.depth,
                seen.labels,
                frame.intrinsics,
                T_world_camera,
                seen.instances,
                rgb=frame.rgb,
            )
            found = detect(view, context.source.label_space, config.dynamics.detection)
            state.moving.append((frame.timestamp, found))
        state.done = positions.index(frame.index, first) + 1
        context.progress("fuse", state.done, len(positions))
        if time.perf_counter() - saved_at > CHECKPOINT_SECONDS:
            _save_checkpoint(context, state)
            saved_at = time.perf_counter()
    context.progress("fuse", len(positions), len(positions))
    state.volume.save(context.workspace.path("volume.npz"))
    write_text_atomic(context.workspace.path("detections.json"), json.dumps(detections_to_json(state.moving)) + "\n")
    write_frame_table(context.workspace.path("frames.csv"), context.sequence, set(positions), state.broken)
    for name in CHECKPOINT_FILES:
        context.workspace.path(name).unlink(missing_ok=True)
    _summarise(context, record, state, fused_now=len(positions) - first, seconds=time.perf_counter() - start)


def static_weight(
    frame: Frame, seen: Predictions, *, config: PipelineConfig, label_space: LabelSpace | None
) -> NDArray[np.float32]:
    """(H, W) how far the depth of each pixel is believed, 0 for what may move."""
    assert seen.depth is not None  # `predicted` saw to it
    weight = depth_weight(
        seen.depth,
        frame.intrinsics,
        normals=seen.normals,
        edges=seen.edges,
        confidence=seen.confidence,
        config=config.depth,
    )
    if seen.labels is not None and label_space is not None:
        dilate_px = round(config.dynamics.detection.dilation * frame.intrinsics.width)
        weight[dynamic_mask(seen.labels, label_space, dilate_px=dilate_px, depth=seen.depth)] = 0
    return weight


def fuse_frame(
    volume: TSDFVolume,
    frame: Frame,
    seen: Predictions,
    T_world_camera: Array,
    *,
    config: PipelineConfig,
    label_space: LabelSpace | None,
) -> None:
    """Weigh the frame's depth pixel by pixel, leave out what may move, and add the rest to the volume."""
    assert seen.depth is not None  # `predicted` saw to it
    weight = static_weight(frame, seen, config=config, label_space=label_space)
    volume.integrate(seen.depth, frame.intrinsics, T_world_camera, rgb=frame.rgb, labels=seen.labels, weight=weight)


def _save_checkpoint(context: RunContext, state: FusionState) -> None:
    """The volume first: the JSON file that makes a checkpoint valid names it by what it holds."""
    volume, header = (context.workspace.path(name) for name in CHECKPOINT_FILES)
    header.unlink(missing_ok=True)
    state.volume.save(volume)
    data = {
        "key": context.stage_key,
        "done": state.done,
        "moving": detections_to_json(state.moving),
        "broken": [[index, reason] for index, reason in state.broken.items()],
    }
    write_text_atomic(header, json.dumps(data))


def _load_checkpoint(context: RunContext) -> FusionState | None:
    """What an interrupted run of the same stage key left; None when there is nothing of use."""
    volume, header = (context.workspace.path(name) for name in CHECKPOINT_FILES)
    try:
        data: dict[str, Any] = json.loads(header.read_text(encoding="utf-8"))
        if data["key"] != context.stage_key:
            return None
        moving = detections_from_json(data["moving"], str(header))
        broken = {int(index): str(reason) for index, reason in data["broken"]}
        max_memory = context.config.tsdf.max_memory
        return FusionState(int(data["done"]), TSDFVolume.load(volume, max_memory=max_memory), moving, broken)
    except (OSError, ValueError, KeyError, TypeError):
        return None  # half a checkpoint is no checkpoint: start again


def _summarise(context: RunContext, record: StageRecord, state: FusionState, *, fused_now: int, seconds: float) -> None:
    frames = state.done - len(state.broken)
    rate = fused_now / max(seconds, 1e-9)
    record.summary |= {
        "frames": frames,
        "broken": {str(index): reason for index, reason in sorted(state.broken.items())},
        "frames_per_second": round(rate, 2),
        "volume_bytes": state.volume.memory_bytes,
        "detections": sum(len(found) for _, found in state.moving),
        "text": f"{frames} frames, {rate:.1f} a second, volume {state.volume.memory_bytes / 2**20:.0f} MiB",
    }
    record.warnings += foreign_label_warning(context)
    for reason in state.broken.values():
        record.warnings.append(f"left out: {reason}")
