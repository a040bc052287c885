"""Frames of a video file by number, with the time stamps of the file."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from mapping.reading.pictures import MOST_PIXELS
from pipelines.frame import SequenceError

VIDEO_SUFFIXES = frozenset({".mp4", ".mov", ".avi", ".mkv", ".m4v", ".webm"})
LONGEST_SKIP = 64
"""Frames that are decoded and skipped rather than sought; seeking lands on key frames, tens of frames apart."""


class VideoFile:
    """A video, read by frame number; frames are rotated by the file's rotation tag, as in video players.

    Reading in order costs one decode per frame. Safe to share between threads, and to send to another process.
    Raises SequenceError when the file cannot be opened or contains no frame.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._lock = threading.Lock()
        self._capture: Any = None
        self._next = 0
        self._size: tuple[int, int] | None = None
        self.times = self._scan()
        """(N,) seconds from the start of each frame, as stored: constant rates are not assumed."""

    def read_rgb(self, number: int) -> NDArray[np.uint8]:
        """Frame `number` as (H, W, 3) uint8 RGB; raises SequenceError when it cannot be decoded."""
        with self._lock:
            self._go_to(number)
            ok, bgr = self._capture.read()
            self._next += 1
        if not ok:
            self._next = len(self.times) + 1  # the position of the capture is unknown: reopen it next time
            raise SequenceError(f"{self.path}: frame {number} cannot be decoded")
        return np.asarray(cv2.cvtColor(bgr, cv2.COLOR_BGR2RGB), dtype=np.uint8)

    def size(self) -> tuple[int, int]:
        """(width, height) of the first frame as it is read; it is decoded once."""
        if self._size is None:
            height, width = self.read_rgb(0).shape[:2]
            self._size = width, height
        return self._size

    def _open(self) -> Any:
        capture = cv2.VideoCapture(str(self.path)) if self.path.is_file() else None
        if capture is None or not capture.isOpened():
            raise SequenceError(f"{self.path}: is missing or not a video that can be opened")
        width, height = (int(capture.get(size)) for size in (cv2.CAP_PROP_FRAME_WIDTH, cv2.CAP_PROP_FRAME_HEIGHT))
        if width * height > MOST_PIXELS:
            raise SequenceError(f"{self.path}: is too large: {width}x{height} pixels, at most {MOST_PIXELS} are read")
        return capture

    def _scan(self) -> NDArray[np.float64]:
        capture = self._open()
        times = []
        while capture.grab():
            times.append(capture.get(cv2.CAP_PROP_POS_MSEC) / 1000)
        capture.release()
        if not times:
            raise SequenceError(f"{self.path}: contains no frame that can be decoded")
        stamps = np.array(times)
        if len(stamps) > 1 and not (np.diff(stamps) > 0).all():
            raise SequenceError(
                f"{self.path}: the times of its frames do not increase; convert it to another container"
            )
        return stamps

    def _go_to(self, number: int) -> None:
        if self._capture is None or not self._next <= number <= self._next + LONGEST_SKIP:
            self._seek(number)
        while self._next < number:
            self._capture.grab()
            self._next += 1

    def _seek(self, number: int) -> None:
        """Move to frame `number` or somewhat earlier. A seek is trusted only when the time of the frame found confirms it."""
        self._capture, self._next = self._open(), 0
        start = number - 1
        if start <= LONGEST_SKIP:
            return
        self._capture.set(cv2.CAP_PROP_POS_FRAMES, start)
        if self._capture.grab():
            found = self._capture.get(cv2.CAP_PROP_POS_MSEC) / 1000
            if abs(found - self.times[start]) < 1e-4:
                self._next = number
                return
        self._capture = self._open()

    def __getstate__(self) -> dict[str, Any]:
        return {"path": self.path, "times": self.times}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.path, self.times = state["path"], state["times"]
        self._lock, self._capture, self._next = threading.Lock(), None, 0


@dataclass(frozen=True, eq=False)
class VideoFrame:
    """One frame of a video."""

    video: VideoFile = field(repr=False)
    number: int

    @property
    def path(self) -> Path:
        """The video's file."""
        return self.video.path

    def read_rgb(self) -> NDArray[np.uint8]:
        """The frame as (H, W, 3) uint8 RGB."""
        return self.video.read_rgb(self.number)
