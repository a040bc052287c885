"""Frames are picked where the picture is sharp, evenly over its motion, and never too many."""

import cv2
import numpy as np
import pytest

from pipelines.images import write_png
from pipelines.posing.picking import (
    LEAST_MOTION,
    LOST,
    Looks,
    candidates,
    look_at_recording,
    motion_between,
    pick,
    relative_sharpness,
    sharpness_of,
)
from pipelines.posing.plain_recording import open_plain


def looks(motion, sharpness=None, rate=10.0):
    count = len(motion)
    sharpness = np.ones(count) if sharpness is None else np.asarray(sharpness, float)
    return Looks(np.arange(count) * 3, np.arange(count) / rate, sharpness, np.asarray(motion, float))


def texture(seed=0, size=(240, 400)):
    noise = np.random.default_rng(seed).integers(0, 255, size, dtype=np.uint8)
    return cv2.normalize(cv2.GaussianBlur(noise, (0, 0), 2.0), None, 0, 255, cv2.NORM_MINMAX)


def test_images_that_differ_much_are_all_picked():
    picked, reasons = pick(looks([0, 0.3, 0.2, 0.5]), max_frames=100)
    assert (picked, reasons) == ([0, 3, 6, 9], {})


def test_frames_are_spread_over_motion_and_bounded():
    motion = np.where(np.arange(300) < 100, 0.002, 0.02)
    picked, reasons = pick(looks(motion), max_frames=20)
    assert len(picked) <= 20
    assert sum(position < 300 for position in picked) <= 3  # a third of the time, a twentieth of the motion
    assert set(reasons.values()) == {"close to the frames that were picked"}
    assert len(picked) + len(reasons) == 300


def test_jumps_take_no_frames_from_the_rest():
    motion = np.full(200, LEAST_MOTION + 1e-9)
    motion[::4] = LOST
    picked, reasons = pick(looks(motion), max_frames=200)
    assert (len(picked), reasons) == (200, {})
    assert 80 < len(pick(looks(motion), max_frames=100)[0]) <= 100


def test_the_sharpest_frame_of_a_stretch_is_picked_and_blurred_ones_are_named():
    sharpness = np.tile([1.0, 1.0, 4.0, 0.1, 1.0], 20)
    picked, reasons = pick(looks(np.full(100, LEAST_MOTION / 5 + 1e-9), sharpness), max_frames=100)
    assert {position // 3 % 5 for position in picked} == {2}
    assert {position // 3 % 5 for position, reason in reasons.items() if reason == "blurred"} == {3}


def test_a_stretch_of_blurred_frames_leaves_no_gap():
    sharpness = np.where((np.arange(60) > 20) & (np.arange(60) < 40), 0.01, 1.0)
    picked, _ = pick(looks(np.full(60, LEAST_MOTION), sharpness), max_frames=100)
    assert np.diff(picked).max() <= 6


def test_a_camera_at_rest_is_looked_at_now_and_then():
    picked, _ = pick(looks(np.zeros(100)), max_frames=100)
    assert 5 <= len(picked) <= 8  # ten seconds


def test_sharpness_is_relative_to_the_neighbours():
    sharpness = np.concatenate([np.full(30, 100.0), np.full(30, 1.0)])
    np.testing.assert_allclose(relative_sharpness(sharpness)[[5, 50]], 1.0)


def test_blur_lowers_sharpness():
    sharp = texture()
    assert sharpness_of(cv2.GaussianBlur(sharp, (0, 0), 3.0)) < 0.2 * sharpness_of(sharp)


def test_motion_is_a_share_of_the_width():
    wide = texture(size=(240, 400))
    before, after = wide[:, :320], wide[:, 16:336]
    assert motion_between(before, after) == pytest.approx(16 / 320, abs=0.005)


def test_unrelated_pictures_and_empty_ones_count_as_far_away():
    grey = np.full((240, 320), 128, np.uint8)
    assert motion_between(grey, grey) == LOST
    assert motion_between(texture(1, (240, 320)), grey) == LOST
    assert motion_between(texture(1, (240, 320)), texture(2, (240, 320))) == LOST


def test_unreadable_images_are_named(tmp_path):
    for i in range(4):
        write_png(tmp_path / f"{i}.png", np.repeat(texture(i, (60, 80))[..., None], 3, axis=2))
    whole = (tmp_path / "2.png").read_bytes()
    (tmp_path / "2.png").write_bytes(whole[: len(whole) // 2])
    recording = open_plain(tmp_path)
    found, broken = look_at_recording(recording)
    assert found.positions.tolist() == [0, 1, 3]
    assert list(broken) == [2]
    assert "2.png" in broken[2]


def test_of_a_video_some_frames_per_second_are_candidates(tmp_path):
    path = tmp_path / "walk.avi"
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*"MJPG"), 60.0, (64, 48))
    for i in range(60):
        writer.write(np.full((48, 64, 3), i, np.uint8))
    writer.release()
    recording = open_plain(path)
    assert (len(recording.sources), recording.size, recording.name) == (60, (64, 48), "walk")
    assert candidates(recording) == list(range(0, 60, 5))
