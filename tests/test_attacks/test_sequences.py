"""Single sequences that once ended in a traceback, a hang or an empty map, with the line that refuses them now."""

import json
import os
import struct
import zlib
from dataclasses import replace

import cv2
import numpy as np
import pytest
from attacks import refused
from helpers import box_mesh
from sequence_folders import COUNT, rgb, write_colmap_text, write_nerfstudio, write_posed_images

from mapping.mesh.obj import write_obj
from pipelines.images import write_png
from pipelines.sequences.detect import open_sequence
from scenegraph.labels import LabelSpaceError, label_space_from_mapping


def edited(path, **keys):
    """A nerfstudio sequence with other keys in its header; (number, key) is one of a frame."""
    write_nerfstudio(path)
    file = path / "transforms.json"
    header = json.loads(file.read_text())
    header.update({key: value for key, value in keys.items() if not key.startswith("frame_")})
    header["frames"][1].update({key[6:]: value for key, value in keys.items() if key.startswith("frame_")})
    file.write_text(json.dumps(header))
    return file


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ({"cx": 1e10}, "Intrinsics.cx is 1e+10 pixels, far from the 16 pixels wide image"),
        ({"fl_x": 1e-320}, "Intrinsics.fx is 9.99989e-321 pixels, which is no lens of a 16 pixels wide image"),
        ({"fl_x": 1e308}, "Intrinsics.fx is 1e+308 pixels, which is no lens"),
        ({"fl_x": 10**17}, "Intrinsics.fx is 1e+17 pixels, which is no lens"),
        ({"k1": float("nan")}, "k1 must be a number, got nan"),
        ({"k1": 1e300}, "Intrinsics.distortion must be numbers up to 1e+06"),
        ({"w": 10**9}, "Intrinsics.width must be a whole number of pixels from 1 to 67108864, got 1000000000"),
        ({"frame_file_path": "images/\0.png"}, "not readable as JSON: the text 'images/\\x00.png' has a NUL character"),
        ({"frame_file_path": "images/\ud800.png"}, "the text 'images/\\ud800.png' has a NUL character or half of a"),
        ({"label_space": "\ud800"}, "has a NUL character or half of a surrogate pair"),
        ({"world_up": [[[[0]]]]}, "world_up must be three finite numbers that are not all 0, or null; got [[[[0]]]]"),
    ],
)
def test_headers_of_transforms(tmp_path, keys, message):
    file = edited(tmp_path / "s", **keys)
    line = refused(lambda: open_sequence(tmp_path / "s"))
    assert line.startswith(str(file))
    assert message in line


@pytest.mark.parametrize("digits", [400, 5000])
@pytest.mark.parametrize("key", ["fl_x", "timestamp", "version", "w", "depth_unit_scale_factor"])
def test_numbers_of_many_digits(tmp_path, digits, key):
    file = edited(
        tmp_path / "s", **{key: 12345.25, "frame_timestamp": 12345.25} if key == "timestamp" else {key: 12345.25}
    )
    file.write_text(file.read_text().replace("12345.25", "9" * digits))
    line = refused(lambda: open_sequence(tmp_path / "s"))
    number = "9" * 20
    assert line == f"{file}: not readable as JSON: the whole number {number}... does not fit into 64 bits"


@pytest.mark.parametrize("factor", [1e-10, 1e10, 1e-320, 1e308])
def test_depth_scales_that_no_sensor_has(tmp_path, factor):
    edited(tmp_path / "s", depth_unit_scale_factor=factor)
    line = refused(lambda: open_sequence(tmp_path / "s"))
    assert line.startswith(f"{tmp_path / 's'}: depth has ")
    assert line.endswith(" units per metre, expected a number from 0.0001 to 1e+08")


@pytest.mark.parametrize("place", [1e300, 1e12, 1e9])
def test_a_pose_that_is_nowhere_is_lost(tmp_path, place):
    pose = [[1, 0, 0, place], [0, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]]
    edited(tmp_path / "s", frame_transform_matrix=pose)
    sequence = open_sequence(tmp_path / "s")
    assert [info.used for info in sequence.infos] == [True, False, True]
    assert sequence.infos[1].reason.startswith("lost pose (")


def test_poses_that_are_all_nowhere(tmp_path):
    file = edited(tmp_path / "s")
    header = json.loads(file.read_text())
    for frame in header["frames"]:
        frame["transform_matrix"][0][3] += 1e300
    file.write_text(json.dumps(header))
    assert refused(lambda: open_sequence(tmp_path / "s")) == (
        f"{tmp_path / 's'}: none of {COUNT} frames are usable: {COUNT} lost pose (too far from the origin)"
    )


