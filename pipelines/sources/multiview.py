"""Depth from images and poses as a prediction source."""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property

import numpy as np

from m2h import Predictions
from mapping.multiview.multiview import MultiviewDepth
from mapping.multiview.multiview_config import MultiviewConfig
from mapping.multiview.views import Prior
from pipelines.config import config_to_mapping
from pipelines.frame import Frame, FrameSequence, SequenceError, poses_of
from pipelines.loading import chosen_positions
from pipelines.settings import PipelineConfig
from pipelines.sources.source import DepthOrigin, Source, SourceError
from pipelines.workspace import digest

VERSION = 2  # counts changes of the method, so that stored depth is found again only where it would be the same


def open_multiview(argument: str, sequence: FrameSequence, config: PipelineConfig) -> Source:
    """Depth and its confidence from images and poses alone: no depth is read, no network is asked.

    Raises SourceError when an argument is given, when fewer than two frames have a pose, or when the camera never moves from its
    place; while it answers also when no frame has another one to be compared with.
    """
    if argument:
        raise SourceError(f"--source multiview:{argument}: takes no argument; its settings are `multiview.*`")
    frames = MultiviewFrames(sequence, config)
    if frames.problem:
        raise SourceError(frames.problem)
    finder = _DepthFinder(frames)
    origin = DepthOrigin.POSES
    return Source("multiview", finder.predict, frames.fingerprint, None, origin, is_costly=True, notes=finder.notes)


class _DepthFinder:
    """The depth of frames as they are asked for. Nothing is read before the first answer is."""

    def __init__(self, frames: MultiviewFrames) -> None:
        self.notes: list[str] = []
        self._frames = frames
        self._depths: MultiviewDepth | None = None

    def predict(self, frame: Frame) -> Predictions:
        """Depth of a frame and its confidence."""
        if self._depths is None:
            self._depths = self._frames.depths()
            if problem := self._frames.lack_of_neighbours(self._depths):
                raise SourceError(problem)
            self.notes += self._frames.notes(self._depths)
        depth, confidence = self._depths(frame.index, frame.rgb.shape[:2])
        return Predictions(depth=depth, confidence=confidence)


class MultiviewFrames:
    """The frames of a sequence as depth from images asks for them, and what is to be said of them."""

    def __init__(self, sequence: FrameSequence, config: PipelineConfig) -> None:
        self.name, self.chosen = sequence.name, chosen_positions(sequence, config.frames)
        self.fingerprint = digest("multiview", VERSION, *map(config_to_mapping, (config.multiview, config.frames)))
        self.sequence, self._settings = sequence, config.multiview
        self._poses = poses_of(sequence)

    def read(self, position: int) -> Frame | None:
        """The frame at that position; None for one that cannot be read."""
        try:
            return self.sequence[position]
        except SequenceError:
            return None

    @cached_property
    def problem(self) -> str | None:
        """Why frames cannot be compared, as far as poses show before anything is read."""
        places = self._poses[np.isfinite(self._poses).all(axis=(1, 2)), :3, 3]
        if len(places) < 2:
            return f"--source multiview: {self.name} has {len(places)} frame with a pose; expected two or more"
        if not np.ptp(places, axis=0).any():
            return f"--source multiview: the camera of {self.name} never moves from its place; expected a baseline"
        return None

    def depths(
        self, settings: MultiviewConfig | None = None, prior: Callable[[int], Prior] | None = None
    ) -> MultiviewDepth:
        """What finds the depth of a frame by its position; with other settings than the run's, on request."""
        wanted = np.isin(np.arange(len(self._poses)), self.chosen)
        settings, camera = settings or self._settings, self.sequence.infos[self.chosen[0]].intrinsics
        return MultiviewDepth(self.read, self._poses, camera, settings, prior=prior, wanted=wanted)

    def lack_of_neighbours(self, depths: MultiviewDepth) -> str | None:
        """Why none of the chosen frames can be compared with any other."""
        if any(depths.neighbours(i) for i in self.chosen):
            return None
        return (
            f"--source multiview: no frame of {self.name} sees the same as another from a different place; "
            f"the camera turns on the spot, moves too fast, or multiview.neighbours.scene_depth is wrong"
        )

    def notes(self, depths: MultiviewDepth, alone_is: str = "unknown") -> list[str]:
        """What was assumed of the depth range, and which frames get no depth from images; theirs is then `alone_is`."""
        notes = []
        if alone := sum(not depths.neighbours(i) for i in self.chosen):
            notes.append(
                f"{alone} of {len(self.chosen)} frames have no neighbour with a baseline; their depth is {alone_is}"
            )
        if depths.range_is_assumed:
            notes.append(
                "images share too few points to find the depth range: "
                f"{depths.config.min_depth:g} to {depths.config.max_depth:g} m is assumed, poses taken as metres"
            )
        return notes
