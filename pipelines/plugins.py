"""Plug-in points: tables from a name to `"module:attribute"`, imported on demand."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Mapping
from operator import attrgetter
from pathlib import Path
from typing import Any

SEQUENCES = {
    "nerfstudio": "pipelines.sequences.nerfstudio:open_nerfstudio",
    "tum": "pipelines.sequences.tum:open_tum",
    "icl": "pipelines.sequences.icl:open_icl",
    "7scenes": "pipelines.sequences.seven_scenes:open_seven_scenes",
    "scannet": "pipelines.sequences.scannet:open_scannet",
    "replica": "pipelines.sequences.replica:open_replica",
    "polycam": "pipelines.sequences.polycam:open_polycam",
    "record3d": "pipelines.sequences.record3d:open_record3d",
    "stray_scanner": "pipelines.sequences.stray_scanner:open_stray_scanner",
    "arkit_scenes": "pipelines.sequences.arkit_scenes:open_arkit_scenes",
    "euroc": "pipelines.sequences.euroc:open_euroc",
    "hololens": "pipelines.sequences.hololens:open_hololens",
    "colmap": "pipelines.sequences.colmap:open_colmap",
    "images": "pipelines.sequences.posed_images:open_posed_images",
}
"""Sequence formats: a function from a path to a FrameSequence. `nerfstudio` is also the canonical folder."""


def resolve(name: str, table: Mapping[str, str]) -> Any:
    """The object called `name` in `table`, or at `name` itself when it reads `module:attribute`.

    A module in the working folder is found too. Raises ValueError that lists the known names.
    """
    target = table.get(name, name)
    module, colon, path = target.partition(":")
    if not colon:
        raise ValueError(f"unknown name {name!r}; known are {', '.join(sorted(table))}, or give module:attribute")
    if target == name and str(Path.cwd()) not in sys.path:
        sys.path.append(str(Path.cwd()))
    try:
        return attrgetter(path)(importlib.import_module(module))
    except (ImportError, AttributeError) as error:
        if target != name:
            raise
        raise ValueError(f"{name!r} cannot be imported: {error}; known are {', '.join(sorted(table))}") from error
