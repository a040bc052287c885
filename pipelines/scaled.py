"""Sequences whose poses are brought to metres."""

from __future__ import annotations

from dataclasses import replace

from mapping.se3 import scaled_translation
from pipelines.frame import DerivedSequence, Frame, FrameSequence


class ScaledSequence(DerivedSequence):
    """A FrameSequence in metres, of which one unit of the other sequence's poses has `scale`."""

    def __init__(self, sequence: FrameSequence, scale: float) -> None:
        super().__init__(
            sequence,
            (
                replace(
                    info,
                    T_world_camera=None
                    if info.T_world_camera is None
                    else scaled_translation(info.T_world_camera, scale),
                )
                for info in sequence.infos
            ),
        )
        self.is_metric, self.pose_scale = True, scale

    def __getitem__(self, index: int) -> Frame:
        """The frame with its pose in metres; raises SequenceError as the sequence does."""
        frame = self._sequence[index]
        return replace(frame, T_world_camera=scaled_translation(frame.T_world_camera, self.pose_scale))
