"""planes.json: the planes of floors, ceilings, walls and tables on which predicted depth is placed."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from mapping.depth.depth_planes import CELL, Surface, SurfacePlane
from mapping.files import write_text_atomic
from mapping.histogram_planes import Plane
from pipelines.workspace import read_record
from scenegraph.files import json_values as values

PLANES_FILE = "planes.json"
MOST_CELLS, FARTHEST = 1 << 24, 1e6
"""More cells, and planes and cells farther out, are damage."""


def write_planes(path: Path, planes: Sequence[SurfacePlane]) -> None:
    """Write planes.json: normals and offsets in the levelled world, and where surface is as rows of 0 and 1."""
    entries = [
        {
            "surface": each.kind.name.lower(),
            "normal": each.plane.normal.tolist(),
            "offset": each.plane.offset,
            "area": each.plane.area,
            "first_cell": each.first.tolist(),
            "cells": ["".join("01"[int(cell)] for cell in row) for row in each.cells],
        }
        for each in planes
    ]
    write_text_atomic(path, json.dumps({"cell": CELL, "planes": entries}, allow_nan=False) + "\n")


def read_planes(path: Path) -> list[SurfacePlane]:
    """Read planes.json; a file that is not there has none. Raises WorkspaceError or GraphFormatError naming the field."""
    if not path.exists():
        return []
    data = read_record(path)
    return [
        _plane(values.mapping(entry, f"{path}: planes[{i}]"), f"{path}: planes[{i}]")
        for i, entry in enumerate(values.sequence(data.get("planes"), f"{path}: planes"))
    ]


def _plane(entry: dict[str, object], where: str) -> SurfacePlane:
    name = values.text(entry.get("surface"), f"{where}.surface")
    if name.upper() not in Surface.__members__:
        raise values.unexpected(f"{where}.surface", "one of floor, ceiling, wall, table", name)
    normal = values.array(entry.get("normal"), f"{where}.normal", (3,))
    if np.abs(normal).max() > 2 or abs(float(np.linalg.norm(normal)) - 1) > 1e-6:  # the first, since squares overflow
        raise values.unexpected(f"{where}.normal", "a vector of length 1", normal.tolist())
    first = values.array(entry.get("first_cell"), f"{where}.first_cell", (2,))
    offset = values.number(entry.get("offset"), f"{where}.offset")
    for field, value in (("offset", np.array(offset)), ("first_cell", first)):
        if np.abs(value).max() > FARTHEST:
            raise values.unexpected(f"{where}.{field}", f"numbers up to {FARTHEST:g}", value.tolist())
    plane = Plane(normal, offset, values.at_least_zero(entry.get("area"), f"{where}.area", most=FARTHEST))
    cells = _cells(entry.get("cells"), f"{where}.cells")
    return SurfacePlane(plane, Surface[name.upper()], cells, np.rint(first).astype(np.int64))


def _cells(value: object, where: str) -> NDArray[np.bool_]:
    rows = [values.text(row, where) for row in values.sequence(value, where)]
    lengths = {len(row) for row in rows}
    if len(lengths) != 1 or 0 in lengths or sum(map(len, rows)) > MOST_CELLS or set("".join(rows)) - set("01"):
        raise values.unexpected(where, "rows of 0 and 1 of one length", f"{len(rows)} rows")
    return np.array([[cell == "1" for cell in row] for row in rows])
