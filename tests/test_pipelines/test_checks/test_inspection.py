"""Inspection finds the right convention when the assumed one is wrong, and reports missing evidence."""

from __future__ import annotations

import itertools
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import sequence_folders as folders
from helpers import m2h

from mapping.se3 import interpolate, inverse
from pipelines import open_sequence
from pipelines.checks.inspection import Inspection, inspect_sequence, write_fix
from pipelines.checks.sampler import FrameSampler
from pipelines.checks.sequence_check import check_sequence
from pipelines.frame import SequenceError
from pipelines.images import write_png
from pipelines.sequences.conventions import CAMERA_AXES, POSE_DIRECTIONS, Convention, PoseDirection
from pipelines.sequences.recorded import Details, RecordedSequence

DATA = Path(__file__).parents[3].parent / "shared" / "data"
POSES = folders.room_poses(12)
CONVENTIONS = [Convention(direction, axes) for direction, axes in itertools.product(POSE_DIRECTIONS, CAMERA_AXES)]
QUICK = [("camera_to_world", "opencv"), ("world_to_camera", "opencv"), ("camera_to_world", "opengl")]


def ids(convention: Convention) -> str:
    return f"{convention.pose_direction}-{convention.camera_axes}"


SOME = [*QUICK, *zip(itertools.cycle(reversed(POSE_DIRECTIONS)), CAMERA_AXES[2:], strict=False)]
"""The conventions of the default tests: all directions and axes, but not each with each."""


def marks(convention: Convention) -> pytest.MarkDecorator | tuple[()]:
    name = (convention.pose_direction, convention.camera_axes)
    return () if name in QUICK else pytest.mark.slow if name in SOME else pytest.mark.full


EACH = [pytest.param(c, id=ids(c), marks=marks(c)) for c in CONVENTIONS]


def inspected(path: Path, convention: Convention, *, depth_scale: float | None = 1000.0) -> Inspection:
    """The room with its poses stored in a convention, inspected by a reader that assumes camera-to-world and OpenCV."""
    folders.write_room(path, convention.stored_matrix(POSES), POSES, depth_scale=depth_scale)
    return inspect_sequence(open_sequence(path))


@pytest.mark.parametrize("convention", EACH)
def test_convention_is_found_with_depth(tmp_path: Path, convention: Convention) -> None:
    found = inspected(tmp_path / "seq", convention)
    assert found.check.conventions.evidence == "depth"
    assert found.check.conventions.best is not None
    assert found.check.conventions.best.convention == convention
    assert found.check.conventions.best.agreement > 0.97
    assert found.check.conventions.verdict == ("right" if convention == Convention() else "wrong")
    assert found.check.conventions.undecided == ()


@pytest.mark.parametrize("convention", EACH)
def test_convention_is_found_without_depth(tmp_path: Path, convention: Convention) -> None:
    found = inspected(tmp_path / "seq", convention, depth_scale=None)
    assert found.check.conventions.evidence == "images"
    assert found.check.conventions.best is not None
    assert found.check.conventions.best.convention == convention
    assert found.check.conventions.verdict == ("right" if convention == Convention() else "wrong")
    assert found.depth is None
    assert found.estimate is None


@pytest.mark.parametrize("scale", [5000.0, pytest.param(6553.5, marks=pytest.mark.full), 4000.0])
def test_depth_scale_is_found(tmp_path: Path, scale: float) -> None:
    found = inspected(tmp_path / "seq", Convention(), depth_scale=scale)
    assert found.check.conventions.verdict == "wrong"
    assert found.check.conventions.best is not None
    assert found.check.conventions.best.convention == Convention(depth_scale=scale)


def test_unusual_depth_scale_is_measured(tmp_path: Path) -> None:
    """Poses in another unit than depth: of an up-to-scale reconstruction, say."""
    found = inspected(tmp_path / "seq", Convention(), depth_scale=2345.0)
    assert found.check.conventions.verdict == "wrong"
    assert found.check.conventions.best is not None
    assert found.check.conventions.best.convention.depth_scale == pytest.approx(2345, rel=0.03)
    assert found.check.conventions.best.convention.camera_axes == "opencv"


def test_the_unit_of_poses_is_not_judged_where_it_is_unknown(tmp_path: Path) -> None:
    scaled = POSES.copy()
    scaled[:, :3, 3] *= 2.5
    folders.write_room(tmp_path / "seq", scaled, POSES)
    sequence = open_sequence(tmp_path / "seq")
    verdicts = []
    for metric in (True, False):
        sampler = FrameSampler(sequence, list(range(len(POSES))))
        verdicts.append(check_sequence(sequence, sampler, metric=metric).conventions)
    assert [found.verdict for found in verdicts] == ["wrong", "right"]
    assert verdicts[1].assumed_score is not None
    assert verdicts[1].assumed_score.agreement > 0.95


