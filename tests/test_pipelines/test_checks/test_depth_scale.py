"""The scale of recorded depth is measured against the poses, and the unit of poses against predicted depth."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import sequence_folders as folders
from scipy.spatial.transform import Rotation

from mapping.se3 import inverse, transform_points
from pipelines import open_sequence
from pipelines.checks.depth_scale import DepthScale, fit_ratio, measure_depth_scale
from pipelines.checks.focal import FocalLength
from pipelines.checks.inspection import fix_entries, inspect_sequence
from pipelines.checks.matches import MatchedPair, matched_pairs
from pipelines.checks.pose_unit_check import PoseUnit, measure_unit
from pipelines.checks.sampler import FrameSampler
from pipelines.checks.sequence_check import check_sequence
from pipelines.sequences.evidence import WorldEvidence

DATA = Path(__file__).parents[3].parent / "shared" / "data"
POSES = folders.room_poses(48, turn_deg=2.0, step=0.06)
DETAIL = 25.0


@pytest.fixture(scope="module")
def room(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("depth_scale") / "room"
    folders.write_room(path, POSES, POSES, detail=DETAIL)
    return path


def sampler_of(path: Path) -> FrameSampler:
    sequence = open_sequence(path)
    return FrameSampler(sequence, list(range(len(sequence))))


def with_depth_times(factor: float, room: Path, path: Path) -> Path:
    """The room whose stored depth is too large by a factor."""
    path.mkdir()
    (path / "images").symlink_to(room / "images")
    for name in ("K.txt", "poses.txt"):
        (path / name).write_text((room / name).read_text())
    (path / "m2h.yaml").write_text(f"depth_scale: {1000 / factor}\n")
    (path / "depth").symlink_to(room / "depth")
    return path


@pytest.mark.parametrize("factor", [0.8, 1.0, 1.07])
def test_ratio_is_found_with_a_rotation_that_is_off_and_wrong_matches(factor: float) -> None:
    rng = np.random.default_rng(0)
    T = folders.room_poses(12)[[0, 11]]
    T_b_a = np.asarray(inverse(T[1]) @ T[0])
    points = rng.uniform([-1, -1, 2], [1, 1, 4], (80, 3))
    there = transform_points(T_b_a, points)
    rays = there / there[:, 2:]
    rays[:, :2] += rng.normal(0, 0.0005, (80, 2))
    rays[:16, :2] += rng.uniform(-0.2, 0.2, (16, 2))
    T_b_a[:3, :3] = Rotation.from_rotvec([0.01, -0.008, 0.005]).as_matrix() @ T_b_a[:3, :3]
    found = fit_ratio(T_b_a, factor * points, rays, 0.0005)
    assert found is not None
    assert found[0] == pytest.approx(np.log(factor), abs=3 * found[1] + 0.002)
    assert 0 < found[1] < 0.02


def test_ratio_is_none_without_motion() -> None:
    points = np.random.default_rng(0).uniform([-1, -1, 2], [1, 1, 4], (80, 3))
    assert fit_ratio(np.eye(4), points, points / points[:, 2:], 0.0005) is None


@pytest.mark.parametrize("factor", [0.93, 1.0, 1.06])
def test_depth_scale_is_measured(room: Path, tmp_path: Path, factor: float) -> None:
    sampler = sampler_of(with_depth_times(factor, room, tmp_path / "seq"))
    found = measure_depth_scale(sampler, matched_pairs(sampler), None)
    assert found is not None
    assert found.ratio == pytest.approx(factor, rel=0.015)
    assert found.is_wrong == (factor != 1)
    assert not found.is_beyond_doubt


def test_wrong_focal_length_is_not_taken_for_a_wrong_depth(room: Path, tmp_path: Path) -> None:
    """The matches are looked at through the focal length that the images say."""
    true = folders.ROOM_CAMERA.fx
    path = with_depth_times(1.0, room, tmp_path / "seq")
    (path / "m2h.yaml").write_text(f"focal_length: {1.1 * true}\n")
    sampler = sampler_of(path)
    focal = FocalLength(1.1 * true, true, 0.5, 1.0, 0.1, 0.0, 20, is_wrong=True)
    found = measure_depth_scale(sampler, matched_pairs(sampler), focal)
    assert found is not None
    assert found.ratio == pytest.approx(1, rel=0.02)
    alone = measure_depth_scale(sampler, matched_pairs(sampler), None)
    assert alone is not None
    assert not alone.is_beyond_doubt
    assert "or the focal length" in replace(alone, ratio=1.2).describe()


def test_depth_scale_of_a_camera_that_only_turns_is_not_told(tmp_path: Path) -> None:
    poses = folders.room_poses(20, turn_deg=4.0, step=0.0)
    folders.write_room(tmp_path / "seq", poses, poses, detail=DETAIL)
    sampler = sampler_of(tmp_path / "seq")
    assert measure_depth_scale(sampler, matched_pairs(sampler), None) is None


@pytest.mark.parametrize(
    ("ratio", "spread", "is_wrong", "stops"),
    [
        (1.0, 0.001, False, False),
        (1.025, 0.001, False, False),
        (1.05, 0.02, False, False),
        (1.05, 0.01, True, False),
        (0.95, 0.01, True, False),
        (1.2, 0.01, True, True),
        (0.8, 0.01, True, True),
        (1.2, 0.05, True, False),
    ],
)
def test_limits_of_a_depth_scale(ratio: float, spread: float, is_wrong: bool, stops: bool) -> None:
    scale = DepthScale(ratio, spread, 20, focal_known=True)
    assert (scale.is_wrong, scale.is_beyond_doubt) == (is_wrong, stops)
    assert not replace(scale, focal_known=False).is_beyond_doubt


@pytest.mark.parametrize(("factor", "stops"), [(1.07, False), pytest.param(1.16, True, marks=pytest.mark.slow)])
def test_depth_scale_is_said_and_fixed(room: Path, tmp_path: Path, factor: float, stops: bool) -> None:
    path = with_depth_times(factor, room, tmp_path / "seq")
    found = inspect_sequence(open_sequence(path))
    said = found.check.contradictions if stops else found.check.doubts
    assert any("scale of depth does not fit" in text for text in said)
    assert bool(found.check.contradictions) == stops
    assert found.check.to_json()["depth_scale"]["ratio"] == pytest.approx(factor, rel=0.015)
    entries = fix_entries(found)
    assert entries["depth_scale"] == pytest.approx(1000, rel=0.015)


def predicted_by(sampler: FrameSampler, factor: float = 1.0):
    """A network that says the true depth times a factor."""

    def predict(position: int) -> np.ndarray:
        frame = sampler.frame(position)
        assert frame is not None
        assert frame.recorded.depth is not None
        return frame.recorded.depth * np.float32(factor)

    return predict


def in_unit(matches: list[MatchedPair], metres: float) -> list[MatchedPair]:
    """The same pairs with poses in another unit."""

    def moved(info):
        T = info.T_world_camera.copy()
        T[:3, 3] /= metres
        return replace(info, T_world_camera=T)

    return [replace(pair, a=moved(pair.a), b=moved(pair.b)) for pair in matches]


@pytest.mark.parametrize(
    ("metres", "name", "advised", "stops"),
    [(1.0, None, None, False), (0.3048, "feet", "0.3048", False), (0.01, "centimetres", "0.01", True)],
)
def test_unit_of_poses_is_measured(
    room: Path, metres: float, name: str | None, advised: str | None, stops: bool
) -> None:
    sampler = sampler_of(room)
    found = measure_unit(in_unit(matched_pairs(sampler), metres), predicted_by(sampler, 1.1))
    assert found is not None
    assert found.metres == pytest.approx(1.1 * metres, rel=0.05)
    assert (found.is_wrong, found.is_beyond_doubt) == (metres != 1, stops)
    if name is not None:
        assert f"as in {name}" in found.describe()
        assert found.describe().endswith(f"--scale {advised}")


def test_unit_that_is_none_in_use_is_given_as_measured() -> None:
    assert PoseUnit(2.345, 0.3).describe().endswith("give it with --scale 2.3")


def test_unit_without_depth_is_told(room: Path, tmp_path: Path) -> None:
    """By predicted depth where there is a network, else as what it is: an assumption."""
    stored = POSES.copy()
    stored[:, :3, 3] /= 0.01
    folders.write_room(tmp_path / "seq", stored, POSES, depth_scale=None, detail=DETAIL)
    sequence = open_sequence(tmp_path / "seq")
    alone = inspect_sequence(sequence)
    assert any(line.startswith("unit of the poses: assumed to be the metre") for line in alone.lines())
    true = open_sequence(room)

    def depth_alone(frame):
        return true[frame.index].recorded.depth

    found = check_sequence(sequence, FrameSampler(sequence, list(range(len(POSES)))), depth_alone=depth_alone)
    assert found.unit is not None
    assert any("centimetres" in text for text in found.contradictions)
    assert found.to_json()["unit"]["metres"] == pytest.approx(0.01, rel=0.05)

    sequence.evidence = WorldEvidence("network", 0.3)
    noted = check_sequence(sequence, FrameSampler(sequence, list(range(len(POSES)))), depth_alone=depth_alone)
    assert noted.unit is None  # the same network would only say the same again
    assert noted.contradictions == []
    assert not any(line.startswith("unit of the poses") for line in noted.lines())


@pytest.mark.full
@pytest.mark.parametrize("name", ["hololens_office", "redkitchen", "tum_fr1_desk"])
def test_recordings_raise_no_alarm_of_scale(name: str) -> None:
    if not (DATA / name).is_dir():
        pytest.skip(f"needs ../shared/data/{name}")
    sampler = sampler_of(DATA / name)
    found = check_sequence(sampler.sequence, sampler)
    assert not found.contradictions
    assert found.depth_scale is None or not found.depth_scale.is_wrong
