"""PLY files: ours, and the triangle or polygon meshes and point clouds of other tools (Turk 1994).

What we write: binary little endian, vertex `x y z` double (so that reading returns the same numbers), then what the mesh
has of `red green blue` uchar, `label` ushort, `object` uint (or `instance` ushort), `confidence` float; face
`vertex_indices` as a list of three ints.
"""

from __future__ import annotations

import re
import struct
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from mapping.files import atomic_path
from mapping.mesh.mesh import Mesh, MeshFormatError
from mapping.reading.files import read_bytes, shown

ObjectProperty = Literal["object", "instance"]

SCALARS = {
    "char": "i1",
    "uchar": "u1",
    "short": "i2",
    "ushort": "u2",
    "int": "i4",
    "uint": "u4",
    "float": "f4",
    "double": "f8",
    "int8": "i1",
    "uint8": "u1",
    "int16": "i2",
    "uint16": "u2",
    "int32": "i4",
    "uint32": "u4",
    "float32": "f4",
    "float64": "f8",
}
BYTE_ORDERS = {"ascii": "", "binary_little_endian": "<", "binary_big_endian": ">"}
FACE_LISTS = ("vertex_indices", "vertex_index")
COLOR_NAMES = (("red", "green", "blue"), ("r", "g", "b"), ("diffuse_red", "diffuse_green", "diffuse_blue"))
OBJECT_NAMES = ("object", "instance")
MAX_HEADER_BYTES = 1 << 20
"""A file without end_header is recognised before all of it is split into lines."""

Columns = dict[str, NDArray[Any]]

PADDING = b"\0\t\n\r "
"""Bytes that may follow the last element."""


@dataclass(frozen=True)
class _Property:
    """One column; `count_type` is the type of a list's length, empty for a single number."""

    name: str
    type: str
    count_type: str = ""


@dataclass(frozen=True)
class _Element:
    name: str
    count: int
    properties: tuple[_Property, ...]


def write_ply(mesh: Mesh, path: Path, *, object_property: ObjectProperty = "object") -> None:
    """Write the mesh as binary PLY (see the top of this module) through a temporary file.

    `object_property` names the column of `mesh.objects`: `object` (uint) in maps, `instance` (ushort) in ground truth.
    Raises ValueError when an instance number does not fit.
    """
    columns: list[tuple[str, str, NDArray[Any]]] = [(n, "<f8", mesh.vertices[:, i]) for i, n in enumerate("xyz")]
    if mesh.colors is not None:
        columns += [(name, "u1", mesh.colors[:, i]) for i, name in enumerate(("red", "green", "blue"))]
    if mesh.labels is not None:
        columns.append(("label", "<u2", mesh.labels))
    if mesh.objects is not None:
        if object_property == "instance" and mesh.objects.max(initial=0) > np.iinfo(np.uint16).max:
            raise ValueError(f"{path}: instance numbers must be below 65536, got {mesh.objects.max()}")
        columns.append((object_property, "<u4" if object_property == "object" else "<u2", mesh.objects))
    if mesh.confidence is not None:
        columns.append(("confidence", "<f4", mesh.confidence))
    vertices = np.zeros(len(mesh.vertices), np.dtype([(name, type_) for name, type_, _ in columns]))
    for name, _, values in columns:
        vertices[name] = values
    faces = np.zeros(len(mesh.faces), np.dtype([("count", "u1"), ("indices", "<i4", (3,))]))
    faces["count"], faces["indices"] = 3, mesh.faces
    with atomic_path(path) as temporary, temporary.open("wb") as file:
        file.write(_header_text(vertices, len(faces)).encode("ascii"))
        vertices.tofile(file)
        faces.tofile(file)


def read_ply(path: Path) -> Mesh:
    """Read a mesh from ASCII or binary PLY; polygons are cut into fans, columns that a Mesh does not have are skipped.

    Colours may be uchar or float in [0, 1]; `label`, `object` or `instance`, and `confidence` of the vertices are kept.
    Raises MeshFormatError that names the file, the position and what was expected.
    """
    data = read_bytes(path, MeshFormatError)
    try:
        order, elements, offset = _parse_header(data)
        tables = _read_ascii(data, offset, elements) if order == "" else _read_binary(data, offset, elements, order)
        return _to_mesh(tables)
    except ValueError as error:
        raise MeshFormatError(f"{path}: {error}") from error


