"""The fusion stage of one run, done in pieces by several processes: frames are cut into spans, fused apart, and joined in pairs.

What comes out is the checkpoint that the stage itself would have left after the last frame, so that `run` continues from there to
the same bytes as without pieces. All sums of a volume are of integers, so it does not matter where they are cut; what does depend
on the order of frames is kept frame by frame (the confidence of labels), or is done again in order (the labels of crowded voxels,
`mapping.tsdf.label_order`).
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from mapping.files import make_folder, remove_file, write_text_atomic
from mapping.reading.documents import read_json
from mapping.reading.files import file_sha256
from mapping.threads import split
from mapping.tsdf.label_order import (
    CrowdedVoxels,
    frame_evidence,
    read_evidence,
    with_labels_in_order,
    write_evidence,
)
from mapping.tsdf.volume import TSDFVolume
from mapping.tsdf.volume_io import read_volume, write_volume
from pipelines.stages.context import RunContext
from pipelines.stages.fuse import FusionState, add_frame, frame_confidence, fuse_frame, save_checkpoint
from pipelines.stages.motion_file import MOTION_FILE, read_motion
from pipelines.workspace import Workspace, WorkspaceError
from scenegraph.files import json_values as values
from scenegraph.tracks.detection import Detection, detections_from_json, detections_to_json

ORDERED = "ordered.npz"


@dataclass
class PieceNotes:
    """What is known of the frames of a span besides their volume, frame by frame in their order; `key` is that of the stage."""

    key: str
    moving: list[tuple[float, list[Detection]]] = field(default_factory=list)
    broken: dict[int, str] = field(default_factory=dict)
    foreign_labels: dict[int, dict[int, int]] = field(default_factory=dict)
    confidences: list[dict[int, tuple[float, int]]] = field(default_factory=list)


def fuse_piece(context: RunContext, folder: Path, number: int, pieces: int) -> None:
    """Fuse the span of frames of one of `pieces` into files of `folder`; nothing is to be done where they are up to date."""
    name = piece_name(number, number + 1)
    if _key_of(folder, name) == context.key:
        return
    span = _span(context, number, pieces)
    state, notes = FusionState(0, TSDFVolume(context.config.tsdf)), PieceNotes(context.key)
    motion = read_motion(context.path(MOTION_FILE))
    for frame in context.posed_frames(span, broken=state.broken):
        add_frame(context, state, frame, motion)
        notes.confidences.append(frame_confidence(frame.predictions))
        state.done += 1
        context.advance(state.done, len(span))
    notes.moving, notes.broken, notes.foreign_labels = state.moving, state.broken, state.foreign_labels
    _write(folder, name, state.volume, notes)


def join_pieces(folder: Path, first: int, middle: int, stop: int) -> None:
    """Add the pieces `first` to `middle` and `middle` to `stop`, and remove their files.

    Raises WorkspaceError where one of them is missing or they are of different inputs or settings.
    """
    name, parts = piece_name(first, stop), (piece_name(first, middle), piece_name(middle, stop))
    known = _key_of(folder, name)
    if known is not None and all(_key_of(folder, part) in (None, known) for part in parts):
        _remove(folder, parts)  # it was killed at that
        return
    left, right = (_read_notes(folder, part) for part in parts)
    if left.key != right.key:
        raise WorkspaceError(
            f"{folder}: {parts[0]} and {parts[1]} are of different inputs or settings; run it with --retry"
        )
    volume = TSDFVolume.load(folder / f"{parts[0]}.npz")
    volume.merge(TSDFVolume.load(folder / f"{parts[1]}.npz"))
    notes = PieceNotes(
        left.key,
        left.moving + right.moving,
        left.broken | right.broken,
        left.foreign_labels | right.foreign_labels,
        left.confidences + right.confidences,
    )
    _write(folder, name, volume, notes)
    _remove(folder, parts)


def list_labels(context: RunContext, folder: Path, number: int, pieces: int) -> None:
    """Note what the frames of a span say of voxels that had more labels than a voxel keeps, if there are any in the sum."""
    root = folder / f"{piece_name(0, pieces)}.npz"
    crowded = CrowdedVoxels.of(read_volume(root)[1])
    if not len(crowded):
        return
    span, found = _span(context, number, pieces), []
    motion = read_motion(context.path(MOTION_FILE))
    for frame in context.posed_frames(span, broken={}):
        moving = motion.numbers(frame.index, frame.predictions.depth)
        single = TSDFVolume(context.config.tsdf)
        fuse_frame(single, frame, config=context.config, source=context.source, moving=moving)
        found.append(frame_evidence(crowded, single.sums()))
        context.advance(len(found), len(span))
    write_evidence(folder / labels_name(number), found)


def place_sum(context: RunContext, folder: Path, pieces: int) -> None:
    """Give the sum of all pieces to the fusion stage of the run, as its checkpoint after the last frame.

    Where more frames are broken than the settings allow nothing is given, so that the stage itself says so. Raises
    WorkspaceError where the pieces are of a different input or different settings.
    """
    workspace = Workspace(context.workspace.root)
    with workspace.lock():
        if workspace.is_current(context.stage, context.key):
            return
        name = piece_name(0, pieces)
        notes = _read_notes(folder, name)
        if notes.key != context.key:
            raise WorkspaceError(
                f"{folder}: its pieces are of a different input or different settings; run it with --retry"
            )
        if len(notes.broken) > context.config.frames.max_broken * len(context.positions):
            return
        volume = TSDFVolume.load(_in_order(folder, name, pieces), max_memory=context.config.tsdf.max_memory)
        state = FusionState(len(context.positions), volume, notes.moving, notes.broken, notes.foreign_labels)
        for found in notes.confidences:
            state.add_confidence(found)
        save_checkpoint(context, state)


def _in_order(folder: Path, name: str, pieces: int) -> Path:
    """The volume of the sum, with the labels of its crowded voxels as the frames in their order make them."""
    path = folder / f"{name}.npz"
    config, sums = read_volume(path)
    crowded = CrowdedVoxels.of(sums)
    if not len(crowded):
        return path
    frames = (frame for piece in range(pieces) for frame in read_evidence(folder / labels_name(piece)))
    write_volume(folder / ORDERED, config, with_labels_in_order(sums, crowded, frames))
    return folder / ORDERED


def piece_name(first: int, stop: int) -> str:
    """The name of the files of the pieces from `first` to `stop`."""
    return f"{first}-{stop}"


def labels_name(number: int) -> str:
    """The file of what the frames of a piece say of crowded voxels."""
    return f"labels-{number}.npz"


def _span(context: RunContext, number: int, pieces: int) -> list[int]:
    """The positions of the frames of a piece."""
    first, stop = split(len(context.positions), pieces)[number]
    return context.positions[first:stop]


def _write(folder: Path, name: str, volume: TSDFVolume, notes: PieceNotes) -> None:
    """The volume first: the JSON file that makes a piece valid has its hash."""
    make_folder(folder)
    volume.save(folder / f"{name}.npz")
    data = {
        "key": notes.key,
        "volume": file_sha256(folder / f"{name}.npz", WorkspaceError),
        "moving": detections_to_json(notes.moving),
        "broken": list(notes.broken.items()),
        "foreign_labels": [[index, list(counts.items())] for index, counts in notes.foreign_labels.items()],
        "confidences": [[[label, *entry] for label, entry in frame.items()] for frame in notes.confidences],
    }
    write_text_atomic(folder / f"{name}.json", json.dumps(data, allow_nan=False) + "\n")


def _remove(folder: Path, names: Iterable[str]) -> None:
    for name in names:
        remove_file(folder / f"{name}.json")  # first: without it the volume counts for nothing
        remove_file(folder / f"{name}.npz")


def _key_of(folder: Path, name: str) -> str | None:
    """The key of a piece whose files are there and whole; None of others."""
    try:
        return _read_notes(folder, name).key
    except WorkspaceError:
        return None


def _read_notes(folder: Path, name: str) -> PieceNotes:
    """The notes of a piece whose volume is whole; raises WorkspaceError naming the file."""
    path = folder / f"{name}.json"
    data = read_json(path, WorkspaceError)
    try:
        notes, sha256 = _parsed(data, str(path))
    except (KeyError, TypeError, ValueError) as error:
        raise WorkspaceError(f"{path}: is damaged ({error}); run it with --retry") from error
    if file_sha256(folder / f"{name}.npz", WorkspaceError) != sha256:
        raise WorkspaceError(f"{folder / name}.npz: is not the volume that {path.name} names; run it with --retry")
    return notes


def _parsed(data: Any, where: str) -> tuple[PieceNotes, str]:
    notes = PieceNotes(
        values.text(data["key"], where),
        detections_from_json(data["moving"], where),
        {int(index): str(reason) for index, reason in data["broken"]},
        {int(index): {int(i): int(n) for i, n in counts} for index, counts in data["foreign_labels"]},
        [
            {int(label): (values.at_least_zero(total, where, most=count), int(count)) for label, total, count in frame}
            for frame in data["confidences"]
        ],
    )
    return notes, values.text(data["volume"], where)
