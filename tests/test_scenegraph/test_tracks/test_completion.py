from dataclasses import replace

import numpy as np
import pytest
from walkers import detection

from scenegraph.tracks.completion import BodySize, body_size, complete, floors_under
from scenegraph.tracks.track_config import TrackingConfig

CONFIG = TrackingConfig()
SIZE = BodySize(thickness=0.3, width=0.5, height=1.8)


@pytest.mark.parametrize(
    ("low", "high", "cut", "floor", "expected"),
    [
        ([4, -0.25, 0], [4.1, 0.25, 1.8], (), None, [4.15, 0, 0.9]),  # the far side is half a thickness behind
        ([4, -0.25, 1.0], [4.1, 0.25, 1.8], ("below",), 0.0, [4.15, 0, 0.9]),  # the floor completes the legs
        ([4, -0.25, 1.0], [4.1, 0.25, 1.8], ("below",), None, [4.15, 0, 0.9]),  # so does the known height
        ([4, -0.25, 4.0], [4.1, 0.25, 4.8], ("below",), 3.0, [4.15, 0, 3.9]),  # on the storey above
        ([4, -0.25, 0], [4.1, 0.25, 1.2], ("above",), None, [4.15, 0, 0.9]),  # the head
        ([4, -0.25, 0.5], [4.1, 0.25, 1.2], ("above", "below"), 0.0, [4.15, 0, 0.9]),
        ([4, -0.25, 0.5], [4.1, 0.25, 1.1], ("above", "below"), None, [4.15, 0, 0.8]),  # nothing to go by
        ([4, 0.15, 0], [4.1, 0.25, 1.8], ("right",), None, [4.15, 0, 0.9]),
        ([4, -0.25, 0], [4.1, -0.15, 1.8], ("left",), None, [4.15, 0, 0.9]),
        ([4, -0.1, 0], [4.1, 0.2, 1.8], ("left", "right"), None, [4.15, 0.05, 0.9]),
        ([4, -0.25, 0], [6.0, 0.25, 1.8], (), None, [4.25, 0, 0.9]),  # smeared depth makes nobody thicker than wide
    ],
)
def test_completion(low, high, cut, floor, expected):
    found = detection(low, high, cut, floor=floor)
    center, covariance = complete(found, SIZE, floor, CONFIG)
    np.testing.assert_allclose(center, expected, atol=1e-12)
    turned = replace(found, bearing=np.pi / 2)
    center, turned_covariance = complete(turned, SIZE, floor, CONFIG)
    np.testing.assert_allclose(center, [-expected[1], expected[0], expected[2]], atol=1e-12)
    assert turned_covariance[1, 1] == pytest.approx(covariance[0, 0])
    whole = complete(detection([4, -0.25, 0], [4.1, 0.25, 1.8]), SIZE, None, CONFIG)[1]
    assert (np.diag(covariance) >= np.diag(whole) - 1e-12).all()


def test_size_comes_from_the_views_that_are_not_cut():
    whole = [detection([4, -w / 2, 0], [4.1, w / 2, 1.8]) for w in (0.3, 0.3, 0.4, 0.5, 0.5)]
    cut = [detection([4, -0.05, 1.0], [4.1, 0.05, 1.2], ("left", "below", "above")) for _ in range(20)]
    size = body_size(whole + cut)
    assert (size.thickness, size.width, size.height) == pytest.approx((0.3, 0.5, 1.8))
    assert body_size(cut, prior=SIZE) == SIZE
    assert body_size(cut).width == pytest.approx(0.1)


def test_height_over_the_floor_counts_where_the_feet_are_hidden():
    behind = [detection([4, -0.2, 1.0], [4.1, 0.2, 1.8], ("below",), floor=0.1) for _ in range(5)]
    assert body_size(behind).height == pytest.approx(1.7)


def test_floors_are_filled_in_from_other_times():
    seen = [
        detection([4, 0, 0.0], [4, 0, 1.8], time=0.0),
        detection([4, 0, 1.0], [4, 0, 1.8], ("below",), time=1.0),
        detection([4, 0, 4.0], [4, 0, 4.8], ("below",), time=9.0, floor=3.0),
    ]
    assert floors_under(seen[1:2]) == [None]
    assert floors_under(seen[:2]) == [0.0, 0.0]
    assert floors_under(seen[1:]) == [3.0, 3.0]
