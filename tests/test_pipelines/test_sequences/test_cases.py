"""The inputs of ../shared/cases, each made by its own script from a room that is known exactly, and what is right for it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import sequence_folders as folders

from mapping.camera import Intrinsics
from pipelines import open_sequence
from pipelines.checks.inspection import fix_entries, inspect_sequence
from pipelines.frame import FrameSequence, SequenceError
from pipelines.images import write_png
from pipelines.settings import PipelineConfig
from pipelines.sources.source import open_source
from pipelines.stages.context import RunContext
from pipelines.stages.prepare import check_input
from pipelines.workspace import Workspace

CASES = Path(__file__).parents[3].parent / "shared" / "cases"
FOCAL = 256.05352464656806  # what the scripts say of their flat
CAMERA = Intrinsics(FOCAL, FOCAL, 159.5, 119.5, 320, 240)
FRAMES, STEP = 60, 2
SECONDS = 0.3352
"""Between frames: half of what `microsecond_names` says."""
MILLIMETRE = 0.00051

pytestmark = pytest.mark.skipif(not CASES.is_dir(), reason="needs ../shared/cases")
Case = Callable[..., Path]


@pytest.fixture(scope="module")
def flat(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What the scripts take for their rendered flat: a room with blotched walls, sixty frames of a walk, labels of one class."""
    folder = tmp_path_factory.mktemp("cases") / "flat"
    frames = []
    for name in ("images", "depth", "semantics"):
        (folder / name).mkdir(parents=True)
    for i, pose in enumerate(folders.room_poses(FRAMES, turn_deg=2.0, step=0.03)):
        rgb, z = folders.room_picture(pose, 25.0, CAMERA)
        paths = {name: f"{name}/{i:06d}.png" for name in ("images", "depth", "semantics")}
        write_png(folder / paths["images"], rgb)
        write_png(folder / paths["depth"], np.rint(1000 * z).astype(np.uint16))
        write_png(folder / paths["semantics"], np.full(z.shape, 1, np.uint8))
        frames.append(
            {
                "file_path": paths["images"],
                "depth_file_path": paths["depth"],
                "semantics_file_path": paths["semantics"],
                "timestamp": i * SECONDS,
                "transform_matrix": (pose @ np.diag([1.0, -1.0, -1.0, 1.0])).tolist(),
            }
        )
    lens = {"camera_model": "OPENCV", "k1": 0, "k2": 0, "p1": 0, "p2": 0}
    camera = {"fl_x": FOCAL, "fl_y": FOCAL, "cx": 160, "cy": 120, "w": 320, "h": 240}
    more = {"world_up": [0, 0, 1], "label_space": "nyu40", "depth_unit_scale_factor": 0.001}
    (folder / "transforms.json").write_text(json.dumps(lens | camera | more | {"frames": frames}))
    return folder


@pytest.fixture
def case(flat: Path, tmp_path: Path) -> Case:
    """Writes the sequence of a script and returns its folder."""

    def write(name: str, *arguments: str) -> Path:
        out = tmp_path / "case"
        command = [sys.executable, str(CASES / f"{name}.py"), str(out), *arguments]
        environment = os.environ | {"FLAT": str(flat), "PYTHONDONTWRITEBYTECODE": "1"}
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        return out

    return write


@pytest.fixture(scope="module")
def true(flat: Path) -> FrameSequence:
    return open_sequence(flat)


def depth_of(sequence: FrameSequence, i: int) -> np.ndarray:
    depth = sequence[i].recorded.depth
    assert depth is not None
    return depth


def assert_same_depth(
    sequence: FrameSequence, true: FrameSequence, *, step: int = STEP, atol: float = MILLIMETRE
) -> None:
    for i in range(len(sequence)):
        np.testing.assert_allclose(depth_of(sequence, i), depth_of(true, i * step), atol=atol)


@pytest.mark.parametrize("kind", ["redwood", "cam2", "size", "dotted"])
def test_depth_other_names(case: Case, true: FrameSequence, kind: str) -> None:
    sequence = open_sequence(case("depth_other_names", kind))
    assert sum(info.used and info.has_depth for info in sequence.infos) == len(sequence) == 40
    assert_same_depth(sequence, true, step=1)


def test_float_exr_depth(case: Case, true: FrameSequence) -> None:
    pytest.importorskip("OpenEXR")
    sequence = open_sequence(case("float_exr_depth"))
    assert len(sequence) == 6
    assert_same_depth(sequence, true)