def test_two_mistakes_at_once(tmp_path: Path) -> None:
    found = inspected(tmp_path / "seq", Convention("world_to_camera", "opengl"), depth_scale=5000.0)
    assert found.check.conventions.best is not None
    assert found.check.conventions.best.convention == Convention("world_to_camera", "opengl", 5000.0)


def test_fix_makes_it_right(tmp_path: Path) -> None:
    path = tmp_path / "seq"
    found = inspected(path, Convention("world_to_camera", "opengl"), depth_scale=5000.0)
    (path / "m2h.yaml").write_text("world_up: [0, 0, 1]\n")
    written = write_fix(open_sequence(path), found)
    assert written == path / "m2h.yaml"
    again = open_sequence(path)
    np.testing.assert_allclose(again[3].T_world_camera, POSES[3], atol=1e-9)
    assert again.world_up == (0, 0, 1)
    checked = inspect_sequence(again)
    assert "unit of the poses: metre" in checked.lines()
    assert (checked.check.conventions.verdict, checked.check.conventions.undecided) == ("right", ())
    assert write_fix(again, checked) is None


def test_camera_that_stands_still_is_undetermined(tmp_path: Path) -> None:
    poses = np.repeat(POSES[:1], 5, axis=0)
    folders.write_room(tmp_path / "seq", poses, poses)
    found = inspect_sequence(open_sequence(tmp_path / "seq"))
    assert found.check.conventions.verdict == "undecided"
    assert Convention("world_to_camera") in found.check.conventions.undecided
    assert any("too little motion to rule out" in line for line in found.lines())


def test_poses_of_another_recording_fit_no_convention(tmp_path: Path) -> None:
    other = folders.room_poses(12, turn_deg=-11, step=0.2)[::-1]
    folders.write_room(tmp_path / "seq", other, POSES)
    found = inspect_sequence(open_sequence(tmp_path / "seq"))
    assert found.check.conventions.verdict == "unclear"
    assert any("UNCLEAR" in line for line in found.lines())


def test_one_frame_proves_nothing(tmp_path: Path) -> None:
    folders.write_room(tmp_path / "seq", POSES[:1], POSES[:1])
    found = inspect_sequence(open_sequence(tmp_path / "seq"))
    conventions = found.check.conventions
    assert (conventions.evidence, conventions.verdict, conventions.best) == ("none", "undecided", None)
    assert found.frame_rate is None
    assert found.check.focal_length is None
    assert found.check.contradictions == []
    assert any("undetermined" in line for line in found.lines())


@pytest.mark.parametrize("direction", [pytest.param("camera_to_world", marks=pytest.mark.full), "world_to_camera"])
def test_depth_along_the_ray_is_found_and_corrected(tmp_path: Path, direction: PoseDirection) -> None:
    """Depth images that hold the distance from the camera, with right and with inverted poses."""
    path = tmp_path / "seq"
    folders.write_room(path, Convention(direction).stored_matrix(POSES), POSES)
    lengths = np.linalg.norm(folders.ROOM_CAMERA.rays(), axis=-1)
    for i, pose in enumerate(POSES):
        z = folders.room_picture(pose)[1]
        write_png(path / f"depth/{i:05d}.png", np.rint(z * lengths * 1000).astype(np.uint16))
    sequence = open_sequence(path)
    found = inspect_sequence(sequence)
    assert found.check.conventions.verdict == "wrong"
    assert found.check.conventions.best is not None
    assert found.check.conventions.best.convention == Convention(direction, depth_kind="ray")
    write_fix(sequence, found)
    again = open_sequence(path)
    np.testing.assert_allclose(again[3].recorded.depth, folders.room_picture(POSES[3])[1], atol=2e-3)
    assert inspect_sequence(again).check.conventions.verdict == "right"


