"""The canonical folder: what is written is read back, and an incomplete one is never accepted."""

from __future__ import annotations

import csv
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import sequence_folders as folders

from m2h import Predictions
from mapping.camera import Intrinsics
from mapping.se3 import from_rotation_translation, look_at, rotation_from_quat_xyzw
from pipelines import open_sequence
from pipelines.frame import Frame, SequenceError
from pipelines.images import write_png
from pipelines.sequences.frame_table import write_frame_table
from pipelines.sequences.ingest import CanonicalWriter, ingest
from pipelines.settings import FramesConfig
from scenegraph.labels import LabelClass, LabelSpace, nyu40

CAMERA = Intrinsics(101.25, 99.5, 31.7, 22.1, 64, 48)


def make_frame(index: int, *, camera: Intrinsics = CAMERA, everything: bool = True) -> Frame:
    """A frame of random values that the files can hold exactly (normals within their 8 bits)."""
    rng = np.random.default_rng(index)
    shape = (camera.height, camera.width)
    normals = rng.normal(size=(*shape, 3)).astype(np.float32)
    normals /= np.linalg.norm(normals, axis=2, keepdims=True)
    normals[0, 0] = 0
    recorded = Predictions(
        depth=rng.integers(0, 65535, shape).astype(np.float32) / np.float32(1000),
        labels=rng.integers(0, 41, shape).astype(np.uint8),
        instances=rng.integers(0, 65535, shape).astype(np.uint16),
        normals=normals,
        edges=rng.integers(0, 256, shape).astype(np.float32) / np.float32(255),
    )
    T = from_rotation_translation(rotation_from_quat_xyzw(rng.normal(size=4)), rng.normal(size=3) * 5)
    rgb = rng.integers(0, 256, (*shape, 3), dtype=np.uint8)
    return Frame(index, 0.1 * index, rgb, camera, T, recorded if everything else Predictions())


def write(path: Path, frames: list[Frame], **more: Any) -> None:
    options: dict[str, Any] = {"world_up": (0.0, 0.0, 1.0), "label_space": nyu40()} | more
    with CanonicalWriter(path, CAMERA, **options) as writer:
        for frame in frames:
            writer.add(frame)


def assert_same_frame(read: Frame, written: Frame, *, index: int | None = None) -> None:
    assert read.index == (written.index if index is None else index)
    assert read.timestamp == written.timestamp
    np.testing.assert_array_equal(read.rgb, written.rgb)
    np.testing.assert_allclose(read.T_world_camera, written.T_world_camera, atol=1e-12)
    for name in ("fx", "fy", "cx", "cy", "width", "height"):
        assert getattr(read.intrinsics, name) == pytest.approx(getattr(written.intrinsics, name), abs=1e-12)
    for name in ("depth", "labels", "instances", "edges"):
        a, b = getattr(read.recorded, name), getattr(written.recorded, name)
        assert (a is None) == (b is None)
        if a is not None:
            assert a.dtype == b.dtype
            np.testing.assert_array_equal(a, b)
    a, b = read.recorded.normals, written.recorded.normals
    assert (a is None) == (b is None)
    if a is not None and b is not None:
        assert np.abs(a - b).max() < 0.01


def test_what_is_written_is_read_back(tmp_path: Path) -> None:
    frames = [make_frame(0), make_frame(1, everything=False), make_frame(2)]
    write(tmp_path / "seq", frames)
    sequence = open_sequence(tmp_path / "seq")
    assert (sequence.format, sequence.world_up, sequence.label_space) == ("nerfstudio", (0, 0, 1), nyu40())
    assert len(sequence) == 3
    for written in frames:
        assert_same_frame(sequence[written.index], written)


def test_header_is_nerfstudios(tmp_path: Path) -> None:
    """As another tool reads it: OpenGL axes, pixel centres at +0.5, depth in millimetres."""
    T = look_at([1, 2, 3], [1, 5, 3])  # level, along +y of a z-up world
    write(tmp_path / "seq", [replace(make_frame(0), T_world_camera=T)])
    header = json.loads((tmp_path / "seq/transforms.json").read_text())
    assert (header["fl_x"], header["fl_y"], header["w"], header["h"]) == (101.25, 99.5, 64, 48)
    assert (header["cx"], header["cy"]) == pytest.approx((32.2, 22.6))
    assert (header["camera_model"], header["label_space"]) == ("OPENCV", "nyu40")
    assert (header["depth_unit_scale_factor"], header["world_up"]) == (0.001, [0, 0, 1])
    entry = header["frames"][0]
    matrix = [[1, 0, 0, 1], [0, 0, -1, 2], [0, 1, 0, 3], [0, 0, 0, 1]]
    np.testing.assert_allclose(entry["transform_matrix"], matrix, atol=1e-12)
    assert entry["file_path"] == "images/000000.png"
    for key, folder in (("depth", "depth"), ("semantics", "semantics"), ("instances", "instances"), ("edges", "edges")):
        assert entry[f"{key}_file_path"] == f"{folder}/000000.png"
        assert (tmp_path / "seq" / folder / "000000.png").is_file()


