"""Writing Wavefront OBJ: `v x y z [r g b]` and `f`; the colours after the position are an extension that most viewers read."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, TextIO

import numpy as np
from numpy.typing import NDArray

from mapping.files import atomic_path
from mapping.mesh.mesh import Mesh


def write_obj(mesh: Mesh, path: Path, *, names: Mapping[int, str] | None = None) -> None:
    """Write positions to a micrometre, colours in [0, 1], and triangles; labels and confidence cannot be stored.

    `names` are those of object numbers: each becomes a group (`o`), faces of other numbers the group `structure`. A face belongs
    to an object when all its corners do.
    """
    values, line = mesh.vertices, "v %.6f %.6f %.6f\n"
    if mesh.colors is not None:
        values, line = np.hstack([mesh.vertices, mesh.colors / 255.0]), "v %.6f %.6f %.6f %.4f %.4f %.4f\n"
    with atomic_path(path) as temporary, temporary.open("w", encoding="utf-8") as file:
        _write_rows(file, values, line)
        if names is None or mesh.objects is None:
            _write_rows(file, mesh.faces + 1, "f %d %d %d\n")
            return
        corners = mesh.objects[mesh.faces]
        owner = np.where((corners == corners[:, :1]).all(axis=1), corners[:, 0], 0)
        owner[~np.isin(owner, list(names))] = 0
        for number in np.unique(owner).tolist():
            file.write(f"o {names[number] if number else 'structure'}\n")
            _write_rows(file, mesh.faces[owner == number] + 1, "f %d %d %d\n")


def _write_rows(file: TextIO, rows: NDArray[Any], form: str) -> None:
    for start in range(0, len(rows), 65536):  # one format call per block: much faster than one per line
        block = rows[start : start + 65536]
        file.write(form * len(block) % tuple(block.ravel()))
