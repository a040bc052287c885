"""Optional stages do what the settings say, and by themselves what the source needs."""

from dataclasses import replace

import pytest

from m2h import Predictions
from pipelines.config import config_from_mapping
from pipelines.settings import PipelineConfig
from pipelines.sources.source import DepthOrigin, Source
from pipelines.stages.optional_stages import wants_alignment, wants_motion, wants_planes
from scenegraph.labels import nyu40

SENSOR, POSES = DepthOrigin.SENSOR, DepthOrigin.POSES
NETWORK, FITTED = DepthOrigin.NETWORK, DepthOrigin.FITTED


def source_of(depth_from, **fields):
    return Source("any", lambda frame: Predictions(), "", nyu40(), depth_from, **fields)


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        (source_of(SENSOR), False),
        (source_of(SENSOR, is_refined=True), True),
        (source_of(POSES), False),
        (source_of(POSES, is_refined=True), False),
        (source_of(NETWORK), True),
        (source_of(NETWORK, is_refined=True), True),
        (source_of(FITTED), True),
    ],
)
def test_depth_of_no_single_scale_is_aligned(source, expected):
    assert wants_alignment(PipelineConfig(), source) is expected


def test_planes_are_for_predicted_depth_with_predicted_labels():
    predicted = source_of(POSES, predicts_labels=True)
    assert wants_planes(PipelineConfig(), predicted)
    assert not wants_planes(PipelineConfig(), replace(predicted, predicts_labels=False))
    assert not wants_planes(PipelineConfig(), replace(predicted, depth_from=SENSOR))


def test_motion_is_looked_for_in_measured_depth():
    assert [origin for origin in DepthOrigin if wants_motion(PipelineConfig(), source_of(origin))] == [SENSOR]


@pytest.mark.parametrize("source", [source_of(origin, predicts_labels=True) for origin in DepthOrigin])
@pytest.mark.parametrize(
    ("wanted", "setting"),
    [
        (wants_alignment, lambda on: {"align": {"mode": "on" if on else "off"}}),
        (wants_planes, lambda on: {"planes": "on" if on else "off"}),
        (wants_motion, lambda on: {"dynamics": {"motion": on}}),
    ],
)
def test_the_settings_have_the_last_word(source, wanted, setting):
    for on in (True, False):
        assert wanted(config_from_mapping(PipelineConfig, setting(on), "test"), source) is on
