"""Sequences whose poses are far from the origin of their world, as those in the coordinates of a map are.

Points are 32-bit numbers in meshes and on devices: 500 km from the origin these are centimetres apart. A run maps such a sequence
about a local origin, and the origin is part of `T_input_world`.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from mapping.se3 import from_rotation_translation
from pipelines.frame import DerivedSequence, Frame, FrameSequence

Array = NDArray[np.float64]
FAR = 1000.0
"""Units of the poses; the local origin is a multiple of it."""


class RecentredSequence(DerivedSequence):
    """A FrameSequence whose world has its origin at `origin` (3,) of the other sequence's world, and the same axes."""

    def __init__(self, sequence: FrameSequence, origin: Array) -> None:
        super().__init__(
            sequence,
            (
                replace(
                    info, T_world_camera=None if info.T_world_camera is None else moved(info.T_world_camera, -origin)
                )
                for info in sequence.infos
            ),
        )
        self.original, self.origin = sequence, origin

    def __getitem__(self, index: int) -> Frame:
        """The frame with its pose about the local origin; raises SequenceError as the sequence does."""
        frame = self.original[index]
        return replace(frame, T_world_camera=moved(frame.T_world_camera, -self.origin))


def recentred(sequence: FrameSequence) -> FrameSequence:
    """The sequence about an origin near its cameras; the sequence itself where they are within a kilometre of its own."""
    places = np.array([info.T_world_camera[:3, 3] for info in sequence.infos if info.T_world_camera is not None])
    origin = FAR * np.round(np.median(places, axis=0) / FAR) if len(places) else np.zeros(3)
    return RecentredSequence(sequence, origin) if origin.any() else sequence


def origin_of(sequence: FrameSequence) -> Array:
    """Where the origin (3,) of the sequence's world lies in the world of its files, in the unit of the poses."""
    return np.asarray(getattr(sequence, "origin", np.zeros(3)), dtype=np.float64)


def as_given(sequence: FrameSequence) -> FrameSequence:
    """The sequence with the poses of its files."""
    return sequence.original if isinstance(sequence, RecentredSequence) else sequence


def moved(T: Array, shift: Array) -> Array:
    """A pose (4, 4) moved by `shift` (3,) in its world."""
    return np.asarray(from_rotation_translation(np.eye(3), shift) @ T)
