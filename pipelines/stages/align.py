"""The alignment stage: corrections of predicted depth under which all frames of a sequence agree, before anything is fused."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mapping.depth.joint_alignment import KnownDepth, SequenceAlignment, align_sequence
from mapping.depth.pose_scale import PoseScale, pose_scale_from_overlap, pose_scale_from_points, scaled
from mapping.depth.samples import DepthSamples, sample_frame, sample_shape
from mapping.files import remove_file
from mapping.se3 import inverse, transform_points
from pipelines.frame import FrameSequence
from pipelines.posing.scale_estimate import SCENE_DEVIATION
from pipelines.sequences.colmap_points import sparse_points_of
from pipelines.sequences.evidence import GIVEN, evidence_of
from pipelines.sources.source import DepthOrigin
from pipelines.stages.alignment_file import ALIGNMENT_FILE, Alignment, FrameAlignment, write_alignment
from pipelines.stages.context import RunContext
from pipelines.stages.depth_weight import weight_without_movers
from pipelines.stages.optional_stages import wants_alignment
from pipelines.workspace import StageRecord

POINT_DEVIATION = 0.05
"""Relative deviation of a sparse point."""
WIDE_SPREAD = 0.15  # log scale; frames that differ by more make a map that only looks right
FEW_MATCHES_SHARE = 0.2


def align(context: RunContext) -> StageRecord:
    """Corrections of all frames into alignment.json; an empty one where depth is left as it is."""
    path, settings = context.path(ALIGNMENT_FILE), context.config.align
    if not wants_alignment(context.config, context.source):
        return _leave_depth(context)
    remove_file(path)
    samples = _sample_all(context)
    points = _depth_of_points(context, samples) if settings.points else {}
    pose_scale, record = _pose_scale(context, samples, points)
    depth_scale = pose_scale if context.source.depth_from is DepthOrigin.FITTED else 1.0
    indices, frames = list(samples), [scaled(frame, pose_scale, depth_scale) for frame in samples.values()]
    known = [_known_points(points.get(index), pose_scale) for index in indices]
    found = align_sequence(frames, settings.solver, known)
    write_alignment(path, Alignment(_by_index(indices, found), pose_scale, depth_scale))
    _summarise(record, indices, found)
    return record


def _leave_depth(context: RunContext) -> StageRecord:
    """No corrections, and the unit of the poses as it is given or as the source found it."""
    record = StageRecord({"applied": False, "text": f"depth of {context.source.name} is left as it is"})
    scale = context.config.align.pose_scale
    found = context.source.pose_scale() if scale is None else None
    _note_scale(record, context, found)
    if found is not None:
        scale = found.scale
    record.summary["text"] += _unit_text(record)
    from_poses = context.source.depth_from is DepthOrigin.POSES  # such depth is in their unit
    depth_scale = scale if from_poses and scale is not None else 1.0
    write_alignment(context.path(ALIGNMENT_FILE), Alignment(pose_scale=scale or 1.0, depth_scale=depth_scale))
    return record


def _sample_all(context: RunContext) -> dict[int, DepthSamples]:
    """The samples of every readable frame by its index; what may move is unknown."""
    samples: dict[int, DepthSamples] = {}
    shape = None
    for done, frame in enumerate(context.posed_frames(corrected="as given")):
        depth, normals = frame.predictions.depth, frame.predictions.normals
        weight = weight_without_movers(frame, config=context.config, label_space=context.source.label_space)
        shape = shape or sample_shape(frame.intrinsics)
        if sample_shape(frame.intrinsics) == shape:  # a frame of another form stays as it is
            pose = frame.T_world_camera
            samples[frame.index] = sample_frame(depth, frame.intrinsics, pose, normals=normals, weight=weight)
        context.advance(done + 1, len(context.positions))
    return samples


def _depth_of_points(
    context: RunContext, samples: dict[int, DepthSamples]
) -> dict[int, tuple[NDArray[np.int64], NDArray[np.float64]]]:
    """By frame index the samples (n,) on which sparse points fall, and the depth (n,) of those in the poses' unit."""
    sparse = sparse_points_of(context.sequence)
    found = {}
    for info in context.sequence.infos:
        frame = samples.get(info.index)
        if sparse is None or frame is None:
            continue
        inside, z, sample = frame.look_up(transform_points(inverse(frame.T_world_camera), sparse.of_image(info.image)))
        inside &= frame.depth.ravel()[sample] > 0
        found[info.index] = (sample[inside], z[inside])
    return found


