"""What a run says before it begins."""

import pytest
from helpers import m2h

from pipelines import PipelineConfig, open_sequence
from pipelines.cli.run import announced
from pipelines.estimate import duration, expected
from pipelines.settings import FramesConfig


def test_the_frames_the_source_and_the_time_are_named(box_room):
    found = expected(open_sequence(box_room), "auto", PipelineConfig(frames=FramesConfig(stride=3)))
    assert found.text().startswith(
        "mapping 10 of 30 frames with recorded depth, in voxels of 4 cm; estimate for two cores"
    )


def test_images_alone_are_mapped_by_the_network_and_take_longer(box_room, images_only):
    recorded = expected(open_sequence(box_room), "auto", PipelineConfig())
    alone = expected(open_sequence(images_only), "auto", PipelineConfig())
    assert "with the shipped network" in alone.text()
    assert alone.seconds[0] > recorded.seconds[0]
    assert expected(open_sequence(images_only), "hf:depth=a/b", PipelineConfig()).depth_from == "--source hf:depth=a/b"


def test_twice_the_frames_take_longer_but_not_twice_as_long(box_room):
    times = [
        expected(open_sequence(box_room), "m2h", PipelineConfig(frames=FramesConfig(stride=stride))).seconds[1]
        for stride in (2, 1)
    ]
    assert times[0] < times[1] < 2 * times[0]


@pytest.mark.parametrize(
    ("seconds", "text"), [(2, "5 seconds"), (43, "45 seconds"), (200, "3 minutes"), (5400, "1.5 hours")]
)
def test_durations_are_said_as_people_do(seconds, text):
    assert duration(seconds) == text


def test_it_is_said_once_and_not_where_there_is_nothing_to_do(capsys):
    steps = []
    report = announced(lambda *step: steps.append(step), lambda: "the plan")
    report("sequence", 0, 0)
    assert capsys.readouterr().err == ""
    for done in (1, 2):
        report("fuse", done, 2)
    assert capsys.readouterr().err == "the plan\n"
    assert steps == [("sequence", 0, 0), ("fuse", 1, 2), ("fuse", 2, 2)]


@pytest.mark.slow
def test_the_command_says_it_first(box_room, tmp_path):
    command = ("run", box_room, "--out", tmp_path / "run", "--range", "0:6", "--voxel", 0.1)
    lines = m2h(*command).stderr.splitlines()
    assert lines[0].startswith("sequence (nerfstudio): mapping 6 of 30 frames with recorded depth")
    assert m2h(*command, "-q").stderr == ""
