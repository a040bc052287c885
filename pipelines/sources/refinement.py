"""Predicted depth corrected by the images of neighbouring frames: always, or where they show that it needs to be.

The error of predictions is measured on a few frames, against the depth that the images confirm without them. The spread of the
ratio within a frame is what no scale of the frame corrects; it decides between three methods.

- Up to `GOOD` the alignment of frames does better than refinement; where that is asked for all the same, the prediction is a
  prior of the sweep.
- Up to `multiview.prior_deviation` images take precedence. The prediction is no prior, since it would draw frames to different
  depths, but fills what the images leave open.
- Beyond, nothing is filled: what is wrong by that much makes surface where there is none. Its normals and edges, by which depth
  is weighed, are dropped with it.

A network that takes hints is shown what images say of each frame and completes it. How wrong it then is, those pixels show that
images prove and that were hidden from it; up to `COMPLETES` the whole depth is its own, beyond that of images alone.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Literal

import cv2
import numpy as np
from numpy.typing import NDArray

from m2h import Predictions
from mapping.evenly import evenly
from mapping.lru_cache import LruCache
from mapping.multiview.multiview import PROVED, MultiviewDepth
from mapping.multiview.views import Prior
from pipelines.frame import Frame, FrameSequence, SequenceError
from pipelines.settings import PipelineConfig
from pipelines.sources.multiview import MultiviewFrames
from pipelines.sources.predictions import PredictionError
from pipelines.sources.source import FOUND_BY_POSES, DepthOrigin, Hint, Source, SourceError
from pipelines.workspace import digest

VERSION = 2  # counts changes of the method, so that stored depth is found again only where it would be the same
REMEMBERED_BYTES = 512 << 20  # predictions that are kept because neighbours ask for them before their turn
GOOD = 0.07  # spread of depth within frames up to which it is better left to the alignment; about there both do as well
PROBES = 8  # frames, spread over the sequence, that show how wrong the prediction is
COMPLETES = 0.25  # spread of depth completed by a network, up to which it fills what images leave open
HIDDEN_BLOCKS = (
    4,
    5,
)  # blocks along both sides of an image; every second one is hidden, to see how wrong a network is there
UNPROVED = 0.3  # share of its confidence that a prior keeps where the images do not prove it
FEWEST_PROVED = 500  # pixels that show the scale of a frame's prior, and its spread
SPREAD = 0.04  # standard deviation of the Gaussian that spreads it, as a share of the image's long side
NOTHING_NEAR = 0.02  # weight of the frame's median against proved pixels around
DEVIATION_OF_MEDIAN = 1.4826  # standard deviation of a normal distribution by its median absolute deviation


Refine = Literal["auto", "multiview", "none"]
"""Whether depth is refined: where images show that it needs to be, always, or never."""


def refined(base: Source, refine: Refine, sequence: FrameSequence, config: PipelineConfig) -> Source:
    """A source whose depth is checked and corrected against the images of neighbouring frames.

    Where images prove a depth it is theirs; elsewhere the other source's, brought to the scale of what is proved around it, with
    little confidence, or unknown where that source is found to be too wrong. A network that takes hints is shown what images
    say, and answers for the whole frame unless it is too wrong. Labels are as the other source gives them.

    With `auto` it is decided with the first answer. It is the other source itself where there is nothing to check: depth that
    was measured or comes from images already, poses of which no two stand apart, and metric depth with poses in another unit,
    in which depth from images would be. With `multiview` raises SourceError as `open_multiview`.
    """
    if refine == "none":
        return base
    frames = MultiviewFrames(sequence, config)
    if refine == "multiview":
        if frames.problem:
            raise SourceError(frames.problem)
        return _Refiner("refined", base, frames, config).source
    in_metres = config.align.pose_scale == 1 or (sequence.is_metric and config.align.pose_scale is None)
    predicted = base.depth_from in (DepthOrigin.NETWORK, DepthOrigin.FITTED) or base.predict_hinted is not None
    comparable = in_metres or base.depth_from in FOUND_BY_POSES
    if not predicted or base.is_refined or frames.problem or not comparable:
        return base
    return _Refiner("checked", base, frames, config).source


class _Refiner:
    """Answers of the other source with the depth of images in them. Nothing is read before the first one is asked for."""

    def __init__(self, kind: str, base: Source, frames: MultiviewFrames, config: PipelineConfig) -> None:
        fingerprint = digest(kind, VERSION, frames.fingerprint, base.fingerprint)
        self.source = replace(
            base,
            name=f"{kind}:{base.name}",
            predict=self.predict,
            predict_hinted=None if base.predict_hinted is None else self.predict_hinted,
            fingerprint=fingerprint,
            is_refined=True,
            is_costly=True,
        )
        self._is_optional = kind == "checked"
        self._base, self._frames, self._settings = base, frames, config.multiview
        self._answers: LruCache[Predictions] = LruCache(REMEMBERED_BYTES, lambda answer: answer.nbytes)
        self._depths: MultiviewDepth | None = None
        self._started = self._fills = self._completes = False

    def predict(self, frame: Frame) -> Predictions:
        """What the other source says of a frame, its depth and confidence refined."""
        self._decide()
        position = frame.index
        if self._completes and self._depths is not None:
            assert self._base.predict_hinted is not None
            return self._base.predict_hinted(frame, hint_from(self._depths, position, frame))
        base = self._base_answer(position, frame)
        if self._depths is None:
            self._answers.clear()  # no other frame asks for them
            return base
        depth, confidence = self._depths(position, frame.rgb.shape[:2])
        if not self._fills:
            return replace(base, depth=depth, confidence=confidence, normals=None, edges=None)
        depth, confidence = filled(depth, confidence, base)
        return replace(base, depth=depth, confidence=confidence)

    def predict_hinted(self, frame: Frame, hint: Hint) -> Predictions:
        """What the network says, shown what the map of a first pass shows of the frame, and over it what images prove."""
        self._decide()
        assert self._base.predict_hinted is not None
        if self._depths is None:
            return self._base.predict_hinted(frame, hint)
        if not self._completes:
            return self.predict(frame)
        seen = hint_from(self._depths, frame.index, frame)
        mapped = (hint.depth > 0) & (seen.confidence < PROVED)
        confidence = np.where(mapped, np.minimum(hint.confidence, PROVED), seen.confidence)
        return self._base.predict_hinted(frame, Hint(np.where(mapped, hint.depth, seen.depth), confidence))

    def _decide(self) -> None:
        """At the first request."""
        if not self._started:
            self._depths = self._start()
            self._started = True

    def _start(self) -> MultiviewDepth | None:
        """What finds depth, after a look at how wrong the prediction is; None to leave the prediction as it is."""
        notes = self.source.notes
        depths = self._frames.depths()
        if problem := self._frames.lack_of_neighbours(depths):
            if self._is_optional:
                return None
            raise SourceError(problem)
        if self._base.predict_hinted is not None:
            if depths.range_is_assumed and not self._frames.sequence.is_metric and self._is_optional:
                return None  # the range is that of a room in metres, the poses are not
            return self._start_completing(depths)
        spread = self._spread(depths)
        if self._is_optional and (spread is None or spread <= GOOD):
            return None
        notes += self._frames.notes(depths)
        self._fills = spread is None or spread <= max(GOOD, self._settings.prior_deviation)
        if spread is None or spread <= GOOD:
            return self._frames.depths(depths.config, prior=self._prior)
        rest = "fills the rest" if self._fills else "is not used"
        notes.append(
            f"depth of {self._base.name} is off by {spread:.0%} within frames where images prove theirs: "
            f"depth is taken from images, that of {self._base.name} {rest}"
        )
        return depths

    def _start_completing(self, depths: MultiviewDepth) -> MultiviewDepth:
        """The same for a network that completes what images prove."""
        notes = self.source.notes
        spread = self._spread(depths)
        self._completes = spread is None or spread <= COMPLETES or not self._is_optional
        found = "images prove too little to find how wrong it is there"
        if spread is not None:
            found = f"off by {spread:.0%} where it was not shown what images prove"
        filled = "is completed by" if self._completes else "is not completed by"
        notes += self._frames.notes(depths, "the network's alone" if self._completes else "unknown")
        notes.append(f"depth that images prove {filled} {self._base.name}: {found}")
        return depths

    def _spread(self, depths: MultiviewDepth) -> float | None:
        """The relative deviation of predicted depth from what images prove, in the median frame of those looked at.

        None where the images prove next to nothing in most of them.
        """
        probes = evenly(self._frames.chosen, PROBES)
        found = list(self._spreads(depths, probes))
        return float(np.median(found)) if 2 * len(found) >= len(probes) else None

    def _spreads(self, depths: MultiviewDepth, probes: list[int]) -> Iterator[float]:
        for position in probes:
            frame = self._frames.read(position)
            if frame is None:
                continue
            if self._base.predict_hinted is not None:
                spread = error_of_hidden(self._base, frame, hint_from(depths, position, frame))
            else:
                proved, _ = depths(position, frame.rgb.shape[:2])
                predicted = self._base_answer(position, frame).depth
                spread = None if predicted is None else spread_of(proved, predicted)
            if spread is not None:
                yield spread

    def _prior(self, position: int) -> Prior:
        try:
            answer = self._base_answer(position)
        except (SequenceError, PredictionError):  # a neighbour cannot be read, or the source does not know it
            return Prior()
        return Prior(answer.depth, answer.normals)

    def _base_answer(self, position: int, frame: Frame | None = None) -> Predictions:
        """What the other source says, asked once as long as memory lasts; raises SequenceError when the frame cannot be read."""
        return self._answers.get(position, lambda: self._base.predict(frame or self._frames.sequence[position]))


def hint_from(depths: MultiviewDepth, position: int, frame: Frame) -> Hint:
    """What images say of a frame, for the network."""
    return Hint(*depths.hint(position, frame.rgb.shape[:2]))


def error_of_hidden(base: Source, frame: Frame, hint: Hint) -> float | None:
    """The robust standard deviation of the log ratio of a network's depth to what images prove, where it was not shown that;
    unlike in `spread_of` a common scale counts, as nothing corrects it later. None where too few pixels are compared."""
    assert base.predict_hinted is not None
    block_row, block_column = (
        np.arange(pixels) * blocks // pixels for pixels, blocks in zip(hint.depth.shape, HIDDEN_BLOCKS, strict=True)
    )
    hidden = (block_row[:, None] + block_column) % 2 == 0
    shown = Hint(np.where(hidden, 0, hint.depth), np.where(hidden, 0, hint.confidence))
    predicted = base.predict_hinted(frame, shown).depth
    if predicted is None:
        return None
    compared = hidden & (hint.confidence >= PROVED) & (hint.depth > 0) & (predicted > 0)
    if compared.sum() < FEWEST_PROVED:
        return None
    return DEVIATION_OF_MEDIAN * float(np.median(np.abs(np.log(hint.depth[compared] / predicted[compared]))))


def spread_of(proved: NDArray[np.float32], predicted: NDArray[np.float32]) -> float | None:
    """The robust standard deviation of the log ratio of two depths (H, W), 0 unknown: what one scale does not correct.

    None where too few pixels have both.
    """
    both = (proved > 0) & (predicted > 0)
    if both.sum() < FEWEST_PROVED:
        return None
    ratio = np.log(proved[both] / predicted[both])
    return DEVIATION_OF_MEDIAN * float(np.median(np.abs(ratio - np.median(ratio))))


def filled(
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
