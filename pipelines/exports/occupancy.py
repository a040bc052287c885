"""Occupancy grids of the floors, as map_server of ROS and ROS 2 reads them: one PGM image and its YAML file per storey."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import yaml
from numpy.typing import NDArray

from mapping.files import write_bytes_atomic, write_text_atomic
from pipelines.exports.export_input import ExportError, FinishedRun
from pipelines.workspace import load_ground
from scenegraph.ground import BAND, BANDS, CELL, Ground

OCCUPIED, FREE, UNKNOWN = 0, 254, 205
"""Grey values that map_server itself saves."""
OCCUPIED_THRESHOLD, FREE_THRESHOLD = 0.65, 0.196
"""Of the darkness of a pixel, from 0 to 1: darker is occupied, lighter than the second is free; 205 lies between them."""


def write_occupancy(run: FinishedRun, folder: Path) -> None:
    """`NAME.pgm` and `NAME.yaml` for each storey, NAME being its key (F0), into a folder.

    What a grid shows as occupied has surface between 0.1 m above the floor and `ExportOptions.height`. Pixels are 5 cm; the
    origin is that of the levelled world. Raises ExportError for a height that the grid does not have.
    """
    height = run.options.height
    if not 2 * BAND <= height <= BAND * BANDS:
        raise ExportError(f"--height {height:g}: expected metres from {2 * BAND:g} to {BAND * BANDS:g}")
    ground = load_ground(run.folder)
    keys = [key for key, _ in run.graph.nodes("storey")]
    if len(keys) != len(ground.floors):
        raise ExportError(
            f"{run.folder / 'ground.npz'}: has {len(ground.floors)} floors, but the graph has {len(keys)}"
        )
    for number, key in enumerate(keys):
        write_bytes_atomic(folder / f"{key}.pgm", _pgm(grid_picture(ground, number, height=height)))
        write_text_atomic(folder / f"{key}.yaml", _description(ground, f"{key}.pgm"))


def grid_picture(ground: Ground, storey: int, *, height: float) -> NDArray[np.uint8]:
    """The grid of a storey (H, W) in grey values, x to the right and y up, so that the first row has the largest y."""
    occupied, free = ground.cells(storey, height=height)
    values = np.where(occupied, OCCUPIED, np.where(free, FREE, UNKNOWN)).astype(np.uint8)
    return np.ascontiguousarray(values.T[::-1])


def _pgm(picture: NDArray[np.uint8]) -> bytes:
    height, width = picture.shape
    return f"P5\n{width} {height}\n255\n".encode() + picture.tobytes()


def _description(ground: Ground, image: str) -> str:
    """The YAML file: `origin` is the lower left corner of the lower left pixel, with the rotation about z."""
    x, y = (float(value) for value in ground.origin)
    entries = {
        "image": image,
        "mode": "trinary",
        "resolution": CELL,
        "origin": [round(x, 6), round(y, 6), 0.0],
        "negate": 0,
        "occupied_thresh": OCCUPIED_THRESHOLD,
        "free_thresh": FREE_THRESHOLD,
    }
    return yaml.safe_dump(entries, sort_keys=False, default_flow_style=None)
