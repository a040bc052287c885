"""Laws of the pinhole camera: projection and rays are inverse, also for lenses, resized and cropped images."""

from __future__ import annotations

from dataclasses import replace

import cv2
import numpy as np
import pytest

from mapping.camera import Intrinsics, undistort

PINHOLE = Intrinsics(110.0, 108.0, 78.3, 61.2, 160, 120)
TUM_LENS = (0.2624, -0.9531, -0.0054, 0.0026, 1.1633)
TUM = Intrinsics(517.3, 516.5, 318.6, 255.3, 640, 480, TUM_LENS).resized(160, 120)
BARREL = Intrinsics(110.0, 108.0, 78.3, 61.2, 160, 120, (-0.28, 0.07, 0.0002, 0.00002))
RATIONAL = Intrinsics(110.0, 108.0, 78.3, 61.2, 160, 120, (0.1, 0.02, 0.001, -0.002, 0.003, 0.12, 0.01, 0.001))
FISHEYE = Intrinsics(70.0, 70.0, 79.5, 59.5, 160, 120, (0.02, -0.01, 0.004, -0.001), "fisheye")
CAMERAS = {"pinhole": PINHOLE, "tum": TUM, "barrel": BARREL, "rational": RATIONAL, "fisheye": FISHEYE}


def pixel_grid(camera: Intrinsics) -> np.ndarray:
    return np.stack(np.meshgrid(np.arange(camera.width), np.arange(camera.height)), axis=-1)


@pytest.mark.parametrize("name", CAMERAS)
@pytest.mark.parametrize("change", ["as it is", "resized", "cropped", "both"])
def test_points_along_the_rays_are_projected_to_their_pixels(name, change):
    camera = CAMERAS[name]
    if change in ("resized", "both"):
        camera = camera.resized(97, 61)
    if change in ("cropped", "both"):
        camera = camera.cropped(11, -3, 70, 50)
    depth = np.random.default_rng(0).uniform(0.3, 9.0, (camera.height, camera.width))
    points = camera.rays() * depth[..., None]
    np.testing.assert_allclose(points[..., 2], depth)
    np.testing.assert_allclose(camera.project(points), pixel_grid(camera), atol=1e-4)


def test_projection_by_hand():
    camera = Intrinsics(100.0, 200.0, 10.0, 20.0, 64, 48)
    np.testing.assert_allclose(camera.project([1.0, 2.0, 4.0]), [35.0, 120.0])
    points = camera.rays() * np.full((48, 64), 2.0)[..., None]
    np.testing.assert_allclose(points[20, 60], [1.0, 0.0, 2.0])
    np.testing.assert_allclose(camera.matrix, [[100, 0, 10], [0, 200, 20], [0, 0, 1]])


def test_radial_distortion_by_hand():
    # x = y = 0.5: r2 = 0.5, factor 1 + 0.1 * 0.5 + 0.2 * 0.25 = 1.1
    camera = Intrinsics(100.0, 100.0, 0.0, 0.0, 100, 100, (0.1, 0.2, 0.0, 0.0))
    np.testing.assert_allclose(camera.project([[1.0, 1.0, 2.0]]), [[55.0, 55.0]])
    # Kannala and Brandt 2006: the radius is theta (1 + k1 theta^2) on the image.
    fisheye = Intrinsics(100.0, 100.0, 0.0, 0.0, 100, 100, (0.1, 0.0, 0.0, 0.0), "fisheye")
    theta = np.arctan(0.5)
    np.testing.assert_allclose(fisheye.project([[1.0, 0.0, 2.0]]), [[100 * theta * (1 + 0.1 * theta**2), 0]])


@pytest.mark.parametrize("name", CAMERAS)
def test_shapes_and_points_behind_the_camera(name):
    camera = CAMERAS[name]
    points = np.array([[0.1, 0.1, 1.0], [0.1, 0.1, 0.0], [0.1, 0.1, -1.0]])
    uv = camera.project(points)
    assert np.isfinite(uv[0]).all()
    assert not np.isfinite(uv[1:]).any()
    assert camera.project(points[0]).shape == (2,)
    assert camera.project(np.zeros((0, 3))).shape == (0, 2)
    assert camera.project(np.ones((4, 5, 3))).shape == (4, 5, 2)
    np.testing.assert_allclose(camera.project(points[0]), uv[0])


def test_which_pixels_lie_in_the_image():
    uv = [[-0.5, -0.5], [159.5, 119.5], [-0.51, 0], [0, 119.6], [80, 60], [np.nan, 3], [np.inf, 3]]
    assert PINHOLE.contains(uv).tolist() == [True, True, False, False, True, False, False]
    assert PINHOLE.contains(np.reshape(uv[:6], (2, 3, 2))).shape == (2, 3)


def test_resizing_keeps_the_corners_of_the_image():
    # The outer border of the image lies at -0.5 and size - 0.5, at every resolution.
    small = PINHOLE.resized(40, 60)
    large = [(-0.5, -0.5), (159.5, 119.5), (78.3, 61.2)]
    for (u, v), expected in zip(large, [(-0.5, -0.5), (39.5, 59.5), (19.2, 30.35)], strict=True):
        ray = [(u - PINHOLE.cx) / PINHOLE.fx, (v - PINHOLE.cy) / PINHOLE.fy, 1.0]
        np.testing.assert_allclose(small.project(ray), expected, atol=1e-12)
    np.testing.assert_allclose(small.resized(160, 120).matrix, PINHOLE.matrix)


