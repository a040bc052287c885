"""COLMAP and nerfstudio folders of a run, opened by pycolmap, by a JSON schema and by the project's own readers."""

import json
import shutil

import jsonschema
import numpy as np
import pycolmap
import pytest
from helpers import m2h

from mapping.mesh.io import read_mesh
from mapping.mesh.raycast import MeshCaster
from mapping.se3 import rotation_from_quat_xyzw
from pipelines.exports.export_input import ExportError, ExportOptions
from pipelines.exports.exporters import export_run
from pipelines.sequences.detect import open_sequence
from scenegraph import load_scene_graph

MATRIX = {
    "type": "array",
    "minItems": 4,
    "maxItems": 4,
    "items": {"type": "array", "minItems": 4, "maxItems": 4, "items": {"type": "number"}},
}
NERFSTUDIO = {
    "type": "object",
    "required": ["camera_model", "fl_x", "fl_y", "cx", "cy", "w", "h", "frames", "ply_file_path"],
    "properties": {
        "camera_model": {"enum": ["OPENCV", "PINHOLE"]},
        **{name: {"type": "number"} for name in ("fl_x", "fl_y", "cx", "cy", "k1", "k2", "p1", "p2")},
        "w": {"type": "integer"},
        "h": {"type": "integer"},
        "ply_file_path": {"type": "string"},
        "frames": {
            "type": "array",
            "minItems": 1,
            "items": {
                "type": "object",
                "required": ["file_path", "transform_matrix"],
                "properties": {
                    "file_path": {"type": "string"},
                    "transform_matrix": MATRIX,
                    "depth_file_path": {"type": "string"},
                    "mask_path": {"type": "string"},
                },
            },
        },
    },
}
"""What nerfstudio's documentation asks of a transforms.json ("Using custom data")."""


@pytest.fixture(scope="module")
def colmap(box_run, tmp_path_factory):
    out = tmp_path_factory.mktemp("colmap") / "project"
    m2h("export", box_run, out, "--to", "colmap")
    return out


def test_pycolmap_reads_the_model(colmap, box_run, box_room):
    model = pycolmap.Reconstruction(str(colmap / "sparse" / "0"))
    assert model.num_images() == 30
    (camera,) = model.cameras.values()
    assert (camera.model.name, camera.width, camera.height) == ("PINHOLE", 160, 120)
    assert camera.params.tolist() == [90.0, 90.0, 80.0, 60.0]
    agent = next(node for _, node in load_scene_graph(box_run / "scene_graph.json").nodes("agent"))
    first = model.images[1]
    assert first.projection_center() == pytest.approx(agent.position, abs=1e-3)
    T_camera_world = first.cam_from_world().matrix()
    expected = rotation_from_quat_xyzw(agent.rotation_xyzw).T
    assert T_camera_world[:, :3] == pytest.approx(expected, abs=1e-4)
    for image in model.images.values():
        original = box_room / "images" / image.name
        assert (colmap / "images" / image.name).read_bytes() == original.read_bytes()


def test_points_lie_on_the_surface_where_the_images_show_them(colmap, box_run):
    model = pycolmap.Reconstruction(str(colmap / "sparse" / "0"))
    points = np.array([point.xyz for point in model.points3D.values()])
    assert len(points) > 1000
    assert MeshCaster(read_mesh(box_run / "mesh.ply")).distance(points).max() < 1e-3
    assert all(point.track.length() > 0 for point in model.points3D.values())
    errors = []
    for image in model.images.values():
        for seen in image.get_observation_points2D():
            errors.append(np.abs(image.project_point(model.points3D[seen.point3D_id].xyz) - seen.xy).max())
    assert len(errors) > 10_000
    assert max(errors) < 1e-6


def test_the_project_is_read_as_a_sequence(colmap, box_run):
    sequence = open_sequence(colmap)
    graph = load_scene_graph(box_run / "scene_graph.json")
    assert sequence.format == "colmap"
    first = next(node for _, node in graph.nodes("agent"))
    assert sequence.infos[0].T_world_camera[:3, 3] == pytest.approx(first.position, abs=1e-3)


