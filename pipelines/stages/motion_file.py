"""motion.json: the pixels of each frame that move, whatever their label."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from mapping.files import write_text_atomic
from mapping.reading.documents import read_json
from pipelines.workspace import WorkspaceError
from scenegraph.files import json_values as values
from scenegraph.motion.full_size import enlarged

MOTION_FILE = "motion.json"
FORMAT, VERSION = "m2h-motion", 1
LARGEST_SIDE, LARGEST_NUMBER = 4096, 65535
"""Of a reduced image in pixels, and of the number of a thing."""


@dataclass(frozen=True, eq=False)
class Runs:
    """An image of numbers in little memory: its shape, and its runs (R, 3) of pixels, row by row: first, length, number."""

    shape: tuple[int, int]
    runs: NDArray[np.int64]

    @staticmethod
    def of(image: NDArray[np.uint16]) -> Runs:
        """The runs of an image (h, w)."""
        flat = image.ravel()
        starts = np.flatnonzero(np.diff(flat, prepend=np.uint16(0)) != 0)
        runs = np.stack([starts, np.diff(starts, append=len(flat)), flat[starts]], axis=1)
        return Runs((image.shape[0], image.shape[1]), runs[runs[:, 2] > 0].astype(np.int64))

    def image(self) -> NDArray[np.uint16]:
        """The image (h, w), 0 where there is no run."""
        flat = np.zeros(self.shape[0] * self.shape[1], np.uint16)
        for start, length, number in self.runs.tolist():
            flat[start : start + length] = number
        return flat.reshape(self.shape)


@dataclass(frozen=True)
class Motion:
    """What moves, by frame index: numbers of things in the image reduced by `stride`."""

    stride: int = 1
    moving: dict[int, Runs] = field(default_factory=dict)

    def numbers(self, index: int, depth: NDArray[np.float32]) -> NDArray[np.uint16] | None:
        """(H, W) numbers of what moves in a frame with that depth (H, W); None where nothing does."""
        reduced = self.moving.get(index)
        return None if reduced is None else enlarged(reduced.image(), depth, self.stride)


def write_motion(path: Path, motion: Motion) -> None:
    """Write the file."""
    frames = {
        str(index): {"shape": list(each.shape), "runs": each.runs.ravel().tolist()}
        for index, each in sorted(motion.moving.items())
    }
    data = {"format": FORMAT, "version": VERSION, "stride": motion.stride, "frames": frames}
    write_text_atomic(path, json.dumps(data) + "\n")


def read_motion(path: Path) -> Motion:
    """Read what `write_motion` wrote; raises WorkspaceError that names the file and the field."""
    where = str(path)
    data = values.mapping(read_json(path, WorkspaceError), where)
    if data.get("format") != FORMAT or data.get("version") != VERSION:
        raise WorkspaceError(f"{where}: expected {FORMAT} of version {VERSION}")
    stride = _whole(data.get("stride"), f"{where}: stride", LARGEST_SIDE)
    moving = {}
    for name, entry in values.mapping(data.get("frames"), f"{where}: frames").items():
        at = f"{where}: frames: {name}"
        if not name.isdecimal():
            raise WorkspaceError(f"{at}: expected the index of a frame")
        moving[int(name)] = _read_runs(values.mapping(entry, at), at)
    return Motion(stride, moving)


def _whole(value: object, where: str, most: int) -> int:
    number = values.whole(value, where)
    if not 1 <= number <= most:
        raise WorkspaceError(f"{where}: expected 1 to {most}, got {number}")
    return number


def _read_runs(entry: dict[str, object], where: str) -> Runs:
    shape = [_whole(side, f"{where}: shape", LARGEST_SIDE) for side in values.sequence(entry.get("shape"), where)]
    if len(shape) != 2:
        raise WorkspaceError(f"{where}: shape: expected two sides, got {len(shape)}")
    numbers = [values.whole(number, f"{where}: runs") for number in values.sequence(entry.get("runs"), where)]
    if len(numbers) % 3:
        raise WorkspaceError(f"{where}: runs: expected first, length and number of each")
    size = shape[0] * shape[1]
    for start, length, number in zip(numbers[::3], numbers[1::3], numbers[2::3], strict=True):
        if not (length > 0 and start + length <= size and 0 < number <= LARGEST_NUMBER):
            raise WorkspaceError(f"{where}: runs: {start}, {length}, {number} is no run of pixels of {shape}")
    return Runs((shape[0], shape[1]), np.array(numbers, np.int64).reshape(-1, 3))
