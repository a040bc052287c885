"""Export then import is the identity; files of other tools are read; broken ones are refused in one line."""

from __future__ import annotations

import json
import struct

import numpy as np
import pytest
import trimesh
from helpers import box_mesh, sphere_mesh

from mapping.mesh.glb import GlbNode, write_glb
from mapping.mesh.io import WRITERS, read_mesh, write_mesh
from mapping.mesh.mesh import Mesh, MeshFormatError

FIELDS = ("vertices", "faces", "colors", "labels", "objects", "confidence")


def full_mesh() -> Mesh:
    rng, ball = np.random.default_rng(0), sphere_mesh(subdivisions=1)
    count = len(ball.vertices)
    return Mesh(
        ball.vertices + 1 / 3,
        ball.faces,
        rng.integers(0, 256, (count, 3)).astype(np.uint8),
        rng.integers(0, 65536, count).astype(np.uint16),
        rng.integers(0, 2**32, count).astype(np.uint32),
        rng.random(count).astype(np.float32),
    )


def assert_same_mesh(a: Mesh, b: Mesh) -> None:
    for name in FIELDS:
        left, right = getattr(a, name), getattr(b, name)
        assert (left is None) == (right is None), name
        if left is not None:
            np.testing.assert_array_equal(left, right, err_msg=name)


@pytest.mark.parametrize(
    "kept", [(), ("colors",), ("labels", "objects"), ("colors", "labels", "objects", "confidence")]
)
def test_ply_gives_back_every_bit(tmp_path, kept):
    mesh = full_mesh()
    mesh = Mesh(mesh.vertices, mesh.faces, **{name: getattr(mesh, name) for name in kept})
    write_mesh(mesh, tmp_path / "a.ply")
    assert_same_mesh(read_mesh(tmp_path / "a.ply"), mesh)


def test_ply_instances_of_ground_truth(tmp_path):
    mesh = full_mesh()
    small = Mesh(mesh.vertices, mesh.faces, objects=mesh.objects % 65536)
    write_mesh(small, tmp_path / "a.ply", object_property="instance")
    assert b"property ushort instance\n" in (tmp_path / "a.ply").read_bytes()
    assert_same_mesh(read_mesh(tmp_path / "a.ply"), small)
    with pytest.raises(ValueError, match="below 65536"):
        write_mesh(mesh, tmp_path / "a.ply", object_property="instance")


@pytest.mark.parametrize("suffix", sorted(WRITERS))
def test_empty_mesh_is_written(tmp_path, suffix):
    write_mesh(Mesh.empty(), tmp_path / f"a{suffix}")
    if suffix == ".ply":
        assert_same_mesh(read_mesh(tmp_path / "a.ply"), Mesh.empty())


@pytest.mark.parametrize("suffix", sorted(WRITERS))
def test_same_mesh_gives_the_same_bytes_and_leaves_no_other_file(tmp_path, suffix):
    for name in ("a", "b"):
        write_mesh(full_mesh(), tmp_path / f"{name}{suffix}")
    assert (tmp_path / f"a{suffix}").read_bytes() == (tmp_path / f"b{suffix}").read_bytes()
    assert len(list(tmp_path.iterdir())) == 2


@pytest.mark.parametrize("suffix", sorted(WRITERS))
def test_trimesh_reads_the_same_shape_and_colours(tmp_path, suffix):
    mesh = full_mesh()
    write_mesh(mesh, tmp_path / f"a{suffix}")
    other = trimesh.load(tmp_path / f"a{suffix}", process=False, force="mesh")
    expected = mesh.vertices
    if suffix == ".glb":
        expected = mesh.vertices[:, [0, 2, 1]] * [1, 1, -1]  # (x, y, z) with z up is (x, z, -y) with y up
    np.testing.assert_allclose(other.vertices, expected, atol=1e-6)
    np.testing.assert_array_equal(other.faces, mesh.faces)
    if suffix != ".glb":  # trimesh drops vertex colours where there is a material
        np.testing.assert_array_equal(other.visual.vertex_colors[:, :3], mesh.colors)


def ply(header: str, body: bytes | str) -> bytes:
    return ("ply\n" + header.strip() + "\nend_header\n").encode() + (body.encode() if isinstance(body, str) else body)


ASCII_QUADS = ply(
    """
format ascii 1.0
comment made by hand
obj_info nothing
element camera 1
property float focal
element vertex 5
property float x
property float y
property float z
property float nx
property float red
property float green
property float blue
property int instance
property uchar label
element face 2
property list uchar int vertex_index
""",
    """525
0 0 0 9 1 0 0 0 1
1 0 0 9 0 1 0 7 2
1 1 0 9 0 0 1 7 2
0 1 0 9 0.5 0.5 0.5 7 3
0 0 1 9 2.0 -1 0 7 255
4 0 1 2 3
3 0 1 4
""",
)


