"""The first stages: which frames there are, what is predicted of them, and which way is up."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from m2h import Predictions
from m2h.runtime import prefetched
from mapping.camera import Intrinsics
from mapping.evenly import evenly
from mapping.files import flush_files, make_folder, remove_file, write_text_atomic
from pipelines.checks.advice import advice
from pipelines.checks.sampler import FrameSampler
from pipelines.checks.sequence_check import check_sequence
from pipelines.frame import Frame, SequenceError
from pipelines.levelling import FRAMES, coarse_mesh, faces_of_floor
from pipelines.loading import read_frames
from pipelines.posing.adjustment import can_adjust
from pipelines.recentred import as_given, moved
from pipelines.scaled import ScaledSequence
from pipelines.sequences.evidence import WorldEvidence, evidence_of
from pipelines.sources.predictions import prediction_path, stored_frames, write_predictions
from pipelines.sources.source import FOUND_BY_POSES, DepthOrigin
from pipelines.sources.stored import INDEX, has_answer, index_of
from pipelines.stages.context import LEVELLING_FILE, PREDICTIONS_FOLDER, RunContext
from pipelines.stages.watching import show_prediction
from pipelines.turning import turned_pose
from pipelines.workspace import StageRecord, digest

if TYPE_CHECKING:
    from mapping.gravity import UpEstimate

CHECK_FILE, POSTPONED = "check.json", "left_to_refinement"
"""And its entry on what contradicts the poses, where their refinement decides whether they are mapped."""


def list_frames(context: RunContext) -> StageRecord:
    """Count the frames that will be used and those that cannot, by reason."""
    chosen, infos = context.positions, context.sequence.infos
    unused = Counter(info.reason.partition("(")[0].strip() for info in infos if not info.used)
    lost, reasons = unused.total(), ", ".join(f"{count} {reason}" for reason, count in unused.most_common(3))
    if skipped := sum(info.used for info in infos) - len(context.all_positions):
        unused["excluded by stride or range"] = skipped
    if near := len(context.all_positions) - len(chosen):
        unused["close to a sharper frame"] = near
    omitted = "".join(f", {count} {reason}" for reason, count in unused.most_common(3))
    summary = {
        "found": len(infos),
        "used": len(chosen),
        "unused": dict(sorted(unused.items())),
        "scale_note": evidence_of(context.sequence).scale_note(),
        "text": f"{len(chosen)} of {len(infos)} frames{omitted}",
    }
    warnings = [*getattr(context.sequence, "notes", ())]
    if lost > context.config.frames.max_broken * len(infos):
        warnings.append(f"{lost} of {len(infos)} frames cannot be used: {reasons}; frames.csv lists them")
    return StageRecord(summary, warnings)


def check_input(context: RunContext) -> StageRecord:
    """Whether a few frames fit each other as they are read, in check.json.

    Raises SequenceError where they contradict it, unless the settings say to trust it. Poses that no image fits, in any reading,
    may be imprecise ones: where they are refined before they are used, that decides.
    """
    frames, given = context.config.frames, context.config.align.pose_scale
    sequence, metric = as_given(context.sequence), context.sequence.is_metric and given in (None, 1.0)
    if given is not None and context.source.depth_from is DepthOrigin.SENSOR:  # which tells whether the scale is right
        sequence, metric = ScaledSequence(sequence, given), True
    sampler = FrameSampler(
        sequence,
        [
            position
            for position, info in enumerate(context.sequence.infos)
            if info.used and info.index >= frames.start and (frames.stop is None or info.index < frames.stop)
        ],
        context.features,
    )
    found = check_sequence(sequence, sampler, metric=metric, depth_alone=context.source.depth_alone)
    trusts = context.config.check.trust
    postponed = bool(found.contradictions) and not trusts and found.may_be_imprecise and _are_refined(context)
    if found.contradictions and not trusts and not postponed:
        scaled = "" if given is None else f"with --scale {given:g}, by which the poses are multiplied first: "
        raise SequenceError(f"{context.sequence.path}: {scaled}{found.contradictions[0]}; {advice(found)}")
    data = found.to_json() | {POSTPONED: found.contradictions[0] if postponed else None}
    write_text_atomic(context.workspace.path(CHECK_FILE), json.dumps(data, indent=2, allow_nan=False) + "\n")
    summary = data | {"lines": found.lines(), "text": found.summary()}
    although = "refined poses are mapped, as" if postponed else "mapped although"
    return StageRecord(summary, [*(f"{although} {text}" for text in found.contradictions), *found.doubts])


def _are_refined(context: RunContext) -> bool:
    """Whether the settings let imprecise poses be refined before depth is found by means of them."""
    mode = context.config.poses.refine
    return can_adjust() and (mode == "on" or (mode == "auto" and context.source.depth_from in FOUND_BY_POSES))


def find_level(context: RunContext) -> StageRecord:
    """Which way is up and where the floor is, from a coarse map of a few dozen frames, in levelling.json."""
    from mapping.gravity import level

    few = evenly(context.positions, FRAMES)
    by_user = context.config.up
    up = by_user or context.sequence.world_up
    # Where up was recognised in the images, the cameras that stand for it are those that see them upright.
    turns = context.turns if up is None else {}
    poses: list[NDArray[np.float64]] = []

    def seen() -> Iterator[tuple[Predictions, Intrinsics, NDArray[np.float64]]]:
        for done, frame in enumerate(context.posed_frames(few, corrected="aligned", max_broken=len(few) - 1)):
            yield frame.predictions, frame.intrinsics, frame.T_world_camera
            poses.append(turned_pose(frame.T_world_camera, turns.get(frame.index, 0)))
            context.advance(done + 1, len(few))

    mesh = coarse_mesh(seen(), max_depth=context.config.tsdf.max_depth)
    floor_faces = faces_of_floor(mesh, context.source.label_space)
    found = level(mesh, np.array(poses), world_up=up, keep_up=by_user is not None, floor_faces=floor_faces)
    if by_user is None:
        found = replace(found, up=_as_found_before(found.up, evidence_of(context.sequence)))
    data = {
        "T_input_world": moved(found.T_input_world, context.origin).tolist(),
        "up_in_input": found.up.up.tolist(),
        "up_state": found.up.state,
        "source": found.up.source,
        "support": float(found.up.support),
        "evidence": found.up.evidence,
        "floor_area": float(found.floor_area),
        "wall_share": float(found.wall_share),
    }
    write_text_atomic(context.workspace.path(LEVELLING_FILE), json.dumps(data, indent=2, allow_nan=False) + "\n")
    text = found.up.evidence if found.up.state == "given" else f"up {found.up.state}: {found.up.evidence}"
    summary: dict[str, Any] = {"up_state": found.up.state, "up_source": found.up.source, "text": text}
    summary["support"] = data["support"]
    return StageRecord(summary, list(found.warnings))


def _as_found_before(up: UpEstimate, evidence: WorldEvidence) -> UpEstimate:
    """A stated up direction as one that was found, where an earlier map found what is stated."""
    if up.state != "given" or not evidence.up_source:
        return up
    text = f"by an earlier map from {evidence.up_source}, {up.evidence}"
    return replace(up, state="found", evidence=text)


def store_predictions(context: RunContext) -> StageRecord:
    """The answers of a costly source, one file per frame; frames that are there already are not asked again."""
    source = context.source
    if not source.is_costly:
        folder = context.path(PREDICTIONS_FOLDER)
        make_folder(folder)
        index = {"source": source.name, "fingerprint": source.fingerprint, "frames": []}
        write_text_atomic(folder / INDEX, json.dumps(index))
        return StageRecord({"text": "read with the frames"}, list(source.notes))
    return store_answers(context, source.predict, source.fingerprint)


def store_answers(context: RunContext, predict: Callable[[Frame], Predictions], fingerprint: str) -> StageRecord:
    """What `predict` says of every chosen frame, one file per frame; answers of the same fingerprint are not asked for again."""
    folder = context.path(PREDICTIONS_FOLDER)
    make_folder(folder)
    fingerprint = digest(fingerprint, context.workspace.manifest.get("input", {}).get("fingerprint"))
    source, marker = context.source, folder / INDEX
    index: dict[str, Any] = {
        "source": source.name,
        "fingerprint": fingerprint,
        "notes": list(source.notes),
        "frames": [],
    }
    known = index_of(marker)
    if known.get("fingerprint") == fingerprint:
        index["notes"] = list(known.get("notes", []))
    else:
        known = {}
        for stale in stored_frames(folder):
            remove_file(prediction_path(folder, stale))
        write_text_atomic(marker, json.dumps(index))
    missing = [p for p in context.positions if not has_answer(folder, p, known)]
    max_broken = context.config.frames.max_broken * len(context.positions)
    frames = read_frames(context.sequence, missing, max_broken=max_broken)
    answers = ((frame, predict(frame)) for frame in frames)
    for done, (frame, seen) in enumerate(prefetched(answers)):  # a thread asks while this one writes
        if index["notes"] != source.notes:  # before the answers, so that a killed run has no answers without them
            index["notes"] = list(source.notes)
            write_text_atomic(marker, json.dumps(index))
        write_predictions(folder, frame.index, seen)
        show_prediction(frame, seen)
        context.advance(done + 1, len(missing))
    index["frames"] = stored_frames(folder)
    flush_files(folder)
    write_text_atomic(marker, json.dumps(index))
    return StageRecord({"text": f"{len(index['frames'])} frames predicted"}, index["notes"])
