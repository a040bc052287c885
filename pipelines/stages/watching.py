"""Watching a run: whoever asks is shown every frame as it is predicted and as it is fused, with the map so far.

A watcher changes nothing of a run. Its exceptions end the run, which can be continued.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from m2h import Predictions
    from mapping.tsdf.volume import TSDFVolume
    from pipelines.frame import Frame
    from pipelines.stages.context import PosedFrame


class Watcher(Protocol):
    """What is shown of a run while it proceeds."""

    def predicted(self, frame: Frame, predictions: Predictions) -> None:
        """A frame and what a costly source says of it, its depth in metres or in the unit of the poses."""
        ...

    def fused(self, frame: PosedFrame, volume: TSDFVolume, done: int, total: int) -> None:
        """A frame in the levelled world, the volume with it, and how many of all frames that has."""
        ...


_watchers: list[Watcher] = []


@contextmanager
def watched_by(watcher: Watcher) -> Iterator[None]:
    """Within, show the watcher what runs of this process do, from the thread that does it."""
    _watchers.append(watcher)
    try:
        yield
    finally:
        _watchers.remove(watcher)


def show_prediction(frame: Frame, predictions: Predictions) -> None:
    """Show watchers a frame and its predictions."""
    for watcher in list(_watchers):
        watcher.predicted(frame, predictions)


def show_fused(frame: PosedFrame, volume: TSDFVolume, done: int, total: int) -> None:
    """Show watchers a frame that has been fused."""
    for watcher in list(_watchers):
        watcher.fused(frame, volume, done, total)