def test_ascii_ply_of_other_tools(tmp_path):
    (tmp_path / "a.ply").write_bytes(ASCII_QUADS)
    mesh = read_mesh(tmp_path / "a.ply")
    assert mesh.vertices.tolist() == [[0, 0, 0], [1, 0, 0], [1, 1, 0], [0, 1, 0], [0, 0, 1]]
    assert mesh.faces.tolist() == [[0, 1, 2], [0, 2, 3], [0, 1, 4]]
    assert mesh.colors.tolist() == [[255, 0, 0], [0, 255, 0], [0, 0, 255], [128, 128, 128], [255, 0, 0]]
    assert mesh.objects.tolist() == [0, 7, 7, 7, 7]
    assert mesh.labels.tolist() == [1, 2, 2, 3, 255]


@pytest.mark.parametrize("order", ["little", "big"])
@pytest.mark.parametrize("polygons", [[(0, 1, 2), (0, 2, 3)], [(0, 1, 2, 3)], [(0, 1, 2), (0, 1, 2, 3), (1, 2)]])
def test_binary_ply_of_other_tools(tmp_path, order, polygons):
    mark = "<" if order == "little" else ">"
    header = f"""
format binary_{order}_endian 1.0
element vertex 4
property float32 x
property float32 y
property float32 z
property uint8 r
property uint8 g
property uint8 b
property list uint8 float32 texture
element face {len(polygons)}
property uchar flags
property list uint32 int32 vertex_indices
property double quality
element edge 1
property int vertex1
"""
    corners = [(0, 0, 0), (1, 0, 0), (1, 1, 0), (0, 1, 0)]
    body = b"".join(struct.pack(mark + "3f3BBf", *corner, 1, 2, 3, 1, 0.5) for corner in corners)
    for polygon in polygons:
        body += struct.pack(f"{mark}BI{len(polygon)}id", 9, len(polygon), *polygon, 0.25)
    (tmp_path / "a.ply").write_bytes(ply(header, body + struct.pack(mark + "i", 3)))
    mesh = read_mesh(tmp_path / "a.ply")
    assert mesh.vertices.tolist() == [list(map(float, corner)) for corner in corners]
    assert mesh.colors.tolist() == [[1, 2, 3]] * 4
    triangles = [[p[0], p[i], p[i + 1]] for p in polygons for i in range(1, len(p) - 1)]
    assert mesh.faces.tolist() == triangles


def test_ply_point_cloud_has_no_faces(tmp_path):
    header = "format ascii 1.0\nelement vertex 1\nproperty double x\nproperty double y\nproperty double z"
    (tmp_path / "a.ply").write_bytes(ply(header, "1 2 3\n").replace(b"\n", b"\r\n"))
    mesh = read_mesh(tmp_path / "a.ply")
    assert mesh.vertices.tolist() == [[1, 2, 3]]
    assert mesh.faces.shape == (0, 3)


def test_open3d_files_are_read(tmp_path):
    import open3d as o3d

    box = box_mesh()
    other = o3d.geometry.TriangleMesh(o3d.utility.Vector3dVector(box.vertices), o3d.utility.Vector3iVector(box.faces))
    other.paint_uniform_color([1.0, 0.0, 0.2])
    other.compute_vertex_normals()
    for ascii_ in (False, True):
        o3d.io.write_triangle_mesh(str(tmp_path / "a.ply"), other, write_ascii=ascii_)
        mesh = read_mesh(tmp_path / "a.ply")
        np.testing.assert_array_equal(mesh.vertices, box.vertices)
        np.testing.assert_array_equal(mesh.faces, box.faces)
        assert mesh.colors.tolist() == [[255, 0, 51]] * 8


