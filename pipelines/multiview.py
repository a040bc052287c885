"""Depth from images and poses as a prediction source, alone or on top of another source's depth."""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import replace

import cv2
import numpy as np
from numpy.typing import NDArray

from m2h import Predictions
from mapping.camera import Intrinsics
from mapping.multiview import MultiviewDepth, Prior
from pipelines.config import config_to_mapping
from pipelines.frame import Frame, FrameSequence
from pipelines.loading import FramesByNumber, chosen_positions
from pipelines.settings import PipelineConfig
from pipelines.sources import Source, SourceError, open_source
from pipelines.workspace import digest

VERSION = 2  # counts changes of the method, so that stored depth is found again only where it would be the same
REMEMBERED_BYTES = 512 << 20  # predictions that are kept because neighbours ask for them before their turn
UNPROVED = 0.3  # share of its confidence that a prior keeps where the images do not prove it
FEWEST_PROVED = 500  # pixels that tell the scale of a frame's prior
SPREAD = 0.04  # standard deviation of the Gaussian that spreads it, as a share of the image's long side
NOTHING_NEAR = 0.02  # weight of the frame's median against proved pixels around


def open_multiview(argument: str, sequence: FrameSequence, config: PipelineConfig) -> Source:
    """Depth and its confidence from images and poses alone: no depth is read, no network is asked.

    Raises SourceError when an argument is given, when fewer than two frames have a pose, or when the camera never moves from its
    place; while it answers also when no frame has another one to be compared with.
    """
    if argument:
        raise SourceError(f"--source multiview:{argument}: takes no argument; its settings are `multiview.*`")
    finder = _DepthFinder(sequence, config, None)
    return Source("multiview", finder.predict, finder.fingerprint, None, is_costly=True, notes=finder.notes)


def open_refined(argument: str, sequence: FrameSequence, config: PipelineConfig) -> Source:
    """Another source whose depth and normals are the prior of depth from images and poses (`refined:SRC`).

    Where images prove a depth it is theirs; elsewhere the prior's, brought to the scale of what is proved around it, with
    little confidence. All else is as the other source gives it. Raises SourceError as `open_multiview`, and without a source.
    """
    if not argument:
        raise SourceError("--source refined: expected refined:SOURCE, such as refined:m2h:NAME")
    base = open_source(argument, sequence, config)
    finder = _DepthFinder(sequence, config, base)
    name = f"refined:{base.name}"
    return Source(name, finder.predict, finder.fingerprint, base.label_space, is_costly=True, notes=finder.notes)


class _DepthFinder:
    """What both sources share. Nothing is read before the first answer is asked for."""

    def __init__(self, sequence: FrameSequence, config: PipelineConfig, base: Source | None) -> None:
        self.base, self.notes = base, [] if base is None else base.notes
        self._sequence, self._config = sequence, config
        self._chosen = chosen_positions(sequence, config.frames)
        self._position = {info.index: position for position, info in enumerate(sequence.infos)}
        self._poses = _poses(sequence)
        settings = [config_to_mapping(part) for part in (config.multiview, config.frames)]
        self.fingerprint = digest("multiview", VERSION, settings, "" if base is None else base.fingerprint)
        self._answers: OrderedDict[int, Predictions] = OrderedDict()
        self._depths: MultiviewDepth | None = None
        _check_poses(self._poses, sequence.name)

    def predict(self, frame: Frame) -> Predictions:
        """Depth of a frame and its confidence, with all that the base says of it."""
        depths = self._depths = self._depths or self._started(frame.intrinsics)
        position = self._position[frame.index]
        base = None if self.base is None else self._base_answer(position, frame)
        depth, confidence = depths(position, frame.rgb.shape[:2])
        if base is None:
            return Predictions(depth=depth, confidence=confidence)
        depth, confidence = _filled(depth, confidence, base)
        return replace(base, depth=depth, confidence=confidence)

    def _started(self, camera: Intrinsics) -> MultiviewDepth:
        usable = np.flatnonzero(np.isfinite(self._poses).all(axis=(1, 2)))
        self._frames = FramesByNumber(self._sequence, usable.tolist())
        wanted = np.isin(np.arange(len(self._poses)), self._chosen)
        prior = None if self.base is None else self._prior
        settings = self._config.multiview
        depths = MultiviewDepth(self._frames, self._poses, camera, settings, prior=prior, wanted=wanted)
        self.notes += _notes(depths, self._chosen, self._sequence.name)
        return depths

    def _prior(self, position: int) -> Prior:
        answer = self._base_answer(position)
        return Prior(None, None) if answer is None else Prior(answer.depth, answer.normals)

    def _base_answer(self, position: int, frame: Frame | None = None) -> Predictions | None:
        """What the base says of a frame, asked once as long as memory lasts; None for a frame that cannot be read."""
        assert self.base is not None
        if position not in self._answers:
            frame = frame or self._frames(position)
            if frame is None:
                return None
            self._answers[position] = self.base.predict(frame)
        self._answers.move_to_end(position)
        while sum(map(_size, self._answers.values())) > REMEMBERED_BYTES and len(self._answers) > 1:
            self._answers.popitem(last=False)
        return self._answers[position]


