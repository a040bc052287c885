"""Sequences of large images, reduced: a network sees a fraction of their pixels, and each of them costs time and memory."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from m2h import Predictions
from mapping.camera import Intrinsics
from pipelines.frame import Frame, FrameSequence
from pipelines.sequences.conventions import Convention

SHOWN_SIZES = 3


class ReducedSequence:
    """A FrameSequence whose images have a longer side of at most `longest_side` pixels; smaller ones are as they are.

    `convention` is that of the sequence's files, and `notes` are its notes and one that says what was reduced.
    """

    def __init__(self, sequence: FrameSequence, longest_side: int) -> None:
        self._sequence, self._longest = sequence, longest_side
        self.name, self.path, self.format = sequence.name, sequence.path, sequence.format
        self.world_up, self.is_metric, self.label_space = sequence.world_up, sequence.is_metric, sequence.label_space
        self.convention = getattr(sequence, "convention", Convention())
        sizes = {(info.intrinsics.width, info.intrinsics.height) for info in sequence.infos}
        shown = ", ".join(f"{width}x{height}" for width, height in sorted(sizes)[:SHOWN_SIZES])
        reduced_to = f"images of {shown} pixels are reduced to {longest_side}, in whose pixels focal lengths are given"
        self.notes = (*getattr(sequence, "notes", ()), reduced_to)
        self.infos = tuple(
            replace(info, intrinsics=reduced_camera(info.intrinsics, longest_side)) for info in sequence.infos
        )

    def __len__(self) -> int:
        return len(self.infos)

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