XYZ = "element vertex 1\nproperty float x\nproperty float y\nproperty float z\n"
ASCII = "format ascii 1.0\n"


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"solid cube\n", "not a PLY file"),
        (b"", "not a PLY file"),
        (b"ply\nformat ascii 1.0\n", "without end_header"),
        (ply("element vertex 0", ""), "without a format line"),
        (ply("format ascii 2.0 beta", ""), "header line 2: expected format"),
        (ply(ASCII + "element vertex many", ""), "header line 3: expected format, element or property"),
        (ply(ASCII + "property float x", ""), "header line 3: expected format, element or property"),
        (ply(ASCII + "element vertex 1\nproperty half x", "0"), "header line 4: expected 'property"),
        (ply(ASCII + "element vertex 1\nproperty list float int x", "0"), "header line 4: expected 'property"),
        (ply(ASCII + XYZ + "property float x", "0 0 0 0"), "property x is declared twice"),
        (ply(ASCII + "element vertex 1\nproperty float x", "0"), "expected an element vertex with x, y and z"),
        (ply(ASCII + XYZ, "0 0"), "truncated: 1 vertex rows of 3 numbers"),
        (ply(ASCII + XYZ, "0 0 zero"), "body must be numbers"),
        (ply(ASCII + XYZ, "0 0 nan"), "coordinates must be finite"),
        (ply(ASCII + XYZ + "property int label", "0 0 0 -1"), "label must be whole numbers in 0..65535, got -1"),
        (ply(ASCII + XYZ + "property float label", "0 0 0 0.5"), "label must be whole numbers"),
        (
            ply(ASCII + XYZ + "element face 1\nproperty list uchar int vertex_indices", "0 0 0 3 0 0 1"),
            "index 1 vertices",
        ),
        (
            ply(ASCII + XYZ + "element face 1\nproperty list uchar int vertex_indices", "0 0 0 3 0"),
            "truncated in element face",
        ),
        (
            ply(ASCII + XYZ + "element face 1\nproperty list uchar int vertex_indices", "0 0 0"),
            "truncated in element face",
        ),
        (ply(ASCII + XYZ + "element face 1\nproperty int v1", "0 0 0 3"), "expected faces with a list"),
        (
            ply(ASCII + XYZ + "element fa\0ce 1\nproperty list uchar int vertex_indices", "0 0 0 3 0 0 0"),
            r"expected lists of an element face, got those of 'fa\\x00ce'",
        ),
        (ply(ASCII + XYZ, "0 0 0 1 1 1"), "3 numbers follow what the header announces"),
        (
            ply("format binary_little_endian 1.0\n" + XYZ, bytes(12) + b"more"),
            "4 bytes follow what the header announces",
        ),
        (
            ply("format binary_little_endian 1.0\n" + XYZ, b"12345678"),
            "truncated: 1 vertex rows need 12 bytes, 8 are left",
        ),
    ],
)
def test_broken_ply_is_refused(tmp_path, content, message):
    (tmp_path / "a.ply").write_bytes(content)
    with pytest.raises(MeshFormatError, match=message) as caught:
        read_mesh(tmp_path / "a.ply")
    assert str(caught.value).startswith(str(tmp_path / "a.ply"))
    assert "\n" not in str(caught.value)


def test_ply_cut_anywhere_is_refused(tmp_path):
    write_mesh(box_mesh(), tmp_path / "a.ply")
    data = (tmp_path / "a.ply").read_bytes()
    for end in range(0, len(data), 7):
        (tmp_path / "cut.ply").write_bytes(data[:end])
        with pytest.raises(MeshFormatError):
            read_mesh(tmp_path / "cut.ply")


def test_unknown_suffix_and_missing_file(tmp_path):
    with pytest.raises(MeshFormatError, match=r"meshes are read from \.ply, got '\.stl'"):
        read_mesh(tmp_path / "a.stl")
    with pytest.raises(MeshFormatError, match="got 'no suffix'"):
        write_mesh(box_mesh(), tmp_path / "a")
    with pytest.raises(FileNotFoundError, match="no such mesh file"):
        read_mesh(tmp_path / "a.ply")


def parse_glb(data: bytes) -> tuple[dict, bytes]:
    """The two chunks by the layout of the specification."""
    magic, version, length = struct.unpack_from("<4sII", data, 0)
    assert (magic, version, length) == (b"glTF", 2, len(data))
    json_length, json_type = struct.unpack_from("<I4s", data, 12)
    assert json_type == b"JSON"
    assert json_length % 4 == 0
    document = json.loads(data[20 : 20 + json_length])
    if len(data) == 20 + json_length:
        return document, b""
    bin_length, bin_type = struct.unpack_from("<I4s", data, 20 + json_length)
    assert bin_type == b"BIN\0"
    assert bin_length % 4 == 0
    return document, data[28 + json_length : 28 + json_length + bin_length]


def accessor(document: dict, body: bytes, index: int) -> np.ndarray:
    entry = document["accessors"][index]
    view = document["bufferViews"][entry["bufferView"]]
    dtype = {5126: "<f4", 5123: "<u2", 5125: "<u4"}[entry["componentType"]]
    width = {"SCALAR": 1, "VEC3": 3, "VEC4": 4}[entry["type"]]
    assert view["byteOffset"] % 4 == 0
    assert view["byteLength"] == entry["count"] * width * int(dtype[2])
    return np.frombuffer(body, dtype, entry["count"] * width, view["byteOffset"]).reshape(entry["count"], width)


