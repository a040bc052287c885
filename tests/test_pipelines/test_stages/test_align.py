"""The alignment stage of a run: what it finds, writes, leaves alone and says."""

from __future__ import annotations

import json
import struct
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import sequence_folders as folders
from box_room import ROOM_SIZE, write_box_room
from scipy.spatial.transform import Rotation

from m2h import Predictions
from mapping.depth.correction import DepthField
from mapping.se3 import inverse, transform_points
from mapping.tsdf.volume import TSDFVolume
from pipelines.config import config_from_mapping
from pipelines.frame import SequenceError
from pipelines.images import write_png
from pipelines.pipeline import run
from pipelines.sequences.colmap_points import read_sparse_points
from pipelines.sequences.detect import open_sequence
from pipelines.settings import PipelineConfig
from pipelines.sources.predictions import write_predictions
from pipelines.sources.source import DepthOrigin, Source
from pipelines.stages.align import align
from pipelines.stages.alignment_file import (
    Alignment,
    AlignmentFileError,
    FrameAlignment,
    read_alignment,
    write_alignment,
)
from scenegraph.labels import nyu40

FRAMES = 20
QUICK = {"tsdf": {"voxel_size": 0.1}}


@pytest.fixture(scope="module")
def degraded(tmp_path_factory):
    """A room whose predicted depth has another scale in every frame: its folder, that of the predictions, the scales."""
    root = tmp_path_factory.mktemp("degraded")
    write_box_room(root / "room", frames=FRAMES)
    scales = np.exp(np.random.default_rng(0).normal(0, 0.05, FRAMES)).astype(np.float32)
    sequence = open_sequence(root / "room")
    (root / "predictions").mkdir()
    for i, scale in enumerate(scales):
        seen = sequence[i].recorded
        write_predictions(root / "predictions", i, replace(seen, depth=seen.depth * scale))
    (root / "predictions" / "predictions.yaml").write_text("labels: exact\n")
    return root, scales


def aligned_run(degraded, out, source="precomputed", **align):
    root, _ = degraded
    config = config_from_mapping(PipelineConfig, {**QUICK, "align": align}, "test")
    spec = f"precomputed:{root / 'predictions'}" if source == "precomputed" else source
    return run(open_sequence(root / "room"), out, source=spec, config=config, until="fuse")


def test_scales_of_predicted_depth_are_found(degraded, tmp_path):
    summary = aligned_run(degraded, tmp_path)["stages"]["align"]["summary"]
    alignment = read_alignment(tmp_path / "alignment.json")
    found = np.array([alignment.frames[i].field.scale for i in range(FRAMES)])
    residue = np.log(found * degraded[1])
    assert residue.std() < 0.012
    assert abs(np.median(residue)) < 0.02
    assert summary["applied"]
    assert summary["frames"] == FRAMES
    assert summary["scale_spread"] == pytest.approx(np.log(degraded[1]).std(), abs=0.01)
    assert summary["residual"] < 0.01


def test_fusion_uses_the_corrections(degraded, tmp_path):
    for mode, closed in (("on", True), ("off", False)):
        out = tmp_path / mode
        aligned_run(degraded, out, mode=mode)
        mesh = TSDFVolume.load(out / "volume.npz").extract_mesh(min_weight=0.05)
        # The walls of the room are at x = -2 and 2 in the sequence's world, which is level already.
        side = np.abs(mesh.vertices[np.abs(np.abs(mesh.vertices[:, 0]) - 2) < 0.3, 0])
        assert (np.median(np.abs(side - 2)) < 0.03) == closed


def test_recorded_depth_is_left_alone_unless_asked_for(degraded, tmp_path):
    manifest = aligned_run(degraded, tmp_path / "auto", source="recorded")
    assert manifest["stages"]["align"]["summary"]["applied"] is False
    assert read_alignment(tmp_path / "auto" / "alignment.json").frames == {}
    manifest = aligned_run(degraded, tmp_path / "on", source="recorded", mode="on")
    assert manifest["stages"]["align"]["summary"]["scale_spread"] < 0.01


