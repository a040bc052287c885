"""Frames in order, decoded ahead of their use, with what cannot be read counted instead of fatal."""

from __future__ import annotations

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