@pytest.mark.parametrize(
    ("number", "message"),
    [
        (".nan", "distortion: expected a number up to 1e+12, got nan"),
        ("1e+11", "Intrinsics.distortion must be numbers up to 1e+06"),
    ],
)
def test_lens_coefficients_of_camera_yaml(tmp_path, number, message):
    write_posed_images(tmp_path / "s")
    file = tmp_path / "s" / "camera.yaml"
    file.write_text(file.read_text() + f"distortion: [{number}, 0, 0, 0]\n")
    line = refused(lambda: open_sequence(tmp_path / "s"))
    assert line.startswith(f"{file}: ")
    assert message in line


def test_an_alias_is_shown_short(tmp_path):
    file = edited(tmp_path / "s").parent / "m2h.yaml"
    levels = [f"&{name} [{', '.join([f'*{before}'] * 9)}]" for before, name in zip("abcd", "bcde", strict=True)]
    file.write_text("\n".join(["k1:", "  - &a [x, x, x, x, x, x, x, x, x]", *(f"  - {level}" for level in levels)]))
    line = refused(lambda: open_sequence(tmp_path / "s"))
    assert line.startswith(f"{file}: k1: ")
    assert len(line) < 400


def test_a_label_space_that_is_nested_deeply(tmp_path):
    file = edited(tmp_path / "s", label_space="l.yaml").parent / "l.yaml"
    file.write_text("[" * 50_000)
    assert "l.yaml: not readable as YAML: nested too deeply" in refused(lambda: open_sequence(tmp_path / "s"))


@pytest.mark.parametrize("name", ["[/b]\n", "\x1b[2J", "", "x" * 101])
def test_names_of_classes_are_printable(name):
    classes = [{"id": 0, "name": "unknown", "kind": "unknown"}, {"id": 1, "name": name, "kind": "object"}]
    with pytest.raises(LabelSpaceError, match="is not a printable name of 1-100 characters"):
        label_space_from_mapping({"name": "mine", "classes": classes}, "l.yaml")


def test_a_model_without_cameras(tmp_path):
    write_colmap_text(tmp_path / "s")
    (tmp_path / "s" / "sparse" / "0" / "cameras.txt").write_text("# nothing\n")
    assert refused(lambda: open_sequence(tmp_path / "s")) == f"{tmp_path / 's'}/sparse/0: the model has no camera"


def first_frame(path):
    return refused(lambda: open_sequence(path)[0])


def bare_png(width, height):
    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + header + chunk(b"IDAT", zlib.compress(b"\0")) + chunk(b"IEND", b"")


def test_images_that_are_none(tmp_path):
    edited(tmp_path / "s")
    image = tmp_path / "s" / "images" / "frame_00001.png"
    image.write_bytes(bare_png(30000, 22500))
    assert first_frame(tmp_path / "s").startswith(f"{image}: is too large: 30000x22500 pixels")
    image.unlink()
    os.mkfifo(image)
    assert "image file is missing" in first_frame(tmp_path / "s")
    image.unlink()
    image.symlink_to("/dev/zero")
    assert "image file is missing" in first_frame(tmp_path / "s")


def test_depth_without_pixels(tmp_path):
    np.save(tmp_path / "d.npy", np.zeros((0, 0), np.float32))
    edited(tmp_path / "s", frame_depth_file_path="d.npy")
    (tmp_path / "d.npy").rename(tmp_path / "s" / "d.npy")
    line = refused(lambda: open_sequence(tmp_path / "s")[1])
    assert line == f"{tmp_path / 's' / 'd.npy'}: expected one channel of numbers, found float32 (0, 0)"


def test_names_of_any_script_are_written_to_obj(tmp_path):
    mesh = box_mesh()
    mesh = replace(mesh, objects=np.ones(len(mesh.vertices), np.uint32))
    write_obj(mesh, tmp_path / "m.obj", names={1: "K\u00fcche_\u6905"})
    assert "o K\u00fcche_\u6905\n" in (tmp_path / "m.obj").read_text(encoding="utf-8")


def test_images_of_another_size_are_no_error_of_a_library(tmp_path):
    """A frame of the same shape is resampled, and one of another shape is refused."""
    write_colmap_text(tmp_path / "s")
    image = sorted((tmp_path / "s").rglob("*.png"))[1]
    write_png(image, np.ascontiguousarray(rgb(1)[::2, ::2]))
    sequence = open_sequence(tmp_path / "s")
    assert sequence[1].rgb.shape[:2] == (rgb(1).shape[0] // 2, rgb(1).shape[1] // 2)
    write_png(image, cv2.resize(rgb(1), (30, 10)))
    assert "is 30x10 pixels, but its camera is" in refused(lambda: open_sequence(tmp_path / "s")[1])
