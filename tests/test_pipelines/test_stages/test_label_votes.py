"""Labels of pixels become votes in proportion to their confidences."""

import numpy as np
import pytest

from m2h.dithering import dither_pattern
from pipelines.stages.label_votes import pixel_votes
from scenegraph.labels import LabelClass, LabelSpace, nyu40


def test_what_has_no_name_gets_the_id_of_no_class():
    labels = np.array([[0, 1], [40, 0]], np.uint8)
    assert pixel_votes(labels, None, nyu40(), 0).tolist() == [[255, 1], [40, 255]]
    assert pixel_votes(labels, None, nyu40(), 0).dtype == np.uint8
    wide = LabelSpace(
        "wide", tuple(LabelClass(i, f"c{i}", (0, 0, 0), "object" if i else "unknown") for i in range(256))
    )
    assert pixel_votes(labels, None, wide, 0).tolist() == [[65535, 1], [40, 65535]]


def test_pixels_vote_as_far_as_they_are_sure():
    labels = np.zeros((120, 160), np.uint8)
    labels[:, :80] = 5
    for confidence in (0.0, 0.3, 0.8, 1.0):
        sure = np.full(labels.shape, confidence, np.float32)
        votes = np.stack([pixel_votes(labels, sure, nyu40(), index) for index in range(5)])
        assert votes.dtype == np.uint8
        assert set(np.unique(votes)) <= {0, 5, 255}
        assert np.mean(votes[:, :, :80] == 5) == pytest.approx(confidence, abs=0.005)
        assert np.mean(votes[:, :, 80:] == 255) == pytest.approx(1 - confidence, abs=0.005)


def test_votes_are_spread_over_the_image_and_over_frames():
    numbers = np.stack([dither_pattern((48, 64), index) for index in range(16)])
    assert 0 <= numbers.min() <= numbers.max() < 1
    blocks = (numbers < 0.7).reshape(16, 6, 8, 8, 8).mean(axis=(2, 4))  # by frame, of 8 x 8 pixels
    np.testing.assert_allclose(blocks, 0.7, atol=0.1)
    np.testing.assert_allclose((numbers < 0.7).mean(axis=0), 0.7, atol=0.2)  # by pixel
