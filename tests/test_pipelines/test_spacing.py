"""Frames between which the camera hardly moves are asked of a network once."""

from dataclasses import replace

import numpy as np
import pytest
from sequence_folders import room_poses, write_room
from textured_wall import CAMERA, CONFIG, Wall

from pipelines import open_sequence
from pipelines.estimate import expected
from pipelines.frame import FrameInfo
from pipelines.loading import chosen_positions
from pipelines.pipeline import run
from pipelines.settings import AlignConfig, FramesConfig, PipelineConfig, SpacingConfig
from pipelines.spacing import positions_apart, with_frames_decided

SPACING = SpacingConfig(mode="on", metres=0.1, degrees=5.0, seconds=1.0)


def frames(xs, degrees, times):
    """Cameras at x in metres that look to the side by an angle."""
    infos = []
    for i, (x, angle, time) in enumerate(zip(xs, np.deg2rad(degrees), times, strict=True)):
        T = np.eye(4)
        T[:3, :3] = [[np.cos(angle), 0, np.sin(angle)], [0, 1, 0], [-np.sin(angle), 0, np.cos(angle)]]
        T[0, 3] = x
        infos.append(FrameInfo(i, time, f"{i}.png", True, "", T, CAMERA))
    return infos


def apart(infos, config=SPACING):
    return positions_apart(infos, range(len(infos)), config)


def test_a_frame_is_taken_when_the_camera_has_moved_turned_or_waited():
    still = np.zeros(6)
    times = np.arange(6) / 10
    assert apart(frames([0, 0.04, 0.08, 0.12, 0.16, 0.2], still, times)) == [0, 3]
    assert apart(frames(still, [0, 2, 4, 6, 8, 12], times)) == [0, 3, 5]
    assert apart(frames(still, still, [0, 0.5, 1.0, 1.5, 2.5, 2.6])) == [0, 2, 4]
    # It is compared with the last that was taken: a slow walk adds up.
    assert apart(frames(np.arange(6) * 0.05, still, times)) == [0, 2, 4]


def test_frames_far_apart_are_all_taken():
    infos = frames(np.arange(5) * 0.3, np.zeros(5), np.arange(5) / 30)
    assert apart(infos) == [0, 1, 2, 3, 4]
    lost = [*infos[:2], replace(infos[2], T_world_camera=None), *infos[3:]]
    assert apart(lost) == [0, 1, 3, 4]


def test_the_sharpest_of_a_stretch_is_taken():
    """Blurred images take fewer bytes; other formats, other sizes and frames without a pose are not compared."""
    infos = frames([0, 0.04, 0.08, 0.12, 0.16, 0.2], np.zeros(6), np.arange(6) / 10)
    sized = [replace(info, file_bytes=n) for info, n in zip(infos, (5, 9, 7, 4, 4, 3), strict=True)]
    assert apart(sized) == [1, 3]
    assert apart([replace(sized[0], file_bytes=0), *sized[1:]]) == [1, 3]
    lost = replace(sized[1], T_world_camera=None)
    assert apart([sized[0], lost, *sized[2:]]) == [2, 3]
    assert apart([sized[0], replace(sized[1], image="1.jpg"), *sized[2:]]) == [2, 3]
    large = replace(sized[1], intrinsics=CAMERA.resized(2 * CAMERA.width, 2 * CAMERA.height))
    assert apart([sized[0], large, *sized[2:]]) == [2, 3]


def test_readers_say_how_large_the_file_of_an_image_is(tmp_path):
    folder = tmp_path / "seq"
    write_room(folder, *(2 * [room_poses(3)]))
    infos = open_sequence(folder).infos
    assert [info.file_bytes for info in infos] == [(folder / info.image).stat().st_size for info in infos]


@pytest.mark.parametrize(
    ("metric", "costly", "changes", "mode"),
    [
        (True, True, {}, "on"),
        (True, False, {}, "off"),
        (False, True, {}, "off"),
        (True, True, {"frames": FramesConfig(stride=2)}, "on"),
        (True, False, {"frames": FramesConfig(spacing=SPACING)}, "on"),
        (True, True, {"frames": FramesConfig(spacing=SpacingConfig(mode="off"))}, "off"),
    ],
)
def test_auto_leaves_frames_out_where_each_costs(metric, costly, changes, mode):
    wall = Wall()
    wall.is_metric = metric
    decided = with_frames_decided(PipelineConfig(**changes), wall, is_costly=costly)
    assert decided.frames.spacing.mode == mode
    assert with_frames_decided(decided, wall, is_costly=not costly) == decided


def test_distances_are_metres_in_any_unit_of_the_poses():
    """Poses in feet, said to be so."""
    wall = Wall()
    wall.is_metric = False
    config = PipelineConfig(align=AlignConfig(pose_scale=0.3048))
    decided = with_frames_decided(config, wall, is_costly=True)
    assert decided.frames.spacing.metres * 0.3048 == pytest.approx(config.frames.spacing.metres)


def test_nothing_is_left_out_before_it_is_decided():
    wall = Wall(9, spacing=0.01)
    assert chosen_positions(wall, FramesConfig()) == list(range(9))
    assert len(chosen_positions(wall, FramesConfig(spacing=SPACING))) == 1


def test_a_run_from_images_leaves_out_what_is_close_and_says_so(tmp_path, monkeypatch):
    monkeypatch.setattr("pipelines.pipeline.input_fingerprint", lambda sequence: "wall")
    wall = Wall(24, spacing=0.021)
    manifest = run(wall, tmp_path, source="multiview", config=CONFIG, until="sequence")
    # 0.021 m and 0.1 s a frame: every second frame is more than 0.04 m on.
    summary = manifest["stages"]["sequence"]["summary"]
    assert summary["used"] == 12
    assert summary["unused"] == {"close to a sharper frame": 12}
    assert expected(wall, "multiview", CONFIG).frames == 12
    assert expected(wall, "recorded", CONFIG).frames == 24