def test_the_nerfstudio_folder_is_one(box_run, box_room, tmp_path):
    out = tmp_path / "folder"
    m2h("export", box_run, out, "--to", "nerfstudio")
    header = json.loads((out / "transforms.json").read_text())
    jsonschema.validate(header, NERFSTUDIO)
    for entry in header["frames"]:
        for name in ("file_path", "depth_file_path", "semantics_file_path"):
            assert (out / entry[name]).is_file()
        assert (out / entry["file_path"]).read_bytes() == (box_room / entry["file_path"]).read_bytes()
    again, given = open_sequence(out), open_sequence(box_room)
    T = load_scene_graph(box_run / "scene_graph.json").T_input_world
    assert again.is_metric
    for a, b in zip(again.infos, given.infos, strict=True):
        assert T @ a.T_world_camera == pytest.approx(b.T_world_camera, abs=1e-6)
        assert a.timestamp == b.timestamp
    points = read_mesh(out / header["ply_file_path"])
    assert len(points.vertices) > 1000
    assert MeshCaster(read_mesh(box_run / "mesh.ply")).distance(points.vertices).max() < 1e-3


def test_a_second_export_replaces_the_first_and_no_other_folder(box_run, box_room, tmp_path):
    run = tmp_path / "run"
    shutil.copytree(box_run, run)
    m2h("export", run, "--to", "nerfstudio")
    (run / "export" / "nerfstudio" / "old").write_text("")
    m2h("export", run, "--to", "nerfstudio")
    assert not (run / "export" / "nerfstudio" / "old").exists()
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "file").write_text("")
    text = m2h("export", run, tmp_path / "mine", "--to", "colmap", code=1).stderr
    assert text == f"m2h: {tmp_path / 'mine'}: already exists; --to colmap writes a new folder\n"


def test_a_recording_that_has_moved_is_named(box_run, box_room, tmp_path):
    run, moved = tmp_path / "run", tmp_path / "moved"
    shutil.copytree(box_run, run)
    shutil.copytree(box_room, moved)
    manifest = (run / "manifest.json").read_text().replace(str(box_room.resolve()), str(tmp_path / "gone"))
    (run / "manifest.json").write_text(manifest)
    with pytest.raises(ExportError, match="gone: no such file or folder; --sequence PATH says where"):
        export_run(run, "colmap", tmp_path / "a")
    assert not (tmp_path / "a").exists()
    export_run(run, "colmap", tmp_path / "a", ExportOptions(sequence=moved))
    assert pycolmap.Reconstruction(str(tmp_path / "a" / "sparse" / "0")).num_images() == 30


def test_another_recording_is_refused(box_run, box_room, tmp_path):
    other = tmp_path / "other"
    shutil.copytree(box_room, other)
    header = json.loads((other / "transforms.json").read_text())
    for frame in header["frames"]:
        frame["transform_matrix"][0][3] += 0.1
    (other / "transforms.json").write_text(json.dumps(header))
    with pytest.raises(ExportError, match="is not the recording of"):
        export_run(box_run, "nerfstudio", tmp_path / "a", ExportOptions(sequence=other))


def test_a_changed_recording_is_refused(box_run, box_room, tmp_path):
    run, moved = tmp_path / "run", tmp_path / "moved"
    shutil.copytree(box_run, run)
    shutil.copytree(box_room, moved)
    manifest = (run / "manifest.json").read_text().replace(str(box_room.resolve()), str(moved))
    (run / "manifest.json").write_text(manifest)
    (moved / "images" / "000003.png").write_bytes(b"")
    with pytest.raises(ExportError, match="was changed since"):
        export_run(run, "colmap", tmp_path / "a")


def test_a_map_of_several_recordings_has_none_of_its_own(box_run, tmp_path):
    run = tmp_path / "run"
    shutil.copytree(box_run, run)
    text = (run / "manifest.json").read_text()
    (run / "manifest.json").write_text(text.replace('"format": "nerfstudio"', '"format": "merge"'))
    with pytest.raises(ExportError, match="has no recording of its own"):
        export_run(run, "colmap", tmp_path / "a")