def test_resizing_agrees_with_the_resampled_image():
    # Area averaging of a linear ramp: the small pixel's value is the ramp at its centre.
    ramp = np.tile(np.arange(160, dtype=np.float32), (120, 1))
    small = cv2.resize(ramp, (40, 30), interpolation=cv2.INTER_AREA)
    camera = PINHOLE.resized(40, 30)
    u = PINHOLE.project(camera.rays())[..., 0]
    np.testing.assert_allclose(small, u, atol=1e-3)


def test_cropping_moves_the_pixels():
    points = PINHOLE.rays() * np.ones((120, 160))[..., None]
    window = PINHOLE.cropped(20, 30, 50, 40)
    np.testing.assert_allclose(window.rays() * np.ones((40, 50))[..., None], points[30:70, 20:70])


def checker(camera: Intrinsics) -> np.ndarray:
    """What the camera sees of a smooth checker on the plane z = 1: contrast without hard edges, so that resampling is exact
    enough to compare."""
    x, y, _ = np.moveaxis(camera.rays(), -1, 0)
    return (127.5 + 100 * np.sin(12 * x) * np.sin(12 * y)).astype(np.float32)


@pytest.mark.parametrize("name", ["tum", "barrel", "rational", "fisheye"])
def test_undistorted_checker_is_the_pinhole_picture(name):
    camera = CAMERAS[name].resized(640, 480)
    got = undistort(checker(camera), camera)
    truth = checker(camera.undistorted())
    seen = undistort(np.ones((480, 640), np.float32), camera) == 1
    assert seen.mean() > 0.5
    assert np.abs(got - truth)[seen].max() < 2.0


def test_undistorted_line_is_straight():
    camera = BARREL.resized(640, 480)
    rays = camera.rays()
    line = (np.abs(rays[..., 1] - 0.4) < 0.004).astype(np.float32)  # a horizontal line near the lower border
    rows = np.arange(480)[:, None]
    straight = undistort(line, camera)
    columns = straight.sum(axis=0) > 1
    centre = ((straight * rows).sum(axis=0) / np.maximum(straight.sum(axis=0), 1e-9))[columns]
    assert columns.sum() > 500
    assert np.abs(centre - (camera.fy * 0.4 + camera.cy)).max() < 1.0
    bent = ((line * rows).sum(axis=0) / np.maximum(line.sum(axis=0), 1e-9))[line.sum(axis=0) > 0]
    assert np.ptp(bent) > 5


def test_undistort_nearest_invents_no_label():
    labels = np.random.default_rng(0).choice([3, 200], (120, 160)).astype(np.uint8)
    assert set(np.unique(undistort(labels, BARREL, nearest=True))) <= {0, 3, 200}
    depth = np.random.default_rng(0).choice([500, 4000], (120, 160)).astype(np.uint16)
    assert set(np.unique(undistort(depth, BARREL, nearest=True))) <= {0, 500, 4000}


def test_undistort_keeps_type_and_shape():
    rgb = np.random.default_rng(0).integers(0, 255, (120, 160, 3), np.uint8)
    assert undistort(rgb, PINHOLE) is rgb
    assert undistort(rgb, BARREL).shape == rgb.shape
    assert undistort(rgb, BARREL).dtype == np.uint8
    with pytest.raises(ValueError, match="image must have shape"):
        undistort(rgb[:100], BARREL)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"fx": 0.0}, "Intrinsics.fx must be a positive"),
        ({"fy": float("nan")}, "Intrinsics.fy must be a positive"),
        ({"cx": float("inf")}, "Intrinsics.cx must be finite"),
        ({"width": 0}, "Intrinsics.width must be a whole"),
        ({"height": 10.5}, "Intrinsics.height must be a whole"),
        ({"distortion": (0.1,)}, "Intrinsics.distortion must have"),
        ({"distortion": (0.1,) * 5, "distortion_model": "fisheye"}, "Intrinsics.distortion must have"),
        ({"distortion_model": "magic"}, "Intrinsics.distortion_model must be"),
    ],
)
def test_validator_rejects(change, message):
    values = {"fx": 100.0, "fy": 100.0, "cx": 50.0, "cy": 40.0, "width": 100, "height": 80} | change
    with pytest.raises(ValueError, match=message):
        Intrinsics(**values)


def test_a_lens_of_zeros_is_no_lens():
    assert not Intrinsics(100, 100, 50, 40, 100, 80, (0.0,) * 4).is_distorted
    assert BARREL.is_distorted
    assert not BARREL.undistorted().is_distorted


def test_fisheye_without_coefficients_is_the_equidistant_lens():
    for zeros in ((), (0.0,) * 4):
        fisheye = Intrinsics(100.0, 100.0, 50.0, 40.0, 100, 80, zeros, "fisheye")
        assert fisheye.is_distorted
        np.testing.assert_allclose(fisheye.project([[1.0, 0.0, 1.0]]), [[50 + 100 * np.pi / 4, 40]])
        np.testing.assert_allclose(fisheye.rays()[40, 90], [np.tan(0.4), 0, 1], atol=1e-6)
        assert fisheye.undistorted() == Intrinsics(100.0, 100.0, 50.0, 40.0, 100, 80)


def test_cameras_of_frames_of_a_phone_are_alike():
    camera = Intrinsics(1500.0, 1500.0, 959.5, 719.5, 1920, 1440)
    assert camera.is_like(replace(camera, fx=1503.0, cx=962.0))
    assert not camera.is_like(replace(camera, fx=1530.0))
    assert not camera.is_like(replace(camera, cy=750.0))
    assert not camera.is_like(replace(camera, width=1919))
    assert not camera.is_like(replace(camera, distortion=(0.1, 0.0, 0.0, 0.0)))