def test_float_exr_depth_without_the_package_names_exr(case: Case, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("OpenEXR")
    sequence = open_sequence(case("float_exr_depth"))
    monkeypatch.setitem(sys.modules, "OpenEXR", None)
    with pytest.raises(SequenceError, match=r"\.exr.*OpenEXR"):
        sequence[0]


def test_ingp_depth_path(case: Case, true: FrameSequence) -> None:
    sequence = open_sequence(case("ingp_depth_path"))
    assert sum(info.has_depth for info in sequence.infos) == 30
    assert_same_depth(sequence, true)


def test_ingp_is_fisheye(case: Case, true: FrameSequence) -> None:
    """The lens of the images is removed: inside, images are what the pinhole camera showed."""
    sequence = open_sequence(case("ingp_is_fisheye"))
    assert sequence.files(0).intrinsics.distortion_model == "fisheye"
    assert_undistorted(sequence, true)


def test_opencv_k4(case: Case, true: FrameSequence) -> None:
    sequence = open_sequence(case("opencv_k4"))
    assert sequence.files(0).intrinsics.distortion[5] == 0.25
    assert_undistorted(sequence, true)


def assert_undistorted(sequence: FrameSequence, true: FrameSequence) -> None:
    inside = (slice(40, 200), slice(50, 270))
    for i in (0, 17):
        off = np.abs(sequence[i].rgb[inside].astype(int) - true[i * STEP].rgb[inside])
        assert float(np.median(off)) <= 3
        np.testing.assert_allclose(
            np.median(depth_of(sequence, i)[inside] / depth_of(true, i * STEP)[inside]), 1, atol=1e-3
        )
        wrong = np.abs(depth_of(sequence, i)[inside] / depth_of(true, i * STEP)[inside] - 1) > 0.02
        assert float(wrong.mean()) < 0.02


def test_mask_path(case: Case, true: FrameSequence) -> None:
    """The gripper at 0.6 m is unknown, and black in the image; all else is as it was."""
    sequence = open_sequence(case("mask_path"))
    frame, masked = sequence[3], np.zeros((240, 320), bool)
    masked[150:, 110:210] = True
    np.testing.assert_array_equal(depth_of(sequence, 3), np.where(masked, 0, depth_of(true, 3 * STEP)))
    assert frame.recorded.labels is not None
    assert not frame.recorded.labels[masked].any()
    assert not frame.rgb[masked].any()


def test_microsecond_names(case: Case) -> None:
    times = [info.timestamp for info in open_sequence(case("microsecond_names")).infos]
    assert times[-1] - times[0] == pytest.approx(58 * SECONDS, abs=1e-5)
    assert np.diff(times) == pytest.approx(2 * SECONDS, abs=1e-5)


def test_ray_distance(case: Case, tmp_path: Path) -> None:
    """It is found and corrected, and a run does not map it in silence."""
    path = case("ray_distance")
    found = inspect_sequence(open_sequence(path))
    assert found.check.conventions.verdict == "wrong"
    assert fix_entries(found)["depth_kind"] == "ray"
    assert fix_entries(found)["depth_scale"] == 1000
    sequence, config = open_sequence(path), PipelineConfig()
    workspace = Workspace(tmp_path / "run")
    context = RunContext(workspace, sequence, open_source("recorded", sequence), config, lambda *_: None)
    with pytest.raises(SequenceError, match="depth along the ray"):
        check_input(context)


@pytest.mark.parametrize("kind", ["json", "yaml"])
def test_shrunk_without_size(case: Case, kind: str) -> None:
    with pytest.raises(SequenceError, match="principal point"):
        open_sequence(case("shrunk_without_size", kind))


def test_tum_depth_scale(case: Case, true: FrameSequence) -> None:
    sequence = open_sequence(case("tum_depth_scale"))
    assert np.median(depth_of(sequence, 5)) == pytest.approx(np.median(depth_of(true, 5 * STEP)), abs=1e-3)
    assert_same_depth(sequence, true)


@pytest.mark.parametrize(
    ("kind", "amount"), [("ns", r"1\.4e\+?18|ns|nanoseconds"), ("g", "stamp|s "), ("e6", "stamp|s ")]
)
def test_tum_stamp_units(case: Case, kind: str, amount: str) -> None:
    """Nanoseconds are told by their magnitude; times that were rounded are an error."""
    path = case("tum_stamp_units", kind)
    if kind == "ns":
        sequence = open_sequence(path)
        assert sum(info.used for info in sequence.infos) == 30
        return
    with pytest.raises(SequenceError, match=r"repeat|same"):
        open_sequence(path)


def test_windows_paths(case: Case, true: FrameSequence) -> None:
    sequence = open_sequence(case("windows_paths"))
    assert sum(info.used for info in sequence.infos) == 30
    assert_same_depth(sequence, true)


def test_every_case_has_a_test() -> None:
    names = {path.stem for path in CASES.glob("[!_]*.py")}
    tested = {name for name in globals() if name.startswith("test_")}
    assert [name for name in sorted(names) if f"test_{name}" not in tested] == []
