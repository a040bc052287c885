"""scene.html: the map as one page that answers, without a server, a network or another file.

The page is `page/scene.html` with its style and scripts, the graph as JSON and the mesh as `packing.py` writes it.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mapping.files import write_text_atomic
from mapping.mesh.mesh import Mesh
from mapping.reading.files import read_text
from mapping.text import for_html, for_xml
from pipelines.views.measured import Measured, measured_of
from pipelines.views.packing import pack_mesh
from scenegraph.graph import SceneGraph

PAGE = Path(__file__).parent / "page"
SCRIPTS = "vectors elements unpack shaders renderer camera names state panel card tools time app".split()
NO_FRAMES: Mapping[str, Any] = {"frames": [], "objects": {}}


class PageError(ValueError):
    """Raised where the page's own files cannot be read: the installation is incomplete."""


def write_scene_html(
    mesh: Mesh,
    graph: SceneGraph,
    path: Path,
    *,
    title: str = "map",
    keyframes: Mapping[str, Any] = NO_FRAMES,
    changes: Sequence[Mapping[str, Any]] = (),
) -> None:
    """Write the page to a file; see `scene_html`."""
    write_text_atomic(path, scene_html(mesh, graph, title=title, keyframes=keyframes, changes=changes))


def scene_html(
    mesh: Mesh,
    graph: SceneGraph,
    *,
    title: str,
    keyframes: Mapping[str, Any] = NO_FRAMES,
    changes: Sequence[Mapping[str, Any]] = (),
) -> str:
    """The page of a map.

    keyframes : images with poses and the outlines of objects in them, as `find_keyframes` returns.
    changes : since an earlier visit, as `page_changes` returns.
    """
    label_slots, classes = _classes(mesh, graph)
    packed = pack_mesh(mesh, label_slots, _object_slots(graph))
    data = page_data(graph, measured_of(graph), label_slots, keyframes)
    data |= {
        "classes": classes,
        "changes": list(changes),
        "mesh": packed.header,
        "extent": _extent(mesh),
        "note": f"; the surface is shown at {100 * packed.cell:.0f} cm" if packed.cell else "",
    }
    parts = {
        "style": _own("scene.css"),
        "script": "\n".join(_own(f"{name}.js") for name in SCRIPTS),
        "data": _json_in_html(data),
        "mesh": packed.text,
        "title": for_html(title),
    }
    head, *rest = _own("scene.html").split("{{")
    return head + "".join(parts[name] + text for name, text in (piece.split("}}", 1) for piece in rest))


def _own(name: str) -> str:
    return read_text(PAGE / name, PageError)


