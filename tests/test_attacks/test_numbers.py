"""Kernels are safe for any camera and pose that are finite; cameras that no lens has, and maps without end, are refused."""

import numpy as np
import pytest
from attacks import LONG, SHORT, counted, refused
from helpers import random_se3
from hypothesis import given, settings
from hypothesis import strategies as st

from mapping.camera import Intrinsics
from mapping.tsdf import limits
from mapping.tsdf.tsdf_config import TSDFConfig
from mapping.tsdf.volume import TSDFVolume
from pipelines.checks.bounds import extent_problem, step_problem, voxel_problem
from pipelines.frame import FrameInfo
from pipelines.sequences.plausible import without_far_poses
from scenegraph.graph_config import SceneGraphConfig

WIDTH, HEIGHT = 8, 6
FINITE = st.floats(allow_nan=False, allow_infinity=False)
CAMERA = Intrinsics(8.0, 8.0, 3.5, 2.5, WIDTH, HEIGHT)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"cx": 1e10}, "Intrinsics.cx is 1e+10 pixels, far from the 8 pixels wide image"),
        ({"cy": -1e308}, "Intrinsics.cy is -1e+308 pixels"),
        ({"fx": 1e-320}, "Intrinsics.fx is 9.99989e-321 pixels, which is no lens"),
        ({"fx": 1e308}, "Intrinsics.fx is 1e+308 pixels, which is no lens"),
        ({"fy": 1e-5}, "Intrinsics.fy is 1e-05 pixels, which is no lens"),
        ({"distortion": (np.nan, 0, 0, 0)}, "Intrinsics.distortion must be numbers up to 1e+06"),
        ({"distortion": (0, 0, 0, 1e300)}, "Intrinsics.distortion must be numbers up to 1e+06"),
        ({"width": 10**20}, "Intrinsics.width must be a whole number of pixels"),
        ({"width": 30000, "height": 30000, "fx": 3e4, "fy": 3e4}, "30000x30000 pixels are too many"),
    ],
)
def test_cameras_that_no_lens_has(changes, message):
    values = {"fx": 8.0, "fy": 8.0, "cx": 3.5, "cy": 2.5, "width": WIDTH, "height": HEIGHT} | changes
    with pytest.raises(ValueError, match=message.replace("+", r"\+")):
        Intrinsics(**values)


@st.composite
def cameras(draw):
    low, high = WIDTH / 1000, WIDTH * 1000
    fx, fy = (draw(st.floats(low, high)) for _ in range(2))
    cx, cy = (draw(st.one_of(st.floats(-high, high), st.floats(0, WIDTH))) for _ in range(2))
    return Intrinsics(fx, fy, cx, cy, WIDTH, HEIGHT)


@st.composite
def poses(draw):
    T = random_se3(np.random.default_rng(draw(st.integers(0, 99))))
    T[:3, 3] = [draw(st.one_of(FINITE, st.floats(-10, 10))) for _ in range(3)]
    return T


def integrate(camera, T, value):
    depth = np.full((HEIGHT, WIDTH), value, np.float32)
    volume = TSDFVolume(TSDFConfig(voxel_size=0.2, max_depth=3.0))
    labels = np.ones((HEIGHT, WIDTH), np.uint8)
    line = refused(lambda: volume.integrate(depth, camera, T, labels=labels))
    if not line:
        assert refused(volume.extract_mesh) == ""
    refused(lambda: volume.render(CAMERA, T))
    return line


@pytest.fixture(scope="module", autouse=True)
def compiled():
    """What takes long and much memory once is no part of any input."""
    volume = TSDFVolume(TSDFConfig(voxel_size=0.2, max_depth=3.0))
    volume.integrate(np.ones((HEIGHT, WIDTH), np.float32), CAMERA, np.eye(4), labels=np.ones((HEIGHT, WIDTH), np.uint8))
    volume.extract_mesh()
    volume.render(CAMERA, np.eye(4))


VALUES = st.sampled_from((0.0, 1.5, 2.9, 1e30, -1.0, float("nan"), float("inf"), 1e-30))


@settings(SHORT, max_examples=60)
@given(camera=cameras(), T=poses(), value=VALUES)
def test_any_finite_camera_and_pose(camera, T, value):
    counted(integrate(camera, T, value))


@pytest.mark.full
@settings(LONG)
@given(camera=cameras(), T=poses(), value=VALUES)
def test_many_finite_cameras_and_poses(camera, T, value):
    counted(integrate(camera, T, value))