def test_depth_that_millimetres_cannot_hold_is_unknown(tmp_path: Path) -> None:
    depth = np.full((48, 64), 2.0004, np.float32)
    depth[0, :2] = 70.0, 0.0
    frame = replace(make_frame(0), recorded=Predictions(depth=depth))
    write(tmp_path / "seq", [frame])
    read = open_sequence(tmp_path / "seq")[0].recorded.depth
    assert read is not None
    assert (read[0, 0], read[0, 1], read[1, 1]) == (0, 0, 2.0)


def test_frame_with_another_camera_has_its_own_keys(tmp_path: Path) -> None:
    other = Intrinsics(50, 51, 20, 15, 40, 30)
    frames = [make_frame(0), make_frame(1, camera=other)]
    write(tmp_path / "seq", frames)
    sequence = open_sequence(tmp_path / "seq")
    assert_same_frame(sequence[0], frames[0])
    assert_same_frame(sequence[1], frames[1])


def test_frames_are_ordered_by_index(tmp_path: Path) -> None:
    write(tmp_path / "seq", [make_frame(2), make_frame(0), make_frame(1)])
    sequence = open_sequence(tmp_path / "seq")
    assert [info.timestamp for info in sequence.infos] == [0.0, 0.1, 0.2]
    assert_same_frame(sequence[1], make_frame(1))


def test_same_frames_give_the_same_bytes(tmp_path: Path) -> None:
    for name in ("a", "b"):
        write(tmp_path / name, [make_frame(i) for i in range(3)])
    files = sorted(file.relative_to(tmp_path / "a") for file in (tmp_path / "a").rglob("*") if file.is_file())
    assert len(files) == 1 + 3 * 6
    assert all((tmp_path / "a" / file).read_bytes() == (tmp_path / "b" / file).read_bytes() for file in files)


def test_jpeg_images(tmp_path: Path) -> None:
    smooth = np.zeros((48, 64, 3), np.uint8) + np.arange(64, dtype=np.uint8)[None, :, None]
    write(tmp_path / "seq", [replace(make_frame(0), rgb=smooth)], image_format="jpg")
    sequence = open_sequence(tmp_path / "seq")
    assert sequence.infos[0].image == "images/000000.jpg"
    assert np.abs(sequence[0].rgb.astype(int) - smooth).max() <= 3


def test_own_label_space_travels_along(tmp_path: Path) -> None:
    classes = (LabelClass(0, "nothing", (0, 0, 0), "unknown"), LabelClass(7, "robot", (1, 2, 3), "dynamic"))
    space = LabelSpace("lab", classes)
    write(tmp_path / "seq", [make_frame(0)], label_space=space)
    assert open_sequence(tmp_path / "seq").label_space == space


def test_unknown_gravity_and_no_labels(tmp_path: Path) -> None:
    write(tmp_path / "seq", [make_frame(0, everything=False)], world_up=None, label_space=None)
    sequence = open_sequence(tmp_path / "seq")
    assert (sequence.world_up, sequence.label_space) == (None, None)


def test_interrupted_writer_leaves_no_sequence(tmp_path: Path) -> None:
    def write_until_stopped() -> None:
        with CanonicalWriter(tmp_path / "seq", CAMERA, world_up=None, label_space=nyu40()) as writer:
            writer.add(make_frame(0))
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_until_stopped()
    assert (tmp_path / "seq/images/000000.png").is_file()
    with pytest.raises(SequenceError, match="unfinished"):
        open_sequence(tmp_path / "seq")
    write(tmp_path / "seq", [make_frame(3)])  # starting again removes everything of the first attempt
    assert [info.image for info in open_sequence(tmp_path / "seq").infos] == ["images/000003.png"]
    assert not (tmp_path / "seq/images/000000.png").exists()


def test_existing_sequence_is_kept_unless_overwritten(tmp_path: Path) -> None:
    write(tmp_path / "seq", [make_frame(0), make_frame(1)])
    with pytest.raises(SequenceError, match="already exists"):
        write(tmp_path / "seq", [make_frame(0)])
    assert len(open_sequence(tmp_path / "seq")) == 2
    write(tmp_path / "seq", [make_frame(0)], overwrite=True)
    assert len(open_sequence(tmp_path / "seq")) == 1
    assert not (tmp_path / "seq/images/000001.png").exists()


def test_captures_of_others_are_never_deleted(tmp_path: Path) -> None:
    folders.write_nerfstudio(tmp_path / "capture")
    with pytest.raises(SequenceError, match="not written by this program"):
        write(tmp_path / "capture", [make_frame(0)], overwrite=True)
    (tmp_path / "photos/images").mkdir(parents=True)
    (tmp_path / "photos/images/holiday.jpg").write_bytes(b"x")
    with pytest.raises(SequenceError, match="not empty"):
        write(tmp_path / "photos", [make_frame(0)], overwrite=True)
    assert (tmp_path / "photos/images/holiday.jpg").is_file()


