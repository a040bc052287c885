"""The scene graph in formats that other tools read: GraphML, a table of objects, a floor plan, a trajectory.

Every exporter is a function `(graph, path) -> None` that writes atomically and the same bytes for the same graph; the world is
the graph's own (metres, z up).
"""

from __future__ import annotations

import csv
import io
import json
import os
from typing import Any

import networkx as nx
import numpy as np
from numpy.typing import ArrayLike, NDArray

from mapping.files import atomic_path, write_text_atomic
from mapping.se3 import quat_xyzw_from_rotation
from mapping.text import for_csv, for_xml
from scenegraph.files.json_io import graph_to_json, plain
from scenegraph.graph import SceneGraph
from scenegraph.nodes import ObjectNode, OrientedBox

Array = NDArray[np.float64]
StrPath = str | os.PathLike[str]

OBJECT_COLUMNS = (
    "id label label_id room room_label storey x y z size_x size_y size_z yaw_deg views confidence presence".split()
)
LOCAL_CRS = 'LOCAL_CS["m2h map",UNIT["metre",1],AXIS["x",EAST],AXIS["y",NORTH]]'
"""A coordinate system of the map's own in well-known text; GDAL and QGIS take files without one for degrees."""
CRS_NOTE = "x and y in metres of the map's own world (z up), not longitude and latitude"


def export_graphml(graph: SceneGraph, path: StrPath) -> None:
    """Write GraphML for Gephi, yEd, igraph and others: every node and edge with its numbers and texts as flat attributes.

    Vectors become `x y z`, `size_x ...`; polygons become well-known text; lists and objects become JSON text.
    """
    data = graph_to_json(graph)
    flat: nx.DiGraph[str] = nx.DiGraph()
    for node in data["nodes"]:
        flat.add_node(for_xml(node["id"]), **_flat_node(node))
    for edge in data["edges"]:
        attributes = {name: _flat_value(value) for name, value in edge.items() if name not in ("source", "target")}
        ends = for_xml(edge["source"]), for_xml(edge["target"])
        flat.add_edge(*ends)
        flat.edges[ends].update({name: value for name, value in attributes.items() if value is not None})
    with atomic_path(path) as temporary:
        nx.write_graphml_xml(flat, temporary, encoding="utf-8")


