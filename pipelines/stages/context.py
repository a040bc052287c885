"""What every stage is given, and the one stream of frames from which stages take depth and poses."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from m2h import Predictions
from mapping.camera import Intrinsics
from mapping.depth.depth_planes import SurfacePlane
from mapping.se3 import inverse
from pipelines.features import FrameFeatures
from pipelines.frame import Frame, FrameSequence, only_within
from pipelines.levelling import floor_ids
from pipelines.loading import chosen_positions, read_frames
from pipelines.recentred import moved, origin_of
from pipelines.settings import PipelineConfig
from pipelines.sources.source import Source, SourceError
from pipelines.sources.stored import read_answer
from pipelines.stages import alignment_file, planes_file
from pipelines.stages.depth_on_planes import on_planes
from pipelines.stages.raised_floor import without_raised_floor
from pipelines.workspace import Workspace, read_record
from scenegraph.files import json_values as values
from scenegraph.labels import LabelSpace

Progress = Callable[[str, int, int], None]
Array = NDArray[np.float64]
LEVELLING_FILE = "levelling.json"
Corrected = Literal["as given", "aligned", "levelled", "on planes"]
LEAST_FLOOR = 0.1
"""Square metres of surface at z = 0 from which there is a floor."""
PREDICTIONS_FOLDER = "predictions"


@dataclass(frozen=True, eq=False)
class DepthPredictions(Predictions):
    """`Predictions` that say the depth (H, W)."""

    depth: NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class PosedFrame:
    """A frame with what is predicted of it, in the unit and the world that were asked for.

    index, timestamp, rgb and intrinsics are the frame's; T_world_camera (4, 4) float64. Labels that the label space lacks are 0,
    unknown, in `predictions`; `foreign_labels` counts their pixels by label.
    """

    index: int
    timestamp: float
    rgb: NDArray[np.uint8]
    intrinsics: Intrinsics
    T_world_camera: Array
    predictions: DepthPredictions
    foreign_labels: dict[int, int]


@dataclass(frozen=True)
class RunContext:
    """What a stage gets: where to write, what to read, the settings and a callback `(what, done, total)`.

    `stage` is the name of the stage at hand and `key` what its files depend on. `folder` is where in the run folder its
    predictions, alignment and volume lie, so that a stage may be there twice. `features` are shared by the stages that ask for
    them.
    """

    workspace: Workspace
    sequence: FrameSequence
    source: Source
    config: PipelineConfig
    progress: Progress
    stage: str = ""
    key: str = ""
    folder: str = ""
    features: FrameFeatures = field(default_factory=FrameFeatures)

    def path(self, name: str) -> Path:
        """Where a file of this stage, or of one before it in the same folder, lies."""
        return self.workspace.path(self.folder) / name

    def advance(self, done: int, total: int) -> None:
        """Report how far the stage has come."""
        self.progress(self.stage, done, total)

    @cached_property
    def positions(self) -> list[int]:
        """Positions in the sequence of the frames that the settings choose."""
        return chosen_positions(self.sequence, self.config.frames)

    @cached_property
    def all_positions(self) -> list[int]:
        """The same with the frames that are left out because they are close to others."""
        frames = self.config.frames
        return chosen_positions(self.sequence, replace(frames, spacing=replace(frames.spacing, mode="off")))

    @property
    def camera(self) -> Intrinsics:
        """The camera of the first chosen frame."""
        return self.sequence.infos[self.positions[0]].intrinsics

    @property
    def turns(self) -> dict[int, int]:
        """By index the quarter turns by which images were turned before a network was shown them."""
        if self.source.turns is None:
            return {}
        return dict(enumerate(self.source.turns().tolist()))

    @cached_property
    def alignment(self) -> alignment_file.Alignment:
        """What the alignment stage found, as long as this stage runs."""
        return alignment_file.read_alignment(self.path(alignment_file.ALIGNMENT_FILE))

    @cached_property
    def planes(self) -> list[SurfacePlane]:
        """What the planes stage found, as long as this stage runs."""
        return planes_file.read_planes(self.path(planes_file.PLANES_FILE))

    @cached_property
    def T_input_world(self) -> Array:
        """(4, 4) of the levelling stage: points of the levelled world to the input's world in metres."""
        path = self.workspace.path(LEVELLING_FILE)
        return values.rigid(read_record(path).get("T_input_world"), f"{path}: T_input_world")

    @cached_property
    def _doubted_floor_ids(self) -> list[int]:
        """The ids of floor, where they are predicted and there is a floor above which they are wrong; else empty."""
        if not self.source.predicts_labels or self.source.label_space is None or self.ground is None:
            return []
        return floor_ids(self.source.label_space)

    @cached_property
    def ground(self) -> float | None:
        """The height of the lowest floor in the levelled world, None where levelling found too little of one."""
        path = self.workspace.path(LEVELLING_FILE)
        area = values.number(read_record(path).get("floor_area", 0.0), f"{path}: floor_area")
        return 0.0 if area >= LEAST_FLOOR else None

    def levelled_pose(self, T_world_camera: Array) -> Array:
        """A pose (4, 4) of the sequence in metres and in the levelled world."""
        return inverse(moved(self.T_input_world, -self.origin)) @ self.alignment.metric_pose(T_world_camera)

    @property
    def origin(self) -> Array:
        """Where the origin (3,) of the sequence's world lies in the input's world, in metres."""
        return origin_of(self.sequence) * self.alignment.pose_scale

    def posed_frames(
        self,
        positions: Sequence[int] | None = None,
        *,
        corrected: Corrected = "on planes",
        broken: dict[int, str] | None = None,
        max_broken: float = math.inf,
    ) -> Iterator[PosedFrame]:
        """The frames at `positions`, by default all that the settings choose, with their predictions, in order.

        Parameters
        ----------
        corrected : how far, each with what is before it. *as given*: depth and poses as the source and the sequence give them.
            *aligned*: depth as the alignment stage found, depth and poses in metres. *levelled*: poses in the levelled world.
            *on planes*: predicted depth of floors, ceilings, walls and tables on the planes found of them, and predicted labels
            of floor unknown where no floor can be.
        broken : gets the reason of each frame that cannot be read, by index; such frames are omitted.
        max_broken : raises BrokenFramesError when there are more of them.

        Raises SourceError for a frame of which the source says no depth.
        """
        chosen = self.positions if positions is None else positions
        for frame in read_frames(self.sequence, chosen, broken, max_broken=max_broken):
            found = self._predicted(frame)
            pose = frame.T_world_camera
            if corrected != "as given":
                found, pose = self.alignment.corrected(frame.index, found), self.alignment.metric_pose(pose)
            if corrected in ("levelled", "on planes"):
                pose = self.levelled_pose(frame.T_world_camera)
            known, foreign = only_known_labels(found, self.source.label_space)
            if corrected == "on planes" and self._doubted_floor_ids:
                known = without_raised_floor(known, frame.intrinsics, pose, self._doubted_floor_ids)
            if corrected == "on planes" and self.source.label_space is not None:
                known = on_planes(known, frame.intrinsics, pose, self.planes, self.source.label_space)
            predictions = DepthPredictions(**vars(known))
            yield PosedFrame(frame.index, frame.timestamp, frame.rgb, frame.intrinsics, pose, predictions, foreign)

    def _predicted(self, frame: Frame) -> Predictions:
        """The predictions of a frame, stored ones when the source is costly; unknown where the frame is masked."""
        if self.source.is_costly:
            found = read_answer(self.path(PREDICTIONS_FOLDER), frame.index)
        else:
            found = self.source.predict(frame)
        if found.depth is None:
            image = self.sequence.infos[frame.index].image
            raise SourceError(f"--source {self.source.name}: gives no depth for frame {frame.index} ({image})")
        return only_within(found, frame.mask)


def only_known_labels(predictions: Predictions, label_space: LabelSpace | None) -> tuple[Predictions, dict[int, int]]:
    """The predictions with labels that the label space lacks taken as unknown, and how many pixels had each of those."""
    labels = predictions.labels
    if labels is None or label_space is None:
        return predictions, {}
    known = np.isin(np.arange(int(labels.max(initial=0)) + 1), list(label_space.by_id))
    if known.all():
        return predictions, {}
    foreign, counts = np.unique(labels[~known[labels]], return_counts=True)
    kept = np.where(known[labels], labels, 0).astype(labels.dtype)
    return replace(predictions, labels=kept), dict(zip(foreign.tolist(), counts.tolist(), strict=True))