def test_file_keeps_what_was_written(tmp_path):
    path = tmp_path / "alignment.json"
    assert read_alignment(path) == Alignment()
    nodes = np.array([[0.01, -0.02], [0.03, 0.0]])
    frames = {
        3: FrameAlignment(DepthField(nodes, 0.01), 0.02, 17, True),
        1: FrameAlignment(DepthField(np.zeros((1, 1)))),
    }
    write_alignment(path, Alignment(frames, 2.5))
    back = read_alignment(path)
    assert back.pose_scale == 2.5
    np.testing.assert_array_equal(back.frames[3].field.nodes, nodes)
    assert (back.frames[3].field.shift, back.frames[3].residual) == (0.01, 0.02)
    assert (back.frames[3].matches, back.frames[3].outlier) == (17, True)
    assert back.frames[1].residual is None
    T = np.eye(4)
    T[:3, 3] = 1, 2, 3
    assert back.metric_pose(T)[:3, 3].tolist() == [2.5, 5.0, 7.5]
    seen = Predictions(np.full((2, 2), 2, np.float32))
    assert back.corrected(1, seen).depth.tolist() == [[2, 2], [2, 2]]
    assert back.corrected(9, seen) is seen


@pytest.mark.parametrize(("depth_from", "depth"), [(DepthOrigin.POSES, 4.0), (DepthOrigin.SENSOR, 2.0)])
def test_depth_from_poses_is_brought_to_metres_with_them(tmp_path, depth_from, depth):
    context = SimpleNamespace(
        path=lambda file: tmp_path / file,
        config=config_from_mapping(PipelineConfig, {"align": {"pose_scale": 2.0}}, "test"),
        source=Source("any", lambda frame: Predictions(), "", nyu40(), depth_from),
    )
    assert align(context).summary["applied"] is False
    found = read_alignment(tmp_path / "alignment.json")
    assert found.pose_scale == 2.0
    assert found.corrected(0, Predictions(np.full((1, 2), 2, np.float32))).depth.tolist() == [[depth, depth]]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"format": "other"}, "expected format m2h-alignment"),
        ({"pose_scale": 0}, "pose_scale must be a positive number"),
        ({"depth_scale": -1}, "depth_scale must be a positive number"),
        ({"frames": [{"index": 0}]}, "not as written"),
    ],
)
def test_broken_files_are_named(tmp_path, change, message):
    path = tmp_path / "alignment.json"
    write_alignment(path, Alignment())
    path.write_text(json.dumps({**json.loads(path.read_text()), **change}))
    with pytest.raises(AlignmentFileError, match=message):
        read_alignment(path)
    path.write_text("{")
    with pytest.raises(AlignmentFileError, match="not readable as JSON"):
        read_alignment(path)


def write_colmap_room(degraded, folder, unit, *, points):
    """The room as COLMAP would give it: poses in units of `unit` metres, and sparse points that three images saw."""
    sequence = open_sequence(degraded[0] / "room")
    (folder / "sparse/0").mkdir(parents=True)
    (folder / "images").mkdir()
    rng, images, lines = np.random.default_rng(5), [], []
    camera = sequence[0].intrinsics
    for i in range(FRAMES):
        frame = sequence[i]
        write_png(folder / f"images/{i:03d}.png", frame.rgb)
        T = inverse(frame.T_world_camera)
        x, y, z, w = Rotation.from_matrix(T[:3, :3]).as_quat()
        numbers = " ".join(repr(float(v)) for v in (w, x, y, z, *(T[:3, 3] / unit)))
        images += [f"{i + 1} {numbers} 1 {i:03d}.png", ""]
        seen = (frame.intrinsics.rays() * frame.recorded.depth[..., None]).reshape(-1, 3)
        for point in transform_points(frame.T_world_camera, rng.choice(seen, 60)) / unit:
            track = " ".join(f"{(i + k) % FRAMES + 1} {k}" for k in range(3))
            lines.append(f"{len(lines)} {point[0]} {point[1]} {point[2]} 9 9 9 0.5 {track}")
    (folder / "sparse/0/images.txt").write_text("\n".join(images) + "\n")
    size = f"{camera.width} {camera.height}"
    intrinsics = f"{camera.fx} {camera.fy} {camera.cx + 0.5} {camera.cy + 0.5}"
    (folder / "sparse/0/cameras.txt").write_text(f"1 PINHOLE {size} {intrinsics}\n")
    (folder / "sparse/0/points3D.txt").write_text("\n".join(lines) + "\n" if points else "")


