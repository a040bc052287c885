"""The unit of poses: found from overlaps and from sparse points, and not made up where nothing determines it."""

from __future__ import annotations

import numpy as np
import pytest
from helpers import box_mesh

from mapping.camera import Intrinsics
from mapping.depth.pose_scale import pose_scale_from_overlap, pose_scale_from_points, scaled
from mapping.depth.samples import sample_frame
from mapping.mesh.raycast import MeshCaster
from mapping.se3 import look_at

CAMERA = Intrinsics(37.0, 37.0, 31.5, 23.5, 64, 48)


@pytest.fixture(scope="module")
def frames():
    """Frames of a camera that walks a round in a room, their depth off by 3 % each."""
    rng, caster = np.random.default_rng(0), MeshCaster(box_mesh((6, 5, 2.5), (0, 0, 1.25), inward=True))
    found = []
    for k in range(24):
        angle = 2 * np.pi * k / 24
        eye = np.array([1.6 * np.cos(angle), 1.2 * np.sin(angle), 1.4])
        T = look_at(eye, eye + np.array([np.cos(3 * angle), np.sin(3 * angle), -0.1]))
        depth = caster.cast(CAMERA, T)[0] * np.exp(rng.normal(0, 0.03))
        found.append(sample_frame(depth.astype(np.float32), CAMERA, T, columns=32))
    return found


@pytest.mark.parametrize("unit", [0.11, 1.0, 7.3])
def test_overlaps_tell_the_unit(frames, unit):
    assert pose_scale_from_overlap([scaled(frame, 1 / unit) for frame in frames]).scale == pytest.approx(unit, rel=0.05)


def test_a_camera_that_stands_still_tells_nothing(frames):
    assert pose_scale_from_overlap([scaled(frame, 0.0) for frame in frames]) is None
    assert pose_scale_from_overlap(frames[:1]) is None
    assert pose_scale_from_overlap([]) is None


def test_points_tell_the_unit_among_outliers():
    rng = np.random.default_rng(1)
    ratios = []
    for k in range(40):
        ratio = 0.4 * np.exp(rng.normal(0, 0.02, 60) + rng.normal(0, 0.03))
        ratio[: 20 if k % 5 else 50] *= 3  # a third is wrong, and in every fifth frame most
        ratios.append(ratio)
    found = pose_scale_from_points([*ratios, np.ones(4)])
    assert found.scale == pytest.approx(0.4, rel=0.03)
    assert 0.02 < found.spread < 0.08
    assert pose_scale_from_points([np.ones(4)]) is None