def fan_triangles(counts: NDArray[np.int64], corners: NDArray[np.int64]) -> NDArray[np.int32]:
    """Polygons with `counts` (P,) corners each, their indices one after the other in `corners`, as triangles (F, 3).

    Each polygon is a fan around its first corner, right for convex ones; polygons with fewer than three corners vanish.
    """
    pieces = np.maximum(counts - 2, 0)
    first = np.repeat(np.cumsum(counts) - counts, pieces)
    step = np.arange(pieces.sum()) - np.repeat(np.cumsum(pieces) - pieces, pieces)
    return np.stack([corners[first], corners[first + step + 1], corners[first + step + 2]], axis=1).astype(np.int32)


def _header_text(vertices: NDArray[Any], face_count: int) -> str:
    names = {"f8": "double", "f4": "float", "u1": "uchar", "u2": "ushort", "u4": "uint"}
    lines = ["ply", "format binary_little_endian 1.0", f"element vertex {len(vertices)}"]
    lines += [f"property {names[vertices.dtype[name].str[1:]]} {name}" for name in vertices.dtype.names or ()]
    lines += [f"element face {face_count}", "property list uchar int vertex_indices", "end_header"]
    return "\n".join(lines) + "\n"


def _parse_header(data: bytes) -> tuple[str, list[_Element], int]:
    """Byte order ("" for ASCII), elements, and where the body starts."""
    if data[:4] not in (b"ply\n", b"ply\r"):
        raise ValueError("not a PLY file (the first line must be 'ply')")
    end = data.find(b"end_header", 0, MAX_HEADER_BYTES)
    body = data.find(b"\n", end) + 1
    if end < 0 or body == 0:
        raise ValueError("header without end_header")
    order: str | None = None
    elements: list[_Element] = []
    for number, line in enumerate(data[:end].decode("latin-1").splitlines(), start=1):
        words = line.split()
        if number == 1 or not words or words[0] in ("comment", "obj_info"):
            continue
        if words[0] == "format" and len(words) == 3 and words[1] in BYTE_ORDERS:
            order = BYTE_ORDERS[words[1]]
        elif words[0] == "element" and len(words) == 3 and re.fullmatch(r"[0-9]{1,18}", words[2]):
            elements.append(_Element(words[1], int(words[2]), ()))
        elif words[0] == "property" and elements:
            new = _parse_property(words, number)
            if new.name in {known.name for known in elements[-1].properties}:
                raise ValueError(f"header line {number}: property {new.name} is declared twice")
            last = elements[-1]
            elements[-1] = _Element(last.name, last.count, (*last.properties, new))
        else:
            raise ValueError(f"header line {number}: expected format, element or property, got {line[:60]!r}")
    if order is None:
        raise ValueError(f"header without a format line ({', '.join(BYTE_ORDERS)})")
    return order, elements, body


def _parse_property(words: list[str], number: int) -> _Property:
    if len(words) == 3 and words[1] in SCALARS:
        return _Property(words[2], SCALARS[words[1]])
    is_list = len(words) == 5 and words[1] == "list" and words[2] in SCALARS and words[3] in SCALARS
    if is_list and SCALARS[words[2]][0] in "iu":
        return _Property(words[4], SCALARS[words[3]], SCALARS[words[2]])
    raise ValueError(f"header line {number}: expected 'property TYPE NAME' or 'property list COUNT TYPE NAME'")


def _read_binary(data: bytes, offset: int, elements: list[_Element], order: str) -> dict[str, Columns]:
    tables: dict[str, Columns] = {}
    for element in elements:
        dtype = _row_type(element, order, _first_counts(data, offset, element, order) if element.count else {})
        end = offset + element.count * dtype.itemsize
        rows = np.frombuffer(data, dtype, element.count, offset) if end <= len(data) else None
        lists = [p for p in element.properties if p.count_type]
        if rows is not None and all((rows[f"#{p.name}"] == dtype[p.name].shape[0]).all() for p in lists):
            table: Columns = {p.name: rows[p.name] for p in element.properties}
            table.update({p.name: rows[p.name].reshape(-1) for p in lists})
            table.update({f"#{p.name}": rows[f"#{p.name}"].astype(np.int64) for p in lists})
        elif lists:
            table, end = _walk_binary(data, offset, element, order)
        else:
            rest = max(len(data) - offset, 0)
            raise ValueError(
                f"truncated: {element.count} {element.name} rows need {element.count * dtype.itemsize} bytes, {rest} are left"
            )
        tables[element.name], offset = table, end
    if data[offset:].strip(PADDING):
        raise ValueError(f"{len(data) - offset} bytes follow what the header announces")
    return tables


