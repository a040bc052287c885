"""The motion stage and its file."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
from walkers import INTRINSICS, PERSON, Block, Walker, camera, render, straight

from m2h import Predictions
from mapping.tsdf.volume import TSDFVolume
from pipelines import open_sequence, run
from pipelines.config import config_from_mapping
from pipelines.frame import Frame
from pipelines.sequences.ingest import CanonicalWriter
from pipelines.settings import PipelineConfig
from pipelines.stages.motion_file import Motion, Runs, read_motion, write_motion
from pipelines.workspace import WorkspaceError
from scenegraph.files.json_values import GraphFormatError
from scenegraph.labels import nyu40
from scenegraph.nodes import TrackNode
from scenegraph.track_metrics import in_swept_volume
from scenegraph.tracks.detection import detections_from_json
from scenegraph.tracks.tracking import track

ROOM = (Block((-3, 2, 0), (-1.8, 2.8, 0.8)), Block((2.5, -1, 0), (3.1, 1, 1.9)))


def test_the_file_gives_back_what_was_written(tmp_path):
    rng = np.random.default_rng(0)
    masks = {4: rng.integers(0, 3, (6, 8)).astype(np.uint16), 17: np.full((6, 8), 65535, np.uint16)}
    write_motion(tmp_path / "motion.json", Motion(3, {index: Runs.of(mask) for index, mask in masks.items()}))
    found = read_motion(tmp_path / "motion.json")
    assert found.stride == 3
    assert found.moving.keys() == masks.keys()
    for index, mask in masks.items():
        np.testing.assert_array_equal(found.moving[index].image(), mask)


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        (lambda d: d.update(version=2), "expected m2h-motion of version 1"),
        (lambda d: d.update(stride=0), "stride: expected 1 to"),
        (lambda d: d["frames"].update(x={"shape": [2, 2], "runs": []}), "frames: x: expected the index"),
        (lambda d: d["frames"]["3"].update(shape=[2]), "shape: expected two sides"),
        (lambda d: d["frames"]["3"].update(shape=[99999, 2]), "shape: expected 1 to"),
        (lambda d: d["frames"]["3"].update(runs=[0, 1]), "runs: expected first, length and number"),
        (lambda d: d["frames"]["3"].update(runs=[5, 3, 1]), "is no run of pixels"),
        (lambda d: d["frames"]["3"].update(runs=[-1, 3, 1]), "a whole number"),
        (lambda d: d["frames"]["3"].update(runs=[0, 1, 70000]), "is no run of pixels"),
    ],
)
def test_a_damaged_file_is_named_with_its_field(tmp_path, change, problem):
    path = tmp_path / "motion.json"
    write_motion(path, Motion(2, {3: Runs.of(np.ones((2, 3), np.uint16))}))
    data = json.loads(path.read_text())
    change(data)
    path.write_text(json.dumps(data))
    with pytest.raises((WorkspaceError, GraphFormatError), match=problem):
        read_motion(path)


def walk_in(folder, walkers):
    """A sequence of images and depth alone, of a room in which a camera looks around."""
    writer = CanonicalWriter(folder, INTRINSICS, world_up=(0.0, 0.0, 1.0), label_space=None)
    with writer:
        for k, time in enumerate(np.arange(40) / 3.0):
            angle = 1.1 + 0.7 * np.sin(0.9 * time)
            eye = np.array([0.3 * np.sin(0.4 * time), -2.5, 1.5])
            pose = camera(eye, eye + np.array([4 * np.cos(angle), 4 * np.sin(angle), -0.9]))
            view = render(walkers, ROOM, time, pose)
            rgb = np.where((view.labels == PERSON)[..., None], [200, 40, 40], 120).astype(np.uint8)
            writer.add(Frame(k, float(time), rgb, INTRINSICS, pose, Predictions(depth=view.depth)))
    return open_sequence(folder)


@pytest.mark.slow
def test_somebody_without_label_leaves_a_track_and_no_surface(tmp_path):
    walker = Walker(straight((0.3, 1.0), (2.2, -2.0), 8.0, 12.0))  # stands, then leaves
    sequence = walk_in(tmp_path / "seq", [walker])
    config = config_from_mapping(PipelineConfig, {"tsdf": {"voxel_size": 0.08, "max_depth": 8.0}}, "test")
    times = np.arange(0, 12, 0.2)
    truth = TrackNode("person", PERSON, np.array([0.5, 0.5, 1.75]), times, np.array([walker.center(t) for t in times]))

    def swept(out, config):
        manifest = run(sequence, out, config=config, until="fuse")
        mesh = TSDFVolume.load(out / "volume.npz").extract_mesh(min_weight=0.005)
        above_floor = mesh.vertices[mesh.vertices[:, 2] > 0.3]
        assert manifest["stages"]["motion"]["summary"].get("tracks", 0) == int(config.dynamics.motion is not False)
        return int(in_swept_volume(above_floor, [truth]).sum())

    assert swept(tmp_path / "run", config) == 0
    frames = detections_from_json(json.loads((tmp_path / "run" / "detections.json").read_text()), "detections.json")
    (node,) = track(frames, nyu40())
    away = [np.linalg.norm(p - walker.center(t)) for t, p in zip(node.times, node.positions, strict=True)]
    assert len(away) > 15
    assert max(away) < 0.3
    blind = replace(config, dynamics=replace(config.dynamics, motion=False))
    assert swept(tmp_path / "blind", blind) > 50
