"""The recording of a finished run, opened again: its frames with their poses in the world of the map."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mapping.camera import Intrinsics
from mapping.reading.files import read_bytes
from mapping.se3 import inverse
from pipelines.config import load_config
from pipelines.exports.export_input import ExportError, FinishedRun
from pipelines.frame import Frame, FrameSequence, SequenceError
from pipelines.images import encode_png, read_rgb
from pipelines.loading import chosen_positions, read_frames
from pipelines.plugins import SEQUENCES
from pipelines.recentred import moved, origin_of, recentred
from pipelines.sequences.detect import open_sequence
from pipelines.sequences.evidence import GIVEN, WorldEvidence, evidence_of
from pipelines.settings import PipelineConfig
from pipelines.stages.alignment_file import ALIGNMENT_FILE, Alignment, read_alignment
from pipelines.stages.refine_poses import POSES_FILE, with_refined_poses
from pipelines.workspace import Workspace, input_fingerprint

Array = NDArray[np.float64]
COPIED_SUFFIXES = (".jpg", ".jpeg", ".png")
"""Of images that other programs read, and whose files are taken over as they are."""


@dataclass(frozen=True, eq=False)
class MappedRecording:
    """The frames that a map was made of.

    sequence has the poses as the run refined them; positions are those of the chosen frames in it. Recorded depth is kept where
    it is in metres: `corrects_depth` says that the run's corrections of depth are of it. evidence says what metres and up of the
    map follow from.
    """

    sequence: FrameSequence
    positions: tuple[int, ...]
    alignment: Alignment
    T_input_world: Array
    corrects_depth: bool
    is_metric: bool
    evidence: WorldEvidence

    @cached_property
    def cameras(self) -> Mapping[int, tuple[Intrinsics, Array]]:
        """By position of a frame: its camera without distortion, and its pose (4, 4) in the levelled world, in metres."""
        found = {}
        for position in self.positions:
            info = self.sequence.infos[position]
            if info.T_world_camera is not None:
                found[position] = (info.intrinsics, self._levelled(info.T_world_camera))
        return found

    def frames(self, positions: list[int] | None = None) -> Iterator[tuple[int, Frame]]:
        """(position, frame) of those that can be read, in order; the frame's pose and recorded depth are the map's."""
        wanted = list(self.cameras) if positions is None else positions
        for frame in read_frames(self.sequence, wanted):
            recorded = frame.recorded
            if self.corrects_depth:
                recorded = self.alignment.corrected(frame.index, recorded)
            elif self.alignment.pose_scale != 1:
                recorded = replace(recorded, depth=None)
            pose = self._levelled(frame.T_world_camera)
            yield frame.index, replace(frame, T_world_camera=pose, recorded=recorded)

    def encoded(self, position: int, frame: Frame) -> tuple[str, bytes]:
        """Suffix and bytes of the image of a frame: its own file where that shows the very same pixels, else a PNG."""
        path = self.sequence.path / self.sequence.infos[position].image
        if path.suffix.lower() in COPIED_SUFFIXES and path.is_file():
            try:
                if np.array_equal(read_rgb(path), frame.rgb):
                    return path.suffix.lower(), read_bytes(path, SequenceError)
            except SequenceError:  # gone since it was decoded: the pixels are still here
                pass
        return ".png", encode_png(frame.rgb)

    def _levelled(self, T_world_camera: Array) -> Array:
        origin = origin_of(self.sequence) * self.alignment.pose_scale
        return np.asarray(inverse(moved(self.T_input_world, -origin)) @ self.alignment.metric_pose(T_world_camera))


def open_recording(run: FinishedRun) -> MappedRecording:
    """The recording of a run where it was, or where `ExportOptions.sequence` says that it is.

    Raises ExportError where it is gone, is not that of the run, or the run is a merge of several; SequenceError where it cannot
    be read.
    """
    workspace = Workspace.open(run.folder)
    known = workspace.manifest.get("input", {})
    form = str(known.get("format", ""))
    if form not in SEQUENCES and ":" not in form:
        raise ExportError(
            f"{run.folder}: has no recording of its own ({form or 'no input'}); export the runs that it is of"
        )
    path = run.options.sequence or known["path"]
    try:
        sequence = recentred(open_sequence(f"{form}:{path}"))
    except SequenceError as error:
        raise ExportError(f"{error}; --sequence PATH says where the recording of {run.folder} is") from error
    if run.options.sequence is None and input_fingerprint(sequence) != known.get("fingerprint"):
        raise ExportError(f"{path}: was changed since {run.folder} was made of it; run it again")
    config = load_config(PipelineConfig, workspace.path("config.yaml"))
    positions = chosen_positions(sequence, config.frames)
    poses = workspace.path(POSES_FILE)
    adjusted = with_refined_poses(sequence, poses) if poses.is_file() else sequence
    alignment = read_alignment(workspace.path(ALIGNMENT_FILE))
    source = str(workspace.manifest.get("source", ""))
    recording = MappedRecording(
        adjusted,
        tuple(positions),
        alignment,
        np.asarray(run.graph.T_input_world),
        corrects_depth=source == "recorded" or "depth=recorded" in source,
        is_metric=_summary(workspace, "align").get("scale_state") != "unknown",
        evidence=_evidence(workspace, evidence_of(sequence), is_up_given=config.up is not None),
    )
    _check_same(run, recording, str(path))
    return recording


def _summary(workspace: Workspace, stage: str) -> dict[str, Any]:
    found = workspace.manifest["stages"].get(stage, {}).get("summary", {})
    return found if isinstance(found, dict) else {}


def _evidence(workspace: Workspace, of_files: WorldEvidence, *, is_up_given: bool) -> WorldEvidence:
    """What metres and up of the map follow from, given what its recording says of its own."""
    unit, levelled = _summary(workspace, "align"), _summary(workspace, "level")
    up_source = str(levelled.get("up_source", GIVEN))
    if up_source == GIVEN:
        up_source = "" if is_up_given else of_files.up_source
    if unit.get("scale_state") == "given":
        return WorldEvidence(GIVEN, up_source=up_source)
    if unit.get("scale_state") == "estimated" and not of_files.is_estimate:
        source = str(workspace.manifest.get("source"))
        source = "recorded depth" if source == "recorded" else f"depth of {source}"
        return WorldEvidence(source, unit.get("pose_scale_deviation"), unit.get("pose_scale_spread"), up_source)
    return replace(of_files, up_source=up_source)


def _check_same(run: FinishedRun, recording: MappedRecording, path: str) -> None:
    """Raise ExportError unless the cameras of the recording are those of the run's graph."""
    agents = {round(agent.time, 3): agent.position for _, agent in run.graph.nodes("agent")}
    infos = recording.sequence.infos
    found = {round(infos[p].timestamp, 3): T[:3, 3] for p, (_, T) in recording.cameras.items()}
    same = agents.keys() <= found.keys() and all(np.abs(found[t] - at).max() < 1e-3 for t, at in agents.items())
    if not agents or not same:
        raise ExportError(f"{path}: is not the recording of {run.folder}: its cameras are elsewhere in time or space")
