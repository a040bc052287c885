"""Depth from images and poses as a source: results, notes and rejections."""

import numpy as np
import pytest
from textured_wall import CAMERA, CONFIG, Wall, error

from m2h import Predictions
from pipelines.frame import FrameInfo
from pipelines.settings import FramesConfig, PipelineConfig
from pipelines.sources.predictions import write_predictions
from pipelines.sources.source import DepthOrigin, SourceError, open_source

pytestmark = pytest.mark.usefixtures("one_thread")


def test_depth_comes_from_images_and_poses_alone():
    wall = Wall()
    source = open_source("multiview", wall, CONFIG)
    assert source.is_costly
    assert source.depth_from is DepthOrigin.POSES
    assert wall.read == []
    answer = source.predict(wall[4])
    assert np.mean(answer.depth > 0) > 0.6
    assert np.median(error(answer, wall.depth(4))) < 0.01
    assert np.array_equal(answer.depth > 0, answer.confidence > 0)
    assert answer.labels is None
    assert source.notes == []


def test_frames_may_be_lost_broken_and_of_other_cameras():
    small = CAMERA.resized(64, 48)
    wall = Wall(lost=(2,), broken=(6,), camera=lambda i: small if i == 5 else CAMERA)
    source = open_source("multiview", wall, CONFIG)
    for i in (4, 5):
        answer = source.predict(wall[i])
        assert answer.depth.shape == (wall.camera(i).height, wall.camera(i).width)
        assert np.mean(answer.depth > 0) > 0.3
        assert np.median(error(answer, wall.depth(i))) < 0.02


def test_a_stretch_without_baseline_is_unknown_and_counted():
    wall = Wall()
    far = [FrameInfo(i, i / 10, f"{i}.png", True, "", wall.pose(50.0), CAMERA) for i in (9, 10)]
    wall.infos = (*wall.infos, *far)
    source = open_source("multiview", wall, CONFIG)
    assert not source.predict(wall[9]).depth.any()
    assert source.notes == ["2 of 11 frames have no neighbour with a baseline; their depth is unknown"]


def test_wanted_frames_prove_each_other_and_change_the_fingerprint():
    wall = Wall(count=17, spacing=0.04)
    strided = PipelineConfig(multiview=CONFIG.multiview, frames=FramesConfig(stride=4))
    source = open_source("multiview", wall, strided)
    answer = source.predict(wall[8])
    assert np.median(error(answer, wall.depth(8))) < 0.02
    assert source.fingerprint != open_source("multiview", wall, CONFIG).fingerprint
    assert source.fingerprint == open_source("multiview", wall, strided).fingerprint


def test_mixed_takes_depth_from_images(tmp_path):
    wall = Wall()
    write_predictions(tmp_path, 4, Predictions(labels=np.full((60, 80), 7, np.uint8)))
    source = open_source(f"mixed:depth=multiview,semantics=precomputed:{tmp_path}", wall, CONFIG)
    answer = source.predict(wall[4])
    assert np.median(error(answer, wall.depth(4))) < 0.01
    assert answer.labels[0, 0] == 7
    assert source.is_costly
    assert source.depth_from is DepthOrigin.POSES


@pytest.mark.parametrize(
    ("sequence", "spec", "message"),
    [
        (Wall(count=1), "multiview", "wall has 1 frame with a pose; expected two or more"),
        (Wall(count=4, spacing=0.0), "multiview", "never moves from its place"),
        (Wall(), "multiview:64", "takes no argument"),
    ],
)
def test_rejections(sequence, spec, message):
    with pytest.raises(SourceError, match=message):
        open_source(spec, sequence, CONFIG)


def test_a_camera_that_moves_too_fast_is_rejected_when_it_is_asked():
    wall = Wall(count=3, spacing=30.0)
    source = open_source("multiview", wall, CONFIG)
    with pytest.raises(SourceError, match="no frame of wall sees the same as another"):
        source.predict(wall[0])
