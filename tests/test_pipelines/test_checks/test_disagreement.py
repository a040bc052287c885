"""Recorded depth and labels that are not exact are noticed by the frames themselves."""

from dataclasses import replace

import numpy as np
import pytest
from box_room import write_box_room

from pipelines.checks.disagreement import Disagreement, compare, measure_disagreement
from pipelines.checks.sampler import FrameSampler
from pipelines.config import config_from_mapping
from pipelines.pipeline import run
from pipelines.sequences.detect import open_sequence
from pipelines.sequences.ingest import CanonicalWriter
from pipelines.settings import PipelineConfig
from pipelines.sources.source import DepthOrigin, open_source
from pipelines.stages.noticed import as_noticed, suited_to
from scenegraph.labels import nyu40

FRAMES = 24


@pytest.fixture(scope="module")
def room(tmp_path_factory):
    folder = tmp_path_factory.mktemp("room") / "exact"
    write_box_room(folder, frames=FRAMES)
    return folder


class Degraded:
    """A sequence whose frames `change(recorded, rng)`."""

    def __init__(self, sequence, change):
        self.infos, self._sequence, self._change = sequence.infos, sequence, change

    def __getitem__(self, index):
        frame = self._sequence[index]
        return replace(frame, recorded=self._change(frame.recorded, np.random.default_rng(index)))


def scaled(recorded, rng, deviation=0.05):
    return replace(recorded, depth=recorded.depth * np.float32(np.exp(rng.normal(0, deviation))))


def mislabelled(recorded, rng, share=0.1):
    """Squares of a random label."""
    labels, size = recorded.labels.copy(), 12
    for _ in range(round(share * labels.size / size**2)):
        v, u = rng.integers(labels.shape[0] - size), rng.integers(labels.shape[1] - size)
        labels[v : v + size, u : u + size] = rng.integers(1, 41)
    return replace(recorded, labels=labels)


def measured(sequence):
    return measure_disagreement(FrameSampler(sequence, list(range(FRAMES))))


def test_exact_frames_agree(room):
    found = measured(open_sequence(room))
    assert found.depth < 0.003
    assert found.labels < 0.05
    assert not found.of_depth
    assert not found.of_labels
    assert found.lines() == []


def test_white_noise_of_a_sensor_is_no_disagreement(room):
    def noisy(recorded, rng):
        depth = recorded.depth * (1 + 0.02 * rng.standard_normal(recorded.depth.shape)).astype(np.float32)
        return replace(recorded, depth=depth)

    assert not measured(Degraded(open_sequence(room), noisy)).of_depth


def test_a_scale_of_its_own_in_every_frame_is_noticed(room):
    found = measured(Degraded(open_sequence(room), scaled))
    assert 0.025 < found.depth < 0.12
    assert found.of_depth
    assert found.is_of_scale_alone
    assert not found.of_labels
    assert len(found.lines()) == 1


def test_depth_that_fits_nowhere_is_not_of_scale_alone(room):
    def shuffled(recorded, rng):
        return replace(recorded, depth=np.ascontiguousarray(np.roll(recorded.depth, rng.integers(20, 100), axis=1)))

    assert not measured(Degraded(open_sequence(room), shuffled)).is_of_scale_alone


def test_wrong_labels_in_blobs_are_noticed(room):
    found = measured(Degraded(open_sequence(room), mislabelled))
    assert found.of_labels
    assert not found.of_depth


def test_frames_that_share_nothing_are_not_compared(room):
    sequence = open_sequence(room)
    a, b = sequence[0], sequence[FRAMES // 4]
    away = replace(b, T_world_camera=b.T_world_camera @ np.diag([-1.0, 1.0, -1.0, 1.0]))
    assert compare(a, away) is None
    assert compare(a, replace(b, recorded=replace(b.recorded, depth=None))) is None
    assert compare(a, replace(sequence[1], recorded=replace(sequence[1].recorded, labels=None))).labels is None


def test_what_is_noticed_changes_how_the_source_is_taken(room):
    config = PipelineConfig()
    source = open_source("recorded", open_sequence(room), config)
    assert as_noticed(source, Disagreement(0.004, 0.01), config) is source
    assert as_noticed(source, Disagreement(), config) is source
    noisy = as_noticed(source, Disagreement(0.05, 0.2), config)
    assert (noisy.depth_from, noisy.predicts_labels) == (DepthOrigin.NETWORK, True)
    assert noisy.fingerprint != source.fingerprint
    assert suited_to(source, config) is config
    assert suited_to(noisy, config).tsdf.behind_per_meter > 0
    off = config_from_mapping(PipelineConfig, {"align": {"mode": "off"}}, "test")
    assert as_noticed(source, Disagreement(0.05, 0.01), off) is source
    chosen = config_from_mapping(PipelineConfig, {"tsdf": {"behind_per_meter": 0.01}, "depth": {"jump": 0.2}}, "test")
    assert suited_to(noisy, chosen).tsdf.behind_per_meter == 0.01
    assert suited_to(noisy, chosen).depth.jump == 0.2


def test_a_run_aligns_recorded_depth_that_is_not_exact_and_tells(room, tmp_path):
    sequence = open_sequence(room)
    with CanonicalWriter(
        tmp_path / "noisy", sequence[0].intrinsics, world_up=(0.0, 0.0, 1.0), label_space=nyu40()
    ) as out:
        for index in range(FRAMES):
            frame = sequence[index]
            out.add(replace(frame, recorded=scaled(frame.recorded, np.random.default_rng(index), 0.09)))
    config = config_from_mapping(PipelineConfig, {"tsdf": {"voxel_size": 0.1}}, "test")
    manifest = run(open_sequence(tmp_path / "noisy"), tmp_path / "run", config=config, until="level")
    assert any("recorded depth differs" in text for text in manifest["stages"]["check"]["warnings"])
    assert manifest["stages"]["align"]["summary"]["applied"]
    manifest = run(sequence, tmp_path / "exact", config=config, until="level")
    assert not any("recorded" in text for text in manifest["stages"]["check"]["warnings"])
    assert not manifest["stages"]["align"]["summary"]["applied"]
