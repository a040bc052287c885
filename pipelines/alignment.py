"""The alignment stage: corrections of predicted depth under which all frames of a sequence agree, before anything is fused."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from mapping.depth import depth_weight
from mapping.depth_samples import DepthSamples, sample_frame, sample_shape
from mapping.joint_alignment import KnownDepth, SequenceAlignment, align_sequence
from mapping.tsdf import TSDFVolume
from pipelines.alignment_file import FILE, Alignment, FrameAlignment, write_alignment
from pipelines.loading import read_frames
from pipelines.sources import Source
from pipelines.stages import RunContext, predicted
from pipelines.workspace import StageRecord
from scenegraph.dynamic import dynamic_mask

MAP_DEVIATION = 0.1
"""Relative deviation of a sample from the map as one of many that are wrong together: a frame has three thousand."""
WIDE_SPREAD = 0.15  # log scale; frames that differ by more make a map that only looks right
FEW_MATCHES_SHARE = 0.2


def align(context: RunContext, record: StageRecord) -> None:
    """Corrections of all frames into alignment.json; an empty one where depth is left as it is."""
    path, settings = context.workspace.path(FILE), context.config.align
    if not is_wanted(settings.mode, context.source):
        write_alignment(path, Alignment())
        record.summary |= {"applied": False, "text": f"depth of {context.source.name} is left as it is"}
        return
    path.unlink(missing_ok=True)
    samples = _sample_all(context)
    frames = list(samples.values())
    found = align_sequence(frames, settings.solver)
    for turn in range(settings.map_rounds):
        found = align_sequence(frames, settings.solver, _against_map(context, list(samples), frames, found))
        context.progress("align to the map", turn + 1, settings.map_rounds)
    alignment = Alignment(_by_index(list(samples), found))
    write_alignment(path, alignment)
    _summarise(record, list(samples), found)


def is_wanted(mode: str, source: Source) -> bool:
    """Whether depth is aligned: as the setting says, or by whether the depth was predicted and not measured."""
    return mode == "on" or (mode == "auto" and not has_one_scale(source))


def has_one_scale(source: Source) -> bool:
    """Whether the depth of a source has one scale by nature: a sensor recorded it, or the poses gave it."""
    name = source.name
    if name.startswith("mixed:"):
        parts = name.removeprefix("mixed:").split(",")
        name = next(part for part in parts if part.startswith("depth=")).removeprefix("depth=")
    return name in ("recorded", "multiview")


def _sample_all(context: RunContext) -> dict[int, DepthSamples]:
    """The samples of every readable frame by its index; what may move is unknown."""
    config, space = context.config, context.source.label_space
    samples: dict[int, DepthSamples] = {}
    positions = context.positions
    shape = None
    for done, frame in enumerate(read_frames(context.sequence, positions, {}, max_broken=len(positions))):
        seen = predicted(context, frame, aligned=False)
        if seen.depth is None:
            continue
        weight = depth_weight(
            seen.depth,
            frame.intrinsics,
            normals=seen.normals,
            edges=seen.edges,
            confidence=seen.confidence,
            config=config.depth,
        )
        if seen.labels is not None and space is not None:
            dilate_px = round(config.dynamics.detection.dilation * frame.intrinsics.width)
            weight[dynamic_mask(seen.labels, space, dilate_px=dilate_px, depth=seen.depth)] = 0
        shape = shape or sample_shape(frame.intrinsics)
        if sample_shape(frame.intrinsics) == shape:  # a frame of another form stays as it is
            pose = frame.T_world_camera
            samples[frame.index] = sample_frame(seen.depth, frame.intrinsics, pose, normals=seen.normals, weight=weight)
        context.progress("align", done + 1, len(positions))
    return samples


def _against_map(
    context: RunContext, indices: Sequence[int], frames: Sequence[DepthSamples], found: SequenceAlignment
) -> list[KnownDepth | None]:
    """What the map of all frames, corrected as found, says of each frame's depth."""
    volume = TSDFVolume(context.config.tsdf)
    fields = dict(zip(indices, found.fields, strict=True))
    positions = context.positions
    for frame in read_frames(context.sequence, positions, {}, max_broken=len(positions)):
        seen = predicted(context, frame, aligned=False)
        if seen.depth is None or frame.index not in fields:
            continue
        depth = fields[frame.index](seen.depth)
        weight = depth_weight(
            depth, frame.intrinsics, normals=seen.normals, edges=seen.edges, confidence=seen.confidence
        )
        volume.integrate(depth, frame.intrinsics, frame.T_world_camera, weight=weight)
    return [known_from_map(volume, frame) for frame in frames]


def known_from_map(volume: TSDFVolume, frame: DepthSamples) -> KnownDepth | None:
    """What a map shows at the samples of a frame; None where it shows nothing."""
    small = frame.intrinsics.resized(frame.depth.shape[1], frame.depth.shape[0])
    shown = volume.render(small, frame.T_world_camera).depth.ravel().astype(np.float64)
    sample = np.flatnonzero((shown > 0) & (frame.depth.ravel() > 0))
    if not len(sample):
        return None
    weight = np.maximum(frame.weight.ravel()[sample], 1e-3)
    return KnownDepth(sample, shown[sample], MAP_DEVIATION / np.sqrt(weight))


def _by_index(indices: Sequence[int], found: SequenceAlignment) -> dict[int, FrameAlignment]:
    outliers = set(found.outliers)
    return {
        index: FrameAlignment(
            found.fields[i],
            None if np.isnan(found.residual[i]) else float(found.residual[i]),
            int(found.matches[i]),
            i in outliers,
        )
        for i, index in enumerate(indices)
    }


def _summarise(record: StageRecord, indices: Sequence[int], found: SequenceAlignment) -> None:
    logs = np.log(found.scales)
    spread = float(logs.std()) if len(logs) else 0.0
    unevenness = float(np.median([field.unevenness for field in found.fields])) if len(logs) else 0.0
    compared = found.residual[np.isfinite(found.residual)]
    residual = float(np.median(compared)) if len(compared) else None
    outliers = [int(indices[i]) for i in found.outliers]
    alone = [int(index) for index, left in zip(indices, found.residual, strict=True) if np.isnan(left)]
    record.summary |= {
        "applied": True,
        "frames": len(logs),
        "scale_spread": round(spread, 4),
        "scale_median": round(float(np.exp(np.median(logs))), 4) if len(logs) else None,
        "unevenness": round(unevenness, 4),
        "residual": None if residual is None else round(residual, 4),
        "outliers": outliers,
        "alone": alone,
    }
    left = "" if residual is None else f", {residual:.1%} left between frames"
    record.summary["text"] = f"scales spread by {spread:.1%}, {unevenness:.1%} within frames{left}"
    if spread > WIDE_SPREAD:
        record.warnings.append(
            f"depth scales spread by {spread:.0%} between frames: the map's scale is uncertain; check it against a known length"
        )
    if outliers:
        shown = ", ".join(map(str, outliers[:8])) + (", ..." if len(outliers) > 8 else "")
        record.warnings.append(f"depth scale of {len(outliers)} frames is far from the others' (frames {shown})")
    if len(alone) > FEW_MATCHES_SHARE * max(len(logs), 1):
        record.warnings.append(f"{len(alone)} of {len(logs)} frames see too little of what others see to be aligned")
