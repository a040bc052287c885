"""Level surfaces that a network sees in frames with poses in metres: what they say of these metres."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from m2h import Predictions
from mapping.camera import Intrinsics
from mapping.evenly import evenly
from pipelines.frame import Frame, FrameSequence, SequenceError, only_within
from pipelines.levelling import coarse_mesh, faces_of_floor
from pipelines.posing.furniture_heights import level_heights
from scenegraph.labels import LabelSpace

Array = NDArray[np.float64]
Predict = Callable[[Frame], Predictions]
FRAMES, WITHIN = 40, 4.0
"""Frames whose surfaces are looked at, and metres from the camera within which."""


def surface_heights(
    sequence: FrameSequence,
    upright: Array,
    predict: Predict,
    label_space: LabelSpace | None,
    *,
    positions: Sequence[int],
    progress: Callable[[int, int], None] = lambda done, count: None,
) -> list[float]:
    """Heights in metres of level surfaces above the floor, from a coarse map of some frames; empty where none is certain.

    Parameters
    ----------
    sequence : with poses in metres, about.
    upright : (N, 4, 4) the poses that its cameras would have if its images stood upright, by position.
    predict : depth and labels of a frame; `label_space` is what the labels mean.
    positions : of the usable frames, over which those that are looked at are spread.
    progress : called with (done, total).
    """
    few = evenly(positions, FRAMES)

    def seen() -> Iterator[tuple[Predictions, Intrinsics, Array]]:
        for done, position in enumerate(few):
            try:
                frame = sequence[position]
            except SequenceError:  # cannot be decoded, which the stages count
                continue
            yield only_within(predict(frame), frame.mask), frame.intrinsics, frame.T_world_camera
            progress(done + 1, len(few))

    mesh = coarse_mesh(seen(), max_depth=WITHIN)
    return level_heights(mesh, upright[few], faces_of_floor(mesh, label_space))
