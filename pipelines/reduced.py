"""Sequences of large images, reduced: a network sees a fraction of their pixels, and each of them costs time and memory."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from m2h import Predictions
from mapping.camera import Intrinsics
from pipelines.frame import DerivedSequence, Frame, FrameSequence

SHOWN_SIZES = 3


class ReducedSequence(DerivedSequence):
    """A FrameSequence whose images have a longer side of at most `longest_side` pixels; smaller ones are as they are.

    One more note says what was reduced.
    """

    def __init__(self, sequence: FrameSequence, longest_side: int) -> None:
        super().__init__(
            sequence,
            (replace(info, intrinsics=reduced_camera(info.intrinsics, longest_side)) for info in sequence.infos),
        )
        self._longest = longest_side
        sizes = {(info.intrinsics.width, info.intrinsics.height) for info in sequence.infos}
        shown = ", ".join(f"{width}x{height}" for width, height in sorted(sizes)[:SHOWN_SIZES])
        reduced_to = f"images of {shown} pixels are reduced to {longest_side}, in whose pixels focal lengths are given"
        self.notes = (*self.notes, reduced_to)

    def __getitem__(self, index: int) -> Frame:
        """The reduced frame; raises SequenceError as the sequence does."""
        frame = self._sequence[index]
        camera = reduced_camera(frame.intrinsics, self._longest)
        if camera == frame.intrinsics:
            return frame
        size = (camera.width, camera.height)

        def nearest(array: NDArray[Any]) -> NDArray[Any]:
            return np.asarray(cv2.resize(array, size, interpolation=cv2.INTER_NEAREST_EXACT))

        layers = {name: nearest(array) for name, array in vars(frame.recorded).items() if array is not None}
        return replace(
            frame,
            rgb=np.asarray(cv2.resize(frame.rgb, size, interpolation=cv2.INTER_AREA), dtype=np.uint8),
            intrinsics=camera,
            recorded=Predictions(**layers),
            mask=None if frame.mask is None else nearest(frame.mask.astype(np.uint8)) > 0,
        )


def reduced(sequence: FrameSequence, longest_side: int | None) -> FrameSequence:
    """The sequence with images of a longer side of at most so many pixels; itself where none is larger, or without a limit."""
    if longest_side is None or all(
        max(info.intrinsics.width, info.intrinsics.height) <= longest_side for info in sequence.infos
    ):
        return sequence
    return ReducedSequence(sequence, longest_side)


def reduced_camera(camera: Intrinsics, longest_side: int) -> Intrinsics:
    """The camera of the reduced image."""
    share = longest_side / max(camera.width, camera.height)
    if share >= 1:
        return camera
    return camera.resized(max(1, round(camera.width * share)), max(1, round(camera.height * share)))
