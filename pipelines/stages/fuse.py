"""The fusion stage: every chosen frame into the volume, what moves kept out of it and noted; stops and resumes at any frame."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from m2h import Predictions
from mapping.files import remove_file, write_text_atomic
from mapping.reading.documents import read_json
from mapping.tsdf.observation import FusionError
from mapping.tsdf.volume import TSDFVolume
from pipelines.frame import SequenceError
from pipelines.sequences.frame_table import write_frame_table
from pipelines.settings import PipelineConfig
from pipelines.sources.source import DepthOrigin, Source
from pipelines.stages.context import PosedFrame, RunContext
from pipelines.stages.depth_weight import weight_without_movers
from pipelines.stages.label_votes import pixel_votes
from pipelines.stages.motion_file import MOTION_FILE, Motion, read_motion
from pipelines.stages.watching import show_fused
from pipelines.workspace import VOLUME_FILE, StageRecord, WorkspaceError
from scenegraph.files import json_values as values
from scenegraph.labels import LabelSpace, nyu40
from scenegraph.tracks.detection import Detection, LabelledView, detections_from_json, detections_to_json
from scenegraph.tracks.detector import detect
from scenegraph.tracks.track_config import DetectionConfig

CHECKPOINT_SECONDS = 60.0
CHECKPOINT_FILES = ("fusing.npz", "fusing.json")


@dataclass
class FusionState:
    """How far fusion has come: positions done, the volume so far, what was seen moving, frames that could not be read."""

    done: int
    volume: TSDFVolume
    moving: list[tuple[float, list[Detection]]] = field(default_factory=list)
    broken: dict[int, str] = field(default_factory=dict)
    foreign_labels: dict[int, dict[int, int]] = field(default_factory=dict)
    """Of frames with labels that the label space lacks, by index: how many pixels have each of them."""
    named: dict[int, tuple[float, int]] = field(default_factory=dict)
    """By label: the sum of the confidences of the pixels that have it, and their number."""

    def add_confidence(self, found: Mapping[int, tuple[float, int]]) -> None:
        """Add what a frame says of how sure its labels are; frames in their order, since sums of floats depend on it."""
        for label, (total, count) in found.items():
            before = self.named.get(label, (0.0, 0))
            self.named[label] = (before[0] + total, before[1] + count)


def frame_confidence(seen: Predictions) -> dict[int, tuple[float, int]]:
    """By label of a frame: the sum of the confidences of its pixels and their number, where that is known."""
    if seen.labels is None or seen.label_confidence is None:
        return {}
    labels = seen.labels.ravel()
    sums = np.bincount(labels, seen.label_confidence.ravel().astype(np.float64))
    counts = np.bincount(labels)
    return {int(label): (float(sums[label]), int(counts[label])) for label in np.flatnonzero(counts[1:]) + 1}


def fuse(context: RunContext) -> StageRecord:
    """All chosen frames into volume.npz and detections.json, resuming from the last checkpoint of a killed run."""
    positions, config = context.positions, context.config
    state = _load_checkpoint(context) or FusionState(0, TSDFVolume(config.tsdf))
    motion = read_motion(context.path(MOTION_FILE))
    first, start = state.done, time.perf_counter()
    saved_at = start
    max_broken = config.frames.max_broken * len(positions)
    for frame in context.posed_frames(positions[first:], broken=state.broken, max_broken=max_broken):
        add_frame(context, state, frame, motion)
        state.add_confidence(frame_confidence(frame.predictions))
        state.done = positions.index(frame.index, first) + 1
        show_fused(frame, state.volume, state.done, len(positions))
        context.advance(state.done, len(positions))
        if time.perf_counter() - saved_at > CHECKPOINT_SECONDS:
            save_checkpoint(context, state)
            saved_at = time.perf_counter()
    context.advance(len(positions), len(positions))
    _check_mapped(context, state)
    state.volume.save(context.path(VOLUME_FILE))
    write_text_atomic(context.path("detections.json"), json.dumps(detections_to_json(state.moving)) + "\n")
    write_frame_table(context.path("frames.csv"), context.sequence, set(positions), state.broken)
    for name in CHECKPOINT_FILES:
        remove_file(context.path(name))
    return _summarised(context, state, fused_now=len(positions) - first, seconds=time.perf_counter() - start)


def add_frame(context: RunContext, state: FusionState, frame: PosedFrame, motion: Motion) -> None:
    """Fuse a frame, and note what moves in it and which labels are foreign."""
    config, label_space = context.config, context.source.label_space
    moving = motion.numbers(frame.index, frame.predictions.depth)
    fuse_frame(state.volume, frame, config=config, source=context.source, moving=moving)
    if moving is not None or (frame.predictions.labels is not None and label_space is not None):
        view = _labelled_view(frame, moving, label_space)
        found = detect(view, label_space or nyu40(), detection_config_of(context))
        state.moving.append((frame.timestamp, found))
    else:
        state.moving.append((frame.timestamp, []))
    if frame.foreign_labels:
        state.foreign_labels[frame.index] = frame.foreign_labels


def detection_config_of(context: RunContext) -> DetectionConfig:
    """The settings, with what they leave to the source: whether people have one distance."""
    config = context.config.dynamics.detection
    if config.one_distance is not None:
        return config
    return replace(config, one_distance=context.source.depth_from is not DepthOrigin.SENSOR)


def _check_mapped(context: RunContext, state: FusionState) -> None:
    """Raise SequenceError when no frame gave any surface: an empty map is no result."""
    frames, limits = state.done - len(state.broken), context.config.tsdf
    try:
        state.volume.bounds()
    except FusionError as error:
        raise SequenceError(
            f"{context.sequence.path}: nothing is mapped: {frames} frames were read, but no depth of {context.source.name} could "
            f"be fused (tsdf.min_depth={limits.min_depth:g}, tsdf.max_depth={limits.max_depth:g})"
        ) from error


def fuse_frame(
    volume: TSDFVolume,
    frame: PosedFrame,
    *,
    config: PipelineConfig,
    source: Source,
    moving: NDArray[np.uint16] | None = None,
) -> None:
    """Weigh the frame's depth pixel by pixel, ignore what may move, and add the rest to the volume.

    Of predicted labels, that a pixel has no name is evidence as well, and labels count as far as they are sure (`pixel_votes`).
    """
    seen = frame.predictions
    weight = weight_without_movers(frame, config=config, label_space=source.label_space, moving=moving)
    labels = seen.labels
    if labels is not None and source.label_space is not None and source.predicts_labels:
        labels = pixel_votes(labels, seen.label_confidence, source.label_space, frame.index)
    volume.integrate(seen.depth, frame.intrinsics, frame.T_world_camera, rgb=frame.rgb, labels=labels, weight=weight)


def _labelled_view(
    frame: PosedFrame, moving: NDArray[np.uint16] | None, label_space: LabelSpace | None
) -> LabelledView:
    seen = frame.predictions
    return LabelledView(
        frame.timestamp,
        seen.depth,
        None if label_space is None else seen.labels,
        frame.intrinsics,
        frame.T_world_camera,
        seen.instances,
        rgb=frame.rgb,
        moving=moving,
    )


def save_checkpoint(context: RunContext, state: FusionState) -> None:
    """Write how far fusion is, for the stage to resume from; the volume first: the JSON file makes a checkpoint valid."""
    volume, header = (context.path(name) for name in CHECKPOINT_FILES)
    remove_file(header)
    state.volume.save(volume)
    data = {
        "key": context.key,
        "done": state.done,
        "moving": detections_to_json(state.moving),
        "broken": list(state.broken.items()),
        "foreign_labels": [[index, list(counts.items())] for index, counts in state.foreign_labels.items()],
        "named": [[label, total, count] for label, (total, count) in state.named.items()],
    }
    write_text_atomic(header, json.dumps(data))


def _load_checkpoint(context: RunContext) -> FusionState | None:
    """What an interrupted run of the same stage key left; None when there is none that can be used."""
    volume, header = (context.path(name) for name in CHECKPOINT_FILES)
    try:
        data = read_json(header, WorkspaceError)
        done = values.whole(data["done"], str(header))
        if data["key"] != context.key or done > len(context.positions):
            return None
        moving = detections_from_json(data["moving"], str(header))
        broken = {int(index): str(reason) for index, reason in data["broken"]}
        foreign = {int(index): {int(i): int(n) for i, n in counts} for index, counts in data["foreign_labels"]}
        named = {
            int(label): (values.at_least_zero(total, str(header), most=count), int(count))
            for label, total, count in data["named"]
        }
        loaded = TSDFVolume.load(volume, max_memory=context.config.tsdf.max_memory)
        return FusionState(done, loaded, moving, broken, foreign, named)
    except (OSError, ValueError, KeyError, TypeError):
        return None  # half a checkpoint is no checkpoint: start again


def _summarised(context: RunContext, state: FusionState, *, fused_now: int, seconds: float) -> StageRecord:
    frames = state.done - len(state.broken)
    rate = fused_now / max(seconds, 1e-9)
    pace = f", {rate:.1f} per second" if fused_now else ""
    summary = {
        "frames": frames,
        "broken": {str(index): reason for index, reason in sorted(state.broken.items())},
        "frames_per_second": round(rate, 2),
        "volume_bytes": state.volume.memory_bytes,
        "detections": sum(len(found) for _, found in state.moving),
        "label_confidence": {str(k): round(total / n, 4) for k, (total, n) in sorted(state.named.items())},
        "text": f"{frames} frames{pace}, volume {state.volume.memory_bytes / 2**20:.0f} MiB",
    }
    warnings = [] if context.source.label_space is None else foreign_label_warning(state, context.source.label_space)
    return StageRecord(summary, warnings + [f"frame omitted: {reason}" for reason in state.broken.values()])


def foreign_label_warning(state: FusionState, label_space: LabelSpace) -> list[str]:
    """One sentence on the labels that were taken as unknown; empty when there were none."""
    if not state.foreign_labels:
        return []
    ids = sorted({label for counts in state.foreign_labels.values() for label in counts})
    shown = ", ".join(map(str, ids[:10])) + (", ..." if len(ids) > 10 else "")
    pixels, frames = sum(sum(counts.values()) for counts in state.foreign_labels.values()), len(state.foreign_labels)
    lacking = f"have labels that label space {label_space.name} lacks ({shown}); they count as unknown"
    return [f"{pixels} pixels in {frames} frames {lacking}"]
