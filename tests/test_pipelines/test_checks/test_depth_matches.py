"""Rooms without texture: their depth tells a wrong focal length, poses of other times, and another scale."""

import json
import re
import shutil

import numpy as np
import pytest

from pipelines import open_sequence, run
from pipelines.checks.advice import advice
from pipelines.checks.depth_matches import depth_matches
from pipelines.checks.depth_scale import scale_by_depth
from pipelines.checks.focal import FocalLength, measure_focal_length
from pipelines.checks.inspection import fix_entries, inspect_sequence
from pipelines.checks.measurements import more_certain
from pipelines.checks.sampler import FrameSampler
from pipelines.checks.sequence_check import check_sequence
from pipelines.checks.timing import measure_time_offset
from pipelines.config import config_from_mapping
from pipelines.frame import SequenceError
from pipelines.settings import PipelineConfig


@pytest.fixture
def changed(box_room, tmp_path):
    """Opens the room with its header changed, and its frames' samples."""

    def opened(change):
        shutil.copytree(box_room, tmp_path / "room", dirs_exist_ok=True)
        header = json.loads((box_room / "transforms.json").read_text())
        change(header)
        (tmp_path / "room/transforms.json").write_text(json.dumps(header))
        sequence = open_sequence(tmp_path / "room")
        return sequence, FrameSampler(sequence, list(range(len(sequence.infos))))

    return opened


def with_focal(factor):
    def change(header):
        for key in ("fl_x", "fl_y"):
            header[key] *= factor

    return change


def with_depth(factor):
    def change(header):
        header["depth_unit_scale_factor"] *= factor

    return change


def with_poses_late(frames):
    def change(header):
        matrices = [frame["transform_matrix"] for frame in header["frames"]]
        kept = range(frames, len(matrices))
        header["frames"] = [header["frames"][i] | {"transform_matrix": matrices[i - frames]} for i in kept]

    return change


def test_a_room_that_is_read_rightly_raises_no_alarm(changed):
    sequence, sampler = changed(lambda header: None)
    found = check_sequence(sequence, sampler)
    assert found.contradictions == found.doubts == []
    pairs = depth_matches(sampler)
    focal, scale = measure_focal_length(pairs), scale_by_depth(pairs)
    assert (focal.found / focal.given, focal.by) == (pytest.approx(1, abs=0.005), "depth")
    assert (scale.ratio, scale.focal_known) == (pytest.approx(1, abs=0.005), True)
    assert measure_time_offset(pairs, sampler.used_infos) is None


@pytest.mark.parametrize("factor", [0.9, 0.95, 1.05, 1.1])
def test_a_wrong_focal_length_is_found(changed, factor):
    sequence, sampler = changed(with_focal(factor))
    found = check_sequence(sequence, sampler)
    assert found.contradictions == []
    assert found.focal_length.found == pytest.approx(90, rel=0.01)
    assert f"{90 * factor:.0f} pixels, but 90 pixels fit the depth" in found.doubts[0]
    assert found.depth_scale is None  # which the focal length explains


CERTAIN = [
    ((95.3, False), (95.3, True), "depth"),  # three pairs of images prove nothing, and say the same
    ((95.1, True), (95.3, True), "images"),
    ((100.2, False), (95.3, True), "images"),  # depth of another camera
    ((100.2, False), (100.1, False), "images"),
]


@pytest.mark.parametrize(("by_images", "by_depth", "chosen"), CERTAIN)
def test_depth_says_the_focal_length_where_few_images_match(by_images, by_depth, chosen):
    given = 100.0
    images = FocalLength(given, by_images[0], 0.6, 2.6, 1.8, 0.0, 3, by_images[1])
    depth = FocalLength(given, by_depth[0], 0.1, 0.016, 0.008, 0.0, 13, by_depth[1], by="depth")
    assert more_certain(images, depth).by == chosen
    assert more_certain(None, depth) is depth
    assert more_certain(images, None) is images


class PairOfStillFrames:
    """Depths that agree better with another factor, by little where the slope is small."""

    def __init__(self, best, slope=1.3):
        self.best, self.slope = best, slope

    def error(self, depth_factor=1.0):
        return 0.002 * (1 + self.slope * abs(np.log(depth_factor / self.best)))

    def with_depth_times(self, factor):
        return self


def test_no_scale_is_said_where_another_one_fits_a_little_better(monkeypatch):
    """A camera that hardly moves: the scale of the files was called right, to a per cent."""
    monkeypatch.setattr("pipelines.checks.depth_scale.measure_focal_length", lambda pairs: None)
    assert scale_by_depth([PairOfStillFrames(1 / 1.15)] * 5) is None
    assert scale_by_depth([PairOfStillFrames(1.0)] * 5).ratio == 1.0
    assert scale_by_depth([PairOfStillFrames(1 / 1.15, slope=4.0)] * 5).ratio == pytest.approx(1.15, rel=0.01)


@pytest.mark.parametrize("factor", [0.85, 0.95, 1.05, 1.15])
def test_a_wrong_scale_is_found(changed, factor):
    sequence, sampler = changed(with_depth(factor))
    found = check_sequence(sequence, sampler)
    assert found.depth_scale.ratio == pytest.approx(factor, rel=0.005)
    assert found.depth_scale.focal_known
    told = found.contradictions if abs(np.log(factor)) > 0.1 else found.doubts
    assert [text.startswith("the scale of depth does not fit the poses") for text in told] == [True]
    assert found.focal_length is None or not found.focal_length.is_wrong


@pytest.mark.parametrize("frames", [2, 4])
def test_poses_of_another_time_are_found(changed, frames):
    sequence, sampler = changed(with_poses_late(frames))
    found = check_sequence(sequence, sampler)
    assert found.time_offset.seconds == pytest.approx(frames / 10, abs=0.06)  # steps of 0.05 s
    assert "fit the depth (depths of frames differ by" in found.contradictions[0]


@pytest.mark.parametrize("scale", [0.2, 0.87, 1.16, 2.0])
def test_a_given_scale_is_compared_with_recorded_depth(box_room, tmp_path, scale):
    def mapped(given):
        settings = {"tsdf": {"voxel_size": 0.1}, "align": {"pose_scale": given}}
        config = config_from_mapping(PipelineConfig, settings, "test")
        return run(open_sequence(box_room), tmp_path / f"{given}", source="recorded", config=config, until="check")

    with pytest.raises(
        SequenceError, match=f"with --scale {scale:g}, by which the poses are multiplied first: "
    ) as told:
        mapped(scale)
    advised = float(re.search(r"--scale ([0-9.]+)[` ]*maps in", str(told.value)).group(1))
    assert advised == pytest.approx(1, abs=0.02)
    assert "depth_scale" in str(told.value)
    assert "inspect --fix" not in str(told.value)  # inspect sees the poses as they are, to which depth fits
    assert mapped(1.0)["stages"]["check"]["warnings"] == []


def test_poses_in_a_unit_of_their_own_do_not_rescale_recorded_depth(changed):
    """As those of structure from motion next to millimetres of a sensor."""

    def change(header):
        for frame in header["frames"]:
            for row in frame["transform_matrix"][:3]:
                row[3] /= 0.37

    sequence, _ = changed(change)
    found = inspect_sequence(sequence)
    assert found.check.conventions.verdict == "wrong"
    assert found.check.conventions.unit_ratio == pytest.approx(0.37, rel=0.02)
    assert "`--scale 0.369" in advice(found.check)
    assert "--fix" not in advice(found.check)
    assert fix_entries(found) == {}