def _first_counts(data: bytes, offset: int, element: _Element, order: str) -> dict[str, int]:
    """Lengths of the lists in the first row: in most files those of all rows."""
    counts = {}
    for p in element.properties:
        if p.count_type:
            counts[p.name] = _unpack(data, offset, order + p.count_type, element)
            offset += np.dtype(p.count_type).itemsize
        offset += np.dtype(p.type).itemsize * counts.get(p.name, 1)
    return counts


def _row_type(element: _Element, order: str, counts: dict[str, int]) -> np.dtype[Any]:
    fields: list[Any] = []
    for p in element.properties:
        if p.count_type:
            fields += [(f"#{p.name}", order + p.count_type), (p.name, order + p.type, (counts.get(p.name, 0),))]
        else:
            fields.append((p.name, order + p.type))
    return np.dtype(fields)


def _walk_binary(data: bytes, offset: int, element: _Element, order: str) -> tuple[Columns, int]:
    """Rows of different lengths, one at a time."""
    pieces: dict[str, list[bytes]] = {p.name: [] for p in element.properties}
    counts: dict[str, list[int]] = {p.name: [] for p in element.properties if p.count_type}
    for _ in range(element.count):
        for p in element.properties:
            length = 1
            if p.count_type:
                length = _unpack(data, offset, order + p.count_type, element)
                counts[p.name].append(length)
                offset += np.dtype(p.count_type).itemsize
            size = length * np.dtype(p.type).itemsize
            if offset + size > len(data):
                raise ValueError(f"truncated in element {element.name}")
            pieces[p.name].append(data[offset : offset + size])
            offset += size
    table: Columns = {p.name: np.frombuffer(b"".join(pieces[p.name]), order + p.type) for p in element.properties}
    table.update({f"#{name}": np.array(lengths, np.int64) for name, lengths in counts.items()})
    return table, offset


def _unpack(data: bytes, offset: int, type_: str, element: _Element) -> int:
    code = {"i1": "b", "u1": "B", "i2": "h", "u2": "H", "i4": "i", "u4": "I"}[type_[1:]]
    try:
        count = int(struct.unpack_from(type_[0] + code, data, offset)[0])
    except struct.error as error:
        raise ValueError(f"truncated in element {element.name}") from error
    if count < 0:
        raise ValueError(f"a list of element {element.name} has {count} entries")
    return count


def _read_ascii(data: bytes, offset: int, elements: list[_Element]) -> dict[str, Columns]:
    try:
        values = np.array(data[offset:].split(), dtype=np.float64)
    except ValueError as error:
        raise ValueError(f"body must be numbers: {error}") from error
    tables: dict[str, Columns] = {}
    start = 0
    for element in elements:
        if element.count and len(element.properties) == 1 and element.properties[0].count_type:
            tables[element.name], start = _ascii_lists(values, start, element)
        elif any(p.count_type for p in element.properties):
            tables[element.name], start = _walk_ascii(values, start, element)
        else:
            width = len(element.properties)
            block = values[start : start + element.count * width]
            if len(block) < element.count * width:
                raise ValueError(f"truncated: {element.count} {element.name} rows of {width} numbers were announced")
            tables[element.name] = {p.name: _typed(block[i::width], p) for i, p in enumerate(element.properties)}
            start += len(block)
    if start < len(values):
        raise ValueError(f"{len(values) - start} numbers follow what the header announces")
    return tables


def _ascii_lists(values: NDArray[np.float64], start: int, element: _Element) -> tuple[Columns, int]:
    """Rows of one list and nothing else, nearly always triangles: all rows at once when they are equally long."""
    length = _length(values[start], element) if start < len(values) else -1
    end = start + element.count * (length + 1)
    rows = values[start:end].reshape(element.count, -1) if length >= 0 and end <= len(values) else None
    if rows is None or (rows[:, 0] != length).any():
        return _walk_ascii(values, start, element)
    p = element.properties[0]
    return {p.name: _typed(rows[:, 1:].ravel(), p), f"#{p.name}": rows[:, 0].astype(np.int64)}, end


