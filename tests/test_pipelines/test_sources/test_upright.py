"""Networks are shown upright images, whatever way the camera was held."""

from dataclasses import replace

import numpy as np
import pytest

import pipelines.sources.upright
from m2h import Predictions
from pipelines import open_sequence
from pipelines.posing.upright import recognised_turns, recognised_up
from pipelines.settings import PipelineConfig
from pipelines.sources.source import DepthOrigin, Hint, Source
from pipelines.sources.upright import shown_upright
from pipelines.turning import TurnedSequence, turned_array, turned_frame, turned_predictions, turns_to_upright


def opener(argument, sequence, config):
    """Depth as the rows of the image from above, and normals to the right: wrong for any image that is not upright."""

    def predict(frame):
        height, width = frame.rgb.shape[:2]
        rows = np.repeat(np.arange(1, height + 1, dtype=np.float32)[:, None], width, axis=1)
        normals = np.zeros((height, width, 3), np.float32)
        normals[..., 0] = 1
        return Predictions(rows, normals=normals)

    def predict_hinted(frame, hint):
        return Predictions(predict(frame).depth + hint.depth)

    return Source(
        "rows",
        predict,
        "rows",
        None,
        DepthOrigin.NETWORK,
        predict_hinted=predict_hinted,
        depth_alone=lambda frame: predict(frame).depth,
    )


@pytest.fixture
def upright(box_room):
    return open_sequence(str(box_room))


def on_its_side(sequence, turns=1):
    return TurnedSequence(sequence, np.full(len(sequence), turns))


@pytest.mark.parametrize("turns", [1, 2, 3])
def test_answers_are_those_for_the_upright_image(upright, turns):
    asked = shown_upright(opener, "", on_its_side(upright, turns), PipelineConfig())
    frame = upright[7]
    held = turned_frame(frame, turns)
    expected = opener("", upright, None)
    for name in ("depth", "normals"):
        answer = getattr(turned_predictions(asked.predict(held), -turns), name)
        np.testing.assert_allclose(answer, getattr(expected.predict(frame), name), atol=1e-6)
    assert (turned_array(asked.depth_alone(held), -turns) == expected.depth_alone(frame)).all()
    hint = Hint(frame.recorded.depth, np.ones_like(frame.recorded.depth))
    shown = Hint(*(turned_array(array, turns) for array in (hint.depth, hint.confidence)))
    answer = turned_predictions(asked.predict_hinted(held, shown), -turns)
    assert (answer.depth == expected.predict_hinted(frame, hint).depth).all()
    assert "lie on their side" in asked.notes[0]
    assert asked.fingerprint != expected.fingerprint


def test_upright_images_are_shown_as_they_are(upright):
    asked = shown_upright(opener, "", upright, PipelineConfig())
    assert asked.fingerprint == "rows"
    assert asked.turns is None


def test_the_up_direction_of_the_settings_decides(upright):
    """With +x up the images of the one half of the room lie on one side, and those of the other on the other."""
    asked = shown_upright(opener, "", upright, PipelineConfig(up=(1.0, 0.0, 0.0)))
    poses = np.stack([info.T_world_camera for info in upright.infos])
    assert asked.turns().tolist() == turns_to_upright(poses, (1, 0, 0)).tolist()
    assert {1, 3} <= set(asked.turns().tolist())


def floor_below(rgb):
    """Surer the more the lower half differs from the upper one, by the brightness that the tests give the images' rows."""
    half = len(rgb) // 2
    return 2.0 - (rgb[half:].mean() - rgb[:half].mean()) / 100


class Graded:
    """The sequence with images that grow brighter downwards."""

    def __init__(self, sequence):
        self._sequence = sequence
        self.name, self.path, self.format = sequence.name, sequence.path, sequence.format
        self.world_up, self.is_metric, self.label_space = None, sequence.is_metric, None
        self.infos = sequence.infos

    def __len__(self):
        return len(self.infos)

    def __getitem__(self, index):
        frame = self._sequence[index]
        rows = np.linspace(0, 255, frame.rgb.shape[0]).astype(np.uint8)
        return replace(frame, rgb=np.broadcast_to(rows[:, None, None], frame.rgb.shape).copy())


def test_unknown_up_is_recognised_in_the_images(upright, monkeypatch):
    monkeypatch.setattr(pipelines.sources.upright, "shipped_uncertainty", lambda: floor_below)
    held = on_its_side(Graded(upright), 3)
    asked = shown_upright(opener, "", held, PipelineConfig())
    frame = turned_frame(upright[4], 3)
    assert (turned_array(asked.predict(frame).depth, -3) == opener("", upright, None).predict(upright[4]).depth).all()
    assert (asked.turns() == 1).all()
    assert "recognised" in asked.notes[0]


def test_unknown_up_of_upright_images_turns_nothing(upright, monkeypatch):
    monkeypatch.setattr(pipelines.sources.upright, "shipped_uncertainty", lambda: floor_below)
    asked = shown_upright(opener, "", Graded(upright), PipelineConfig())
    assert not asked.turns().any()
    assert (asked.predict(upright[4]).depth == opener("", upright, None).predict(upright[4]).depth).all()
    assert not asked.notes


def test_a_camera_held_in_two_ways_is_recognised_by_one_up(upright):
    """Two of three images on their side: the common up direction is that of the room."""
    mixed = TurnedSequence(Graded(upright), (np.arange(len(upright)) % 3 > 0).astype(int))
    up = recognised_up(mixed, list(range(len(mixed))), floor_below)
    assert up is not None
    assert up @ (0, 0, 1) > 0.9


def test_images_of_which_nothing_is_recognised_are_left_alone(upright):
    assert recognised_up(on_its_side(upright), [0, 5, 9], lambda rgb: 1.5) is None
    assert recognised_turns([upright[0].rgb], lambda rgb: 1.5) == 0
    assert recognised_turns([], floor_below) == 0


def test_a_recording_on_its_side_is_recognised_without_poses(upright):
    images = [turned_array(Graded(upright)[i].rgb, 3) for i in range(3)]
    assert recognised_turns(images, floor_below) == 1
