"""The objects of a map as separate meshes: one file each, and a list of them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from mapping.files import write_text_atomic
from mapping.mesh.glb import GlbNode, write_glb
from mapping.mesh.ply import write_ply
from mapping.text import for_name
from pipelines.exports.export_input import FinishedRun
from pipelines.views.scene_nodes import scene_nodes
from scenegraph.nodes import ObjectNode

FORMAT, VERSION = "m2h-objects", 1
LIST = "objects.json"


def write_glb_objects(run: FinishedRun, folder: Path) -> None:
    """A GLB file for each object with surface, y up as glTF has it, and `objects.json`, into a folder."""
    _write(run, folder, ".glb")


def write_ply_objects(run: FinishedRun, folder: Path) -> None:
    """A PLY file for each object with surface, z up in the levelled world, and `objects.json`, into a folder."""
    _write(run, folder, ".ply")


def _write(run: FinishedRun, folder: Path, suffix: str) -> None:
    entries = []
    for piece in scene_nodes(run.mesh, run.graph):
        key = str(piece.extras["id"])
        if key not in run.graph or piece.mesh is None:
            continue
        node: ObjectNode = run.graph[key]  # type: ignore[assignment]
        name = f"{for_name(f'{key}_{node.label}')}{suffix}" if len(piece.mesh.faces) else None
        if name is not None and suffix == ".glb":
            write_glb(folder / name, [GlbNode(piece.name, piece.mesh, piece.extras)])
        elif name is not None:
            write_ply(piece.mesh, folder / name)
        entries.append(_entry(run, key, node, name))
    data = {"format": FORMAT, "version": VERSION, "label_space": run.graph.label_space.name, "objects": entries}
    write_text_atomic(folder / LIST, json.dumps(data, ensure_ascii=False, indent=1, allow_nan=False) + "\n")


def _entry(run: FinishedRun, key: str, node: ObjectNode, name: str | None) -> dict[str, Any]:
    """An object in the list; `file` is null where the map has no surface of it."""
    box = node.box
    return {
        "id": key,
        "label": node.label,
        "label_id": node.label_id,
        "room": run.graph.ancestor(key, "room"),
        "confidence": round(float(node.confidence), 4),
        "file": name,
        "box": {
            "center": box.center.round(4).tolist(),
            "size": box.size.round(4).tolist(),
            "rotation": box.rotation.round(6).tolist(),
        },
    }
