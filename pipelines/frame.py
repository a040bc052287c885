"""The types of a posed frame and of a sequence of frames."""

from __future__ import annotations

import copy
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from m2h import Predictions
from mapping.camera import Intrinsics
from mapping.se3 import is_se3
from scenegraph.labels import LabelSpace


class SequenceError(ValueError):
    """A sequence that cannot be read: the message names the file, the field or line, and what was expected."""


@dataclass(frozen=True, eq=False)
class Frame:
    """One posed image; `recorded` is what the sequence itself knows about it (depth, labels, instances, ...).

    index is the frame's number in its sequence and never changes with stride or range; timestamp in seconds; rgb (H, W, 3)
    uint8; intrinsics of exactly that size and without distortion; T_world_camera (4, 4) float64. mask (H, W) is False where
    nothing of the image may be used; None where all of it may.
    """

    index: int
    timestamp: float
    rgb: NDArray[np.uint8]
    intrinsics: Intrinsics
    T_world_camera: NDArray[np.float64]
    recorded: Predictions
    mask: NDArray[np.bool_] | None = None

    def __post_init__(self) -> None:
        shape = (self.intrinsics.height, self.intrinsics.width, 3)
        if self.rgb.shape != shape or self.rgb.dtype != np.uint8:
            raise ValueError(f"Frame.rgb must be uint8 {shape}, got {self.rgb.dtype} {self.rgb.shape}")
        if not is_se3(self.T_world_camera):
            raise ValueError(f"Frame.T_world_camera of frame {self.index} must be a rigid (4, 4) transform")
        for name in ("depth", "labels", "normals", "edges", "instances"):
            array = getattr(self.recorded, name)
            if array is not None and array.shape[:2] != shape[:2]:
                raise ValueError(f"Frame.recorded.{name} must be {shape[:2]} like the image, got {array.shape[:2]}")
        if self.mask is not None and (self.mask.shape != shape[:2] or self.mask.dtype != np.bool_):
            raise ValueError(f"Frame.mask must be bool {shape[:2]}, got {self.mask.dtype} {self.mask.shape}")

    def masked(self, mask: NDArray[np.bool_]) -> Frame:
        """The frame of which only the pixels of a mask (H, W) may be used: the others are black, and unknown in `recorded`.

        Black is what pixels outside of an undistorted image are, in which no source finds depth from several images.
        """
        rgb = np.where(mask[..., None], self.rgb, np.uint8(0))
        return replace(self, rgb=rgb, recorded=only_within(self.recorded, mask), mask=mask)


def only_within(predictions: Predictions, mask: NDArray[np.bool_] | None) -> Predictions:
    """The predictions with every pixel (H, W) outside of the mask unknown; as they are without a mask."""
    if mask is None:
        return predictions
    kept = {}
    for name, array in vars(predictions).items():
        if array is not None:
            inside = mask if array.ndim == 2 else mask[..., None]
            kept[name] = np.where(inside, array, np.zeros((), array.dtype))
    return replace(predictions, **kept)


@dataclass(frozen=True, eq=False)
class FrameInfo:
    """What is known of a frame before its pixels are read: one line of frames.csv.

    `used` is False when it has no usable pose or image, and `reason` then says why in a few words.
    `T_world_camera` is None when lost. `intrinsics` are those of the decoded frame, without distortion.
    `has_depth` is False when no depth image belongs to it. `file_bytes` is the size of the image's file, 0 where it has none of
    its own or none is there.
    """

    index: int
    timestamp: float
    image: str
    used: bool
    reason: str
    T_world_camera: NDArray[np.float64] | None
    intrinsics: Intrinsics
    has_depth: bool = True
    file_bytes: int = 0


class FrameSequence(Protocol):
    """A readable sequence: random access, no hidden state, frames are decoded when asked for.

    `infos` lists every image found, in time order, usable or not; the index of the i-th is i. `sequence[i]` is its frame, of the
    same index, and raises SequenceError for one that is not used or whose files are broken. `world_up` is a unit vector in its
    world, None when gravity is unknown. `is_metric` is False when the unit of the poses is not known to be the metre.
    `label_space` is None when there are no labels. `path` is the folder or file it was opened from. It may have more, which
    derived sequences pass on: `notes`, `convention`, `origin` and `evidence`.
    """

    name: str
    path: Path
    format: str
    world_up: tuple[float, float, float] | None
    is_metric: bool
    label_space: LabelSpace | None
    infos: tuple[FrameInfo, ...]

    def __len__(self) -> int: ...

    def __getitem__(self, index: int) -> Frame: ...


class DerivedSequence:
    """A FrameSequence made of another one with other `infos`, which those that inherit decode frames to match.

    All else is as of the other sequence, notes, origin, convention and evidence of its world where it has them.
    """

    def __init__(self, sequence: FrameSequence, infos: Iterable[FrameInfo]) -> None:
        self._sequence, self.infos = sequence, tuple(infos)
        self.name, self.path, self.format = sequence.name, sequence.path, sequence.format
        self.world_up, self.is_metric, self.label_space = sequence.world_up, sequence.is_metric, sequence.label_space
        self.notes: tuple[str, ...] = tuple(getattr(sequence, "notes", ()))
        for name in ("convention", "origin", "evidence"):
            if hasattr(sequence, name):
                setattr(self, name, getattr(sequence, name))

    def __len__(self) -> int:
        return len(self.infos)


def check_indices(sequence: FrameSequence) -> None:
    """Raise SequenceError where the index of an image is not its place in `infos`."""
    for place, info in enumerate(sequence.infos):
        if info.index != place:
            raise SequenceError(
                f"{sequence.path}: {info.image}: has the index {info.index} at place {place} of infos, which must be equal"
            )


def poses_of(sequence: FrameSequence) -> NDArray[np.float64]:
    """(N, 4, 4) `T_world_camera`, nan for frames that are not used."""
    lost = np.full((4, 4), np.nan)
    usable = (info.T_world_camera if info.used else None for info in sequence.infos)
    return np.stack([lost if T is None else T for T in usable])


def has_depth(sequence: FrameSequence) -> bool:
    """Whether a frame that can be used has a depth image."""
    return any(info.used and info.has_depth for info in sequence.infos)


def only_with_depth(sequence: FrameSequence) -> FrameSequence:
    """The same sequence in which frames without a depth image are not used."""
    view = copy.copy(sequence)
    view.infos = tuple(
        replace(info, used=False, reason="no depth image") if info.used and not info.has_depth else info
        for info in sequence.infos
    )
    return view


def only_range(sequence: FrameSequence, start: int, stop: int | None) -> FrameSequence:
    """The same sequence in which frames of an index before `start`, or from `stop` on, are not used; raises SequenceError when
    none is left."""
    view = copy.copy(sequence)
    view.infos = tuple(
        info if start <= info.index and (stop is None or info.index < stop) else _excluded(info)
        for info in sequence.infos
    )
    if not any(info.used for info in view.infos):
        raise SequenceError(f"{sequence.path}: no usable frame from {start} to {'the end' if stop is None else stop}")
    return view


def _excluded(info: FrameInfo) -> FrameInfo:
    return replace(info, used=False, reason=info.reason or "excluded by the range")


def depth_notes(infos: Sequence[FrameInfo]) -> tuple[str, ...]:
    """A sentence when some of the usable frames have a depth image and others do not."""
    without = [not info.has_depth for info in infos if info.used]
    return (
        (f"{sum(without)} of {len(without)} frames have no depth image",) if any(without) and not all(without) else ()
    )