def _typed(values: NDArray[np.float64], column: _Property) -> NDArray[Any]:
    """Numbers of text in the type of their column; ValueError for what does not fit into whole numbers."""
    if column.type[0] in "iu":
        info = np.iinfo(column.type)
        with np.errstate(invalid="ignore"):
            fits = (values >= info.min) & (values <= info.max) & (values % 1 == 0)
        if not fits.all():
            raise ValueError(f"property {column.name} must be whole numbers in {info.min}..{info.max}")
    with np.errstate(over="ignore"):  # the caller refuses infinite coordinates
        return values.astype(column.type)


def _length(value: float, element: _Element) -> int:
    if not 0 <= value < 1 << 31 or value % 1:
        raise ValueError(f"a list of element {element.name} has {value:g} entries")
    return int(value)


def _walk_ascii(values: NDArray[np.float64], start: int, element: _Element) -> tuple[Columns, int]:
    """Rows of different lengths, one at a time."""
    pieces: dict[str, list[NDArray[np.float64]]] = {p.name: [] for p in element.properties}
    counts: dict[str, list[int]] = {p.name: [] for p in element.properties if p.count_type}
    for _ in range(element.count):
        for p in element.properties:
            length = 1
            if p.count_type and start >= len(values):
                raise ValueError(f"truncated in element {element.name}")
            if p.count_type:
                length = _length(values[start], element)
                counts[p.name].append(length)
                start += 1
            if length < 0 or start + length > len(values):
                raise ValueError(f"truncated in element {element.name}")
            pieces[p.name].append(values[start : start + length])
            start += length
    table: Columns = {p.name: _typed(np.concatenate([np.zeros(0), *pieces[p.name]]), p) for p in element.properties}
    table.update({f"#{name}": np.array(lengths, np.int64) for name, lengths in counts.items()})
    return table, start


def _to_mesh(tables: dict[str, Columns]) -> Mesh:
    vertex = tables.get("vertex", {})
    if any(axis not in vertex for axis in "xyz"):
        raise ValueError("expected an element vertex with x, y and z")
    vertices = np.stack([vertex[axis] for axis in "xyz"], axis=1).astype(np.float64)
    if not np.isfinite(vertices).all():
        raise ValueError("vertex coordinates must be finite")
    fields: dict[str, Any] = {}
    for names in COLOR_NAMES:
        if all(name in vertex for name in names):
            fields["colors"] = np.stack([_color(vertex[name]) for name in names], axis=1)
            break
    if "label" in vertex:
        fields["labels"] = _whole(vertex["label"], np.uint16, "label")
    for name in OBJECT_NAMES:
        if name in vertex:
            fields["objects"] = _whole(vertex[name], np.uint32, name)
            break
    if "confidence" in vertex:
        fields["confidence"] = vertex["confidence"].astype(np.float32)
    if "face" not in tables and (other := [name for name, table in tables.items() if any("#" in key for key in table)]):
        raise ValueError(f"expected lists of an element face, got those of {shown(other[0])}")
    return Mesh(vertices, _faces(tables.get("face", {}), len(vertices)), **fields)


def _faces(face: Columns, vertex_count: int) -> NDArray[np.int32]:
    name = next((name for name in FACE_LISTS if f"#{name}" in face), None)
    if name is None:
        if face:
            raise ValueError(f"expected faces with a list {' or '.join(FACE_LISTS)}, got {', '.join(face)}")
        return np.zeros((0, 3), np.int32)
    corners = face[name]
    if len(corners) and not 0 <= corners.min() <= corners.max() < vertex_count:
        raise ValueError(f"faces must index {vertex_count} vertices, got {corners.min()}..{corners.max()}")
    if (face[f"#{name}"] == 3).all():
        return corners.reshape(-1, 3).astype(np.int32)
    return fan_triangles(face[f"#{name}"], corners.astype(np.int64))


def _color(values: NDArray[Any]) -> NDArray[np.uint8]:
    """A colour channel as uchar; floats are in [0, 1], wider integers use their whole range."""
    if values.dtype == np.uint8:
        return values
    full = 1.0 if values.dtype.kind == "f" else float(np.iinfo(values.dtype).max)
    return np.rint(np.clip(values / full, 0, 1) * 255).astype(np.uint8)


def _whole(values: NDArray[Any], dtype: type, name: str) -> NDArray[Any]:
    as_float = values.astype(np.float64)
    if len(values) and not ((as_float >= 0) & (as_float <= np.iinfo(dtype).max) & (as_float % 1 == 0)).all():
        raise ValueError(
            f"vertex property {name} must be whole numbers in 0..{np.iinfo(dtype).max}, "
            f"got {as_float.min():g}..{as_float.max():g}"
        )
    return values.astype(dtype)