def export_objects_csv(graph: SceneGraph, path: StrPath) -> None:
    """Write one line per object: label, room, position and box in metres, yaw in degrees, presence as `t0/t1;t0/t1` seconds."""
    rows = [_object_row(graph, key, node) for key, node in graph.nodes("object")]
    text = io.StringIO()
    writer = csv.DictWriter(text, OBJECT_COLUMNS, lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    write_text_atomic(path, text.getvalue())


def export_floorplan(graph: SceneGraph, path: StrPath) -> None:
    """Write GeoJSON: rooms and object footprints as polygons, doors as points, tracks and the camera's path as lines.

    A single position is a point. Coordinates are metres in the map's own world, which `crs` names as a local coordinate system
    (`LOCAL_CRS`): the file has no geographic reference.
    Property `kind` is room, door, object, track or camera; `storey` is the id of the storey, where there are any.
    """
    features = [*_room_features(graph), *_door_features(graph), *_object_features(graph), *_line_features(graph)]
    lines = ",\n ".join(json.dumps(feature, ensure_ascii=False, allow_nan=False) for feature in features)
    crs = json.dumps({"type": "name", "properties": {"name": LOCAL_CRS}})
    header = f'"type": "FeatureCollection",\n"crs": {crs},\n"note": {json.dumps(CRS_NOTE)}'
    write_text_atomic(path, f'{{\n{header},\n"features": [\n {lines}\n]\n}}\n')


def write_trajectory_tum(times: ArrayLike, T_world_camera: ArrayLike, path: StrPath) -> None:
    """Write camera poses as TUM text lines `t tx ty tz qx qy qz qw` (camera-to-world), which evo and others read.

    times (N,) seconds; T_world_camera (N, 4, 4). Raises ValueError when the counts differ or a value is not finite.
    """
    stamps, poses = np.asarray(times, dtype=np.float64), np.asarray(T_world_camera, dtype=np.float64).reshape(-1, 4, 4)
    if stamps.shape != (len(poses),) or not np.isfinite(stamps).all() or not np.isfinite(poses).all():
        raise ValueError(
            f"a trajectory needs one finite pose per time, got {stamps.shape} times and {len(poses)} poses"
        )
    values = np.concatenate([poses[:, :3, 3], quat_xyzw_from_rotation(poses[:, :3, :3])], axis=1) + 0.0
    lines = [
        f"{stamp:.6f} " + " ".join(f"{value:.6f}" for value in row) for stamp, row in zip(stamps, values, strict=True)
    ]
    write_text_atomic(path, "".join(line + "\n" for line in ["# timestamp tx ty tz qx qy qz qw", *lines]))


def yaw_deg(box: OrientedBox) -> float:
    """Yaw of an upright box about z, degrees in [-180, 180)."""
    angle = np.rad2deg(np.arctan2(box.rotation[1, 0], box.rotation[0, 0]))
    return float((angle + 180.0) % 360.0 - 180.0)


def _flat_node(node: dict[str, Any]) -> dict[str, Any]:
    flat: dict[str, Any] = {"layer": node["layer"]}
    for name, value in node.items():
        if name in ("id", "layer"):
            continue
        if name in ("position", "size"):
            prefix = "" if name == "position" else "size_"
            flat |= {f"{prefix}{axis}": value[i] for i, axis in enumerate("xyz")}
        elif name == "box":
            box = OrientedBox(value["center"], value["size"], value["rotation"])
            flat |= {f"size_{axis}": value["size"][i] for i, axis in enumerate("xyz")}
            flat["yaw_deg"] = round(yaw_deg(box), 4)
        elif name == "z_range":
            flat |= {"z_min": value[0], "z_max": value[1]}
        elif name == "polygon":
            ring = ", ".join(f"{x} {y}" for x, y in [*value, value[0]])
            flat["polygon"] = f"POLYGON (({ring}))"
        else:
            flat[name] = _flat_value(value)
    return flat


def _flat_value(value: Any) -> Any:
    if isinstance(value, list | dict):
        value = json.dumps(value, ensure_ascii=False)
    return for_xml(value) if isinstance(value, str) else value


def _object_row(graph: SceneGraph, key: str, node: ObjectNode) -> dict[str, Any]:
    room, storey = graph.ancestor(key, "room"), graph.ancestor(key, "storey")
    x, y, z = (f"{value:.4f}" for value in node.position + 0.0)
    size_x, size_y, size_z = (f"{value:.4f}" for value in node.box.size)
    return {
        "id": for_csv(key),
        "label": for_csv(node.label),
        "label_id": node.label_id,
        "room": for_csv(room or ""),
        "room_label": for_csv(graph[room].label if room else ""),  # type: ignore[union-attr]
        "storey": for_csv(storey or ""),
        "x": x,
        "y": y,
        "z": z,
        "size_x": size_x,
        "size_y": size_y,
        "size_z": size_z,
        "yaw_deg": f"{yaw_deg(node.box):.2f}",
        "views": node.views,
        "confidence": f"{node.confidence:.4f}",
        "presence": ";".join(f"{start:.3f}/{end:.3f}" for start, end in node.presence),
    }


def _feature(kind: str, geometry: str, coordinates: Any, properties: dict[str, Any]) -> dict[str, Any]:
    return {
        "type": "Feature",
        "properties": {"kind": kind, **{name: value for name, value in properties.items() if value is not None}},
        "geometry": {"type": geometry, "coordinates": coordinates},
    }


def _ring(corners: Array) -> list[list[list[float]]]:
    """A closed outer ring, counter-clockwise as RFC 7946 asks for."""
    x, y = corners.T
    if np.sum(x * np.roll(y, -1) - np.roll(x, -1) * y) < 0:
        corners = corners[::-1]
    return [_points(np.vstack([corners, corners[:1]]))]


def _points(points: Array) -> list[list[float]]:
    return (np.round(points, 4) + 0.0).tolist()  # type: ignore[no-any-return]


def _room_features(graph: SceneGraph) -> list[dict[str, Any]]:
    return [
        _feature(
            "room",
            "Polygon",
            _ring(np.asarray(room.polygon)),
            {
                "id": key,
                "label": room.label,
                "area": None if room.measured_area is None else round(room.area, 4),
                "z_min": round(room.z_range[0], 4),
                "z_max": None if room.measured_height is None else round(room.z_range[1], 4),
                "storey": graph.ancestor(key, "storey"),
            },
        )
        for key, room in graph.nodes("room")
    ]


def _door_features(graph: SceneGraph) -> list[dict[str, Any]]:
    doors = [edge for edge in graph.edges("room_edge") if edge.attributes.get("door") is not None]
    return [
        _feature(
            "door",
            "Point",
            _points(np.asarray(edge.attributes["door"], dtype=np.float64)[:2]),
            {
                "rooms": [edge.source, edge.target],
                "z": round(float(edge.attributes["door"][2]), 4),
                "width": plain(edge.attributes.get("width"), "width"),
                "storey": graph.ancestor(edge.source, "storey"),
            },
        )
        for edge in doors
    ]


def _object_features(graph: SceneGraph) -> list[dict[str, Any]]:
    from scenegraph.boxes import footprint

    return [
        _feature(
            "object",
            "Polygon",
            _ring(footprint(node.box)),
            {
                "id": key,
                "label": node.label,
                "room": graph.ancestor(key, "room"),
                "z_min": round(float(node.box.center[2] - node.box.size[2] / 2), 4),
                "z_max": round(float(node.box.center[2] + node.box.size[2] / 2), 4),
                "storey": graph.ancestor(key, "storey"),
            },
        )
        for key, node in graph.nodes("object")
    ]


def _line_features(graph: SceneGraph) -> list[dict[str, Any]]:
    lines = [
        (
            "track",
            track.positions,
            {"id": key, "label": track.label, "times": np.round(track.times, 6).tolist()},
        )
        for key, track in graph.nodes("track")
    ]
    agents = [agent for _, agent in graph.nodes("agent")]
    if agents:
        times = [round(agent.time, 6) for agent in agents]
        lines.append(("camera", np.stack([agent.position for agent in agents]), {"times": times}))
    return [
        _feature(kind, "LineString", _points(positions[:, :2]), properties)
        if len(positions) > 1  # a line needs two points
        else _feature(kind, "Point", _points(positions[0, :2]), properties)
        for kind, positions, properties in lines
    ]
