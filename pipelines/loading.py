"""The frames of a sequence, decoded: in order ahead of their use, or in any order from a cache."""

from __future__ import annotations

import copy
import math
from collections.abc import Iterator, Sequence
from contextlib import closing
from functools import cached_property

from m2h.runtime import prefetched
from mapping.lru_cache import LruCache
from pipelines.frame import Frame, FrameSequence, SequenceError
from pipelines.recentred import origin_of
from pipelines.settings import FramesConfig
from pipelines.spacing import positions_apart

READ_AHEAD = 4
KEPT_FRAME_BYTES = 128 << 20


class BrokenFramesError(SequenceError):
    """More frames cannot be read than the settings allow; `broken` has the reason of each by its index."""

    def __init__(self, message: str, broken: dict[int, str]) -> None:
        super().__init__(message)
        self.broken = broken


def chosen_positions(sequence: FrameSequence, config: FramesConfig) -> list[int]:
    """Positions in `sequence.infos` of the usable frames that range, stride and spacing choose; a spacing that is still to be
    decided (`auto`) leaves none out.

    Raises SequenceError when none is left.
    """
    usable = [
        position
        for position, info in enumerate(sequence.infos)
        if info.used and info.index >= config.start and (config.stop is None or info.index < config.stop)
    ]
    if not usable:
        where = f"frames.start={config.start} frames.stop={config.stop}"
        raise SequenceError(f"{sequence.name}: no usable frame among {len(sequence)} ({where})")
    chosen = usable[:: config.stride]
    return positions_apart(sequence.infos, chosen, config.spacing) if config.spacing.mode == "on" else chosen


def read_frames(
    sequence: FrameSequence,
    positions: Sequence[int],
    broken: dict[int, str] | None = None,
    *,
    max_broken: float = math.inf,
) -> Iterator[Frame]:
    """The frames at `positions`, in order, decoded by a second thread ahead of their use.

    A frame whose files cannot be read is omitted, and its index and the reason are put into `broken`.
    Raises BrokenFramesError with the first reason when `broken` contains more than `max_broken` frames.
    """
    broken = {} if broken is None else broken
    with closing(prefetched(_decoded(sequence, positions), READ_AHEAD)) as decoded:
        for position, frame in decoded:
            if isinstance(frame, Frame):
                yield frame
                continue
            broken[position] = str(frame)
            if len(broken) > max_broken:
                first = next(iter(broken.values()))
                raise BrokenFramesError(
                    f"{len(broken)} frames cannot be read, more than the {int(max_broken)} that frames.max_broken allows; "
                    f"the first: {first}",
                    broken,
                ) from frame


def _decoded(sequence: FrameSequence, positions: Sequence[int]) -> Iterator[tuple[int, Frame | SequenceError]]:
    for position in positions:
        try:
            yield position, sequence[position]
        except SequenceError as error:
            yield position, error


class CachedSequence:
    """A sequence whose frames are requested in any order and more than once, as the neighbours of other frames are.

    Decoded frames are cached within `max_bytes`. They are read from a copy of the sequence, made with the first frame, so that
    a video can have other readers at the same time. For one thread at a time.
    """

    def __init__(self, sequence: FrameSequence, max_bytes: int = KEPT_FRAME_BYTES) -> None:
        self.name, self.path, self.format = sequence.name, sequence.path, sequence.format
        self.world_up, self.is_metric = sequence.world_up, sequence.is_metric
        self.label_space, self.infos = sequence.label_space, sequence.infos
        self.origin = origin_of(sequence)
        self._sequence = sequence
        self._frames: LruCache[Frame] = LruCache(max_bytes, lambda frame: frame.rgb.nbytes + frame.recorded.nbytes)

    @cached_property
    def _own(self) -> FrameSequence:
        return copy.deepcopy(self._sequence)

    def __len__(self) -> int:
        return len(self.infos)

    def __getitem__(self, index: int) -> Frame:
        """The i-th frame; raises SequenceError when it is not used or broken."""
        return self._frames.get(index, lambda: self._own[index])