def _pose_scale(
    context: RunContext,
    samples: dict[int, DepthSamples],
    points: dict[int, tuple[NDArray[np.int64], NDArray[np.float64]]],
) -> tuple[float, StageRecord]:
    """Metres in one unit of the poses, and what to say about it."""
    given, record = context.config.align.pose_scale, StageRecord()
    if given is not None or context.sequence.is_metric:
        _note_scale(record, context, None)
        return given or 1.0, record
    if (
        context.source.depth_from is DepthOrigin.FITTED
    ):  # it was fitted in the unit of the poses and does not determine it
        _note_scale(record, context, None)
        return 1.0, record
    found = pose_scale_from_points([samples[i].depth.ravel()[sample] / z for i, (sample, z) in points.items()])
    found = found or pose_scale_from_overlap(list(samples.values()))
    if found is not None and context.source.depth_from is DepthOrigin.NETWORK:
        found = replace(found, deviation=2 * SCENE_DEVIATION)
    _note_scale(record, context, found)
    return 1.0 if found is None else found.scale, record


def _note_scale(record: StageRecord, context: RunContext, found: PoseScale | None) -> None:
    """What is known of the unit of the poses, and a warning where it is not or frames differ much."""
    given = context.config.align.pose_scale
    if given is not None:
        record.summary |= {"scale_state": "given", "pose_scale": given}
        return
    if found is None:
        _note_unit_of_files(record, context.sequence)
        return
    record.summary |= _estimate(found)
    if found.spread is not None and found.spread > WIDE_SPREAD:
        record.warnings.append(
            f"one unit of the poses is {found.scale:.3g} m by the median frame, but frames differ by {found.spread:.0%}: "
            "check it against a known length and give it with --scale"
        )


def _note_unit_of_files(record: StageRecord, sequence: FrameSequence) -> None:
    """What the files say of the unit of their poses: metres that were estimated, as by `m2h poses`, stay an estimate."""
    evidence = evidence_of(sequence)
    if not sequence.is_metric:
        record.summary["scale_state"] = "unknown"
        record.warnings.append("the unit of the poses is unknown: sizes are in it; give it with --scale")
    elif evidence.is_estimate:
        by = tuple(evidence.scale_source.split(", "))
        record.summary |= _estimate(PoseScale(1.0, evidence.scale_spread, evidence.scale_deviation, by))
    else:
        record.summary["scale_state"] = "given" if evidence.scale_source == GIVEN else "metres"


def _estimate(found: PoseScale) -> dict[str, Any]:
    return {
        "scale_state": "estimated",
        "pose_scale": round(found.scale, 5),
        "pose_scale_spread": found.spread,
        "pose_scale_deviation": found.deviation,
        "pose_scale_evidence": list(found.evidence),
    }


def _unit_text(record: StageRecord) -> str:
    """What the summary has of the unit of the poses, as words; nothing for metres."""
    state = record.summary["scale_state"]
    if "pose_scale" not in record.summary:
        return "; unit of the poses unknown" if state == "unknown" else ""
    spread = record.summary.get("pose_scale_spread")
    differ = "" if spread is None else f", frames differ by {spread:.0%}"
    deviation = record.summary.get("pose_scale_deviation")
    differ = ("" if deviation is None else f" ± {deviation:.0%}") + differ
    evidence = record.summary.get("pose_scale_evidence")
    by = f" by {', '.join(evidence)}" if evidence else ""
    return f"; one unit of the poses is {record.summary['pose_scale']:.4g} m ({state}{by}{differ})"


def _known_points(points: tuple[NDArray[np.int64], NDArray[np.float64]] | None, pose_scale: float) -> KnownDepth | None:
    if points is None or not len(points[0]):
        return None
    sample, z = points
    return KnownDepth(sample, z * pose_scale, np.full(len(z), POINT_DEVIATION))


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
    record.summary["text"] = f"scales spread by {spread:.1%}, {unevenness:.1%} within frames{left}{_unit_text(record)}"
    if spread > WIDE_SPREAD:
        record.warnings.append(
            f"depth scales spread by {spread:.0%} between frames: the map's scale is uncertain; check it against a known length"
        )
    if outliers:
        shown = ", ".join(map(str, outliers[:8])) + (", ..." if len(outliers) > 8 else "")
        record.warnings.append(f"depth scale of {len(outliers)} frames is far from the others' (frames {shown})")
    if len(alone) > FEW_MATCHES_SHARE * max(len(logs), 1):
        record.warnings.append(f"{len(alone)} of {len(logs)} frames see too little of what others see to be aligned")
