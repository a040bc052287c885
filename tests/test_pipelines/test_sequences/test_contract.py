"""The contract of all sequence formats, on the same tiny world written in each layout."""

from __future__ import annotations

import copy
import itertools
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import sequence_folders as folders

from mapping.se3 import is_se3
from pipelines import open_sequence
from pipelines.frame import FrameSequence, SequenceError
from pipelines.images import write_png
from pipelines.plugins import SEQUENCES
from pipelines.sequences.detect import detect_format
from pipelines.sequences.recorded import RecordedSequence

HAS_NO_DEPTH = ("colmap", "record3d", "euroc")
Y_UP = dict.fromkeys(("hololens", "polycam", "record3d", "stray_scanner"), (0, 1, 0))
UP = {"nerfstudio": None, "7scenes": None, "colmap": None, "icl": (0, -1, 0), **Y_UP}
LISTS_WHAT_IT_FINDS = ("7scenes", "scannet", "replica", "polycam", "record3d", "arkit_scenes")


@pytest.fixture(params=folders.WRITERS)
def written(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[str, Path, Callable[[Path], None]]:
    format, write = folders.WRITERS[request.param]
    write(tmp_path / "seq")
    return format, tmp_path / "seq", write


@pytest.fixture
def sequence(written: tuple[str, Path, Callable[[Path], None]]) -> FrameSequence:
    return open_sequence(written[1])


def used(sequence: FrameSequence) -> list[int]:
    return [info.index for info in sequence.infos if info.used]


def test_every_format_has_a_fixture() -> None:
    assert {format for format, _ in folders.WRITERS.values()} == set(SEQUENCES)


def test_found_by_markers_and_by_name(written: tuple[str, Path, Callable[[Path], None]]) -> None:
    format, path, _ = written
    assert detect_format(path) == format
    assert open_sequence(path).format == open_sequence(f"{format}:{path}").format == format


def test_infos_are_whole(sequence: FrameSequence) -> None:
    assert len(sequence) == len(sequence.infos) == folders.COUNT
    assert [info.index for info in sequence.infos] == list(range(folders.COUNT))
    assert all(a.timestamp < b.timestamp for a, b in itertools.pairwise(sequence.infos))
    for info in sequence.infos:
        assert info.used == (not info.reason)
        assert not Path(info.image).is_absolute()
        assert info.T_world_camera is None or is_se3(info.T_world_camera)
    assert sequence.name == "seq"


def test_poses_are_ours(sequence: FrameSequence) -> None:
    for i in used(sequence):
        # The formats with the world of the fixture, and ICL whose left-handed world is converted back to it.
        np.testing.assert_allclose(sequence[i].T_world_camera, folders.POSES[i], atol=1e-6)
        np.testing.assert_array_equal(sequence[i].T_world_camera, sequence.infos[i].T_world_camera)


def test_pixels_are_ours(sequence: FrameSequence) -> None:
    for i in used(sequence):
        frame = sequence[i]
        assert frame.index == i
        if frame.rgb.shape[1] == folders.WIDTH:
            assert np.abs(frame.rgb.astype(int) - folders.rgb(i)).max() <= 8  # JPEG in some
            expected = folders.CAMERA
        else:
            expected = folders.CAMERA.resized(2 * folders.WIDTH, 2 * folders.HEIGHT)
        values = (frame.intrinsics.fx, frame.intrinsics.fy, frame.intrinsics.cx, frame.intrinsics.cy)
        np.testing.assert_allclose(values, (expected.fx, expected.fy, expected.cx, expected.cy), rtol=1e-12)
        assert not frame.intrinsics.is_distorted
        assert sequence.infos[i].intrinsics == frame.intrinsics


def test_depth_is_metres(sequence: FrameSequence) -> None:
    for i in used(sequence):
        depth = sequence[i].recorded.depth
        assert (depth is None) == (sequence.format in HAS_NO_DEPTH)
        if depth is not None:
            step = depth.shape[0] // folders.HEIGHT
            np.testing.assert_allclose(depth[::step, ::step], folders.depth(i), atol=1e-4)


def test_world_up(sequence: FrameSequence) -> None:
    assert sequence.world_up == UP.get(sequence.format, (0, 0, 1))


def test_only_colmap_has_another_unit_than_metres(sequence: FrameSequence) -> None:
    assert sequence.is_metric == (sequence.format != "colmap")


def test_same_bytes_every_time_and_in_a_copy(sequence: FrameSequence) -> None:
    other = copy.deepcopy(sequence)  # by the same state that would be sent to another process
    for i in used(sequence):
        first, again, elsewhere = sequence[i], sequence[i], other[i]
        assert first.rgb.tobytes() == again.rgb.tobytes() == elsewhere.rgb.tobytes()


def test_index_past_the_end(sequence: FrameSequence) -> None:
    with pytest.raises(IndexError):
        sequence[len(sequence)]


def test_missing_image_is_a_frame_not_used(written: tuple[str, Path, Callable[[Path], None]]) -> None:
    _, path, _ = written
    sequence = open_sequence(path)
    if sequence.format in LISTS_WHAT_IT_FINDS:
        pytest.skip("this format lists its images by looking for them")
    if sequence.format == "stray_scanner":
        pytest.skip("its images are one video")
    (path / sequence.infos[2].image).unlink()
    again = open_sequence(path)
    assert len(again) == folders.COUNT
    assert again.infos[2].reason == "image file is missing"
    with pytest.raises(SequenceError, match="frame 2 is not used: image file is missing"):
        again[2]
    np.testing.assert_allclose(again[0].T_world_camera, folders.POSES[0], atol=1e-6)


def test_broken_image_is_reported_when_read(written: tuple[str, Path, Callable[[Path], None]]) -> None:
    format, path, _ = written
    if format == "stray_scanner":
        pytest.skip("its images are one video")
    file = path / open_sequence(path).infos[2].image
    file.write_bytes(file.read_bytes()[:-8])
    sequence = open_sequence(path)
    assert sequence.infos[2].used
    with pytest.raises(SequenceError, match="truncated") as raised:
        sequence[2]
    assert file.name in str(raised.value)
    sequence[0]


def test_overrides_are_honoured(written: tuple[str, Path, Callable[[Path], None]]) -> None:
    _, path, _ = written
    plain = open_sequence(path)
    assert isinstance(plain, RecordedSequence)
    entries = "pose_convention: world_to_camera\ncamera_axes: opencv\nworld_up: [0, 0, -3]\n"
    (path / "m2h.yaml").write_text(entries + "depth_scale: 2000\n")
    if plain.format in HAS_NO_DEPTH:
        with pytest.raises(SequenceError, match=r"m2h\.yaml: depth_scale has no effect: the sequence has no depth"):
            open_sequence(path)
        (path / "m2h.yaml").write_text(entries)
    turned = open_sequence(path)
    stored = plain.convention.stored_matrix(folders.POSES[0])
    np.testing.assert_allclose(turned[0].T_world_camera @ stored, np.eye(4), atol=1e-6)
    assert turned.world_up == (0, 0, -1)
    before, after = plain[0].recorded.depth, turned[0].recorded.depth
    if before is not None and after is not None:
        np.testing.assert_allclose(after * 2000, before * plain.convention.depth_scale, rtol=1e-6)


@pytest.mark.parametrize("text", ["camera_axes: sideways", "depth_scale: -1", "world_up: [0, 0, 0]", "pose: x", "- 1"])
def test_wrong_overrides_are_rejected(tmp_path: Path, text: str) -> None:
    folders.write_hololens(tmp_path / "seq")
    (tmp_path / "seq/m2h.yaml").write_text(text)
    with pytest.raises(SequenceError, match=r"m2h\.yaml"):
        open_sequence(tmp_path / "seq")


@pytest.mark.parametrize("format", SEQUENCES)
def test_empty_folder_is_one_line(tmp_path: Path, format: str) -> None:
    (tmp_path / "seq").mkdir()
    with pytest.raises(SequenceError) as raised:
        open_sequence(f"{format}:{tmp_path / 'seq'}")
    assert "\n" not in str(raised.value)
    assert str(tmp_path) in str(raised.value)


def test_unknown_folder_lists_what_was_looked_for(tmp_path: Path) -> None:
    (tmp_path / "holiday.txt").write_text("")
    with pytest.raises(SequenceError, match="no known sequence format") as raised:
        open_sequence(tmp_path)
    assert all(name in str(raised.value) for name in SEQUENCES)


def test_folder_of_sequences_names_them(tmp_path: Path) -> None:
    folders.write_hololens(tmp_path / "a")
    folders.write_tum(tmp_path / "b")
    folders.write_tum(tmp_path / ".m2h-1-0123abcd")  # that is being written
    with pytest.raises(SequenceError, match=r"name one: a, b$"):
        open_sequence(tmp_path)


@pytest.mark.parametrize(
    ("spec", "expected"),
    [
        ("nowhere/at/all", "no such file or folder"),
        ("tum:nowhere", "nowhere: no such"),
        ("tumm:.", "unknown format 'tumm'; known are .*tum"),
        ("no_such_module:open_x:.", "cannot be imported"),
    ],
)
def test_wrong_specs(spec: str, expected: str) -> None:
    with pytest.raises(SequenceError, match=expected):
        open_sequence(spec)


def test_formats_of_others_are_opened_by_module_and_function(tmp_path: Path) -> None:
    folders.write_hololens(tmp_path / "seq")
    spec = f"pipelines.sequences.hololens:open_hololens:{tmp_path / 'seq'}"
    assert open_sequence(spec).format == "hololens"


def test_sequence_without_usable_frame_counts_the_reasons(tmp_path: Path) -> None:
    folders.write_hololens(tmp_path / "seq")
    np.savetxt(tmp_path / "seq/poses.txt", np.full((3, 16), -np.inf))
    with pytest.raises(SequenceError, match="none of 3 frames are usable: 3 lost pose"):
        open_sequence(tmp_path / "seq")


def test_image_of_another_shape_is_rejected(tmp_path: Path) -> None:
    folders.write_hololens(tmp_path / "seq")
    write_png(tmp_path / "seq/images/00001.png", np.zeros((16, 12, 3), np.uint8))
    write_png(tmp_path / "seq/depth/00002.png", np.zeros((16, 12), np.uint16))
    sequence = open_sequence(tmp_path / "seq")
    with pytest.raises(SequenceError, match=r"00001\.png: is 12x16 pixels, but its camera is 16x12"):
        sequence[1]
    with pytest.raises(SequenceError, match=r"00002\.png: is 12x16 pixels, but its camera is 16x12"):
        sequence[2]


def test_camera_follows_a_resampled_image(tmp_path: Path) -> None:
    folders.write_posed_images(tmp_path / "seq")
    write_png(tmp_path / "seq/images/000000.png", np.zeros((24, 32, 3), np.uint8))
    frame = open_sequence(tmp_path / "seq")[0]
    assert frame.intrinsics == folders.CAMERA.resized(32, 24)
    assert open_sequence(tmp_path / "seq").infos[0].intrinsics == frame.intrinsics
    assert frame.recorded.depth is not None
    np.testing.assert_allclose(frame.recorded.depth[::2, ::2], folders.depth(0), atol=1e-6)
    np.testing.assert_allclose(frame.recorded.depth[1::2, 1::2], folders.depth(0), atol=1e-6)