@pytest.mark.parametrize("late", [0.2, -0.15])
def test_poses_of_other_times_are_found_and_corrected(tmp_path: Path, late: float) -> None:
    """Thirty images a second of a slow walk; pose i is that of the image some frames before or after."""
    path, frames = tmp_path / "seq", 48
    coarse = folders.room_poses(16, turn_deg=6.0, step=0.15)
    poses = np.array([interpolate(a, b, k / 4) for a, b in itertools.pairwise(coarse) for k in range(4)])
    start = 6
    stored = poses[start + round(late * 30) :][:frames]
    folders.write_room(path, stored, poses[start : start + frames], depth_scale=None)
    sequence = open_sequence(path)
    found = inspect_sequence(sequence)
    assert found.check.time_offset is not None
    assert found.check.time_offset.seconds == pytest.approx(-late, abs=0.021)
    assert len(found.check.contradictions) == 1
    write_fix(sequence, found)
    again = open_sequence(path)
    kept = next(info for info in again.infos if info.used)
    np.testing.assert_allclose(kept.T_world_camera, poses[start + kept.index], atol=0.03)
    assert inspect_sequence(again).check.time_offset is None


def test_estimate_of_all_frames_counts_their_blocks(tmp_path: Path) -> None:
    """Nothing is extrapolated where every frame was looked at."""
    folders.write_room(tmp_path / "seq", POSES[:1], POSES[:1])
    one = inspect_sequence(open_sequence(tmp_path / "seq")).estimate
    folders.write_room(tmp_path / "more", POSES, POSES)
    more = inspect_sequence(open_sequence(tmp_path / "more")).estimate
    assert one is not None
    assert more is not None
    assert one.blocks < more.blocks < 3 * one.blocks


def test_counts_and_statistics(tmp_path: Path) -> None:
    path = tmp_path / "seq"
    stored = POSES.copy()
    stored[4] = -np.inf
    folders.write_room(path, stored, POSES)
    picture, z = folders.room_picture(POSES[0])
    z[:60] = 0
    write_png(path / "depth/00000.png", np.rint(z * 1000).astype(np.uint16))
    write_png(path / "images/00007.png", np.full_like(picture, 90))
    broken = (path / "images/00009.png").read_bytes()
    (path / "images/00009.png").write_bytes(broken[:-20])
    found = inspect_sequence(open_sequence(path), voxel_size=0.05)
    assert (found.frames, found.used, found.reasons) == (12, 11, {"lost pose": 1})
    assert list(found.broken) == [9]
    assert "truncated" in found.broken[9]
    assert found.cameras == ((folders.ROOM_CAMERA, 10),)
    assert found.frame_rate == pytest.approx(30)
    assert found.duration == pytest.approx(11 / 30)
    assert [gap.after for gap in found.gaps] == []
    assert found.blurred == pytest.approx(0.1)
    assert found.depth is not None
    assert found.depth.coverage == pytest.approx(0.95)
    assert 0.2 < found.depth.near < found.depth.median < found.depth.far < 6
    text = json.dumps(found.to_json(), allow_nan=False)
    assert json.loads(text)["check"]["verdict"] == "right"
    assert any("broken: frame 9" in line for line in found.lines())


def test_map_estimate_is_near_the_room(tmp_path: Path) -> None:
    """The walls, floor and ceiling of the room that were seen, within a factor of two."""
    poses = folders.room_poses(40, turn_deg=9.5, step=0.02)
    folders.write_room(tmp_path / "seq", poses, poses)
    found = inspect_sequence(open_sequence(tmp_path / "seq"), voxel_size=0.05)
    assert found.estimate is not None
    side = 8 * 0.05
    shell = (5 / side + 2) * (4 / side + 2) * (2.5 / side + 2) - (5 / side - 2) * (4 / side - 2) * (2.5 / side - 2)
    assert 0.4 * shell < found.estimate.blocks < 1.6 * shell
    assert found.estimate.memory_mb == pytest.approx(found.estimate.blocks / 64)


def test_gaps_and_jumps(tmp_path: Path) -> None:
    path = tmp_path / "seq"
    folders.write_tum(path)
    stamps = [100 + 0.05 * i for i in range(10)] + [101.0, 101.05]
    for t in stamps:
        write_png(path / f"rgb/{t:.6f}.png", folders.rgb(0))
    (path / "rgb.txt").write_text("".join(f"{t:.6f} rgb/{t:.6f}.png\n" for t in stamps))
    poses = "".join(f"{t:.6f} {0.01 * i + 2 * (i > 6)} 0 0 0 0 0 1\n" for i, t in enumerate(stamps))
    (path / "groundtruth.txt").write_text(poses)
    found = inspect_sequence(open_sequence(path))
    assert [(gap.after, round(gap.seconds, 6)) for gap in found.gaps] == [(9, 0.55)]
    assert found.jumps == (7,)
    assert found.trajectory_length == pytest.approx(2.11)


