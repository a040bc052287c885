"""Floor is no name for what lies on a table or stands upright."""

import numpy as np
import pytest

from m2h import Predictions
from mapping.camera import Intrinsics
from mapping.se3 import look_at
from pipelines import open_sequence, run
from pipelines.config import config_from_mapping
from pipelines.settings import PipelineConfig
from pipelines.stages.raised_floor import without_raised_floor
from pipelines.workspace import load_run
from scenegraph.rooms.storeys import HEADROOM, RAISED

CAMERA = Intrinsics(60.0, 60.0, 39.5, 29.5, 80, 60)
FLOOR, MAT, TABLE = 2, 20, 7


def seen_at(height, *, above=1.5):
    """What a camera that looks down onto a level surface says of it: floor, with a strip of table; and its pose."""
    eye = np.array([0.0, 0.0, height + above])
    T = look_at(eye, eye + np.array([1.0, 0.0, -1.0]))
    directions = CAMERA.rays() @ T[:3, :3].T
    depth = np.where(directions[..., 2] < -0.05, above / -np.minimum(directions[..., 2], -0.05), 0).astype(np.float32)
    labels = np.full(depth.shape, FLOOR, np.uint8)
    labels[:, 20:40], labels[:, 60:] = MAT, TABLE
    return Predictions(depth=depth, labels=labels, label_confidence=np.full(depth.shape, 0.9, np.float32)), T


@pytest.mark.parametrize("height", [0.735, 0.91, 1.4])
def test_a_table_top_is_no_floor(height):
    given, T = seen_at(height)
    kept = without_raised_floor(given, CAMERA, T, [FLOOR, MAT])
    known = given.depth > 0
    assert known.mean() > 0.5
    np.testing.assert_array_equal(kept.labels[:, 60:], TABLE)
    assert not kept.labels[:, :60][known[:, :60]].any()
    assert not kept.label_confidence[:, :60][known[:, :60]].any()
    np.testing.assert_array_equal(kept.labels[~known], given.labels[~known])  # nothing says where it is
    assert (given.labels == FLOOR).any()  # what was given is not changed


@pytest.mark.parametrize("height", [-0.7, 0.0, 0.2, 2.6])
def test_floors_steps_and_upper_storeys_keep_their_name(height):
    given, T = seen_at(height)
    assert without_raised_floor(given, CAMERA, T, [FLOOR, MAT]) is given


def test_predictions_without_labels_are_left():
    depth = np.ones((60, 80), np.float32)
    assert without_raised_floor(given := Predictions(depth=depth), CAMERA, np.eye(4), [FLOOR]) is given
    assert 0 < RAISED < 0.45 < HEADROOM


SOURCE = """
from dataclasses import replace
import numpy as np
from pipelines.sources.source import DepthOrigin, Source
from scenegraph.labels import nyu40

FLOOR, BED = 2, 4


def wrong(argument, sequence, config):
    def predict(frame):
        labels = np.where(frame.recorded.labels == BED, FLOOR, frame.recorded.labels).astype(np.uint8)
        return replace(frame.recorded, labels=labels, instances=None)

    predicts = argument == "predicted"
    return Source("wrong", predict, argument, nyu40(), DepthOrigin.SENSOR, predicts_labels=predicts)
"""


@pytest.mark.parametrize("kind", ["predicted", "recorded"])
def test_a_bed_that_a_network_takes_for_floor_is_none_in_the_map(box_room, tmp_path, monkeypatch, kind):
    (tmp_path / "beds_as_floor.py").write_text(SOURCE)
    monkeypatch.syspath_prepend(tmp_path)
    config = config_from_mapping(PipelineConfig, {"tsdf": {"voxel_size": 0.08}}, "test")
    run(open_sequence(box_room), tmp_path / "run", source=f"beds_as_floor:wrong:{kind}", config=config, until="graph")
    mesh, _ = load_run(tmp_path / "run")
    upward, heights = mesh.vertex_normals()[:, 2] > 0.9, mesh.vertices[:, 2]
    on_floor, on_bed = upward & (heights < 0.1), upward & (np.abs(heights - 0.5) < 0.1)
    assert min(on_floor.sum(), on_bed.sum()) > 50
    assert (mesh.labels[on_floor] == FLOOR).mean() > 0.9
    as_floor = (mesh.labels[on_bed] == FLOOR).mean()
    assert as_floor > 0.9 if kind == "recorded" else as_floor == 0
