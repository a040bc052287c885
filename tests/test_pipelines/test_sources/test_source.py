"""Prediction sources by name: results and rejections."""

from pathlib import Path

import numpy as np
import pytest

from m2h import Predictions
from mapping.camera import Intrinsics
from pipelines.frame import Frame, FrameInfo, only_with_depth
from pipelines.sources.predictions import PredictionError, write_predictions
from pipelines.sources.source import SourceError, open_source

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


def test_mixed_takes_each_part_from_its_own(tmp_path):
    labels = np.full((3, 4), 7, np.uint8)
    sequence = OneFrame(Predictions(depth=depth_of(2), labels=np.ones((3, 4), np.uint8)))
    write_predictions(tmp_path, 0, Predictions(depth=depth_of(3), labels=labels))
    source = open_source(f"mixed:depth=recorded,semantics=precomputed:{tmp_path}", sequence)
    answer = source.predict(sequence[0])
    assert answer.depth[0, 0] == 2
    assert answer.labels[0, 0] == 7


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
