"""Prediction sources by name: results and rejections."""

import sys
from pathlib import Path

import numpy as np
import pytest

from m2h import Predictions
from mapping.camera import Intrinsics
from pipelines.frame import Frame, FrameInfo, only_with_depth
from pipelines.sources.predictions import PredictionError, write_predictions
from pipelines.sources.source import DepthOrigin, SourceError, open_source
from scenegraph.labels import nyu40

CAMERA = Intrinsics(10, 10, 2, 1, 4, 3)


class OneFrame:
    name, path, format = "one", Path("one"), "fake"
    world_up = label_space = None
    is_metric = True
    infos = (FrameInfo(0, 0.0, "0.png", True, "", np.eye(4), CAMERA),)

    def __init__(self, recorded):
        self.recorded = recorded

    def __len__(self):
        return 1

    def __getitem__(self, index):
        return Frame(0, 0.0, np.zeros((3, 4, 3), np.uint8), CAMERA, np.eye(4), self.recorded)


def without_depth():
    sequence = OneFrame(Predictions())
    sequence.infos = (FrameInfo(0, 0.0, "0.png", True, "", np.eye(4), CAMERA, has_depth=False),)
    return sequence


def depth_of(value):
    return np.full((3, 4), value, np.float32)


def test_recorded_gives_what_the_sequence_holds():
    sequence = OneFrame(Predictions(depth=depth_of(2)))
    source = open_source("recorded", sequence)
    assert source.predict(sequence[0]).depth[0, 0] == 2
    with pytest.raises(SourceError, match="has no depth"):
        open_source("recorded", without_depth())


def test_one_frame_with_depth_makes_a_sequence_with_depth():
    sequence = OneFrame(Predictions(depth=depth_of(2)))
    bare = FrameInfo(0, 0.0, "0.png", True, "", np.eye(4), CAMERA, has_depth=False)
    sequence.infos = (bare, FrameInfo(1, 0.1, "1.png", True, "", np.eye(4), CAMERA))
    source = open_source("auto", sequence)
    assert source.name == "recorded"
    assert source.needs_depth
    usable = only_with_depth(sequence)
    assert [(info.used, info.reason) for info in usable.infos] == [(False, "no depth image"), (True, "")]
    assert sequence.infos[0].used


def test_precomputed_reads_one_file_per_frame(tmp_path):
    sequence = OneFrame(Predictions())
    write_predictions(tmp_path, 0, Predictions(depth=depth_of(3)))
    source = open_source(f"precomputed:{tmp_path}", sequence)
    assert source.predict(sequence[0]).depth[0, 0] == 3
    before = source.fingerprint
    write_predictions(tmp_path, 0, Predictions(depth=np.ones((5, 5), np.float32)))
    source = open_source(f"precomputed:{tmp_path}", sequence)
    assert source.fingerprint != before
    with pytest.raises(PredictionError, match=r"000000\.npz: depth must be \(3, 4\) like the image, got \(5, 5\)"):
        source.predict(sequence[0])
    with pytest.raises(SourceError, match="expected a folder"):
        open_source(f"precomputed:{tmp_path / 'none'}", sequence)


def test_labels_of_others_are_guesses_unless_they_are_said_to_be_exact(tmp_path):
    sequence = OneFrame(Predictions())
    write_predictions(tmp_path, 0, Predictions(depth=depth_of(3)))
    unlabelled = open_source(f"precomputed:{tmp_path}", sequence)
    assert (unlabelled.predicts_labels, unlabelled.label_space) == (False, None)
    write_predictions(tmp_path, 0, Predictions(depth=depth_of(3), labels=np.ones((3, 4), np.uint8)))
    assert open_source(f"precomputed:{tmp_path}", sequence).predicts_labels
    (tmp_path / "predictions.yaml").write_text("labels: exact\ndepth: sensor\ntrust: measured to 1 cm\n")
    source = open_source(f"precomputed:{tmp_path}", sequence)
    assert (source.predicts_labels, source.depth_from, source.trust) == (False, DepthOrigin.SENSOR, "measured to 1 cm")


