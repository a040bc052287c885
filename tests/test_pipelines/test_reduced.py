"""Large images are reduced, with their camera and all that belongs to them, before anything is predicted of them."""

from dataclasses import replace

import numpy as np
import pytest
from helpers import m2h
from textured_wall import CONFIG, Wall

from mapping.camera import Intrinsics
from pipelines import open_sequence, run
from pipelines.config import config_from_mapping
from pipelines.frame import Frame
from pipelines.reduced import reduced, reduced_camera
from pipelines.settings import PipelineConfig, SpacingConfig
from pipelines.spacing import LONGEST_SIDE, with_frames_decided


def test_a_reduced_frame_shows_the_same_points(box_room):
    sequence = open_sequence(str(box_room))
    small = reduced(sequence, 80)
    frame, half = sequence[3], small[3]
    assert half.rgb.shape == (60, 80, 3)
    assert half.intrinsics == small.infos[3].intrinsics == frame.intrinsics.resized(80, 60)
    np.testing.assert_array_equal(half.T_world_camera, frame.T_world_camera)
    assert small.convention == sequence.convention
    assert small.notes[-1].startswith("images of 160x120 pixels are reduced to 80")
    # Each pixel has the depth and the label of one of the four that it covers, and their mean colour.
    covered = frame.recorded.depth.reshape(60, 2, 80, 2)
    assert (covered == half.recorded.depth[:, None, :, None]).any(axis=(1, 3)).all()
    labels = frame.recorded.labels.reshape(60, 2, 80, 2)
    assert (labels == half.recorded.labels[:, None, :, None]).any(axis=(1, 3)).all()
    means = frame.rgb.reshape(60, 2, 80, 2, 3).mean(axis=(1, 3))
    assert np.abs(half.rgb - means).max() <= 0.5


def test_masks_are_reduced_with_their_images(box_room):
    class Masked:
        def __init__(self, sequence):
            self.__dict__.update(vars(sequence))
            self._given = sequence

        def __getitem__(self, index) -> Frame:
            frame = self._given[index]
            mask = np.ones(frame.rgb.shape[:2], bool)
            mask[:, :40] = False
            return replace(frame, mask=mask)

    mask = reduced(Masked(open_sequence(str(box_room))), 80)[0].mask
    assert not mask[:, :20].any()
    assert mask[:, 20:].all()


def test_images_that_are_no_larger_are_left_alone(box_room):
    sequence = open_sequence(str(box_room))
    assert reduced(sequence, 160) is sequence
    assert reduced(sequence, None) is sequence
    on_end = Intrinsics(100.0, 100.0, 60.0, 80.0, 120, 160)
    assert reduced_camera(on_end, 80) == on_end.resized(60, 80)


@pytest.mark.parametrize(
    ("costly", "given", "side"),
    [(True, "auto", LONGEST_SIDE), (False, "auto", None), (True, None, None), (False, 320, 320)],
)
def test_auto_reduces_where_each_pixel_costs(costly, given, side):
    config = config_from_mapping(PipelineConfig, {"frames": {"longest_side": given}}, "test")
    assert with_frames_decided(config, Wall(), is_costly=costly).frames.longest_side == side


@pytest.mark.parametrize("mode", ["auto", "off"])
def test_a_run_maps_reduced_images(tmp_path, monkeypatch, mode):
    monkeypatch.setattr("pipelines.pipeline.input_fingerprint", lambda sequence: "wall")
    frames = replace(CONFIG.frames, longest_side=64, spacing=SpacingConfig(mode=mode))
    run(Wall(12), tmp_path, source="multiview", config=replace(CONFIG, frames=frames), until="predict")
    with np.load(next((tmp_path / "predictions").glob("*.npz"))) as stored:
        assert stored["depth"].shape == (48, 64)


@pytest.mark.slow
def test_exports_have_the_images_at_their_own_size(box_room, tmp_path):
    """The poses, found in reduced images, are those of the large ones, and so is the camera."""
    m2h("run", box_room, "--out", tmp_path / "run", "--set", "frames.longest_side=80", "--set", "frames.stride=3")
    m2h("export", tmp_path / "run", tmp_path / "out", "--to", "nerfstudio")
    sequence = open_sequence(str(tmp_path / "out"))
    assert sequence.infos[0].intrinsics == open_sequence(str(box_room)).infos[0].intrinsics
