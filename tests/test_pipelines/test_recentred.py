"""Poses far from the origin of their world, as in UTM coordinates: the same map as without the offset."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import sequence_folders as folders

from mapping.mesh.io import read_mesh
from pipelines import open_sequence, run
from pipelines.config import config_from_mapping
from pipelines.exports.exporters import export_run
from pipelines.loading import CachedSequence
from pipelines.recentred import as_given, origin_of, recentred
from pipelines.sequences.colmap_points import sparse_points_of
from pipelines.settings import PipelineConfig
from scenegraph.files.json_io import load_scene_graph

OFFSET = np.array([500_000.0, 5_400_000.0, 0.0])
COUNT = 6


def mapped(folder: Path, offset: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Vertices of the mesh of the room at an offset, `T_input_world`, and the positions of the cameras in the map."""
    poses = folders.room_poses(COUNT, turn_deg=40)
    stored = poses.copy()
    stored[:, :3, 3] += offset
    folders.write_room(folder / "room", stored, poses)
    (folder / "room/m2h.yaml").write_text("world_up: [0, 0, 1]\n")
    settings = {"tsdf": {"voxel_size": 0.1}, "check": {"trust": True}}
    config = config_from_mapping(PipelineConfig, settings, "test")
    run(open_sequence(folder / "room"), folder / "run", config=config, until="graph")
    T = np.array(json.loads((folder / "run/levelling.json").read_text())["T_input_world"])
    np.testing.assert_allclose(load_scene_graph(folder / "run/scene_graph.json").T_input_world, T, atol=1e-8)
    cameras = np.loadtxt(folder / "run/trajectory.tum")[:, 1:4]
    back = cameras @ T[:3, :3].T + T[:3, 3]
    np.testing.assert_allclose(back, stored[:, :3, 3], atol=1e-5)
    return np.asarray(read_mesh(folder / "run/mesh.ply").vertices, dtype=np.float64), T, cameras


def test_a_room_in_utm_coordinates_is_mapped_as_at_the_origin(tmp_path: Path) -> None:
    near, T_near, _ = mapped(tmp_path / "near", np.zeros(3))
    far, T_far, cameras = mapped(tmp_path / "far", OFFSET)
    assert len(near) == len(far)
    np.testing.assert_allclose(far, near, atol=1e-4)
    np.testing.assert_allclose(T_far[:3, :3], T_near[:3, :3], atol=1e-8)
    np.testing.assert_allclose(T_far[:3, 3] - T_near[:3, 3], OFFSET, atol=1e-7)
    assert np.abs(cameras).max() < 10


def points_of_glb(file: Path) -> np.ndarray:
    """(N, 3) the positions of all nodes of a GLB file in the order of its chunks."""
    data = file.read_bytes()
    size = int.from_bytes(data[12:16], "little")
    document, binary = json.loads(data[20 : 20 + size]), data[28 + size :]
    assert not any(key in node for node in document["nodes"] for key in ("matrix", "translation", "scale"))
    points = []
    for mesh in document["meshes"]:
        for primitive in mesh["primitives"]:
            accessor = document["accessors"][primitive["attributes"]["POSITION"]]
            view = document["bufferViews"][accessor["bufferView"]]
            start = view.get("byteOffset", 0) + accessor.get("byteOffset", 0)
            count = 3 * accessor["count"]
            points.append(np.frombuffer(binary, "<f4", count, start).reshape(-1, 3))
    return np.concatenate(points).astype(np.float64)


def points_of_dsg(file: Path) -> np.ndarray:
    return np.array(json.loads(file.read_text())["mesh"]["points"])


def test_exported_meshes_of_utm_coordinates_are_as_sharp_as_at_the_origin(tmp_path: Path) -> None:
    """Single precision at 5400 km has steps of half a metre."""
    for name, offset in (("near", np.zeros(3)), ("far", OFFSET)):
        mapped(tmp_path / name, offset)
        export_run(tmp_path / name / "run", "glb", tmp_path / name / "out.glb")
        export_run(tmp_path / name / "run", "spark_dsg", tmp_path / name / "out.json")
    for names, read in ((("run/mesh.glb", "out.glb"), points_of_glb), (("run/dsg.json", "out.json"), points_of_dsg)):
        for name in names:
            near, far = read(tmp_path / "near" / name), read(tmp_path / "far" / name)
            assert len(near) > 1000
            np.testing.assert_allclose(
                far, near, atol=1.1e-3 if read is points_of_dsg else 1e-4
            )  # it has whole millimetres


def test_only_far_sequences_are_recentred_and_the_files_poses_stay_known(tmp_path: Path) -> None:
    poses = folders.room_poses(COUNT)
    folders.write_room(tmp_path / "near", poses, poses)
    near = open_sequence(tmp_path / "near")
    assert recentred(near) is near
    assert as_given(near) is near
    np.testing.assert_array_equal(origin_of(near), 0)
    stored = poses.copy()
    stored[:, :3, 3] += OFFSET + np.array([123.0, -77.0, 12.0])
    folders.write_room(tmp_path / "far", stored, poses)
    given = open_sequence(tmp_path / "far")
    far = recentred(given)
    assert as_given(far) is given
    np.testing.assert_array_equal(origin_of(CachedSequence(far)), OFFSET)
    np.testing.assert_allclose(far[2].T_world_camera[:3, 3], poses[2, :3, 3] + [123.0, -77.0, 12.0], atol=1e-8)
    np.testing.assert_array_equal(far[2].T_world_camera, far.infos[2].T_world_camera)
    np.testing.assert_allclose(given[2].T_world_camera, stored[2], rtol=1e-12)


def test_sparse_points_follow(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folders.write_colmap_text(tmp_path)
    (tmp_path / "sparse/0/points3D.txt").write_text("5 2001.0 2.0 3.0 9 9 9 0.5 1 0 2 0 3 1\n")
    sequence = recentred(open_sequence(tmp_path))
    points = sparse_points_of(sequence)
    assert points is not None
    np.testing.assert_array_equal(points.positions, [[2001.0, 2.0, 3.0]])
    monkeypatch.setattr(sequence, "origin", np.array([2000.0, 0.0, 0.0]), raising=False)
    points = sparse_points_of(sequence)
    assert points is not None
    np.testing.assert_array_equal(points.positions, [[1.0, 2.0, 3.0]])