def _json_in_html(data: Mapping[str, Any]) -> str:
    """JSON that no HTML parser takes for the end of its element."""
    text = json.dumps(data, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    return for_xml(text).replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


def page_data(
    graph: SceneGraph, measured: Measured, label_slots: NDArray[np.int64], keyframes: Mapping[str, Any]
) -> dict[str, Any]:
    """What the page knows of the graph and of the images."""
    places = graph.nodes("place")
    index = {key: i for i, (key, _) in enumerate(places)}
    frames = list(keyframes["frames"])
    camera = {name: frames[0][name] for name in ("fx", "fy", "cx", "cy", "width", "height")} if frames else None
    return {
        "storeys": [
            {"key": key, "z": _short(node.z_range), "ceiling": measured.ceilings[key]}
            for key, node in graph.nodes("storey")
        ],
        "rooms": [_room(graph, key, node, measured) for key, node in graph.nodes("room")],
        "objects": [
            _object(graph, key, node, label_slots, keyframes["objects"]) for key, node in graph.nodes("object")
        ],
        "relations": [
            {"a": e.source, "b": e.target, "kind": e.kind, "score": e.attributes.get("score")}
            for e in graph.edges()
            if e.kind not in ("contains", "place_edge", "room_edge")
        ],
        "doors": [
            {"a": e.source, "b": e.target, "position": _short(e.attributes["door"]), "width": e.attributes.get("width")}
            for e in graph.edges("room_edge")
            if e.attributes.get("door") is not None
        ],
        "places": {
            "positions": [_short(node.position) for _, node in places],
            "edges": [[index[e.source], index[e.target]] for e in graph.edges("place_edge")],
        },
        "tracks": [_track(key, node) for key, node in graph.nodes("track")],
        "agents": [
            {
                "time": float(node.time),
                "position": _short(node.position),
                "rotation": _short(node.rotation_xyzw, 5),
            }
            for _, node in sorted(graph.nodes("agent"), key=lambda item: item[1].time)
        ],
        "frames": frames,
        "camera": camera,
    }


def _room(graph: SceneGraph, key: str, node: Any, measured: Measured) -> dict[str, Any]:
    return {
        "key": key,
        "label": node.label,
        "storey": graph.ancestor(key, "storey"),
        "polygon": [_short(corner) for corner in node.polygon],
        "position": _short(node.position),
        "z": _short(node.z_range),
        "area": measured.areas[key],
        "height": measured.heights[key],
    }


def _object(
    graph: SceneGraph, key: str, node: Any, label_slots: NDArray[np.int64], images: Mapping[str, Any]
) -> dict[str, Any]:
    return {
        "key": key,
        "label": node.label,
        "class": int(label_slots[node.label_id]) if node.label_id < len(label_slots) else 0,
        "room": graph.ancestor(key, "room"),
        "storey": graph.ancestor(key, "storey"),
        **box_entry(node.box),
        "confidence": round(float(node.confidence), 3),
        "views": int(node.views),
        "presence": [[float(start), float(end)] for start, end in node.presence],
        "scores": {name: round(float(score), 3) for name, score in node.label_scores.items()},
        "images": images.get(key, []),
    }


def box_entry(box: Any) -> dict[str, Any]:
    """A box as the page knows it."""
    return {
        "center": _short(box.center),
        "size": _short(box.size),
        "rotation": [_short(row, 5) for row in box.rotation],
    }


def _track(key: str, node: Any) -> dict[str, Any]:
    return {
        "key": key,
        "label": node.label,
        "size": _short(node.size),
        "times": [float(time) for time in node.times],
        "positions": [_short(position) for position in node.positions],
        "confidence": round(float(node.confidence), 3),
    }


def _short(values: Any, digits: int = 3) -> list[float]:
    return [round(float(value), digits) + 0.0 for value in values]


def _classes(mesh: Mesh, graph: SceneGraph) -> tuple[NDArray[np.int64], list[dict[str, Any]]]:
    """By label id its number on the page, and the classes by that number with their share of the surface; 0 is unknown."""
    space = graph.label_space
    labels = np.zeros(len(mesh.vertices), np.uint16) if mesh.labels is None else mesh.labels
    areas = np.bincount(labels[mesh.faces[:, 0]], mesh.face_areas(), minlength=1) if len(mesh.faces) else np.zeros(1)
    known = [0, *sorted(label for label in space.by_id if label != 0)]
    slots = np.zeros(max(known) + 1, np.int64)
    slots[known] = np.arange(len(known))
    share = areas / max(float(areas.sum()), 1e-9)
    classes = [
        {
            "name": space.by_id[label].name,
            "color": [205, 205, 205] if label == 0 else list(space.by_id[label].color),
            "share": round(float(share[label]), 4) if label < len(share) else 0.0,
        }
        for label in known
    ]
    return slots, classes


def _object_slots(graph: SceneGraph) -> NDArray[np.int64]:
    """By the number of an object in the mesh: one more than its place in the page's list."""
    objects = graph.nodes("object")
    slots = np.zeros(max((node.number for _, node in objects), default=0) + 1, np.int64)
    for place, (_, node) in enumerate(objects):
        if node.number > 0:
            slots[node.number] = place + 1
    return slots


def _extent(mesh: Mesh) -> dict[str, list[float]]:
    """Corners of what to show at first; a few outlying triangles must not make the rest small."""
    if not len(mesh.vertices):
        return {"low": [-1.0, -1.0, 0.0], "high": [1.0, 1.0, 2.0]}
    low, high = np.quantile(mesh.vertices, [0.01, 0.99], axis=0)
    return {"low": _short(low), "high": _short(high)}
