"""Frames in order, decoded ahead of their use, with what cannot be read counted instead of fatal."""

from __future__ import annotations

import copy
import itertools
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor

from pipelines.frame import Frame, FrameSequence, SequenceError
from pipelines.settings import FramesConfig

READ_AHEAD = 4


class BrokenFramesError(SequenceError):
    """More frames cannot be read than the settings allow; `broken` holds the reason of each by its index."""

    def __init__(self, message: str, broken: dict[int, str]) -> None:
        super().__init__(message)
        self.broken = broken


def chosen_positions(sequence: FrameSequence, config: FramesConfig) -> list[int]:
    """Positions in `sequence.infos` of the usable frames that stride and range choose.

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
    return usable[:: config.stride]


def read_frames(
    sequence: FrameSequence, positions: Sequence[int], broken: dict[int, str], *, max_broken: float
) -> Iterator[Frame]:
    """The frames at `positions`, in order, decoded by a second thread ahead of their use.

    A frame whose files cannot be read is left out, and its index and the reason are put into `broken`.
    Raises BrokenFramesError with the first reason when `broken` holds more than `max_broken` frames.
    """
    pending: deque[tuple[int, Future[Frame]]] = deque()
    remaining = iter(positions)
    with ThreadPoolExecutor(1, thread_name_prefix="frames") as pool:
        while True:
            while len(pending) < READ_AHEAD and (position := next(remaining, None)) is not None:
                pending.append((position, pool.submit(sequence.__getitem__, position)))
            if not pending:
                return
            position, future = pending.popleft()
            try:
                frame = future.result()
            except SequenceError as error:
                broken[sequence.infos[position].index] = str(error)
                if len(broken) > max_broken:
                    pool.shutdown(cancel_futures=True)
                    first = next(iter(broken.values()))
                    raise BrokenFramesError(
                        f"{len(broken)} frames cannot be read, more than the {int(max_broken)} that frames.max_broken allows; "
                        f"the first: {first}",
                        broken,
                    ) from error
                continue
            yield frame


class FramesByNumber:
    """Frames at any positions, None for those that cannot be read; what follows in order is decoded ahead by a second thread.

    Keeps no frame that was given out. The sequence is copied, so that a video is read here beside other readers of it.
    """

    def __init__(self, sequence: FrameSequence, positions: Sequence[int]) -> None:
        self._sequence = copy.deepcopy(sequence)
        self._following = dict(itertools.pairwise(positions))
        self._pool = ThreadPoolExecutor(1, thread_name_prefix="frames")
        self._pending: dict[int, Future[Frame | None]] = {}

    def __call__(self, position: int) -> Frame | None:
        future = self._taken(position)
        ahead: dict[int, Future[Frame | None]] = {}
        following = self._following.get(position)
        while following is not None and len(ahead) < READ_AHEAD:
            ahead[following] = self._taken(following)
            following = self._following.get(following)
        for unwanted in self._pending.values():
            unwanted.cancel()
        self._pending = ahead
        return future.result()

    def _taken(self, position: int) -> Future[Frame | None]:
        if position in self._pending:
            return self._pending.pop(position)
        return self._pool.submit(self._read, position)

    def _read(self, position: int) -> Frame | None:
        try:
            return self._sequence[position]
        except SequenceError:
            return None