def _poses(sequence: FrameSequence) -> NDArray[np.float64]:
    """(N, 4, 4), nan for frames that are not used."""
    lost = np.full((4, 4), np.nan)
    usable = (info.T_world_camera if info.used else None for info in sequence.infos)
    return np.stack([lost if T is None else T for T in usable])


def _check_poses(poses: NDArray[np.float64], name: str) -> None:
    places = poses[np.isfinite(poses).all(axis=(1, 2)), :3, 3]
    if len(places) < 2:
        raise SourceError(f"--source multiview: {name} has {len(places)} frame with a pose; expected two or more")
    if not np.ptp(places, axis=0).any():
        raise SourceError(f"--source multiview: the camera of {name} never moves from its place; expected a baseline")


def _notes(depths: MultiviewDepth, chosen: list[int], name: str) -> list[str]:
    """What was assumed of the depth range, and frames that get no depth; raises SourceError when all do."""
    alone = sum(not depths.neighbours(i) for i in chosen)
    if alone == len(chosen):
        raise SourceError(
            f"--source multiview: no frame of {name} sees the same as another from beside it; "
            f"the camera turns on the spot, moves too fast, or multiview.neighbours.scene_depth is wrong"
        )
    notes = []
    if alone:
        notes.append(f"{alone} of {len(chosen)} frames have no neighbour with a baseline; their depth is unknown")
    if depths.range_is_assumed:
        notes.append(
            "images share too few points to tell the depth range: "
            f"{depths.config.min_depth:g} to {depths.config.max_depth:g} m is assumed, poses taken as metres"
        )
    return notes


def _filled(
    depth: NDArray[np.float32], confidence: NDArray[np.float32], base: Predictions
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Depth and confidence with the base's where the images prove none, scaled like what they prove around it.

    A network's error is smooth: the ratio of proved depth to its own is spread over the image (the mean of log ratios under a
    Gaussian, the frame's median where nothing is near), and what is left is a prior of the right scale.
    """
    if base.depth is None:
        return depth, confidence
    both, missing = (depth > 0) & (base.depth > 0), (depth == 0) & (base.depth > 0)
    filled = np.where(missing, base.depth, depth)
    if both.sum() >= FEWEST_PROVED:
        ratio = np.zeros(depth.shape, np.float32)
        ratio[both] = np.log(depth[both] / base.depth[both])
        reach = SPREAD * max(depth.shape)
        weight = cv2.GaussianBlur(both.astype(np.float32), (0, 0), reach)
        spread = cv2.GaussianBlur(ratio, (0, 0), reach) + NOTHING_NEAR * np.median(ratio[both])
        filled = np.where(missing, base.depth * np.exp(spread / (weight + NOTHING_NEAR)), depth)
    trust = np.float32(UNPROVED) if base.confidence is None else UNPROVED * base.confidence
    return filled.astype(np.float32), np.where(missing, trust, confidence).astype(np.float32)


def _size(answer: Predictions) -> int:
    return sum(array.nbytes for array in vars(answer).values() if array is not None)