def test_glb_by_its_bytes(tmp_path):
    red = Mesh(
        np.array([[0, 0, 0], [1, 0, 0], [0, 2, 3.0]]), np.array([[0, 1, 2]], np.int32), np.uint8([[255, 0, 128]] * 3)
    )
    nodes = [
        GlbNode("O1", red, {"id": "O1", "label": "chair", "room": "R0", "confidence": 0.5}),
        GlbNode("O2", red, matte=True),
        GlbNode("R0", None, {"label": "kitchen"}),
    ]
    write_glb(tmp_path / "a.glb", nodes)
    document, body = parse_glb((tmp_path / "a.glb").read_bytes())
    assert document["asset"]["version"] == "2.0"
    root = document["nodes"][document["scenes"][document["scene"]]["nodes"][0]]
    np.testing.assert_allclose(root["rotation"], [-np.sqrt(0.5), 0, 0, np.sqrt(0.5)])
    children = [document["nodes"][i] for i in root["children"]]
    assert [child["name"] for child in children] == ["O1", "O2", "R0"]
    assert children[0]["extras"] == {"id": "O1", "label": "chair", "room": "R0", "confidence": 0.5}
    assert "mesh" not in children[2]
    primitive = document["meshes"][children[0]["mesh"]]["primitives"][0]
    np.testing.assert_array_equal(accessor(document, body, primitive["attributes"]["POSITION"]), red.vertices)
    position = document["accessors"][primitive["attributes"]["POSITION"]]
    assert (position["min"], position["max"]) == ([0, 0, 0], [1, 2, 3])
    np.testing.assert_array_equal(accessor(document, body, primitive["indices"]).ravel(), [0, 1, 2])
    # sRGB 128 is linear 0.2158605 (IEC 61966-2-1).
    colors = accessor(document, body, primitive["attributes"]["COLOR_0"])
    assert document["accessors"][primitive["attributes"]["COLOR_0"]]["normalized"] is True
    np.testing.assert_array_equal(colors, [[65535, 0, round(0.2158605 * 65535), 65535]] * 3)
    unlit, matte = (document["materials"][document["meshes"][i]["primitives"][0]["material"]] for i in (0, 1))
    assert unlit["extensions"] == {"KHR_materials_unlit": {}}
    assert document["extensionsUsed"] == ["KHR_materials_unlit"]
    assert unlit["doubleSided"]
    assert matte["doubleSided"]
    assert "extensions" not in matte
    assert matte["pbrMetallicRoughness"]["metallicFactor"] == 0.0
    assert "NORMAL" in document["meshes"][1]["primitives"][0]["attributes"]
    assert document["buffers"][0]["byteLength"] == len(body)


def test_glb_names_and_extras_arrive_in_trimesh(tmp_path):
    write_glb(tmp_path / "a.glb", [GlbNode("O1", box_mesh(), {"label": "box"}), GlbNode("O2", sphere_mesh(0.1))])
    scene = trimesh.load(tmp_path / "a.glb")
    assert set(scene.geometry) == {"O1", "O2"}
    assert scene.geometry["O1"].is_watertight
    edges = {child: data for (_, child), data in scene.graph.transforms.edge_data.items()}
    assert edges["O1"]["metadata"] == {"label": "box"}


def test_glb_of_many_vertices_uses_wide_indices(tmp_path):
    count = 70000
    mesh = Mesh(np.random.default_rng(0).normal(size=(count, 3)), np.array([[0, 1, count - 1]], np.int32))
    write_mesh(mesh, tmp_path / "a.glb")
    document, body = parse_glb((tmp_path / "a.glb").read_bytes())
    indices = document["meshes"][0]["primitives"][0]["indices"]
    assert accessor(document, body, indices).ravel().tolist() == [0, 1, count - 1]


def test_glb_without_nodes(tmp_path):
    write_glb(tmp_path / "a.glb", [])
    document, body = parse_glb((tmp_path / "a.glb").read_bytes())
    assert (len(document["nodes"]), body) == (1, b"")


@pytest.mark.parametrize("extras", [{"a": float("nan")}, {"a": np.zeros(3)}])
def test_glb_extras_must_be_json(tmp_path, extras):
    with pytest.raises(ValueError, match="extras of a node must be plain JSON"):
        write_glb(tmp_path / "a.glb", [GlbNode("O1", None, extras)])
    assert not (tmp_path / "a.glb").exists()