@pytest.mark.parametrize("place", [1e8, 1e18, 1e300])
def test_positions_without_block_numbers(place):
    T = np.eye(4)
    T[0, 3] = place
    depth = np.full((HEIGHT, WIDTH), 1.5, np.float32)
    line = refused(lambda: TSDFVolume(TSDFConfig(voxel_size=0.04)).integrate(depth, CAMERA, T))
    assert line.startswith("the view of a camera reaches beyond 8.58993e+07 m from the origin")


def test_memory_is_compared_before_blocks_are_made(monkeypatch):
    monkeypatch.setattr(limits, "available_bytes", lambda: 1 << 20)
    monkeypatch.setattr("mapping.tsdf.fusion.CHECKED_BYTES", 1 << 20)
    camera = Intrinsics(40.0, 40.0, 31.5, 23.5, 64, 48)
    volume = TSDFVolume(TSDFConfig(voxel_size=0.02))
    line = refused(lambda: volume.integrate(np.full((48, 64), 2, np.float32), camera, np.eye(4)))
    assert "GiB of memory, 0.00 GiB are left: use larger voxels (tsdf.voxel_size) or a smaller tsdf.max_depth" in line
    assert volume.memory_bytes < 1 << 20


def info(index, x):
    T = np.eye(4)
    T[0, 3] = x
    return FrameInfo(index, float(index), f"{index}.png", True, "", T, CAMERA)


def test_far_poses_are_lost():
    infos = [info(i, 0.1 * i) for i in range(8)]
    assert without_far_poses(infos) == tuple(infos)
    for place, reason in (
        (1e300, "too far from the origin"),
        (1e9, "far from the other cameras"),
        (1e5, "far from the other"),
        (150, "far from the other"),  # alone, where the others are within a metre
    ):
        found = without_far_poses([*infos, info(8, place)])
        assert found[:8] == tuple(infos)
        assert not found[8].used
        assert reason in found[8].reason
        assert found[8].T_world_camera is None
    assert [f.used for f in without_far_poses([info(i, 1e300) for i in range(3)])] == [False] * 3
    path = [info(i, 0.1 * (i % 8)) for i in range(30)] + [info(30 + i, 40 * (i + 1)) for i in range(8)]
    assert without_far_poses(path) == tuple(path)  # a camera that leaves the room
    lost = [info(i, 0.1 * (i % 8)) for i in range(30)] + [info(30 + i, 300 * (i + 1)) for i in range(8)]
    assert [found.used for found in without_far_poses(lost)] == [True] * 30 + [False] * 8
    spread = [info(i, 1e6 * i) for i in range(8)]  # millimetres, or a flight
    assert without_far_poses(spread) == tuple(spread)


def test_voxels_far_below_a_pixel_are_refused():
    camera = Intrinsics(90.0, 90.0, 79.5, 59.5, 160, 120)
    assert voxel_problem(camera, TSDFConfig(voxel_size=0.02)) == ""
    assert voxel_problem(camera, TSDFConfig(voxel_size=0.002)) == (
        "tsdf.voxel_size=0.002 is too small for 160x120 images, whose pixels cover 0.0556 m at tsdf.max_depth=5: use voxels of "
        "at least 0.0028 m, a smaller tsdf.max_depth or larger images"
    )


@pytest.mark.parametrize(
    ("size", "fits"),
    [
        ((200, 100, 20), True),
        ((0.3, 0, 900), True),
        ((240, 240, 60), True),
        ((300, 300, 3), False),
        ((1600, 640, 1500), False),
        ((2, 1e9, 2), False),
        ((240, 240, 1e5), False),
    ],
)
def test_maps_that_are_too_large_for_rooms_are_refused(size, fits):
    problem = extent_problem(np.array(size, float), SceneGraphConfig())
    assert (problem == "") == fits
    assert fits or problem.startswith(f"the map spans {size[0]:.0f} x {size[1]:.0f} x {size[2]:.0f} m, too much for")


def test_poses_in_millimetres_are_refused():
    places = np.array([[0.08 * i, 0, 0] for i in range(10)])
    assert step_problem(places, TSDFConfig()) == ""
    assert step_problem(1000 * places, TSDFConfig()).startswith("successive cameras are 80 m apart")
    assert step_problem(np.array([[0, 0, 0], [1, 0, 0], [2, 0, 0], [450, 0, 0]]), TSDFConfig()) == ""
    away = np.array([[0, 0, 0], [1, 0, 0], [2, 0, 0], [600, 0, 0]])
    assert step_problem(away, TSDFConfig()).startswith("the camera jumps by 598 m from one frame to the next")
