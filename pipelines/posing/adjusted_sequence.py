"""A sequence seen with other poses and another camera than it was recorded with."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mapping.camera import Intrinsics
from pipelines.frame import DerivedSequence, Frame, FrameSequence, SequenceError
from pipelines.sequences.resampling import resampled

Array = NDArray[np.float64]


class AdjustedSequence(DerivedSequence):
    """A FrameSequence with the poses and the camera of an adjustment; images are undistorted by what distortion it found.

    `poses` are (4, 4) by position in the sequence; frames without one are not used.
    """

    def __init__(self, sequence: FrameSequence, poses: Mapping[int, Array], camera: Intrinsics) -> None:
        pinhole = camera.undistorted()
        super().__init__(
            sequence,
            (
                replace(info, T_world_camera=poses[position], intrinsics=pinhole)
                if position in poses
                else replace(info, used=False, reason=info.reason or "its pose was not refined")
                for position, info in enumerate(sequence.infos)
            ),
        )
        self._lens = camera

    def __getitem__(self, index: int) -> Frame:
        """The frame as it is with the adjusted pose and camera; raises SequenceError as the sequence does."""
        info = self.infos[index]
        if not info.used or info.T_world_camera is None:
            raise SequenceError(f"{self.path / info.image}: frame {index} is not used: {info.reason}")
        frame = self._sequence[index]
        seen, lens = frame.recorded, self._lens
        rgb, mask = frame.rgb, frame.mask
        if lens.is_distorted:
            rgb = np.asarray(resampled(rgb, info.intrinsics, lens, blend=True), dtype=np.uint8)
            layers: dict[str, Any] = {
                name: resampled(array, info.intrinsics, lens)
                for name, array in vars(seen).items()
                if isinstance(array, np.ndarray)
            }
            seen = replace(seen, **layers)
            if mask is not None:
                mask = resampled(mask.astype(np.uint8), info.intrinsics, lens) > 0
        adjusted = Frame(frame.index, frame.timestamp, rgb, info.intrinsics, info.T_world_camera, seen)
        return adjusted if mask is None else adjusted.masked(mask)
