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

FILE = "motion.json"
FORMAT, VERSION = "m2h-motion", 1
LARGEST_SIDE, LARGEST_NUMBER = 4096, 65535
"""Of a reduced image in pixels, and of the number of a thing."""


@dataclass(frozen=True)
class Motion:
    """What moves, by frame index: numbers of things (h, w) uint16 in the image reduced by `stride`, 0 none."""

    stride: int = 1
    masks: dict[int, NDArray[np.uint16]] = field(default_factory=dict)

    def numbers(self, index: int, depth: NDArray[np.float32]) -> NDArray[np.uint16] | None:
        """(H, W) numbers of what moves in a frame with that depth (H, W); None where nothing does."""
        reduced = self.masks.get(index)
        if reduced is None:
            return None
        return enlarged(reduced, depth, self.stride)


def write_motion(path: Path, motion: Motion) -> None:
    """Write the file: runs of pixels, row by row, as first, length and number."""
    frames = {}
    for index, mask in sorted(motion.masks.items()):
        flat = mask.ravel()
        starts = np.flatnonzero(np.diff(flat, prepend=np.uint16(0)) != 0)
        lengths = np.diff(starts, append=len(flat))
        runs = np.stack([starts, lengths, flat[starts]], axis=1)[flat[starts] > 0]
        frames[str(index)] = {"shape": list(mask.shape), "runs": runs.ravel().tolist()}
    data = {"format": FORMAT, "version": VERSION, "stride": motion.stride, "frames": frames}
    write_text_atomic(path, json.dumps(data) + "\n")


def read_motion(path: Path) -> Motion:
    """Read what `write_motion` wrote; raises WorkspaceError that names the file and the field."""
    where = str(path)
    data = values.mapping(read_json(path, WorkspaceError), where)
    if data.get("format") != FORMAT or data.get("version") != VERSION:
        raise WorkspaceError(f"{where}: expected {FORMAT} of version {VERSION}")
    stride = _whole(data.get("stride"), f"{where}: stride", LARGEST_SIDE)
    masks = {}
    for name, entry in values.mapping(data.get("frames"), f"{where}: frames").items():
        at = f"{where}: frames: {name}"
        if not name.isdecimal():
            raise WorkspaceError(f"{at}: expected the index of a frame")
        masks[int(name)] = _read_mask(values.mapping(entry, at), at)
    return Motion(stride, masks)


def _whole(value: object, where: str, most: int) -> int:
    number = values.whole(value, where)
    if not 1 <= number <= most:
        raise WorkspaceError(f"{where}: expected 1 to {most}, got {number}")
    return number


def _read_mask(entry: dict[str, object], where: str) -> NDArray[np.uint16]:
    shape = [_whole(side, f"{where}: shape", LARGEST_SIDE) for side in values.sequence(entry.get("shape"), where)]
    if len(shape) != 2:
        raise WorkspaceError(f"{where}: shape: expected two sides, got {len(shape)}")
    runs = [values.whole(number, f"{where}: runs") for number in values.sequence(entry.get("runs"), where)]
    flat = np.zeros(shape[0] * shape[1], np.uint16)
    if len(runs) % 3:
        raise WorkspaceError(f"{where}: runs: expected first, length and number of each")
    for start, length, number in zip(runs[::3], runs[1::3], runs[2::3], strict=True):
        if not (start >= 0 and length > 0 and start + length <= len(flat) and 0 < number <= LARGEST_NUMBER):
            raise WorkspaceError(f"{where}: runs: {start}, {length}, {number} is no run of pixels of {shape}")
        flat[start : start + length] = number
    return flat.reshape(shape[0], shape[1])
