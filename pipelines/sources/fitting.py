"""Depth up to an unknown scale and shift, as many networks predict it, fitted frame by frame to what images prove.

Such a network gives for each image a p with depth z = a p + b, or with 1 / z = a p + b (MiDaS, Depth Anything), where a and b
differ from image to image. Both are found where neighbouring images prove the depth, by robust least squares of the relative
error of z. Without that there is no scale, so frames in which too little is proved get no depth.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import Enum

import numpy as np
from numpy.typing import NDArray

from m2h import Predictions
from mapping.depth.robust import MAD_TO_DEVIATION
from mapping.multiview.multiview import MultiviewDepth
from pipelines.frame import Frame, FrameSequence
from pipelines.settings import PipelineConfig
from pipelines.sources.multiview import MultiviewFrames
from pipelines.sources.source import DepthOrigin, Source, SourceError
from pipelines.workspace import digest

Floats = NDArray[np.float64]
VERSION = 1  # counts changes of the method, so that stored depth is found again only where it would be the same
FEWEST_PROVED = 200
"""Proved pixels from which two numbers are fitted."""
MOST_USED = 20_000
ROUNDS = 20
LEAST_DEVIATION = 0.005
LEAST_UNIT = 0.1
"""Share of the median of y of which errors are taken where the line is below it."""
WORST_DEVIATION = 0.25
"""Relative deviation of a fitted frame from what images prove beyond which it says nothing."""
FLAT, MOST_LEFT = 0.05, 0.7
"""Relative deviation of proved depth from one depth below which any fit does; share of a greater one that a fit may leave."""
CERTAIN = 0.03
"""Relative deviation up to which a frame weighs as much as any in fusion."""
REACH = 3.0
"""Factor beyond the farthest proved depth, and below the nearest, up to which the fit is trusted."""


class DepthShape(Enum):
    """How what a network says grows with depth."""

    DISPARITY = "disparity"
    """1 / depth = a p + b."""
    RELATIVE = "relative"
    """depth = a p + b."""


@dataclass(frozen=True)
class Fit:
    """Depth from what a network says: `scale` and `shift` are a and b, `deviation` is the robust relative deviation of the fitted
    depth from the proved one, `nearest` and `farthest` bound the depths that it may give."""

    shape: DepthShape
    scale: float
    shift: float
    deviation: float
    nearest: float
    farthest: float

    def __call__(self, predicted: NDArray[np.float32]) -> NDArray[np.float32]:
        """Depth (H, W), 0 where the network says nothing (0) or where it would be outside of the bounds."""
        line = self.scale * predicted.astype(np.float64) + self.shift
        if self.shape is DepthShape.DISPARITY:
            line = np.divide(1.0, line, out=np.zeros_like(line), where=line > 0)
        known = (predicted > 0) & (line >= self.nearest) & (line <= self.farthest)
        return np.where(known, line, 0).astype(np.float32)


def fit_depth(predicted: NDArray[np.float32], proved: NDArray[np.float32], shape: DepthShape) -> Fit | None:
    """The fit of what a network says (H, W) to proved depth (H, W), both 0 where unknown.

    None where too little is proved, where what it says does not grow with depth as its shape is, or where the two have little to
    do with each other.
    """
    known = (proved > 0) & (predicted > 0)
    if known.sum() < FEWEST_PROVED:
        return None
    step = max(1, int(known.sum()) // MOST_USED)
    p, z = predicted[known][::step].astype(np.float64), proved[known][::step].astype(np.float64)
    scale, shift, residual = _line(p, 1 / z if shape is DepthShape.DISPARITY else z)
    deviation = float(MAD_TO_DEVIATION * np.median(np.abs(residual)))
    alike = float(MAD_TO_DEVIATION * np.median(np.abs(z / np.median(z) - 1)))
    explains = deviation <= MOST_LEFT * alike or alike <= FLAT
    if not scale > 0 or not explains or not deviation <= WORST_DEVIATION:
        return None
    return Fit(shape, scale, shift, deviation, float(z.min()) / REACH, float(z.max()) * REACH)


def _line(x: Floats, y: Floats) -> tuple[float, float, Floats]:
    """Slope and intercept of y (n,) over x (n,), and the relative residuals (n,) of y: with the least sum of their absolutes at
    first, and of Cauchy's loss then. Errors are relative to the line: a wrong y would hide its own."""
    columns = np.stack([x, np.ones_like(x)], axis=1)
    weight, unit = np.ones_like(y), np.full_like(y, np.median(y))
    residual = np.zeros_like(y)
    line: Floats = np.zeros(2)
    for number in range(ROUNDS):
        root = np.sqrt(weight) / unit
        line = np.asarray(np.linalg.lstsq(columns * root[:, None], y * root, rcond=None)[0], dtype=np.float64)
        if number >= ROUNDS // 2:
            unit = np.maximum(columns @ line, LEAST_UNIT * np.median(y))
        residual = (y - columns @ line) / unit
        spread = max(float(MAD_TO_DEVIATION * np.median(np.abs(residual))), LEAST_DEVIATION)
        cauchy, least_sum = 1 / (1 + (residual / spread) ** 2), 1 / np.maximum(np.abs(residual), LEAST_DEVIATION)
        weight = least_sum if number < ROUNDS // 2 else cauchy
    return float(line[0]), float(line[1]), residual


