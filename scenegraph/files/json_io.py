"""The scene graph's own file: networkx node-link JSON with a header, one node or edge per line.

The same graph always gives the same bytes. Reading is strict: what `load_scene_graph` returns is valid.
"""

from __future__ import annotations

import json
import math
import os
from collections.abc import Callable, Mapping
from dataclasses import MISSING, dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np

from mapping.files import write_text_atomic
from mapping.reading.documents import read_json
from scenegraph.files import json_values as values
from scenegraph.files.json_values import GraphFormatError, unexpected
from scenegraph.graph import SceneGraph
from scenegraph.labels import LabelSpace, LabelSpaceError, label_space_from_mapping, nyu40
from scenegraph.nodes import NODE_TYPES, Node, OrientedBox

FORMAT = "m2h-scene-graph"
VERSION = 1
HEADER = ("format", "version", "label_space", "label_classes", "T_input_world")
SECTIONS = (*HEADER, "directed", "multigraph", "graph", "nodes", "edges")

POSITION_DECIMALS = 4  # 0.1 mm: far below what a map resolves, far above what differs between machines
ROTATION_DECIMALS = 6
TIME_DECIMALS = 6  # microseconds, which a float64 of seconds since 1970 still represents
SCORE_DECIMALS = 4
FREE_DIGITS = (
    12  # significant digits of numbers in metadata, evidence and edge attributes, whose unit is not known here
)


def save_scene_graph(graph: SceneGraph, path: str | os.PathLike[str]) -> None:
    """Write a graph so that `load_scene_graph` reads it back; lengths are rounded to 0.1 mm, times to 1 us.

    Raises ValueError when the graph breaks its own rules or contains a value that the file cannot (NaN, infinity, an
    unknown label id).
    """
    graph.validate()
    data = graph_to_json(graph)
    graph_from_json(data, str(path))
    write_text_atomic(path, _as_lines(data))


def load_scene_graph(path: str | os.PathLike[str]) -> SceneGraph:
    """Read a scene graph file.

    Raises GraphFormatError, one line with the file, the node or edge, the field and what was expected; FileNotFoundError.
    """
    if not Path(path).exists():
        raise FileNotFoundError(f"{path}: no such file")
    return graph_from_json(read_json(path, GraphFormatError, unique=True), str(path))


def graph_to_json(graph: SceneGraph) -> dict[str, Any]:
    """The graph as JSON-ready values, in the layout of the file; networkx reads it with `node_link_graph(..., edges="edges")`."""
    space = graph.label_space
    data: dict[str, Any] = {"format": FORMAT, "version": VERSION, "label_space": space.name}
    if space != nyu40():  # a file must not depend on a separate label space file
        data["label_classes"] = [
            {"id": c.id, "name": c.name, "kind": c.kind, "color": list(c.color)} for c in space.classes
        ]
    return data | {
        "T_input_world": _rounded(9)(graph.T_input_world),
        "directed": True,
        "multigraph": False,
        "graph": plain(graph.metadata, "graph"),
        "nodes": [_encode_node(key, node) for key, node in graph.nodes()],
        "edges": [
            {"source": e.source, "target": e.target, "kind": e.kind, **plain(e.attributes, f"{e.source} -> {e.target}")}
            for e in graph.edges()
        ],
    }


def graph_from_json(data: object, where: str) -> SceneGraph:
    """The graph from parsed JSON; `where` (the file's name) begins every message.

    Raises GraphFormatError.
    """
    top = values.mapping(data, where)
    _check_header(top, where)
    T_input_world = values.rigid(_required(top, "T_input_world", where), f"{where}: T_input_world")
    metadata = values.mapping(top.get("graph", {}), f"{where}: graph")
    graph = SceneGraph(_read_label_space(top, where), T_input_world, metadata)
    for number, entry in enumerate(values.sequence(_required(top, "nodes", where), f"{where}: nodes")):
        _read_node(graph, entry, f"{where}: nodes[{number}]")
    for number, entry in enumerate(values.sequence(_required(top, "edges", where), f"{where}: edges")):
        _read_edge(graph, entry, f"{where}: edges[{number}]", in_multigraph=top.get("multigraph", False))
    return graph


