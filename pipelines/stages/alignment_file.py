"""alignment.json: what was found wrong with the depth of each frame, and how many metres the unit of the poses is."""

from __future__ import annotations

import json
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from m2h import Predictions
from mapping.depth.correction import DepthField
from mapping.files import write_text_atomic
from mapping.reading.documents import read_json
from mapping.se3 import scaled_translation

ALIGNMENT_FILE = "alignment.json"
FORMAT, VERSION = "m2h-alignment", 2
LARGEST_SCALE, LARGEST_LOG, MOST_NODES = 1e9, 20, 4096
"""Larger corrections are damage."""


class AlignmentFileError(ValueError):
    """An alignment.json that cannot be used; the message names the file, the field and what was expected."""


@dataclass(frozen=True)
class FrameAlignment:
    """The correction of one frame; residual is the log ratio to the other frames that is left, None without any overlap."""

    field: DepthField
    residual: float | None = None
    matches: int = 0
    outlier: bool = False


@dataclass(frozen=True)
class Alignment:
    """Corrections by frame index, and the metres to which one unit of the sequence's poses, and of its depth, is brought."""

    frames: dict[int, FrameAlignment] = field(default_factory=dict)
    pose_scale: float = 1.0
    depth_scale: float = 1.0

    def corrected(self, index: int, seen: Predictions) -> Predictions:
        """The predictions of a frame with its depth corrected and in metres; as they are where there is nothing to correct."""
        found = self.frames.get(index)
        if seen.depth is None or (found is None and self.depth_scale == 1):
            return seen
        depth = seen.depth if self.depth_scale == 1 else seen.depth * np.float32(self.depth_scale)
        return replace(seen, depth=depth if found is None else found.field(depth))

    def metric_pose(self, T_world_camera: NDArray[np.float64]) -> NDArray[np.float64]:
        """The pose (4, 4) in metres."""
        if self.pose_scale == 1:
            return T_world_camera
        return scaled_translation(T_world_camera, self.pose_scale)


def write_alignment(path: Path, alignment: Alignment) -> None:
    """Write alignment.json."""
    frames = [
        {
            "index": index,
            "scale": round(frame.field.scale, 6),
            "shift": round(frame.field.shift, 6),
            "residual": None if frame.residual is None else round(frame.residual, 6),
            "matches": frame.matches,
            "outlier": frame.outlier,
            "log_scale": np.round(frame.field.nodes, 6).tolist(),
        }
        for index, frame in sorted(alignment.frames.items())
    ]
    scales = {"pose_scale": alignment.pose_scale, "depth_scale": alignment.depth_scale}
    data = {"format": FORMAT, "version": VERSION, **scales, "frames": frames}
    write_text_atomic(path, json.dumps(data, allow_nan=False) + "\n")


def read_alignment(path: Path) -> Alignment:
    """Read alignment.json; a file that is not there says that nothing is to be corrected.

    Raises AlignmentFileError naming the field that is missing or wrong.
    """
    if not path.exists():
        return Alignment()
    data = read_json(path, AlignmentFileError)
    if not isinstance(data, dict) or data.get("format") != FORMAT or data.get("version") != VERSION:
        raise AlignmentFileError(f"{path}: expected format {FORMAT} version {VERSION}")
    try:
        scales = {name: float(data[name]) for name in ("pose_scale", "depth_scale")}
        frames = {int(entry["index"]): _frame(entry) for entry in data["frames"]}
    except (KeyError, TypeError, ValueError, OverflowError) as error:
        raise AlignmentFileError(
            f"{path}: frames, pose_scale or depth_scale are not as written by the align stage ({error})"
        ) from error
    for name, scale in scales.items():
        if not 1 / LARGEST_SCALE <= scale <= LARGEST_SCALE:
            raise AlignmentFileError(f"{path}: {name} must be a positive number up to {LARGEST_SCALE:g}, got {scale}")
    return Alignment(frames, **scales)


def _frame(entry: dict[str, Any]) -> FrameAlignment:
    nodes = np.array(entry["log_scale"], dtype=np.float64)
    if nodes.ndim != 2 or not 0 < nodes.size <= MOST_NODES or not (np.abs(nodes) <= LARGEST_LOG).all():
        raise ValueError(
            f"log_scale of frame {entry['index']} must be rows of numbers between -{LARGEST_LOG} and {LARGEST_LOG}"
        )
    residual = None if entry["residual"] is None else float(entry["residual"])
    correction = DepthField(nodes, float(entry["shift"]))
    if not abs(correction.shift) <= LARGEST_SCALE or (residual is not None and not 0 <= residual <= LARGEST_SCALE):
        raise ValueError(f"shift and residual of frame {entry['index']} must be numbers, the second not negative")
    return FrameAlignment(correction, residual, int(entry["matches"]), bool(entry["outlier"]))