def fitted(base: Source, shape: DepthShape, sequence: FrameSequence, config: PipelineConfig) -> Source:
    """The source with its depth in the unit of the poses, and a confidence by how well each frame fits.

    `base` gives what its network says as depth. Raises SourceError where poses determine no depth: without a second camera
    elsewhere; while it answers also when no frame has a neighbour.
    """
    frames = MultiviewFrames(sequence, config)
    if frames.problem:
        raise SourceError(
            f"depth of {base.name} has no scale, and {frames.problem.removeprefix('--source multiview: ')}"
        )
    fitter = _Fitter(base, shape, frames)
    return replace(
        base,
        predict=fitter.predict,
        fingerprint=digest("fitted", VERSION, shape.value, base.fingerprint, frames.fingerprint),
        depth_from=DepthOrigin.FITTED,
        is_costly=True,
    )


class _Fitter:
    """Fits frames as they are asked for. Nothing is read before the first answer is."""

    def __init__(self, base: Source, shape: DepthShape, frames: MultiviewFrames) -> None:
        self._base, self._shape, self._frames = base, shape, frames
        self._depths: MultiviewDepth | None = None
        self._unfitted = 0

    def predict(self, frame: Frame) -> Predictions:
        """What the other source says, with its depth fitted; all of it unknown where it cannot be."""
        answer = self._base.predict(frame)
        if answer.depth is None:
            return answer
        if self._depths is None:
            self._depths = self._frames.depths()
            if problem := self._frames.lack_of_neighbours(self._depths):
                raise SourceError(problem)
            self._base.notes.extend(self._frames.notes(self._depths))
        proved, _ = self._depths(frame.index, frame.rgb.shape[:2])
        fit = fit_depth(answer.depth, proved, self._shape)
        if fit is None:
            self._note_unfitted(frame.index)
            return replace(answer, depth=np.zeros_like(answer.depth), confidence=None)
        depth = fit(answer.depth)
        sure = min(1.0, (CERTAIN / max(fit.deviation, LEAST_DEVIATION)) ** 2)
        given = np.ones_like(depth) if answer.confidence is None else answer.confidence
        return replace(answer, depth=depth, confidence=(given * np.float32(sure)).astype(np.float32))

    def _note_unfitted(self, index: int) -> None:
        """One sentence however many frames there are."""
        self._unfitted += 1
        text = f"of frames from {index} on, as far as images prove too little of them, {self._base.name} gives no depth"
        if self._unfitted == 1:
            self._base.notes.append(text)