@pytest.mark.parametrize("points", [True, pytest.param(False, marks=pytest.mark.slow)])
def test_colmap_is_brought_to_metres(degraded, tmp_path, points):
    write_colmap_room(degraded, tmp_path / "colmap", 0.4, points=points)
    spec = f"precomputed:{degraded[0] / 'predictions'}"
    config = config_from_mapping(PipelineConfig, QUICK, "test")
    manifest = run(open_sequence(tmp_path / "colmap"), tmp_path / "run", source=spec, config=config, until="fuse")
    summary = manifest["stages"]["align"]["summary"]
    assert summary["pose_scale"] == pytest.approx(0.4, rel=0.03 if points else 0.06)
    assert (summary["pose_scale_spread"] is not None) == points
    assert summary["pose_scale_deviation"] == pytest.approx(0.3)  # what all frames share, which they do not show
    alignment = read_alignment(tmp_path / "run" / "alignment.json")
    found = np.array([alignment.frames[i].field.scale for i in range(FRAMES)]) * degraded[1]
    assert np.log(found).std() < 0.015
    mesh = TSDFVolume.load(tmp_path / "run" / "volume.npz").extract_mesh(min_weight=0.05)
    extent = np.subtract(*np.percentile(mesh.vertices, [99, 1], axis=0))
    np.testing.assert_allclose(np.sort(extent), np.sort(ROOM_SIZE), atol=0.3)  # metres, not units


def test_sparse_points_of_text_and_binary_agree(tmp_path):
    folders.write_colmap_text(tmp_path / "text")
    assert read_sparse_points(tmp_path / "text").positions.shape == (0, 3)
    line = "5 1.0 2.0 3.0 9 9 9 0.5 1 0 2 0 3 1"
    (tmp_path / "text/sparse/0/points3D.txt").write_text(f"# points\n{line}\n6 0 0 0 9 9 9 0.5 1 0 2 4\n")
    folders.write_colmap_binary(tmp_path / "binary")
    assert read_sparse_points(tmp_path / "binary") is None
    data = struct.pack("<Q", 1) + struct.pack("<Q3d3Bd", 5, 1, 2, 3, 9, 9, 9, 0.5)
    data += struct.pack("<Q6i", 3, 1, 0, 2, 0, 3, 1)
    (tmp_path / "binary/sparse/0/points3D.bin").write_bytes(data)
    for kind, name in (("text", "images/shot 1.png"), ("binary", "images/1.png")):
        points = read_sparse_points(tmp_path / kind)
        assert points.of_image(name).tolist() == [[1, 2, 3]]
        assert points.of_image("images/other.png").shape == (0, 3)
    (tmp_path / "binary/sparse/0/points3D.bin").write_bytes(data[:-4])
    with pytest.raises(SequenceError, match="ends in the middle"):
        read_sparse_points(tmp_path / "binary")
    (tmp_path / "text/sparse/0/points3D.txt").write_text("5 1.0 here 3.0\n")
    with pytest.raises(SequenceError, match=r"points3D.txt line 1: expected"):
        read_sparse_points(tmp_path / "text")
    assert read_sparse_points(tmp_path) is None
