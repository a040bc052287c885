"""The alignment stage of a run: what it finds, writes, leaves alone and says."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
from box_room import write_box_room

from m2h import Predictions
from mapping.correction import DepthField
from pipelines.alignment import has_one_scale, is_wanted
from pipelines.alignment_file import Alignment, AlignmentFileError, FrameAlignment, read_alignment, write_alignment
from pipelines.config import config_from_mapping
from pipelines.pipeline import run
from pipelines.predictions import write_predictions
from pipelines.sequences.detect import open_sequence
from pipelines.settings import PipelineConfig
from pipelines.sources import Source
from scenegraph.labels import nyu40

FRAMES = 20
QUICK = {"tsdf": {"voxel_size": 0.1}}


@pytest.fixture(scope="module")
def spoiled(tmp_path_factory):
    """A room whose predicted depth has another scale in every frame: its folder, that of the predictions, the scales."""
    root = tmp_path_factory.mktemp("spoiled")
    write_box_room(root / "room", frames=FRAMES)
    scales = np.exp(np.random.default_rng(0).normal(0, 0.05, FRAMES)).astype(np.float32)
    sequence = open_sequence(root / "room")
    (root / "predictions").mkdir()
    for i, scale in enumerate(scales):
        seen = sequence[i].recorded
        write_predictions(root / "predictions", i, replace(seen, depth=seen.depth * scale))
    return root, scales


def aligned_run(spoiled, out, source="precomputed", **align):
    root, _ = spoiled
    config = config_from_mapping(PipelineConfig, {**QUICK, "align": align}, "test")
    spec = f"precomputed:{root / 'predictions'}" if source == "precomputed" else source
    return run(open_sequence(root / "room"), out, source=spec, config=config, until="fuse")


@pytest.mark.parametrize("rounds", [0, 1])
def test_scales_of_predicted_depth_are_found(spoiled, tmp_path, rounds):
    summary = aligned_run(spoiled, tmp_path, map_rounds=rounds)["stages"]["align"]["summary"]
    alignment = read_alignment(tmp_path / "alignment.json")
    found = np.array([alignment.frames[i].field.scale for i in range(FRAMES)])
    residue = np.log(found * spoiled[1])
    assert residue.std() < 0.012
    assert abs(np.median(residue)) < 0.02
    assert summary["applied"]
    assert summary["frames"] == FRAMES
    assert summary["scale_spread"] == pytest.approx(np.log(spoiled[1]).std(), abs=0.01)
    assert summary["residual"] < 0.01


def test_fusion_uses_the_corrections(spoiled, tmp_path):
    for mode, closed in (("on", True), ("off", False)):
        out = tmp_path / mode
        aligned_run(spoiled, out, mode=mode)
        from mapping.tsdf import TSDFVolume

        mesh = TSDFVolume.load(out / "volume.npz").extract_mesh(min_weight=0.05)
        # The walls of the room are at x = -2 and 2 in the sequence's world, which is level already.
        side = np.abs(mesh.vertices[np.abs(np.abs(mesh.vertices[:, 0]) - 2) < 0.3, 0])
        assert (np.median(np.abs(side - 2)) < 0.03) == closed


def test_recorded_depth_is_left_alone_unless_asked_for(spoiled, tmp_path):
    manifest = aligned_run(spoiled, tmp_path / "auto", source="recorded")
    assert manifest["stages"]["align"]["summary"]["applied"] is False
    assert read_alignment(tmp_path / "auto" / "alignment.json").frames == {}
    manifest = aligned_run(spoiled, tmp_path / "on", source="recorded", mode="on")
    assert manifest["stages"]["align"]["summary"]["scale_spread"] < 0.01


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("recorded", True),
        ("multiview", True),
        ("m2h:light", False),
        ("refined:m2h:light", False),
        ("mixed:semantics=m2h:light,depth=recorded", True),
        ("mixed:depth=m2h:light,semantics=recorded", False),
    ],
)
def test_sources_of_one_scale(name, expected):
    source = Source(name, lambda frame: Predictions(), "", nyu40())
    assert has_one_scale(source) is expected
    assert is_wanted("auto", source) is not expected
    assert is_wanted("on", source)
    assert not is_wanted("off", source)


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


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"format": "other"}, "expected format m2h-alignment"),
        ({"pose_scale": 0}, "pose_scale must be a positive number"),
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
