"""A run with a network that matches neighbouring frames: what it is given, in which unit, and its second pass."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import sequence_folders as folders
import torch
from network_helpers import write_cross_checkpoint
from nyu13 import NYU40_BROADER
from scipy.spatial.transform import Rotation

import pipelines.sources.network
from m2h.config import M2HConfig
from m2h.infer import MatchedView, Predictor
from m2h.predictions import GOOD_DEPTH, Predictions
from m2h.record import CheckpointRecord
from pipelines import open_sequence, run
from pipelines.config import config_from_mapping
from pipelines.frame import poses_of
from pipelines.settings import PipelineConfig
from pipelines.sources.network import (
    CERTAIN,
    TURNS_ONLY,
    PosedNetwork,
    network_neighbours,
    precision_of,
    without_vague_names,
)
from pipelines.sources.refinement import refined
from pipelines.sources.source import DepthOrigin, Hint, open_source
from pipelines.stages.hint import hint_of
from pipelines.stages.optional_stages import wants_alignment
from scenegraph.labels import nyu40

SETTINGS = {"frames": {"stride": 6}, "tsdf": {"voxel_size": 0.1}}
CERTAIN_DEPTH = {"confidence": False}
"""An untrained network is sure of nothing."""


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory) -> Path:
    return write_cross_checkpoint(tmp_path_factory.mktemp("weights") / "cross.safetensors")


@pytest.fixture
def asked(monkeypatch) -> list[tuple[int, bool]]:
    """For each frame that the network is asked about: how many neighbours it is given, and whether there is a hint."""
    calls: list[tuple[int, bool]] = []
    answer = Predictor.predict_view

    def count(self, view, neighbours=(), hint=None, **options):
        calls.append((len(neighbours), hint is not None))
        return answer(self, view, neighbours, hint, **options)

    monkeypatch.setattr(Predictor, "predict_view", count)
    # An untrained network sees people everywhere, about which it would be asked again.
    monkeypatch.setattr(pipelines.sources.network, "LEAST_MOVING", 2.0)
    return calls


def settings(**changes) -> PipelineConfig:
    return config_from_mapping(PipelineConfig, SETTINGS | changes, "test")


def test_two_passes_are_stored_and_not_done_again(images_only, checkpoint, tmp_path, asked):
    sequence, source = open_sequence(str(images_only)), f"m2h:{checkpoint}"
    twice = settings(network={"passes": 2}, depth=CERTAIN_DEPTH)
    manifest = run(sequence, tmp_path, source=source, config=twice, until="fuse")
    frames = len(list((tmp_path / "predictions").glob("*.npz")))
    assert frames == len(list((tmp_path / "first_pass/predictions").glob("*.npz"))) == 5
    assert [hinted for _, hinted in asked] == [False] * frames + [True] * frames
    assert all(count > 0 for count, _ in asked)
    assert {"first predict", "first fuse", "predict", "fuse"} <= manifest["stages"].keys()
    assert "not been measured" in manifest["trust"][0]
    run(sequence, tmp_path, source=source, config=twice, until="fuse")
    assert len(asked) == 2 * frames
    once = run(sequence, tmp_path, source=source, config=settings(depth=CERTAIN_DEPTH), until="fuse")
    assert "first predict" not in once["stages"]


def test_one_pass_without_settings(images_only, checkpoint, tmp_path, asked):
    sequence = open_sequence(str(images_only))
    manifest = run(sequence, tmp_path, source=f"m2h:{checkpoint}", config=settings(depth=CERTAIN_DEPTH), until="fuse")
    assert [hinted for _, hinted in asked] == [False] * 5
    assert "first predict" not in manifest["stages"]
    assert not (tmp_path / "first_pass").exists()


def test_depth_is_that_of_the_poses(images_only, checkpoint):
    source = open_source(f"m2h:{checkpoint}", open_sequence(str(images_only)), settings())
    assert source.depth_from is DepthOrigin.POSES
    assert source.predict_hinted is not None


def test_a_recording_from_one_place_is_noted(images_only, checkpoint, tmp_path):
    shutil.copytree(images_only, tmp_path / "turns")
    file = tmp_path / "turns/transforms.json"
    header = json.loads(file.read_text())
    for frame in header["frames"]:
        for row in frame["transform_matrix"][:3]:
            row[3] = 1.0
    file.write_text(json.dumps(header))
    source = open_source(f"m2h:{checkpoint}", open_sequence(str(tmp_path / "turns")), settings())
    assert source.depth_from is DepthOrigin.NETWORK
    assert source.notes == [TURNS_ONLY]
    header["frames"] = header["frames"][:1]
    file.write_text(json.dumps(header))
    assert open_source(f"m2h:{checkpoint}", open_sequence(str(tmp_path / "turns")), settings()).notes == []


@pytest.mark.slow
def test_an_exported_network_is_given_the_same(images_only, checkpoint, asked):
    pytest.importorskip("onnxscript")
    pytest.importorskip("openvino")
    from m2h.checkpoint import load_checkpoint
    from m2h.export import export_onnx

    exported = checkpoint.with_suffix(".onnx")
    export_onnx(*load_checkpoint(checkpoint), exported)
    sequence, found = open_sequence(str(images_only)), []
    for name in (checkpoint, exported):
        source = open_source(f"m2h:{name}", sequence, settings())
        assert source.depth_from is DepthOrigin.POSES
        found.append(source.predict(sequence[6]).depth)
    assert asked[0] == asked[1]
    assert asked[0][0] > 0
    np.testing.assert_allclose(found[1], found[0], rtol=1e-3)


@pytest.mark.full
def test_a_frame_without_a_baseline_weighs_little(tmp_path):
    """The shipped network, of the same image: with those of a walk, and with those of a turn on the spot."""
    walk = folders.room_poses(17, turn_deg=2.0, step=0.08)
    turns = np.repeat(walk[8:9], 5, axis=0)
    turns[:, :3, :3] = (
        Rotation.from_rotvec(np.deg2rad([[0, 0, d] for d in (0, 4, 8, -4, -8)])).as_matrix() @ turns[:, :3, :3]
    )
    away = walk[:1].copy()
    away[0, :3, :3] = away[0, :3, :3] @ Rotation.from_euler("y", 180, degrees=True).as_matrix()
    weights, given = [], []
    for name, poses, index in (("walk", walk, 8), ("turn", np.concatenate([turns, away]), 0)):
        folders.write_room(tmp_path / name, poses, poses, depth_scale=None, detail=25.0)
        sequence = open_sequence(str(tmp_path / name))
        source = open_source("m2h", sequence, settings())
        assert source.depth_from is DepthOrigin.POSES
        weights.append(float(np.median(source.predict(sequence[index]).confidence)))
        given.append(network_neighbours(poses, sequence[index].intrinsics, index, settings().network))
    assert (len(given[0]) > 3, given[1]) == (True, [])
    assert 0 < weights[1] < 0.5 * weights[0]


def test_another_unit_of_the_poses_gives_depth_in_that_unit(images_only, checkpoint):
    """Poses in millimetres, said to be so: the network sees the same metres, and depth comes out a thousand times as large."""
    sequence = open_sequence(str(images_only))
    predictor = Predictor.from_checkpoint(checkpoint)
    metres = PosedNetwork(predictor, sequence, settings(), poses_of(sequence))
    large = poses_of(sequence)
    large[:, :3, 3] *= 1000
    millimetres = PosedNetwork(predictor, sequence, settings(align={"pose_scale": 0.001}), large)
    one, other = metres.predict(sequence[6]).depth, millimetres.predict(sequence[6]).depth
    np.testing.assert_allclose(other, 1000 * one, rtol=1e-4)
    hint = Hint(np.full(one.shape, 2.0, np.float32), np.ones(one.shape, np.float32))
    hinted = metres.predict_hinted(sequence[6], hint).depth
    np.testing.assert_allclose(
        millimetres.predict_hinted(sequence[6], replace(hint, depth=1000 * hint.depth)).depth, 1000 * hinted, rtol=1e-4
    )


class WithPerson:
    """A network that sees a person 2 m away in front of a wall 4 m away, and takes him for the wall unless it is asked without
    neighbours and shown the depth around him alone."""

    PERSON = (slice(20, 40), slice(30, 40))

    def __init__(self, shape: tuple[int, int]) -> None:
        self.shape, self.asked = shape, []
        self.labels = np.ones(shape, np.uint8)
        self.labels[self.PERSON] = nyu40().id_of("person")

    def match(self, view):
        return MatchedView(torch.zeros(1), view.camera, view.T_world_camera)

    def predict_view(self, view, neighbours, hint, *, tasks=None):
        self.asked.append((len(neighbours), hint))
        depth = np.full(self.shape, 4, np.float32)
        if not neighbours and hint is not None and not hint.depth[self.PERSON].any():
            depth[:] = 3
            depth[self.PERSON] = 2
        return Predictions(depth=depth, confidence=np.full(self.shape, 0.9, np.float32), labels=self.labels)


def test_what_may_move_is_asked_for_again_without_neighbours_and_in_the_depth_of_the_rest(images_only):
    sequence = open_sequence(str(images_only))
    frame = sequence[6]
    network = WithPerson(frame.rgb.shape[:2])
    depth = PosedNetwork(network, sequence, settings(), poses_of(sequence), nyu40()).predict(frame).depth
    person = network.labels == nyu40().id_of("person")
    np.testing.assert_array_equal(depth, np.where(person, np.float32(2), np.float32(4)))
    (first, _), (second, shown) = network.asked
    assert first > 0
    assert second == 0
    known = shown.depth > 0
    assert not known[person].any()
    assert known.mean() > 0.9 * (~person).mean()
    np.testing.assert_array_equal(shown.confidence > 0, known)


def test_a_frame_without_anybody_is_asked_about_once(images_only):
    sequence = open_sequence(str(images_only))
    frame = sequence[6]
    network = WithPerson(frame.rgb.shape[:2])
    network.labels[:] = 1
    PosedNetwork(network, sequence, settings(), poses_of(sequence), nyu40()).predict(frame)
    assert len(network.asked) == 1


def test_a_camera_that_never_moves_gets_single_images(images_only, checkpoint, tmp_path):
    folder = tmp_path / "still"
    shutil.copytree(images_only, folder)
    header = json.loads((folder / "transforms.json").read_text())
    for frame in header["frames"]:
        frame["transform_matrix"] = header["frames"][0]["transform_matrix"]
    (folder / "transforms.json").write_text(json.dumps(header))
    source = open_source(f"m2h:{checkpoint}", open_sequence(str(folder)), settings())
    assert source.depth_from is DepthOrigin.NETWORK
    assert source.predict_hinted is None


def test_a_hint_shows_the_map_where_it_is_known(box_room):
    """The volume of the true depth, rendered as a hint, is the true depth."""
    from mapping import TSDFConfig, TSDFVolume

    sequence = open_sequence(str(box_room))
    volume = TSDFVolume(TSDFConfig(voxel_size=0.05))
    for i in range(0, len(sequence), 2):
        frame = sequence[i]
        volume.integrate(frame.recorded.depth, frame.intrinsics, frame.T_world_camera)
    frame = sequence[4]
    hint = hint_of(volume, frame)
    assert hint.depth.shape == hint.confidence.shape == frame.rgb.shape[:2]
    known = (hint.depth > 0) & (frame.recorded.depth > 0)
    assert known.mean() > 0.8
    assert np.median(np.abs(hint.depth[known] / frame.recorded.depth[known] - 1)) < 0.02
    assert (hint.confidence[hint.depth == 0] == 0).all()
    assert 0.2 < hint.confidence[known].mean() <= 1


def test_mixed_sources_pass_hints_on(images_only, checkpoint, asked):
    sequence = open_sequence(str(images_only))
    source = open_source(f"mixed:depth=m2h:{checkpoint},semantics=m2h:{checkpoint}", sequence, settings())
    shape = sequence[0].rgb.shape[:2]
    hint = Hint(np.full(shape, 2.0, np.float32), np.ones(shape, np.float32))
    found = source.predict_hinted(sequence[0], hint)
    assert isinstance(found, Predictions)
    assert [hinted for _, hinted in asked] == [True]


def test_its_depth_is_checked_against_the_images_in_any_unit_of_the_poses(images_only, checkpoint):
    """Images take precedence where the network is far off; the result has the poses' scale and is not aligned frame by frame."""
    sequence = open_sequence(str(images_only))
    for config in (settings(), settings(align={"pose_scale": 0.001})):
        source = refined(open_source(f"m2h:{checkpoint}", sequence, config), "auto", sequence, config)
        assert source.is_refined
        assert source.depth_from is DepthOrigin.POSES
        assert not wants_alignment(config, source)


def test_weights_are_the_inverse_variance_of_what_confidence_says():
    scales = np.array([0.25, 1.0, 2.0, 4.0]) * CERTAIN
    probability = (1 - np.exp(-GOOD_DEPTH / scales)).astype(np.float32)
    np.testing.assert_allclose(precision_of(probability), [1, 1, 1 / 4, 1 / 16], rtol=1e-3)
    ends = precision_of(np.array([0, 1], np.float32))
    assert 0 <= ends[0] < 1e-6
    assert ends[1] == 1


def test_maps_get_no_vague_names():
    record = without_vague_names(CheckpointRecord(M2HConfig.cross(), broader=NYU40_BROADER), nyu40())
    named = dict(enumerate(record.broader))
    table, desk, cabinet = 7, 14, 3
    wall, door, lamp = 1, 8, 35
    assert (named[desk], named[door]) == (table, wall)
    assert (named[cabinet], named[lamp]) == (cabinet, lamp)