def test_sequence_of_broken_images_is_an_error(tmp_path: Path) -> None:
    folders.write_room(tmp_path / "seq", POSES[:3], POSES[:3])
    for file in (tmp_path / "seq/images").iterdir():
        file.write_bytes(file.read_bytes()[:-20])
    with pytest.raises(SequenceError, match="none of 3 sampled frames can be read"):
        inspect_sequence(open_sequence(tmp_path / "seq"))


def recorded(name: str) -> RecordedSequence:
    if not (DATA / name).is_dir():
        pytest.skip(f"recorded sequence {name} is not there")
    sequence = open_sequence(DATA / name)
    assert isinstance(sequence, RecordedSequence)
    return sequence


def misread(sequence: RecordedSequence, true: Convention, assumed: Convention) -> RecordedSequence:
    """The sequence as if its files were stored in `true` and read with `assumed`."""
    records = []
    for info in sequence.infos:
        record = sequence.files(info.index)
        matrix = None if info.T_world_camera is None else true.stored_matrix(info.T_world_camera)
        records.append(replace(record, matrix=matrix))
    return RecordedSequence(sequence.path, sequence.format, records, Details(assumed))


@pytest.mark.parametrize(
    ("name", "agreement"),
    [
        ("tum_fr1_desk", 0.95),
        pytest.param("hololens_office", 0.95, marks=pytest.mark.full),
        pytest.param("redkitchen", 0.9, marks=pytest.mark.full),
    ],
)
def test_recorded_sequences_are_right_as_they_are(name: str, agreement: float) -> None:
    found = inspect_sequence(recorded(name))
    assert (found.check.conventions.evidence, found.check.conventions.verdict, found.check.conventions.undecided) == (
        "depth",
        "right",
        (),
    )
    assert found.check.conventions.assumed_score is not None
    assert found.check.conventions.assumed_score.agreement > agreement


MISTAKES = {
    "inverted": lambda c: replace(c, pose_direction="world_to_camera"),
    "opengl": lambda c: replace(c, camera_axes="opengl"),
    "scale": lambda c: replace(c, depth_scale=1000.0 if c.depth_scale == 5000 else 5000.0),
}


LONGER = [pytest.param(name, marks=pytest.mark.full) for name in ("hololens_office", "redkitchen")]


@pytest.mark.parametrize("mistake", MISTAKES)
@pytest.mark.parametrize("name", ["tum_fr1_desk", *LONGER])
def test_mistakes_in_recorded_sequences_are_found(name: str, mistake: str) -> None:
    sequence = recorded(name)
    true = MISTAKES[mistake](sequence.convention)
    if mistake == "scale":  # its files are what they are: assume another scale
        wrong, true = true, sequence.convention
    else:
        wrong = sequence.convention
    found = inspect_sequence(misread(sequence, true, wrong))
    assert found.check.conventions.verdict == "wrong"
    assert found.check.conventions.best is not None
    assert found.check.conventions.best.convention == true


@pytest.mark.slow
@pytest.mark.parametrize("name", ["tum_fr1_desk", *LONGER])
def test_recorded_sequences_without_their_depth(name: str) -> None:
    sequence = recorded(name)
    records = [replace(sequence.files(info.index), depth=None) for info in sequence.infos]
    found = inspect_sequence(RecordedSequence(sequence.path, sequence.format, records, Details(sequence.convention)))
    assert (found.check.conventions.evidence, found.check.conventions.verdict, found.check.conventions.undecided) == (
        "images",
        "right",
        (),
    )


def test_mirrored_poses_are_not_mistaken_for_inverted_ones() -> None:
    """The relative poses of the candidates differ from each other on the room's walk."""
    relative = {ids(c): inverse(c.T_world_camera(POSES[3])) @ c.T_world_camera(POSES[0]) for c in CONVENTIONS}
    for a, b in itertools.combinations(relative, 2):
        assert not np.allclose(relative[a], relative[b], atol=1e-3), (a, b)


def test_a_range_of_frames_is_inspected(box_room):
    result = json.loads(m2h("inspect", box_room, "--range", "5:20", "--json").stdout)
    assert result["used"] == 15
    assert result["reasons"] == {"excluded by the range": 15}
    text = m2h("inspect", box_room, "--range", "90:", code=1).stderr
    assert text == f"m2h: {box_room}: no usable frame from 90 to the end\n"
    text = m2h("inspect", box_room, "--range", "a:b", code=1).stderr
    assert text == "m2h: --range a:b: expected A:B, frame indices, either may be empty\n"