def plain(value: Any, where: str) -> Any:
    """A free-form value (metadata, evidence, attributes) as JSON: arrays to lists, numpy numbers to numbers of 12 digits.

    Raises ValueError that names where a value is that JSON does not have, such as NaN.
    """
    if isinstance(value, np.ndarray | np.generic):
        value = value.tolist()
    if isinstance(value, Mapping):
        for name in value:
            if not isinstance(name, str):
                raise ValueError(f"{where}: names must be text, got {name!r}")
        return {name: plain(entry, f"{where}.{name}") for name, entry in value.items()}
    if isinstance(value, list | tuple):
        return [plain(entry, f"{where}[{number}]") for number, entry in enumerate(value)]
    if isinstance(value, float):
        if not math.isfinite(value):
            raise ValueError(f"{where}: must be finite, got {value}")
        return float(f"{value:.{FREE_DIGITS}g}") + 0.0  # no negative zero
    if value is None or isinstance(value, str | bool | int):
        return value
    raise ValueError(f"{where}: {type(value).__name__} cannot be written as JSON")


@dataclass(frozen=True)
class _Codec:
    """How one field is encoded to JSON and decoded from it, with checks."""

    encode: Callable[[Any], Any]
    decode: Callable[[Any, str], Any]


def _rounded(decimals: int) -> Callable[[Any], Any]:
    def encode(value: Any) -> Any:
        return (np.round(np.asarray(value, dtype=np.float64), decimals) + 0.0).tolist()

    return encode


def _array_codec(decimals: int, *shape: int | None, minimum: int = 1) -> _Codec:
    return _Codec(_rounded(decimals), lambda value, where: values.array(value, where, shape, minimum=minimum))


def _encode_scores(scores: Mapping[str, float]) -> dict[str, float]:
    """Highest first; of equal scores, by name."""
    rounded = {name: round(float(score), SCORE_DECIMALS) + 0.0 for name, score in scores.items()}
    return dict(sorted(rounded.items(), key=lambda item: (-item[1], item[0])))


def _encode_box(box: OrientedBox) -> dict[str, Any]:
    position, rotation = _rounded(POSITION_DECIMALS), _rounded(ROTATION_DECIMALS)
    return {"center": position(box.center), "size": position(box.size), "rotation": rotation(box.rotation)}


def _decode_box(value: Any, where: str) -> OrientedBox:
    box = values.mapping(value, where)
    _check_names(box, ("center", "size", "rotation"), where)
    parts = {
        name: values.array(_required(box, name, where), f"{where}.{name}", shape)
        for name, shape in (("center", (3,)), ("size", (3,)), ("rotation", (3, 3)))
    }
    try:
        return OrientedBox(**parts)
    except ValueError as error:
        raise GraphFormatError(f"{where}: {error}") from error


_TEXT = _Codec(str, values.text)
_WHOLE = _Codec(int, values.whole)
_SHARE = _Codec(_rounded(SCORE_DECIMALS), values.share)
_POSITION = _array_codec(POSITION_DECIMALS, 3)
_HEIGHTS = _Codec(_rounded(POSITION_DECIMALS), values.interval)
_LENGTH = _Codec(_rounded(POSITION_DECIMALS), values.at_least_zero)
_SCORES = _Codec(_encode_scores, values.scores)

NODE_FIELDS: dict[str, dict[str, _Codec]] = {
    "building": {"label": _TEXT},
    "storey": {"z_range": _HEIGHTS},
    "room": {
        "label": _TEXT,
        "label_scores": _SCORES,
        "position": _POSITION,
        "polygon": _array_codec(POSITION_DECIMALS, None, 2, minimum=3),
        "z_range": _HEIGHTS,
        "area": _LENGTH,
        "evidence": _Codec(lambda evidence: plain(evidence, "evidence"), values.mapping),
    },
    "place": {"position": _POSITION, "radius": _LENGTH},
    "object": {
        "label": _TEXT,
        "label_id": _WHOLE,
        "label_scores": _SCORES,
        "position": _POSITION,
        "box": _Codec(_encode_box, _decode_box),
        "views": _WHOLE,
        "confidence": _SHARE,
        "presence": _Codec(lambda presence: [_rounded(TIME_DECIMALS)(pair) for pair in presence], values.intervals),
        "number": _WHOLE,
    },
    "track": {
        "label": _TEXT,
        "label_id": _WHOLE,
        "size": _Codec(_rounded(POSITION_DECIMALS), values.size),
        "times": _Codec(_rounded(TIME_DECIMALS), values.increasing),
        "positions": _array_codec(POSITION_DECIMALS, None, 3),
        "confidence": _SHARE,
    },
    "agent": {
        "time": _Codec(_rounded(TIME_DECIMALS), values.number),
        "position": _POSITION,
        "rotation_xyzw": _Codec(_rounded(ROTATION_DECIMALS), values.unit_quaternion),
    },
}
"""The fields of each layer, in the order in which they are written; a field with a default in the node type may be omitted."""

IGNORED_FIELDS = {"building": ("position",)}
"""What other writers say of a layer and is not kept: the middle of a building follows from its storeys."""


