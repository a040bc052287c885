"""Folders with a transforms.json."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

from pipelines.images import write_png

LEVEL_OPENGL = [[1, 0, 0, 0], [0, 0, -1, 0], [0, 1, 0, 0], [0, 0, 0, 1]]
"""Camera-to-world of an OpenGL camera at the origin of a z-up world that looks along +y: its y axis is +z, its z axis -y."""


def write(path: Path, header: dict[str, Any], frames: list[dict[str, Any]], size: tuple[int, int] = (8, 6)) -> Path:
    (path / "images").mkdir()
    for frame in frames:
        name = frame["file_path"] if Path(frame["file_path"]).suffix else frame["file_path"] + ".png"
        write_png(path / name, np.full((size[1], size[0], 3), 40, np.uint8))
    (path / "transforms.json").write_text(json.dumps({**header, "frames": frames}))
    return path


def frame(name: str, **more: Any) -> dict[str, Any]:
    return {"file_path": f"images/{name}", "transform_matrix": LEVEL_OPENGL, **more}
