"""nerfstudio's transforms.json as other tools write it."""

from __future__ import annotations

import json
import math
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from nerfstudio_folders import LEVEL_OPENGL, frame, write

from mapping.camera import Intrinsics, undistort
from pipelines import open_sequence
from pipelines.frame import SequenceError
from pipelines.images import write_png


def test_opengl_axes_by_hand(tmp_path: Path) -> None:
    matrix = [[1, 0, 0, 3], [0, 0, -1, 4], [0, 1, 0, 5], [0, 0, 0, 1]]
    sequence = open_sequence(write(tmp_path, {"fl_x": 10}, [frame("a.png", transform_matrix=matrix)]))
    T = sequence[0].T_world_camera
    np.testing.assert_allclose(T @ [0, 0, 1, 1], [3, 5, 5, 1])  # one metre ahead is +y
    np.testing.assert_allclose(T @ [0, 1, 0, 1], [3, 4, 4, 1])  # down in the image is -z
    np.testing.assert_allclose(T @ [1, 0, 0, 1], [4, 4, 5, 1])
    assert sequence.world_up is None  # +z is what some writers turn the world to, which no key says


def test_blender_file_without_suffixes_sizes_or_principal_point(tmp_path: Path) -> None:
    sequence = open_sequence(write(tmp_path, {"camera_angle_x": math.radians(90)}, [frame("r_0"), frame("r_1")]))
    camera = sequence[0].intrinsics
    assert (camera.fx, camera.fy) == pytest.approx((4.0, 4.0))
    assert (camera.cx, camera.cy, camera.width, camera.height) == (3.5, 2.5, 8, 6)
    assert sequence.infos[0].image == "images/r_0.png"


@pytest.mark.parametrize(
    ("header", "more", "expected"),
    [
        ({}, {}, True),
        ({"applied_transform": np.eye(4)[:3].tolist()}, {}, False),
        ({"applied_scale": 0.5}, {}, False),
        ({"ply_file_path": "sparse_pc.ply"}, {}, False),
        ({"aabb_scale": 16}, {}, False),
        ({}, {"colmap_im_id": 1}, False),
        ({"applied_transform": np.eye(4)[:3].tolist()}, {"depth_file_path": "depth/a.png"}, True),
        ({"applied_scale": 0.5, "format": "m2h-sequence"}, {}, True),
        ({"format": "m2h-sequence", "scale_source": "network"}, {}, True),
        ({"format": "m2h-sequence", "is_metric": False}, {}, False),
    ],
)
def test_poses_of_structure_from_motion_have_no_known_unit(
    tmp_path: Path, header: dict[str, Any], more: dict[str, Any], expected: bool
) -> None:
    sequence = open_sequence(write(tmp_path, {"fl_x": 10, **header}, [frame("a.png", **more)]))
    assert sequence.is_metric == expected
    has_note = any("no metric scale" in note for note in sequence.notes)  # type: ignore[attr-defined]
    assert has_note == (not expected and "format" not in header)


@pytest.mark.parametrize("key", ["time", "timestamp_ns", "stamp"])
def test_times_under_another_key_are_told_to_be_ignored(tmp_path: Path, key: str) -> None:
    sequence = open_sequence(write(tmp_path, {"fl_x": 10}, [frame("a.png", **{key: 3.5}), frame("b.png")]))
    assert any(
        f"no time stamps: 30 frames per second assumed, in the order of the names; {key} is not read" in note
        for note in sequence.notes
    )  # type: ignore[attr-defined]


def test_intrinsics_per_frame(tmp_path: Path) -> None:
    frames = [frame("a.png", fl_x=11, fl_y=12, cx=4.5, cy=3.25, w=8, h=6), frame("b.png")]
    sequence = open_sequence(write(tmp_path, {"fl_x": 10, "fl_y": 10, "cx": 4, "cy": 3, "w": 8, "h": 6}, frames))
    assert sequence[0].intrinsics == Intrinsics(11, 12, 4.0, 2.75, 8, 6)
    assert sequence[1].intrinsics == Intrinsics(10, 10, 3.5, 2.5, 8, 6)


