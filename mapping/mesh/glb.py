"""Binary glTF 2.0 for web viewers: y up, linear vertex colours, one named node per object.

Colours of a camera already contain the lighting, so they are drawn unlit (`KHR_materials_unlit`); display colours of labels may
have a matte material that the viewer shades. `COLOR_0` is linear by the specification; 16 bits keep dark tones apart.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mapping.files import write_bytes_atomic
from mapping.mesh.mesh import Mesh

Z_UP_TO_Y_UP_QUAT_XYZW = (-(0.5**0.5), 0.0, 0.0, 0.5**0.5)  # -90 degrees about x
COMPONENTS = {"float32": 5126, "uint16": 5123, "uint32": 5125}
TYPES = {1: "SCALAR", 2: "VEC2", 3: "VEC3", 4: "VEC4"}
ARRAY_BUFFER, ELEMENT_ARRAY_BUFFER = 34962, 34963
GREY = (0.6, 0.6, 0.6, 1.0)
SAMPLER = {"magFilter": 9729, "minFilter": 9987, "wrapS": 33071, "wrapT": 33071}
"""Linear, between reduced copies too, clamped to the border."""


@dataclass(frozen=True, eq=False)
class GlbTexture:
    """Texture coordinates (V, 2) of the vertices, from 0 at the left and top border to 1, and a JPEG or PNG file."""

    uv: NDArray[np.float32]
    image: bytes

    @property
    def media_type(self) -> str:
        """Of the file, by its signature."""
        return "image/png" if self.image.startswith(b"\x89PNG") else "image/jpeg"


@dataclass(frozen=True, eq=False)
class GlbNode:
    """One named object of the scene; `extras` is any JSON object for the viewer (id, label, room, ...).

    The mesh is in our world (z up, metres) and may be None for a node that has only extras. With `matte` the viewer
    shades it instead of showing the colours as they are; a texture replaces them.
    """

    name: str
    mesh: Mesh | None
    extras: Mapping[str, Any] = field(default_factory=dict)
    matte: bool = False
    texture: GlbTexture | None = None


def write_glb(path: Path, nodes: Sequence[GlbNode]) -> None:
    """Write one file with all nodes below a root that rotates our z up to the y up of glTF.

    Positions are float32, colours go from sRGB to linear. Raises ValueError when `extras` is not plain JSON (NaN included).
    """
    builder = _Builder()
    entries: list[dict[str, Any]] = []
    for node in nodes:
        entry: dict[str, Any] = {"name": node.name}
        if node.extras:
            entry["extras"] = dict(node.extras)
        if node.mesh is not None and len(node.mesh.faces):
            entry["mesh"] = builder.add_mesh(node, node.mesh)
        entries.append(entry)
    root = {"name": "world", "rotation": Z_UP_TO_Y_UP_QUAT_XYZW, "children": list(range(1, len(entries) + 1))}
    if not entries:
        del root["children"]
    try:
        text = json.dumps(builder.document([root, *entries]), separators=(",", ":"), allow_nan=False).encode()
    except (TypeError, ValueError) as error:
        raise ValueError(f"{path}: extras of a node must be plain JSON without NaN: {error}") from error
    text += b" " * (-len(text) % 4)
    body = b"".join(builder.chunks)
    chunks = struct.pack("<I4s", len(text), b"JSON") + text
    if body:
        chunks += struct.pack("<I4s", len(body), b"BIN\0") + body
    write_bytes_atomic(path, struct.pack("<4sII", b"glTF", 2, 12 + len(chunks)) + chunks)


def linear_from_srgb(colors: NDArray[np.uint8]) -> NDArray[np.uint16]:
    """sRGB bytes (any shape) to linear 16 bit, IEC 61966-2-1."""
    c = np.arange(256) / 255
    table = np.where(c <= 0.04045, c / 12.92, ((c + 0.055) / 1.055) ** 2.4)
    return np.rint(table * 65535).astype(np.uint16)[colors]


class _Builder:
    """Collects meshes, accessors and the binary chunk; every view starts at a multiple of four bytes."""

    def __init__(self) -> None:
        self.chunks: list[bytes] = []
        self.size = 0
        self.views: list[dict[str, Any]] = []
        self.accessors: list[dict[str, Any]] = []
        self.meshes: list[dict[str, Any]] = []
        self.materials: list[dict[str, Any]] = []
        self.images: list[dict[str, Any]] = []

    def add_mesh(self, node: GlbNode, mesh: Mesh) -> int:
        positions = mesh.vertices.astype(np.float32)
        attributes = {"POSITION": self._add(positions, ARRAY_BUFFER, limits=True)}
        if node.matte:
            attributes["NORMAL"] = self._add(_unit_normals(mesh), ARRAY_BUFFER)
        if node.texture is not None:
            attributes["TEXCOORD_0"] = self._add(node.texture.uv.astype(np.float32), ARRAY_BUFFER)
        elif mesh.colors is not None:
            colors = np.full((len(positions), 4), 65535, np.uint16)
            colors[:, :3] = linear_from_srgb(mesh.colors)
            attributes["COLOR_0"] = self._add(colors, ARRAY_BUFFER, normalized=True)
        # 65535 restarts a strip and is therefore not an index.
        indices = mesh.faces.ravel().astype(np.uint16 if len(positions) < 65535 else np.uint32)
        primitive = {
            "attributes": attributes,
            "indices": self._add(indices, ELEMENT_ARRAY_BUFFER),
            "material": self._material(node, colored=mesh.colors is not None),
        }
        self.meshes.append({"name": node.name, "primitives": [primitive]})
        return len(self.meshes) - 1

    def document(self, nodes: list[dict[str, Any]]) -> dict[str, Any]:
        parts: dict[str, Any] = {
            "asset": {"version": "2.0", "generator": "m2h"},
            "scene": 0,
            "scenes": [{"nodes": [0]}],
            "nodes": nodes,
        }
        if self.meshes:
            parts |= {"meshes": self.meshes, "materials": self.materials, "accessors": self.accessors}
            parts |= {"bufferViews": self.views, "buffers": [{"byteLength": self.size}]}
        if self.images:
            textures = [{"source": number, "sampler": 0} for number in range(len(self.images))]
            parts |= {"images": self.images, "textures": textures, "samplers": [SAMPLER]}
        if any("extensions" in material for material in self.materials):
            parts["extensionsUsed"] = ["KHR_materials_unlit"]
        return parts

    def _add_bytes(self, data: bytes, **properties: int) -> int:
        self.views.append({"buffer": 0, "byteOffset": self.size, "byteLength": len(data), **properties})
        data += b"\0" * (-len(data) % 4)
        self.chunks.append(data)
        self.size += len(data)
        return len(self.views) - 1

    def _add(self, array: NDArray[Any], target: int, *, normalized: bool = False, limits: bool = False) -> int:
        accessor: dict[str, Any] = {
            "bufferView": self._add_bytes(array.tobytes(), target=target),
            "componentType": COMPONENTS[array.dtype.name],
            "count": len(array),
            "type": TYPES[array.shape[1] if array.ndim == 2 else 1],
        }
        if normalized:
            accessor["normalized"] = True
        if limits:
            accessor |= {"min": array.min(axis=0).tolist(), "max": array.max(axis=0).tolist()}
        self.accessors.append(accessor)
        return len(self.accessors) - 1

    def _material(self, node: GlbNode, *, colored: bool) -> int:
        textured = node.texture is not None
        look: dict[str, Any] = {"metallicFactor": 0.0, "roughnessFactor": 1.0}
        look["baseColorFactor"] = (1.0, 1.0, 1.0, 1.0) if colored or textured else GREY
        name = ("matte" if node.matte else "unlit") + ("" if colored or textured else "-grey")
        if node.texture is not None:
            view = self._add_bytes(node.texture.image)
            self.images.append({"bufferView": view, "mimeType": node.texture.media_type})
            look["baseColorTexture"] = {"index": len(self.images) - 1}
            name += f"-image-{len(self.images) - 1}"
        material: dict[str, Any] = {"name": name, "doubleSided": True, "pbrMetallicRoughness": look}
        if not node.matte:
            material["extensions"] = {"KHR_materials_unlit": {}}
        if material not in self.materials:
            self.materials.append(material)
        return self.materials.index(material)


def _unit_normals(mesh: Mesh) -> NDArray[np.float32]:
    """Vertex normals; glTF requires unit length, so a vertex without a face points up."""
    normals = mesh.vertex_normals()
    normals[~normals.any(axis=1)] = (0.0, 0.0, 1.0)
    return normals.astype(np.float32)
