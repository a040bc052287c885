"""Frames, settings and merges that make no sense are refused in one line."""

from __future__ import annotations

import numpy as np
import pytest
from fusion_scenes import CAMERA, View, random_views

from mapping import Intrinsics, TSDFConfig, TSDFVolume
from mapping.tsdf.volume import FusionError, VolumeError

CONFIG = TSDFConfig(voxel_size=0.06)


BAD = {
    "depth must be float (120, 160), got uint16 (120, 160)": lambda v: View(
        (1000 * v.depth).astype(np.uint16), v.T_world_camera, v.images
    ),
    "depth must be float (120, 160), got float32 (60, 160)": lambda v: View(v.depth[::2], v.T_world_camera, v.images),
    "T_world_camera must be a finite": lambda v: View(v.depth, 2 * np.eye(4), v.images),
    "not a mirror image": lambda v: View(v.depth, np.diag([1.0, 1, -1, 1]), v.images),
    "rgb must be uint8 (120, 160, 3), got uint8 (120, 160, 4)": lambda v: View(
        v.depth, v.T_world_camera, {"rgb": np.zeros((120, 160, 4), np.uint8)}
    ),
    "labels must be in 0..65535, got -1..-1": lambda v: View(
        v.depth, v.T_world_camera, {"labels": np.full((120, 160), -1)}
    ),
    "labels must be integer": lambda v: View(v.depth, v.T_world_camera, {"labels": np.zeros((120, 160))}),
    "weight must be in [0, 256]": lambda v: View(
        v.depth, v.T_world_camera, {"weight": -np.ones((120, 160), np.float32)}
    ),
}


@pytest.mark.parametrize("message", BAD)
def test_bad_frames_are_refused_in_one_line(message):
    view = random_views(np.random.default_rng(8), 1)[0]
    volume = TSDFVolume(CONFIG)
    with pytest.raises(FusionError) as error:
        BAD[message](view).into(volume)
    assert message in str(error.value)
    assert "\n" not in str(error.value)


def test_lenses_and_weights_out_of_bounds_are_refused():
    view = random_views(np.random.default_rng(9), 1)[0]
    volume = TSDFVolume(CONFIG)
    lens = Intrinsics(150.0, 150.0, 79.5, 59.5, 160, 120, distortion=(0.1, 0, 0, 0))
    with pytest.raises(FusionError, match="distortion"):
        volume.integrate(view.depth, lens, view.T_world_camera)
    heavy = np.full(view.depth.shape, 256, np.float32)
    for _ in range(390):
        volume.integrate(view.depth, CAMERA, view.T_world_camera, weight=heavy)
    with pytest.raises(FusionError, match="a voxel has been seen with a weight of 99840; it can hold 100000"):
        volume.integrate(view.depth, CAMERA, view.T_world_camera, weight=heavy)


def test_volumes_of_different_sampling_do_not_merge():
    with pytest.raises(VolumeError, match=r"voxel_size: 0\.06 and 0\.05"):
        TSDFVolume(CONFIG).merge(TSDFVolume(TSDFConfig(voxel_size=0.05)))
    with pytest.raises(VolumeError, match="truncation_distance"):
        TSDFVolume(CONFIG).merge(TSDFVolume(TSDFConfig(voxel_size=0.06, truncation=0.12)))


@pytest.mark.parametrize(
    "settings",
    [
        {"voxel_size": 0},
        {"truncation": 0.01},
        {"min_depth": 0},
        {"min_depth": 6},
        {"surface_band": 1.0},
        {"behind": 0.5},
        {"behind_per_meter": -0.1},
        {"behind_per_meter": 2},
        {"voxels": 3},
    ],
)
def test_settings_that_make_no_volume_are_refused(settings):
    with pytest.raises(ValueError, match=next(iter(settings))):
        TSDFConfig(**settings)