def test_camera_is_scaled_to_a_smaller_image(tmp_path: Path) -> None:
    sequence = open_sequence(write(tmp_path, {"fl_x": 20, "cx": 8, "cy": 6, "w": 16, "h": 12}, [frame("a.png")]))
    assert sequence[0].intrinsics == Intrinsics(10, 10, 3.5, 2.5, 8, 6)


def test_applied_scale_is_taken_out(tmp_path: Path) -> None:
    matrix = np.array(LEVEL_OPENGL, dtype=float)
    matrix[:3, 3] = [1, 2, 3]
    header = {"fl_x": 10, "applied_scale": 0.5, "applied_transform": np.eye(4)[:3].tolist()}
    sequence = open_sequence(write(tmp_path, header, [frame("a.png", transform_matrix=matrix.tolist())]))
    np.testing.assert_allclose(sequence[0].T_world_camera[:3, 3], [2, 4, 6])
    assert any("applied_transform [[1.0, 0.0, 0.0, 0.0]" in note for note in sequence.notes)


@pytest.mark.parametrize(
    ("model", "lens", "expected"),
    [
        ("OPENCV", {"k1": 0.2, "k2": -0.1, "p1": 0.01, "p2": 0.02}, ((0.2, -0.1, 0.01, 0.02), "opencv")),
        ("OPENCV", {"k1": 0.2, "k3": 0.1}, ((0.2, 0.0, 0.0, 0.0, 0.1), "opencv")),
        (
            "OPENCV",
            {"k1": 0.12, "k2": -0.05, "k3": 0.02, "k4": 0.25},
            ((0.12, -0.05, 0, 0, 0.02, 0.25, 0, 0), "opencv"),
        ),
        ("OPENCV", {"k6": 0.1}, ((0, 0, 0, 0, 0, 0, 0, 0.1), "opencv")),
        ("RADIAL", {"k1": 0.1, "k2": 0.02}, ((0.1, 0.02, 0, 0), "opencv")),
        ("SIMPLE_RADIAL", {"k1": 0.1}, ((0.1, 0, 0, 0), "opencv")),
        ("OPENCV_FISHEYE", {"k1": 0.1, "k4": 0.01}, ((0.1, 0.0, 0.0, 0.01), "fisheye")),
        ("OPENCV_FISHEYE", {}, ((0.0, 0.0, 0.0, 0.0), "fisheye")),
        ("is_fisheye", {"k1": 0.1, "k4": 0.01}, ((0.1, 0.0, 0.0, 0.01), "fisheye")),
        ("is_fisheye", {"k1": 0.0}, ((0.0, 0.0, 0.0, 0.0), "fisheye")),
    ],
)
def test_lens_is_removed(tmp_path: Path, model: str, lens: dict[str, float], expected: tuple[Any, Any]) -> None:
    rng = np.random.default_rng(5)
    image = rng.integers(0, 255, (60, 80, 3), dtype=np.uint8)
    depth = rng.integers(500, 5000, (60, 80), dtype=np.uint16)
    named = {"is_fisheye": True} if model == "is_fisheye" else {"camera_model": model}
    header = {**named, "fl_x": 70, "fl_y": 71, "cx": 41, "cy": 31, "w": 80, "h": 60, **lens}
    write(tmp_path, header, [frame("a.png", depth_file_path="images/a_depth.png")])
    write_png(tmp_path / "images/a.png", image)
    write_png(tmp_path / "images/a_depth.png", depth)
    camera = Intrinsics(70, 71, 40.5, 30.5, 80, 60, *expected)
    read = open_sequence(tmp_path)[0]
    assert read.intrinsics == camera.undistorted()
    np.testing.assert_array_equal(read.rgb, undistort(image, camera))
    assert read.recorded.depth is not None
    np.testing.assert_allclose(read.recorded.depth, undistort(depth, camera, nearest=True) / 1000, rtol=1e-6)