def _encode_node(key: str, node: Node) -> dict[str, Any]:
    try:
        encoded = {name: codec.encode(getattr(node, name)) for name, codec in NODE_FIELDS[node.layer].items()}
    except (TypeError, ValueError) as error:
        raise ValueError(f"{key}: {error}") from error
    return {"id": key, "layer": node.layer, **encoded}


def _read_node(graph: SceneGraph, entry: object, where: str) -> None:
    data = values.mapping(entry, where)
    key = values.text(_required(data, "id", where), f"{where}.id")
    where = f"{where} {key}"
    layer = values.text(_required(data, "layer", where), f"{where}.layer")
    if layer not in NODE_FIELDS:
        raise unexpected(f"{where}.layer", f"one of {', '.join(NODE_FIELDS)}", layer)
    codecs = NODE_FIELDS[layer]
    _check_names(data, ("id", "layer", *codecs, *IGNORED_FIELDS.get(layer, ())), where)
    for field in fields(NODE_TYPES[layer]):
        if field.default is MISSING and field.default_factory is MISSING:
            _required(data, field.name, where)
    decoded = {name: codec.decode(data[name], f"{where}.{name}") for name, codec in codecs.items() if name in data}
    if "positions" in decoded and len(decoded["positions"]) != len(decoded["times"]):
        raise unexpected(
            f"{where}.positions", f"{len(decoded['times'])} points, one per time", len(decoded["positions"])
        )
    if "label_id" in decoded and decoded["label_id"] not in graph.label_space.by_id:
        raise unexpected(f"{where}.label_id", f"an id of label space {graph.label_space.name}", decoded["label_id"])
    try:
        graph.add(NODE_TYPES[layer](**decoded), key=key)
    except ValueError as error:
        raise GraphFormatError(f"{where}: {error}") from error


def _read_edge(graph: SceneGraph, entry: object, where: str, *, in_multigraph: bool) -> None:
    data = values.mapping(entry, where)
    source, target, kind = (
        values.text(_required(data, name, where), f"{where}.{name}") for name in ("source", "target", "kind")
    )
    known = ("source", "target", "kind", *(("key",) if in_multigraph else ()))
    attributes = {name: value for name, value in data.items() if name not in known}
    try:
        graph.connect(source, target, kind=kind, **attributes)
    except ValueError as error:
        raise GraphFormatError(f"{where}: {error}") from error


def _check_header(top: dict[str, Any], where: str) -> None:
    if top.get("format") != FORMAT:
        raise unexpected(f"{where}: format", repr(FORMAT), top.get("format"))
    version = values.whole(_required(top, "version", where), f"{where}: version")
    if version != VERSION:
        hint = " (the file was written by a newer m2h)" if version > VERSION else ""
        raise GraphFormatError(f"{where}: version: expected {VERSION}, got {version}{hint}")
    _check_names(top, SECTIONS, where)
    if top.get("directed", True) is not True:
        raise unexpected(f"{where}: directed", "true", top["directed"])
    if not isinstance(top.get("multigraph", False), bool):
        raise unexpected(f"{where}: multigraph", "true or false", top["multigraph"])


def _read_label_space(top: dict[str, Any], where: str) -> LabelSpace:
    name = values.text(_required(top, "label_space", where), f"{where}: label_space")
    try:
        if "label_classes" in top:
            return label_space_from_mapping({"name": name, "classes": top["label_classes"]}, f"{where}: label_classes")
    except LabelSpaceError as error:
        raise GraphFormatError(str(error)) from error
    if name != nyu40().name:
        raise GraphFormatError(
            f"{where}: label_classes: missing; only the label space nyu40 may be omitted, got {name!r}"
        )
    return nyu40()


def _required(data: dict[str, Any], name: str, where: str) -> Any:
    if name not in data:
        raise GraphFormatError(f"{where}: the field {name} is missing")
    return data[name]


def _check_names(data: dict[str, Any], known: tuple[str, ...], where: str) -> None:
    unknown = sorted(set(data) - set(known))
    if unknown:
        raise GraphFormatError(f"{where}: unknown field {unknown[0]!r}; known are {', '.join(known)}")


def _as_lines(data: dict[str, Any]) -> str:
    """JSON text with one node or edge per line, so that files can be compared line by line."""

    def dump(value: Any) -> str:
        return json.dumps(value, ensure_ascii=False, allow_nan=False)

    def section(name: str, value: Any) -> str:
        if name not in ("nodes", "edges", "label_classes") or not value:
            return f"{dump(name)}: {dump(value)}"
        return f"{dump(name)}: [\n " + ",\n ".join(dump(entry) for entry in value) + "\n]"

    return "{\n" + ",\n".join(section(name, value) for name, value in data.items()) + "\n}\n"