def test_labels_of_another_space_become_nyu40(tmp_path):
    sequence = OneFrame(Predictions())
    labels = np.array([[1, 3, 0, 20], [31, 151, 65535, 76], [4, 4, 4, 4]], np.uint16)
    write_predictions(tmp_path, 0, Predictions(depth=depth_of(3), labels=labels))
    header = tmp_path / "predictions.yaml"
    header.write_text("label_space: ade20k\n")
    source = open_source(f"precomputed:{tmp_path}", sequence)
    assert source.label_space == nyu40()
    names = [source.label_space.name_of(int(i)) for i in source.predict(sequence[0]).labels.ravel()[:8]]
    assert names == ["wall", "unknown", "unknown", "chair", "chair", "unknown", "unknown", "chair"]
    header.write_text("label_space: ade20k\nnyu40: false\n")
    source = open_source(f"precomputed:{tmp_path}", sequence)
    assert source.label_space.name_of(76) == "swivel_chair"
    np.testing.assert_array_equal(source.predict(sequence[0]).labels, labels)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("depth: feet\n", r"predictions\.yaml: depth: .*metric.* got 'feet'"),
        ("scale: 2\n", r"predictions\.yaml: unknown setting scale; known are"),
        ("label_space: ade\n", "ade: neither a known label space"),
    ],
)
def test_a_wrong_header_names_the_field(tmp_path, text, message):
    (tmp_path / "predictions.yaml").write_text(text)
    with pytest.raises(ValueError, match=message):
        open_source(f"precomputed:{tmp_path}", OneFrame(Predictions()))


MINE = """
import numpy as np
from m2h import Predictions
from pipelines import DepthOrigin, Source

def open_mine(argument, sequence, config):
    value = float(argument or 1)
    def predict(frame):
        if value < 0:
            return {"depth": value}
        shape = (3, 4) if value < 50 else (5, 5)
        return Predictions(depth=np.full(shape, value if value != 13 else np.nan, np.float32))
    return Source("mine", predict, argument, None, DepthOrigin.SENSOR)

def open_nothing(argument, sequence, config):
    return None
"""


@pytest.fixture
def mine(tmp_path, monkeypatch):
    """A module in the working folder."""
    (tmp_path / "mine_of_a_user.py").write_text(MINE)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    yield "mine_of_a_user"
    sys.modules.pop("mine_of_a_user", None)


def test_code_of_a_user_is_a_source(mine):
    sequence = OneFrame(Predictions())
    assert open_source(f"{mine}:open_mine", sequence).predict(sequence[0]).depth[0, 0] == 1
    source = open_source(f"{mine}:open_mine:2.5", sequence)
    assert source.predict(sequence[0]).depth[0, 0] == 2.5
    assert (source.name, source.fingerprint) == ("mine", "2.5")
    mixed = open_source(f"mixed:depth={mine}:open_mine:4", sequence)
    assert mixed.predict(sequence[0]).depth[0, 0] == 4


@pytest.mark.parametrize(
    ("attribute", "message"),
    [
        ("open_yours", "has no attribute 'open_yours'"),
        ("open_nothing", r"returns a pipelines\.Source, it returned NoneType"),
        ("open_mine:-1", r"frame 0: expected m2h\.Predictions, got dict"),
        ("open_mine:60", r"frame 0: depth must be \(3, 4\) like the image, got \(5, 5\)"),
        ("open_mine:13", "frame 0: depth must be numbers from 0 to 1e\\+06, got nan to nan"),
    ],
)
def test_what_code_of_a_user_must_be(mine, attribute, message):
    sequence = OneFrame(Predictions())
    with pytest.raises(SourceError, match=message):
        open_source(f"{mine}:{attribute}", sequence).predict(sequence[0])


def test_the_module_of_a_source_may_be_missing():
    with pytest.raises(SourceError, match="'yours_that_is_not:open' cannot be imported: No module named"):
        open_source("yours_that_is_not:open", OneFrame(Predictions()))


def test_mixed_takes_each_part_from_its_own(tmp_path):
    labels = np.full((3, 4), 7, np.uint8)
    sequence = OneFrame(Predictions(depth=depth_of(2), labels=np.ones((3, 4), np.uint8)))
    write_predictions(tmp_path, 0, Predictions(depth=depth_of(3), labels=labels))
    source = open_source(f"mixed:depth=recorded,semantics=precomputed:{tmp_path}", sequence)
    answer = source.predict(sequence[0])
    assert answer.depth[0, 0] == 2
    assert answer.labels[0, 0] == 7
    assert source.predicts_labels
    assert source.about_depth.startswith("Depth is that of the recording, taken as measured")
    assert source.about_labels.startswith(f"Labels are predicted by precomputed:{tmp_path.name}")


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("recoded", r"unknown source 'recoded'; known are"),
        ("mixed:depth", "expected PART=SOURCE"),
        ("mixed:color=recorded", "expected PART=SOURCE"),
        ("mixed:semantics=recorded", "depth=SOURCE is missing"),
    ],
)
def test_rejections(spec, message):
    with pytest.raises(SourceError, match=message):
        open_source(spec, OneFrame(Predictions(depth=depth_of(2))))