def test_times_order_frames_else_names_do(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    timed = [frame("x.png", timestamp=2.5), frame("y.png", timestamp=1.5)]
    assert [i.timestamp for i in open_sequence(write(tmp_path / "a", {"fl_x": 9}, timed)).infos] == [1.5, 2.5]
    named = [frame("f10.png"), frame("f9.png")]
    infos = open_sequence(write(tmp_path / "b", {"fl_x": 9}, named)).infos
    assert [(info.image, info.timestamp) for info in infos] == [("images/f9.png", 0.0), ("images/f10.png", 1 / 30)]


def test_depth_unit_and_gravity_of_the_file(tmp_path: Path) -> None:
    header = {"fl_x": 9, "depth_unit_scale_factor": 0.0002, "world_up": [0, 2, 0]}
    write(tmp_path, header, [frame("a.png", depth_file_path="d.png")])
    write_png(tmp_path / "d.png", np.full((6, 8), 5000, np.uint16))
    sequence = open_sequence(tmp_path)
    depth = sequence[0].recorded.depth
    assert depth is not None
    np.testing.assert_array_equal(depth, np.ones((6, 8), np.float32))
    assert sequence.world_up == (0, 1, 0)


def test_file_of_another_name(tmp_path: Path) -> None:
    write(tmp_path, {"fl_x": 9}, [frame("a.png")])
    (tmp_path / "transforms.json").rename(tmp_path / "transforms_train.json")
    assert len(open_sequence(tmp_path / "transforms_train.json")) == 1


def test_pose_that_is_no_rigid_motion_is_lost_with_the_reason(tmp_path: Path) -> None:
    almost = np.array(LEVEL_OPENGL, dtype=float)
    almost[:3, :3] *= 1.004
    bad = np.diag([2.0, 2.0, 2.0, 1.0])
    mirror = np.diag([1.0, 1.0, -1.0, 1.0])
    matrices = {"a": almost, "b": bad, "c": mirror, "d": np.full((4, 4), 0.0)}
    frames = [frame(f"{name}.png", transform_matrix=matrix.tolist()) for name, matrix in matrices.items()]
    infos = open_sequence(write(tmp_path, {"fl_x": 9}, [*frames, {"file_path": "images/e.png"}])).infos
    assert [info.used for info in infos] == [True, False, False, False, False]
    assert [info.reason.split("(")[0].strip() for info in infos[1:]] == [
        "pose is not rigid",
        "pose is a mirror image",
        "pose is not rigid",
        "no pose",
    ]
    T = infos[0].T_world_camera
    assert T is not None
    np.testing.assert_allclose(T[:3, :3] @ T[:3, :3].T, np.eye(3), atol=1e-12)


@pytest.mark.parametrize(
    ("header", "more", "expected"),
    [
        ({}, {}, "a.png: needs fl_x or camera_angle_x"),
        ({"fl_x": "wide"}, {}, "fl_x must be a number, got 'wide'"),
        ({"fl_x": -4}, {}, "is not a valid camera"),
        ({"fl_x": 9, "camera_model": "FISHEYE624"}, {}, "camera_model 'FISHEYE624' is not known"),
        ({"fl_x": 9, "world_up": "up"}, {}, "world_up must be three finite numbers"),
        ({"fl_x": 9, "world_up": [0, 0, 0]}, {}, "world_up must be three finite numbers"),
        ({"fl_x": 9, "world_up": [0, float("nan"), 1]}, {}, "world_up must be three finite numbers"),
        ({"fl_x": 9, "world_up": [0, float("inf"), 1]}, {}, "world_up must be three finite numbers"),
        ({"fl_x": 9, "is_metric": "no"}, {}, "is_metric must be true or false"),
        ({"fl_x": 9, "world_up": [0, 1]}, {}, "world_up must be three finite numbers"),
        ({"fl_x": 9, "depth_unit_scale_factor": 0}, {}, "depth_unit_scale_factor must be positive"),
        ({"fl_x": 9}, {"transform_matrix": [1, 2]}, "transform_matrix must be 4x4 numbers"),
        ({"fl_x": 9, "format": "m2h-sequence", "version": 2}, {}, "version 2"),
        ({"fl_x": 9, "fl_y": -9}, {}, "is not a valid camera: .*camera's y axis points up.*camera_axes"),
        ({"fl_x": 9, "fl_y": 0}, {}, "is not a valid camera"),
        ({"fl_x": 9, "is_fisheye": 1}, {}, "is_fisheye must be true or false"),
        ({"fl_x": 9, "is_fisheye": True, "camera_model": "PINHOLE"}, {}, "is_fisheye contradicts camera_model PINHOLE"),
        ({"camera_angle_x": 1.5, "is_fisheye": True}, {}, "camera_angle_x is that of a pinhole camera"),
        ({"fl_x": 9, "camera_model": "PINHOLE", "k1": 0.1}, {}, "k1 is not a coefficient of camera_model PINHOLE"),
        (
            {"fl_x": 9, "camera_model": "OPENCV_FISHEYE", "p1": 0.1},
            {},
            "p1 is not a coefficient of camera_model OPENCV_F",
        ),
        ({"fl_x": 9, "k7": 0.1}, {}, "k7 is not supported"),
        ({"fl_x": 9, "s1": 0.1}, {}, "s1 is not supported"),
        ({"fl_x": 9, "ftheta_p0": 0.1}, {}, "ftheta_p0 is not supported"),
        ({"fl_x": 9, "distortion": [0.1, 0]}, {}, "distortion is not supported"),
        ({"fl_x": 9, "depth_scale": 1000}, {}, "depth_scale is not supported"),
        ({"fl_x": 9, "rolling_shutter": [0, 0, 0.1]}, {}, "rolling_shutter is not supported"),
        ({"fl_x": 9, "camera_convention": "opencv"}, {}, "camera_convention is not supported"),
        ({"fl_x": 9, "camera_axes": "ned"}, {}, "camera_axes is not supported"),
        ({"fl_x": 9, "time_offset": 0.1}, {}, "time_offset is not supported"),
        ({"fl_x": 9, "max_gap": 0.1}, {}, "max_gap is not supported"),
        ({"fl_x": 9}, {"depth_image": "d.png"}, r"frames\[0\]: depth_image is not supported"),
        ({"fl_x": 9}, {"k1": 0.1, "camera_model": "PINHOLE"}, "k1 is not a coefficient"),
        ({"fl_x": 9, "mask_path": "m.png"}, {}, r"transforms\.json: mask_path has no effect here but in a frame"),
        (
            {"fl_x": 9},
            {"depth_unit_scale_factor": 1},
            r"frames\[0\]: depth_unit_scale_factor has no effect here but in the h",
        ),
        ({"fl_x": 9}, {"depth_path": 3}, r"frames\[0\]\.depth_path must be a file name"),
        ({"fl_x": 9}, {"depth_path": "a.png", "depth_file_path": "b.png"}, "name different files: a.png, b.png"),
        ({"fl_x": 9, "integer_depth_scale": 0}, {}, "integer_depth_scale must be positive"),
        ({"fl_x": 9, "integer_depth_scale": 0.001, "depth_unit_scale_factor": 0.002}, {}, "contradict each other"),
        ({"fl_x": 9, "applied_scale": 0}, {}, "applied_scale must be positive"),
        ({"fl_x": 36, "cx": 16, "cy": 12}, {}, "lies outside of the 8x6 image: is it for another size"),
        ({"fl_x": 18, "cx": 8, "cy": 6}, {}, "lies outside of the 8x6 image: is it for another size"),
        ({"fl_x": 18, "cx": 6, "cy": 4.5}, {}, "is not near the centre of the 8x6 image but of one of 12x9"),
        ({"fl_x": 18, "cx": 2, "cy": 1.5}, {}, "is not near the centre of the 8x6 image but of one of 4x3"),
        ({"fl_x": 18, "cx": 20, "cy": 3, "w": 8, "h": 6}, {}, "lies outside of the 8x6 image"),
        ({"fl_x": 18, "cx": 8, "cy": 6, "w": 8, "h": 6}, {}, "principal point 7.5, 5.5 lies outside of the 8x6 image"),
        ({"fl_x": 9, "label_space": "mars12"}, {"semantics_file_path": "s.png"}, "label_space: mars12"),
    ],
)
def test_wrong_files_are_named(tmp_path: Path, header: dict[str, Any], more: dict[str, Any], expected: str) -> None:
    write(tmp_path, header, [frame("a.png", **more)])
    with pytest.raises(SequenceError, match=expected) as raised:
        open_sequence(tmp_path)
    assert "transforms.json" in str(raised.value)


@pytest.mark.parametrize("text", ["{", "[]", '{"frames": []}', '{"frames": [{"path": 3}]}'])
def test_files_that_are_no_sequence(tmp_path: Path, text: str) -> None:
    (tmp_path / "transforms.json").write_text(text)
    with pytest.raises(SequenceError, match=r"transforms\.json"):
        open_sequence(tmp_path)


@pytest.mark.parametrize("layer", ["depth", "semantics", "instances", "normals", "edges"])
def test_layer_of_another_shape_is_named(tmp_path: Path, layer: str) -> None:
    """A picture of half the size is the same view; one of another shape cannot be."""
    write(tmp_path, {"fl_x": 9}, [frame("a.png", **{f"{layer}_file_path": "layer.png"})])
    kind = (np.uint8, (3,)) if layer == "normals" else (np.uint16, ())
    write_png(tmp_path / "layer.png", np.ones((3, 4, *kind[1]), kind[0]))
    assert open_sequence(tmp_path)[0].rgb.shape == (6, 8, 3)
    write_png(tmp_path / "layer.png", np.ones((6, 6, *kind[1]), kind[0]))
    with pytest.raises(SequenceError, match=r"layer\.png: is 6x6 pixels, but its camera is 8x6"):
        open_sequence(tmp_path)[0]


@pytest.mark.parametrize("key", ["file_path", "depth_file_path", "depth_path", "mask_path", "semantics_file_path"])
@pytest.mark.parametrize("name", ["../other/a.png", "images/../../a.png", "/a.png", "..", "..\\a.png", "C:\\a.png"])
def test_files_outside_of_the_folder_are_rejected(tmp_path: Path, key: str, name: str) -> None:
    write(tmp_path, {"fl_x": 9}, [frame("a.png"), frame("b.png")])
    header = json.loads((tmp_path / "transforms.json").read_text())
    header["frames"][1][key] = name
    (tmp_path / "transforms.json").write_text(json.dumps(header))
    with pytest.raises(
        SequenceError, match=rf"transforms\.json: frames\[1\]\.{key} must lie below the sequence's folder"
    ):
        open_sequence(tmp_path)


def test_of_two_frames_with_one_time_stamp_the_first_is_used(tmp_path: Path) -> None:
    frames = [frame(f"{i}.png", timestamp=time) for i, time in enumerate((0.5, 1.0, 1.0, 2.0))]
    sequence = open_sequence(write(tmp_path, {"fl_x": 9}, frames))
    assert [info.reason for info in sequence.infos] == ["", "", "time stamp of another frame", ""]


@pytest.mark.parametrize("units", [1e3, 1e6, 1e9])
def test_time_stamps_in_another_unit(tmp_path: Path, units: float) -> None:
    frames = [frame(f"{i}.png", timestamp=round((1305031453.25 + i) * units)) for i in range(2)]
    infos = open_sequence(write(tmp_path, {"fl_x": 9}, frames)).infos
    np.testing.assert_allclose([info.timestamp for info in infos], [1305031453.25, 1305031454.25], rtol=0, atol=1e-6)


def test_time_stamp_in_no_unit_is_named(tmp_path: Path) -> None:
    frames = [frame("a.png", timestamp=3e14)]
    with pytest.raises(SequenceError, match=r"transforms\.json: timestamp: 3e\+14 is not a time stamp in seconds"):
        open_sequence(write(tmp_path, {"fl_x": 9}, frames))


def test_stamps_that_all_repeat_are_an_error(tmp_path: Path) -> None:
    with pytest.raises(SequenceError, match="4 of 5 images repeat the time stamp of another one"):
        open_sequence(write(tmp_path, {"fl_x": 9}, [frame(f"{i}.png", timestamp=7.0) for i in range(5)]))


def test_deep_nesting_is_no_sequence(tmp_path: Path) -> None:
    (tmp_path / "transforms.json").write_text("[" * 100_000)
    with pytest.raises(SequenceError, match="nested too deeply"):
        open_sequence(tmp_path)


def test_paths_written_on_windows(tmp_path: Path) -> None:
    frames = [frame("a.png", depth_file_path="depth\\a.png"), frame("sub/b.png", depth_file_path="depth\\sub\\b.png")]
    (tmp_path / "images/sub").mkdir(parents=True)
    for name in ("a", "sub/b"):
        (tmp_path / f"depth/{name}.png").parent.mkdir(parents=True, exist_ok=True)
        write_png(tmp_path / f"images/{name}.png", np.zeros((6, 8, 3), np.uint8))
        write_png(tmp_path / f"depth/{name}.png", np.full((6, 8), 2000, np.uint16))
    for entry in frames:
        entry["file_path"] = entry["file_path"].replace("/", "\\")
    (tmp_path / "transforms.json").write_text(json.dumps({"fl_x": 9, "frames": frames}))
    sequence = open_sequence(tmp_path)
    assert [info.image for info in sequence.infos] == ["images/a.png", "images/sub/b.png"]
    for i in range(2):
        depth = sequence[i].recorded.depth
        assert depth is not None
        assert (depth == 2).all()


@pytest.mark.parametrize("enabled", [True, False])
def test_depth_of_instant_ngp(tmp_path: Path, enabled: bool) -> None:
    header = {
        "fl_x": 9,
        "integer_depth_scale": 1 / 5000,
        "enable_depth_loading": enabled,
        "aabb_scale": 4,
        "scale": 0.3,
    }
    write(tmp_path, header, [frame("a.png", depth_path="d.png")])
    stored = np.full((6, 8), 5000, np.uint16)
    stored[0, 0] = 65535
    write_png(tmp_path / "d.png", stored)
    sequence = open_sequence(tmp_path)
    depth = sequence[0].recorded.depth
    if enabled:
        assert depth is not None
        np.testing.assert_array_equal(depth, np.where(stored == 5000, np.float32(1), np.float32(0)))
    else:
        assert depth is None
        assert "depth is not read: enable_depth_loading is false" in sequence.notes


def test_depth_in_openexr_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Metres as floats; without the package an error that names it."""
    write(tmp_path, {"fl_x": 9, "depth_unit_scale_factor": 1.0}, [frame("a.png", depth_file_path="d.exr")])
    (tmp_path / "d.exr").write_bytes(b"\x76\x2f\x31\x01" + bytes(60))
    with monkeypatch.context() as missing:
        missing.setitem(sys.modules, "OpenEXR", None)
        with pytest.raises(
            SequenceError, match=r"d\.exr: is an OpenEXR \(EXR\) image, which needs the package OpenEXR"
        ):
            open_sequence(tmp_path)[0]
    exr = pytest.importorskip("OpenEXR")
    depth = np.linspace(1, 3, 48, dtype=np.float32).reshape(6, 8)
    with exr.File({"compression": exr.ZIP_COMPRESSION, "type": exr.scanlineimage}, {"Z": depth}) as file:
        file.write(str(tmp_path / "d.exr"))
    np.testing.assert_array_equal(open_sequence(tmp_path)[0].recorded.depth, depth)


def test_harmless_keys_are_ignored(tmp_path: Path) -> None:
    header = {
        "fl_x": 9,
        "orientation_override": "none",
        "ply_file_path": "a.ply",
        "k7": 0,
        "mask": None,
        "distortion": [],
    }
    assert len(open_sequence(write(tmp_path, header, [frame("a.png", colmap_im_id=3, sharpness=20.5)]))) == 1


def test_folder_with_parts_of_a_data_set(tmp_path: Path) -> None:
    write(tmp_path, {"fl_x": 9}, [frame("a.png"), frame("b.png")])
    (tmp_path / "transforms.json").rename(tmp_path / "transforms_train.json")
    (tmp_path / "transforms_test.json").write_text("{}")
    sequence = open_sequence(tmp_path)
    assert (len(sequence), sequence.format) == (2, "nerfstudio")
    assert "transforms_train.json is read, not transforms_test.json" in sequence.notes


def test_camera_file_has_no_effect(tmp_path: Path) -> None:
    write(tmp_path, {"fl_x": 9}, [frame("a.png")])
    (tmp_path / "camera.yaml").write_text("fx: 9\n")
    with pytest.raises(SequenceError, match=r"camera\.yaml: has no effect: .* is read as nerfstudio"):
        open_sequence(tmp_path)
