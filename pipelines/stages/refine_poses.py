"""The stage that refines the given poses and the camera by the images, and the sequence with what it found."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mapping.camera import Intrinsics
from mapping.files import write_text_atomic
from mapping.multiview.features import LARGEST_SIDE, Features
from mapping.se3 import inverse, turn_between
from pipelines.checks.conventions import EPIPOLAR_TOLERANCE
from pipelines.checks.matches import MatchedPair, matched_pairs
from pipelines.checks.sampler import FrameSampler
from pipelines.frame import FrameSequence, SequenceError
from pipelines.loading import read_frames
from pipelines.posing.adjusted_sequence import AdjustedSequence
from pipelines.posing.adjustment import Adjustment, adjust_poses, can_adjust, neighbours_moved
from pipelines.posing.drift import Drift, measure_drift, unlinked_stretches
from pipelines.posing.pycolmap_import import quiet_pycolmap
from pipelines.sources.source import FOUND_BY_POSES, SourceError
from pipelines.stages.context import RunContext
from pipelines.stages.prepare import CHECK_FILE, POSTPONED
from pipelines.workspace import StageRecord, WorkspaceError, read_record
from scenegraph.files import json_values as values

Array = NDArray[np.float64]
POSES_FILE = "poses.json"
LEAST_ERROR = 0.4
"""Pixels of epipolar error from which poses are refined, in images no larger than those in which features are found."""
LEAST_GAIN = 0.2
"""Share by which it must fall for refined poses to be used."""
LARGEST_TURN_DEG = 8.0
"""Median angle between given and refined poses from which the adjustment has turned the world, not corrected the poses."""
SHOWN_GAPS = 5
NO_FEATURES = Features(np.zeros((0, 2)), np.zeros((0, 128), np.float32))


@dataclass(frozen=True)
class Refinement:
    """How refined poses compare with the given ones, by pairs of frames: median epipolar errors in pixels before and after,
    focal lengths in pixels, the median distance in the unit of the poses and angle in degrees by which frames moved.

    drift is that of the given poses, None for a short path; gaps are the first and last index of stretches of frames that share
    too few features with others to be adjusted, which moved as their neighbours did.
    """

    error_given: float
    error_refined: float
    focal_given: float
    focal_refined: float
    moved: float
    turned_deg: float
    drift: Drift | None = None
    gaps: tuple[tuple[int, int], ...] = ()

    @property
    def helps(self) -> bool:
        """Whether the refined poses fit the images clearly better."""
        falls = self.error_refined < (1 - LEAST_GAIN) * self.error_given
        return falls and self.turned_deg < LARGEST_TURN_DEG

    @property
    def fits(self) -> bool:
        """Whether most features agree with the refined poses as they do with right ones."""
        return self.error_refined < EPIPOLAR_TOLERANCE * self.focal_refined

    def describe(self) -> str:
        """As words for users."""
        return (
            f"epipolar error {self.error_given:.2f} -> {self.error_refined:.2f} px, focal length {self.focal_given:.0f} -> "
            f"{self.focal_refined:.0f} px, moved by {self.moved:.3f} and {self.turned_deg:.2f} degrees (medians)"
            + (f"; {self.drift.describe()}" if self.drift else "")
        )

    def warnings(self) -> list[str]:
        """A sentence on the frames that nothing links to the others."""
        if not self.gaps:
            return []
        shown = ", ".join(f"{first} to {last}" for first, last in self.gaps[:SHOWN_GAPS])
        more = f" and {len(self.gaps) - SHOWN_GAPS} more" if len(self.gaps) > SHOWN_GAPS else ""
        return [
            f"frames {shown}{more} share too few features with others: their poses are moved as those around them are"
        ]


def refine_poses(context: RunContext) -> StageRecord:
    """Poses and a camera that fit the images better than those given, in poses.json; those given where there are none.

    Raises SourceError where refinement is demanded and its library is missing or the images do not allow it, and SequenceError
    where the given poses fit no image and refined ones are not found or do not fit either.
    """
    contradiction = _postponed(context)
    reason = _reason_against(context)
    if reason is None:
        found = _adjusted(context)
        if found is None:
            reason = "too few features are common to the frames"
        else:
            adjustment, refinement = found
            if refinement.helps and not (contradiction and not refinement.fits):
                _write(context, {"refined": True, **asdict(refinement), **_record(context, adjustment)})
                summary = {"refined": True, **asdict(refinement), "text": refinement.describe()}
                return StageRecord(summary, refinement.warnings())
            better = "not well enough" if refinement.helps else "hardly better"
            reason = f"refined ones fit {better} ({refinement.describe()})"
    if contradiction:
        raise SequenceError(
            f"{context.sequence.path}: {contradiction}; poses are not refined: {reason}; `--trust` maps it as it is read"
        )
    if context.config.poses.refine == "on":
        raise SourceError(f"--refine-poses on: {context.sequence.path}: {reason}")
    _write(context, {"refined": False, "reason": reason})
    return StageRecord({"refined": False, "text": f"as given: {reason}"})


def _postponed(context: RunContext) -> str:
    """What the check of the input found contradictory and left to the refinement of the poses; empty for nothing."""
    found = context.workspace.path(CHECK_FILE)
    stated = read_record(found).get(POSTPONED)
    return "" if stated is None else values.text(stated, f"{found}: {POSTPONED}")


def with_refined_poses(sequence: FrameSequence, path: Path) -> FrameSequence:
    """The sequence with what poses.json says; the sequence itself where it kept the poses."""
    data = read_record(path)
    if data.get("refined") is False:
        return sequence
    poses = {
        values.index(name, f"{path}: poses"): values.rigid(T, f"{path}: poses.{name}")
        for name, T in values.mapping(data.get("poses"), f"{path}: poses").items()
    }
    camera = _camera(data.get("camera"), f"{path}: camera")
    sizes = {(info.intrinsics.width, info.intrinsics.height) for info in sequence.infos if info.used}
    if len(sizes) == 1 and (camera.width, camera.height) not in sizes:  # it was found in images that were reduced
        camera = camera.resized(*sizes.pop())
    return AdjustedSequence(sequence, poses, camera)


def _camera(entry: object, where: str) -> Intrinsics:
    camera = values.mapping(entry, where)
    lens = tuple(values.array(camera.get("distortion"), f"{where}.distortion", (None,), minimum=0).tolist())
    try:
        return Intrinsics(**(camera | {"distortion": lens}))
    except (TypeError, ValueError) as error:
        raise WorkspaceError(f"{where}: {error}") from error


def _reason_against(context: RunContext) -> str | None:
    """Why the poses are not to be refined, None where they are."""
    mode = context.config.poses.refine
    if mode == "off":
        return "--refine-poses off"
    if not all(
        context.sequence.infos[position].intrinsics.is_like(context.camera) for position in context.all_positions
    ):
        return "the frames have different cameras"
    if mode == "auto":
        if context.source.depth_from not in FOUND_BY_POSES:
            return "depth does not come from them"
        found = context.workspace.path(CHECK_FILE)
        stated = read_record(found).get("epipolar_error")
        if stated is None:
            return "too few features are common to the frames"
        camera = context.camera
        error = values.at_least_zero(stated, f"{found}: epipolar_error", most=camera.width + camera.height)
        if error < LEAST_ERROR * max(1.0, max(camera.width, camera.height) / LARGEST_SIDE):
            return f"they fit the images ({error:.2f} px)"
    if not can_adjust():
        return "needs the extra sfm: pip install 'm2h-mapping[sfm]'"
    quiet_pycolmap()
    return None


def _adjusted(context: RunContext) -> tuple[Adjustment, Refinement] | None:
    """The adjustment of the chosen frames and how it compares; None where the images do not allow one."""
    positions = context.all_positions
    infos = [context.sequence.infos[position] for position in positions]
    poses = np.array([info.T_world_camera for info in infos])
    features = _features(context, positions)
    times = np.array([info.timestamp for info in infos])
    found = adjust_poses(features, context.camera, poses, times)
    if found is None:
        return None
    pairs = matched_pairs(FrameSampler(context.sequence, positions, context.features))
    place = {position: i for i, position in enumerate(positions)}
    asked = np.flatnonzero([len(shown.pixels) > 0 for shown in features])
    gaps = tuple((positions[asked[a]], positions[asked[b]]) for a, b in unlinked_stretches(found.adjusted[asked]))
    return found, replace(_compared(pairs, context.camera, found, poses, place), gaps=gaps)


def _features(context: RunContext, positions: Sequence[int]) -> list[Features]:
    """Of each chosen frame; none of those that are not adjusted themselves."""
    every, known = -(-len(positions) // context.config.poses.most_frames), context.features
    wanted = positions[::every]
    missing = [position for position in wanted if position not in known]
    for done, frame in enumerate(read_frames(context.sequence, missing)):
        known.find(frame.index, frame)
        context.advance(done + 1, len(missing))
    found = {position: known[position] for position in wanted if position in known}
    return [found.get(position, NO_FEATURES) for position in positions]


def _compared(
    pairs: Sequence[MatchedPair], camera: Intrinsics, found: Adjustment, poses: Array, place: dict[int, int]
) -> Refinement:
    """The adjustment compared with the given poses, on pairs of frames that are matched for this alone."""
    before = [pair.median_error() for pair in pairs]
    after = [
        pair.median_error(
            np.asarray(inverse(found.poses[place[b]]) @ found.poses[place[a]]), lambda given: found.camera
        )
        for pair in pairs
        for a, b in [pair.positions]
    ]
    moved = np.linalg.norm(found.poses[:, :3, 3] - poses[:, :3, 3], axis=1)
    return Refinement(
        float(np.median(before)) if before else 0.0,
        float(np.median(after)) if after else 0.0,
        float(camera.fx),
        float(found.camera.fx),
        float(np.median(moved)),
        float(np.median(turn_between(found.poses, poses))),
        measure_drift(poses, found.poses),
    )


def _record(context: RunContext, adjustment: Adjustment) -> dict[str, Any]:
    """The camera and the poses of all frames that it took: of those that were not chosen, which are neighbours of others, too."""
    infos = context.sequence.infos
    chosen = dict(zip(context.all_positions, adjustment.poses, strict=True))
    same = [i for i, info in enumerate(infos) if info.used and info.intrinsics.is_like(context.camera)]
    given = np.array([infos[i].T_world_camera for i in same])
    found = np.array([chosen.get(i, T) for i, T in zip(same, given, strict=True)])
    times = np.array([infos[i].timestamp for i in same])
    moved = neighbours_moved(found, given, np.isin(same, context.all_positions), times)
    poses = {str(i): T.tolist() for i, T in zip(same, moved, strict=True)}
    return {"camera": asdict(adjustment.camera), "poses": poses}


def _write(context: RunContext, data: dict[str, Any]) -> None:
    write_text_atomic(context.workspace.path(POSES_FILE), json.dumps(data, allow_nan=False) + "\n")