def test_writer_rejects(tmp_path: Path) -> None:
    lens = replace(CAMERA, distortion=(0.1, 0.0, 0.0, 0.0))
    with pytest.raises(ValueError, match="no distortion"):
        CanonicalWriter(tmp_path / "a", lens, world_up=None, label_space=None)
    with pytest.raises(ValueError, match="png or jpg"):
        CanonicalWriter(tmp_path / "a", CAMERA, world_up=None, label_space=None, image_format="gif")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="no label_space"):
        write(tmp_path / "b", [make_frame(0)], label_space=None)
    with pytest.raises(ValueError, match="frame 1 was added before"):
        write(tmp_path / "c", [make_frame(1), make_frame(1)])
    with pytest.raises(SequenceError, match="no frame to write"):
        write(tmp_path / "d", [])


@pytest.mark.parametrize("name", folders.WRITERS)
def test_every_format_becomes_the_same_sequence(tmp_path: Path, name: str) -> None:
    folders.WRITERS[name][1](tmp_path / "source")
    source = open_sequence(tmp_path / "source")
    used = [info.index for info in source.infos if info.used]
    report = ingest(source, tmp_path / "out")
    assert (report.written, len(report.unused), report.broken) == (len(used), len(source) - len(used), {})
    copy = open_sequence(tmp_path / "out")
    assert (copy.world_up, copy.is_metric) == (source.world_up, source.is_metric)
    assert len(copy) == len(used)
    for number, index in enumerate(used):
        a, b = copy[number], source[index]
        np.testing.assert_array_equal(a.rgb, b.rgb)
        np.testing.assert_allclose(a.T_world_camera, b.T_world_camera, atol=1e-12)
        assert a.timestamp == b.timestamp
        assert (a.recorded.depth is None) == (b.recorded.depth is None)
        if a.recorded.depth is not None and b.recorded.depth is not None:
            assert np.abs(a.recorded.depth - b.recorded.depth).max() < 0.00051
    with (tmp_path / "out/frames.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["used"] for row in rows] == [str(int(info.used)) for info in source.infos]


def test_ingest_removes_the_lens(tmp_path: Path) -> None:
    folders.write_posed_images(tmp_path / "source")
    folders.write_camera_yaml(tmp_path / "source", "distortion: [0.2, 0, 0, 0]\n")
    ingest(open_sequence(tmp_path / "source"), tmp_path / "out")
    header = json.loads((tmp_path / "out/transforms.json").read_text())
    assert [header[key] for key in ("k1", "k2", "p1", "p2")] == [0, 0, 0, 0]
    np.testing.assert_array_equal(open_sequence(tmp_path / "out")[1].rgb, open_sequence(tmp_path / "source")[1].rgb)


def test_ingest_stride_range_and_progress(tmp_path: Path) -> None:
    poses = folders.room_poses(10)
    folders.write_room(tmp_path / "source", poses, poses)
    seen: list[tuple[int, int]] = []
    report = ingest(
        open_sequence(tmp_path / "source"),
        tmp_path / "out",
        frames=FramesConfig(stride=2, start=3, stop=9),
        progress=lambda done, total: seen.append((done, total)),
    )
    assert (report.written, seen) == (3, [(1, 3), (2, 3), (3, 3)])
    np.testing.assert_allclose(open_sequence(tmp_path / "out")[1].T_world_camera, poses[5], atol=1e-9)


def test_broken_frames_are_counted_up_to_the_limit(tmp_path: Path) -> None:
    poses = folders.room_poses(10)
    folders.write_room(tmp_path / "source", poses, poses)
    file = tmp_path / "source/images/00004.png"
    file.write_bytes(file.read_bytes()[:-20])
    source = open_sequence(tmp_path / "source")
    with pytest.raises(SequenceError, match="cannot be read"):
        ingest(source, tmp_path / "out")
    with pytest.raises(SequenceError, match="unfinished"):
        open_sequence(tmp_path / "out")
    report = ingest(source, tmp_path / "out", frames=FramesConfig(max_broken=0.2))
    assert report.written == 9
    assert "00004.png" in report.broken[4]
    line = (tmp_path / "out/frames.csv").read_text().splitlines()[5]
    assert line.startswith("4,0.133333,images/00004.png,0,")


def test_ingest_into_itself_is_rejected(tmp_path: Path) -> None:
    folders.write_nerfstudio(tmp_path / "seq")
    with pytest.raises(SequenceError, match="is the sequence itself"):
        ingest(open_sequence(tmp_path / "seq"), tmp_path / "seq")


def test_frame_table(tmp_path: Path) -> None:
    folders.write_scannet(tmp_path / "seq")
    write_png(tmp_path / "seq/color/50.png", folders.rgb(0))
    write_frame_table(tmp_path / "frames.csv", open_sequence(tmp_path / "seq"), {0}, {0: "torn, in two"})
    assert (tmp_path / "frames.csv").read_text().splitlines() == [
        "index,timestamp,image,used,reason",
        '0,0.000000,color/0.jpg,0,"torn, in two"',
        "1,0.666667,color/20.jpg,0,lost pose (not finite)",
        "2,1.333333,color/40.jpg,0,excluded by range or stride or spacing",
        "3,1.666667,color/50.png,0,pose file is missing",
    ]
